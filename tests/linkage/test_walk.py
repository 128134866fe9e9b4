"""The walk is complete linkage by its definition, however it is cut, stopped, stored or dealt to threads."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from examples import some
from tenpercent.errors import TenpercentError
from tenpercent.linkage import components
from tenpercent.linkage import walk as walks
from tenpercent.linkage.components import shares, united
from tenpercent.linkage.walk import PairCounts, counted, restored, singletons, walk


def grid_pairs(n, width, values, seed, radius=np.inf):
    """All pairs of points on an integer grid up to a radius, in increasing (d, i, j): ties and equal points abound."""
    points = np.random.default_rng(seed).integers(0, values, size=(n, width))
    i, j = np.triu_indices(n, 1)
    d = 0.5 * ((points[i] - points[j]) ** 2).sum(axis=1).astype(np.float64)
    order = np.lexsort((j, i, d))
    order = order[d[order] <= radius]
    return i[order].astype(np.int32), j[order].astype(np.int32), d[order]


def by_definition(n, i, j):
    """The positions of the pairs that close merges: each time the two clusters whose last pair comes first.

    Pairs that are not there come never.
    """
    last = np.full((n, n), len(i))  # of two clusters, the position of the last pair between them to come
    last[i, j] = last[j, i] = np.arange(len(i))
    np.fill_diagonal(last, len(i))
    closing = []
    while n > 1 and last.min() < len(i):
        closing.append(int(last.min()))
        a, b = np.unravel_index(last.argmin(), last.shape)
        last[a] = last[:, a] = np.maximum(last[a], last[b])
        last[a, a] = last[b] = last[:, b] = len(i)
    return closing


def standing_by_definition(n, i, j, closing, end):
    """Cluster of each point by its largest point, and the counts, after the pairs before `end`."""
    root = list(range(n))
    for p in (p for p in closing if p < end):
        a, b = root[i[p]], root[j[p]]
        root = [max(a, b) if r in (a, b) else r for r in root]
    counts = {}
    for a, b in zip(i[:end].tolist(), j[:end].tolist(), strict=True):
        if root[a] != root[b]:
            key = (min(root[a], root[b]), max(root[a], root[b]))
            counts[key] = counts.get(key, 0) + 1
    return root, [(*key, counts[key]) for key in sorted(counts)]


def assert_stands(clusters, n, i, j, closing, end):
    root, counts = standing_by_definition(n, i, j, closing, end)
    assert clusters.root.tolist() == root
    assert clusters.size.tolist() == [root.count(p) for p in range(n)]
    assert list(zip(*(x.tolist() for x in counted(clusters)), strict=True)) == counts
    assert [x.dtype for x in clusters] == [np.int32, np.int64, np.int32, np.int32, np.int64]


def assert_same(one, other):
    for x, y in zip(one, other, strict=True):
        assert x.dtype == y.dtype
        assert x.tobytes() == y.tobytes()


graphs = st.builds(
    lambda n, width, values, seed, radius: (n, *grid_pairs(n, width, values, seed, radius)),
    n=st.integers(1, 60),
    width=st.integers(1, 4),
    values=st.integers(1, 6),
    seed=st.integers(0, 10**6),
    radius=st.sampled_from([0.0, 0.5, 1.0, 2.0, 4.0, np.inf]),
)


@pytest.fixture(scope="module", autouse=True)
def threads_for_few():
    """Let threads walk what is small and one large component as well, and tables begin small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walks, "BEGIN", 0)
        patch.setattr(walks, "APART", 1)
        patch.setattr(components, "MOSTLY", 1.0)
        yield


@settings(deadline=None, max_examples=some(60))
@given(graph=graphs, cuts=st.lists(st.floats(0, 1), max_size=4), threads=st.sampled_from([1, 2, 3]))
@example(graph=(1, *grid_pairs(1, 1, 1, 0)), cuts=[0.5], threads=2)
@example(graph=(60, *grid_pairs(60, 1, 1, 0)), cuts=[0.1, 0.9], threads=2)
def test_a_walk_in_any_parts_is_the_definition(graph, cuts, threads):
    n, i, j, _ = graph
    closing = by_definition(n, i, j)
    found, whole = walk(singletons(n), i, j, threads=threads)
    assert found.tolist() == closing
    assert_stands(whole, n, i, j, closing, len(i))

    clusters, parts = singletons(n), []
    ends = [*sorted(int(cut * len(i)) for cut in cuts), len(i)]
    for start, end in zip([0, *ends], ends, strict=False):
        before = [x.copy() for x in clusters]
        found, after = walk(clusters, i[start:end], j[start:end], threads=threads)
        assert_same(before, clusters)
        assert_stands(after, n, i, j, closing, end)
        parts += (found + start).tolist()
        clusters = after
    assert parts == closing
    assert_same(clusters, whole)


@settings(deadline=None, max_examples=some(60))
@given(graph=graphs, begun=st.floats(0, 1), until=st.floats(0, 1.2), threads=st.sampled_from([1, 3]))
def test_a_walk_stops_at_a_height(graph, begun, until, threads):
    n, i, j, d = graph
    start = int(np.searchsorted(d, d[int(begun * (len(d) - 1))])) if len(d) else 0
    before, clusters = walk(singletons(n), i[:start], j[:start])
    closing = by_definition(n, i, j)
    left = len(closing) - len(before)
    wanted = round(until * left)
    found, after = walk(clusters, i[start:], j[start:], d[start:], until=wanted, threads=threads)

    end = len(i)
    if wanted == 0:
        end = start
    elif wanted <= left:
        end = int(np.searchsorted(d, d[closing[len(before) + wanted - 1]], side="right"))
        assert d[start:][found[-1]] == d[end - 1]
    assert [*before.tolist(), *(found + start).tolist()] == [p for p in closing if p < end]
    assert_stands(after, n, i, j, closing, end)

    rest, last = walk(after, i[end:], j[end:], threads=threads)
    assert [*before.tolist(), *(found + start).tolist(), *(rest + end).tolist()] == closing
    assert_stands(last, n, i, j, closing, len(i))


@settings(deadline=None, max_examples=some(30))
@given(graph=graphs, cut=st.floats(0, 1), threads=st.sampled_from([1, 2]))
def test_what_was_counted_is_enough_to_go_on(graph, cut, threads):
    n, i, j, _ = graph
    end = int(cut * len(i))
    closing, clusters = walk(singletons(n), i[:end], j[:end])
    a, b = i[closing].astype(np.int64), j[closing].astype(np.int64)
    again = restored(n, a, b, counted(clusters))
    assert_same(again, clusters)
    assert_same(restored(n, b[::-1], a[::-1], counted(clusters)), clusters)  # the merges in any order

    # Without the counts: walk the same pairs once more over the merges, and most of them lie within one cluster.
    none = np.empty(0, dtype=np.int32)
    found, recounted = walk(
        restored(n, a, b, PairCounts(none, none, none.astype(np.int64))), i[:end], j[:end], threads=threads
    )
    assert len(found) == 0
    assert_same(recounted, clusters)


@pytest.mark.parametrize("radius", [6.0, np.inf])
def test_a_larger_walk_outgrows_its_tables(radius):
    n = 400
    i, j, d = grid_pairs(n, 3, 12, 5, radius)
    closing = by_definition(n, i, j)
    for threads in (1, 2):
        found, clusters = walk(singletons(n), i, j, threads=threads)
        assert found.tolist() == closing
        assert_stands(clusters, n, i, j, closing, len(i))
    half = closing[len(closing) // 2]
    found, clusters = walk(singletons(n), i, j, d, until=len(closing) // 2 + 1, threads=3)
    end = int(np.searchsorted(d, d[half], side="right"))
    assert found.tolist() == [p for p in closing if p < end]
    assert_stands(clusters, n, i, j, closing, end)


def test_what_earlier_pairs_connect_is_one_component():
    # {0, 1} and {2, 3} are counted once; then each takes a point more, by pairs that have nothing in common.
    _, clusters = walk(singletons(6), np.array([0, 2, 1]), np.array([1, 3, 3]))
    i, j = np.array([0, 2, 1, 3]), np.array([4, 5, 4, 5])
    closing, clusters = walk(clusters, i, j, threads=2)
    assert closing.tolist() == [2, 3]
    assert [x.tolist() for x in counted(clusters)] == [[4], [5], [1]]


@settings(deadline=None, max_examples=25)
@given(graph=graphs, step=st.integers(3, 12))
def test_a_walk_in_many_steps_is_one_walk(graph, step):
    n, i, j, _ = graph
    i, j = i[:120], j[:120]
    clusters = singletons(n)
    found = []
    for start in range(0, len(i), step):
        closing, clusters = walk(clusters, i[start : start + step], j[start : start + step], threads=3)
        found += (closing + start).tolist()
    assert found == by_definition(n, i, j)
    assert_same(clusters, walk(singletons(n), i, j)[1])


def test_any_array_of_integers_will_do():
    i, j, d = grid_pairs(40, 2, 4, 1, 4.0)
    closing, clusters = walk(singletons(40), i, j, d, until=20)
    for array in (i, j, d):
        array.flags.writeable = False
    both = np.stack([i, j], axis=1).astype(">i8")
    for one, other in ((i, j), (both[:, 0], both[:, 1]), (i[::-1][::-1], j.astype(np.uint16))):
        found, after = walk(singletons(40), one, other, d.astype(">f8"), until=20)
        assert found.tolist() == closing.tolist()
        assert_same(after, clusters)


def test_until_needs_dissimilarities():
    i, j, d = grid_pairs(5, 1, 3, 0)
    with pytest.raises(ValueError, match="until is 3; it needs the dissimilarities"):
        walk(singletons(5), i, j, until=3)
    with pytest.raises(ValueError, match=r"until is -1; .* 0 or more"):
        walk(singletons(5), i, j, d, until=-1)


def test_more_edges_than_can_be_numbered_are_refused(monkeypatch):
    monkeypatch.setattr(walks, "MOST_ENTRIES", 100)
    i, j, _ = grid_pairs(60, 3, 20, 0)
    with pytest.raises(TenpercentError, match=r"counts \d+ pairs of clusters at a time .* fewer merges"):
        walk(singletons(60), i, j)


def test_components_are_dealt_evenly_and_whole(monkeypatch):
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 40, size=3000)
    starts = np.cumsum(sizes) - sizes
    n = int(sizes.sum())
    i = np.repeat(starts, sizes)  # a star a component, with as many pairs as points
    j = np.arange(n)
    component = united(np.arange(n, dtype=np.int32), i, j)
    assert len(np.unique(component)) == 3000
    assert np.array_equal(component, np.repeat(component[starts], sizes))
    monkeypatch.setattr(components, "MOSTLY", 0.9)
    share = shares(component, i, 4)
    assert np.array_equal(share, share[component])
    load = np.bincount(share[i], minlength=4)
    assert load.max() < 1.02 * load.min()
    # One that has nearly all pairs is not worth it; one with half of them goes to a thread of its own.
    assert shares(np.zeros(n, dtype=np.int32), i, 4) is None
    component[: n // 2] = 0
    share = shares(component, i, 2)
    assert len(np.unique(share[n // 2 :])) == 1 + (n // 2 not in starts)
