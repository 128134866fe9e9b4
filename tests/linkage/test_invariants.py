"""Large and real vectors: SciPy's and scikit-learn's partitions where heights differ, and what any right tree has.

A tenth to a fifth of CIFAR-10 unless TENPERCENT_ALL_CIFAR10 is set: then all of it, in some ten minutes.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

import tenpercent as tp
from hard_vectors import METRICS, assert_same, constraints, groups, same_partition
from tenpercent.linkage.linkage import first_merges
from tenpercent.linkage.memory import Resources

ALL = bool(os.environ.get("TENPERCENT_ALL_CIFAR10"))
KEEP = (0.99, 0.95, 0.9, 0.7, 0.5, 0.2, 0.05)
CLASSES = range(10)


@pytest.fixture(scope="module")
def real(cifar10):
    """The vectors of CIFAR-10's training images in a ResNet-32, and their classes."""
    labels = pq.read_table(cifar10 / "train.parquet", columns=["label"])["label"].to_numpy()
    return np.load(cifar10 / "resnet32-train.npy"), labels


def of_class(real, label, most=1000):
    vectors, labels = real
    own = vectors[labels == label]
    return own if ALL else own[:most]


def made(n, width, seed):
    """Vectors in clusters of many sizes, none equal to another."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n // 30, width))
    return (centres[rng.zipf(1.3, size=n) % len(centres)] + 0.3 * rng.normal(size=(n, width))).astype(
        np.float32
    )


def own_distances(vectors, others, metric):
    """All dissimilarities between two sets of vectors, in float64, by numpy's own means."""
    one, other = vectors.astype(np.float64), others.astype(np.float64)
    if metric == "cosine":
        one, other = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other))
        return 1.0 - one @ other.T
    squares = (one * one).sum(axis=1)[:, None] + (other * other).sum(axis=1)
    return np.sqrt(np.maximum(squares - 2.0 * one @ other.T, 0.0))


def farthest_pairs(vectors, group, metric):
    """Yield for some groups after others the largest dissimilarity to each group: the first one's number, [g, k]."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(
        np.diff(group[order], prepend=-1, append=group.max() + 1)
    )  # and where the last one ends
    first = 0
    while first < len(starts) - 1:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + 1000)) - 1)
        own = vectors[order[starts[first] : starts[last]]]
        distances = own_distances(own, vectors[order], metric)
        rows = np.maximum.reduceat(distances, starts[first:last] - starts[first], axis=0)
        yield first, np.maximum.reduceat(np.ascontiguousarray(rows.T), starts[:-1], axis=0).T
        first = last


def assert_is_complete_linkage(vectors, tree, metric="cosine", cannot_link=None):
    """By its definition, not by the engine's code: what any right answer has, whatever the order of ties."""
    near = (
        1e-12 if metric == "cosine" else 1e-6 * np.linalg.norm(vectors, axis=1).max()
    )  # of a difference of squares
    group = groups(tree, len(vectors))
    count = len(vectors) - len(tree)  # each merge joins two
    assert group.max() + 1 == count
    assert np.all(np.diff(tree.height) >= 0)
    last = np.zeros(count)  # the height of the last merge in each group, the one that made it
    np.maximum.at(last, group[tree.a], tree.height)
    ends = np.empty((0, 2), dtype=np.int64) if cannot_link is None else group[cannot_link]
    assert np.all(ends[:, 0] != ends[:, 1])  # no group holds a forbidden pair
    ends = np.concatenate([ends, ends[:, ::-1], np.stack([np.arange(count)] * 2, axis=1)])

    nearest = math.inf
    for first, farthest in farthest_pairs(vectors, group, metric):
        own = np.arange(len(farthest))
        diameters = farthest[own, first + own]
        assert np.abs(diameters - last[first + own]).max() <= near  # so each is within the cut
        here = ends[(ends[:, 0] >= first) & (ends[:, 0] < first + len(farthest))]
        farthest[here[:, 0] - first, here[:, 1]] = math.inf
        nearest = min(nearest, farthest.min())
    assert nearest >= tree.height[-1] - near  # no two groups were left that had to merge
    return nearest


def distinct(heights, merges):
    """Whether a cut after so many merges is one between different heights."""
    return heights[merges] - heights[merges - 1] > 1e-12


# ---- SciPy and scikit-learn --------------------------------------------------------------------------------------


@pytest.mark.parametrize("label", CLASSES)
def test_a_class_has_scipys_tree(real, label):
    vectors = of_class(real, label)
    n = len(vectors)
    scipys = linkage(vectors.astype(np.float64), "complete", "cosine")
    tree = first_merges(vectors, merges=n - 1)
    assert np.abs(tree.height - scipys[:, 2]).max() <= 1e-12
    compared = 0
    for keep in KEEP:
        clusters = round(keep * n)
        if distinct(scipys[:, 2], n - clusters):
            found = first_merges(vectors, merges=n - clusters)
            assert_same(found, tree, n - clusters, tree.height[n - clusters - 1])
            assert same_partition(groups(found, n), fcluster(scipys, clusters, "maxclust"))
            compared += 1
    assert compared >= 6  # ties are rare here


@pytest.mark.parametrize("label", CLASSES)
def test_a_class_has_scikit_learns_partitions(real, label, tmp_path):
    AgglomerativeClustering = pytest.importorskip("sklearn.cluster").AgglomerativeClustering
    vectors = of_class(real, label, most=600)
    n = len(vectors)
    heights = first_merges(vectors, merges=n - 1).height
    for keep in KEEP:
        clusters = round(keep * n)
        if distinct(heights, n - clusters):
            theirs = AgglomerativeClustering(
                clusters, metric="cosine", linkage="complete", compute_full_tree=True, memory=str(tmp_path)
            )
            found = first_merges(vectors, merges=n - clusters)
            assert same_partition(groups(found, n), theirs.fit_predict(vectors.astype(np.float64)))


def test_euclidean_is_scipys_tree_on_real_vectors(real):
    vectors = of_class(real, 3)
    n = len(vectors)
    scipys = linkage(vectors.astype(np.float64), "complete", "euclidean")
    tree = first_merges(vectors, merges=n - 1, metric="euclidean")
    assert np.abs(tree.height - scipys[:, 2]).max() <= 1e-12 * scipys[-1, 2]
    for keep in KEEP:
        found = first_merges(vectors, merges=n - round(keep * n), metric="euclidean")
        assert same_partition(groups(found, n), fcluster(scipys, round(keep * n), "maxclust"))


# ---- by definition -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0.9, 0.5])
def test_real_vectors_without_labels_by_definition(real, keep):
    vectors = real[0] if ALL and keep == 0.9 else real[0][:6000]
    tree = first_merges(vectors, merges=len(vectors) - round(keep * len(vectors)))
    assert_is_complete_linkage(vectors, tree)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("keep", [0.95, 0.5, 0.05])
@pytest.mark.parametrize("width", [3, 128])
def test_made_vectors_by_definition(metric, keep, width):
    vectors = made(3000, width, 11)
    again = np.random.default_rng(11).integers(0, 3000, size=(2, 200))
    vectors[again[0]] = vectors[again[1]]  # some of them twice and more often
    tree = first_merges(vectors, merges=round((1 - keep) * 3000), metric=metric)
    assert_is_complete_linkage(vectors, tree, metric)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("keep", [0.8, 0.3])
def test_constraints_by_definition(metric, keep):
    vectors = made(2500, 10, 12)
    vectors[1000:1100] = vectors[:100]
    pairs = constraints("many", vectors, 12)
    twins = np.stack([np.arange(60), np.arange(1000, 1060)], axis=1)
    pairs = np.concatenate([pairs, twins])
    tree = first_merges(vectors, merges=round((1 - keep) * 2500), metric=metric, cannot_link=pairs)
    assert_is_complete_linkage(vectors, tree, metric, pairs)


def test_a_threshold_by_definition(real):
    vectors = of_class(real, 5, most=2000)
    for height in (0.01, 0.05, 0.3):
        tree = first_merges(vectors, height=height)
        assert tree.complete_to == height and tree.height[-1] <= height
        assert assert_is_complete_linkage(vectors, tree) > height - 1e-12  # whoever could merge up to it has


# ---- what must change nothing ------------------------------------------------------------------------------------


@pytest.fixture(params=["made", "real"])
def vectors(request):
    """2,000 vectors, no two equal and no two pairs tied, near the top of the tree at least."""
    return made(2000, 16, 13) if request.param == "made" else request.getfixturevalue("real")[0][:2000]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("keep", [0.9, 0.3])
def test_another_order_of_rows_gives_the_same_tree(vectors, metric, keep):
    tree = first_merges(vectors, merges=round((1 - keep) * 2000), metric=metric)
    assert np.diff(tree.height).min() > 0  # no ties: they are settled by position
    order = np.random.default_rng(14).permutation(2000)
    other = first_merges(vectors[order], merges=len(tree), metric=metric)
    ends = np.sort(order[np.stack([other.a, other.b], axis=1)], axis=1)
    assert np.array_equal(ends, np.stack([tree.a, tree.b], axis=1))
    assert other.height.tobytes() == tree.height.tobytes()


def test_other_numbers_for_the_classes_give_the_same_merges():
    vectors = made(3000, 16, 15)
    rng = np.random.default_rng(15)
    labels = rng.integers(0, 7, size=3000)
    merges = tp.cluster(tp.Embeddings.from_numpy(vectors, labels=labels), keep=0.4)
    other = tp.cluster(tp.Embeddings.from_numpy(vectors, labels=rng.permutation(7)[labels]), keep=0.4)
    for name in ("a", "b", "height"):
        assert getattr(merges, name).tobytes() == getattr(other, name).tobytes()
    # and they are those of each class alone
    for label in range(7):
        own = np.flatnonzero(labels == label)
        alone = first_merges(vectors[own], merges=len(own) - round(0.4 * len(own)))
        of_class = np.isin(merges.a, own)
        height = merges.height[of_class][: len(alone)]
        assert np.array_equal(height, alone.height)
        assert np.array_equal(merges.a[of_class][: len(alone)], own[alone.a])
        assert np.array_equal(merges.b[of_class][: len(alone)], own[alone.b])


@pytest.mark.parametrize("metric", METRICS)
def test_components_clustered_alone_give_the_same_merges(vectors, metric):
    vectors = vectors.copy()
    vectors[1000:1050] = vectors[:50]
    tree = first_merges(vectors, merges=600, metric=metric)
    height = float(tree.height[-1])
    near = own_distances(vectors, vectors, metric) <= height + 1e-5
    count, component = connected_components(csr_array(near), directed=False)
    assert count > 20
    rng = np.random.default_rng(17)
    for share in (0.5, 0.3, 0.1):
        rows = np.flatnonzero((rng.random(count) < share)[component])
        alone = first_merges(vectors[rows], height=height, metric=metric)
        same = np.isin(tree.a, rows)
        assert np.array_equal(same, np.isin(tree.b, rows))  # no merge between components
        assert np.array_equal(rows[alone.a], tree.a[same])
        assert np.array_equal(rows[alone.b], tree.b[same])
        assert alone.height.tobytes() == tree.height[same].tobytes()


@pytest.mark.parametrize("keep", [0.9, 0.2])
def test_going_on_and_resources_change_nothing_on_real_vectors(real, keep, tmp_path):
    vectors = real[0][:5000]
    wanted = len(vectors) - round(keep * len(vectors))
    tree = first_merges(vectors, merges=wanted)
    after = None
    for depth in (wanted // 7, wanted // 2, wanted):
        after = first_merges(vectors, merges=depth, after=after, resources=Resources(threads=2))
    assert_same(after, tree)
    for resources in (
        Resources(threads=1),
        Resources(threads=2, scratch=tmp_path),
        Resources(memory=100 << 20, threads=2),
    ):
        assert_same(first_merges(vectors, merges=wanted, resources=resources), tree)
