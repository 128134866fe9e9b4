"""Selections: what stays and goes, the guarantee, the file, explanations, subsets, comparisons."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.files import read_metadata, write_table
from tenpercent.errors import StageError, UsageError
from tenpercent.selection.comparison import compare
from tenpercent.selection.selection import Selection
from tenpercent.tree.merges import cluster

COLUMNS = [
    "id",
    "row",
    "path",
    "label",
    "class_name",
    "kept",
    "group",
    "group_size",
    "representative",
    "dissimilarity",
    "group_diameter",
]


def some(n: int = 40, seed: int = 0, tied: bool = False, classes: int = 3, order: Any = None) -> Embeddings:
    random = np.random.default_rng(seed)
    vectors = (random.integers(1, 4, (n, 3)) if tied else random.normal(size=(n, 4))).astype(np.float32)
    labels = random.integers(-1, classes, n) if classes else None
    ids = np.asarray([f"image {row:03d}" for row in range(n)], dtype=object)
    order = np.arange(n) if order is None else order
    return Embeddings.from_numpy(
        vectors[order],
        labels=None if labels is None else labels[order],
        ids=ids[order],
        class_names=["ant", "bee", "cat"][:classes] if classes else None,
    )


def plain(keep: float = 0.6, **more: Any) -> Selection:
    return tp.select(cluster(some(**more), tp.Cut(keep=keep)), keep=keep)


@given(
    st.integers(1, 30),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0, 3]),
    st.floats(0.01, 1),
    st.sampled_from(["class", "global", "threshold"]),
)
@settings(max_examples=80, deadline=None)
def test_the_selection_carries_its_guarantee(
    n: int, seed: int, tied: bool, classes: int, keep: float, kind: str
) -> None:
    merges = cluster(some(n, seed, tied, classes), tp.Cut(keep=1.0))
    by_class = merges.embeddings.labels is not None  # of labels that are all −1 nothing is left
    selection = (
        tp.select(merges, tp.Cut(threshold=keep))
        if kind == "threshold"
        else tp.select(merges, tp.Cut(keep, budget=kind))
    )
    table = selection.table.to_pydict()
    kept = {image for image, stays in zip(table["id"], table["kept"], strict=True) if stays}
    cuts = {cut.code: cut for cut in selection.classes}
    for k in range(n):
        assert table["representative"][k] in kept
        height = cuts[table["label"][k]].height if by_class else cuts[-2].height
        assert table["dissimilarity"][k] <= table["group_diameter"][k] <= height
        assert table["kept"][k] == (table["representative"][k] == table["id"][k])
        if table["group_size"][k] == 1:
            assert table["dissimilarity"][k] == table["group_diameter"][k] == 0
        if kind == "threshold":
            assert height <= keep
    sizes = np.bincount(selection.group)
    assert np.array_equal(sizes[selection.group], selection.group_size)
    assert len(sizes) == len(kept) == sum(cut.kept for cut in selection.classes)
    assert {cut.code: cut.images for cut in selection.classes} == (
        {n_: list(table["label"]).count(n_) for n_ in set(table["label"])} if by_class else {-2: n}
    )
    if kind == "class":
        assert len(kept) == max(round(keep * n), len(selection.classes))


@given(st.integers(1, 30), st.integers(0, 2**32 - 1), st.booleans(), st.floats(0.01, 1), st.randoms())
@settings(max_examples=40, deadline=None)
def test_shuffled_input_gives_the_same_table_but_for_rows(
    n: int, seed: int, tied: bool, keep: float, random: Any
) -> None:
    order = list(range(n))
    random.shuffle(order)
    straight = tp.select(cluster(some(n, seed, tied), tp.Cut(keep=keep)), keep=keep)
    shuffled = tp.select(cluster(some(n, seed, tied, order=order), tp.Cut(keep=keep)), keep=keep)
    assert straight.table.drop(["row"]).equals(shuffled.table.drop(["row"]))
    assert sorted(np.asarray(order)[shuffled.rows].tolist()) == straight.rows.tolist()
    assert straight.origin == shuffled.origin


def test_the_columns_and_their_types() -> None:
    selection = plain()
    assert selection.table.column_names == COLUMNS
    types = " ".join(str(field.type) for field in selection.table.schema)
    assert types == "string int64 string int64 string bool int64 int64 string double double"
    for name in set(COLUMNS) - {"path", "class_name"}:
        assert selection.table[name].null_count == 0
    unlabelled = plain(classes=0)
    assert set(unlabelled.table["label"].to_pylist()) == {-1}
    assert set(unlabelled.table["class_name"].to_pylist()) == {None}


def test_keep_one_removes_nothing_not_even_duplicates() -> None:
    embeddings = Embeddings.from_numpy(np.ones((6, 2), dtype=np.float32), labels=[0, 0, 0, 1, 1, 1])
    for depth in (1.0, 0.1):
        for budget in ("class", "global"):
            assert (
                len(tp.select(cluster(embeddings, tp.Cut(keep=depth)), tp.Cut(1.0, budget=budget)).removed)
                == 0
            )
    assert len(tp.select(cluster(embeddings), tp.Cut(threshold=0)).kept) == 2


def test_a_class_of_one_keeps_its_image() -> None:
    random = np.random.default_rng(0)
    embeddings = Embeddings.from_numpy(random.normal(size=(21, 3)), labels=["b"] * 20 + ["a"])
    selection = tp.select(cluster(embeddings, tp.Cut(keep=0.1)), keep=0.1)
    assert "20" in selection.kept and len(selection.kept) == 2


def test_more_classes_than_asked_for_is_said() -> None:
    selection = tp.select(cluster(some(12, classes=3), tp.Cut(keep=0.01)), keep=0.01)
    assert len(selection.kept) == len(selection.classes)
    assert "at least 1 a class" in selection.notes[0] and "keep 0.01" in selection.notes[0]
    lifted = tp.select(cluster(some(12, classes=3)), tp.Cut(0.25, min_per_class=3))
    assert all(cut.kept == min(3, cut.images) for cut in lifted.classes)
    assert "at least 3 a class" in lifted.notes[0]
    assert plain().notes == ()


def test_keep_ids_stay_beside_their_groups_representative() -> None:
    merges = cluster(some())
    before = tp.select(merges, keep=0.6)
    extra, representative = before.removed[0], before.kept[0]
    after = tp.select(merges, tp.Cut(0.6, keep_ids=[extra, representative, extra]))
    assert set(after.kept) == {*before.kept, extra}
    assert before.table.drop(["kept"]).equals(after.table.drop(["kept"]))
    assert after.settings["keep_ids"] == 2
    assert after.notes == ("keep_ids names 2 images: 1 representative, 1 kept in addition",)
    assert sum(cut.kept for cut in after.classes) == sum(cut.groups for cut in after.classes) + 1
    assert "because it was asked for" in str(after.explain(extra))


@pytest.mark.parametrize("wanted", [["image 3"], ["nothing like it", "image 003"], ["a", "b", "c", "d", "e"]])
def test_unknown_ids_are_refused_with_the_nearest(wanted: list[str]) -> None:
    with pytest.raises(UsageError, match="no such id among 40") as caught:
        tp.select(cluster(some(), tp.Cut(keep=1.0)), tp.Cut(1.0, keep_ids=wanted))
    said = str(caught.value)
    assert ("did you mean image 0" in said) == (wanted[0] == "image 3")
    assert ("and 2 more" in said) == (len(wanted) == 5)
    with pytest.raises(UsageError, match="is a string"):
        tp.select(cluster(some(), tp.Cut(keep=1.0)), tp.Cut(1.0, keep_ids="image 003"))


def test_groups_come_largest_first_and_their_representative_first() -> None:
    selection = plain(0.4)
    groups = list(selection.groups())
    sizes = [len(group) for group in groups]
    assert sizes == sorted(sizes, reverse=True) and min(sizes) >= 2
    assert sum(sizes) == int((selection.group_size > 1).sum())
    for group in groups:
        assert group["id"][0] == group["representative"][0] and len(set(group["group"].to_pylist())) == 1
        assert group["dissimilarity"].to_pylist() == sorted(group["dissimilarity"].to_pylist())
    assert sum(len(group) for group in selection.groups(min_size=1)) == len(selection)
    assert all(len(group) >= 3 for group in selection.groups(min_size=3))


def test_rows_are_those_of_the_source() -> None:
    embeddings = some(order=np.arange(40)[::-1])
    selection = tp.select(cluster(embeddings), keep=0.7)
    by_id = dict(zip(embeddings.ids, embeddings.rows, strict=True))
    assert selection.rows.tolist() == sorted(by_id[image] for image in selection.kept)
    assert sorted([*selection.kept, *selection.removed]) == sorted(embeddings.ids)


# ---- on disk -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [0, 3])
def test_the_file_comes_back_equal(tmp_path: Path, classes: int) -> None:
    embeddings = some(classes=classes)
    selection = tp.select(cluster(embeddings), tp.Cut(0.6, keep_ids=["image 003"], min_per_class=2))
    path = tmp_path / "selection.parquet"
    selection.save(path)
    back = Selection.load(path, embeddings)
    assert back.table.equals(selection.table) and pq.read_table(path).column_names == COLUMNS
    for name in ("classes", "settings", "notes", "origin", "class_names"):
        assert getattr(back, name) == getattr(selection, name)
    assert np.array_equal(back.representative, selection.representative)
    assert (back.labels is None) == (classes == 0)
    back.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == path.read_bytes()


def test_a_selection_of_many_row_groups_is_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    selection = tp.select(cluster(some()), tp.Cut(0.6))
    selection.save(tmp_path / "one.parquet")
    monkeypatch.setattr("tenpercent.selection.selection.ROW_GROUP", 7)  # groups reach from one to another
    selection.save(tmp_path / "many.parquet")
    assert pq.read_metadata(tmp_path / "many.parquet").num_row_groups == 6
    assert pq.read_table(tmp_path / "many.parquet").equals(pq.read_table(tmp_path / "one.parquet"))
    assert Selection.load(tmp_path / "many.parquet").table.equals(selection.table)


def test_a_file_that_can_not_serve_says_why(tmp_path: Path) -> None:
    path = tmp_path / "selection.parquet"
    with pytest.raises(StageError, match="does not exist; make it with: tenpercent select"):
        Selection.load(path)
    plain().save(path)
    with pytest.raises(StageError, match="made from other embeddings"):
        Selection.load(path, some(seed=1))
    write_table(path, pq.read_table(path), {**read_metadata(path), "format": 99})
    with pytest.raises(StageError, match="has format 99"):
        Selection.load(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StageError, match=r"is damaged.*tenpercent select"):
        Selection.load(path)
    pq.write_table(plain().table, path)
    with pytest.raises(StageError, match="not written by tenpercent"):
        Selection.load(path)


# ---- explanations ------------------------------------------------------------------------------------------------


def test_explanations_say_who_stands_for_whom() -> None:
    vectors = np.array([[1, 0], [1, 0.1], [1, 0.2], [0, 1], [-1, 0]], dtype=np.float32)
    ids, labels = ["a", "b", "c", "d", "e"], ["x", "x", "x", "x", "y"]
    embeddings = Embeddings.from_numpy(vectors, labels=labels, ids=ids)
    selection = tp.select(cluster(embeddings), tp.Cut(threshold=0.05))
    assert selection.kept.tolist() == ["b", "d", "e"]
    removed = selection.explain("a", embeddings)
    assert (removed.kept, removed.representative, removed.group) == (False, "b", 0)
    assert [member.id for member in removed.members] == ["b", "c", "a"]
    assert removed.outside is not None and removed.outside.id == "d"
    assert removed.dissimilarity <= removed.diameter <= removed.cut_height
    said = str(removed)
    assert said.startswith("a (class x) is removed: b represents it, at dissimilarity 0.00")
    assert (
        "group 0, 3 images" in said
        and "nearest image outside the group is d (kept, class x), at 1.00" in said
    )
    assert "is kept: it represents group 0" in str(selection.explain("b"))
    alone = selection.explain("e", embeddings)
    assert "no other image is in its group" in str(alone) and "Nothing farther apart than 0" in str(alone)
    assert alone.outside is not None and alone.outside.class_name == "x"
    assert selection.explain("e").outside is None
    with pytest.raises(UsageError, match="the id 'f': no such id"):
        selection.explain("f")


def test_a_long_group_is_cut_short_in_words() -> None:
    embeddings = Embeddings.from_numpy(np.ones((30, 2)))
    said = str(tp.select(cluster(embeddings), tp.Cut(threshold=0)).explain("29", embeddings))
    assert "… and 10 more" in said and "nearest image outside" not in said


# ---- subsets -----------------------------------------------------------------------------------------------------


class Dataset:
    def __init__(self, targets: Any, **more: Any) -> None:
        self.targets = targets
        self.__dict__.update(more)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> int:
        return row


def test_a_subset_gives_the_kept_rows() -> None:
    pytest.importorskip("torch")
    embeddings = some(classes=0)
    selection = tp.select(cluster(embeddings), keep=0.5)
    subset = selection.subset(Dataset(list(range(40))))
    assert [subset[k] for k in range(len(subset))] == selection.rows.tolist()


def test_a_subset_checks_length_and_labels() -> None:
    pytest.importorskip("torch")
    selection = tp.select(cluster(some(order=np.arange(40)[::-1])), keep=0.5)
    labels = np.empty(40, dtype=int)
    labels[selection.source_rows] = selection.labels
    assert len(selection.subset(Dataset(labels.tolist()))) == 20
    with pytest.raises(UsageError, match=r"the dataset has 39 images.* 40;"):
        selection.subset(Dataset(labels[:39]))
    with pytest.raises(UsageError, match=r"the dataset has 39 images.*at least 40"):
        replace(selection, length=None).subset(Dataset(labels[:39]))
    known = replace(selection, length=None).with_source("somewhere", {}, 41)
    with pytest.raises(UsageError, match=r"the dataset has 40 images.* 41"):
        known.subset(Dataset(labels))
    wrong = labels.copy()
    rows = np.flatnonzero(labels >= 0)[[4, 9]]
    wrong[rows] = (wrong[rows] + 1) % 3
    with pytest.raises(UsageError, match=rf"^row {rows[0]} .*\(2 rows differ\)"):
        selection.subset(Dataset(wrong))
    renamed = Dataset(np.where(labels < 0, -1, 2 - labels), classes=["cat", "bee", "ant"])
    assert len(selection.subset(renamed)) == 20
    with pytest.raises(UsageError, match="rows differ"):
        selection.subset(Dataset(labels, classes=["cat", "bee", "ant"]))
    assert len(selection.subset(Dataset(labels, classes=["tench", "shark", "ray"]))) == 20


# ---- side by side, and in a notebook -----------------------------------------------------------------------------


def test_a_comparison_counts_each_image_once() -> None:
    merges = cluster(some())
    a, b = tp.select(merges, keep=0.5), tp.select(merges, tp.Cut(0.8, budget="global"))
    found = compare(a, b)
    assert len(found) == 40
    assert set(found.both) == set(a.kept) & set(b.kept)
    assert set(found.only_a) == set(a.kept) - set(b.kept)
    assert set(found.only_b) == set(b.kept) - set(a.kept)
    assert set(found.none) == set(a.removed) & set(b.removed)
    assert "40 images" in repr(found) and f"{len(found.both)}" in str(found)
    with pytest.raises(UsageError, match="40 and 39 images and differ in 1"):
        compare(a, plain(order=np.arange(39)))


def test_a_selection_is_frozen() -> None:
    with pytest.raises(AttributeError):
        plain().group = np.zeros(40)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        plain().kept_by_id[0] = False
