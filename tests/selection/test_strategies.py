"""Strategies: each is its definition, counts are exact, the order of the rows is nothing, bad values are one line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import tenpercent as tp
from hard_vectors import hard_inputs, hard_vectors
from slow_strategies import (
    plain_diameters,
    plain_graph_add,
    plain_graph_remove,
    plain_kcenter,
    plain_kmeans,
    plain_matrix,
    plain_representatives,
    plain_semdedup,
    plain_stratified,
)
from tenpercent.cli.main import main
from tenpercent.errors import StageError, UsageError
from tenpercent.linkage.distances import dissimilarities, unit_vectors
from tenpercent.linkage.farthest import COLUMNS
from tenpercent.linkage.rows import fill_rows, grid_of
from tenpercent.selection.by_strategy import TREE_DEPTH
from tenpercent.selection.nearest import nearest_kept
from tenpercent.selection.strategies.along_tree import leaf_order, systematic, weights_of
from tenpercent.selection.strategies.ccs import STRATA, ccs, strata_of
from tenpercent.selection.strategies.draw import draw
from tenpercent.selection.strategies.graph_add import graph_add
from tenpercent.selection.strategies.graph_remove import graph_remove
from tenpercent.selection.strategies.kcenter import kcenter
from tenpercent.selection.strategies.semdedup import semdedup, spherical_kmeans
from tenpercent.selection.strategies.strategy import CheckedStrategy, Strategy
from tenpercent.tree.allotment import allot
from tenpercent.tree.representatives import groups_of, representatives

Vectors = npt.NDArray[Any]
NAMES = [str(name) for name in Strategy]
OTHERS = [name for name in NAMES if name != "semantic"]

counted = st.floats(0.0, 1.0).map(lambda share: lambda n: 1 + round(share * (n - 1)))  # a count from 1 to n
quick = settings(deadline=None, max_examples=25)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def given_scores(name: str, n: int, seed: int = 5) -> dict[str, Any]:
    """Scores with many ties, where a strategy needs some."""
    return {"scores": rng(seed).integers(0, 7, n)} if name.startswith("ccs") else {}


def some_embeddings(n: int = 60, seed: int = 0, kind: str = "grid", width: int = 3) -> tp.Embeddings:
    """Vectors full of ties, in three classes: one of a single image, and some images without a label."""
    labels = rng(seed).integers(-1, 2, n)
    labels[n // 2] = 2
    return tp.Embeddings.from_numpy(hard_vectors(kind, n, width, seed), labels=labels)


# ---- each by its definition --------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, COLUMNS - 1, COLUMNS, COLUMNS + 1, 3 * COLUMNS + 5])
def test_rows_have_the_bits_of_the_dissimilarity(n: int) -> None:
    units = unit_vectors(hard_vectors("balls", n, 7, n))
    rows = rng(n).integers(0, n, 70).astype(np.int32)
    found = np.empty((len(rows), n))
    fill_rows(units, rows, grid_of(units).panels, n, np.empty((32, COLUMNS)), found)
    expected = dissimilarities(units, np.repeat(rows, n), np.tile(np.arange(n), len(rows)))
    assert found.tobytes() == expected.tobytes()


@quick
@given(hard_inputs(), counted, st.floats(0.0, 0.6))
def test_kcenter_is_its_definition(vectors: Vectors, of: Callable[[int], int], threshold: float) -> None:
    units, count = unit_vectors(vectors), of(len(vectors))
    first = int(representatives(units, np.zeros(len(units), dtype=np.int64))[0][0])
    assert kcenter(units, count).tolist() == plain_kcenter(units, first, count, -math.inf)
    assert kcenter(units, count, threshold).tolist() == plain_kcenter(units, first, count, threshold)


@pytest.mark.parametrize("kind", ["grid", "balls", "twins"])
def test_kcenter_of_many_panels_is_its_definition(kind: str) -> None:
    units = unit_vectors(hard_vectors(kind, 5 * COLUMNS + 3, 4, 1))
    first = int(representatives(units, np.zeros(len(units), dtype=np.int64))[0][0])
    for count in (1, 2, 40, 200):
        assert kcenter(units, count).tolist() == plain_kcenter(units, first, count, -math.inf)


@quick
@given(
    hard_inputs(most=35), counted, st.sampled_from([math.inf, 0.0, 0.05, 0.3]), st.sampled_from([9, 1 << 24])
)
def test_graph_remove_is_its_definition(
    vectors: Vectors, of: Callable[[int], int], threshold: float, most: int
) -> None:
    found = graph_remove(vectors, of(len(vectors)), threshold, most)
    assert found.tolist() == plain_graph_remove(unit_vectors(vectors), of(len(vectors)), threshold)


@quick
@given(hard_inputs(most=40), counted, st.sampled_from([0, 3000, 1 << 29]))
def test_graph_add_is_plain_greedy(vectors: Vectors, of: Callable[[int], int], cache: int) -> None:
    units = unit_vectors(vectors)
    assert graph_add(units, of(len(units)), cache).tolist() == plain_graph_add(units, of(len(units)))


def test_graph_add_of_many_is_plain_greedy() -> None:
    units = unit_vectors(hard_vectors("balls", 2 * COLUMNS + 9, 5, 2))
    assert graph_add(units, 90).tolist() == plain_graph_add(units, 90)


@quick
@given(hard_inputs(), counted, st.sampled_from([None, 1, 2, 9]), st.integers(0, 99))
@example(hard_vectors("last bit", 4, 4, 0), lambda n: n, None, 0)  # k-means goes round in circles
def test_semdedup_is_as_published(
    vectors: Vectors, of: Callable[[int], int], clusters: int | None, seed: int
) -> None:
    units, count = unit_vectors(vectors), of(len(vectors))
    wanted = min(round(math.sqrt(len(units))) if clusters is None else clusters, count)
    start = units[draw(len(units), max(1, wanted), rng(seed))]
    of_cluster, centroids = plain_kmeans(units, start)
    found, d = spherical_kmeans(units, start)
    assert found.tolist() == of_cluster
    both = np.concatenate([centroids, units])
    assert d.tolist() == plain_matrix(both)[len(start) :, : len(start)].min(axis=1).tolist()
    assert semdedup(units, count, rng(seed), clusters).tolist() == plain_semdedup(units, start, count)


def test_kmeans_of_equal_images_takes_the_first_centroid() -> None:
    equal = unit_vectors(np.ones((9, 3)))
    assert not spherical_kmeans(equal, equal[:3])[0].any()


@quick
@given(
    st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=90), counted, st.floats(0, 1), st.integers(0, 9)
)
def test_strata_share_the_budget(
    scores: list[float], of: Callable[[int], int], pruned: float, seed: int
) -> None:
    array, count = np.asarray(scores), of(len(scores))
    found = ccs(array, count, rng(seed), pruned)
    left, shares = plain_stratified(array, count, pruned, STRATA)
    assert len(found) == len(set(found.tolist())) == count
    assert set(found.tolist()) <= set(left)
    strata = strata_of(array[sorted(left)])
    stratum = dict(zip(sorted(left), strata.tolist(), strict=True))
    assert np.bincount([stratum[x] for x in found.tolist()], minlength=STRATA).tolist() == shares


def test_a_smaller_draw_is_part_of_a_larger_one_and_all_are_equally_likely() -> None:
    for seed in range(20):
        assert set(draw(50, 7, rng(seed)).tolist()) < set(draw(50, 30, rng(seed)).tolist())
    often = np.bincount(np.concatenate([draw(20, 5, rng(seed)) for seed in range(4000)]), minlength=20)
    assert abs(often - 1000).max() < 5 * math.sqrt(4000 * 0.25 * 0.75)


# ---- along the tree ----------------------------------------------------------------------------------------------


@quick
@given(hard_inputs(most=24))
def test_every_group_of_every_cut_lies_side_by_side(vectors: Vectors) -> None:
    merges = tp.cluster(tp.Embeddings.from_numpy(vectors), keep=1 / len(vectors))
    n = len(vectors)
    order = leaf_order(n, merges.a, merges.b)
    assert sorted(order.tolist()) == list(range(n))
    place = np.argsort(order)
    for taken in range(len(merges) + 1):
        group = groups_of(n, merges.a[:taken], merges.b[:taken])
        for g in range(group.max() + 1):
            places = place[group == g]
            assert places.max() - places.min() == len(places) - 1
            assert order[places.min()] == np.flatnonzero(group == g)[0]


@quick
@given(st.lists(st.integers(1, 30), min_size=1, max_size=60), counted, st.floats(0, 1, exclude_max=True))
def test_a_systematic_draw_keeps_shares(weights: list[int], of: Callable[[int], int], start: float) -> None:
    n = len(weights)
    for listed in (weights, [1] * n):
        array, count = np.asarray(listed), of(n)
        found = systematic(array, count, start)
        assert len(found) == count
        stays = np.zeros(n, dtype=np.int64)
        stays[found] = 1
        if len(set(listed)) == 1:
            for begin in range(n):
                for end in range(begin, n + 1):
                    share = (end - begin) * count / n
                    assert math.floor(share) <= stays[begin:end].sum() <= math.ceil(share)


def test_a_systematic_draw_has_the_probabilities_it_says() -> None:
    weights = np.asarray([1, 2, 3, 4, 100, 2])
    starts = (np.arange(1200) + 0.5) / 1200
    often = np.bincount(np.concatenate([systematic(weights, 3, start) for start in starts]), minlength=6)
    # 100 stays for certain; the other two are shared by 1 + 2 + 3 + 4 + 2 = 12.
    assert often.tolist() == [200, 400, 600, 800, 1200, 400]


@pytest.mark.parametrize("within", ["class", "all"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.8])
def test_spread_keeps_the_share_of_every_group_and_mixed_lies_between(within: str, keep: float) -> None:
    embeddings = some_embeddings(90)
    spread = tp.select_by(embeddings, keep, strategy="spread", within=within, seed=3)
    merges = tp.cluster(embeddings, keep / TREE_DEPTH, within=within)
    kept = spread.kept_by_id.astype(np.int64)
    for steps in range(0, len(merges) - 1):
        if merges.height[steps] == merges.height[steps + 1]:
            continue  # no cut lies between equal heights
        group = groups_of(len(embeddings), merges.a[: steps + 1], merges.b[: steps + 1])
        for g in np.unique(group):
            members = np.flatnonzero(group == g)
            index = merges.class_index[members[0]]
            own = merges.class_index == index
            share = len(members) * kept[own].sum() / own.sum()
            assert math.floor(share) <= kept[members].sum() <= math.ceil(share)
    even = tp.select_by(embeddings, keep, strategy="mixed:1", within=within, seed=3)
    assert np.array_equal(even.kept_by_id, spread.kept_by_id)
    one_each = tp.select_by(embeddings, keep, strategy="mixed:0", within=within, seed=3)
    semantic = tp.select(merges, keep=keep)
    assert one_each.kept_by_id.sum() == semantic.kept_by_id.sum()
    assert len(np.unique(semantic.group[one_each.kept_by_id])) == one_each.kept_by_id.sum()


def test_images_of_larger_groups_weigh_less() -> None:
    assert weights_of(np.asarray([1, 4, 9]), 0.5).tolist() == [65536, 32768, 21845]
    assert weights_of(np.asarray([1, 4, 9]), 0.0).tolist() == [65536, 16384, 7282]
    assert weights_of(np.asarray([1, 4, 9]), 1.0).tolist() == [1, 1, 1]


# ---- what all have in common -------------------------------------------------------------------------------------


@quick
@given(hard_inputs(), st.integers(0, 10**6))
def test_representatives_are_the_nearest_and_diameters_exact(vectors: Vectors, seed: int) -> None:
    units = unit_vectors(vectors)
    kept = rng(seed).random(len(units)) < rng(seed + 1).random()
    kept[rng(seed).integers(len(units))] = True
    representative, dissimilarity, diameter = nearest_kept(units, kept)
    assert (representative.tolist(), dissimilarity.tolist()) == plain_representatives(units, kept)
    assert diameter.tolist() == plain_diameters(units, representative.tolist())


def test_representatives_across_blocks() -> None:
    units = unit_vectors(hard_vectors("twins", 1500, 3, 0))
    kept = np.arange(1500) % 3 == 0
    representative, dissimilarity, _ = nearest_kept(units, kept)
    assert (representative.tolist(), dissimilarity.tolist()) == plain_representatives(units, kept)


@pytest.mark.parametrize("within", ["class", "all"])
@pytest.mark.parametrize("name", [*OTHERS, "mixed:0.2", "ccs:0.3", "semdedup:3"])
def test_a_selection_of_any_strategy(name: str, within: str) -> None:
    embeddings = some_embeddings()
    n = len(embeddings)
    units = unit_vectors(embeddings.vectors)
    labels = embeddings.labels if within == "class" else np.zeros(n, dtype=np.int64)
    assert labels is not None
    codes, index, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    first = np.asarray([np.flatnonzero(labels == code)[0] for code in codes])
    for keep in (0.01, 0.1, 0.35, 0.5, 0.9, 1.0):
        found = tp.select_by(embeddings, keep, strategy=name, within=within, seed=2, **given_scores(name, n))
        counts = np.bincount(index[found.kept_by_id], minlength=len(codes))
        assert counts.tolist() == allot(sizes, first, round(keep * n)).tolist()
        for code in codes:
            own = np.flatnonzero(labels == code)
            nearest, d = plain_representatives(units[own], found.kept_by_id[own])
            assert found.representative[own].tolist() == own[nearest].tolist()
            assert found.dissimilarity[own].tolist() == d
            assert found.group_diameter[own].tolist() == plain_diameters(units[own], nearest)
        smallest = [int(np.flatnonzero(found.representative == r)[0]) for r in found.representative]
        assert found.group.tolist() == np.unique(smallest, return_inverse=True)[1].tolist()
        assert found.group_size.tolist() == np.bincount(found.group)[found.group].tolist()
        assert [cut.kept for cut in found.classes] == counts.tolist()
        assert [cut.images for cut in found.classes] == sizes.tolist()
        radii = [found.dissimilarity[labels == code].max() for code in codes]
        assert [cut.height for cut in found.classes] == radii
        about = found.settings
        assert (about["strategy"], about["within"], about["keep"]) == (name, within, keep)
        assert about["radius"] == max(radii)
        assert about["seed"] == (2 if CheckedStrategy.of(name).draws else None)
        assert about["guarantee"] in found.notes[0]
        assert len(found.notes) == 1 + (len(found.kept) > round(keep * n))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_the_rows_is_nothing(name: str) -> None:
    n, kind = 80, "twins"
    vectors, labels = hard_vectors(kind, n, 3, 1), rng(1).integers(0, 3, n)
    ids = [f"image-{row:03}" for row in range(n)]
    order = rng(7).permutation(n)
    more = given_scores(name, n)
    shuffled = {"scores": more["scores"][order]} if more else {}
    one = tp.Embeddings.from_numpy(vectors, labels=labels, ids=ids)
    other = tp.Embeddings.from_numpy(vectors[order], labels=labels[order], ids=[ids[row] for row in order])
    for within in ("class", "all"):
        a = tp.select_by(one, 0.4, strategy=name, within=within, seed=1, **more)
        b = tp.select_by(other, 0.4, strategy=name, within=within, seed=1, **shuffled)
        assert a.kept.tolist() == b.kept.tolist()
        assert a.table.drop(["row"]).equals(b.table.drop(["row"]))


@pytest.mark.parametrize("name", OTHERS)
def test_seeds_matter_where_something_is_drawn_and_nowhere_else(name: str) -> None:
    embeddings = some_embeddings(120, kind="balls")
    scores = {"scores": rng().random(120)} if name == "ccs" else {}
    kept = [tp.select_by(embeddings, 0.4, strategy=name, seed=s, **scores).kept.tolist() for s in (0, 0, 1)]
    assert kept[0] == kept[1]
    assert (kept[0] != kept[2]) == CheckedStrategy.of(name).draws


@pytest.mark.parametrize("name", OTHERS)
def test_one_image_and_equal_images(name: str) -> None:
    one = tp.Embeddings.from_numpy(np.asarray([[1.0, 2.0]]))
    found = tp.select_by(one, 0.5, strategy=name, **given_scores(name, 1))
    assert found.kept_by_id.tolist() == [True]
    equal = tp.Embeddings.from_numpy(np.ones((40, 3)), labels=np.repeat([0, 1], 20))
    found = tp.select_by(equal, 0.25, strategy=name, **given_scores(name, 40))
    assert found.kept_by_id.reshape(2, 20).sum(axis=1).tolist() == [5, 5]
    assert found.dissimilarity.tolist() == [0.0] * 40
    assert found.settings["radius"] == 0.0


def test_semantic_is_the_tree_as_ever() -> None:
    embeddings = some_embeddings()
    for how in ({"keep": 0.6}, {"threshold": 0.1}):
        found = tp.select_by(embeddings, strategy="semantic", **how)
        expected = tp.select(tp.cluster(embeddings, **how), tp.Cut(**how))
        assert found.table.equals(expected.table)
        assert (found.settings, found.notes) == (expected.settings, expected.notes)
        assert found.strategy == "semantic"


@pytest.mark.parametrize("within", ["class", "all"])
def test_thresholds_are_what_they_say(within: str) -> None:
    embeddings = some_embeddings(kind="balls")
    units = unit_vectors(embeddings.vectors)
    matrix = plain_matrix(units)
    if within == "class":
        assert embeddings.labels is not None
        matrix[embeddings.labels[:, None] != embeddings.labels[None, :]] = np.inf
    np.fill_diagonal(matrix, np.inf)
    sizes = []
    for threshold in (0.0, 0.01, 0.1, 2.0):
        center = tp.select_by(embeddings, strategy="kcenter", threshold=threshold, within=within)
        assert center.settings["radius"] <= threshold
        thinned = tp.select_by(embeddings, strategy="graph-remove", threshold=threshold, within=within)
        assert matrix[np.ix_(thinned.kept_by_id, thinned.kept_by_id)].min(initial=np.inf) > threshold
        sizes.append((len(center.kept), len(thinned.kept)))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0][0] > sizes[-1][0]


def test_kcenter_is_within_four_times_of_the_best_radius() -> None:
    from itertools import combinations

    for seed in range(6):
        units = unit_vectors(rng(seed).normal(size=(11, 2)))
        matrix = plain_matrix(units)
        best = min(matrix[:, list(some)].min(axis=1).max() for some in combinations(range(11), 3))
        found = matrix[:, kcenter(units, 3)].min(axis=1).max()
        assert best <= found <= 4 * best


# ---- bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"strategy": "kcentre"}, "did you mean kcenter"),
        ({"strategy": None}, "must be one of semantic, random"),
        ({"strategy": "random:3"}, "random takes no value"),
        ({"strategy": "mixed:2"}, "from 0 to 1"),
        ({"strategy": "mixed:"}, "from 0 to 1"),
        ({"strategy": "ccs:nan"}, "from 0 to 1"),
        ({"strategy": "semdedup:1.5"}, "whole number"),
        ({"strategy": "semdedup:0"}, "from 1 to"),
        ({"strategy": "random", "keep": 0}, "keep is 0"),
        ({"strategy": "random", "keep": None, "threshold": 0.1}, "does not support a threshold"),
        ({"strategy": "kcenter", "threshold": 0.1}, "both keep"),
        ({"strategy": "kcenter", "within": "group"}, "within is 'group'"),
        ({"strategy": "random", "seed": -1}, "seed is -1"),
        ({"strategy": "random", "seed": 1.5}, "seed is 1.5"),
        ({"strategy": "random", "seed": True}, "seed is True"),
        ({"strategy": "random", "scores": np.ones(60)}, "uses no scores"),
        ({"strategy": "ccs"}, "needs a difficulty score"),
        ({"strategy": "el2n"}, "el2n was removed"),
        ({"strategy": "forgetting:1"}, "--strategy ccs --scores FILE"),
        ({"strategy": "ccs", "scores": np.ones(59)}, "59 scores for a source of 60 rows"),
        ({"strategy": "ccs", "scores": np.ones((60, 2))}, "one per row"),
        ({"strategy": "ccs", "scores": ["a"] * 60}, "one per row"),
        ({"strategy": "ccs", "scores": np.r_[np.ones(59), np.nan]}, "(row 59) is nan"),
    ],
)
def test_bad_values_are_one_line(how: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as error:
        tp.select_by(some_embeddings(), **{"keep": 0.5, **how})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_no_labels_no_classes() -> None:
    bare = tp.Embeddings.from_numpy(hard_vectors("grid", 9, 2, 0))
    assert tp.select_by(bare, 0.5, strategy="kcenter").settings["within"] == "all"
    with pytest.raises(UsageError, match="no labels"):
        tp.select_by(bare, 0.5, strategy="kcenter", within="class")


# ---- a run folder, and the command -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    embeddings = some_embeddings(80, kind="balls")
    np.save(tmp_path / "vectors.npy", embeddings.vectors)
    np.save(tmp_path / "labels.npy", embeddings.labels)
    np.save(tmp_path / "scores.npy", rng().random(80))
    options = tp.SourceOptions(labels=tmp_path / "labels.npy")
    tp.embed(tmp_path / "vectors.npy", out=tmp_path / "run", options=options)
    return tmp_path / "run"


def test_a_run_folder_stores_what_was_chosen(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = tp.select_by(folder, 0.5, strategy="random", seed=4)
    assert np.array_equal(
        found.kept, tp.select_by(some_embeddings(80, kind="balls"), 0.5, strategy="random", seed=4).kept
    )
    assert main(["select", str(folder), "--keep", "0.5", "--strategy", "random", "--seed", "4"]) == 0
    said = capsys.readouterr().out
    assert "Asked to keep 50% by random: removed 40 of 80 images (50.0%), kept 40." in said
    assert "none on dissimilarities" in said
    stored = tp.Selection.load(folder / "selection.parquet")
    assert stored.table.equals(found.table)
    assert stored.settings == found.settings
    with pytest.raises(StageError, match="tenpercent cluster"):
        tp.report(folder)

    tp.cluster(folder, 0.4, within="all")
    assert main(["select", str(folder), "--strategy", "kcenter", "--threshold", "0.05", "--yes"]) == 0
    chosen = tp.Selection.load(folder / "selection.parquet")
    assert chosen.settings["within"] == "all"
    page = tp.report(folder).read_text(encoding="utf-8")
    assert "The images were chosen by kcenter, not by merges" in page
    why = str(tp.explain(folder, chosen.removed[0]))
    assert "chosen by kcenter; among all images, no removed image is farther than " in why
    farthest = why.split("is farther than ")[1].split(" ")[0].replace("−", "-")
    assert float(farthest) == pytest.approx(chosen.classes[0].height, rel=0.01)

    assert main(["select", str(folder), "--keep", "0.5"]) == 0
    assert "strategy" not in tp.Selection.load(folder / "selection.parquet").settings
    assert "The images were chosen by" not in tp.report(folder).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--strategy kcenter --seed 1", "--seed has no meaning for --strategy kcenter"),
        ("--seed 1", "--seed has no meaning for --strategy semantic"),
        ("--scores scores.npy", "--scores has no meaning for --strategy semantic"),
        ("--strategy random --budget global", "--budget has no meaning"),
        ("--strategy random --memory 1GiB", "--memory has no meaning"),
        ("--strategy random --keep-ids scores.npy", "--keep-ids"),
        ("--strategy random --min-per-class 2", "--min-per-class has no meaning"),
        ("--strategy randon", "did you mean random"),
        ("--strategy ccs", "needs a difficulty score"),
        ("--strategy el2n", "evaluate your own list of images with --arms el2n=FILE"),
        ("--strategy ccs --scores missing.npy", "can't read --scores missing.npy"),
        ("--strategy ccs --scores labels.txt", "can't read --scores labels.txt"),
        ("--strategy ccs --scores few.npy", "79 scores for a source of 80 rows"),
    ],
)
def test_the_command_refuses_in_one_line(
    folder: Path,
    flags: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(folder.parent)
    np.save("few.npy", np.ones(79))
    Path("labels.txt").write_text("no array")
    assert main(["select", str(folder), *flags.split()]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (folder / "selection.parquet").exists()


def test_the_command_takes_scores(folder: Path) -> None:
    call = ["select", str(folder), "--keep", "0.25", "--strategy", "ccs:0.2"]
    assert main([*call, "--scores", str(folder.parent / "scores.npy")]) == 0
    stored = tp.Selection.load(folder / "selection.parquet")
    expected = tp.select_by(
        some_embeddings(80, kind="balls"), 0.25, strategy="ccs:0.2", scores=rng().random(80)
    )
    assert stored.kept.tolist() == expected.kept.tolist()
