"""Embedding of images one by one: each decoded once, resumable, and without torch."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shuffled import Shuffled
from tenpercent.data.decoding.decode import Unreadable, decode_for
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import Decoding
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.records import SourceRecord
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.embedding import one_by_one
from tenpercent.embedding.one_by_one import embed_each
from tenpercent.errors import SourceError, StageError, TenpercentError
from tenpercent.tasks.task import Runner


class Means:
    """Encoder of an image as the mean of each colour, and of each colour's left half."""

    width, least = 6, None

    def __init__(self) -> None:
        self.calls = 0

    def vector(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        self.calls += 1
        half = image[:, : image.shape[1] // 2]
        return np.concatenate([image.mean(axis=(0, 1)), half.mean(axis=(0, 1))]).astype(np.float32)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(one_by_one, "PART", 10)
    yield


def embed(folder: Path, to: Path, encoder: Means, runner: Runner | None = None) -> dict[str, object]:
    source = open_source(folder)
    run = RunFolder.create(to, SourceRecord(str(folder), source.fingerprint))
    with run.lock(Stage.EMBED):
        return embed_each(source, run, encoder, np.arange(len(source)), {"embedder": "means"}, runner)


def contents(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(run.rglob("*.parquet"))}


def test_vectors_hashes_and_sizes_are_those_of_the_images(photos: Path, tmp_path: Path) -> None:
    summary = embed(photos, tmp_path / "run", Means())
    found = Embeddings.load(tmp_path / "run" / "embeddings")
    assert (summary["n"], summary["rejected"], len(found)) == (48, 1, 48)
    image = np.asarray(Image.open(photos / "dog" / "07.png"))
    at = found.ids.tolist().index("dog/07.png")
    np.testing.assert_allclose(found.vectors[at], Means().vector(image))
    assert found.sizes is not None
    assert found.sizes[at].tolist() == [16, 16, (photos / "dog" / "07.png").stat().st_size]


def test_a_killed_run_resumes_to_the_same_bytes_and_encodes_no_image_of_a_whole_part_again(
    photos: Path, tmp_path: Path
) -> None:
    embed(photos, tmp_path / "whole", Means())
    stopping = Means()

    def stop(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if stopping.calls == 25:
            raise KeyboardInterrupt
        return Means.vector(stopping, image)

    stopping.vector = stop  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        embed(photos, tmp_path / "killed", stopping)
    resumed = Means()
    embed(photos, tmp_path / "killed", resumed)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert resumed.calls == 48 - 20


def test_an_image_that_has_changed_is_embedded_again_while_nothing_depends_on_it(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    embed(photos, tmp_path / "run", Means())
    Image.new("RGB", (16, 16), (9, 8, 7)).save(photos / "cat" / "03.png")
    resumed = Means()
    embed(photos, tmp_path / "run", resumed)
    assert "'cat/03.png' has changed since" in caplog.text
    assert "the 10 images of that file are embedded again" in caplog.text
    assert resumed.calls == 10
    embed(photos, tmp_path / "other", Means())
    assert contents(tmp_path / "run") == contents(tmp_path / "other")


def finished(run: Path) -> None:
    """Record the embeddings of a run as finished."""
    RunFolder.open(run).record(
        Stage.EMBED, {"embedder": "means", "holdout": 0.0}, 0.0, n=48, layers={"end": 6}
    )


def test_a_finished_run_refuses_an_image_that_has_changed(photos: Path, tmp_path: Path) -> None:
    embed(photos, tmp_path / "run", Means())
    finished(tmp_path / "run")
    (tmp_path / "run" / "embeddings" / "part-00004.parquet").unlink()
    Image.new("RGB", (16, 16)).save(photos / "cat" / "03.png")
    with pytest.raises(StageError, match=r"'cat/03\.png' has changed since .*part-00000"):
        embed(photos, tmp_path / "run", Means())


def test_an_image_that_cannot_be_read_any_more_is_said_to_have_changed(photos: Path, tmp_path: Path) -> None:
    embed(photos, tmp_path / "run", Means())
    finished(tmp_path / "run")
    (tmp_path / "run" / "embeddings" / "part-00004.parquet").unlink()
    source = open_source(photos)
    (photos / "cat" / "03.png").unlink()
    run = RunFolder.open(tmp_path / "run")
    with run.lock(Stage.EMBED), pytest.raises(StageError, match=r"'cat/03\.png' .*No such file"):
        embed_each(source, run, Means(), np.arange(len(source)), {"embedder": "means"})


def test_a_vector_without_a_direction_is_rejected_with_the_reason(photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (16, 16)).save(photos / "cat" / "05.png")
    embed(photos, tmp_path / "run", Means())
    assert "cat/05.png" not in Embeddings.load(tmp_path / "run" / "embeddings").ids
    table = pq.read_table(RunFolder.open(tmp_path / "run").rejected).to_pylist()
    reasons = {one["id"]: one["reason"] for one in table}
    assert reasons["cat/05.png"] == "its vector is zero and has no direction"


def test_a_folder_of_broken_images_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    with pytest.raises(TenpercentError, match=r"of 30 images .* more than half"):
        embed(folder, tmp_path / "run", Means())


def test_photos_are_embedded_and_clustered_without_torch(photos: Path, tmp_path: Path) -> None:
    script = (
        "import sys, tenpercent as tp\n"
        f"tp.run({str(photos)!r}, out={str(tmp_path / 'run')!r}, embedder=tp.Pretrained())\n"
        "print(sorted({'torch', 'timm', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("way_up", [1, 3, 6, 8])
@pytest.mark.parametrize("ending", [".jpg", ".tiff", ".png", ".webp"])
def test_sizes_are_those_of_the_whole_upright_image(way_up: int, ending: str, tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[274] = way_up
    (tmp_path / "photos").mkdir()
    Image.linear_gradient("L").convert("RGB").resize((640, 480)).save(
        tmp_path / "photos" / f"a{ending}", exif=tags
    )
    half = Means()
    half.least = 100  # type: ignore[assignment]
    embed(tmp_path / "photos", tmp_path / "run", half)
    found = Embeddings.load(tmp_path / "run" / "embeddings")
    assert found.sizes is not None
    assert found.sizes[0, :2].tolist() == ([480, 640] if way_up > 4 else [640, 480])


def test_a_large_jpeg_is_decoded_smaller_but_no_smaller_than_asked_for(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((1600, 1200)).save(out, "JPEG")
    shapes = {
        least: decode_for(out.getvalue(), Decoding(), lambda image: image.shape, least)
        for least in (None, 448, 150, 9)
    }
    assert shapes == {None: (1200, 1600, 3), 448: (600, 800, 3), 150: (150, 200, 3), 9: (150, 200, 3)}


def test_a_large_jpeg_that_is_cut_off_is_rejected_at_a_reduced_scale_too(tmp_path: Path) -> None:
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    for progressive in (False, True):
        out = io.BytesIO()
        Image.fromarray(noise).save(out, "JPEG", progressive=progressive)
        for share in (0.3, 0.9, 0.999):
            with pytest.raises(Unreadable, match="truncated"):
                decode_for(out.getvalue()[: int(len(out.getvalue()) * share)], Decoding(), len, 100)


def test_after_the_first_images_a_run_says_how_long_all_take(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(one_by_one, "FIRST", 4)
    with caplog.at_level("INFO", "tenpercent"):
        embed(photos, tmp_path / "run", Means())
    assert [line for line in caplog.messages if line.startswith("embedding takes about ")]


def test_parts_made_by_tasks_have_the_bytes_of_one_process(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_by_one, "_network", Means)
    embed(photos, tmp_path / "one", Means())
    for seed in (1, 2):
        engine, run = Shuffled(seed), tmp_path / f"tasks {seed}"
        summary = embed(photos, run, Means(), engine)
        assert contents(run) == contents(tmp_path / "one") and len(engine.done) == 5
        assert (summary["n"], summary["rejected"], summary["extracted"]) == (48, 1, 49)
    # each continues what the other began
    (run / "embeddings" / "part-00003.parquet").unlink()
    engine = Shuffled()
    assert embed(photos, run, Means(), engine)["extracted"] == 10
    assert [task.output.name for task in engine.done] == ["part-00003.parquet"]
    (run / "embeddings" / "part-00001.parquet").unlink()
    assert embed(photos, run, Means())["extracted"] == 10
    assert contents(run) == contents(tmp_path / "one")


def test_a_machine_that_sees_other_images_is_told(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_by_one, "_network", Means)
    engine = Shuffled(before=lambda _: (photos / "cat" / "00.png").unlink(missing_ok=True))
    with pytest.raises(SourceError, match=r"holds other images on .*; let all machines see the same"):
        embed(photos, tmp_path / "run", Means(), engine)
