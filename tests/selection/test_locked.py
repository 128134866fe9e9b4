"""Images that must stay: what a cut around them is by definition, and what is said of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some
from tenpercent.cli.main import main
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.decisions.constraints import Constraints
from tenpercent.errors import StageError, UsageError
from tenpercent.linkage.distances import dissimilarities, unit_vectors
from tenpercent.linkage.reference import complete_linkage
from tenpercent.reviewing.state import StoredCut
from tenpercent.selection.nearest import nearest_among
from tenpercent.selection.selection import Selection
from tenpercent.tree.cut import check_cut
from tenpercent.tree.merges import uncut
from tenpercent.tree.representatives import groups_of, representatives

N = 26


def drawn(seed: int, classes: int) -> tp.Embeddings:
    """Few distinct directions, full of ties and equal rows, and some that are nearly those."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(1, 4, (N, 2)).astype(np.float32)
    rows[N // 2 :] += 0.1 * rng.integers(0, 2, (N - N // 2, 2)).astype(np.float32)
    return tp.Embeddings.from_numpy(rows, labels=rng.integers(0, classes, N) if classes else None)


def all_dissimilarities(vectors: np.ndarray) -> np.ndarray:
    i, j = (side.ravel() for side in np.indices((len(vectors), len(vectors))))
    return dissimilarities(unit_vectors(vectors), i, j).reshape(len(vectors), -1)


def nearest_by_definition(vectors: np.ndarray, own: np.ndarray, locked: np.ndarray):
    """Of each image of a class the nearest locked one of the class, in order of (dissimilarity, id)."""
    d, among = all_dissimilarities(vectors), own[locked[own]]
    found = [(d[x, by], x, by) for x in own[~locked[own]] for by in among]
    best = {x: min((far, by) for far, y, by in found if y == x) for _, x, _ in found}
    return sorted((far, x, by) for x, (far, by) in best.items())


def expect(selection: tp.Selection, embeddings: tp.Embeddings, own: np.ndarray, gone: dict, merges) -> None:
    """A class is what its images removed for locked ones and the merges of its rest say."""
    n, vectors = len(embeddings), embeddings.vectors
    locked = selection.locked
    assert selection.kept_by_id[locked].all()
    for x, (far, by) in gone.items():
        assert not selection.kept_by_id[x]
        assert (selection.representative[x], selection.dissimilarity[x]) == (by, far)
        assert selection.group[x] == selection.group[by]
    for one in own[locked[own]]:
        members = np.asarray([one, *(x for x, (_, by) in gone.items() if by == one)])
        assert np.flatnonzero(selection.group == selection.group[one]).tolist() == sorted(members)
        widest = all_dissimilarities(vectors)[np.ix_(members, members)].max()
        assert selection.group_diameter[one] == widest
    rest = np.asarray([x for x in own if not locked[x] and x not in gone], dtype=np.int64)
    group = groups_of(n, *merges)
    representative, dissimilarity = representatives(vectors, group)
    assert np.array_equal(selection.representative[rest], representative[rest])
    assert np.array_equal(selection.dissimilarity[rest], dissimilarity[rest])
    assert np.array_equal(selection.kept_by_id[rest], representative[rest] == rest)


def classes_of(embeddings: tp.Embeddings) -> list[np.ndarray]:
    codes = np.zeros(len(embeddings)) if embeddings.labels is None else embeddings.labels
    return [np.flatnonzero(codes == code) for code in np.unique(codes)]


drawings = given(
    seed=st.integers(0, 10**6),
    classes=st.sampled_from([0, 2]),
    locked=st.sets(st.integers(0, N - 1), min_size=1, max_size=N - 4),
    cut=st.floats(0, 1),
)


@settings(deadline=None, max_examples=some(75))
@drawings
def test_a_threshold_cuts_around_locked_images(seed: int, classes: int, locked: set[int], cut: float) -> None:
    embeddings = drawn(seed, classes)
    heights = np.unique(all_dissimilarities(embeddings.vectors))
    height = float(heights[int(cut * (len(heights) - 1))])  # some pair's own
    ids = embeddings.ids[sorted(locked)].tolist()
    selection = tp.select(uncut(embeddings), tp.Cut(threshold=height, locked=ids))
    is_locked = np.isin(np.arange(N), sorted(locked))
    assert np.array_equal(selection.locked, is_locked)
    assert selection.dissimilarity.max() <= height
    for own in classes_of(embeddings):
        near = nearest_by_definition(embeddings.vectors, own, is_locked)
        gone = {x: (far, by) for far, x, by in near if far <= height}
        rest = np.asarray([x for x in own if not is_locked[x] and x not in gone], dtype=np.int64)
        tree = complete_linkage(embeddings.vectors[rest]) if len(rest) > 1 else None
        taken = slice(0, 0) if tree is None else tree.height <= height
        merges = (rest[:0], rest[:0]) if tree is None else (rest[tree.a[taken]], rest[tree.b[taken]])
        expect(selection, embeddings, own, gone, merges)


@settings(deadline=None, max_examples=some(75))
@drawings
def test_a_count_is_met_exactly_at_a_height_that_the_definition_allows(
    seed: int, classes: int, locked: set[int], cut: float
) -> None:
    embeddings = drawn(seed, classes)
    wanted = max(round(cut * N), len(locked) + 2, 2)
    ids = embeddings.ids[sorted(locked)].tolist()
    selection = tp.select(uncut(embeddings), tp.Cut(wanted / N, locked=ids))
    assert len(selection.kept) == wanted
    is_locked = np.isin(np.arange(N), sorted(locked))
    for own in classes_of(embeddings):
        near = nearest_by_definition(embeddings.vectors, own, is_locked)
        away = [far for far, _, _ in near] + [np.inf]
        remove = int((~selection.kept_by_id[own]).sum())

        def rest_of(count: int, own=own, near=near) -> np.ndarray:
            named = {x for _, x, _ in near[:count]}
            return np.asarray([x for x in own if not is_locked[x] and x not in named], dtype=np.int64)

        def last(count: int, remove=remove) -> float:
            merges, rest = remove - count, rest_of(count)
            if merges >= max(len(rest), 1):
                return np.inf
            return complete_linkage(embeddings.vectors[rest]).height[merges - 1] if merges else -1.0

        most = min(remove, len(near))
        choices = [j for j in range(most + 1) if j in (0, most) or away[j] > away[j - 1]]
        holds = {j: last(j) < away[j] or j == most for j in choices}
        taken = int(is_locked[selection.representative[own]].sum() - is_locked[own].sum())
        assert holds[taken]
        before = choices[choices.index(taken) - 1] if taken else None
        assert before is None or not holds[before]
        if sum(holds[j] and (k == 0 or not holds[choices[k - 1]]) for k, j in enumerate(choices)) == 1:
            assert taken == min(j for j in choices if holds[j])  # nothing is left to bisection
        gone = {x: (far, by) for far, x, by in near[:taken]}
        rest = rest_of(taken)
        tree = complete_linkage(embeddings.vectors[rest]) if len(rest) > 1 else None
        merges = remove - taken
        found = (rest[:0], rest[:0]) if tree is None else (rest[tree.a[:merges]], rest[tree.b[:merges]])
        expect(selection, embeddings, own, gone, found)
        height = max([*away[:taken], last(taken), 0.0])
        one = next(cut for cut in selection.classes if cut.code in (-2, selection.codes[own[0]]))
        assert one.height == height
        assert (selection.dissimilarity[own] <= height).all()
        assert taken == remove or all(far > height for far, x, _ in near if x not in gone)


@settings(deadline=None, max_examples=some(30))
@drawings
def test_decisions_hold_in_the_rest(seed: int, classes: int, locked: set[int], cut: float) -> None:
    embeddings = drawn(seed, classes)
    rng = np.random.default_rng(seed)
    named = rng.permutation(N)[:8]
    constraints = Constraints(
        apart=np.sort(named[:2])[None],
        alone=named[2:3],
        keep=np.sort(named[3:5]),
        remove=np.sort(named[5:7]),
        prefer=named[7:8],
    )
    merges = replace(uncut(embeddings), constraints=constraints)
    ids = embeddings.ids[sorted(locked)].tolist()
    wanted = max(round(cut * N), len(locked) + 4)
    selection = tp.select(merges, tp.Cut(min(wanted / N, 1.0), locked=ids))
    kept, group = selection.kept_by_id, selection.group
    assert kept[sorted(locked)].all() and kept[constraints.keep].all() and kept[constraints.alone].all()
    assert not kept[np.setdiff1d(constraints.remove, sorted(locked))].any()
    assert group[named[0]] != group[named[1]]
    assert (group == group[named[2]]).sum() == 1
    if named[2] not in locked:
        assert selection.representative[named[2]] == named[2]
    assert ("by decision: locked images are kept" in " ".join(selection.notes)) == bool(
        {*constraints.remove.tolist()} & locked
    )


@settings(deadline=None, max_examples=some(30))
@given(seed=st.integers(0, 10**6), among=st.sets(st.integers(0, N - 1), min_size=1))
def test_the_nearest_of_some_images_is_exact(seed: int, among: set[int]) -> None:
    vectors = drawn(seed, 0).vectors
    others = np.asarray(sorted(among))
    found, far = nearest_among(vectors, np.arange(N), others)
    expected = all_dissimilarities(vectors)[:, others]
    assert np.array_equal(found, others[expected.argmin(axis=1)])
    assert np.array_equal(far, expected.min(axis=1))


def test_what_has_no_meaning_beside_locked_images_is_one_line() -> None:
    merges = uncut(drawn(0, 2))
    ids = tuple(range(20))
    for cut, said in (
        (
            tp.Cut(0.5, locked=ids),
            r"keep 0.5 of 26 images is 13, but 20 are locked; give a keep of at least 0.7693",
        ),
        (tp.Cut(0.9, locked=ids, budget="global"), "budget is 'global', .*; leave it out, or"),
        (tp.Cut(0.9, locked=ids, hold="height"), "hold is 'height', .*; leave it out, or"),
        (tp.Cut(0.9, locked=["x", "y", "z", "u", "v"]), "locked 'u', 'v', 'x' and 2 more: no such id"),
        (tp.Cut(0.9, locked="abc"), "locked is a string"),
        (tp.Cut(0.9, grow=True), "grow is for a run folder"),
    ):
        with pytest.raises(UsageError, match=said):
            tp.select(merges, cut)
        if cut.locked:
            with pytest.raises(UsageError, match=said):  # before anything is computed
                check_cut(cut, merges.embeddings)
    with pytest.raises(UsageError, match=r"locked is .* beside cut, which says it too"):
        tp.select(merges, tp.Cut(locked=[1]), locked=[2])
    with pytest.raises(UsageError, match="both locked and grow"):
        tp.Cut(locked=[1], grow=True)
    assert len(tp.select(merges, keep=0.7693, locked=ids).kept) == 20


def test_ids_are_found_in_another_unicode_normal_form_unless_that_is_open() -> None:
    composed, apart = "Z\u00fcrich.jpg", "Zu\u0308rich.jpg"
    rows = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    for name, other in ((composed, apart), (apart, composed)):
        merges = uncut(tp.Embeddings.from_numpy(rows, ids=["a.jpg", name, "z.jpg"]))
        chosen = tp.select(merges, tp.Cut(0.7, locked=[other], keep_ids=[other]))
        assert chosen.ids[chosen.locked].tolist() == [name]
    merges = uncut(tp.Embeddings.from_numpy(rows, ids=["a.jpg", "\u212b.jpg", "A\u030a.jpg"]))
    with pytest.raises(UsageError, match="no such id among 3"):
        tp.select(merges, keep=0.7, locked=["\u00c5.jpg"])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    rows = np.repeat(rng.normal(size=(30, 8)), 2, axis=0) + 0.01 * rng.normal(size=(60, 8))
    np.save(tmp_path / "v.npy", rows.astype(np.float32))
    main(["run", str(tmp_path / "v.npy"), "--out", str(tmp_path / "run"), "--keep", "0.9", "--quiet"])
    return tmp_path / "run"


def test_locked_images_are_stored_named_and_grown_from(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "labelled.txt").write_bytes(b"\xef\xbb\xbf1\r\n4\r\n")  # as Windows writes it
    (tmp_path / "labelled.csv").write_text("id,class\n1,a\n4,b\n")
    assert main(["select", str(run), "--threshold", "0.01", "--locked", str(tmp_path / "labelled.txt")]) == 0
    assert "2 locked images kept; 2 images removed for them, each within" in capsys.readouterr().out
    first = (run / "selection.parquet").read_bytes()
    stored = Selection.load(run)
    assert stored.kept[stored.locked[stored.kept_by_id]].tolist() == ["01", "04"]
    assert stored.settings["locked"] == 2 and stored.settings["locked_ids"]
    assert stored.table.column_names[-1] == "locked"
    assert "00 is removed: locked image 01 represents it" in str(tp.explain(run, 0))
    assert "01 is kept, being locked: it represents group 0, 2 images" in str(tp.explain(run, "01"))
    assert main(["report", str(run)]) == 0
    text = (run / "report.html").read_text()
    assert "2 locked images kept" in text and ">locked<" in text

    ignored, *others = StoredCut.of(RunFolder.open(run).stage(Stage.SELECT)).notes  # of the review page
    assert ignored.startswith(
        "The stored selection is cut around 2 locked images. This page shows the groups without"
    )
    assert others[0].startswith("In the stored selection: 2 locked images kept")

    main(["select", str(run), "--threshold", "0.01", "--locked", str(tmp_path / "labelled.csv")])
    assert (run / "selection.parquet").read_bytes() == first
    assert main(["select", str(run), "--threshold", "0.01", "--grow"]) == 0
    grown = Selection.load(run)
    assert np.array_equal(grown.kept_by_id, stored.kept_by_id) and grown.locked.sum() == 30
    tp.select(run, keep=0.6, locked=stored.kept)
    assert {*stored.kept} < {*Selection.load(run).kept} and len(Selection.load(run).kept) == 36


def test_what_is_wrong_with_locked_ids_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone.txt").write_text("1\n100\n101\n102\n103\n")
    (tmp_path / "no.csv").write_text("name\n1\n")
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "most.txt").write_text("\n".join(map(str, range(58))))
    before = (run / "selection.parquet").read_bytes()
    for name, said in (
        ("gone.txt", "locked '100', '101', '102' and 1 more: no such id among 60"),
        ("no.csv", "give a table with a column id"),
        ("empty.txt", "names no images; give one id per line, or leave out --locked"),
        (
            "most.txt",
            "keep 0.9 of 60 images is 54, but 58 are locked; give a keep of at least 0.9667, or lock fewer",
        ),
    ):
        assert main(["select", str(run), "--locked", str(tmp_path / name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
    assert (run / "selection.parquet").read_bytes() == before
    (run / "selection.parquet").unlink()
    with pytest.raises(StageError, match="holds no selection to grow"):
        tp.select(run, tp.Cut(grow=True))


def test_a_rejected_image_can_not_be_locked_and_its_reason_is_said(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    rows[3] = 0
    np.save(tmp_path / "v.npy", rows)
    tp.run(tmp_path / "v.npy", out=tmp_path / "run", options=tp.SourceOptions(drop_bad_rows=True))
    for cut in (tp.Cut(locked=("3",)), tp.Cut(keep_ids=("03",))):
        with pytest.raises(UsageError, match=r"took no part: it was rejected \("):
            tp.select(tmp_path / "run", cut)
