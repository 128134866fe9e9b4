"""The groups of the review page, which come from nodes over the images, are those that the library cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some
from tenpercent.decisions.constraints import Constraints
from tenpercent.reviewing.forest import MergeForest
from tenpercent.reviewing.groups import CutGroups, DecisionFilter, GroupFilter, GroupOrder
from tenpercent.reviewing.nearby import OutsideSearch
from tenpercent.selection.nearest import nearest_outside
from tenpercent.tree.cut import Cut, Within
from tenpercent.tree.merges import Merges
from tenpercent.tree.partition import Partition


def drawn(draw: st.DrawFn, n: int, most: int) -> np.ndarray:
    return np.asarray(sorted(draw(st.sets(st.integers(0, n - 1), max_size=most))), dtype=np.int64)


@st.composite
def cuts(draw: st.DrawFn) -> tuple[Merges, Partition, CutGroups]:
    """A cut of few distinct vectors, full of ties and equals, under decisions; both ways."""
    n, seed = draw(st.integers(2, 40)), draw(st.integers(0, 10**6))
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 2, (n, 3)).astype(np.float32)
    rows[~rows.any(axis=1)] = 1
    labels = rng.integers(-1, 3, n) if draw(st.booleans()) else None
    if labels is not None and labels.max() < 0:
        labels[0] = 0
    within = "all" if labels is None else draw(st.sampled_from(["class", "all"]))
    merges = tp.cluster(tp.Embeddings.from_numpy(rows, labels=labels), 0.05, within=within)
    pairs = draw(st.sets(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=2))
    apart = np.asarray(sorted((x, y) for x, y in pairs if x < y), dtype=np.int64).reshape(-1, 2)
    remove = drawn(draw, n, 4)
    others = [np.setdiff1d(drawn(draw, n, 4), remove) for _ in range(3)]
    decided = Constraints(
        apart=apart, alone=others[0], keep=others[1], remove=remove, prefer=others[2][::-1].copy()
    )
    merges = merges.under(decided)
    cut = Cut(draw(st.floats(0.1, 1.0)), None, draw(st.sampled_from(["class", "global"])))
    merges = merges.deepened(tp.Cut(cut.keep, budget=cut.budget))
    partition = merges.partition(tp.Cut(cut.keep, budget=cut.budget))
    touched = np.unique(np.concatenate([apart.reshape(-1), remove, *others]))
    forest = MergeForest(merges, merges.within is Within.CLASS)
    return merges, partition, CutGroups(merges, forest, partition.taken, touched)


@settings(deadline=None, max_examples=some(75))
@given(found=cuts())
def test_the_groups_are_those_of_the_cut(found: tuple[Merges, Partition, CutGroups]) -> None:
    _, partition, groups = found
    n = len(partition.group)
    of = groups.of(np.arange(n))
    names, first = np.unique(of, return_index=True)
    assert len(names) == len(partition.size)
    assert sorted(first) == [int(np.flatnonzero(partition.group == g)[0]) for g in range(len(partition.size))]
    same = partition.group[groups.first(names)]
    assert (same[np.searchsorted(names, of)] == partition.group).all()
    assert groups.size(names).tolist() == partition.size[same].tolist()
    assert groups.diameter(names).tolist() == partition.diameter[same].tolist()
    assert groups.height == partition.height
    assert set(groups.redundant) == set(names[groups.size(names) > 1])
    for one, other in zip(groups.members(names)[0], partition.members(same)[0], strict=True):
        assert one == other


@settings(deadline=None, max_examples=some(50))
@given(found=cuts(), data=st.data())
def test_who_stands_for_some_groups_is_who_stands_in_the_cut(
    found: tuple[Merges, Partition, CutGroups], data: st.DataObject
) -> None:
    _, partition, groups = found
    asked = np.asarray(
        data.draw(st.permutations(np.unique(groups.of(np.arange(len(partition.group)))).tolist()))
    )
    asked = asked[: data.draw(st.integers(1, len(asked)))]
    ours, theirs = (
        groups.with_representatives(asked),
        partition.with_representatives(partition.group[groups.first(asked)]),
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@settings(deadline=None, max_examples=some(50))
@given(found=cuts())
def test_what_is_said_of_groups_follows_from_their_images(found: tuple[Merges, Partition, CutGroups]) -> None:
    merges, partition, groups = found
    names = np.unique(groups.of(np.arange(len(partition.group))))
    labels = merges.embeddings.labels
    for name in names.tolist():
        own = groups.members(np.asarray([name]))[0]
        known = set() if labels is None else set(labels[own].tolist()) - {-1}
        assert bool(groups.conflict(np.asarray([name]))[0]) == (len(known) > 1)
        crossing = np.isin(merges.a, own) != np.isin(merges.b, own)
        height = float(merges.height[crossing][0]) if crossing.any() else None
        assert groups.next_height(name) == height
        group = np.zeros(len(partition.group), dtype=np.int64)
        group[own] = 1
        other, d = nearest_outside(merges.embeddings.vectors, group, own[:1])
        expected = None if other[0] < 0 else (int(other[0]), float(d[0]))
        assert OutsideSearch(merges.embeddings).outside(own, int(own[0])) == expected
    assert set(groups.decided) == set(groups.of(groups.touched))


def keys(groups: CutGroups, name: int, order: GroupOrder) -> tuple[Any, ...]:
    one = np.asarray([name])
    size, diameter, first = (
        int(groups.size(one)[0]),
        float(groups.diameter(one)[0]),
        int(groups.first(one)[0]),
    )
    code = int(groups.code(one)[0])
    return {
        GroupOrder.SIZE: (-size, diameter, first),
        GroupOrder.TIGHTEST: (diameter, -size, first),
        GroupOrder.WIDEST: (-diameter, -size, first),
        GroupOrder.HEIGHT: (-diameter, first),
        GroupOrder.CLASS: (code < 0, code, -size, diameter, first),
        GroupOrder.CONFLICT: (not groups.conflict(one)[0], -size, diameter, first),
    }[order]


@settings(deadline=None, max_examples=some(75))
@given(
    found=cuts(),
    order=st.sampled_from(GroupOrder),
    smallest=st.integers(1, 4),
    largest=st.none() | st.integers(1, 6),
    code=st.none() | st.integers(0, 2),
    decided=st.sampled_from(DecisionFilter),
    data=st.data(),
)
def test_lists_are_what_sorting_and_filtering_by_hand_gives(
    found: tuple[Merges, Partition, CutGroups],
    order: GroupOrder,
    smallest: int,
    largest: int | None,
    code: int | None,
    decided: DecisionFilter,
    data: st.DataObject,
) -> None:
    merges, partition, groups = found
    n, labels = len(partition.group), merges.embeddings.labels
    code = None if labels is None else code
    hits = data.draw(st.none() | st.lists(st.integers(0, n - 1), max_size=5))
    wanted = []
    for name in np.unique(groups.of(np.arange(n))).tolist():
        own = groups.members(np.asarray([name]))[0].tolist()
        if not smallest <= len(own) <= (largest or n):
            continue
        if code is not None and labels is not None and code not in labels[own]:
            continue
        if decided is not DecisionFilter.ANY and (decided is DecisionFilter.YES) == set(own).isdisjoint(
            groups.touched.tolist()
        ):
            continue
        if hits is None or not set(own).isdisjoint(hits):
            wanted.append(name)
    listed = groups.listed(
        GroupFilter(order, code, smallest, largest, decided),
        None if hits is None else np.asarray(hits, dtype=np.int64),
    )
    assert listed.tolist() == sorted(wanted, key=lambda name: keys(groups, name, order))
