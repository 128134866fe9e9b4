"""What a person is told of time, and what a kill costs."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conftest import write_photos
from forked import start
from tenpercent import Supervised
from tenpercent.cli import quicker_ways
from tenpercent.cli.main import main
from tenpercent.cli.quicker_ways import quicker
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store import unfinished_part
from tenpercent.data.store.records import SourceRecord
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding import encoders, extract
from tenpercent.embedding import estimate as estimating
from tenpercent.embedding.estimate import Sample, estimate
from tenpercent.embedding.extract import embed_source
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.settings import Precision, SelfSupervised, Timm
from tenpercent.embedding.timing import IdleTimer, fastest
from tenpercent.errors import RunFolderError, StageError, TenpercentError
from tenpercent.evaluation import forecast as forecasting
from tenpercent.evaluation.presets import Protocol, SharedLength, preset
from tenpercent.evaluation.training import as_recorded

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
        import timm

        torch.manual_seed(3)
        torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), weights)
    return Timm("test_resnet", weights, precision="float32")


def embed(run: Path, kind: str) -> dict[str, Any]:
    """Embed with a piece for each batch."""
    torch.set_num_threads(1)
    extract.PART, unfinished_part.SECONDS = 200, 0.0
    source = made_source()
    folder = RunFolder.create(run, SourceRecord(source.spec, source.fingerprint))
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
    monkeypatch.setattr(unfinished_part, "SECONDS", 0.0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def embed_slowly(run: Path, kind: str) -> None:
    """Embed in batches of 64, each of which takes its time."""
    for encoder in (encoders.NetworkEncoder, encoders.TimmEncoder, encoders.FunctionEncoder):

        def slow(self: Any, images: Any, encode: Any = encoder.encode) -> Any:
            time.sleep(0.2)
            return encode(self, images)

        encoder.encode = slow  # type: ignore[method-assign]
    in_batches_of_64(setattr)
    embed(run, kind)


def in_batches_of_64(patch: Callable[[Any, str, Any], None]) -> None:
    kind = encoders.NetworkEncoder.__init__

    def small(self: Any, trained: Any) -> None:
        kind(self, trained)
        self.batch = 64

    patch(encoders.NetworkEncoder, "__init__", small)


def killed(run: Path, kind: str, pieces: int) -> None:
    """Kill an extraction with SIGKILL once it has left some pieces or a part more than there were."""
    before = len(list(run.rglob("begun/*.parquet"))), len(list(run.rglob("part-*")))
    process = start(embed_slowly, run, kind)
    while not process.ended():
        now = len(list(run.rglob("begun/*.parquet"))), len(list(run.rglob("part-*")))
        if now[0] >= before[0] + pieces or now[1] > before[1]:
            break
        time.sleep(0.01)
    process.kill()
    done = process.wait()
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.fixture
def batches_of_64(monkeypatch: pytest.MonkeyPatch) -> None:
    in_batches_of_64(monkeypatch.setattr)


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
    encode = extract.UnfinishedPart.add

    def add(self: Any, *given: Any) -> None:
        encode(self, *given)
        left[0] -= 1
        if not left[0]:
            raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(extract.UnfinishedPart, "add", add)
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
    kept = unfinished_part.UnfinishedPart(folder / "begun", "other", 64)
    assert kept.read(0) == {} and not list((folder / "begun").iterdir())
    assert embed(tmp_path / "run", "function")["extracted"] == N
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")


def test_a_disk_that_is_full_at_a_piece_keeps_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed(tmp_path / "whole", "function")
    write, left = unfinished_part.write_table, [3]

    def full(*given: Any, **more: Any) -> None:
        left[0] -= 1
        if not left[0]:
            raise RunFolderError("can't write: No space left on device")
        write(*given, **more)

    with monkeypatch.context() as patch:
        patch.setattr(unfinished_part, "write_table", full)
        with pytest.raises(RunFolderError, match="No space"):
            embed(tmp_path / "run", "function")
    assert embed(tmp_path / "run", "function")["extracted"] == N - 128
    assert stored(tmp_path / "run") == stored(tmp_path / "whole")


# ---- what is said of time ------------------------------------------------------------------------------------------


def pictures(side: int, labelled: bool = True) -> ImageSource:
    source = made_source()

    def image(row: int) -> Any:
        return np.random.default_rng(row).integers(0, 256, (side, side, 3), np.uint8)

    if labelled:
        return replace(source, read=image)
    return replace(source, read=image, labels=None, class_names=())


def ways(source: ImageSource, embedder: Any, seconds: float = 1e6) -> dict[str, float]:
    """Return the flags of the quicker ways with their seconds, of a training that takes so long."""
    sample = Sample.of(source, embedder, np.arange(N))
    found = estimate(sample, embedder, 0.0)
    slow = replace(found, stages={"train": seconds})
    return {way.flags: way.seconds for way in quicker(sample, embedder, slow)}


def test_the_quicker_ways_are_named_with_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quicker_ways, "BUDGET", 0.0)
    monkeypatch.setattr(estimating, "choose", lambda *_: Choice(Precision.FLOAT32))  # bf16 takes long to time
    small = ways(pictures(32), Supervised(depth=8, epochs=9))
    assert set(small) == {"--preset quick", "--epochs 4"}
    assert small["--epochs 4"] == pytest.approx(4e6 / 9)
    assert 0 < small["--preset quick"] < 60
    large = ways(pictures(70), Supervised(depth=8, epochs=9))
    assert list(large)[-1] == "--epochs 4"  # the quickest first
    assert set(large) == {"--preset quick --side 32", "--side 64", "--embedder pretrained", "--epochs 4"}
    unlabelled = ways(pictures(70, labelled=False), SelfSupervised(depth=8, side=32, epochs=1))
    assert set(unlabelled) == {"--embedder pretrained"}
    assert set(ways(pictures(70), Timm("test_resnet"))) == {"--precision bf16"}
    assert set(ways(pictures(70), Timm("test_resnet", finetune=True))) >= {"no --finetune"}


def test_nothing_is_named_beside_a_short_way_or_one_that_is_no_quicker() -> None:
    assert ways(pictures(32), Supervised(depth=8), seconds=59.0) == {}
    assert ways(pictures(32), preset("quick").training) == {"--epochs 2": pytest.approx(4e5)}


def test_an_estimate_looks_at_few_large_images_and_at_many_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked: list[int] = []

    def read(row: int) -> Any:
        looked.append(row)
        return pictures(70).read(row)

    source = replace(pictures(70), read=read)
    assert len(Sample.of(source, Supervised(), np.arange(N)).found.rows) == 128
    monkeypatch.setattr(estimating, "READ", 0.0)
    looked.clear()
    sample = Sample.of(source, Supervised(), np.arange(N))
    assert len(sample.found.rows) == 2 and len(looked) == 4 and sample.n == N
    assert max(looked) > 50  # of different places


def test_a_sample_of_unreadable_images_is_refused() -> None:
    def read(row: int) -> Any:
        return b"broken" if row % 3 else pictures(9).read(row)

    with pytest.raises(TenpercentError, match="of 128 images of made can't be read, more than half"):
        Sample.of(replace(pictures(9), read=read), Supervised(), np.arange(N))


def test_what_others_take_of_the_cpus_is_left_out() -> None:
    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this system does not say how long a thread waited")
    work = partial(sum, range(1_000_000))
    alone = fastest(work, 0.5)
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))
    ]
    try:
        time.sleep(0.5)
        timer = IdleTimer()
        beside = fastest(work, 1.0)
        said = timer.busy()
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert alone / 1.5 < beside < 1.5 * alone
    assert len(said) == 1 and "an idle machine" in said[0]


def test_a_dry_run_of_embed_says_no_more_than_embedding(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(photos), "--out", str(tmp_path / "run"), "--dry-run", "--depth", "8"]) == 0
    said = capsys.readouterr().out
    assert "Nothing was written" in said and "Total: about" in said and "resnet-8" in said
    assert "cluster" not in said and "report" not in said
    assert not (tmp_path / "run").exists()


def test_the_precision_of_a_dry_run_is_chosen_as_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def choose(network: Any, size: Any, device: Any, precision: Precision, enough: float) -> Choice:
        asked.append((size, precision))
        return Choice(Precision.BFLOAT16)

    monkeypatch.setattr(estimating, "choose", choose)
    sample = Sample.of(pictures(32), Supervised(), np.arange(N))
    step = estimating.time_step(Supervised(depth=8), sample, 0.0)
    assert asked == [((32, 32), Precision.AUTO)]
    assert step.trained.choice.precision == Precision.BFLOAT16


def test_a_precision_that_was_measured_is_the_one_of_a_dry_run(tmp_path: Path) -> None:
    path, protocol = tmp_path / "precision.json", Protocol(Supervised())
    assert as_recorded(protocol, path) == protocol
    path.write_text('{"precision": "bf16", "channels_last": true, "rates": {}}')
    assert as_recorded(protocol, path).training.precision == Precision.BFLOAT16


# ---- a dry run of an evaluation --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "run"
    photos = write_photos(out.parent / "photos")
    quick = ["--depth", "8", "--epochs", "1", "--batch", "16", "--precision", "float32"]
    assert main(["run", str(photos), "--out", str(out), "--holdout", "0.3", "--quiet", *quick]) == 0
    return out


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, tmp_path / "run"))


def files_of(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def test_a_dry_run_of_an_evaluation_counts_what_is_there_and_writes_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", str(run), "--preset", "digits", "--steps", "4"]
    before = files_of(run)
    assert main([*words, "--trials", "2", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "6 training runs: 0 done, 6 to do" in said
    for arm in ("full", "random 90%", "semantic 90%"):
        assert re.search(rf"evaluate  {arm}: 2 of about [0-9.]+ s\n", said)
    assert "resnet-8: 4 steps of 64 images at" in said and "images/s; float32" in said
    assert "of memory" in said and "Nothing was written" in said and "a task each" not in said
    assert main([*words, "--trials", "2", "--dry-run", "--workers", "1"]) == 0
    spread = capsys.readouterr().out
    assert "tasks     6 training runs, a task each, 1 at once: one CPU each\n" in spread
    assert files_of(run) == before
    assert main([*words, "--trials", "1"]) == 0
    trained = files_of(run)
    capsys.readouterr()
    assert main([*words, "--trials", "2", "--dry-run"]) == 0
    assert "6 training runs: 3 done, 3 to do" in capsys.readouterr().out
    assert main([*words, "--trials", "1", "--dry-run"]) == 0
    assert "0 to do" in (said := capsys.readouterr().out) and "0 B of memory, 0 B of disk" in said
    assert main([*words, "--trials", "2", "--find", "--keep", "0.9", "0.5", "--dry-run"]) == 0
    assert "6 training runs: 2 done, 4 to do at most" in capsys.readouterr().out
    assert files_of(run) == trained


def test_a_dry_run_of_an_evaluation_refuses_what_it_would_refuse(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in (["--network", "resnet19"], ["--arms", "fulll"], ["--find", "--arms", "semantic", "kcenter"]):
        said = []
        for dry in ([], ["--dry-run"]):
            assert main(["evaluate", str(run), "--preset", "digits", *more, *dry]) == 2
            said.append(capsys.readouterr().err.splitlines()[-1])
        assert said[0] == said[1]


def test_a_forecast_adds_steps_and_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that says 10 ms to train on an image, and 2 ms to predict one."""
    sample = Sample.of(pictures(16), Supervised(), np.arange(N))
    predicted = []

    def timed(work: Callable[[], object], count: int, budget: float) -> float:
        found = work()
        predicted.append(len(found.correct))  # type: ignore[attr-defined]
        return 0.002 * predicted[-1]

    step = forecasting.time_step
    monkeypatch.setattr(forecasting, "time_step", lambda *how: replace(step(*how), seconds=0.01))
    monkeypatch.setattr(forecasting, "on_threads", timed)
    epochs = Protocol(Supervised(depth=8, epochs=5, batch=N // 10, precision="float32"), evaluations=4)
    steps = replace(epochs, training=replace(epochs.training, epochs=None, steps=50))
    for protocol in (epochs, steps):  # as long for every size
        found = forecasting.forecast(sample, protocol, 300, [1.0, 0.5], 1, 0.0)
        assert found.seconds[1.0] == pytest.approx(5 * N * 0.01 + 4 * 300 * 0.002)
        assert found.seconds[0.5] == pytest.approx(5 * N * 0.01 + (4 * 300 + N / 2) * 0.002)
    shorter = replace(epochs, length=SharedLength.EPOCHS, mirrored=True)
    found = forecasting.forecast(sample, shorter, 300, [0.5], 1, 0.0)
    assert found.seconds[0.5] == pytest.approx(5 * N / 2 * 0.01 + (4 * 300 + N / 2) * 0.002)
    assert "50 steps of" in found.words and "images at 100 images/s" in found.words
    assert "4 tests on 300 images and mirror images at 500 images/s" in found.words
    assert min(predicted) > 1
