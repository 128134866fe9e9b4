"""Of images that stand for their group equally well, pixels decide, then a clearly larger file, then the name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import tenpercent as tp
from stored_runs import unpack
from tenpercent.tree.representatives import central, representatives


def resized(rows: np.ndarray, sizes: list[tuple[int, int, int]]) -> tp.Embeddings:
    return replace(tp.Embeddings.from_numpy(rows), sizes=np.asarray(sizes, dtype=np.int64))


def by_name(*order: int) -> np.ndarray:
    """A rank of images of one size."""
    return np.outer(order, (0, 0, 1))


PAIR = np.asarray([[1.0, 0.0], [0.99, 0.1], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ([(50, 50, 9), (100, 100, 9), (9, 9, 9)], 1),  # more pixels
        ([(100, 100, 9), (50, 50, 9), (9, 9, 9)], 0),
        ([(100, 10, 9), (10, 100, 99), (9, 9, 9)], 1),  # as many pixels, the larger file
        ([(10, 10, 9), (10, 10, 9), (9, 9, 9)], 0),  # the smaller id
        ([(10, 10, 1000), (10, 10, 1099), (9, 9, 9)], 0),  # a file larger by less than a tenth
        ([(10, 10, 1000), (10, 10, 1101), (9, 9, 9)], 1),
        ([(100_000, 100_000, 1), (99_999, 100_001, 9), (9, 9, 9)], 0),
    ],
)
def test_a_tie_goes_to_more_pixels_then_the_clearly_larger_file_then_the_smaller_id(
    sizes: list[tuple[int, int, int]], kept: int
) -> None:
    embeddings = resized(PAIR, sizes)
    selection = tp.select(tp.cluster(embeddings, keep=0.5), keep=0.67)
    assert selection.row_mask.tolist() == [kept == 0, kept == 1, True]
    assert (selection.representative_rows[:2] == kept).all()


def kept_names(names: list[str], sizes: list[tuple[int, int, int]]) -> list[str]:
    """The names kept of equal images."""
    rows = np.ones((len(names), 2))
    embeddings = tp.Embeddings.from_numpy(rows, ids=names)
    order = [names.index(name) for name in embeddings.ids]
    sized = replace(embeddings, sizes=np.asarray(sizes, dtype=np.int64)[order])
    return list(tp.select(tp.cluster(sized, keep=0.01), keep=0.01).kept)


@pytest.mark.parametrize(
    "copy", ["a (1).jpg", "a copy.jpg", "a-edited.jpg", "0/a_bright.jpg", "Copy of a.jpg"]
)
def test_a_name_as_of_a_copy_goes_where_the_files_are_about_as_large(copy: str) -> None:
    assert kept_names(["z/a.jpg", copy], [(9, 9, 1000), (9, 9, 1020)]) == ["z/a.jpg"]
    assert kept_names(["z/a.jpg", copy], [(9, 9, 1000), (9, 9, 1200)]) == [copy]
    assert kept_names(["z/a.jpg", copy], [(9, 9, 1000), (9, 10, 900)]) == [copy]
    assert kept_names(["z/a.jpg", "b/a.jpg"], [(9, 9, 1000), (9, 9, 1020)]) == ["b/a.jpg"]


def test_sizes_are_held_against_the_largest_of_the_group() -> None:
    """Each is less than a tenth larger than the one before; the first two are out all the same."""
    sizes = [(9, 9, 1000), (9, 9, 1090), (9, 9, 1180), (9, 9, 1280), (8, 9, 9999)]
    assert kept_names(["a", "ab", "abcd", "abc", "A"], sizes) == ["abc"]


def test_the_nearest_to_the_centre_stays_however_small_it_is() -> None:
    angles = np.radians([0.0, 5.0, 10.0])
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    found = representatives(rows, np.zeros(3, dtype=np.int64), by_name(1, 2, 0))
    assert found[0].tolist() == [1, 1, 1]


def test_an_image_that_may_not_stand_does_not_whatever_its_size() -> None:
    units = np.repeat([[1.0, 0.0]], 3, axis=0)
    starts = np.asarray([0, 3])
    chosen = central(units, starts, np.asarray([True, False, True]), by_name(2, 0, 1))
    assert chosen.tolist() == [2]
    assert central(units, starts, np.zeros(3, dtype=bool), by_name(2, 0, 1)).tolist() == [-1]


def test_the_tree_and_the_groups_do_not_depend_on_sizes() -> None:
    draw = np.random.default_rng(0)
    rows = np.repeat(draw.standard_normal((20, 4)), 2, axis=0)
    plain = tp.Embeddings.from_numpy(rows)
    sized = replace(plain, sizes=draw.integers(1, 99, (40, 3)))
    one, other = (tp.select(tp.cluster(each, keep=0.2), keep=0.4) for each in (plain, sized))
    assert (one.group == other.group).all()
    assert (one.group_diameter == other.group_diameter).all()
    assert len(one.kept) == len(other.kept)
    pixels = sized.sizes[:, 0] * sized.sizes[:, 1]
    for members in other.group_members():
        assert pixels[members[0]] == pixels[members].max()


def shrunk_copies(folder: Path) -> Path:
    """Ten pictures, each beside a copy of half the width whose name comes first."""
    draw = np.random.default_rng(3)
    folder.mkdir()
    for number in range(10):
        picture = Image.fromarray(draw.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize((96, 72))
        picture.save(folder / f"IMG_{number:03d}.png")
        picture.resize((48, 36)).save(folder / f"IMG_{number:03d} (1).png")
    return folder


def mean_colour(images: list[np.ndarray]) -> np.ndarray:
    return np.stack([image.reshape(-1, 3).mean(axis=0) for image in images])


def test_the_original_is_kept_and_its_thumbnail_goes(tmp_path: Path) -> None:
    folder = shrunk_copies(tmp_path / "photos")
    run = tmp_path / "run"
    tp.embed(folder, out=run, embedder=mean_colour)
    stored = pq.read_table(run / "embeddings" / "part-00000.parquet")
    assert stored["width"].to_pylist()[:2] == [48, 96]
    assert stored["height"].to_pylist()[:2] == [36, 72]
    assert stored["bytes"].to_pylist()[0] == (folder / "IMG_000 (1).png").stat().st_size
    embeddings = tp.Embeddings.load(run / "embeddings")
    paired = replace(embeddings, vectors=np.repeat(np.eye(10), 2, axis=0))
    selection = tp.select(tp.cluster(paired, keep=0.4), keep=0.5)
    assert all("(1)" in name for name in selection.removed)
    assert len(selection.removed) == 10


def test_runs_of_before_keep_their_representatives(tmp_path: Path) -> None:
    run = unpack(tmp_path / "stored") / "runs" / "splits"
    assert tp.Embeddings.load(run / "embeddings").rank is None
