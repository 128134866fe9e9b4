"""The engine gives the reference's tree at every cut, however it is reached; and refuses what has no tree."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from examples import some
from hard_vectors import (
    METRICS,
    assert_same,
    first_of,
    groups,
    hard_inputs,
    hard_vectors,
    same_partition,
    up_to,
)
from tenpercent.errors import UsageError
from tenpercent.linkage import growth, scratch
from tenpercent.linkage.distances import dissimilarities, scaled_rows, unit_vectors
from tenpercent.linkage.linkage import Linkage, first_merges
from tenpercent.linkage.memory import MemoryBudgetError, Resources
from tenpercent.linkage.pairs import ScratchError
from tenpercent.linkage.reference import complete_linkage
from tenpercent.linkage.walk import walk
from tenpercent.tree.representatives import groups_of, representatives

metrics = st.sampled_from(METRICS)


def heights_near(tree, merges):
    """The height of a merge and its neighbours among the floating-point numbers, none below 0."""
    height = float(tree.height[merges - 1]) if merges else 0.0
    return {height, max(0.0, float(np.nextafter(height, -1))), float(np.nextafter(height, math.inf))}


@settings(deadline=None, max_examples=some(75))
@given(vectors=hard_inputs(), metric=metrics, cut=st.floats(0, 1))
@example(vectors=np.ones((7, 3)), metric="cosine", cut=0.5)
@example(vectors=np.zeros((7, 3)), metric="euclidean", cut=0.5)
@example(vectors=np.eye(9), metric="cosine", cut=0.3)
def test_the_engine_is_the_reference(vectors, metric, cut):
    n = len(vectors)
    tree = complete_linkage(vectors, metric=metric)
    assert_same(first_merges(vectors, merges=n - 1, metric=metric), tree)
    assert_same(first_merges(vectors, height=math.inf, metric=metric), tree)

    wanted = round(cut * (n - 1))
    assert_same(first_merges(vectors, merges=wanted, metric=metric), tree, *first_of(tree, wanted))
    for near in heights_near(tree, wanted):
        found = first_merges(vectors, height=near, metric=metric)
        assert_same(found, tree, up_to(tree, near), math.inf if up_to(tree, near) == n - 1 else near)


@settings(deadline=None, max_examples=6)
@given(
    vectors=st.builds(
        hard_vectors,
        st.sampled_from(["grid", "twins", "multiples", "last bit", "single", "balls"]),
        st.integers(200, 500),
        st.sampled_from([2, 5, 64]),
        st.integers(0, 10**9),
    ),
    metric=metrics,
)
def test_a_few_hundred_vectors(vectors, metric):
    n = len(vectors)
    tree = complete_linkage(vectors, metric=metric)
    for wanted in (n - 1, n * 9 // 10, n // 2, n // 10, n // 50):
        assert_same(first_merges(vectors, merges=wanted, metric=metric), tree, *first_of(tree, wanted))


@settings(deadline=None, max_examples=25)
@given(vectors=hard_inputs(most=14, widest=4), metric=metrics)
def test_every_cut(vectors, metric):
    tree = complete_linkage(vectors, metric=metric)
    for wanted in range(len(vectors)):
        found = first_merges(vectors, merges=wanted, metric=metric)
        assert_same(found, tree, *first_of(tree, wanted))
    for height in np.unique(tree.height):
        found = first_merges(vectors, height=height, metric=metric)
        assert_same(found, tree, up_to(tree, height), math.inf if height == tree.height[-1] else height)


@settings(deadline=None, max_examples=40)
@given(vectors=hard_inputs(most=40, widest=64), cut=st.floats(0, 1))
def test_groups_and_representatives_are_those_of_the_reference(vectors, cut):
    n = len(vectors)
    found = first_merges(vectors, merges=round(cut * (n - 1)))
    tree = complete_linkage(vectors)
    count, _ = first_of(tree, round(cut * (n - 1)))
    expected = groups(tree, n, count)
    group = groups_of(n, found.a, found.b)
    assert group.tolist() == expected.tolist()

    # The member nearest to the group's centre by cosine; of those within 1e-12 of the nearest the first.
    units = unit_vectors(vectors)
    central = []
    for own in group:
        members = np.flatnonzero(expected == own)
        closeness = units[members] @ units[members].sum(axis=0)
        central.append(members[closeness >= closeness.max() - 1e-12][0])
    representative, dissimilarity = representatives(vectors, group)
    assert representative.tolist() == central
    assert dissimilarity.tolist() == dissimilarities(units, np.arange(n), np.array(central)).tolist()
    assert np.all(dissimilarity <= max(found.height, default=0.0))


# ---- going on from a shallower tree ------------------------------------------------------------------------------


@settings(deadline=None, max_examples=some(40))
@given(
    vectors=hard_inputs(most=50),
    metric=metrics,
    cuts=st.lists(st.floats(0, 1), min_size=2, max_size=4),
    by_height=st.booleans(),
    forget=st.booleans(),
)
def test_going_on_gives_the_same_bytes(vectors, metric, cuts, by_height, forget):
    n = len(vectors)
    tree = complete_linkage(vectors, metric=metric)
    after = None
    for cut in cuts:  # deeper, and sometimes less deep than what there is
        wanted = round(cut * (n - 1))
        depth = {"merges": wanted}
        count, to = first_of(tree, wanted)
        if by_height:
            depth = {"height": float(tree.height[wanted - 1]) if wanted else 0.0}
            to = math.inf if count == n - 1 else depth["height"]
        found = first_merges(vectors, metric=metric, after=after, **depth)
        assert_same(found, tree, count, to)
        assert_counted(found, vectors, metric)
        after = replace(found, counted=None) if forget else found


def assert_counted(tree, vectors, metric):
    """What goes with a tree to be gone on from, if anything, is what it says it is."""
    if tree.counted is None:
        return
    a, b, seen = tree.counted
    assert (a.dtype, b.dtype, seen.dtype) == (np.int32, np.int32, np.int64)
    assert np.all(a < b) and np.all(np.diff(a.astype(np.int64) * len(vectors) + b) > 0)
    rows, scale = (unit_vectors(vectors), 1.0) if metric == "cosine" else scaled_rows(vectors)
    i, j = np.triu_indices(len(rows), 1)
    d = dissimilarities(rows, i, j)
    near = (d if metric == "cosine" else np.sqrt(2 * d) / scale) <= tree.complete_to
    group = groups(tree, len(rows))
    largest = np.zeros(len(rows), dtype=np.int64)
    np.maximum.at(largest, group, np.arange(len(rows)))
    ends = np.sort(largest[group][np.stack([i, j], axis=1)[near]], axis=1)
    pairs, count = np.unique(ends[ends[:, 0] != ends[:, 1]], axis=0, return_counts=True)
    assert np.array_equal(np.stack([a, b], axis=1), pairs.reshape(-1, 2))
    if len(np.unique(rows, axis=0)) == len(rows):  # of equal rows one pair may stand for several
        assert np.array_equal(seen, count)


def test_a_long_chain_of_depths():
    vectors = hard_vectors("balls", 300, 8, 5)
    tree = complete_linkage(vectors)
    after = None
    for wanted in range(0, 300, 13):
        after = first_merges(vectors, merges=wanted, after=after)
        assert_same(after, tree, *first_of(tree, wanted))


# ---- memory, threads, scratch ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(
    vectors=hard_inputs(most=80),
    metric=metrics,
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    threads=st.sampled_from([None, 1, 2]),
    memory=st.sampled_from([None, 2**26, 2**30]),
    scratch=st.booleans(),
)
def test_resources_change_no_byte(vectors, metric, cuts, threads, memory, scratch):
    tree = complete_linkage(vectors, metric=metric)
    with tempfile.TemporaryDirectory() as folder:
        resources = Resources(memory=memory, threads=threads, scratch=Path(folder) if scratch else None)
        for cut in cuts:  # the scratch folder of one depth, and of other vectors, is there at the next
            wanted = round(cut * (len(vectors) - 1))
            found = first_merges(vectors, merges=wanted, metric=metric, resources=resources)
            assert_same(found, tree, *first_of(tree, wanted))
            half = vectors[: (len(vectors) + 1) // 2]
            found = first_merges(half, merges=len(half) - 1, metric=metric, resources=resources)
            assert_same(found, complete_linkage(half, metric=metric))


def least_memory(vectors, metric, threads):
    """About as little as any clustering of these vectors can do with."""
    with pytest.raises(MemoryBudgetError, match="any clustering of") as said:
        first_merges(
            vectors, merges=len(vectors) - 1, metric=metric, resources=Resources(memory=1, threads=threads)
        )
    return said.value.needed + 1000


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_tree_in_little_memory_is_the_same_tree(tmp_path, metric, threads):
    # A lattice: half a million pairs at a few hundred dissimilarities, so every part that is walked ends within a tie.
    sides = np.indices((10, 10, 10)).reshape(3, -1).T + 1.0
    vectors = np.random.default_rng(13).permutation(sides)
    tree = complete_linkage(vectors, metric=metric)
    little = least_memory(vectors, metric, threads)
    for merges in (100, 600, 990):
        for folder in (None, tmp_path):
            resources = Resources(memory=little, threads=threads, scratch=folder)
            found = first_merges(vectors, merges=merges, metric=metric, resources=resources)
            assert_same(found, tree, *first_of(tree, merges))
    found = first_merges(vectors, height=tree.height[700], metric=metric, resources=resources)
    assert_same(found, tree, up_to(tree, tree.height[700]), tree.height[700])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("apart", [None, [[0, 1], [2, 700], [5, 9]]])
def test_a_walk_that_was_stopped_goes_on_where_it_stood(tmp_path, monkeypatch, metric, apart):
    vectors = np.random.default_rng(14).permutation(np.indices((10, 10, 10)).reshape(3, -1).T + 1.0)
    monkeypatch.setattr(growth, "MOST_PIECE", 5_000)  # pairs, so that a shell is walked in many pieces
    monkeypatch.setattr(growth._Growth, "dense_pays", lambda *_: False)

    def clustered(merges, folder=tmp_path):
        resources = Resources(threads=1, scratch=folder)
        return first_merges(vectors, merges=merges, metric=metric, cannot_link=apart, resources=resources)

    walked: list[int] = []
    stop_at = -1

    def stopping(*args, **kwargs):
        if len(walked) == stop_at:
            raise KeyboardInterrupt
        walked.append(len(args[1]))
        return walk(*args, **kwargs)

    monkeypatch.setattr(growth, "walk", stopping)
    monkeypatch.setattr(scratch, "SECONDS", 0.0)
    undisturbed = clustered(900, folder=None)
    pairs, steps, piece = sum(walked), len(walked), max(walked)
    assert pairs > 3 * piece
    for stop_at in (1, steps // 2, steps - 1):
        for then in (900, 400):
            walked.clear()
            with pytest.raises(KeyboardInterrupt):
                clustered(900)
            done, here, stop_at = sum(walked), stop_at, -1
            walked.clear()
            found = clustered(then)
            if then == 400:  # what is not as deep comes out as if nothing stood there
                assert_same(found, undisturbed, *first_of(undisturbed, then))
            assert not list(tmp_path.iterdir())
            if then == 900:
                assert_same(found, undisturbed)
                assert all((x == y).all() for x, y in zip(found.counted, undisturbed.counted, strict=True))
                assert sum(walked) <= pairs - done + piece  # the piece that was begun is walked again
            stop_at = here


def test_a_walk_that_stands_within_a_shell_never_goes_beyond_a_height(tmp_path, monkeypatch):
    vectors = np.random.default_rng(14).permutation(np.indices((10, 10, 10)).reshape(3, -1).T + 1.0)
    monkeypatch.setattr(growth, "MOST_PIECE", 5_000)
    monkeypatch.setattr(growth._Growth, "dense_pays", lambda *_: False)
    monkeypatch.setattr(scratch, "SECONDS", 0.0)
    undisturbed = first_merges(vectors, merges=900, resources=Resources(threads=1))
    walked = 0

    def stopping(*args, **kwargs):
        nonlocal walked
        walked += 1
        if walked == 4:
            raise KeyboardInterrupt
        return walk(*args, **kwargs)

    resources = Resources(threads=1, scratch=tmp_path)
    for height in np.unique(undisturbed.height)[::3]:
        walked = 0
        with monkeypatch.context() as patched:
            patched.setattr(growth, "walk", stopping)
            with pytest.raises(KeyboardInterrupt):
                first_merges(vectors, merges=900, resources=resources)
        assert list(tmp_path.glob("walk-*/standing.npz"))
        found = first_merges(vectors, height=height, resources=resources)
        assert_same(found, undisturbed, up_to(undisturbed, height), height)


def test_a_damaged_standing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "SECONDS", 0.0)
    vectors = np.random.default_rng(15).normal(size=(300, 4))
    monkeypatch.setattr(scratch.Scratch, "clear", lambda _: None)
    first_merges(vectors, merges=200, resources=Resources(scratch=tmp_path))
    (standing,) = tmp_path.glob("walk-*/standing.npz")
    standing.write_bytes(standing.read_bytes()[:-30])
    with pytest.raises(
        ScratchError, match=r"standing\.npz is damaged .* delete it, and the walk begins again"
    ):
        first_merges(vectors, merges=280, resources=Resources(scratch=tmp_path))


def test_too_deep_for_the_memory_says_what_fits():
    vectors = np.random.default_rng(12).normal(size=(4000, 8))
    for memory in (0, 1, 1_000_000):
        for depth in ({"merges": 3700}, {"height": 0.5}):
            with pytest.raises(
                MemoryBudgetError, match=r"of 4,000 vectors needs about .* may be used"
            ) as said:
                first_merges(vectors, resources=Resources(memory=memory, threads=1), **depth)
            assert "\n" not in str(said.value)
    enough = Resources(memory=said.value.needed + 1000, threads=1)
    assert len(first_merges(vectors, merges=400, resources=enough)) == 400
    assert MemoryBudgetError.exit_status == 1


# ---- equal rows, the smallest inputs, every type of array --------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_many_equal_rows_are_no_work(metric):
    # 40,000 equal rows would be 800 million pairs at dissimilarity 0.
    vectors = np.ones((40_000, 4), dtype=np.float32)
    vectors[::4000] = [1, 2, 3, 4]
    tree = first_merges(vectors, merges=39_999, metric=metric, resources=Resources(memory=1 << 26))
    assert tree.complete_to == math.inf
    assert np.count_nonzero(tree.height) == 1
    assert (tree.a[-1], tree.b[-1]) == (36_000, 39_999)
    assert np.all(np.lexsort((tree.b, tree.a, tree.height)) == np.arange(39_999))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_smallest_inputs(n, metric):
    for depth in ({"merges": max(n - 1, 0)}, {"height": 2.0}, {"height": math.inf}):
        tree = first_merges(np.eye(2)[:n], metric=metric, **depth)
        assert tree.height.tolist() == [1.0 if metric == "cosine" else math.sqrt(2)] * max(n - 1, 0)
        assert tree.complete_to == math.inf
        assert (tree.a.dtype, tree.b.dtype, tree.height.dtype) == (np.int64, np.int64, np.float64)


def test_antipodal_rows():
    vectors = np.array([[1.0, 0], [-1, 0], [1, 1e-8], [-3, 0]])
    tree = first_merges(vectors, merges=3)
    assert_same(tree, complete_linkage(vectors))
    assert tree.height[-1] == 2.0
    both = np.concatenate([np.eye(30), -np.eye(30)])
    assert_same(first_merges(both, merges=59), complete_linkage(both))


def test_heights_that_tie_though_half_their_squares_do_not():
    # ½(1 + 2⁻⁵²) and ½ are different, the distances √(1 + 2⁻⁵²) and 1 are not: they come together, the smaller first.
    vectors = np.array([[0.0, 0, 0], [1, 2**-26, 0], [0, 0, 8], [1, 0, 8]])
    tree = complete_linkage(vectors, metric="euclidean")
    assert list(zip(tree.a.tolist(), tree.b.tolist(), strict=True)) == [(2, 3), (0, 1), (1, 2)]
    assert tree.height[:2].tolist() == [1, 1]
    for depth in ({"merges": 1}, {"merges": 2}, {"height": 1.0}):
        assert_same(first_merges(vectors, metric="euclidean", **depth), tree, 2, 1.0)
    assert len(first_merges(vectors, metric="euclidean", height=np.nextafter(1.0, 0))) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [2.0**-1060, 1e-300, 1e-60, 1e60, 1e300])
def test_tiny_and_huge_values(size, metric):
    vectors = hard_vectors("balls", 60, 5, 3) * size
    tree = complete_linkage(vectors, metric=metric)
    assert_same(first_merges(vectors, merges=59, metric=metric), tree)
    assert_same(first_merges(vectors, merges=30, metric=metric), tree, *first_of(tree, 30))
    assert_same(
        first_merges(vectors, height=tree.height[40], metric=metric),
        tree,
        up_to(tree, tree.height[40]),
        tree.height[40],
    )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("height", [5e-324, 1e-200, 1e160, 1e308])
def test_tiny_and_huge_heights(height, metric):
    vectors = hard_vectors("balls", 60, 5, 3)
    tree = complete_linkage(vectors, metric=metric)
    count, to = (0, height) if height < 1 else (59, math.inf)
    assert_same(first_merges(vectors, height=height, metric=metric), tree, count, to)


FORMS = {
    "float16": lambda rows: rows.astype(np.float16),
    "float32": lambda rows: rows.astype(np.float32),
    "float64": lambda rows: rows,
    "big-endian": lambda rows: rows.astype(">f8"),
    "big-endian float32": lambda rows: rows.astype(">f4"),
    "int8": lambda rows: rows.astype(np.int8),
    "int64": lambda rows: rows.astype(np.int64),
    "list": lambda rows: rows.tolist(),
    "Fortran order": np.asfortranarray,
    "every second row": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "every third column": lambda rows: np.repeat(rows, 3, axis=1)[:, ::3],
    "backwards": lambda rows: rows[::-1].copy()[::-1],
    "transposed": lambda rows: rows.T.copy().T,
    "subclass": lambda rows: rows.view(np.memmap),
}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("form", FORMS)
def test_every_type_of_array_gives_the_same_tree(form, metric):
    rows = np.random.default_rng(3).integers(-9, 10, size=(70, 6)).astype(np.float64)
    rows[::7] = rows[1]
    tree = complete_linkage(rows, metric=metric)
    given = FORMS[form](rows)
    if isinstance(given, np.ndarray):
        given.flags.writeable = False
    assert_same(first_merges(given, merges=69, metric=metric), tree)
    assert_same(first_merges(given, merges=30, metric=metric), tree, *first_of(tree, 30))
    assert np.array_equal(given, rows)  # it is not changed


def test_a_mapped_file_gives_the_same_tree(tmp_path):
    rows = hard_vectors("single", 90, 7, 1)
    np.save(tmp_path / "rows.npy", rows)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert_same(first_merges(mapped, merges=89), complete_linkage(rows))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_broken_row_is_named(value, metric, dtype):
    vectors = np.ones((6000, 3), dtype=dtype)
    vectors[5000, 1] = value
    with pytest.raises(UsageError, match=r"1 of 6,000 vectors holds (nan|infinity) \(row 5000\)"):
        first_merges(vectors, merges=1, metric=metric)


def test_a_zero_row_has_no_direction_but_a_place():
    vectors = np.array([[1.0, 0], [0, 0], [0, 3], [-0.0, 0]])
    with pytest.raises(UsageError, match=r"2 of 4 vectors are zero and have no direction \(rows 1, 3\)"):
        first_merges(vectors, merges=1)
    tree = first_merges(vectors, merges=3, metric="euclidean")
    assert list(zip(tree.a.tolist(), tree.b.tolist(), strict=True)) == [(1, 3), (0, 3), (0, 2)]
    assert tree.height.tolist() == [0, 1, math.sqrt(10)]


# ---- what is refused, and what can't be changed ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({}, "merges is None and height None; give one of them"),
        ({"merges": 1, "height": 0.5}, "merges is 1 and height 0.5; give one of them"),
        ({"merges": -1}, "merges is -1; 3 vectors have from 0 to 2"),
        ({"merges": 3}, "merges is 3; 3 vectors have from 0 to 2"),
        ({"height": -0.1}, "height is -0.1"),
        ({"height": math.nan}, "height is nan"),
        ({"merges": 1, "metric": "manhattan"}, "metric is 'manhattan'"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        first_merges(np.eye(3), **wrong)


@pytest.mark.parametrize(
    "vectors", [np.ones(3), np.ones((2, 3, 4)), np.ones((3, 0)), [["a", "b"]], [[1j, 2]]]
)
def test_what_is_no_matrix_of_numbers_is_refused(vectors):
    with pytest.raises(UsageError, match=r"must be .*matrix"):
        first_merges(vectors, merges=0)


def test_a_linkage_cannot_be_changed():
    tree = first_merges(np.eye(5), merges=2)
    for array in (tree.a, tree.b, tree.height):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        tree.complete_to = 1.0
    assert isinstance(tree, Linkage)


# ---- SciPy, where heights differ ---------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "width"), [(400, 3), (700, 20)])
def test_it_is_scipys_tree_where_heights_differ(n, width, metric):
    vectors = np.random.default_rng(n).normal(size=(n, width))
    tree = first_merges(vectors, merges=n - 1, metric=metric)
    scipys = linkage(vectors, "complete", metric)
    assert np.abs(tree.height - scipys[:, 2]).max() < 1e-12
    assert all(one < other for one, other in pairwise(tree.height))
    for keep in (0.9, 0.5, 0.1):
        wanted = n - round(keep * n)
        found = first_merges(vectors, merges=wanted, metric=metric)
        assert_same(found, tree, wanted, tree.height[wanted - 1])
        assert same_partition(groups(found, n), fcluster(scipys, n - wanted, "maxclust"))
