"""The oracle itself: on cases worked out by hand, beside its definition in sets, and against SciPy."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from examples import some
from hard_vectors import CONSTRAINTS, METRICS, constraints, hard_inputs
from tenpercent.errors import UsageError
from tenpercent.linkage.distances import dissimilarities, unit_vectors
from tenpercent.linkage.reference import complete_linkage


def at_angles(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def merges_of(tree):
    return list(zip(tree.a.tolist(), tree.b.tolist(), strict=True))


def test_the_diameter_decides_not_the_gap():
    # 0–10 merges first, then 25–33; 10–25 is nearer than 0–33, but the farthest pair counts.
    tree = complete_linkage(at_angles(0, 10, 33, 25))
    assert merges_of(tree) == [(2, 3), (0, 1), (0, 2)]
    assert tree.height == pytest.approx([1 - math.cos(math.radians(x)) for x in (8, 10, 33)], abs=1e-15)
    assert tree.complete_to == math.inf


def test_ties_go_to_the_smaller_pair_of_the_farthest():
    # The axes are all at exactly 1. Once 0 and 1 are one, their farthest pair with 2 is (1, 2), before (2, 3).
    assert merges_of(complete_linkage(np.eye(4))) == [(0, 1), (1, 2), (2, 3)]
    # At 0° and 90°, each twice over: 1 is as far from 0 and 2 as 3 is, and the larger position decides.
    assert merges_of(complete_linkage(np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]))) == [
        (0, 1),
        (2, 3),
        (1, 3),
    ]


def test_equal_rows_merge_first_one_after_the_other():
    tree = complete_linkage(np.array([[1.0, 0], [0, 1], [2, 0], [4, 0], [0, 8]]))
    assert merges_of(tree) == [(0, 2), (1, 4), (2, 3), (3, 4)]
    assert tree.height.tolist() == [0, 0, 0, 1]


def test_euclidean_heights_are_distances():
    tree = complete_linkage([[0.0, 0], [30, 40], [0, 1], [60, 79]], metric="euclidean")
    assert merges_of(tree) == [(0, 2), (1, 3), (0, 3)]
    assert tree.height.tolist() == [1, math.hypot(30, 39), math.hypot(60, 79)]
    # On a line all steps are 1. {0, 1} and 2 have the farthest pair (0, 2) at 2, so 2 goes with 3.
    assert merges_of(complete_linkage([[0.0], [1], [2], [3]], metric="euclidean")) == [(0, 1), (2, 3), (0, 3)]


@pytest.mark.parametrize("size", [2.0**-1060, 1e-308, 1e-150, 1e150, 1e307])
def test_euclidean_heights_of_tiny_and_huge_rows(size):
    rows = np.array([[3.0, 4], [0, 0], [3, 5], [-6, 4]])
    expected, tree = (
        complete_linkage(rows, metric="euclidean"),
        complete_linkage(rows * size, metric="euclidean"),
    )
    assert merges_of(tree) == merges_of(expected)
    assert tree.height == pytest.approx(expected.height * size, rel=1e-3 if size < 1e-308 else 1e-15, abs=0)


def test_a_forbidden_pair_is_at_infinity():
    rows = at_angles(0, 10, 33, 25)
    assert merges_of(complete_linkage(rows, cannot_link=[[3, 2]])) == [(0, 1), (0, 3)]  # 33 is left
    assert merges_of(complete_linkage(rows, cannot_link=[[0, 2]])) == [(2, 3), (0, 1)]
    assert merges_of(complete_linkage(rows, cannot_link=[(0, 1), (1, 2), (2, 3)])) == [(1, 3), (0, 2)]
    everything = list(combinations(range(4), 2))
    for pairs in (everything, everything + [(y, x) for x, y in everything]):
        tree = complete_linkage(rows, cannot_link=pairs)
        assert merges_of(tree) == [] and tree.complete_to == math.inf
    for none in (None, [], np.empty((0, 2), dtype=np.int64)):
        assert merges_of(complete_linkage(rows, cannot_link=none)) == [(2, 3), (0, 1), (0, 2)]


def test_a_forbidden_pair_among_equal_rows():
    # 0 can't go with 1, so it goes with 2; they and 1 are apart for good, and 1 takes 3 before they could.
    tree = complete_linkage(np.ones((4, 2)), cannot_link=[[1, 0]])
    assert merges_of(tree) == [(0, 2), (1, 3)]
    assert tree.height.tolist() == [0, 0]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_smallest_trees(n, metric):
    tree = complete_linkage(np.eye(2)[:n], metric=metric)
    assert merges_of(tree) == [(0, 1)][: max(n - 1, 0)]
    assert (tree.a.dtype, tree.b.dtype, tree.height.dtype) == (np.int64, np.int64, np.float64)


def by_definition(vectors, metric, forbidden):
    """Complete linkage in sets of points, with nothing remembered from step to step."""
    n = len(vectors)
    units = unit_vectors(vectors) if metric == "cosine" else np.asarray(vectors, dtype=np.float64)
    key = {}
    for i, j in combinations(range(n), 2):
        d = float(dissimilarities(units, np.array([i]), np.array([j]))[0])
        key[i, j] = (math.inf if {i, j} in forbidden else d, i, j)
    clusters, merges = [{point} for point in range(n)], []
    while len(clusters) > 1:
        farthest = {
            (x, y): max(key[min(p, q), max(p, q)] for p in clusters[x] for q in clusters[y])
            for x, y in combinations(range(len(clusters)), 2)
        }
        x, y = min(farthest, key=farthest.__getitem__)
        if farthest[x, y][0] == math.inf:
            break
        merges.append(farthest[x, y])
        clusters[x] |= clusters[y]
        del clusters[y]
    return merges


@settings(deadline=None, max_examples=some(40))
@given(
    vectors=hard_inputs(most=14, widest=4),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from(CONSTRAINTS),
    seed=st.integers(0, 10**6),
)
def test_it_is_the_definition(vectors, metric, kind, seed):
    pairs = constraints(kind, vectors, seed)
    expected = by_definition(vectors, metric, [] if pairs is None else [set(pair) for pair in pairs.tolist()])
    tree = complete_linkage(vectors, metric=metric, cannot_link=pairs)
    assert merges_of(tree) == [(a, b) for _, a, b in expected]
    d = np.array([d for d, _, _ in expected])
    if metric == "cosine":
        assert tree.height.tolist() == d.tolist()
    else:
        assert np.abs(tree.height - np.sqrt(2 * d)).max(initial=0.0) <= 1e-14


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_scipys_tree_where_heights_differ(seed, metric):
    vectors = np.random.default_rng(seed).normal(size=(300, 6))
    tree = complete_linkage(vectors, metric=metric)
    scipys = linkage(vectors, "complete", metric)
    assert np.diff(scipys[:, 2]).min() > 1e-12
    assert np.abs(tree.height - scipys[:, 2]).max() < 1e-12


def test_each_height_is_the_diameter_of_what_came_out():
    vectors = np.random.default_rng(9).integers(-2, 3, size=(40, 3)) + 0.25
    distances = squareform(pdist(vectors, "cosine"))
    tree = complete_linkage(vectors)
    group = {point: {point} for point in range(40)}
    for a, b, height in zip(tree.a, tree.b, tree.height, strict=True):
        joined = group[a] | group[b]
        assert not group[a] & group[b]
        members = sorted(joined)
        assert distances[np.ix_(members, members)].max() == pytest.approx(height, abs=1e-12)
        group.update(dict.fromkeys(joined, joined))


@pytest.mark.parametrize(("rows", "metric"), [([[1.0], [0]], "cosine"), ([[1.0], [np.nan]], "euclidean")])
def test_what_it_refuses(rows, metric):
    with pytest.raises(UsageError, match=r"1 of 2 vectors .*\(row 1\); remove"):
        complete_linkage(rows, metric=metric)
