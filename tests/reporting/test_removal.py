"""How much can be removed: the curve is what cuts at its thresholds say, with and without decisions."""

from __future__ import annotations

from itertools import starmap
from weakref import ref

import numpy as np
import pytest

import tenpercent as tp
from tenpercent.decisions.constraints import Constraints
from tenpercent.reporting.removal import RemovalCurve, levels, removal_curve
from tenpercent.selection.selection import Selection


def tree(labels: bool, decided: bool) -> tp.Merges:
    random = np.random.default_rng(5)
    rows = random.normal(size=(40, 6)).repeat(3, axis=0) + 0.2 * random.normal(size=(120, 6))
    rows[7] = rows[3]
    made = tp.Embeddings.from_numpy(rows.astype("f4"), labels=np.arange(120) % 4 if labels else None)
    merges = tp.cluster(made, keep=0.2)
    if not decided:
        return merges
    apart = np.sort([[int(merges.a[3]), int(merges.b[3])]], axis=1)
    whole = np.array([0, 1, 2])
    return merges.under(Constraints(apart=apart, keep=np.array([9]), remove=whole, prefer=np.array([30])))


@pytest.mark.parametrize("decided", [False, True])
@pytest.mark.parametrize("labels", [False, True])
def test_the_curve_is_what_its_cuts_say(labels: bool, decided: bool) -> None:
    merges = tree(labels, decided)
    curve = removal_curve(merges)
    assert len(curve.threshold) > 20
    for at, threshold in enumerate(curve.threshold.tolist()):
        cut = tp.select(merges, tp.Cut(threshold=threshold))
        gone = ~cut.kept_by_id
        apart = np.where(cut.represented, cut.dissimilarity, 0)[gone]
        assert curve.fraction[at] == gone.mean()
        assert curve.largest[at] == apart.max()
        assert curve.mean[at] == pytest.approx(apart.mean(), abs=1e-12)
        assert curve.largest[at] <= threshold


def test_levels_are_cuts_in_two_digits_that_the_tree_reaches() -> None:
    merges = tree(labels=False, decided=False)
    found = list(levels(merges))
    assert len(found) == 4
    assert [threshold for threshold, _ in found] == sorted({float(f"{t:.2g}") for t, _ in found})
    for threshold, cut in found:
        assert cut.settings["threshold"] == threshold <= merges.height[-1]


def test_levels_are_made_one_after_the_other() -> None:
    before: list[ref[Selection]] = []

    def held(threshold: float, cut: Selection) -> int:
        before.append(ref(cut))
        return sum(one() is not None for one in before)

    assert list(starmap(held, levels(tree(labels=False, decided=False)))) == [1, 1, 1, 1]


def curve_of(largest: list[float]) -> RemovalCurve:
    y = np.array(largest)
    return RemovalCurve(y, np.linspace(0, 0.5, len(y)), y, y / 2)


def test_a_bent_curve_has_its_knee_where_it_turns_up_and_a_straight_one_none() -> None:
    assert curve_of([0.01, 0.02, 0.03, 0.04, 0.3, 0.6]).knee == 3
    assert curve_of([0.1, 0.2, 0.3, 0.4, 0.5]).knee is None
    assert curve_of([0.1, 0.1, 0.1]).knee is None
    assert curve_of([0.0, 0.3, 0.4, 0.5, 0.52]).knee is None
