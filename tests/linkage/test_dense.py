"""The dense end makes the merges of complete linkage's definition, from any clusters on, at the same heights."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from examples import some
from tenpercent.linkage import dense, farthest
from tenpercent.linkage.dense import dense_merges
from tenpercent.linkage.distances import dissimilarities, fixed
from tenpercent.linkage.farthest import farthest_bytes, farthest_pairs
from tenpercent.linkage.walk import singletons, walk


@pytest.fixture(scope="module", autouse=True)
def small_blocks():
    """Let few points be many bands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(farthest, "BAND", 16)
        patch.setattr(farthest, "WIDE", 24)
        yield


def sorted_pairs(points):
    """All pairs in increasing (d, i, j)."""
    i, j = np.triu_indices(len(points), 1)
    d = dissimilarities(points, i, j)
    order = np.lexsort((j, i, d))
    return i[order], j[order], d[order]


def by_definition(root, i, j, apart):
    """The positions of the pairs that close merges from the clusters `root` on, not of clusters that are apart.

    The last of the pairs between two clusters to come is their dissimilarity; the two where it comes first merge.
    """
    clusters = [set(np.flatnonzero(root == label).tolist()) for label in np.unique(root)]
    rank = {}
    for p, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True)):
        rank[a, b] = rank[b, a] = p
    for a, b in apart:
        rank[a, b] = rank[b, a] = np.inf
    last = {}
    for x, one in enumerate(clusters):
        for y, other in enumerate(clusters[:x]):
            last[y, x] = max(rank[a, b] for a in one for b in other)
    closing = []
    while last and min(last.values()) < np.inf:
        x, y = min(last, key=last.__getitem__)
        closing.append(last.pop((x, y)))
        for z in range(len(clusters)):
            to_y = last.pop((min(y, z), max(y, z)), None)
            if to_y is not None:
                to_x = (min(x, z), max(x, z))
                last[to_x] = max(last[to_x], to_y)
    return closing


def some_points(n, width, values, seed):
    return np.random.default_rng(seed).integers(0, values, size=(n, width)).astype(np.float64)


def some_apart(n, count, seed):
    if n < 2:
        return []
    rng = np.random.default_rng(seed)
    pairs = {tuple(sorted(rng.choice(n, 2, replace=False).tolist())) for _ in range(count)}
    return sorted(pairs)


@settings(deadline=None, max_examples=some(50))
@given(
    points=st.builds(
        some_points, st.integers(1, 60), st.integers(1, 7), st.integers(1, 6), st.integers(0, 10**6)
    ),
    cut=st.floats(0, 1),
    apart=st.integers(0, 12),
    until=st.none() | st.floats(0, 1.2),
    threads=st.sampled_from([1, 2]),
)
@example(points=np.zeros((60, 1)), cut=0.5, apart=0, until=None, threads=2)
@example(points=np.zeros((60, 1)), cut=0.0, apart=12, until=0.0, threads=1)
def test_from_anywhere_it_is_the_definition(points, cut, apart, until, threads):
    n = len(points)
    i, j, d = sorted_pairs(points)
    forbidden = some_apart(n, apart, seed=apart)
    free = np.array([pair not in forbidden for pair in zip(i.tolist(), j.tolist(), strict=True)], dtype=bool)
    end = int(cut * free.sum())
    begun, clusters = walk(singletons(n), i[free][:end], j[free][:end])
    root = clusters.root.copy()
    assert len(np.unique(root)) == n - len(begun)

    closing = by_definition(root, i, j, forbidden)
    found = dense_merges(root=root, units=points, apart=np.array(forbidden, dtype=np.int64).reshape(-1, 2))
    assert_merges(found, i, j, d, closing)
    assert_merges(dense_merges(points, 7 - 3 * root, apart=forbidden, threads=threads), i, j, d, closing)

    # The walk and the dense end together are one tree.
    places = np.flatnonzero(free)
    whole, _ = walk(singletons(n), i[free], j[free])
    assert [*places[begun].tolist(), *closing] == places[whole].tolist()

    if until is not None:
        wanted = round(until * len(closing))
        if wanted < len(closing):
            height = d[closing[wanted - 1]] if wanted else -1.0
            closing = [p for p in closing if d[p] <= height]
        found = dense_merges(points, root, apart=forbidden, until=wanted, threads=threads)
        assert_merges(found, i, j, d, closing)


def assert_merges(found, i, j, d, closing):
    assert found.i.tolist() == i[closing].tolist()
    assert found.j.tolist() == j[closing].tolist()
    assert found.d.tobytes() == d[closing].tobytes()
    assert [x.dtype for x in found] == [np.int64, np.int64, np.float64]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 31, 32, 33, 67, 200])
def test_dissimilarities_have_the_same_bits(width):
    # Of clusters of one point the matrix is all of them. Sums of these numbers round in every step.
    rng = np.random.default_rng(width)
    points = rng.normal(size=(150, width)) * 10.0 ** rng.integers(-3, 4, size=(150, 1))
    each = fixed(np.arange(150))
    far, codes, wrong, _ = farthest_pairs(fixed(points, np.float64), each, each, 2, exact=True)
    i, j = np.triu_indices(150, 1)
    assert far[i, j].tobytes() == dissimilarities(points, i, j).tobytes()
    assert wrong == 0.0
    assert np.array_equal(codes[i, j], i * 150 + j)
    assert np.array_equal(far, far.T)
    assert np.array_equal(codes, codes.T)


@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e-9])
def test_products_are_as_wrong_as_they_say_and_name_the_farthest_pairs(spread):
    # Clusters of several points, around one far from the origin, where float32 sees little of the differences.
    rng = np.random.default_rng(3)
    points = 0.1 + spread * rng.normal(size=(300, 40))
    cluster = fixed(np.sort(rng.integers(0, 50, 300)))
    given = fixed(points, np.float64), fixed(np.arange(300)), cluster
    found, exact = farthest_pairs(*given, 2), farthest_pairs(*given, 1, exact=True)
    off = ~np.eye(len(found.height), dtype=bool)
    assert np.array_equal(found.code[off], exact.code[off])
    error = np.abs(found.height[off] - exact.height[off]).max()
    assert found.wrong / 1000 < error <= found.wrong < 1e-3 * spread**2


def test_where_products_can_t_tell_all_are_computed_exactly():
    points, each = np.eye(200), fixed(np.arange(200))  # all are equally far from each other
    alone = farthest_pairs(points, each, each, 1)
    assert alone is not None  # each pair is alone in its place, so there is nothing to compare yet
    assert dense._merged(points, alone) is None
    assert farthest_pairs(points, each, fixed(np.repeat(np.arange(2), 100)), 1) is None
    assert farthest_pairs(points * 1e200, each, each, 1) is None  # beyond float32
    i, j, d = sorted_pairs(points)
    for root in (np.arange(200), np.repeat(np.arange(50), 4)):
        assert_merges(dense_merges(points, root), i, j, d, by_definition(root, i, j, []))


@pytest.mark.parametrize("code", [np.uint32, np.int64])
@pytest.mark.parametrize("threads", [1, 2])
def test_larger_clusters_over_several_panels(code, threads, monkeypatch):
    monkeypatch.setattr(farthest, "code_type", lambda n: np.dtype(code))
    monkeypatch.setattr(farthest, "BAND", 100)
    rng = np.random.default_rng(8)
    points = some_points(400, 3, 5, 8)
    root = rng.permutation(np.concatenate([np.arange(40), np.zeros(150, int), rng.integers(0, 40, 210)]))
    i, j, d = sorted_pairs(points)
    assert_merges(dense_merges(points, root, threads=threads), i, j, d, by_definition(root, i, j, []))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_smallest(n):
    points = np.arange(2.0)[:n, None]
    found = dense_merges(points, np.arange(n))
    assert [x.tolist() for x in found] == [[0], [1], [0.5]] if n == 2 else [[], [], []]
    assert len(dense_merges(points, np.zeros(n, dtype=np.int32)).d) == 0
    assert len(dense_merges(points, np.arange(n), apart=np.array([[0, 1]])[: n // 2]).d) == 0


def test_what_never_merges_is_left_alone():
    # 0 and 3 can be with nobody; 1 and 2 can be together.
    points = np.array([[0.0], [1], [2], [3], [9]])
    apart = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 3), (2, 3), (3, 4)]
    found = dense_merges(points, np.arange(5), apart=apart)
    assert list(zip(*(x.tolist() for x in found), strict=True)) == [(1, 2, 0.5), (1, 4, 32.0)]


def test_any_array_will_do():
    points = some_points(50, 4, 4, 1)
    expected = dense_merges(points, np.arange(50))
    for array in (np.asfortranarray(points), points.astype(">f8"), np.repeat(points, 2, axis=0)[::2]):
        array.flags.writeable = False
        found = dense_merges(array, np.arange(50)[::-1].astype(np.uint8))
        assert [x.tobytes() for x in found] == [x.tobytes() for x in expected]


def test_the_memory_is_what_it_says():
    import tracemalloc

    points = some_points(600, 32, 9, 2)
    dense_merges(points, np.arange(600))  # compiled before anything is measured
    tracemalloc.start()
    copy = points.copy()
    dense_merges(copy, np.arange(600))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= farthest_bytes(600, 600, 32)
    assert farthest_bytes(600, 600, 32) < 1.2 * peak
    assert farthest_bytes(100, 1 << 17, 8) - farthest_bytes(100, 1 << 17, 8, threads=0) < 1 << 20
