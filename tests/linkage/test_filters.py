"""No filter loses a pair: the margin covers every rounding, in every format, and is not idle."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brute_force import assert_graph_is, cells_around, pairs_within
from tenpercent.linkage import accelerators, filters
from tenpercent.linkage.accelerators import best_filter
from tenpercent.linkage.cells import one_cell
from tenpercent.linkage.distances import dissimilarities
from tenpercent.linkage.filters import BF16, SINGLE, TF32, TINY, SinglesFilter, relative_margin
from tenpercent.linkage.neighbors import neighbor_graph
from tenpercent.linkage.points import Points

torch_is_here = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")


def centred(rows, centre=None):
    """Return rows, but for a power of two, as they are seen from a centre."""
    points = Points.of(rows, "euclidean")
    return points.seen_from(np.zeros(points.width) if centre is None else centre, np.arange(len(points)))


def exact(rows):
    """Return these rows themselves, but for that power of two."""
    points = Points.of(rows, "euclidean")
    return points.take(np.arange(len(points)))


# ---- products as bad as the proof allows -------------------------------------------------------------------------


def one_by_one(left, right):
    """Return float32 products, summed in the order of the columns."""
    return np.cumsum(left[:, None, :] * right[None, :, :], axis=2, dtype=np.float32)[:, :, -1]


def to_bfloat16(singles):
    """Round to the nearest 8 bits."""
    fraction, exponent = np.frexp(singles.astype(np.float64))
    return np.ldexp(np.rint(fraction * 256.0), exponent - 8).astype(np.float32)


def to_tf32(singles):
    """Cut off all but 11 bits."""
    return (singles.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def cut_off(numbers, unit):
    return np.trunc(numbers / unit) * unit


def tensor_cores(left, right, terms):
    """Return products as a matrix unit makes them: exact, so many at once aligned with the largest, cut off at 2⁻²³."""
    products = left[:, None, :].astype(np.float64) * right[None, :, :]
    total = np.zeros(products.shape[:2])
    for start in range(0, products.shape[2], terms):
        group = np.concatenate([total[:, :, None], products[:, :, start : start + terms]], axis=2)
        largest = np.abs(group).max(axis=2)
        unit = np.ldexp(1.0, np.frexp(np.where(largest > 0, largest, 1.0))[1] - 1 - 23)
        total = cut_off(group, unit[:, :, None]).sum(axis=2)
        unit = np.ldexp(1.0, np.frexp(np.where(total != 0, np.abs(total), 1.0))[1] - 1 - 23)
        total = cut_off(total, unit)
    return total.astype(np.float32)


PRODUCTS = {
    "BLAS": (SINGLE, lambda x, y: x @ y.T),
    "one by one": (SINGLE, one_by_one),
    "backwards": (SINGLE, lambda x, y: one_by_one(x[:, ::-1], y[:, ::-1])),
    "bfloat16": (BF16, lambda x, y: to_bfloat16(one_by_one(to_bfloat16(x), to_bfloat16(y)))),
    "bfloat16, cut off 4": (BF16, lambda x, y: to_bfloat16(tensor_cores(to_bfloat16(x), to_bfloat16(y), 4))),
    "bfloat16, cut off 16": (
        replace(BF16, output=0.0),
        lambda x, y: tensor_cores(to_bfloat16(x), to_bfloat16(y), 16),
    ),
    "TF32, cut off 4": (TF32, lambda x, y: tensor_cores(to_tf32(x), to_tf32(y), 4)),
    "TF32, cut off 8": (TF32, lambda x, y: tensor_cores(to_tf32(x), to_tf32(y), 8)),
}


class MadeFilter(SinglesFilter):
    """The filter with products made in another way."""

    def __init__(self, way):
        super().__init__()
        self.product, self.multiplied = PRODUCTS[way]

    def near(self, left, right, radius, first):
        lowest = filters.lowest_products(left, right, radius, self.product)
        near = self.multiplied(left.singles, right.singles) - right.halves >= lowest[:, None]
        near &= np.arange(len(right.halves)) > np.arange(len(left.halves))[:, None] - first
        i, j = np.nonzero(near)
        return i.astype(np.int32), j.astype(np.int32)


def unlucky(width):
    """Return vectors whose rounding errors add up: all values cut, or rounded, or summed the same way."""
    rng = np.random.default_rng(width)
    equal = [np.full(width, value) for value in (1.0, 0.7, 0.77, *rng.uniform(0.5, 1, size=4))]
    shorter = [np.full(width, 0.5 * (1.0 + 0.999 * 2.0**-bits)) for bits in (8, 10, 24)]
    cut = [np.full(width, 0.5 * (1.0 + 1.998 * 2.0**-bits)) for bits in (8, 10, 24)]
    mixed = [2.0 ** rng.integers(-3, 0, size=width) * (1.0 + 0.999 * 2.0**-bits) for bits in (8, 11, 24)]
    steep = [np.exp(-rng.uniform(0, 3, size=width)), np.exp(-12.0 * np.arange(width) / width) / 2.0]
    lost = [
        np.append(1.0, np.full(width - 1, 0.995 * 2.0**-power)) for power in (4, 12)
    ]  # each of the others
    rows = np.array([*equal, *shorter, *cut, *mixed, *steep, *lost])
    return np.concatenate([rows, -rows[:3]])


def margins_used(way, width):
    """Return what share of its margin each pair of unlucky vectors needs, at a radius of exactly its dissimilarity."""
    product, multiplied = PRODUCTS[way]
    rows = unlucky(width)
    seen = centred(rows)
    i, j = (side.ravel() for side in np.indices((len(seen.halves), len(seen.halves))))
    rest = (multiplied(seen.singles, seen.singles) - seen.halves).ravel().astype(np.float64)
    halves = seen.halves.astype(np.float64)
    needed = halves[i] - dissimilarities(exact(rows), i, j) - rest
    margin = relative_margin(width, product) * 2.0 * np.sqrt(halves[i] * halves[j])
    return needed / (margin + relative_margin(width) * (halves[i] + halves[j]))


@pytest.mark.parametrize("way", PRODUCTS)
def test_the_margin_covers_the_rounding_of_unlucky_vectors(way):
    wide = (600, 1100) if "cut off" in way else (*range(3000, 4100, 157), 4096)
    used = [margins_used(way, width).max() for width in (1, 2, 3, 7, 16, 17, 64, 512, *wide)]
    assert max(used) <= 1.0
    assert max(used) > 0.1  # the margin is not idle


@pytest.mark.parametrize("terms", [4, 8, 16, 32])
def test_the_margin_covers_sums_that_are_cut_off(terms):
    for width in (1, 2, 5, 33, 300, 2000):
        left, right = np.ones((2, 1, width), dtype=np.float32)
        left[0, 1:], right[0, 1:] = 2.0**-11, 255 * 2.0**-20  # each product is less than what is cut off
        rng = np.random.default_rng(width)
        many = to_bfloat16(rng.uniform(-1, 1, size=(2, 20, width)).astype(np.float32))
        for x, y in ((left, right), many, (left, many[1])):
            wrong = np.abs(tensor_cores(x, y, terms) - x.astype(np.float64) @ y.T.astype(np.float64))
            most = np.abs(x).astype(np.float64) @ np.abs(y).T
            assert (wrong <= relative_margin(width, replace(SINGLE, sums=TF32.sums)) * most).all()
    assert tensor_cores(left, right, terms)[0, 0] == 1.0
    assert (
        relative_margin(width) < (left.astype(np.float64) @ right.T)[0, 0] - 1.0
    )  # float32's margin is not enough


UNLUCKIEST = {
    "one by one": lambda width: np.append(
        1.0, np.full(width - 1, 0.995 * 2.0**-12)
    ),  # 1 + 0.99 u is 1, each time
    "bfloat16": lambda width: np.full(width, 0.5 * (1.0 + 0.999 * 2.0**-8)),
    "bfloat16, cut off 16": lambda width: np.full(width, 0.5 * (1.0 + 0.999 * 2.0**-8)),
    "TF32, cut off 8": lambda width: np.full(width, 0.5 * (1.0 + 1.998 * 2.0**-11)),
}


@pytest.mark.parametrize("way", UNLUCKIEST)
def test_a_tenth_of_the_margin_would_lose_pairs(monkeypatch, way):
    rows = np.tile(UNLUCKIEST[way](1024), (5, 1))
    rows[range(5), range(1, 6)] *= 1.0 + 1e-9
    points = Points.of(rows, "euclidean")
    pairs = pairs_within(points)
    cells = cells_around(points, np.zeros((1, 1024)))  # from there they are seen as they were made

    def found():
        return neighbor_graph(points, float(pairs[2][-1]), cells=cells, threads=1, multiply=MadeFilter(way))

    assert_graph_is(found(), pairs)
    monkeypatch.setattr(filters, "relative_margin", lambda *which: relative_margin(*which) / 10.0)
    assert len(found()) < len(pairs[0])


@torch_is_here
def test_what_a_thread_flushes_to_zero_loses_no_pair():
    import torch

    # What one is multiplied to with the other is below float32's range, with itself it is not.
    rows = np.zeros((3, 64))
    rows[0], rows[1], rows[2] = 2.0**-61.5, 2.0**-65.5, 0.75
    points = Points.of(rows, "euclidean")
    pairs = pairs_within(points)
    cells = cells_around(points, np.zeros((1, 64)))
    multiply = SinglesFilter()
    multiply.columns = 2  # the far point widens no margin but its own
    assert torch.set_flush_denormal(True)
    try:
        assert np.float32(1e-30) * np.float32(1e-10) == 0.0
        graph = neighbor_graph(points, float(pairs[2][0]), cells=cells, threads=1, multiply=multiply)
    finally:
        torch.set_flush_denormal(False)
    assert_graph_is(graph, tuple(column[:1] for column in pairs))


# ---- the margin --------------------------------------------------------------------------------------------------


def test_every_pair_passes_where_the_margin_is_not_proven():
    assert relative_margin(filters.WIDEST + 1) == math.inf
    rng = np.random.default_rng(0)
    seen = centred(rng.uniform(-0.9, 0.9, size=(6, filters.WIDEST + 1)))
    for radius in (0.0, 1e-300, 0.1, math.inf):
        rows, columns = SinglesFilter().near(seen, seen, radius, 6)
        assert sorted(zip(rows.tolist(), columns.tolist(), strict=True)) == [
            (i, j) for i in range(6) for j in range(6)
        ]


@pytest.mark.parametrize("product", [SINGLE, TF32, BF16])
@pytest.mark.parametrize("width", [1, 2, 64, 4096, filters.WIDEST])
def test_the_factor_pays_for_products_of_errors(product, width):
    # The last inequality of the proof in docs/clustering.md, exactly.
    def gamma(steps, unit):
        return Fraction(steps) * Fraction(unit) / (1 - Fraction(steps) * Fraction(unit))

    v, z = Fraction(product.inputs), Fraction(product.output)
    steps = width + 6 if product == SINGLE else width + 5  # cells.py adds once more
    wrong = (1 + gamma(steps, product.sums)) * (1 + v) ** 2 * (1 + z) - 1
    unknown = gamma(width + 3, SINGLE.sums)
    assert wrong / (1 - unknown) <= Fraction(relative_margin(width, product))


def test_limits_are_rounded_down():
    rng = np.random.default_rng(1)
    seen = centred(rng.uniform(-0.9, 0.9, size=(300, 5)))
    for radius in (0.0, 0.1, 2.0, 1e300, math.inf):
        lowest = filters.lowest_products(seen, seen, radius, SINGLE)
        half, far = seen.halves.astype(np.float64) + TINY, float(seen.halves.max()) + TINY
        bound = half - radius - relative_margin(5) * (np.sqrt(half) + np.sqrt(far)) ** 2 - 2.0 * TINY
        assert lowest.dtype == np.float32
        assert (lowest <= bound + 1e-15).all()
        assert (np.nextafter(lowest, np.float32(np.inf)) >= bound - 1e-15).all()


# ---- filters -----------------------------------------------------------------------------------------------------


FILTERS = {
    "float32": SinglesFilter,
    "one by one": lambda: MadeFilter("one by one"),
    "torch float32": lambda: accelerators.TorchFilter("cpu", TF32),
    "torch bfloat16": lambda: accelerators.TorchFilter("cpu", BF16),
    "torch bfloat16, again": lambda: accelerators.TorchFilter("cpu", BF16, again=True),
}
each_filter = pytest.mark.parametrize(
    "made",
    [
        pytest.param(make, id=name, marks=torch_is_here if "torch" in name else ())
        for name, make in FILTERS.items()
    ],
)


@each_filter
@settings(deadline=None, max_examples=40)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6)),
    first=st.integers(-3, 14),
    radius=st.sampled_from([0.0, 0.01, 0.125, 0.5, 1e300, math.inf]),
    seed=st.integers(0, 10**6),
)
def test_a_filter_passes_all_that_is_near_on_its_side_of_the_diagonal(made, shape, first, radius, seed):
    height, width, values = shape
    rng = np.random.default_rng(seed)
    left, right = (rng.integers(-4, 5, size=(k, values)) / 8 + 0.25 for k in (height, width))
    i, j = made().near(centred(left), centred(right), radius, first)
    assert i.dtype == j.dtype == np.int32
    passed = set(zip(i.tolist(), j.tolist(), strict=True))
    assert len(passed) == len(i)
    r, c = (side.ravel() for side in np.indices((height, width)))
    r, c = r[c > r - first], c[c > r - first]
    assert passed <= set(zip(r.tolist(), c.tolist(), strict=True))
    near = dissimilarities(exact(left), r, c, exact(right)) <= radius
    assert passed >= set(zip(r[near].tolist(), c[near].tolist(), strict=True))


@each_filter
def test_a_filter_leaves_out_most_of_what_is_far(made):
    rng = np.random.default_rng(2)
    left, right = (rng.uniform(-0.5, 0.5, size=(200, 32)) for _ in range(2))
    r, c = (side.ravel() for side in np.indices((200, 200)))
    d = dissimilarities(exact(left), r, c, exact(right))
    radius = float(np.quantile(d, 0.01))
    assert len(made().near(centred(left), centred(right), radius, 200)[0]) < 0.05 * len(d)


def tie_heavy(n, width):
    rows = np.random.default_rng(n).integers(-2, 3, size=(n, width)).astype(float)
    rows[~rows.any(axis=1)] = 1.0
    return rows


@each_filter
@pytest.mark.parametrize("width", [3, 200])
def test_every_filter_leads_to_the_same_bytes(made, width):
    points = Points.of(tie_heavy(150, width))
    pairs = pairs_within(points)
    for radius in np.quantile(pairs[2], [0.01, 0.5]):
        radius = float(pairs[2][np.searchsorted(pairs[2], radius)])
        for rows, columns, threads in ((256, 1024, 2), (13, 40, 2), (1, 150, 1)):
            multiply = made()
            multiply.rows, multiply.columns = rows, columns
            graph = neighbor_graph(points, radius, multiply=multiply, threads=threads)
            assert_graph_is(graph, pairs_within(points, radius))


@torch_is_here
def test_every_filter_leads_to_the_same_bytes_on_real_vectors(cifar10):
    vectors = np.load(cifar10 / "resnet32-train.npy", mmap_mode="r")[:3000]
    points = Points.of(vectors)
    graphs = [
        neighbor_graph(points, 0.01, multiply=make())
        for name, make in FILTERS.items()
        if name != "one by one"
    ]
    assert len(graphs[0]) > 100
    for graph in graphs[1:]:
        assert_graph_is(graph, (graphs[0].i, graphs[0].j, graphs[0].d))


# ---- torch -------------------------------------------------------------------------------------------------------


@torch_is_here
@pytest.mark.parametrize("again", [False, True])
def test_hits_are_listed_piece_by_piece(monkeypatch, again):
    rng = np.random.default_rng(3)
    left, right = (centred(rng.uniform(-0.4, 0.4, size=(n, 5))) for n in (60, 70))
    right.singles[:40] = right.singles[0]  # rows full of hits, and rows without
    right.halves[:40] = right.halves[0]
    multiply = accelerators.TorchFilter("cpu", BF16, again=again)
    whole = multiply.near(left, right, 0.5, 60)
    assert 200 < len(whole[0]) < 4000
    for hits, values in ((1, 5), (45, 40), (1000, 10**6)):
        monkeypatch.setattr(accelerators, "HITS", hits)
        monkeypatch.setattr(accelerators, "VALUES", values)
        again_whole = multiply.near(left, right, 0.5, 60)
        assert np.array_equal(again_whole, whole)


@torch_is_here
def test_asking_again_in_float32_leaves_out_what_eight_bits_can_not_tell():
    rng = np.random.default_rng(4)
    rows = 0.5 + 0.01 * rng.uniform(-1, 1, size=(300, 16))  # far from the centre: the margin is wide
    points = centred(rows)
    r, c = (side.ravel() for side in np.indices((300, 300)))
    near = (dissimilarities(exact(rows), r, c) <= 2e-4).sum()
    counts = [
        len(accelerators.TorchFilter("cpu", BF16, again=again).near(points, points, 2e-4, 300)[0])
        for again in (False, True)
    ]
    assert counts[0] == 300 * 300
    assert near <= counts[1] < 2 * near + 100


@torch_is_here
def test_torch_keeps_its_number_of_threads():
    import torch

    before = torch.get_num_threads()
    points = Points.of(tie_heavy(50, 4))
    torch.set_num_threads(3)
    try:
        multiply = accelerators.TorchFilter("cpu", BF16)
        multiply.rows = multiply.columns = 7
        for threads in (1, 3):
            neighbor_graph(points, 0.5, multiply=multiply, threads=threads)
            assert torch.get_num_threads() == 3
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(torch.get_num_threads).result() == 3
    finally:
        torch.set_num_threads(before)


@torch_is_here
def test_torch_multiplies_in_no_other_format():
    with pytest.raises(ValueError, match="product is float32; it can be bfloat16 or tf32"):
        accelerators.TorchFilter("cpu", SINGLE)


def on_cuda():
    if importlib.util.find_spec("torch") is None:
        return False
    import torch

    return torch.cuda.is_available()


@pytest.mark.parametrize("product", [BF16, TF32], ids=lambda product: product.name)
def test_a_gpu_leads_to_the_same_bytes(product):
    if not on_cuda():
        pytest.skip("there is no GPU that torch can use")
    for width in (3, 200, 4096):
        points = Points.of(np.concatenate([unlucky(width), tie_heavy(3000, width)]))
        for cells in (None, one_cell(points), cells_around(points, np.zeros((1, width)))):
            multiply = accelerators.TorchFilter("cuda", product)
            one = neighbor_graph(points, 0.3, multiply=multiply, cells=cells)
            other = neighbor_graph(points, 0.3, multiply=SinglesFilter(), cells=cells)
            assert_graph_is(one, (other.i, other.j, other.d))


# ---- which ---------------------------------------------------------------------------------------------------------


class Stand:
    """Stands for a filter that is never called."""

    def tile_bytes(self, width):
        return 1000 * width


@pytest.fixture
def machine(monkeypatch):
    """Make a machine up: with a GPU or without, with bfloat16 or without, and what a pair costs with each filter."""

    def make(*, gpu=None, units=False, single=1.0, short=0.1, torch=True):
        monkeypatch.setattr(accelerators, "_on_gpu", lambda: gpu)
        monkeypatch.setattr(accelerators, "_has_units", lambda: units)
        monkeypatch.setattr(accelerators, "_is_there", lambda: torch)
        monkeypatch.setattr(accelerators, "TorchFilter", lambda *_: Stand())
        seconds = {SinglesFilter: single, Stand: short}
        monkeypatch.setattr(accelerators, "_seconds", lambda multiply, _: seconds[type(multiply)])
        accelerators._on_cpu.cache_clear()

    yield make
    accelerators._on_cpu.cache_clear()


def test_the_fastest_filter_is_chosen(machine):
    much, gpu = 1e13, Stand()
    machine()
    assert isinstance(best_filter(64, much), SinglesFilter)
    machine(gpu=gpu, units=True)
    assert best_filter(64, much) is gpu
    assert best_filter(64, much, room=64_000) is gpu
    assert isinstance(best_filter(64, much, room=63_999), SinglesFilter)  # its tiles outgrow the memory
    assert isinstance(best_filter(64, 1e6), SinglesFilter)  # not worth looking
    assert isinstance(best_filter(), SinglesFilter)
    machine(gpu=gpu, torch=False)
    assert isinstance(best_filter(64, much), SinglesFilter)
    machine(units=True)
    assert isinstance(best_filter(64, much), Stand)
    machine(units=True, short=0.95)  # hardly faster, and passes more
    assert isinstance(best_filter(64, much), SinglesFilter)


def test_a_torch_that_can_not_be_loaded_is_done_without(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for look in ("_is_there", "_has_driver", "_has_units"):
        monkeypatch.setattr(accelerators, look, lambda: True)
    accelerators._on_gpu.cache_clear()
    accelerators._on_cpu.cache_clear()
    try:
        assert isinstance(best_filter(64, 1e13), SinglesFilter)
    finally:
        accelerators._on_gpu.cache_clear()
        accelerators._on_cpu.cache_clear()


def test_bfloat16_units_are_found_by_name(tmp_path):
    info = tmp_path / "cpuinfo"
    assert not accelerators._has_units(info)
    info.write_text("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16x\n\nprocessor\t: 1\n")
    assert not accelerators._has_units(info)
    info.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16 avx512f\n")
    assert accelerators._has_units(info)


@torch_is_here
def test_a_measurement_is_of_a_pair():
    for multiply in (SinglesFilter(), accelerators.TorchFilter("cpu", BF16)):
        assert 0.0 < accelerators._seconds(multiply, 3) < 1e-4


def test_little_work_does_not_load_torch():
    code = (
        "import sys; from tenpercent.linkage.accelerators import best_filter; best_filter(64, 1e9); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
