"""The engine gives the reference's tree at every cut, ties and duplicates included; SciPy's where heights differ."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from tenpercent.cluster.distances import unit_vectors
from tenpercent.cluster.linkage import Linkage, first_merges
from tenpercent.cluster.memory import MemoryBudgetError
from tenpercent.cluster.neighbors import neighbor_graph
from tenpercent.cluster.reference import complete_linkage
from tenpercent.cluster.walk import singletons, walk
from tenpercent.errors import UsageError

CIFAR10 = Path(os.environ.get("TENPERCENT_CIFAR10", Path(__file__).parents[1] / "../shared/data/cifar10"))


def tie_heavy(kind, n, width, seed):
    """Vectors full of what is hard: equal dissimilarities, equal rows, and rows that are nearly so."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(n, width)).astype(np.float64)
    if kind == "equal":
        rows = np.tile(rows[:1], (n, 1))
    elif kind == "twins":
        rows = rows[rng.integers(0, max(1, n // 3), size=n)]
    elif kind == "multiples":
        rows = rows[rng.integers(0, max(1, n // 2), size=n)] * rng.choice([1.0, 2, 3, 0.25, 7], size=(n, 1))
    elif kind == "axes":
        rows = np.eye(width)[rng.integers(0, width, size=n)] * rng.choice([-1.0, 1], size=(n, 1))
    elif kind == "last bit":
        rows = rows[rng.integers(0, max(1, n // 4), size=n)]
        rows = np.where(rng.random(rows.shape) < 0.2, np.nextafter(rows, rng.choice([-9.0, 9])), rows)
    rows[~rows.any(axis=1)] = 1.0
    return rows.astype(np.float32) if kind == "float32" else rows


KINDS = ("grid", "equal", "twins", "multiples", "axes", "last bit", "float32")
inputs = st.builds(
    tie_heavy, st.sampled_from(KINDS), st.integers(1, 60), st.integers(1, 16), st.integers(0, 10**9)
)


def assert_begins(whole, part, count):
    """`part` has the bytes of the first `count` merges of `whole`."""
    assert len(part) == count
    for name in ("a", "b", "height"):
        found, expected = getattr(part, name), getattr(whole, name)
        assert found.dtype == expected.dtype
        assert found.tobytes() == expected[:count].tobytes()


def up_to(tree, height):
    return int(np.searchsorted(tree.height, height, side="right"))


@settings(deadline=None, max_examples=150)
@given(vectors=inputs, cut=st.floats(0, 1))
@example(vectors=np.ones((7, 3)), cut=0.5)
@example(vectors=np.eye(9), cut=0.3)
def test_the_engine_is_the_reference(vectors, cut):
    n = len(vectors)
    tree = complete_linkage(vectors)
    assert_begins(tree, first_merges(vectors, merges=n - 1), n - 1)

    wanted = round(cut * (n - 1))
    found = first_merges(vectors, merges=wanted)
    height = float(tree.height[wanted - 1]) if wanted else 0.0
    assert_begins(tree, found, up_to(tree, height))
    assert found.complete_to == (math.inf if len(found) == n - 1 else height)

    for near in (height, np.nextafter(height, 0), np.nextafter(height, 3)):
        found = first_merges(vectors, height=near)
        assert_begins(tree, found, up_to(tree, near))
        assert found.complete_to == (math.inf if len(found) == n - 1 else near)


@settings(deadline=None, max_examples=25)
@given(
    vectors=st.builds(
        tie_heavy, st.sampled_from(KINDS), st.integers(1, 14), st.integers(1, 4), st.integers(0, 10**9)
    )
)
def test_every_cut(vectors):
    tree = complete_linkage(vectors)
    for wanted in range(len(vectors)):
        found = first_merges(vectors, merges=wanted)
        assert_begins(tree, found, up_to(tree, tree.height[wanted - 1] if wanted else 0.0))
        assert_begins(tree, tree.prefix(wanted), len(found))
        assert tree.prefix(wanted).complete_to == found.complete_to


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(2, 60),
    width=st.integers(1, 4),
    seed=st.integers(0, 10**6),
    radii=st.lists(st.floats(0, 2), max_size=5),
)
def test_a_walk_in_shells_is_one_walk(n, width, seed, radii):
    units = np.unique(unit_vectors(tie_heavy("grid", n, width, seed)), axis=0)
    graph = neighbor_graph(units, math.inf)
    closing, _ = walk(singletons(len(units)), graph.i, graph.j)
    whole = [(graph.i[p], graph.j[p]) for p in closing]

    clusters, reached, found = singletons(len(units)), -1.0, []
    for radius in [*sorted(radii), math.inf]:
        shell = neighbor_graph(units, radius, above=reached)
        before = [array.copy() for array in clusters]
        closing, after = walk(clusters, shell.i, shell.j)
        assert all(
            np.array_equal(one, other) for one, other in zip(before, clusters, strict=True)
        )  # not changed
        found += [(shell.i[p], shell.j[p]) for p in closing]
        clusters, reached = after, radius
    assert found == whole
    assert len(clusters.a) == 0  # every count was filled
    assert clusters.size.max() == len(units)


@pytest.mark.parametrize(("n", "width"), [(400, 3), (700, 20)])
def test_it_is_scipys_tree_where_heights_differ(n, width):
    vectors = np.random.default_rng(n).normal(size=(n, width))
    tree = first_merges(vectors, merges=n - 1)
    scipys = linkage(vectors, "complete", "cosine")
    assert np.abs(tree.height - scipys[:, 2]).max() < 1e-12
    for keep in (0.9, 0.5, 0.1):
        wanted = n - round(keep * n)
        found = first_merges(vectors, merges=wanted)
        assert_begins(tree, found, wanted)
        theirs = fcluster(scipys, n - wanted, "maxclust")
        assert len(set(zip(groups(found, n).tolist(), theirs.tolist(), strict=True))) == n - wanted


def groups(tree, n):
    """The cluster of each point, numbered from 0, by following the merges."""
    parent = list(range(n))
    for a, b in zip(tree.a.tolist(), tree.b.tolist(), strict=True):
        while parent[a] != a:
            a = parent[a]
        while parent[b] != b:
            b = parent[b]
        assert a != b  # a merge joins two clusters
        parent[b] = a
    for point in range(n):
        root = point
        while parent[root] != root:
            root = parent[root]
        parent[point] = root
    return np.unique(parent, return_inverse=True)[1]


def assert_is_complete_linkage(vectors, tree):
    """By its definition, not by the engine's code: what any right answer has, whatever the order of ties."""
    group = groups(tree, len(vectors))
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    distances = squareform(pdist(vectors.astype(np.float64), "cosine"))[np.ix_(order, order)]
    farthest = np.maximum.reduceat(np.maximum.reduceat(distances, starts, axis=0), starts, axis=1)
    assert farthest.diagonal().max() <= tree.height[-1] + 1e-12  # each diameter is within the cut
    np.fill_diagonal(farthest, np.inf)
    assert farthest.min() >= tree.height[-1] - 1e-12  # no merge below the cut was left out
    assert np.all(np.diff(tree.height) >= 0)


@pytest.mark.parametrize("keep", [0.95, 0.5, 0.05])
def test_large_input_is_complete_linkage_by_definition(keep):
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(60, 12))
    vectors = (centres[rng.integers(0, 60, size=2500)] + 0.3 * rng.normal(size=(2500, 12))).astype(np.float32)
    vectors[rng.integers(0, 2500, size=200)] = vectors[rng.integers(0, 2500, size=200)]
    tree = first_merges(vectors, merges=round((1 - keep) * 2500))
    assert_is_complete_linkage(vectors, tree)


def test_many_equal_rows_are_no_work():
    # 40,000 equal rows would be 800 million pairs at dissimilarity 0.
    vectors = np.ones((40_000, 4), dtype=np.float32)
    vectors[::4000] = [1, 2, 3, 4]
    tree = first_merges(vectors, merges=39_999, memory=1 << 20)
    assert tree.complete_to == math.inf
    assert np.count_nonzero(tree.height) == 1
    assert (tree.a[-1], tree.b[-1]) == (36_000, 39_999)
    assert np.all(np.lexsort((tree.b, tree.a, tree.height)) == np.arange(39_999))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_the_smallest_inputs(n):
    tree = first_merges(np.eye(2)[:n], merges=max(n - 1, 0))
    assert len(tree) == max(n - 1, 0)
    assert tree.complete_to == math.inf
    assert first_merges(np.eye(2)[:n], height=2.0).height.tolist() == [1.0] * max(n - 1, 0)


def test_antipodal_rows():
    vectors = np.array([[1.0, 0], [-1, 0], [1, 1e-8], [-3, 0]])
    tree = first_merges(vectors, merges=3)
    assert_begins(complete_linkage(vectors), tree, 3)
    assert tree.height[-1] == 2.0


def test_a_linkage_cannot_be_changed():
    tree = first_merges(np.eye(5), merges=2)
    for array in (tree.a, tree.b, tree.height):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    with pytest.raises(AttributeError):
        tree.complete_to = 1.0
    assert isinstance(tree, Linkage)


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        ({}, "either merges or height"),
        ({"merges": 1, "height": 0.5}, "either merges or height"),
        ({"merges": -1}, "merges is -1; 3 vectors have from 0 to 2"),
        ({"merges": 3}, "merges is 3; 3 vectors have from 0 to 2"),
        ({"height": -0.1}, "height is -0.1"),
        ({"height": math.nan}, "height is nan"),
    ],
)
def test_a_depth_that_makes_no_sense_is_refused(depth, message):
    with pytest.raises(UsageError, match=message):
        first_merges(np.eye(3), **depth)


# ---- memory ------------------------------------------------------------------------------------------------------


def test_too_deep_for_the_memory_says_what_fits():
    vectors = np.random.default_rng(12).normal(size=(4000, 8))
    memory = 1_000_000
    needs = r"3,700 merges of 4,000 vectors needs .* pairs, and 1\.0 MiB may be used"
    with pytest.raises(MemoryBudgetError, match=needs) as said:
        first_merges(vectors, merges=3700, memory=memory)
    fits = int(str(said.value).split("used; ")[1].split(" merges")[0].replace(",", ""))
    assert 1000 < fits < 3700
    assert f"(keep {1 - fits / 4000:.2f})" in str(said.value)
    assert len(first_merges(vectors, merges=fits, memory=memory)) == fits

    with pytest.raises(
        MemoryBudgetError, match=r"height 0\.5 of 4,000 vectors needs .* may be used; height"
    ) as said:
        first_merges(vectors, height=0.5, memory=memory)
    fits = float(str(said.value).split("used; height ")[1].split()[0])
    assert len(first_merges(vectors, height=fits, memory=memory)) > 1000
    assert MemoryBudgetError.exit_status == 1


def test_a_depth_that_turns_out_too_deep_says_how_far_it_came():
    vectors = np.random.default_rng(12).normal(size=(4000, 8))
    with pytest.raises(MemoryBudgetError, match="3,000 merges of 4,000 vectors need more than") as said:
        first_merges(vectors, merges=3000, memory=1_000_000)
    fits = int(str(said.value).split("used; ")[1].split(" merges")[0].replace(",", ""))
    assert 1000 < fits < 3000
    assert len(first_merges(vectors, merges=fits, memory=1_000_000)) == fits


def test_a_tree_in_small_memory_is_the_same_tree():
    # Shells of few pairs each: the walk goes on from one to the next.
    vectors = np.random.default_rng(13).normal(size=(500, 30))
    whole = first_merges(vectors, merges=499)
    assert_begins(whole, first_merges(vectors, merges=300, memory=72 * 40_000), 300)


# ---- real vectors ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cifar10():
    pq = pytest.importorskip("pyarrow.parquet")
    if not (CIFAR10 / "resnet32-train.npy").exists():
        pytest.skip(f"no CIFAR-10 vectors in {CIFAR10}; set TENPERCENT_CIFAR10 to their folder")
    labels = pq.read_table(CIFAR10 / "train.parquet", columns=["label"])["label"].to_numpy()
    return np.load(CIFAR10 / "resnet32-train.npy"), labels


def test_real_vectors_of_a_class_give_scipys_tree(cifar10):
    vectors, labels = cifar10
    vectors = vectors[labels == 3][:2000]
    scipys = linkage(vectors.astype(np.float64), "complete", "cosine")
    tree = first_merges(vectors, merges=1000)
    assert np.abs(tree.height - scipys[: len(tree), 2]).max() < 1e-12
    theirs = fcluster(scipys, 1000, "maxclust")
    assert len(set(zip(groups(tree, 2000).tolist(), theirs.tolist(), strict=True))) == 1000
    assert_is_complete_linkage(vectors, tree)
