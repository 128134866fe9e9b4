"""The embedding stage writes the same bytes whether or not it was interrupted, and says what it can't go on with."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest
import timm
import torch
from PIL import Image
from torch import nn

from tenpercent.data.sources.source import ImageSource, Raw
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.records import SourceRecord
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding import extract, precision
from tenpercent.embedding.estimate import Sample, estimate
from tenpercent.embedding.extract import embed_source
from tenpercent.embedding.settings import Supervised, Timm
from tenpercent.errors import StageError, TenpercentError, UsageError

Images = npt.NDArray[np.uint8] | list[npt.NDArray[np.uint8]]


def mean_colours(images: Images) -> npt.NDArray[np.float64]:
    return np.stack([image.mean((0, 1)) + 1 for image in images])


def noise(seed: int, size: tuple[int, int] = (8, 8)) -> npt.NDArray[np.uint8]:
    """Two kinds of images that a network can tell apart."""
    bright = 128 * (seed % 2)
    return np.random.default_rng(seed).integers(bright, bright + 128, (*size, 3), dtype=np.uint8)


def png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def source_of(raws: Sequence[Raw], labels: Sequence[int] | None = None, spec: str = "made") -> ImageSource:
    ids = tuple(f"{row:04d}.png" for row in range(len(raws)))
    codes = None if labels is None else np.asarray(labels, dtype=np.int64)
    names = () if labels is None else ("dark", "light", "empty")
    return ImageSource(spec, ids, ids, codes, names, raws.__getitem__)


def labelled(n: int = 24) -> ImageSource:
    return source_of([noise(seed) for seed in range(n)], [seed % 2 for seed in range(n)])


def rows_of(source: ImageSource) -> npt.NDArray[np.int64]:
    return np.arange(len(source), dtype=np.int64)


def make_run(path: Path, source: ImageSource) -> RunFolder:
    return RunFolder.create(path, SourceRecord(source.spec, source.fingerprint))


def embed(path: Path, source: ImageSource, embedder: Any) -> dict[str, Any]:
    return embed_source(source, make_run(path, source), embedder, rows_of(source))


def stored(path: Path) -> dict[str, bytes]:
    files = [*(path / "embeddings").iterdir(), path / "rejected.parquet"]
    return {file.name: file.read_bytes() for file in files}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests that run side by side must not wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "PART", 100)


def test_what_is_stored(tmp_path: Path, small_parts: None) -> None:
    raws: list[Raw] = [png(noise(seed)) for seed in range(250)]
    raws[3] = b"broken"
    source = source_of(raws, [row % 2 for row in range(250)])
    summary = embed(tmp_path, source, mean_colours)
    assert (summary["n"], summary["rejected"], summary["layers"]) == (249, 1, {"end": 3})
    parts = sorted(path.name for path in (tmp_path / "embeddings").glob("part-*"))
    assert parts == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    rejected = pq.read_table(tmp_path / "rejected.parquet").to_pylist()
    assert [(one["id"], one["row"]) for one in rejected] == [("0003.png", 3)] and rejected[0]["reason"]
    found = Embeddings.load(tmp_path / "embeddings")
    assert found.rows.tolist() == [row for row in range(250) if row != 3]
    assert found.labels is not None and found.labels.tolist() == [row % 2 for row in found.rows]
    assert found.paths is not None and found.paths[3] == "0004.png"
    np.testing.assert_array_equal(
        found.vectors, np.float32(mean_colours([noise(row) for row in found.rows.tolist()]))
    )


def test_nothing_rejected_is_written_too(tmp_path: Path) -> None:
    embed(tmp_path, labelled(3), mean_colours)
    table = pq.read_table(tmp_path / "rejected.parquet")
    assert table.num_rows == 0 and table.column_names == ["id", "row", "reason"]


def test_only_the_rows_asked_for(tmp_path: Path) -> None:
    source = labelled(10)
    embed_source(source, make_run(tmp_path, source), mean_colours, np.array([1, 4, 7]))
    assert Embeddings.load(tmp_path / "embeddings").ids.tolist() == ["0001.png", "0004.png", "0007.png"]


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))


@pytest.mark.parametrize("gone", [[1], [1, 2], [0, 1, 2], [0]])
@pytest.mark.parametrize("embedder", [mean_colours, net()], ids=["function", "module"])
def test_parts_that_are_missing_come_back_with_the_same_bytes(
    tmp_path: Path, small_parts: None, embedder: Any, gone: list[int]
) -> None:
    source = labelled(230)
    embed(tmp_path, source, embedder)
    before = stored(tmp_path)
    for number in gone:
        (tmp_path / "embeddings" / f"part-{number:05d}.parquet").unlink()
    summary = embed(tmp_path, source, embedder)
    assert stored(tmp_path) == before
    assert summary["extracted"] == sum([100, 100, 30][number] for number in gone)


def test_an_interruption_at_any_batch_leaves_whole_parts_and_the_same_bytes(
    tmp_path: Path, small_parts: None
) -> None:
    source = labelled(230)
    embed(tmp_path / "undisturbed", source, mean_colours)

    class Killed(BaseException):
        pass

    def fragile(calls: int) -> Callable[[Images], npt.NDArray[np.float64]]:
        left = [calls]

        def mean_colours_until_killed(images: Images) -> npt.NDArray[np.float64]:
            if not left[0]:
                raise Killed
            left[0] -= 1
            return mean_colours(images)

        mean_colours_until_killed.__qualname__ = "mean_colours"
        return mean_colours_until_killed

    killed = tmp_path / "killed"
    for calls in (0, 1, 2, 2):
        with pytest.raises(Killed):
            embed(killed, source, fragile(calls))
        assert not list((killed / "embeddings").glob("*.partial"))
    embed(killed, source, fragile(99))
    assert stored(killed) == stored(tmp_path / "undisturbed")


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    source = labelled()
    embed(tmp_path, source, mean_colours)

    def other(images: Images) -> npt.NDArray[np.float64]:
        return mean_colours(images)

    with pytest.raises(StageError, match=r"function was .*mean_colours, now .*other.*--out.*delete"):
        embed(tmp_path, source, other)
    with pytest.raises(StageError, match=r"embedder was function:.*mean_colours, now module:"):
        embed(tmp_path, source, net())


def test_other_weights_of_a_module_are_another_embedder(tmp_path: Path) -> None:
    source, module = labelled(), net()
    embed(tmp_path, source, module)
    embed(tmp_path, source, net())
    with torch.no_grad():
        next(module.parameters()).add_(1)
    with pytest.raises(StageError, match="weights_hash was"):
        embed(tmp_path, source, module)


def test_images_and_rows_that_changed_are_refused(tmp_path: Path) -> None:
    raws: list[Raw] = [png(noise(seed)) for seed in range(6)]
    source = source_of(raws)
    embed(tmp_path, source, mean_colours)
    with pytest.raises(StageError, match="held out"):
        embed_source(source, make_run(tmp_path, source), mean_colours, np.arange(5))
    raws[2] = png(noise(99))
    with pytest.raises(StageError, match="contents of the images"):
        embed(tmp_path, source, mean_colours)


def test_a_part_of_something_else_is_refused(tmp_path: Path) -> None:
    source = labelled()
    for name, embedder in (("a", mean_colours), ("b", net())):
        embed(tmp_path / name, source, embedder)
    part = "embeddings/part-00000.parquet"
    (tmp_path / "b" / part).rename(tmp_path / "a" / part)
    with pytest.raises(StageError, match=r"part-00000.* has other settings"):
        embed(tmp_path / "a", source, mean_colours)


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1}', "[1]", '{"format": 99}'])
def test_settings_that_can_not_be_read_are_an_error(tmp_path: Path, content: str) -> None:
    source = labelled()
    embed(tmp_path, source, mean_colours)
    (tmp_path / "embeddings" / "settings.json").write_text(content)
    with pytest.raises(StageError, match=r"settings\.json"):
        embed(tmp_path, source, mean_colours)


@pytest.mark.parametrize("shape", [(3, 2), (24,), (24, 3, 4, 4)])
def test_vectors_of_the_wrong_shape_are_an_error(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(TenpercentError, match="the embedder returned"):
        embed(tmp_path, labelled(), lambda images: np.ones(shape))


def test_labels_are_needed_where_the_embedder_is_trained(tmp_path: Path) -> None:
    plain = source_of([noise(seed) for seed in range(4)])
    one_class = source_of([noise(seed) for seed in range(4)], [1, 1, 1, -1])
    remedies = {
        Supervised(): "--embedder pretrained",
        Timm("test_resnet", finetune=True): "--finetune",
    }
    for embedder, remedy in remedies.items():
        with pytest.raises(UsageError, match=rf"no labels.*{remedy}"):
            embed(tmp_path / "a", plain, embedder)
        with pytest.raises(UsageError, match=rf"one class \('light'\).*{remedy}"):
            embed(tmp_path / "b", one_class, embedder)


def test_one_class_is_found_out_after_the_broken_images_are_gone(tmp_path: Path) -> None:
    raws: list[Raw] = [noise(0), noise(1), noise(2), b"broken"]
    with pytest.raises(UsageError, match="has one class "):
        embed(tmp_path, source_of(raws, [0, 0, 0, 1]), Supervised())


def test_an_embedder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must be Pretrained\(\), Supervised"):
        embed(tmp_path, labelled(), "resnet")


def fast(**more: Any) -> Supervised:
    return Supervised(depth=8, epochs=2, batch=16, precision="float32", **more)


def test_a_trained_network_stores_three_layers_and_goes_on_where_it_was(
    tmp_path: Path, small_parts: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = labelled(130)
    summary = embed(tmp_path / "a", source, fast())
    assert summary["layers"] == {"start": 16, "middle": 32, "end": 64}
    assert (summary["epochs"], summary["precision"], summary["in_memory"]) == (2, "float32", True)
    assert set(summary["timings"]) == {"scan", "train", "extract"}
    before = stored(tmp_path / "a")
    weights = (tmp_path / "a" / "training" / "weights.safetensors").read_bytes()
    (tmp_path / "a" / "embeddings" / "part-00001.parquet").unlink()
    assert embed(tmp_path / "a", source, fast())["extracted"] == 30
    assert stored(tmp_path / "a") == before
    assert (tmp_path / "a" / "training" / "weights.safetensors").read_bytes() == weights
    # Pixels that don't fit into memory give the same bytes.
    monkeypatch.setattr(extract, "scan", partial(extract.scan, memory_limit=0))
    assert not embed(tmp_path / "b", source, fast())["in_memory"]
    assert stored(tmp_path / "b") == before


def test_images_without_a_label_are_embedded_too(tmp_path: Path) -> None:
    source = source_of(
        [noise(seed) for seed in range(40)], [seed % 2 if seed < 36 else -1 for seed in range(40)]
    )
    embed(tmp_path, source, fast())
    found = Embeddings.load(tmp_path / "embeddings", "middle")
    assert found.vectors.shape == (40, 32) and found.labels is not None and found.labels[-1] == -1


def test_another_setting_of_the_training_is_named(tmp_path: Path) -> None:
    source = labelled()
    embed(tmp_path, source, fast())
    with pytest.raises(StageError, match="seed was 0, now 1"):
        embed(tmp_path, source, fast(seed=1))
    (tmp_path / "embeddings" / "settings.json").unlink()
    with pytest.raises(StageError, match=r"settings\.json is gone"):
        embed(tmp_path, source, fast())


def test_rectangular_images_of_several_sizes_are_trained_on(tmp_path: Path) -> None:
    source = source_of(
        [noise(s, (9, 14) if s % 3 else (12, 12)) for s in range(30)], [s % 2 for s in range(30)]
    )
    assert "14×9" in embed(tmp_path, source, fast())["pixels"]


def save_weights(path: Path) -> Path:
    torch.manual_seed(3)
    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), path)
    return path


def test_a_model_of_timm_with_local_weights_keeps_the_precision_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_seconds", None)  # nothing is measured where nothing is trained
    weights = save_weights(tmp_path / "a.pt")
    source = source_of([png(noise(seed, (20 + seed, 30))) for seed in range(5)])
    summary = embed(tmp_path / "run", source, Timm("test_resnet", weights))
    assert summary["layers"] == {"end": 96} and summary["network"] == "test_resnet"
    assert summary["precision"] == "float32"
    before = stored(tmp_path / "run")
    (tmp_path / "run" / "embeddings" / "part-00000.parquet").unlink()
    moved = weights.rename(tmp_path / "b.pt")
    embed(tmp_path / "run", source, Timm("test_resnet", moved))
    assert stored(tmp_path / "run") == before
    settings = tmp_path / "run" / "embeddings" / "settings.json"  # as a version that measured may have begun
    settings.write_text(settings.read_text().replace('"precision": "float32"', '"precision": "bf16"'))
    (tmp_path / "run" / "embeddings" / "part-00000.parquet").unlink()
    assert embed(tmp_path / "run", source, Timm("test_resnet", moved))["precision"] == "bf16"


@pytest.mark.parametrize("size", [(8, 8), (40, 70)])
def test_a_model_of_timm_fine_tuned_on_the_labels(tmp_path: Path, size: tuple[int, int]) -> None:
    weights = save_weights(tmp_path / "a.pt")
    source = source_of([noise(seed, size) for seed in range(12)], [seed % 2 for seed in range(12)])
    tuned = Timm("test_resnet", weights, finetune=True, epochs=1, batch=6, precision="float32")
    summary = embed(tmp_path / "run", source, tuned)
    assert summary["layers"] == {"end": 96} and summary["epochs"] == 1
    assert (tmp_path / "run" / "training" / "weights.safetensors").exists()
    embed(tmp_path / "plain", source, Timm("test_resnet", weights, precision="float32"))
    embed(tmp_path / "again", source, tuned)
    assert stored(tmp_path / "again") == stored(tmp_path / "run")
    found, plain = (Embeddings.load(tmp_path / name / "embeddings") for name in ("run", "plain"))
    assert not np.allclose(found.vectors, plain.vectors)


@pytest.mark.parametrize("kind", ["supervised", "large", "timm", "finetune", "module", "function"])
def test_an_estimate_writes_nothing_and_says_what_would_be_done(tmp_path: Path, kind: str) -> None:
    size = (8, 8) if kind != "large" else (70, 80)
    source = source_of([noise(seed, size) for seed in range(300)], [seed % 2 for seed in range(300)])
    weights = save_weights(tmp_path / "a.pt")
    embedder, width, word = {
        "supervised": (fast(), 64, "resnet-8: 2 epochs, 38 steps"),
        "large": (Supervised(network="resnetv2_18", epochs=1), 512, "resnetv2_18: 1 epoch, 3 steps"),
        "timm": (Timm("test_resnet"), 96, "downloaded"),
        "finetune": (
            Timm("test_resnet", weights, finetune=True, epochs=3, batch=8),
            96,
            "trained further on the labels: 3 epochs",
        ),
        "module": (net(), 8, "Sequential"),
        "function": (mean_colours, 3, "mean_colours"),
    }[kind]
    found = estimate(Sample.of(source, embedder, rows_of(source)), embedder, 0.0)  # type: ignore[arg-type]
    assert found.width == width and word in " ".join(found.notes)
    assert "300 images of" in found.notes[0]
    assert found.seconds == pytest.approx(sum(found.stages.values())) and found.seconds > 0
    assert (found.stages["train"] > 0) == (kind in ("supervised", "large", "finetune"))
    assert found.memory_bytes > 0 and found.disk_bytes >= 300 * 4 * width
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_an_estimate_refuses_what_the_run_would_refuse() -> None:
    source = source_of([noise(seed) for seed in range(4)])
    with pytest.raises(UsageError, match="no labels"):
        Sample.of(source, Supervised(), rows_of(source))
