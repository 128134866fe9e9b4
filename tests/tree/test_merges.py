"""Merges: the tree in classes, its cuts, deepening, and its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.files import read_metadata, write_table
from tenpercent.errors import StageError, UsageError
from tenpercent.linkage.reference import complete_linkage
from tenpercent.tree.merges import Merges, cluster, uncut
from tenpercent.tree.representatives import groups_of


def some(n: int, seed: int = 0, tied: bool = False, classes: int = 0, **more: Any) -> Embeddings:
    random = np.random.default_rng(seed)
    vectors = random.integers(1, 4, (n, 3)) if tied else random.normal(size=(n, 4))
    labels = random.integers(-1, classes, n) if classes else None
    names = [f"class {code}" for code in range(classes)] if classes else None
    return Embeddings.from_numpy(vectors.astype(np.float32), labels=labels, class_names=names, **more)


def by_definition(embeddings: Embeddings, within: str) -> list[tuple[float, int, int]]:
    """The whole tree of each class, in one order."""
    labels = embeddings.labels if within == "class" else None
    codes = np.zeros(len(embeddings), dtype=int) if labels is None else labels
    merges = []
    for code in np.unique(codes):
        own = np.flatnonzero(codes == code)
        found = complete_linkage(embeddings.vectors[own])
        merges += zip(found.height.tolist(), own[found.a].tolist(), own[found.b].tolist(), strict=True)
    return sorted(merges)


def listed(merges: Merges) -> list[tuple[float, int, int]]:
    return list(zip(merges.height.tolist(), merges.a.tolist(), merges.b.tolist(), strict=True))


@given(
    st.integers(2, 26),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0, 1, 3]),
    st.floats(0.01, 1),
)
@settings(max_examples=40, deadline=None)
def test_merges_are_a_prefix_of_the_tree_by_definition(
    n: int, seed: int, tied: bool, classes: int, keep: float
) -> None:
    embeddings = some(n, seed, tied, classes)
    merges = cluster(embeddings, tp.Cut(keep=keep))
    tree = by_definition(embeddings, str(merges.within))
    assert listed(merges) == sorted(set(listed(merges)) & set(tree))
    assert merges.covers(tp.Cut(keep))
    index = {int(code): k for k, code in enumerate(merges.classes)}
    labels = np.full(n, -2) if embeddings.labels is None else embeddings.labels
    complete = [m for m in tree if m[0] <= merges.complete_to[index[int(labels[m[1]])]]]
    assert listed(merges) == complete


@given(
    st.integers(2, 26),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.sampled_from([0, 3]),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.sampled_from(["class", "global", "threshold"]),
    st.integers(1, 3),
)
@settings(max_examples=80, deadline=None)
def test_a_cut_is_the_same_however_deep_the_tree_was(
    n: int, seed: int, tied: bool, classes: int, depth: float, keep: float, kind: str, minimum: int
) -> None:
    embeddings = some(n, seed, tied, classes)
    cut: dict[str, Any] = {"threshold": keep} if kind == "threshold" else {"keep": keep, "budget": kind}
    cut["min_per_class"] = minimum
    shallow = cluster(embeddings, tp.Cut(keep=depth))
    selection = tp.select(shallow, tp.Cut(**cut))
    deep = shallow.deepened(tp.Cut(**cut))
    assert deep.covers(tp.Cut(**cut)) and deep.deepened(tp.Cut(**cut)) is deep
    whole = cluster(embeddings, tp.Cut(keep=1e-9))  # the whole tree
    assert whole.covers(tp.Cut(**cut)) and np.isinf(whole.complete_to).all()
    assert selection.table.equals(tp.select(whole, tp.Cut(**cut)).table)
    assert selection.table.equals(tp.select(deep, tp.Cut(**cut)).table)

    code_of = np.full(n, -2) if embeddings.labels is None else embeddings.labels
    sizes = {int(code): int((code_of == code).sum()) for code in whole.classes}
    tree, taken, left = by_definition(embeddings, str(whole.within)), [], dict(sizes)
    for height, a, b in tree:  # the definition of each cut, one merge after another
        code = int(code_of[a])
        if left[code] <= min(minimum, sizes[code]) or (kind == "threshold" and height > keep):
            continue
        if kind == "global" and len(taken) == n - round(keep * n):
            break
        if kind == "class":
            wanted = next(c.groups for c in selection.classes if c.code == code)
            if left[code] == wanted:
                continue
        left[code] -= 1
        taken.append((height, a, b))
    a, b = (np.asarray([merge[k] for merge in taken], dtype=np.int64) for k in (1, 2))
    assert np.array_equal(selection.group, groups_of(n, a, b))
    if kind == "class":
        assert sum(left.values()) == max(round(keep * n), sum(min(minimum, size) for size in sizes.values()))


def test_classes_never_mix_unless_told_to() -> None:
    vectors = np.array([[1, 0], [1, 1e-4], [0, 1], [1e-4, 1]], dtype=np.float32)
    embeddings = Embeddings.from_numpy(vectors, labels=["x", "y", "x", "y"])
    apart = tp.select(cluster(embeddings, tp.Cut(keep=0.01)), tp.Cut(threshold=0.5))
    assert len(apart.removed) == 0
    together = tp.select(cluster(embeddings, tp.Cut(keep=0.01, within="all")), tp.Cut(threshold=0.5))
    assert together.group.tolist() == [0, 0, 1, 1]


def test_images_without_a_label_are_a_class_of_their_own() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [1, 0]], dtype=np.float32)
    merges = cluster(Embeddings.from_numpy(vectors, labels=[-1, 0, -1, 0]), tp.Cut(keep=0.5))
    assert merges.classes.tolist() == [-1, 0]
    assert tp.select(merges, keep=0.5).group.tolist() == [0, 1, 0, 1]
    assert tp.select(merges, keep=0.5).table["class_name"].to_pylist() == [None, "0", None, "0"]


def test_within_class_wants_labels() -> None:
    with pytest.raises(UsageError, match="no labels; use within 'all'"):
        cluster(some(5), tp.Cut(keep=0.5, within="class"))
    with pytest.raises(UsageError, match=r"within is 'clas'.*did you mean class"):
        cluster(some(5), tp.Cut(keep=0.5, within="clas"))


def test_nothing_is_clustered_for_keep_one() -> None:
    merges = cluster(some(9, classes=2), tp.Cut(keep=1.0))
    assert len(merges) == 0 and merges.covers(tp.Cut(1.0)) and not merges.covers(tp.Cut(0.5))
    assert not merges.covers(tp.Cut(threshold=0))
    assert len(tp.select(merges, keep=1.0).removed) == 0


def test_the_default_is_half() -> None:
    assert listed(cluster(some(9))) == listed(cluster(some(9), tp.Cut(keep=0.5)))


def test_the_file_comes_back_equal_and_equal_merges_give_equal_bytes(tmp_path: Path) -> None:
    embeddings = some(30, classes=3, tied=True)
    merges = cluster(embeddings, tp.Cut(keep=0.6))
    merges.save(tmp_path / "merges.parquet")
    back = Merges.load(tmp_path / "merges.parquet", embeddings)
    assert listed(back) == listed(merges) and back.within is merges.within
    assert np.array_equal(back.classes, merges.classes)
    assert np.array_equal(back.complete_to, merges.complete_to)
    assert tp.select(back, keep=0.2).table.equals(tp.select(merges, keep=0.2).table)
    again = cluster(some(30, classes=3, tied=True), tp.Cut(keep=0.9)).deepened(tp.Cut(0.6))
    again.save(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "merges.parquet").read_bytes()
    whole = cluster(embeddings, tp.Cut(keep=1e-9))  # the whole tree
    whole.save(tmp_path / "whole.parquet")
    assert read_metadata(tmp_path / "whole.parquet")["complete_to"] == [None] * len(whole.classes)
    assert np.isinf(Merges.load(tmp_path / "whole.parquet", embeddings).complete_to).all()


def test_a_file_that_can_not_serve_says_why(tmp_path: Path) -> None:
    path, embeddings = tmp_path / "merges.parquet", some(12)
    with pytest.raises(StageError, match="does not exist; make it with: tenpercent cluster"):
        Merges.load(path, embeddings)
    cluster(embeddings).save(path)
    with pytest.raises(StageError, match=r"made from other embeddings.*tenpercent cluster"):
        Merges.load(path, some(12, seed=1))
    about = read_metadata(path)
    write_table(path, tp.select(Merges.load(path, embeddings), keep=1.0).table, {**about, "format": 99})
    with pytest.raises(StageError, match=r"has format 99.*update tenpercent"):
        Merges.load(path, embeddings)


def test_uncut_merges_deepen_to_the_same_tree() -> None:
    embeddings = some(20, classes=2)
    assert listed(uncut(embeddings).deepened(tp.Cut(0.3))) == listed(cluster(embeddings, tp.Cut(keep=0.3)))
    assert "of 20 images, 3 classes" in repr(uncut(embeddings))
