"""The join finds every pair within a radius, bit for bit, whatever cells, tiles and threads it is computed with."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import (
    CELLS,
    assert_graph_is,
    bad_cells,
    cells_around,
    pairs_between,
    pairs_within,
)
from examples import some
from tenpercent.linkage import candidates as candidates_module
from tenpercent.linkage import cells as cells_module
from tenpercent.linkage.cells import one_cell
from tenpercent.linkage.filters import SinglesFilter
from tenpercent.linkage.neighbors import TooManyPairsError, near_pairs, neighbor_graph
from tenpercent.linkage.points import Points
from tenpercent.linkage.sample import sample_pairs
from tenpercent.linkage.threads import AHEAD, in_threads

METRICS = ("cosine", "euclidean")


def tiles(rows, columns):
    """Return a filter with tiles of this size."""
    multiply = SinglesFilter()
    multiply.rows, multiply.columns = rows, columns
    return multiply


def few_values(n, width, seed, metric):
    """Return points of few whole coordinates: equal ones, ties, and with the Euclidean metric zero rows."""
    rows = np.random.default_rng(seed).integers(-2, 3, size=(n, width)).astype(float)
    if metric == "cosine":
        rows[~rows.any(axis=1)] = 1
    return Points.of(rows, metric)


def some_radii(d):
    """Return radii that are exactly the dissimilarity of a pair."""
    return sorted({0.0, *(float(np.quantile(d, q, method="lower")) for q in (0.0, 0.01, 0.3, 0.5, 1.0))})


# ---- one set -----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=some(40))
@given(
    n=st.integers(0, 70),
    width=st.integers(1, 8),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from(CELLS),
    tile=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    threads=st.integers(1, 3),
    quantile=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_every_pair_is_found_at_any_radius(n, width, metric, kind, tile, threads, quantile, seed):
    points = few_values(n, width, seed, metric)
    d = pairs_within(points)[2]
    radius = float(np.quantile(d, quantile, method="lower")) if len(d) else 0.5
    how = {
        "cells": bad_cells(kind, points, np.random.default_rng(seed)),
        "multiply": tiles(*tile),
        "threads": threads,
    }
    assert_graph_is(neighbor_graph(points, radius, **how), pairs_within(points, radius))
    assert_graph_is(neighbor_graph(points, math.inf, above=radius, **how), pairs_within(points, above=radius))


@pytest.mark.parametrize("metric", METRICS)
def test_cells_tiles_and_threads_change_no_bit(metric, monkeypatch):
    rng = np.random.default_rng(4)
    points = Points.of(rng.normal(size=(1500, 4)), metric)
    radius = float(np.quantile(pairs_within(points)[2], 0.01))
    pairs = pairs_within(points, radius)
    assert len(pairs[2]) > 10_000
    monkeypatch.setattr(candidates_module, "GROUP", 5)
    for kind in CELLS:
        cells = bad_cells(kind, points, rng)
        for rows, columns, threads in ((256, 1024, 1), (50, 40, 3), (2000, 2000, 2)):
            if kind == "each" and threads == 3:
                continue
            graph = neighbor_graph(
                points, radius, cells=cells, multiply=tiles(rows, columns), threads=threads
            )
            assert_graph_is(graph, pairs)
    with pytest.raises(ValueError, match="read-only"):
        graph.d[0] = 0


@pytest.mark.parametrize("metric", METRICS)
def test_the_cells_that_pay_change_no_bit(metric, monkeypatch):
    monkeypatch.setattr(cells_module, "WORTHWHILE", 0)
    monkeypatch.setattr(cells_module, "TILE_COST", 100.0)
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(20, 12))[rng.integers(0, 20, size=1200)] + 0.02 * rng.normal(size=(1200, 12))
    points = Points.of(rows, metric)
    d = pairs_within(points)[2]
    for radius in (float(d[0]), float(d[500]), float(d[20_000])):
        assert len(cells_module.make_cells(points, radius, 1200, 1)) > 8
        assert_graph_is(neighbor_graph(points, radius), pairs_within(points, radius))


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_the_rows_changes_nothing_but_positions(metric):
    rng = np.random.default_rng(6)
    rows = rng.integers(-4, 5, size=(300, 3)) + 0.5
    radius = some_radii(pairs_within(Points.of(rows, metric))[2])[2]
    graph = neighbor_graph(Points.of(rows, metric), radius)
    assert len(graph) > 1000
    order = rng.permutation(300)
    other = neighbor_graph(Points.of(rows[order], metric), radius)
    assert other.d.tobytes() == graph.d.tobytes()
    i, j = np.minimum(order[other.i], order[other.j]), np.maximum(order[other.i], order[other.j])
    back = np.lexsort((j, i, other.d))
    assert_graph_is(graph, (i[back], j[back], other.d[back]))


# ---- vectors that are hard to tell apart, or hard to hold --------------------------------------------------------


@pytest.mark.parametrize("width", [1, 2, 64, 513, 4096])
@pytest.mark.parametrize("spread", [1e-16, 1e-9, 1e-5, 1e-3])
def test_near_copies_are_found_at_exactly_their_dissimilarity(width, spread):
    # Seen from the origin, float32 could not tell these apart.
    rng = np.random.default_rng(7)
    base = rng.normal(size=width)
    rows = base * (1 + spread * rng.choice([-1.0, 0.0, 1.0], size=(60, width)))
    for metric in METRICS:
        points = Points.of(rows, metric)
        around_nothing = cells_around(points, np.zeros((1, width)))
        for radius in some_radii(pairs_within(points)[2]):
            for cells in (None, around_nothing, bad_cells("twice", points, rng)):
                assert_graph_is(neighbor_graph(points, radius, cells=cells), pairs_within(points, radius))


def test_vectors_that_differ_in_the_last_bit():
    base = np.random.default_rng(8).normal(size=4096)
    rows = np.tile(base, (40, 1))
    for at in range(1, 40):
        rows[at, at * 97] = np.nextafter(rows[at, at * 97], np.inf)
    for metric in METRICS:
        points = Points.of(rows, metric)
        d = pairs_within(points)[2]
        assert 0 < d.max() < 1e-28
        for radius in some_radii(d):
            for cells in (None, cells_around(points, np.zeros((1, 4096)))):
                assert_graph_is(neighbor_graph(points, radius, cells=cells), pairs_within(points, radius))


def far_from_the_origin(rng):
    return 1e6 + rng.uniform(-1, 1, size=(80, 7))


def tiny(rng):
    return 1e-20 * rng.normal(size=(80, 7))


def huge(rng):
    return 1e300 * rng.normal(size=(80, 7))


def of_all_sizes(rng):
    return 10.0 ** rng.uniform(-60, 3, size=(80, 1)) * rng.normal(size=(80, 7))


def with_zeros(rng):
    return np.concatenate([np.zeros((3, 7)), tiny(rng), [[0.0] * 6 + [1.0]], -np.zeros((2, 7))])


def uniform_on_the_sphere(rng):
    return rng.normal(size=(200, 30))


def a_tight_ball(rng):
    return rng.normal(size=50) + 1e-9 * rng.normal(size=(200, 50))


def equal_but_one(rng):
    return np.concatenate([np.tile(rng.normal(size=20), (60, 1)), rng.normal(size=(1, 20))])


@pytest.mark.parametrize(
    "make",
    [
        far_from_the_origin,
        tiny,
        huge,
        of_all_sizes,
        with_zeros,
        uniform_on_the_sphere,
        a_tight_ball,
        equal_but_one,
    ],
)
@pytest.mark.parametrize("metric", METRICS)
def test_every_pair_is_found_wherever_the_vectors_lie(make, metric):
    rng = np.random.default_rng(9)
    rows = make(rng)
    if metric == "cosine":
        rows = rows[rows.any(axis=1)]
    points = Points.of(rows, metric)
    d = pairs_within(points)[2]
    for radius in (*some_radii(d), math.inf):
        pairs = pairs_within(points, radius)
        assert_graph_is(neighbor_graph(points, radius), pairs)
        for kind in CELLS:
            cells = bad_cells(kind, points, rng)
            assert_graph_is(neighbor_graph(points, radius, cells=cells, multiply=tiles(32, 16)), pairs)


def test_a_tight_ball_is_told_apart_by_the_filter():
    # Seen from within the ball: else all pairs would be computed in float64.
    points = Points.of(a_tight_ball(np.random.default_rng(10)))
    seen = points.seen_from(one_cell(points).middle, np.arange(200))
    d = pairs_within(points)[2]
    passed = SinglesFilter().near(seen, seen, float(np.quantile(d, 0.01)), 0)[0]
    assert len(passed) < 0.02 * len(d)


# ---- two sets ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=some(30))
@given(
    sizes=st.tuples(st.integers(0, 40), st.integers(0, 60)),
    width=st.integers(1, 6),
    metric=st.sampled_from(METRICS),
    kind=st.sampled_from(CELLS),
    tile=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    quantile=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_every_pair_of_two_sets_is_found(sizes, width, metric, kind, tile, quantile, seed):
    n, m = sizes
    points = few_values(n + m, width, seed, metric)
    left, right = points.subset(np.arange(n)), points.subset(np.arange(n, n + m))
    d = pairs_between(left, right)[2]
    radius = float(np.quantile(d, quantile, method="lower")) if len(d) else 0.5
    cells = bad_cells(kind, right, np.random.default_rng(seed))
    for how in ({"cells": cells, "multiply": tiles(*tile), "threads": 2}, {}):
        assert_graph_is(near_pairs(left, right, radius, **how), pairs_between(left, right, radius))
    if len(d):
        assert_graph_is(near_pairs(left, right, math.inf, cells=cells), pairs_between(left, right))


@pytest.mark.parametrize("metric", METRICS)
def test_a_set_beside_itself_has_each_pair_twice_and_each_point_with_itself(metric):
    points = few_values(60, 4, 11, metric)
    radius = some_radii(pairs_within(points)[2])[2]
    one = neighbor_graph(points, radius)
    for other in (points, points.subset(np.arange(60))):
        graph = near_pairs(points, other, radius)
        assert_graph_is(graph, pairs_between(points, points, radius))
        assert len(graph) == 2 * len(one) + 60
        below = graph.i < graph.j
        assert_graph_is(one, (graph.i[below], graph.j[below], graph.d[below]))


def test_the_sides_can_be_exchanged():
    points = few_values(90, 4, 12, "euclidean")
    left, right = points.subset(np.arange(20)), points.subset(np.arange(20, 90))
    radius = some_radii(pairs_between(left, right)[2])[2]
    one, other = near_pairs(left, right, radius), near_pairs(right, left, radius)
    order = np.lexsort((other.i, other.j, other.d))
    assert len(one) > 20
    assert_graph_is(one, (other.j[order], other.i[order], other.d[order]))


def test_two_sets_that_can_not_be_compared_are_refused():
    wide, narrow = Points.of(np.ones((2, 3))), Points.of(np.ones((2, 2)))
    with pytest.raises(ValueError, match="left points have 3 values, the right ones 2"):
        near_pairs(wide, narrow, 0.1)
    one, other = (Points.of(np.full((2, 3), size), "euclidean") for size in (1.0, 8.0))
    with pytest.raises(ValueError, match="make them together, and take subsets"):
        near_pairs(one, other, 0.1)
    with pytest.raises(ValueError, match="make them together, and take subsets"):
        near_pairs(one, wide, 0.1)


# ---- limits ------------------------------------------------------------------------------------------------------


def test_more_pairs_than_allowed_is_an_error_and_never_a_cut():
    points = Points.of(np.random.default_rng(13).normal(size=(300, 3)))
    pairs = len(neighbor_graph(points, 0.1))
    assert len(neighbor_graph(points, 0.1, most=pairs)) == pairs
    with pytest.raises(
        TooManyPairsError, match=f"{pairs:,} pairs or more within 0.1, and {pairs - 1:,} may come"
    ):
        neighbor_graph(points, 0.1, most=pairs - 1)
    part = points.subset(np.arange(50))
    both = len(near_pairs(part, points, 0.1))
    with pytest.raises(TooManyPairsError) as raised:
        near_pairs(part, points, 0.1, most=0, multiply=tiles(7, 7))
    assert 0 < raised.value.found < both


def test_equal_points_are_within_a_radius_of_zero_and_not_above_it():
    points = Points.of(np.zeros((5, 2)), "euclidean")
    assert_graph_is(neighbor_graph(points, 0.0), pairs_within(points))
    assert len(neighbor_graph(points, 0.0, above=0.0)) == 0


def test_the_sample_estimates_the_pairs_there_are():
    points = Points.of(np.random.default_rng(14).normal(size=(3000, 4)))
    sample = sample_pairs(points)
    for radius in (0.01, 0.1, 1.0):
        assert sample.pairs(radius) == pytest.approx(len(neighbor_graph(points, radius)), rel=0.15)
        assert sample.radius(sample.pairs(radius)) == pytest.approx(radius, rel=0.02)
    assert sample.pairs(3.0) == pytest.approx(3000 * 2999 / 2)


def test_results_that_nobody_takes_do_not_pile_up():
    made = []

    def work(task):
        made.append(task)
        return task

    results = in_threads(work, range(1000), threads=2)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(made) <= 2 * AHEAD
    assert list(results) == list(range(1, 1000))
