"""Dendrograms: the linkage matrix of a group and of a class, as SciPy reads it."""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import MissingExtraError, UsageError
from tenpercent.selection.dendrogram import children, class_linkage, group_linkage, plot_linkage
from tenpercent.tree.merges import Merges, cluster, uncut
from tenpercent.tree.representatives import groups_of

Ids = npt.NDArray[np.str_]


def some(n: int, seed: int = 0, tied: bool = False, classes: int = 0) -> Embeddings:
    random = np.random.default_rng(seed)
    vectors = random.integers(1, 4, (n, 3)) if tied else random.normal(size=(n, 4))
    labels = random.integers(-1, classes, n) if classes else None
    names = [f"class {code}" for code in range(classes)] if classes else None
    ids = [f"image {k:03d}" for k in random.permutation(n)]
    return Embeddings.from_numpy(vectors.astype(np.float32), labels=labels, class_names=names, ids=ids)


def check(merges: Merges, Z: npt.NDArray[np.float64], ids: Ids) -> None:
    """The matrix is SciPy's kind, and cut anywhere it gives the groups that the merges give."""
    assert hierarchy.is_valid_linkage(Z, throw=True)
    assert hierarchy.is_monotonic(Z)
    assert Z.shape == (len(ids) - 1, 4) and Z.dtype == np.float64 and Z[-1, 3] == len(ids)
    assert np.all(Z[:, 0] < Z[:, 1])
    positions = np.searchsorted(merges.embeddings.ids, ids)
    assert np.all(np.diff(positions) > 0)
    joined_at = np.full((len(ids), len(ids)), np.inf)
    for height in np.unique(merges.height)[::-1]:
        taken = merges.height <= height
        group = groups_of(len(merges.embeddings), merges.a[taken], merges.b[taken])[positions]
        same = group[:, None] == group
        joined_at[same] = height
        cut = hierarchy.fcluster(Z, height, criterion="distance")
        assert np.array_equal(cut[:, None] == cut, same)
    np.fill_diagonal(joined_at, 0)
    assert np.array_equal(squareform(hierarchy.cophenet(Z)), joined_at)


@given(st.integers(2, 30), st.integers(0, 2**32 - 1), st.booleans(), st.floats(0.01, 0.9))
@settings(max_examples=40, deadline=None)
def test_each_group_of_a_cut_has_its_own_tree(n: int, seed: int, tied: bool, keep: float) -> None:
    merges = cluster(some(n, seed, tied), tp.Cut(keep=keep))
    for group in tp.select(merges, keep=keep).groups():
        Z, ids = group_linkage(merges, group["id"])
        assert ids.tolist() == sorted(group["id"].to_pylist())
        assert Z[-1, 2] == group["group_diameter"][0].as_py()
        check(merges, Z, ids)
        again, _ = group_linkage(merges.deepened(tp.Cut(threshold=2)), reversed(ids.tolist()))
        assert np.array_equal(again, Z)


@given(st.integers(4, 30), st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([0, 2]))
@settings(max_examples=40, deadline=None)
def test_each_class_has_its_whole_tree(n: int, seed: int, tied: bool, classes: int) -> None:
    embeddings = some(n, seed, tied, classes)
    merges = cluster(embeddings, tp.Cut(threshold=2))
    names = [None if code < 0 else embeddings.class_names[code] for code in merges.classes]
    for name, code in zip(names, merges.classes, strict=True):
        own = np.arange(n) if embeddings.labels is None else np.flatnonzero(embeddings.labels == code)
        if len(own) < 2:
            with pytest.raises(UsageError, match="is one image"):
                class_linkage(merges, name)
            continue
        Z, ids = class_linkage(merges, name)
        assert ids.tolist() == embeddings.ids[own].tolist()
        check(merges, Z, ids)


def test_the_tree_is_scipys_where_heights_differ() -> None:
    embeddings = some(60)
    Z, ids = class_linkage(cluster(embeddings, tp.Cut(threshold=2)), None)
    theirs = hierarchy.linkage(embeddings.vectors.astype(np.float64), "complete", "cosine")
    assert ids.tolist() == embeddings.ids.tolist()
    np.testing.assert_allclose(Z, theirs, rtol=0, atol=1e-12)
    np.testing.assert_allclose(hierarchy.cophenet(Z), hierarchy.cophenet(theirs), rtol=0, atol=1e-12)


def test_one_id_means_the_largest_group_that_holds_it() -> None:
    merges = cluster(some(40), tp.Cut(keep=0.5))
    group = next(tp.select(merges, keep=0.5).groups())
    Z, ids = group_linkage(merges, group["id"][1].as_py())
    assert ids.tolist() == sorted(group["id"].to_pylist())
    assert np.array_equal(Z, group_linkage(merges, ids)[0])


def test_images_of_different_classes_are_told_apart() -> None:
    embeddings = some(40, classes=2)
    merges = cluster(embeddings, tp.Cut(threshold=2))
    assert embeddings.labels is not None
    ids = embeddings.ids[embeddings.labels == 1]
    assert np.array_equal(group_linkage(merges, ids)[0], class_linkage(merges, "class 1")[0])
    together = cluster(embeddings, tp.Cut(threshold=2, within="all"))
    Z, ids = class_linkage(together, None)
    check(together, Z, ids)
    assert len(ids) == 40


def test_nodes_are_numbered_as_scipy_numbers_them() -> None:
    nodes, sizes = children(5, np.array([3, 0, 2]), np.array([4, 1, 4]))
    assert nodes.tolist() == [[3, 4], [0, 1], [2, 5]]
    assert sizes.tolist() == [2, 2, 3]
    nodes, sizes = children(1, np.empty(0, np.int64), np.empty(0, np.int64))
    assert nodes.shape == (0, 2) and sizes.shape == (0,)


# ---- what has no dendrogram --------------------------------------------------------------------------------------


def line() -> Embeddings:
    """Five directions in a plane: a, b, c from near to far, and d beside e."""
    angle = np.radians([0, 1, 3, 60, 61])
    return Embeddings.from_numpy(
        np.column_stack([np.cos(angle), np.sin(angle)]), ids=["a", "b", "c", "d", "e"]
    )


def test_ids_that_are_no_group_are_refused_with_the_reason() -> None:
    merges = cluster(line(), tp.Cut(threshold=2))
    assert group_linkage(merges, ["b", "a", "a"])[1].tolist() == ["a", "b"]
    with pytest.raises(UsageError, match=r"only a part of their group: 'a' joins 'b' at height 0\.000152"):
        group_linkage(merges, ["a", "c"])  # the pair (a, c) closes a merge, but b is in it
    with pytest.raises(UsageError, match="make 2 groups as far as these merges go"):
        group_linkage(merges, ["a", "d"])
    with pytest.raises(UsageError, match="make 2 groups as far as these merges go; deepen"):
        group_linkage(cluster(line(), tp.Cut(keep=0.8)), ["a", "b", "c"])
    with pytest.raises(UsageError, match=r"'c' is alone in its group"):
        group_linkage(cluster(line(), tp.Cut(keep=0.8)), "c")
    with pytest.raises(UsageError, match="names no image"):
        group_linkage(merges, [])
    with pytest.raises(UsageError, match=r"'f'.*no such id"):
        group_linkage(merges, ["a", "f"])


def test_a_tree_that_is_not_whole_is_refused_with_the_remedy() -> None:
    merges = cluster(line(), tp.Cut(keep=0.6))
    with pytest.raises(UsageError, match=r"the tree has 2 of its 4 merges .*; give merges") as error:
        class_linkage(merges, None)
    remedy = str(error.value).partition("; give ")[2]
    assert len(class_linkage(eval(remedy, {"merges": merges, "tp": tp}), None)[1]) == 5
    with pytest.raises(UsageError, match="'cat', which these merges don't have; they have one tree of all"):
        class_linkage(merges, "cat")
    labelled = uncut(some(20, classes=2))
    with pytest.raises(UsageError, match=r"they have 2 classes; did you mean class [01]"):
        class_linkage(labelled, "class 3")
    with pytest.raises(UsageError, match="the tree of class 'class 1' has 0 of its"):
        class_linkage(labelled, "class 1")


# ---- drawing -----------------------------------------------------------------------------------------------------


def test_scipy_draws_it() -> None:
    merges = cluster(line(), tp.Cut(threshold=2))
    Z, ids = class_linkage(merges, None)
    figure, axes = plt.subplots()
    drawn = plot_linkage(Z, ids, axes, color_threshold=0)
    assert [text.get_text() for text in axes.get_xticklabels()] == drawn["ivl"] == ["d", "e", "c", "a", "b"]
    assert "height" in axes.get_ylabel() and axes.get_xlabel() == ""
    plt.close(figure)
    figure, axes = plt.subplots()
    plot_linkage(Z, ids, orientation="right")
    assert "height" in axes.get_xlabel() and axes.get_ylabel() == ""
    plt.close(figure)


def test_without_scipy_the_error_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    Z, ids = class_linkage(cluster(line(), tp.Cut(threshold=2)), None)
    monkeypatch.setitem(sys.modules, "scipy.cluster.hierarchy", None)
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(
        MissingExtraError, match=r"scipy is not installed.*pip install 'tenpercent\[sklearn\]'"
    ):
        plot_linkage(Z, ids)
