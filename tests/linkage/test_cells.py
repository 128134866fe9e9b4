"""No candidate is left out, however badly the cells are made, and good cells leave out most."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import CELLS, all_points, bad_cells, cells_around
from examples import some
from tenpercent.linkage import candidates as candidates_module
from tenpercent.linkage import cells as cells_module
from tenpercent.linkage.candidates import Candidates
from tenpercent.linkage.cells import Cells, find_homes, make_cells, one_cell
from tenpercent.linkage.distances import dissimilarities
from tenpercent.linkage.filters import relative_margin
from tenpercent.linkage.points import Points


def grid(n, width, seed):
    """Return points with whole coordinates: many on the plane between two others, many at one distance."""
    return np.random.default_rng(seed).integers(-3, 4, size=(n, width)).astype(float)


def left_out(cells, left, right, radius, *, within):
    """Return the pairs within a radius that no candidate stands for, and how many candidates there are."""
    candidates = Candidates(cells, left, radius, within=within, threads=2)
    near = {
        c: set(found.tolist())
        for group in candidates.groups()
        for c, found in zip(group, candidates.of(group), strict=True)
    }
    i, j = (
        np.triu_indices(len(left), 1)
        if within
        else (side.ravel() for side in np.indices((len(left), len(right))))
    )
    d = dissimilarities(all_points(left), i, j, all_points(right))
    lost = []
    for x, y in zip(i[d <= radius].tolist(), j[d <= radius].tolist(), strict=True):
        own, other = (int(cells.home.cell[k]) for k in (x, y)) if within else (-1, int(cells.home.cell[y]))
        if own == other:
            continue
        if own > other:
            x, other = y, own
        if x not in near[other]:
            lost.append((x, y))
    return lost, sum(map(len, near.values()))


# ---- what cells are ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", CELLS)
def test_every_point_is_in_one_cell_that_reaches_it(kind):
    rng = np.random.default_rng(1)
    points = Points.of(rng.normal(size=(300, 5)), "euclidean")
    cells = bad_cells(kind, points, rng)
    assert np.array_equal(np.sort(cells.order), np.arange(300))
    assert cells.starts[0] == 0 and cells.starts[-1] == 300 and len(cells.starts) == len(cells) + 1
    exact = all_points(points)
    for cell in range(len(cells)):
        members = cells.members(cell)
        assert (cells.home.cell[members] == cell).all()
        far = np.sqrt(((exact[members] - cells.centre(cell)) ** 2).sum(axis=1))
        assert (far <= cells.reach[cell]).all()
        from_middle = 0.5 * ((exact[members] - cells.middle) ** 2).sum(axis=1)
        assert kind == "whole" or cells.home.farthest[cell] >= 0.9999 * from_middle.max(initial=0.0)


@pytest.mark.parametrize("middle", [0.0, 0.3, 1e4])
def test_homes_are_nearest_but_for_what_float32_can_not_see(middle):
    points = Points.of(np.random.default_rng(2).normal(size=(200, 6)), "euclidean")
    exact = all_points(points)
    centres = (exact[:20] - middle).astype(np.float32)
    home = find_homes(points, centres, np.full(6, middle), 2)
    squares = ((exact[:, None] - middle - centres.astype(float)) ** 2).sum(axis=2)
    own = squares[np.arange(200), home.cell]
    error = 4.0 * relative_margin(6) * max(1.0, 6 * middle**2) * 2.0
    assert (own <= squares.min(axis=1) + 2.0 * error).all()
    assert (np.abs(home.square - own) <= error).all()
    for cell in range(20):
        halves = 0.5 * ((exact[home.cell == cell] - middle) ** 2).sum(axis=1)
        assert home.farthest[cell] == pytest.approx(halves.max(initial=0.0), rel=1e-5)


# ---- candidates --------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=some(50))
@given(
    n=st.integers(2, 40),
    width=st.integers(1, 4),
    kind=st.sampled_from(CELLS),
    metric=st.sampled_from(["cosine", "euclidean"]),
    quantile=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_no_partner_is_left_out_within_a_set(n, width, kind, metric, quantile, seed):
    rows = grid(n, width, seed)
    rows[~rows.any(axis=1)] = 1.0
    points = Points.of(rows, metric)
    i, j = np.triu_indices(n, 1)
    d = dissimilarities(all_points(points), i, j)
    cells = bad_cells(kind, points, np.random.default_rng(seed))
    for radius in (0.0, float(np.quantile(d, quantile, method="lower")), math.inf):
        lost, _ = left_out(cells, points, points, radius, within=True)
        assert not lost


@settings(deadline=None, max_examples=some(50))
@given(
    sizes=st.tuples(st.integers(1, 20), st.integers(1, 30)),
    width=st.integers(1, 4),
    kind=st.sampled_from(CELLS),
    quantile=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_no_partner_is_left_out_between_sets(sizes, width, kind, quantile, seed):
    n, m = sizes
    points = Points.of(grid(n + m, width, seed), "euclidean")
    left, right = points.subset(np.arange(n)), points.subset(np.arange(n, n + m))
    i, j = (side.ravel() for side in np.indices((n, m)))
    d = dissimilarities(all_points(left), i, j, all_points(right))
    cells = bad_cells(kind, right, np.random.default_rng(seed))
    for radius in (0.0, float(np.quantile(d, quantile, method="lower")), math.inf):
        lost, _ = left_out(cells, left, right, radius, within=False)
        assert not lost


def test_both_tests_are_sharp_on_a_line():
    # Of the cell around ½ the point at 0 is the farthest, and on the plane halfway to the other centre, to which it is
    # as near; the one at −¼ is exactly as far from both as the radius allows.
    points = Points.of(np.array([[0.0], [-0.25], [0.5], [-0.5]]), "euclidean")
    cells = cells_around(points, [[0.5], [-0.5]])
    assert cells.home.cell.tolist() == [0, 1, 0, 1]
    for radius, around in ((1 / 32, 2), (0.99 / 32, 1)):
        for within in (True, False):
            lost, _ = left_out(cells, points, points, radius, within=within)
            assert not lost
        right = Candidates(cells, points.subset(np.array([1])), radius, within=False, threads=1).of(range(2))
        assert sum(map(len, right)) == around


def test_one_far_point_takes_no_test_its_edge():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(8, 1, 3)) + 0.01 * rng.normal(size=(8, 30, 3))]).reshape(-1, 3)
    points = Points.of(np.concatenate([rows, [[1e6, 1e6, -1e6]]]), "euclidean")
    exact = all_points(points)
    cells = cells_around(points, exact[::30], exact[0])
    lost, count = left_out(cells, points, points, 0.5 * (0.05 * points.scale) ** 2, within=True)
    assert not lost
    assert count < 0.2 * 240 * len(cells)


def test_good_cells_leave_most_out():
    rng = np.random.default_rng(4)
    centres = rng.normal(size=(16, 8))
    points = Points.of((centres[:, None] + 0.05 * rng.normal(size=(16, 40, 8))).reshape(-1, 8), "euclidean")
    cells = cells_around(points, centres * points.scale)
    lost, count = left_out(cells, points, points, 0.5 * (0.1 * points.scale) ** 2, within=True)
    assert not lost
    assert count == 0


def test_groups_blocks_and_threads_find_the_same_candidates(monkeypatch):
    points = Points.of(np.random.default_rng(5).normal(size=(200, 3)), "euclidean")
    cells = cells_around(points, all_points(points)[:25])

    def found(within, threads):
        candidates = Candidates(cells, points, 0.005, within=within, threads=threads)
        groups = list(candidates.groups())
        assert sorted(c for group in groups for c in group) == list(range(25))
        near = {c: sorted(of) for group in groups for c, of in zip(group, candidates.of(group), strict=True)}
        return [near[c] for c in range(25)]

    whole = {within: found(within, 1) for within in (True, False)}
    assert 0 < sum(map(len, whole[True])) < 25 * 100
    monkeypatch.setattr(candidates_module, "GROUP", 4)
    monkeypatch.setattr(candidates_module, "BLOCK", 7)
    for within in (True, False):
        assert found(within, 3) == whole[within]


def test_with_one_cell_all_of_another_set_are_candidates_and_none_of_its_own():
    points = Points.of(np.random.default_rng(6).normal(size=(9, 2)))
    for cells in (one_cell(points), cells_around(points, [[0.0, 0.0]])):
        own, other = (
            Candidates(cells, points, 0.1, within=within, threads=1).of(range(1))[0]
            for within in (True, False)
        )
        assert own.tolist() == []
        assert sorted(other) == list(range(9))


# ---- whether cells pay -------------------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch):
    """Let cells pay for few points too."""
    monkeypatch.setattr(cells_module, "WORTHWHILE", 0)
    monkeypatch.setattr(cells_module, "TILE_COST", 100.0)


def balls(n, width, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, width))
    return centres[rng.integers(0, 30, size=n)] + 0.01 * rng.normal(size=(n, width))


def test_cells_are_made_where_they_pay(small):
    points = Points.of(balls(3000, 16), "euclidean")
    radius = 0.5 * (0.02 * points.scale) ** 2
    cells = make_cells(points, radius, 3000, 2)
    assert 16 <= len(cells) <= 256
    lost, count = left_out(cells, points.subset(np.arange(400)), points, radius, within=False)
    assert not lost
    assert count < 0.2 * 400 * len(cells)
    assert cells.left < 0.2
    again = make_cells(points, radius, 3000, 1)
    assert np.array_equal(cells.order, again.order)


@pytest.mark.parametrize(
    "rows",
    [
        np.ones((3000, 4)),
        np.random.default_rng(7).normal(size=(3000, 64)),
        np.concatenate([np.ones((2999, 4)), [[0.0, 1.0, 2.0, 3.0]]]),
        np.random.default_rng(8).normal(size=64) + 1e-9 * np.random.default_rng(8).normal(size=(3000, 64)),
    ],
    ids=["equal", "uniform on the sphere", "equal but one", "a tight ball"],
)
def test_one_cell_is_made_where_none_pay(small, rows):
    points = Points.of(rows)
    d = dissimilarities(all_points(points), np.arange(0, 1000), np.arange(1000, 2000))
    assert len(make_cells(points, float(np.quantile(d, 0.01)), 3000, 1)) == 1


def test_one_cell_is_made_where_everything_is_wanted_or_little_is_to_do(small, monkeypatch):
    points = Points.of(balls(3000, 16))
    assert len(make_cells(points, 1e-4, 3000, 1)) > 1
    assert len(make_cells(points, math.inf, 3000, 1)) == 1
    monkeypatch.setattr(cells_module, "WORTHWHILE", 1e9)
    assert len(make_cells(points, 1e-4, 3000, 1)) == 1


@pytest.mark.parametrize("n", range(1, 9))
def test_few_points_can_be_divided(small, n):
    points = Points.of(grid(n, 3, n) + 0.5)
    cells = make_cells(points, 0.01, 10**6, 1)
    assert np.array_equal(np.sort(cells.order), np.arange(n))


def test_cells_come_back_from_a_file(tmp_path):
    rng = np.random.default_rng(9)
    points = Points.of(rng.normal(size=(100, 3)), "euclidean")
    for kind in CELLS:
        cells = bad_cells(kind, points, rng)
        cells.save(tmp_path / "cells.npz")
        again = Cells.load(tmp_path / "cells.npz")
        assert [path.name for path in tmp_path.iterdir()] == ["cells.npz"]
        for name in ("centres", "order", "starts", "middle", "reach"):
            assert np.array_equal(getattr(cells, name), getattr(again, name))
            assert getattr(cells, name).dtype == getattr(again, name).dtype
        assert all(np.array_equal(one, other) for one, other in zip(cells.home, again.home, strict=True))
        assert again.left == cells.left
