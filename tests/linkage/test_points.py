"""Points are the same bits however they are given, and the dissimilarity of two is plain arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import all_points
from tenpercent.errors import UsageError
from tenpercent.linkage import points as points_module
from tenpercent.linkage.distances import dissimilarities, scaled_rows, unit_vectors
from tenpercent.linkage.points import Metric, PointMemory, Points

# ---- the dissimilarity -------------------------------------------------------------------------------------------


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
    i, j = np.array([0, 5, 3, 7, 2]), np.array([1, 19, 3, 6, 11])  # four side by side, and one on its own
    for left, right in ((i, j), (j, i)):
        found = dissimilarities(units, left, right)
        assert np.array_equal(found, dissimilarities(units[left], np.arange(5), right, units))
        for a, b, d in zip(left, right, found, strict=True):
            total = 0.0
            for u, v in zip(expected[a], expected[b], strict=True):
                total += (u - v) * (u - v)
            assert d == 0.5 * total


@pytest.mark.parametrize("power", [-1070, -600, -30, 40, 900])
def test_a_power_of_two_changes_no_bit(power):
    rows = np.random.default_rng(2).integers(-9, 10, size=(50, 7)) + 0.5
    assert np.array_equal(unit_vectors(np.ldexp(rows, power)), unit_vectors(rows))
    if power > -1000:  # beyond, the scale that would be needed overflows
        assert np.array_equal(all_points(Points.of(np.ldexp(rows, power), "euclidean")), scaled_rows(rows)[0])
        assert scaled_rows(np.ldexp(rows, power))[1] == math.ldexp(scaled_rows(rows)[1], -power)


def test_nothing_overflows_or_underflows():
    rows = np.array([[1e308, 1e308], [1e-308, 1e-308], [5e-324, 0.0], [1e308, 1e-308], [-0.0, 3.0]])
    units = unit_vectors(rows)
    half = math.sqrt(0.5)
    expected = [[half, half], [half, half], [1, 0], [1, 0], [0, 1]]
    assert np.allclose(units, expected, rtol=0, atol=1e-15)
    assert not np.signbit(units).any()
    scaled, scale = scaled_rows(rows)
    assert scale == 2.0**-1024
    assert np.array_equal(scaled, np.where(rows > 1e300, 1e308 / 2.0**1023 / 2, 0.0))


def test_zero_means_equal():
    # The smallest differences there are: one unit in the last place, and a coordinate just above the one that counts.
    rows = np.array([[1.0, 0.0], [1.0, 1e-99], [1.0, 1e-101], [1.0, np.nextafter(1e-99, 1)], [-1.0, 0.0]])
    points = Points.of(rows)
    units = all_points(points)
    i, j = np.triu_indices(len(rows), 1)
    d = dissimilarities(units, i, j)
    same = (units[i] == units[j]).all(axis=1)
    assert np.array_equal(d == 0, same)
    assert same.sum() == 1
    assert points.first_equals().tolist() == [0, 1, 0, 3, 4]


# ---- what is given -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ([0, 0], r"^2 of 4 vectors are zero and have no direction \(rows 2, 3\); remove"),
        ([np.nan, 1], r"^1 of 4 vectors is zero and has no direction \(row 3\), 1 holds nan \(row 2\);"),
        ([1, np.inf], r"\(row 3\), 1 holds infinity \(row 2\);"),
        ([1, -np.inf], r"\(row 3\), 1 holds infinity \(row 2\);"),
    ],
)
def test_a_row_without_direction_is_named(row, what):
    with pytest.raises(UsageError, match=what):
        Points.of(np.array([[1, 2], [3, 4], row, [0, 0]], dtype=float))


def test_without_directions_only_what_is_no_number_is_refused():
    rows = np.zeros((5000, 2))
    assert not all_points(Points.of(rows, "euclidean")).any()
    rows[4500, 1] = np.nan
    with pytest.raises(UsageError, match=r"1 of 5,000 vectors holds nan \(row 4500\)"):
        Points.of(rows, "euclidean")


@pytest.mark.parametrize("vectors", [np.ones(3), np.ones((2, 0)), np.array([["a"]]), np.array([[object()]])])
@pytest.mark.parametrize("metric", Metric)
def test_what_is_no_matrix_of_numbers_is_refused(vectors, metric):
    with pytest.raises(UsageError, match="matrix"):
        Points.of(vectors, metric)


def test_an_unknown_metric_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match="'l1'; it can be cosine or euclidean"):
        Points.of(np.ones((2, 2)), "l1")


def mapped(rows, folder):
    np.save(folder / "rows.npy", rows)
    return np.load(folder / "rows.npy", mmap_mode="r")


def beside_its_alignment(rows, _folder):
    return np.frombuffer(b"x" + rows.tobytes(), dtype=np.uint8)[1:].view(rows.dtype).reshape(rows.shape)


LAYOUTS = {
    "as it is": lambda x, _: x,
    "Fortran": lambda x, _: np.asfortranarray(x),
    "every other column": lambda x, _: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x, _: x[::-1].copy()[::-1],
    "big-endian": lambda x, _: x.astype(x.dtype.newbyteorder(">")),
    "mapped": mapped,
    "read-only, beside its alignment": beside_its_alignment,
}


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int8, np.uint32])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_points_are_the_same_bits_however_they_are_given(layout, dtype, metric, tmp_path):
    rows = (np.random.default_rng(3).normal(size=(40, 9)) * 30).astype(dtype)
    rows[7] = 1
    points = Points.of(LAYOUTS[layout](rows, tmp_path), metric)
    wide = rows if dtype == np.float64 else rows.astype(np.float32)
    expected = unit_vectors(wide) if metric == Metric.COSINE else scaled_rows(wide)[0]
    assert all_points(points).tobytes() == expected.tobytes()
    assert points.width == 9
    assert metric == Metric.COSINE or points.scale == scaled_rows(wide)[1]
    some = np.array([3, 39, 3, 0])
    assert np.array_equal(points.take(some.astype(np.int32)), expected[some])
    assert np.array_equal(points.subset(some).take(np.array([1, 2])), expected[[39, 3]])


def test_single_and_double_vectors_stay_where_they_are(tmp_path):
    for dtype in (np.float32, np.float64):
        rows = mapped(np.ones((3, 4), dtype=dtype), tmp_path)
        assert np.shares_memory(Points.of(rows).rows, rows)


@pytest.mark.parametrize("metric", Metric)
def test_there_may_be_no_points(metric):
    points = Points.of(np.empty((0, 3)), metric)
    assert (len(points), points.width, len(points.first_equals())) == (0, 3, 0)
    assert points.take(np.empty(0, dtype=np.int32)).shape == (0, 3)


# ---- seen from a centre ------------------------------------------------------------------------------------------


def test_points_seen_from_a_centre():
    rng = np.random.default_rng(4)
    points = Points.of(rng.normal(size=(30, 70)) + 1e5, "euclidean")
    centre = all_points(points)[5] + 1e-9 * rng.normal(size=70)
    at = rng.integers(0, 30, size=11)
    space = PointMemory()
    points.seen_from(np.zeros(70), np.arange(30), space)  # what was there before does not matter
    for seen in (points.seen_from(centre, at), points.seen_from(centre, at, space)):
        assert seen.singles.tobytes() == (points.take(at) - centre).astype(np.float32).tobytes()
        assert np.allclose(seen.halves, 0.5 * (seen.singles.astype(float) ** 2).sum(axis=1), rtol=1e-5)
        assert seen.halves.dtype == np.float32


# ---- equal points ------------------------------------------------------------------------------------------------


def first_of_each(points):
    seen: dict[bytes, int] = {}
    return [seen.setdefault(row.tobytes(), at) for at, row in enumerate(all_points(points))]


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 3), st.sampled_from(Metric), st.integers(0, 10**6))
def test_first_equals_are_the_first_of_their_bytes(n, width, metric, seed):
    rows = np.random.default_rng(seed).integers(-1, 3, size=(n, width)).astype(float)
    rows[~rows.any(axis=1)] = -0.0 if metric == Metric.EUCLIDEAN else 2.0
    points = Points.of(rows, metric)
    assert points.first_equals().tolist() == first_of_each(points)


def test_equal_directions_of_unequal_lengths_are_equal():
    rows = np.random.default_rng(5).integers(1, 4, size=(200, 2)) * 2.0 ** np.arange(-100, 100)[:, None]
    points = Points.of(rows)
    assert points.first_equals().tolist() == first_of_each(points)
    assert len(set(points.first_equals())) == len(set(map(tuple, all_points(points)))) < 10


@pytest.mark.parametrize("block", [3, 4096])
def test_points_with_one_hash_are_told_apart(monkeypatch, block):
    rows = np.random.default_rng(6).integers(1, 4, size=(60, 2)).astype(float)
    points = Points.of(rows, "euclidean")
    expected = first_of_each(points)
    monkeypatch.setattr(points_module, "BLOCK", block)
    monkeypatch.setattr(Points, "hashes", lambda self: np.zeros(len(self), dtype=np.uint64))
    assert points.first_equals().tolist() == expected
    monkeypatch.setattr(
        Points, "hashes", lambda self: (np.arange(len(self)) * 0 + rows[:, 0]).astype(np.uint64)
    )
    assert points.first_equals().tolist() == expected


def test_hashes_tell_points_apart_by_any_bit():
    rows = np.tile(np.random.default_rng(7).normal(size=30), (31, 1))
    for at in range(30):
        rows[at, at] = np.nextafter(rows[at, at], 9.0)
    points = Points.of(rows, "euclidean")
    assert len(set(points.hashes())) == 31
    assert points.subset(np.array([4, 4, 5])).first_equals().tolist() == [0, 0, 2]
