"""Folders of idx files, in the layout of MNIST: what is read, and one line for what can't be."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from test_sources import colours, labels, opened

from tenpercent.data.sources import idx_files
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.data.sources.opening import SourceOptions, open_split
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import SourceError, UsageError

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
TRAIN, TEST = [7, 0, 3, 0], [3, 9]


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


def pictures(n: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + n)[:, None, None] * np.ones((1, 5, 4))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for part, codes, start in (("train", TRAIN, 0), ("t10k", TEST, 100)):
        for name, values in (("images-idx3", pictures(len(codes), start)), ("labels-idx1", np.array(codes))):
            (tmp_path / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(idx(values)))
    return tmp_path


def test_splits_classes_and_pixels(folder: Path) -> None:
    source = opened(folder)
    assert source.spec == str(folder) and source.ids == ("0", "1", "2", "3")
    assert (source.split, source.splits) == ("train", ("train", "test"))
    assert source.class_names == ("0", "3", "7") and labels(source) == [2, 0, 1, 0]
    assert colours(source) == [0, 1, 2, 3] and source.read(3).shape == (5, 4)
    said = f"4 images from {IMAGES}, 3 classes from {LABELS}; split train"
    assert describe_taken(account(source)) == said
    test = open_split(folder, SourceOptions(), "test")
    assert isinstance(test, ImageSource) and colours(test) == [100, 101]
    assert test.class_names == ("0", "3", "7", "9") and labels(test) == [1, 3]
    assert opened(folder, split="testing").split == "test"


def test_files_without_gzip_come_first_and_have_either_name(folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(idx(pictures(4, 50)))
    assert colours(opened(folder)) == [50, 51, 52, 53]
    (folder / "t10k-images-idx3-ubyte.gz").rename(
        folder / "t10k-images.idx3-ubyte"
    )  # unpacked by its content
    assert colours(opened(folder, split="test")) == [100, 101]


def test_names_of_a_known_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"class {code}" for code in range(10))
    monkeypatch.setattr(idx_files, "_KNOWN", {sha256(bytes(TEST)).hexdigest()[:16]: names})
    assert opened(folder, split="test").class_names == names
    assert opened(folder).class_names == ("0", "3", "7")


def test_the_installed_fashion_mnist() -> None:
    place = Path("/usr/share/datasets/fashion-mnist")
    if not place.is_dir():
        pytest.skip("the Debian package dataset-fashion-mnist is not installed")
    source, test = opened(place), opened(place, split="test")
    assert (len(source), len(test)) == (60_000, 10_000)
    assert source.class_names == test.class_names and source.class_names[9] == "Ankle boot"
    assert np.bincount(source.labels).tolist() == [6000] * 10  # type: ignore[arg-type]


def test_reading_loads_no_torch(folder: Path) -> None:
    code = f"import sys, tenpercent as tp; tp.open_source({str(folder)!r}).read(0); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def _write(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return damage


def _anew(name: str, values: np.ndarray) -> Callable[[Path], None]:
    return _write(name, lambda _: gzip.compress(idx(values)))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_write(IMAGES, lambda old: old[:-9]), rf"{IMAGES} can't be read \(.*\); get it again"),
        (_write(IMAGES, lambda old: old[:20] + b"\0\0\0" + old[23:]), rf"{IMAGES} can't be read \(.*\); get it again"),
        (_write(IMAGES, lambda old: gzip.decompress(old)[:-1]), "declares 4 × 5 × 4 values and holds 79; get"),
        (_write(IMAGES, lambda old: gzip.decompress(old) + b"1"), "declares 4 × 5 × 4 values and holds 81; get"),
        (_write(IMAGES, lambda old: gzip.decompress(old)[:7]), "declares 0 × 0 × 0 values and holds 0; get"),
        (_write(IMAGES, lambda _: b""), "begins with nothing, an idx file of bytes in 3 dimensions with 00000803"),
        (_write(IMAGES, lambda _: b"<!DOCTYPE html>"), "begins with 3c21444f, an idx file"),
        (_anew(LABELS, pictures(4)), f"{LABELS} begins with 00000803, .* in 1 dimension with 00000801"),
        (_anew(LABELS, np.array(TRAIN[:3])), rf"{IMAGES} holds 4 images and {LABELS} 3 labels; get the two files"),
        (_anew(IMAGES, np.zeros((0, 5, 4))), "declares 0 × 5 × 4 values and holds 0"),
        (lambda folder: (folder / LABELS).unlink(), f"has no {LABELS[:-3]} and no {LABELS}; put one there"),
        (lambda folder: (folder / IMAGES).unlink(), f"has no {IMAGES[:-3]} and no {IMAGES}; put one there"),
    ],
)  # fmt: skip
def test_damaged_files_are_one_line(folder: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(folder)
    with pytest.raises(SourceError, match=said) as caught:
        opened(folder)
    assert "\n" not in str(caught.value)
    assert colours(opened(folder, split="test")) == [100, 101]


def test_a_split_or_option_that_there_is_not(folder: Path) -> None:
    with pytest.raises(SourceError, match="no split 'val', only train, test"):
        opened(folder, split="val")
    with pytest.raises(
        UsageError, match=r"--labels .* does not apply to a folder of idx files \(it takes: --split\)"
    ):
        opened(folder, labels=folder / LABELS)
    for name in (IMAGES, LABELS):
        (folder / name).unlink()
    with pytest.raises(SourceError, match="no split 'train', only test"):
        opened(folder)
