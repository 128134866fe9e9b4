"""The oracle itself, on cases that can be worked out by hand, and against SciPy where heights differ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import pdist, squareform

from tenpercent.cluster.reference import complete_linkage


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


@pytest.mark.parametrize("n", [1, 2])
def test_the_smallest_trees(n):
    assert merges_of(complete_linkage(np.eye(n))) == [(0, 1)][: n - 1]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_scipys_tree_where_heights_differ(seed):
    vectors = np.random.default_rng(seed).normal(size=(50, 6))
    tree = complete_linkage(vectors)
    assert np.abs(tree.height - linkage(vectors, "complete", "cosine")[:, 2]).max() < 1e-12


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
