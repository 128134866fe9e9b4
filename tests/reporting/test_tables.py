"""The report's numbers against values computed by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tenpercent as tp
from tenpercent.linkage.points import Points
from tenpercent.linkage.sample import sample_pairs
from tenpercent.reporting.curves import curves_of, extremes
from tenpercent.reporting.gallery import class_groups, largest, members_shown, spread, tightest
from tenpercent.reporting.tables import class_words, group_sizes, groups_of, redundancy_table
from tenpercent.reporting.unlike import affordable_radius, each_once, find_unlike_pairs, unlike_pairs
from tenpercent.selection.arrays import SelectionArrays


def arrays(**given: object) -> SelectionArrays:
    """A selection of these arrays."""
    group = np.asarray(given["group"])
    n = len(group)
    known = {
        "ids": np.array([f"{i:02d}" for i in range(n)], dtype=object),
        "source_rows": np.arange(n),
        "paths": None,
    }
    sizes = {"group_size": np.bincount(group)[group], "classes": (), "settings": {}}
    return SelectionArrays(**(known | sizes | given))  # type: ignore[arg-type]


def selection(**changes: object) -> SelectionArrays:
    """Eight images: {0, 2, 5} kept 2, {1} alone, {3, 4} kept 3, {6, 7} kept 6 and 7 too (asked for)."""
    base = arrays(
        kept_by_id=np.array([False, True, True, True, False, False, True, True]),
        group=np.array([0, 1, 0, 2, 2, 0, 3, 3]),
        representative=np.array([2, 1, 2, 3, 3, 2, 6, 6]),
        dissimilarity=np.array([0.2, 0, 0, 0, 0.05, 0.4, 0, 0.01]),
        group_diameter=np.array([0.5, 0, 0.5, 0.05, 0.05, 0.5, 0.01, 0.01]),
        labels=np.array([0, 0, 0, 1, 1, 0, 1, 1]),
        class_names=("cat", "dog"),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def test_table_1_leaves_the_kept_one_out_and_weighs_groups_alike() -> None:
    (cat, dog), overall = redundancy_table(selection())
    assert (cat.name, cat.images, cat.kept, cat.removed, cat.groups, cat.largest) == ("cat", 4, 2, 2, 1, 3)
    assert cat.mean == pytest.approx(0.3)  # (0.2 + 0.4) / 2, not / 3
    assert cat.diameter == 0.5
    # the dogs' second group has nothing removed: a group of two or more, but no mean
    assert (dog.images, dog.kept, dog.removed, dog.groups, dog.largest) == (4, 3, 1, 2, 2)
    assert dog.mean == pytest.approx(0.05)
    assert overall.mean == pytest.approx((0.3 + 0.05) / 2)  # over groups: not (0.2 + 0.4 + 0.05) / 3
    assert (overall.images, overall.kept, overall.groups, overall.largest) == (8, 5, 3, 3)


def test_table_1_without_groups_or_labels() -> None:
    alone = selection(
        kept_by_id=np.ones(8, dtype=bool),
        group=np.arange(8),
        representative=np.arange(8),
        dissimilarity=np.zeros(8),
        group_diameter=np.zeros(8),
        labels=np.full(8, -1),
        class_names=(),
    )
    rows, overall = redundancy_table(alone)
    assert rows == ()
    assert (overall.groups, overall.largest, overall.mean, overall.diameter) == (0, 1, None, None)


def test_images_without_a_label_are_a_class_of_their_own_and_come_last() -> None:
    rows, _ = redundancy_table(selection(labels=np.array([-1, -1, -1, 1, 1, -1, 1, 1])))
    assert [(row.name, row.images) for row in rows] == [("dog", 4), ("no label", 4)]
    assert rows[1].mean == pytest.approx(0.3)


def test_members_come_representative_first_then_by_dissimilarity() -> None:
    groups = groups_of(selection())
    assert groups.of(0).tolist() == [2, 0, 5]
    assert groups.of(3).tolist() == [6, 7]
    assert groups.removed.tolist() == [2, 0, 1, 0]
    assert groups.redundant.tolist() == [0, 2, 3]


def test_group_sizes_leave_groups_of_one_out() -> None:
    sizes, counts = group_sizes(np.array([1, 2, 2, 1, 5, 2]))
    assert (sizes.tolist(), counts.tolist()) == ([2, 5], [3, 1])
    assert group_sizes(np.ones(4, dtype=np.int64))[0].tolist() == []


def test_chosen_groups() -> None:
    groups = groups_of(selection())
    assert largest(groups, 2) == [0, 3]  # of the two of two images the tighter
    assert tightest(groups, 9) == [3, 2, 0]
    assert spread(groups, 2) == [3, 0]
    assert class_groups(groups, 5, 2, shown=set()) == [(0, [0]), (1, [3, 2])]
    assert class_groups(groups, 5, 1, shown={3}) == [(0, [0]), (1, [2])]  # what is shown already goes last
    assert class_groups(groups, 1, 1, shown=set()) == [(0, [0])]  # the class with most removed
    assert members_shown(groups, 0, limit=2) == [2, 0]
    assert members_shown(groups, 0, limit=3) == [2, 0, 5]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_table_1_equals_its_definition(seed: int, n: int) -> None:
    """Group by group with loops, on random partitions with ties."""
    generator = np.random.default_rng(seed)
    group = np.unique(generator.integers(0, n, n), return_inverse=True)[1].reshape(n)
    representative = np.array([int(np.flatnonzero(group == g)[-1]) for g in group])
    kept = (representative == np.arange(n)) | (generator.random(n) < 0.1)
    labels = generator.integers(-1, 3, int(group.max()) + 1)[group]
    d = np.where(representative == np.arange(n), 0.0, generator.integers(0, 4, n) / 8)
    diameter = np.array([d[group == g].max() for g in group])
    names = ("a", "b", "c")
    given_arrays = arrays(
        kept_by_id=kept,
        group=group,
        representative=representative,
        dissimilarity=d,
        group_diameter=diameter,
        labels=labels,
        class_names=names,
    )
    rows, overall = redundancy_table(given_arrays)
    for row in (*rows, overall):
        means = []
        for g in range(int(group.max()) + 1):
            mine = group == g
            if mine.sum() < 2 or (row is not overall and class_words(names, labels[mine][0]) != row.name):
                continue
            gone = [d[i] for i in np.flatnonzero(mine) if not kept[i]]
            if gone:
                means.append(sum(gone) / len(gone))
        assert row.mean == (pytest.approx(sum(means) / len(means)) if means else None)
    assert sum(row.removed for row in rows) in (0 if not rows else overall.removed, overall.removed)


def test_unlike_pairs_are_those_of_two_labels_nearest_first() -> None:
    i, j = np.array([0, 0, 1, 2, 3]), np.array([1, 2, 2, 3, 4])
    d = np.array([0.3, 0.1, 0.2, 0.1, 0.0])
    labels = np.array([0, 0, 1, 0, -1])  # 3 and 4: no label differs from nothing
    one, other, found = unlike_pairs(i, j, d, labels)
    assert list(zip(one.tolist(), other.tolist(), found.tolist(), strict=True)) == [
        (0, 2, 0.1),
        (2, 3, 0.1),
        (1, 2, 0.2),
    ]
    assert each_once(one, other, 9) == [0]  # every later pair shows image 2 again
    assert each_once(one, other, 0) == []


def test_a_search_that_would_find_too_much_narrows_or_says_no() -> None:
    generator = np.random.default_rng(3)
    units = generator.standard_normal((300, 4))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    sample = sample_pairs(Points.of(units))
    assert affordable_radius(sample, 0.01, 10**6) == 0.01
    narrowed = affordable_radius(sample, 2.0, 500)
    assert narrowed is not None
    assert narrowed < 2.0
    d = 1 - units @ units.T
    pairs = np.count_nonzero(np.triu(d <= narrowed, 1))
    assert 250 <= pairs <= 1000
    equal = np.tile(units[:1], (300, 1))
    assert affordable_radius(sample_pairs(Points.of(equal)), 0.5, 100) is None


def test_the_search_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenpercent.reporting.unlike.MOST_IMAGES", 7)
    found = find_unlike_pairs(np.eye(8), selection().codes, 0.1)
    assert isinstance(found, str)
    assert "8 images" in found
    assert "the limit is 7" in found


def test_curves_follow_the_merges_of_each_class() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.3], [0, 1], [0.5, 1], [0.6, 1.0]])
    embeddings = tp.Embeddings.from_numpy(vectors, labels=["x", "x", "x", "y", "y", "y"])
    merges = tp.cluster(embeddings, keep=0.1)
    found = tp.select(merges, keep=0.67)
    codes, curves = curves_of(merges, found, groups_of(found))
    assert codes == (0, 1)
    assert [curve.fraction.tolist() for curve in curves] == [[1 / 3, 2 / 3]] * 2
    assert [curve.cut for curve in curves] == [1, 1]
    for curve in curves:
        assert curve.height[0] == found.group_diameter.max() or curve.height[0] in found.group_diameter
    high, low = extremes(codes, curves)
    assert high is not None
    assert low is not None
    assert curves[high].height[0] > curves[low].height[0]
