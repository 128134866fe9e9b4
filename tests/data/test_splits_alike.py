"""A test split gets the classes of the training split, however each of the two is laid out."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.data.sources.opening import open_split
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.evaluation.evaluation_set import evaluation_set
from tenpercent.selection.stored import open_images


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (2, 2)).save(file, "PNG")
    return file.getvalue()


def opened_test(source: Path) -> ImageSource:
    found = open_split(str(source), SourceOptions(), "test")
    assert isinstance(found, ImageSource)
    return found


def named(source: ImageSource) -> list[str | None]:
    """The class name of each row."""
    if source.labels is None:
        return [None] * len(source)
    return [source.class_names[code] if code >= 0 else None for code in source.labels.tolist()]


@pytest.mark.parametrize(
    ("test", "classes"),
    [
        (("test/cat/images", "test/dog/images"), ["cat", "dog"]),
        (("test/cat/images",), ["cat"]),  # one class only: its level is known by its name
        (("test/images/cat", "test/images/dog"), ["cat", "dog"]),
        (("test/images",), [None]),  # as Tiny ImageNet has it
        (
            ("test/all/cat", "test/all/bird"),
            ["all/bird", "cat"],
        ),  # a class that is new keeps its name
    ],
)
def test_levels_that_only_the_test_split_has_are_no_part_of_class_names(
    tmp_path: Path, test: tuple[str, ...], classes: list[str | None]
) -> None:
    for folder in ("train/cat", "train/dog", *test):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.png").write_bytes(png())
    assert sorted(named(opened_test(tmp_path)), key=str) == classes


@pytest.mark.parametrize(
    ("train", "classes"),
    [
        ([0, 1, 2], [None, "1"]),  # -1 stands for no label there
        ([-1, 1, 1], ["-1", "1"]),
        ([-1, 0, 1], [None, "1"]),
    ],
)
def test_minus_one_means_in_the_test_split_what_it_means_in_training(
    tmp_path: Path, train: list[int], classes: list[str | None]
) -> None:
    for name, labels in (("train", train), ("test", [-1, 1])):
        table = pa.table({"image": [png()] * len(labels), "label": labels})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found = opened_test(tmp_path)
    assert named(found) == classes


def test_pictures_beside_vectors_are_tested_on_those_of_the_test_split(tmp_path: Path) -> None:
    for name, labels in (("train", [5, 300_000, 5, 7]), ("test", [300_000, 5])):
        columns = {
            "image": [png()] * len(labels),
            "vector": [[1.0, label] for label in labels],
            "label": labels,
        }
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    run = tmp_path / "run"
    tp.embed(tmp_path, out=run, options=SourceOptions(embedding_column="vector"))
    folder = RunFolder.open(run)
    found = evaluation_set(folder, open_images(folder), None, SourceOptions())
    assert found.name == "test"
    assert named(found.source) == ["300000", "5"]
    assert found.source.labels is not None
    assert found.source.labels.tolist() == [2, 0]  # the codes of training: 5, 7, 300000
