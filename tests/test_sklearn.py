"""The scikit-learn estimator: scikit-learn's own checks, its partitions, ties, representatives."""

from __future__ import annotations

import doctest
import itertools
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster import hierarchy
from sklearn import datasets
from sklearn.base import clone
from sklearn.cluster import AgglomerativeClustering
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks

import tenpercent as tp
import tenpercent.sklearn
from examples import some
from tenpercent.linkage.reference import complete_linkage
from tenpercent.sklearn import CompleteLinkage
from tenpercent.tree.merges import cluster
from tenpercent.tree.representatives import groups_of

ROOT = Path(__file__).parent.parent
METRICS = ["cosine", "euclidean"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def same_partition(a: Any, b: Any) -> bool:
    """Whether two labellings make the same clusters, by whatever numbers."""
    pairs = set(zip(np.asarray(a).tolist(), np.asarray(b).tolist(), strict=True))
    return len(pairs) == len(set(np.asarray(a).tolist())) == len(set(np.asarray(b).tolist()))


def check_fitted(fitted: CompleteLinkage, X: Any) -> None:
    """What holds of every fit: the attributes are of one tree and one cut."""
    n, k = len(X), fitted.n_clusters_
    assert fitted.n_leaves_ == n and fitted.children_.shape == (n - k, 2) and len(fitted.distances_) == n - k
    assert fitted.labels_.dtype == fitted.children_.dtype == fitted.group_sizes_.dtype == np.int64
    _, first = np.unique(fitted.labels_, return_index=True)
    assert len(first) == k and np.all(np.diff(first) > 0), "labels go by first appearance"
    assert np.array_equal(fitted.group_sizes_, np.bincount(fitted.labels_))
    assert np.array_equal(fitted.labels_[fitted.representative_indices_], np.arange(k))
    assert np.all(np.diff(fitted.distances_) >= 0)
    members = [{row} for row in range(n)]
    for x, y in fitted.children_.tolist():
        assert x < y and members[x] and members[y], "each node is joined once, after it was made"
        members.append(members[x] | members[y])
        members[x] = members[y] = set()
    for node in filter(None, members):
        assert set(np.flatnonzero(fitted.labels_ == fitted.labels_[min(node)]).tolist()) == node


# ---- scikit-learn's own checks -----------------------------------------------------------------------------------

# One check casts small numbers to integers, and a row of them is zero then: it has no direction.
ZERO_ROW = {"check_estimators_dtypes": "cosine: a row of its integers is zero and has no direction"}


@parametrize_with_checks(
    [CompleteLinkage(metric="euclidean", linkage="complete"), CompleteLinkage(metric="cosine")],
    expected_failed_checks=lambda estimator: ZERO_ROW if estimator.metric == "cosine" else {},
)
def test_scikit_learns_checks(estimator: CompleteLinkage, check: Any) -> None:
    check(estimator)


def test_only_zero_rows_fail_scikit_learns_checks() -> None:
    failed = [
        r for r in check_estimator(CompleteLinkage(), on_fail=None, on_skip=None) if r["status"] == "failed"
    ]
    assert [r["check_name"] for r in failed] == list(ZERO_ROW)
    assert "is zero and has no direction" in str(failed[0]["exception"])


# ---- the same clusters as AgglomerativeClustering ----------------------------------------------------------------

RANDOM = np.random.RandomState(0)
SETS: dict[str, Any] = {
    "iris": datasets.load_iris().data,
    "wine": datasets.load_wine().data,
    "digits": datasets.load_digits().data[:400],
    "breast cancer": datasets.load_breast_cancer().data[:300],
    "diabetes": datasets.load_diabetes().data[:300],
    "linnerud": datasets.load_linnerud().data,
    "blobs": datasets.make_blobs(200, centers=5, n_features=3, random_state=0)[0],
    "blobs in 64": datasets.make_blobs(200, centers=20, n_features=64, random_state=1)[0].astype(np.float32),
    "moons": datasets.make_moons(200, noise=0.05, random_state=0)[0],
    "circles": datasets.make_circles(200, noise=0.05, factor=0.5, random_state=0)[0],
    "swiss roll": datasets.make_swiss_roll(200, random_state=0)[0],
    # what scikit-learn tests AgglomerativeClustering with
    "100 x 50": RANDOM.randn(100, 50),
    "50 x 100": RANDOM.normal(size=(50, 100)),
    "few integers": RANDOM.randint(-10, 10, size=(100, 3)) + 0.5,
    "integers": RANDOM.randint(-300, 300, size=(10, 3)),
    "edge case": np.array([[0.0, 1.0], [1.0, 1.0]]),
}
# Whole numbers and tenths have so many equal distances that cuts below this depend on the order of merging.
TIED = {("iris", "euclidean"): 144, ("digits", "euclidean"): 185, ("few integers", "euclidean"): 100}


def distances(X: Any, metric: str) -> Floats:
    rows = np.asarray(X, dtype=np.float64)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    half = 0.5 if metric == "cosine" else 1.0
    squares = np.square(rows[:, None] - rows[None]).sum(axis=-1)
    return half * squares if metric == "cosine" else np.sqrt(squares)


def clear_cuts(X: Any, metric: str) -> dict[int, tuple[float, float]]:
    """The numbers of clusters for which complete linkage has one answer whatever the order of merging at ties.

    Pairs of clusters that tie for the smallest dissimilarity may be merged in any order as long as no cluster is in two
    of them; from the first that is, the tree is not unique. With each number: the heights of the merges around the cut.
    """
    apart = distances(X, metric)
    np.fill_diagonal(apart, np.inf)
    slack, left, cuts, below = 1e-12 * apart[np.isfinite(apart)].max(), len(apart), {}, 0.0
    while left > 1:
        height = apart.min()
        x, y = np.nonzero(np.triu(apart <= height + slack))
        cuts[left] = (below, height)
        if len(np.unique([x, y])) < 2 * len(x):
            return cuts
        for i, j in zip(x.tolist(), y.tolist(), strict=True):
            apart[i] = apart[:, i] = np.maximum(apart[i], apart[j])
            apart[j] = apart[:, j] = apart[i, i] = np.inf
        left, below = left - len(x), height
    return {**cuts, 1: (below, np.inf)}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("name", list(SETS))
def test_the_clusters_are_agglomerative_clusterings(name: str, metric: str) -> None:
    X = SETS[name]
    cuts = clear_cuts(X, metric)
    assert min(cuts) == TIED.get((name, metric), 1)
    for k in [*list(cuts)[:: max(1, len(cuts) // some(6))], *list(cuts)[-5:]]:
        below, above = cuts[k]
        ours = CompleteLinkage(n_clusters=k, metric=metric).fit(X)
        theirs = AgglomerativeClustering(
            n_clusters=k, metric=metric, linkage="complete", compute_distances=True
        )
        theirs.fit(X)
        assert ours.n_clusters_ == theirs.n_clusters_ == k
        assert same_partition(ours.labels_, theirs.labels_), k
        scale = max(1.0, float(theirs.distances_[-1]))
        np.testing.assert_allclose(
            ours.distances_, theirs.distances_[: len(X) - k], rtol=0, atol=1e-12 * scale
        )
        check_fitted(ours, X)
        if np.isfinite(above):
            options = {"n_clusters": None, "metric": metric, "distance_threshold": (below + above) / 2}
            ours, theirs = CompleteLinkage(**options), AgglomerativeClustering(linkage="complete", **options)
            assert same_partition(ours.fit_predict(X), theirs.fit_predict(X))
            assert ours.n_clusters_ == theirs.n_clusters_ == k


@pytest.mark.parametrize("metric", METRICS)
def test_the_whole_tree_is_scipys_where_heights_differ(metric: str) -> None:
    X = SETS["100 x 50"]
    fitted = CompleteLinkage(n_clusters=1, metric=metric).fit(X)
    theirs = hierarchy.linkage(X, "complete", metric)
    assert np.array_equal(fitted.children_, theirs[:, :2])
    np.testing.assert_allclose(fitted.distances_, theirs[:, 2], rtol=1e-12)


# ---- ties: one tree, by the definition ---------------------------------------------------------------------------


def grid(n: int, width: int, seed: int) -> Floats:
    return np.random.default_rng(seed).integers(1, 4, (n, width)).astype(np.float64)


@given(
    st.integers(1, 24),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
    st.sampled_from(METRICS),
    st.floats(0, 1),
)
@settings(max_examples=some(40), deadline=None)
def test_n_clusters_takes_exactly_the_first_merges(
    n: int, width: int, seed: int, metric: str, part: float
) -> None:
    X = grid(n, width, seed)
    k = 1 + round(part * (n - 1))
    fitted = CompleteLinkage(n_clusters=k, metric=metric).fit(X)
    tree = complete_linkage(X, metric=metric)
    assert fitted.n_clusters_ == k
    assert np.array_equal(fitted.labels_, groups_of(n, tree.a[: n - k], tree.b[: n - k]))
    assert np.array_equal(fitted.distances_, tree.height[: n - k])
    check_fitted(fitted, X)


@given(st.integers(2, 24), st.integers(1, 3), st.integers(0, 2**32 - 1), st.sampled_from(METRICS))
@settings(max_examples=some(30), deadline=None)
def test_the_threshold_is_strict_to_the_last_bit(n: int, width: int, seed: int, metric: str) -> None:
    X = grid(n, width, seed)
    tree = complete_linkage(X, metric=metric)
    for height in np.unique(tree.height):
        for threshold in [np.nextafter(height, -np.inf), height, np.nextafter(height, np.inf)]:
            if threshold < 0:
                continue
            m = int(np.count_nonzero(tree.height < threshold))
            fitted = CompleteLinkage(None, distance_threshold=threshold, metric=metric).fit(X)
            assert fitted.n_clusters_ == n - m
            assert np.array_equal(fitted.labels_, groups_of(n, tree.a[:m], tree.b[:m]))
            check_fitted(fitted, X)


def test_a_threshold_in_single_precision_is_not_rounded_down_in_it() -> None:
    X = [[0.0], [1.0]]
    beside = CompleteLinkage(None, distance_threshold=np.float32(1 + 2**-23), metric="euclidean")
    assert beside.fit([[0.0], [1 + 2**-30]]).n_clusters_ == 1
    for threshold in [np.float32(1 + 2**-23), 1 + 2**-52, 2]:
        fitted = CompleteLinkage(None, distance_threshold=threshold, metric="euclidean").fit(X)
        assert fitted.n_clusters_ == 1, threshold
    for threshold in [np.float32(1), 1.0, 1, 0.5, 0, 0.0, -0.0]:
        fitted = CompleteLinkage(None, distance_threshold=threshold, metric="euclidean").fit(X)
        assert fitted.n_clusters_ == 2, threshold


def test_a_threshold_of_zero_merges_nothing_not_even_equal_rows() -> None:
    X = np.ones((4, 2))
    for metric in METRICS:
        for make in (CompleteLinkage, AgglomerativeClustering):
            linkage = {"linkage": "complete"} if make is AgglomerativeClustering else {}
            fitted = make(n_clusters=None, distance_threshold=0, metric=metric, **linkage).fit(X)
            assert fitted.n_clusters_ == 4
        fitted = CompleteLinkage(None, distance_threshold=5e-324, metric=metric).fit(X)
        assert fitted.n_clusters_ == 1


# ---- sizes and kinds of input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_the_smallest_sizes(metric: str) -> None:
    X = SETS["100 x 50"]
    whole = CompleteLinkage(n_clusters=1, metric=metric).fit(X)
    assert not whole.labels_.any() and whole.children_[-1].max() == 2 * 100 - 3
    apart = CompleteLinkage(n_clusters=100, metric=metric).fit(X)
    assert np.array_equal(apart.labels_, np.arange(100))
    assert np.array_equal(apart.representative_indices_, np.arange(100))
    for fitted in (whole, apart, CompleteLinkage(n_clusters=1, metric=metric).fit(X[:1])):
        check_fitted(fitted, X[: fitted.n_leaves_])
    one = CompleteLinkage(None, distance_threshold=0.1, metric=metric).fit(X[:1])
    check_fitted(one, X[:1])
    with pytest.raises(ValueError, match=r"more clusters than samples: n_clusters=2, n_samples=1\."):
        CompleteLinkage(metric=metric).fit(X[:1])


@pytest.mark.parametrize("metric", METRICS)
def test_the_kind_of_array_does_not_matter(metric: str, tmp_path: Path) -> None:
    X = SETS["blobs in 64"]
    expected = CompleteLinkage(30, metric=metric).fit(X)
    np.save(tmp_path / "X.npy", X)
    read_only = X.copy()
    read_only.flags.writeable = False
    wide = np.zeros((400, 128), dtype=np.float32)
    wide[::2, ::2] = X
    kinds = {
        "float64": X.astype(np.float64),
        "big-endian": X.astype(">f4"),
        "Fortran order": np.asfortranarray(X),
        "read-only": read_only,
        "strided": wide[::2, ::2],
        "memory-mapped": np.load(tmp_path / "X.npy", mmap_mode="r"),
        "list": X.astype(np.float64).tolist(),
        "data frame": pd.DataFrame(X),
        "objects": X.astype(object),
    }
    for kind, same in kinds.items():
        before = X.copy()
        found = CompleteLinkage(30, metric=metric).fit(same)
        for name in ("labels_", "children_", "distances_", "representative_indices_"):
            assert np.array_equal(getattr(found, name), getattr(expected, name)), (kind, name)
        assert np.array_equal(X, before)


@pytest.mark.parametrize("metric", METRICS)
def test_single_precision_is_not_what_distances_are_computed_in(metric: str) -> None:
    X = SETS["blobs in 64"]
    fitted = CompleteLinkage(1, metric=metric).fit(X)
    assert fitted.distances_.dtype == np.float64
    np.testing.assert_allclose(
        fitted.distances_, hierarchy.linkage(X.astype(np.float64), "complete", metric)[:, 2], rtol=1e-11
    )


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_the_rows_does_not_matter_where_heights_differ(metric: str) -> None:
    X = SETS["100 x 50"]
    order = np.random.default_rng(3).permutation(len(X))
    for k in (1, 2, 20, 60, 100):
        straight = CompleteLinkage(k, metric=metric).fit(X)
        shuffled = CompleteLinkage(k, metric=metric).fit(X[order])
        assert same_partition(straight.labels_[order], shuffled.labels_)
        assert np.array_equal(straight.distances_, shuffled.distances_)
        large = straight.group_sizes_ > 2  # of two, which are equally near, the first stands
        chosen = set(straight.representative_indices_[large].tolist())
        assert chosen <= set(order[shuffled.representative_indices_].tolist())


# ---- representatives ---------------------------------------------------------------------------------------------


def test_cosine_representatives_are_the_images_that_a_selection_keeps() -> None:
    X = SETS["digits"]
    merges = cluster(tp.Embeddings.from_numpy(X), tp.Cut(keep=0.4))
    selection = tp.select(merges, keep=0.4)
    fitted = CompleteLinkage(160).fit(X)
    assert np.array_equal(np.sort(fitted.representative_indices_), selection.rows)
    assert np.array_equal(fitted.labels_, selection.group)
    assert np.array_equal(fitted.group_sizes_[fitted.labels_], selection.group_size)


@given(st.integers(1, 24), st.integers(1, 3), st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
@settings(max_examples=some(40), deadline=None)
def test_euclidean_representatives_are_nearest_to_the_mean(
    n: int, width: int, seed: int, part: float, single: bool
) -> None:
    X = np.random.default_rng(seed).integers(-3, 4, (n, width)).astype(np.float32 if single else np.float64)
    fitted = CompleteLinkage(1 + round(part * (n - 1)), metric="euclidean").fit(X)
    for label, representative in enumerate(fitted.representative_indices_.tolist()):
        rows = np.flatnonzero(fitted.labels_ == label).tolist()
        members = [[Fraction(int(value)) for value in X[row]] for row in rows]
        mean = [sum(column) / len(rows) for column in zip(*members, strict=True)]
        square = [sum((v - m) ** 2 for v, m in zip(member, mean, strict=True)) for member in members]
        assert representative == rows[square.index(min(square))]


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_are_equally_near_but_for_rounding_are_a_tie(metric: str) -> None:
    for seed in range(20):
        row = np.random.default_rng(seed).uniform(1, 2, 7)
        X = np.stack([np.roll(row, shift) for shift in range(7)])
        assert CompleteLinkage(1, metric=metric).fit(X).representative_indices_.tolist() == [0]


def test_the_mean_of_near_rows_far_from_the_origin_keeps_its_digits() -> None:
    place, step = np.array([2.0**30, 2.0**29, 2.0**28]), 2.0**-20
    X = np.concatenate([place + step * np.eye(3), [[0.0, 0.0, 0.0]]])  # the first three are equally near
    for order in itertools.permutations(range(3)):
        fitted = CompleteLinkage(2, metric="euclidean").fit(X[[*order, 3]])
        assert fitted.representative_indices_.tolist() == [0, 3]


@pytest.mark.parametrize("power", [-600, 600])
def test_numbers_whose_squares_leave_the_range_of_doubles(power: int) -> None:
    X = SETS["blobs"]
    plain = CompleteLinkage(20, metric="euclidean").fit(X)
    moved = CompleteLinkage(20, metric="euclidean").fit(X * 2.0**power)
    assert np.array_equal(moved.children_, plain.children_)
    assert np.array_equal(moved.distances_, plain.distances_ * 2.0**power)
    assert np.array_equal(moved.representative_indices_, plain.representative_indices_)


# ---- within scikit-learn -----------------------------------------------------------------------------------------


def test_data_frames_pipelines_and_clones() -> None:
    iris = datasets.load_iris(as_frame=True)
    fitted = CompleteLinkage(3).fit(iris.data, iris.target)
    assert fitted.feature_names_in_.tolist() == list(iris.data.columns)
    assert fitted.n_features_in_ == 4
    assert np.array_equal(fitted.labels_, CompleteLinkage(3).fit_predict(iris.data.to_numpy()))
    again = clone(fitted).set_params(n_clusters=None, distance_threshold=0.01)
    given = {"n_clusters": None, "distance_threshold": 0.01, "metric": "cosine", "linkage": "complete"}
    assert again.get_params() == given
    assert not hasattr(again, "labels_")
    assert repr(again) == "CompleteLinkage(distance_threshold=0.01, n_clusters=None)"
    steps = make_pipeline(StandardScaler(), CompleteLinkage(3, metric="euclidean"))
    scaled = StandardScaler().fit_transform(iris.data)
    assert np.array_equal(
        steps.fit_predict(iris.data), CompleteLinkage(3, metric="euclidean").fit_predict(scaled)
    )
    assert np.array_equal(steps[-1].labels_, steps.fit(iris.data)[-1].labels_)
    moved = make_pipeline(FunctionTransformer(lambda X: X + 1), CompleteLinkage(3))
    assert np.array_equal(moved.fit_predict(iris.data), CompleteLinkage(3).fit_predict(iris.data + 1))


def test_representatives_with_weights_train_a_model() -> None:
    X, y = datasets.load_digits(return_X_y=True)
    kept = CompleteLinkage(len(X) // 2).fit(X[:1200])
    model = LogisticRegression(max_iter=200).fit(
        X[kept.representative_indices_], y[kept.representative_indices_], sample_weight=kept.group_sizes_
    )
    assert kept.group_sizes_.sum() == 1200
    assert model.score(X[1200:], y[1200:]) > 0.85


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"n_clusters": None},
            "Exactly one of n_clusters and distance_threshold has to be set, and the other needs",
        ),
        ({"distance_threshold": 0.1}, "Exactly one of .*: n_clusters=2, distance_threshold=0.1"),
        (
            {"n_clusters": 0},
            r"'n_clusters' parameter of CompleteLinkage must be an int in the range \[1, inf\)",
        ),
        ({"n_clusters": 2.0}, "'n_clusters' parameter of CompleteLinkage must be an int"),
        (
            {"n_clusters": None, "distance_threshold": -1},
            "'distance_threshold' parameter of CompleteLinkage must be",
        ),
        (
            {"n_clusters": None, "distance_threshold": np.nan},
            "'distance_threshold' parameter of CompleteLinkage must",
        ),
        ({"metric": "manhattan"}, "'metric' parameter of CompleteLinkage must be a str among"),
        ({"linkage": "average"}, "'linkage' parameter of CompleteLinkage must be a str among {'complete'}"),
        ({"n_clusters": 11}, r"more clusters than samples: n_clusters=11, n_samples=10\."),
    ],
)
def test_wrong_parameters_are_refused_as_scikit_learn_refuses_them(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        CompleteLinkage(**parameters).fit(SETS["integers"])


def test_zero_rows_have_no_direction_but_a_place() -> None:
    X = np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"1 of 3 vectors is zero and has no direction \(row 1\)"):
        CompleteLinkage().fit(X)
    assert CompleteLinkage(metric="euclidean").fit(X).labels_.tolist() == [0, 0, 1]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(broken: float) -> None:
    X = np.ones((3, 2))
    X[1, 1] = broken
    with pytest.raises(ValueError, match=r"Input X contains (NaN|infinity)"):
        CompleteLinkage(metric="euclidean").fit(X)


MISSING = """
import sys, types
from tenpercent.errors import MissingExtraError
{broken}
try:
    import tenpercent.sklearn
except MissingExtraError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("sys.modules['sklearn'] = None", "sklearn is not installed"),
        ("import sklearn.utils.validation as v; del v.validate_data", "scikit-learn is older than 1.6"),
    ],
)
def test_without_scikit_learn_the_error_names_the_command(broken: str, message: str) -> None:
    code = MISSING.format(broken=broken)
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith(message) and said.endswith("pip install 'tenpercent[sklearn]'\n")
    assert said.count("\n") == 1


# ---- documents ---------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page_give_what_it_shows() -> None:
    page = (ROOT / "docs" / "sklearn.md").read_text(encoding="utf-8")
    examples = "\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL))
    assert examples.count(">>>") >= 5
    plt.switch_backend("Agg")
    run = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    result = run.run(doctest.DocTestParser().get_doctest(examples, {}, "sklearn.md", "docs/sklearn.md", 0))
    plt.close("all")
    assert result.failed == 0


def test_the_example_of_the_class_gives_what_it_shows() -> None:
    assert doctest.testmod(tenpercent.sklearn).failed == 0
