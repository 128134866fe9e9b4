"""What a person is told of time, and what a kill costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from tenpercent import Supervised
from tenpercent.embed import extract
from tenpercent.embed.extract import embed_source
from tenpercent.embed.settings import Timm
from tenpercent.errors import RunFolderError, StageError
from tenpercent.images.source import ImageSource
from tenpercent.store import begun
from tenpercent.store.run import RunFolder

N = 300  # images: two parts of 200, batches of 64 or 256


def made_source() -> ImageSource:
    def image(row: int) -> Any:
        return np.random.default_rng(row).integers(
            128 * (row % 2), 128 * (row % 2) + 128, (9, 9, 3), np.uint8
        )

    ids = tuple(f"{row:04d}.png" for row in range(N))
    return ImageSource("made", ids, ids, np.arange(N) % 2, ("dark", "light"), image)


def colours(images: Any) -> Any:
    vectors = np.stack([image.mean((0, 1)) + 1 for image in images])
    vectors[:, 1] = vectors[:, 0] + np.arange(len(vectors))  # of an image within its batch
    return vectors


def embedder(kind: str, folder: Path) -> Any:
    if kind == "trained":
        return Supervised(depth=8, epochs=1, batch=64, precision="float32")
    if kind == "function":
        return colours
    weights = folder / "weights.pt"
    if not weights.exists():
        torch.manual_seed(3)
        torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    return Timm("test_resnet", weights, precision="float32")


def embed(run: Path, kind: str) -> dict[str, Any]:
    """Embed with a piece for each batch."""
    torch.set_num_threads(1)
    extract.PART, begun.SECONDS = 200, 0.0
    source = made_source()
    folder = RunFolder.create(run, {"spec": source.spec, "fingerprint": source.fingerprint})
    return embed_source(source, folder, embedder(kind, run.parent), np.arange(N))


def stored(run: Path) -> dict[str, bytes]:
    files = [
        path for path in run.rglob("*") if path.is_file() and path.suffix in (".parquet", ".safetensors")
    ]
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let `embed` leave nothing behind for other tests."""
    monkeypatch.setattr(extract, "PART", 200)
    monkeypatch.setattr(begun, "SECONDS", 0.0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


SLOW = """
import sys, time
sys.path.insert(0, {tests!r})
import test_time_guide as here
from tenpercent.embed import encoders
for kind in (encoders.NetworkEncoder, encoders.TimmEncoder, encoders.FunctionEncoder):
    def slow(self, images, encode=kind.encode):
        time.sleep(0.2)
        return encode(self, images)
    kind.encode = slow
kind = encoders.NetworkEncoder.__init__
def small(self, trained):
    kind(self, trained)
    self.batch = 64
encoders.NetworkEncoder.__init__ = small
here.embed(here.Path({run!r}), {kind!r})
"""


def killed(run: Path, kind: str, pieces: int) -> None:
    """Kill an extraction with SIGKILL once it has left some pieces or a part more than there were."""
    words = SLOW.format(tests=str(Path(__file__).parent), run=str(run), kind=kind)
    before = len(list(run.rglob("begun/*.parquet"))), len(list(run.rglob("part-*")))
    with subprocess.Popen([sys.executable, "-c", words], stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            now = len(list(run.rglob("begun/*.parquet"))), len(list(run.rglob("part-*")))
            if now[0] >= before[0] + pieces or now[1] > before[1]:
                break
            time.sleep(0.01)
        assert process.poll() is None, process.stderr.read().decode()  # type: ignore[union-attr]
        os.kill(process.pid, signal.SIGKILL)


@pytest.fixture
def batches_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    from tenpercent.embed.encoders import NetworkEncoder

    kind = NetworkEncoder.__init__

    def small(self: Any, trained: Any) -> None:
        kind(self, trained)
        self.batch = 64

    monkeypatch.setattr(NetworkEncoder, "__init__", small)


@pytest.mark.parametrize("kind", ["function", "trained", "timm"])
def test_a_killed_extraction_resumes_from_the_batches_on_disk(
    kind: str, tmp_path: Path, batches_of_64: None, caplog: pytest.LogCaptureFixture
) -> None:
    embed(tmp_path / "whole", kind)
    run = tmp_path / "killed"
    killed(run, kind, 2)
    if kind == "function":  # again, while it resumes
        killed(run, kind, 1)
    with caplog.at_level("INFO", "tenpercent"):
        summary = embed(run, kind)
    assert summary["extracted"] <= N - (3 if kind == "function" else 2) * 64
    assert f"extraction resumed: {N - summary['extracted']} of 300 images are on disk" in caplog.text
    assert stored(run) == stored(tmp_path / "whole")
    assert not (run / "embeddings" / "begun").exists()


def stop_after(batches: int, monkeypatch: pytest.MonkeyPatch, run: Path) -> None:
    """Interrupt an extraction after some batches."""

    class Stopped(BaseException):
        pass

    left = [batches]
    encode = extract.Begun.add

    def add(self: Any, *given: Any) -> None:
        encode(self, *given)
        left[0] -= 1
        if not left[0]:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(extract.Begun, "add", add)
        with pytest.raises(Stopped):
            embed(run, "function")


@pytest.mark.parametrize("batches", [1, 2, 3, 4, 5, 6])
def test_every_batch_is_a_place_to_resume_from(
    batches: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(tmp_path / "whole", "function")
    stop_after(batches, monkeypatch, tmp_path / "run")
    done = [64, 128, 192, 200, 264, 300][batches - 1]
    assert embed(tmp_path / "run", "function")["extracted"] == N - done
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")


def test_a_piece_before_others_that_is_gone_costs_those_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(tmp_path / "whole", "function")
    stop_after(3, monkeypatch, tmp_path / "run")
    (tmp_path / "run" / "embeddings" / "begun" / "00000-00064.parquet").unlink()
    assert embed(tmp_path / "run", "function")["extracted"] == N - 64
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")


def test_a_damaged_piece_is_named_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    stop_after(2, monkeypatch, run)
    piece = run / "embeddings" / "begun" / "00000-00000.parquet"
    content = bytearray(piece.read_bytes())
    content[len(content) // 3] ^= 255
    piece.write_bytes(content)
    with pytest.raises(StageError, match=r"begun/00000-00000.parquet is damaged .*delete it: its images"):
        embed(run, "function")
    piece.unlink()
    assert embed(run, "function")["extracted"] == N


def test_pieces_of_other_images_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed(tmp_path / "whole", "function")
    stop_after(2, monkeypatch, tmp_path / "run")
    folder = tmp_path / "run" / "embeddings"
    kept = begun.Begun(folder / "begun", "other", 64)
    assert kept.read(0) == {} and not list((folder / "begun").iterdir())
    assert embed(tmp_path / "run", "function")["extracted"] == N
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")


def test_a_disk_that_is_full_at_a_piece_keeps_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(tmp_path / "whole", "function")
    write, left = begun.write_table, [3]

    def full(*given: Any, **more: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise RunFolderError("can't write: No space left on device")
        write(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(begun, "write_table", full)
        with pytest.raises(RunFolderError, match="No space"):
            embed(tmp_path / "run", "function")
    assert embed(tmp_path / "run", "function")["extracted"] == N - 128
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")
