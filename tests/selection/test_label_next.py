"""Images to label next: greedy by definition from the labelled ones, with ties; and what is wrong is one line."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some
from slow_strategies import plain_graph_add, plain_kcenter, plain_matrix
from tenpercent.cli.main import main
from tenpercent.errors import UsageError
from tenpercent.linkage.distances import unit_vectors
from tenpercent.selection.strategies.along_tree import halved, leaf_order

N = 30


def drawn(seed: int) -> tp.Embeddings:
    """Few distinct directions: ties, and equal rows."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 4, (N, 3)).astype(np.float32)
    return tp.Embeddings.from_numpy(rows, ids=[f"image {row:02d}" for row in range(N)])


def positions(embeddings: tp.Embeddings, ids: np.ndarray) -> list[int]:
    return np.searchsorted(embeddings.ids, ids).tolist()


@settings(deadline=None, max_examples=some(30))
@given(
    seed=st.integers(0, 10**6),
    locked=st.sets(st.integers(0, N - 1), min_size=1, max_size=N - 1),
    share=st.floats(0, 1),
    strategy=st.sampled_from(["kcenter", "graph-add"]),
)
def test_each_next_image_is_the_best_one_after_those_before(
    seed: int, locked: set[int], share: float, strategy: str
) -> None:
    embeddings, there = drawn(seed), sorted(locked)
    units = unit_vectors(embeddings.vectors)
    n = max(1, round(share * (N - len(there))))
    found = tp.next_images(embeddings, n, locked=embeddings.ids[there], strategy=strategy)
    if strategy == "kcenter":
        expected = plain_kcenter(units, there, len(there) + n, -np.inf)[len(there) :]
    else:
        expected = plain_graph_add(units, n, there)
    images = positions(embeddings, found.ids)
    assert images == expected
    matrix = plain_matrix(units)
    for k, (image, near) in enumerate(zip(images, positions(embeddings, found.nearest), strict=True)):
        before = [*there, *images[:k]]
        assert near in before
        assert found.dissimilarity[k] == matrix[image, near] == matrix[image, before].min()


def plain_halved(row: list[int], labelled: set[int], count: int) -> list[int]:
    """Look for the longest stretch again for each image."""
    there, chosen = set(labelled), []
    for _ in range(count):
        stretches = [
            (begin, end)
            for begin in range(len(row))
            for end in range(begin + 1, len(row) + 1)
            if not there & {*row[begin:end]}
        ]
        begin, end = max(stretches, key=lambda one: (one[1] - one[0], -one[0]))
        chosen.append(row[begin + (end - begin - 1) // 2])
        there.add(chosen[-1])
    return chosen


@settings(deadline=None, max_examples=60)
@given(
    row=st.permutations(range(16)),
    labelled=st.sets(st.integers(0, 15), max_size=15),
    share=st.floats(0, 1),
)
def test_the_middle_of_the_longest_stretch_is_next(row: list[int], labelled: set[int], share: float) -> None:
    count = round(share * (16 - len(labelled)))
    found = halved(np.asarray(row), np.isin(np.arange(16), sorted(labelled)), count)
    assert found.tolist() == plain_halved(row, labelled, count)


def test_spread_halves_the_leaves_of_the_tree_however_deep_the_stored_one_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    np.save(tmp_path / "v.npy", rng.normal(size=(50, 4)).astype(np.float32))
    tp.run(tmp_path / "v.npy", out=tmp_path / "run", keep=0.9)
    shallow = tp.next_images(tmp_path / "run", 10, locked=[1, 2], strategy="spread").ids.tolist()
    deep = tp.cluster(tmp_path / "run", 0.02)
    assert tp.next_images(tmp_path / "run", 10, locked=[1, 2], strategy="spread").ids.tolist() == shallow
    merges = 50 - round(0.06 * 50)  # the groups of a tree down to 12 / 50 / 4
    row = leaf_order(50, deep.a[:merges], deep.b[:merges])
    assert [int(image) for image in shallow] == plain_halved(row.tolist(), {1, 2}, 10)
    bare = tp.next_images(deep.embeddings, 10, locked=[1, 2], strategy="spread")
    assert bare.ids.tolist() == shallow


def test_the_command_lists_and_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    np.save(tmp_path / "v.npy", rng.normal(size=(40, 4)).astype(np.float32))
    run, locked = str(tmp_path / "run"), tmp_path / "labelled.txt"
    locked.write_text("3\n7\n")
    main(["embed", str(tmp_path / "v.npy"), "--out", run, "--quiet"])
    assert main(["next", run, "--locked", str(locked), "--n", "15"]) == 0
    out = capsys.readouterr().out
    assert "15 images to label next, by kcenter from 2 labelled" in out and "… and 5 more" in out
    with (tmp_path / "run" / "next.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = tp.next_images(run, 15, locked=["3", "7"])
    assert [row["id"] for row in rows] == found.ids.tolist()
    assert [float(row["dissimilarity"]) for row in rows] == found.dissimilarity.tolist()
    assert main(["next", run, "--locked", f"{run}/next.csv", "--n", "25"]) == 0  # what is labelled then

    capsys.readouterr()
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "gone.txt").write_text("3\n40\n41\n42\n43\n")
    for arguments, said in (
        (["--n", "39"], "n is 39, but 2 of 40 images are locked; ask for at most 38"),
        (["--n", "0"], "n is 0; it must be a whole number of at least 1"),
        (["--n", "5", "--locked", str(tmp_path / "none.txt")], "names no images; give one id per line"),
        (
            ["--n", "5", "--locked", str(tmp_path / "gone.txt")],
            "locked '40', '41', '42' and 1 more: no such id",
        ),
        (["--n", "5", "--strategy", "random"], "strategy random does not start from labelled images"),
        (["--n", "5", "--strategy", "kcentre"], "did you mean kcenter"),
        (["--n", "5", "--to", str(locked)], "nothing is overwritten"),
    ):
        assert main(["next", run, "--locked", str(locked), *arguments]) == 2, said
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert locked.read_text() == "3\n7\n"
    with pytest.raises(UsageError, match="n is True"):
        tp.next_images(run, True, locked=[3])
