"""The canonical dissimilarity is the same bits as plain arithmetic, and the join within a radius loses no pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenpercent.cluster.distances import dissimilarities, distinct_rows, unit_vectors
from tenpercent.cluster.memory import MemoryBudgetError
from tenpercent.cluster.neighbors import filter_margin, neighbor_graph
from tenpercent.cluster.sample import sample_pairs
from tenpercent.errors import UsageError


def all_pairs(units):
    """Every pair by brute force, in increasing (d, i, j)."""
    i, j = np.triu_indices(len(units), 1)
    d = dissimilarities(units, i, j)
    order = np.lexsort((j, i, d))
    return i[order], j[order], d[order]


def assert_graph_is(graph, pairs):
    for found, expected in zip((graph.i, graph.j, graph.d), pairs, strict=True):
        assert np.array_equal(found, expected)


# ---- the canonical dissimilarity ---------------------------------------------------------------------------------


def test_unit_vectors_and_dissimilarities_are_plain_arithmetic_in_index_order():
    # Neither fused multiply-add nor another order of summation: both would show in the last bits.
    rows = np.random.default_rng(1).normal(size=(20, 333)).astype(np.float32)
    expected = []
    for row in rows.tolist():
        scale = 2.0 ** -math.frexp(max(map(abs, row)))[1]
        square = 0.0
        for x in row:
            square += (x * scale) * (x * scale)
        expected.append([x * scale / math.sqrt(square) for x in row])
    units = unit_vectors(rows)
    assert np.array_equal(units, np.asarray(expected))
    for i, j in ((0, 1), (5, 19), (3, 3)):
        total = 0.0
        for u, v in zip(expected[i], expected[j], strict=True):
            total += (u - v) * (u - v)
        assert dissimilarities(units, np.array([i]), np.array([j]))[0] == 0.5 * total
        assert dissimilarities(units, np.array([j]), np.array([i]))[0] == 0.5 * total


@pytest.mark.parametrize("power", [-1070, -600, -30, 40, 900])
def test_a_power_of_two_changes_no_bit(power):
    rows = np.random.default_rng(2).integers(-9, 10, size=(50, 7)) + 0.5
    assert np.array_equal(unit_vectors(np.ldexp(rows, power)), unit_vectors(rows))


def test_nothing_overflows_or_underflows():
    rows = np.array([[1e308, 1e308], [1e-308, 1e-308], [5e-324, 0.0], [1e308, 1e-308], [-0.0, 3.0]])
    units = unit_vectors(rows)
    half = math.sqrt(0.5)
    expected = [[half, half], [half, half], [1, 0], [1, 0], [0, 1]]
    assert np.allclose(units, expected, rtol=0, atol=1e-15)
    assert not np.signbit(units).any()


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda x: x.astype(">f4"),
        lambda x: np.repeat(x, 2, axis=1)[:, ::2],
        lambda x: x.astype(np.float64),
    ],
)
def test_layout_and_byte_order_do_not_matter(change):
    rows = np.random.default_rng(3).normal(size=(40, 9)).astype(np.float32)
    changed = change(rows)
    changed.flags.writeable = False
    assert np.array_equal(unit_vectors(changed), unit_vectors(rows))


@pytest.mark.parametrize(
    ("row", "what"),
    [([0, 0], "zero"), ([np.nan, 1], "nan"), ([1, np.inf], "nan or infinity"), ([1, -np.inf], "nan")],
)
def test_a_row_without_direction_is_named(row, what):
    with pytest.raises(UsageError, match=f"row 2 .*{what}"):
        unit_vectors(np.array([[1, 2], [3, 4], row, [0, 0]], dtype=float))


@pytest.mark.parametrize("vectors", [np.ones(3), np.ones((2, 0)), np.array([["a"]]), np.array([[object()]])])
def test_what_is_no_matrix_of_numbers_is_refused(vectors):
    with pytest.raises(UsageError, match="matrix"):
        unit_vectors(vectors)


def test_zero_means_equal():
    # The smallest differences there are: one unit in the last place, and a coordinate just above the one that counts.
    rows = np.array([[1.0, 0.0], [1.0, 1e-99], [1.0, 1e-101], [1.0, np.nextafter(1e-99, 1)], [-1.0, 0.0]])
    units = unit_vectors(rows)
    i, j = np.triu_indices(len(rows), 1)
    d = dissimilarities(units, i, j)
    same = (units[i] == units[j]).all(axis=1)
    assert np.array_equal(d == 0, same)
    assert same.sum() == 1
    assert distinct_rows(units).tolist() == [0, 1, 0, 3, 4]


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 3), st.integers(0, 10**6))
def test_distinct_rows_are_the_first_of_their_equals(n, width, seed):
    units = np.random.default_rng(seed).integers(0, 3, size=(n, width)).astype(float)
    seen: dict[bytes, int] = {}
    assert distinct_rows(units).tolist() == [
        seen.setdefault(row.tobytes(), at) for at, row in enumerate(units)
    ]


# ---- the join ----------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(1, 80),
    width=st.integers(1, 12),
    tile=st.integers(1, 90),
    quantile=st.floats(0, 1),
    seed=st.integers(0, 10**6),
)
def test_the_join_finds_every_pair_at_any_radius(n, width, tile, quantile, seed):
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(n, width)).astype(float)
    rows[~rows.any(axis=1)] = 1
    units = unit_vectors(rows)
    i, j, d = all_pairs(units)
    radius = (
        float(np.quantile(d, quantile, method="lower")) if len(d) else 0.5
    )  # exactly a pair's dissimilarity
    near = d <= radius
    graph = neighbor_graph(units, radius, tile=tile, threads=2)
    assert_graph_is(graph, (i[near], j[near], d[near]))
    rest = neighbor_graph(units, np.inf, above=radius, tile=tile, threads=1)
    assert_graph_is(rest, (i[~near], j[~near], d[~near]))


def test_tiles_and_threads_change_no_bit():
    units = unit_vectors(np.random.default_rng(4).normal(size=(1500, 6)))
    graphs = [
        neighbor_graph(units, 0.1, tile=tile, threads=threads)
        for tile, threads in ((512, 1), (100, 3), (64, 2))
    ]
    assert len(graphs[0]) > 1000
    for graph in graphs[1:]:
        assert_graph_is(graph, (graphs[0].i, graphs[0].j, graphs[0].d))
    with pytest.raises(ValueError, match="read-only"):
        graphs[0].d[0] = 0


@pytest.mark.parametrize("width", [1, 64, 4096])
@pytest.mark.parametrize("spread", [1e-16, 1e-9, 1e-5, 1e-3])
def test_near_copies_are_found_at_exactly_their_dissimilarity(width, spread):
    # At this spread float32 can't tell the vectors apart; the margin has to let them all through to float64.
    rng = np.random.default_rng(5)
    base = rng.normal(size=width)
    units = unit_vectors(base * (1 + spread * rng.choice([-1.0, 0.0, 1.0], size=(60, width))))
    i, j, d = all_pairs(units)
    for at in (0, len(d) // 3, len(d) // 2, len(d) - 1):
        near = d <= d[at]
        assert_graph_is(neighbor_graph(units, float(d[at])), (i[near], j[near], d[near]))


def test_vectors_that_differ_in_the_last_bit():
    base = np.random.default_rng(6).normal(size=4096)
    rows = np.tile(base, (40, 1))
    for at in range(1, 40):
        rows[at, at * 97] = np.nextafter(rows[at, at * 97], np.inf)
    units = unit_vectors(rows)
    i, j, d = all_pairs(units)
    assert 0 < d.max() < 1e-28
    for radius in (0.0, float(np.median(d)), float(d.max())):
        near = d <= radius
        assert_graph_is(neighbor_graph(units, radius), (i[near], j[near], d[near]))


def rounding_errors(width):
    """How far 1 − p is from the truth for vectors made to round badly, summed badly: one by one, and by BLAS."""
    rng = np.random.default_rng(width)
    equal = np.ones((1, width))
    unlucky = np.float64(np.float32(rng.uniform(0.5, 1, size=(8, width)))) * (1 + 0.999 * 2.0**-24)
    falling = np.exp(-rng.uniform(0, 3, size=(4, width)))
    units = unit_vectors(np.concatenate([equal, unlucky, falling, -unlucky[:2]]))
    single = units.astype(np.float32)
    i, j = (x.ravel() for x in np.indices((len(units), len(units))))
    truth = dissimilarities(units, i, j)
    one_by_one = np.cumsum(single[i] * single[j], axis=1, dtype=np.float32)[:, -1]
    by_blas = (single @ single.T).ravel()
    return np.maximum(abs(1.0 - one_by_one - truth), abs(1.0 - by_blas - truth))


def test_the_margin_covers_the_rounding_of_unlucky_vectors():
    largest = 0.0
    for width in [1, 2, 3, 7, 64, 512, *range(3000, 4100, 61), 4096]:
        errors = rounding_errors(width)
        assert errors.max() <= filter_margin(width)
        largest = max(largest, errors.max() / filter_margin(width))
    assert largest > 0.1  # the bound is not idle: a tenth of the margin would lose pairs


def test_the_margin_is_refused_where_it_is_not_proven():
    with pytest.raises(ValueError, match="proven"):
        filter_margin(1 << 21)


def test_more_pairs_than_allowed_is_an_error_and_never_a_cut():
    units = unit_vectors(np.random.default_rng(7).normal(size=(300, 3)))
    pairs = len(neighbor_graph(units, 0.1))
    assert len(neighbor_graph(units, 0.1, most=pairs)) == pairs
    with pytest.raises(MemoryBudgetError, match=f"more than {pairs - 1:,} pairs"):
        neighbor_graph(units, 0.1, most=pairs - 1)


def test_the_sample_estimates_the_pairs_there_are():
    units = unit_vectors(np.random.default_rng(8).normal(size=(3000, 4)))
    sample = sample_pairs(units)
    for radius in (0.01, 0.1, 1.0):
        assert sample.pairs(radius) == pytest.approx(len(neighbor_graph(units, radius)), rel=0.15)
        assert sample.radius(sample.pairs(radius)) == pytest.approx(radius, rel=0.02)
    assert sample.pairs(3.0) == pytest.approx(3000 * 2999 / 2)
