"""Pairs that must not share a cluster: equal rows collapse as they must, and the engine gives the reference's tree."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from examples import some
from hard_vectors import (
    CONSTRAINTS,
    METRICS,
    assert_same,
    constraints,
    first_of,
    groups,
    hard_inputs,
    hard_vectors,
    up_to,
)
from tenpercent.errors import UsageError
from tenpercent.linkage.distances import scaled_rows
from tenpercent.linkage.equal_rows import collapse
from tenpercent.linkage.linkage import first_merges
from tenpercent.linkage.memory import Resources
from tenpercent.linkage.reference import complete_linkage

metrics = st.sampled_from(METRICS)
kinds = st.sampled_from(CONSTRAINTS)
seeds = st.integers(0, 10**6)


def firsts(rows):
    """For each row the first position that holds an equal one."""
    _, first, of = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    return first[of.ravel()]


def listed(a, b):
    return list(zip(a.tolist(), b.tolist(), strict=True))


# ---- equal rows --------------------------------------------------------------------------------------------------


def test_equal_rows_without_constraints():
    for none in (None, [], np.empty((0, 2), dtype=np.int64)):
        found = collapse(np.array([0, 1, 0, 3, 0, 1]), none)
        assert listed(found.a, found.b) == [(0, 2), (1, 5), (2, 4)]
        assert found.points.tolist() == [3, 4, 5]
        assert found.apart.shape == (0, 2)
    found = collapse(np.arange(0))
    assert [len(part) for part in found] == [0, 0, 0, 0]
    assert {part.dtype for part in found} == {np.dtype(np.int64)}


def test_a_constraint_between_different_rows_parts_their_points():
    # Rows 0, 2, 4 and 1, 5 are equal; row 3 is alone.
    found = collapse(np.array([0, 1, 0, 3, 0, 1]), [(5, 0), (2, 1), (3, 0)])
    assert listed(found.a, found.b) == [(0, 2), (1, 5), (2, 4)]
    assert found.points.tolist() == [3, 4, 5]
    assert found.apart.tolist() == [[0, 1], [1, 2]]


@pytest.mark.parametrize(
    ("pairs", "merges", "points", "apart"),
    [
        ([(0, 1)], [(0, 2), (1, 3), (2, 4)], [3, 4], [[0, 1]]),
        ([(3, 4)], [(0, 1), (1, 2), (2, 3)], [3, 4], [[0, 1]]),
        ([(0, 4), (1, 3)], [(0, 1), (1, 2), (3, 4)], [2, 4], [[0, 1]]),
        ([(0, 1), (0, 2), (1, 2)], [(0, 3), (1, 4)], [2, 3, 4], [[0, 1], [0, 2], [1, 2]]),
        (list(combinations(range(5), 2)), [], [0, 1, 2, 3, 4], [list(p) for p in combinations(range(5), 2)]),
    ],
)
def test_five_equal_rows(pairs, merges, points, apart):
    for given_pairs in (pairs, [(y, x) for x, y in pairs] + pairs):
        found = collapse(np.zeros(5, dtype=np.int64), given_pairs)
        assert listed(found.a, found.b) == merges
        assert found.points.tolist() == points
        assert found.apart.tolist() == apart


@settings(deadline=None, max_examples=some(75))
@given(vectors=hard_inputs(most=40, widest=2), kind=kinds, seed=seeds)
def test_nothing_changes_after_the_collapse(vectors, kind, seed):
    pairs = constraints(kind, vectors, seed)
    tree = complete_linkage(vectors, metric="euclidean", cannot_link=pairs)
    found = collapse(firsts(scaled_rows(vectors)[0]), pairs)
    zero = up_to(tree, 0.0)
    assert listed(found.a, found.b) == listed(tree.a[:zero], tree.b[:zero])
    assert np.all(np.diff(found.points) > 0) and len(found.points) == len(vectors) - zero
    assert len(found.apart) <= (0 if pairs is None else len(pairs))
    assert found.apart.tolist() == np.unique(np.sort(found.apart, axis=1), axis=0).reshape(-1, 2).tolist()
    assert np.all(found.apart[:, 0] < found.apart[:, 1])

    above = complete_linkage(vectors[found.points], metric="euclidean", cannot_link=found.apart)
    scale = float(np.abs(vectors).max()) / float(np.abs(vectors[found.points]).max())
    assert scale == 1.0  # so that heights have the same bits
    assert listed(found.points[above.a], found.points[above.b]) == listed(tree.a[zero:], tree.b[zero:])
    assert above.height.tolist() == tree.height[zero:].tolist()


def constraint_sets(n):
    rng = np.random.default_rng(0)
    draw = rng.integers(0, n, size=(1000, 2))
    yield "anywhere", draw
    yield "among the first", draw % 50
    yield "among the last", n - 1 - draw % 50
    yield "one with the last thousand", np.stack([np.zeros(1000, int), np.arange(n - 1000, n)], axis=1)
    yield "the last with the first thousand", np.stack([np.arange(1000), np.full(1000, n - 1)], axis=1)
    yield "each of 45 with each", np.array(list(combinations(range(45), 2)))
    yield "neighbours", np.stack([np.arange(1000), np.arange(1, 1001)], axis=1)


@pytest.mark.parametrize(("name", "pairs"), list(constraint_sets(50_000)))
def test_fifty_thousand_equal_rows_take_no_time(name, pairs):
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    start = time.process_time()
    found = collapse(np.zeros(50_000, dtype=np.int64), pairs)
    assert time.process_time() - start < 2
    assert len(found.points) + len(found.a) == 50_000
    assert len(found.apart) == len(found.points) * (len(found.points) - 1) // 2  # each two are apart


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(0, 1), (2, 2)], r"cannot_link\[1\] is \(2, 2\)"),
        ([(0, 1), (1, 4)], r"cannot_link\[1\] is \(1, 4\); positions of 4 vectors go from 0 to 3"),
        ([(0, 1), (3, 1), (-1, 2)], r"cannot_link\[2\] is \(-1, 2\)"),
        (np.array([[0, 2**64 - 1]], dtype=np.uint64), r"cannot_link\[0\] is \(0, 18446744073709551615\)"),
        ([0, 1], r"shape \(2,\)"),
        ([(0, 1, 2)], r"shape \(1, 3\)"),
        ([(0.0, 1.0)], "dtype float64"),
        ([(True, False)], "dtype bool"),
    ],
)
def test_what_is_no_pair_of_positions_is_refused(pairs, message):
    vectors = np.eye(4)
    for refusing in (
        lambda: collapse(np.arange(4), pairs),
        lambda: complete_linkage(vectors, cannot_link=pairs),
        lambda: first_merges(vectors, merges=0, cannot_link=pairs),
    ):
        with pytest.raises(UsageError, match=message) as said:
            refusing()
        assert "\n" not in str(said.value)


# ---- the engine --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=some(75))
@given(vectors=hard_inputs(), metric=metrics, kind=kinds, seed=seeds, cut=st.floats(0, 1))
@example(vectors=np.ones((9, 3)), metric="cosine", kind="among equals", seed=3, cut=0.4)
@example(vectors=np.ones((9, 3)), metric="cosine", kind="all", seed=3, cut=0.4)
def test_the_engine_is_the_reference_under_constraints(vectors, metric, kind, seed, cut):
    n = len(vectors)
    pairs = constraints(kind, vectors, seed)
    tree = complete_linkage(vectors, metric=metric, cannot_link=pairs)
    assert_same(first_merges(vectors, merges=n - 1, metric=metric, cannot_link=pairs), tree)
    assert_same(first_merges(vectors, height=math.inf, metric=metric, cannot_link=pairs), tree)

    wanted = round(cut * len(tree))
    found = first_merges(vectors, merges=wanted, metric=metric, cannot_link=pairs)
    assert_same(found, tree, *first_of(tree, wanted))
    height = float(tree.height[wanted - 1]) if wanted else 0.0
    for near in {height, max(0.0, float(np.nextafter(height, -1))), float(np.nextafter(height, math.inf))}:
        found = first_merges(vectors, height=near, metric=metric, cannot_link=pairs)
        assert_same(found, tree, up_to(tree, near), math.inf if up_to(tree, near) == len(tree) else near)


@settings(deadline=None, max_examples=20)
@given(vectors=hard_inputs(most=12, widest=3), metric=metrics, kind=kinds, seed=seeds)
def test_every_cut_under_constraints(vectors, metric, kind, seed):
    pairs = constraints(kind, vectors, seed)
    tree = complete_linkage(vectors, metric=metric, cannot_link=pairs)
    for wanted in range(len(vectors)):
        found = first_merges(vectors, merges=wanted, metric=metric, cannot_link=pairs)
        assert_same(found, tree, *first_of(tree, wanted))


@settings(deadline=None, max_examples=5)
@given(
    kind=st.sampled_from(["grid", "twins", "last bit", "balls"]),
    n=st.integers(200, 400),
    width=st.sampled_from([2, 6, 64]),
    limits=st.sampled_from(["few", "many", "two sides"]),
    metric=metrics,
    seed=seeds,
)
def test_a_few_hundred_vectors_under_constraints(kind, n, width, limits, metric, seed):
    vectors = hard_vectors(kind, n, width, seed)
    pairs = constraints(limits, vectors, seed)
    tree = complete_linkage(vectors, metric=metric, cannot_link=pairs)
    for wanted in (n - 1, n * 9 // 10, n // 2, n // 10):
        found = first_merges(vectors, merges=wanted, metric=metric, cannot_link=pairs)
        assert_same(found, tree, *first_of(tree, wanted))


@settings(deadline=None, max_examples=some(30))
@given(
    vectors=hard_inputs(most=50),
    metric=metrics,
    kind=kinds,
    seed=seeds,
    cuts=st.lists(st.floats(0, 1), min_size=2, max_size=4),
    threads=st.sampled_from([None, 1, 2]),
    scratch=st.booleans(),
    forget=st.booleans(),
)
def test_going_on_under_constraints_gives_the_same_bytes(
    vectors, metric, kind, seed, cuts, threads, scratch, forget
):
    pairs = constraints(kind, vectors, seed)
    tree = complete_linkage(vectors, metric=metric, cannot_link=pairs)
    after = None
    with tempfile.TemporaryDirectory() as folder:
        resources = Resources(memory=2**28, threads=threads, scratch=Path(folder) if scratch else None)
        for cut in cuts:
            wanted = round(cut * (len(vectors) - 1))
            found = first_merges(
                vectors, merges=wanted, metric=metric, cannot_link=pairs, after=after, resources=resources
            )
            assert_same(found, tree, *first_of(tree, wanted))
            after = replace(found, counted=None) if forget else found


def test_the_same_scratch_folder_with_other_constraints(tmp_path):
    vectors = hard_vectors("balls", 120, 4, 8)
    resources = Resources(scratch=tmp_path)
    for kind in CONSTRAINTS:
        pairs = constraints(kind, vectors, 8)
        tree = complete_linkage(vectors, cannot_link=pairs)
        assert_same(first_merges(vectors, merges=119, cannot_link=pairs, resources=resources), tree)


@pytest.mark.parametrize("metric", METRICS)
def test_many_equal_rows_with_constraints_are_no_work(metric):
    vectors = np.ones((40_000, 4), dtype=np.float32)
    vectors[::4000] = [1, 2, 3, 4]
    pairs = np.array([(0, 4000), (1, 2), (2, 39_999), (36_000, 39_999)])
    small = Resources(memory=1 << 26)
    tree = first_merges(vectors, merges=39_999, metric=metric, cannot_link=pairs, resources=small)
    group = groups(tree, 40_000)
    assert all(group[x] != group[y] for x, y in pairs)
    assert tree.complete_to == math.inf
    assert len(tree) == 40_000 - len(np.unique(group))
    assert_same(tree, complete_linkage_of_few(vectors, pairs, metric))


def complete_linkage_of_few(vectors, pairs, metric):
    """The reference's tree where all but a few merges are at height 0."""
    few = collapse(firsts(vectors), pairs)
    above = complete_linkage(vectors[few.points], metric=metric, cannot_link=few.apart)
    parts = [
        np.concatenate(two)
        for two in (
            (few.a, few.points[above.a]),
            (few.b, few.points[above.b]),
            (np.zeros(len(few.a)), above.height),
        )
    ]
    return replace(above, a=parts[0], b=parts[1], height=parts[2])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ["few", "many", "two sides"])
def test_what_is_left_can_merge_no_further(kind, metric):
    # By definition: when nothing more can merge, each two clusters hold a forbidden pair, and none holds one itself.
    vectors = hard_vectors("balls", 150, 5, 4)
    pairs = constraints(kind, vectors, 4)
    group = groups(first_merges(vectors, merges=149, metric=metric, cannot_link=pairs), 150)
    ends = np.unique(np.sort(group[pairs], axis=1), axis=0)
    assert np.all(ends[:, 0] < ends[:, 1])
    count = group.max() + 1
    assert len(ends) == count * (count - 1) // 2
