"""Counts a class: exact sums, the largest remainder, minima."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenpercent.errors import UsageError
from tenpercent.tree.allotment import allot
from tenpercent.tree.cut import Budget, Cut
from tenpercent.tree.steps import Steps

sizes_of = st.lists(st.integers(1, 60), min_size=1, max_size=12)


def counts(sizes: list[int], wanted: int, minimum: int = 1, smallest: list[int] | None = None) -> list[int]:
    first = np.arange(len(sizes)) if smallest is None else np.asarray(smallest)
    return allot(np.asarray(sizes, dtype=np.int64), first, wanted, minimum).tolist()


def test_ten_equal_classes_of_5000_keep_4500_each() -> None:
    assert Cut(0.9).wanted(50_000) == 45_000
    assert counts([5_000] * 10, 45_000) == [4_500] * 10


def test_remainder_ties_go_to_the_class_with_the_smallest_id() -> None:
    assert counts([5, 5, 5], 8, smallest=[9, 0, 4]) == [2, 3, 3]
    assert counts([5, 5, 5], 7, smallest=[9, 0, 4]) == [2, 3, 2]


def test_the_larger_remainder_comes_first() -> None:
    assert counts([10, 3, 3], 8, smallest=[0, 1, 2]) == [5, 2, 1]  # shares 5, 1½, 1½
    assert counts([4, 7], 6) == [2, 4]  # shares 2.18, 3.82


def test_a_small_class_is_lifted_to_its_minimum_and_the_others_share_the_rest() -> None:
    assert counts([1, 99], 10) == [1, 9]
    assert counts([1, 1, 98], 10) == [1, 1, 8]
    assert counts([4, 40, 56], 10, minimum=3) == [
        3,
        3,
        4,
    ]  # shares 0.4, 4, 5.6; of the 7 left 2.9, 4.1; then 4
    assert counts([2, 98], 10, minimum=5) == [2, 8]


def test_minima_beyond_the_budget_win() -> None:
    assert counts([5, 5, 5], 1) == [1, 1, 1]
    assert counts([5, 2, 5], 3, minimum=4) == [4, 2, 4]


@given(sizes_of, st.floats(0.001, 1.0), st.integers(1, 8))
def test_sums_are_exact_and_bounds_hold(sizes: list[int], keep: float, minimum: int) -> None:
    wanted = round(keep * sum(sizes))
    found = counts(sizes, wanted, minimum)
    floors = [min(minimum, size) for size in sizes]
    assert sum(found) == max(wanted, sum(floors))
    assert all(floor <= count <= size for floor, count, size in zip(floors, found, sizes, strict=True))
    free = [k for k in range(len(sizes)) if found[k] > floors[k]]
    rest, total = sum(found[k] for k in free), sum(sizes[k] for k in free)
    assert all(abs(Fraction(rest * sizes[k], total) - found[k]) < 2 for k in free)


@given(sizes_of, st.floats(0.001, 1.0), st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_order_of_the_classes_changes_nothing(
    sizes: list[int], keep: float, minimum: int, random
) -> None:  # type: ignore[no-untyped-def]
    wanted = round(keep * sum(sizes))
    order = list(range(len(sizes)))
    random.shuffle(order)
    shuffled = counts([sizes[k] for k in order], wanted, minimum, smallest=order)
    straight = counts(sizes, wanted, minimum)
    assert [straight[k] for k in order] == shuffled


def test_large_counts_stay_whole() -> None:
    sizes = [1_000_003, 999_999, 2_000_001]
    wanted = round(0.37 * sum(sizes))
    found = counts(sizes, wanted)
    assert sum(found) == wanted
    assert all(abs(Fraction(wanted * s, sum(sizes)) - c) < 1 for s, c in zip(sizes, found, strict=True))


# ---- which merges a cut takes ------------------------------------------------------------------------------------


def steps(complete_to: tuple[float, float] = (np.inf, np.inf)) -> Steps:
    """Two classes of four: all of class 0's merges are lower than class 1's, but for one tie."""
    return Steps(
        sizes=np.array([4, 4]),
        smallest=np.array([0, 1]),
        of_class=np.array([0, 0, 0, 1, 1, 1]),
        height=np.array([0.1, 0.2, 0.3, 0.3, 0.4, 0.5]),
        complete_to=np.asarray(complete_to),
    )


@pytest.mark.parametrize(
    ("cut", "taken"),
    [
        (Cut(keep=0.5), [1, 1, 0, 1, 1, 0]),
        (Cut(keep=0.5, budget=Budget.GLOBAL), [1, 1, 1, 1, 0, 0]),
        (Cut(keep=0.5, budget=Budget.GLOBAL, min_per_class=2), [1, 1, 0, 1, 1, 0]),
        (Cut(keep=0.75, budget=Budget.GLOBAL), [1, 1, 0, 0, 0, 0]),
        (Cut(keep=0.01, budget=Budget.GLOBAL), [1, 1, 1, 1, 1, 1]),
        (Cut(keep=None, threshold=0.3), [1, 1, 1, 1, 0, 0]),
        (Cut(keep=None, threshold=0.3, min_per_class=3), [1, 0, 0, 1, 0, 0]),
        (Cut(keep=None, threshold=0.0), [0, 0, 0, 0, 0, 0]),
        (Cut(keep=1.0), [0, 0, 0, 0, 0, 0]),
        (Cut(keep=1.0, budget=Budget.GLOBAL), [0, 0, 0, 0, 0, 0]),
    ],
)
def test_each_cut_takes_its_merges(cut: Cut, taken: list[int]) -> None:
    assert steps().taken(cut).astype(int).tolist() == taken
    assert steps().missing(cut) == []


def test_what_is_missing_is_asked_for_class_by_class() -> None:
    shallow = steps((0.3, 0.5))
    assert shallow.missing(Cut(keep=0.25)) == []
    assert [(r.index, r.height) for r in shallow.missing(Cut(keep=None, threshold=0.4))] == []
    more = Steps(np.array([9, 4]), np.array([0, 1]), *(shallow.of_class, shallow.height, shallow.complete_to))
    assert [(r.index, r.height) for r in more.missing(Cut(keep=None, threshold=0.4))] == [(0, 0.4)]
    assert [(r.index, r.merges) for r in more.missing(Cut(keep=5 / 13))] == [(0, 6)]
    # Too few are stored for a global cut: as many as a budget a class takes bound its height from above.
    assert [(r.index, r.merges) for r in more.missing(Cut(keep=5 / 13, budget=Budget.GLOBAL))] == [(0, 6)]
    # Six allowed merges are stored, but class 0 may have lower ones than the sixth: up to its height, then.
    assert [(r.index, r.height) for r in more.missing(Cut(keep=7 / 13, budget=Budget.GLOBAL))] == [(0, 0.5)]


@pytest.mark.parametrize("keep", [0, -0.1, 1.0001, float("nan"), float("inf"), "0.9", True, [0.9], 0.0])
def test_a_keep_out_of_range_is_refused_in_one_line(keep: object) -> None:
    with pytest.raises(UsageError, match=r"^keep is .*above 0 and at most 1") as caught:
        Cut(keep)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("threshold", [-1e-9, float("nan"), float("inf"), "x", False])
def test_a_threshold_out_of_range_is_refused(threshold: object) -> None:
    with pytest.raises(UsageError, match=r"^threshold is .*from 0"):
        Cut(threshold=threshold)


def test_keep_and_threshold_exclude_each_other() -> None:
    assert Cut() == Cut(keep=0.9)
    with pytest.raises(UsageError, match="exactly one"):
        Cut(keep=0.9, threshold=0.1)
    with pytest.raises(UsageError, match="beside a threshold"):
        Cut(threshold=0.1, budget="class")


@pytest.mark.parametrize(("budget", "said"), [("globl", "did you mean global"), (3, "class or global")])
def test_an_unknown_budget_is_refused(budget: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Cut(0.9, budget=budget)


@pytest.mark.parametrize("minimum", [0, -1, 1.5, "2", True])
def test_a_minimum_below_one_is_refused(minimum: object) -> None:
    with pytest.raises(UsageError, match="min_per_class is"):
        Cut(0.9, min_per_class=minimum)
