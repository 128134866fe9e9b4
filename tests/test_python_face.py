"""What a program passes and gets back: labels, ids and vectors of any kind, and answers in the caller's order."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import UsageError


def vectors(n: int, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


def labelled(labels: Any, **more: Any) -> tuple[list[int] | None, tuple[str, ...]]:
    found = Embeddings.from_numpy(vectors(len(labels)), labels=labels, **more)
    return None if found.labels is None else found.labels.tolist(), found.class_names


def one_line(error: pytest.ExceptionInfo[BaseException]) -> bool:
    return "\n" not in str(error.value) and len(str(error.value)) < 400


# ---- labels ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "codes", "names"),
    [
        (
            np.array([2, 0, 1], dtype=object),
            [2, 0, 1],
            ("0", "1", "2"),
        ),  # like pandas, whose columns become objects
        (np.array(["cat", None, "ant"], dtype=object), [1, -1, 0], ("ant", "cat")),
        (["cat", float("nan"), "ant"], [1, -1, 0], ("ant", "cat")),  # not a class called 'nan'
        ([b"cat", b"ant", b"cat"], [1, 0, 1], ("ant", "cat")),
        (np.array([b"cat", b"ant", b"cat"]), [1, 0, 1], ("ant", "cat")),
        (np.array(["cat", "ant", "cat"], dtype=np.dtypes.StringDType()), [1, 0, 1], ("ant", "cat")),
        (np.array([True, False, True]), [1, 0, 1], ("False", "True")),
        ([True, None, True], [0, -1, 0], ("True",)),
        (np.array([1.0, np.nan, 0.0]), [1, -1, 0], ("0", "1")),
        (np.array([1, 0, 1], dtype=np.uint8), [1, 0, 1], ("0", "1")),
        (np.array([1, 0, 1], dtype=np.float16), [1, 0, 1], ("0", "1")),
        ([Decimal(3), Decimal(1), Decimal("NaN")], [1, 0, -1], ("1", "3")),
        ([np.int8(1), np.int64(0), None], [1, 0, -1], ("0", "1")),
        ([300_000, 300_001, 300_000], [0, 1, 0], ("300000", "300001")),
        ([0, 10**12, 1], [0, 2, 1], ("0", "1", "1000000000000")),
        (np.array([2**63 - 1, 5, 5], dtype=np.uint64), [1, 0, 0], ("5", str(2**63 - 1))),
        ([1, 2, 2], [0, 1, 1], ("1", "2")),  # counted from 1, as MATLAB does
        ([-1, 1, -1], [0, 1, 0], ("-1", "1")),
        (np.array([-1.0, 1.0, 1.0]), [0, 1, 1], ("-1", "1")),
        ([-1, 0, 1], [-1, 0, 1], ("0", "1")),
        ([-1, 2, 2], [-1, 0, 0], ("2",)),
        ([-1, -1, -1], None, ()),
        ([None, None, float("nan")], None, ()),
    ],
)
def test_labels_are_taken_for_what_they_are(
    labels: Any, codes: list[int] | None, names: tuple[str, ...]
) -> None:
    assert labelled(labels) == (codes, names)


@pytest.mark.parametrize(
    ("labels", "named", "codes"),
    [
        (["cat", "ant", "cat"], ["cat", "bee", "ant"], [0, 2, 0]),
        ([b"cat", None, b"ant"], np.array(["cat", "bee", "ant"]), [0, -1, 2]),
        ([0, -1, 1], ["cat", "bee"], [0, -1, 1]),
        ([-1, 1, -1], ["cat", "bee"], [-1, 1, -1]),  # codes that are declared: −1 is none
        ([True, False, True], ["no", "yes"], [1, 0, 1]),
    ],
)
def test_class_names_are_honoured_beside_any_labels(labels: Any, named: Any, codes: list[int]) -> None:
    assert labelled(labels, class_names=named) == (codes, tuple(map(str, named)))


@pytest.mark.parametrize(
    ("labels", "more", "said"),
    [
        ([0.5, 1.0, 2.0], {}, r"the label 0\.5 \(row 0, float\) is not a whole number"),
        ([0.0, np.inf, 2.0], {}, r"the label inf \(row 1"),
        (np.array([1 + 2j, 0, 0]), {}, "labels have dtype complex128"),
        (np.array(["2024-01-01"] * 3, dtype="M8[D]"), {}, r"labels have dtype datetime64\[D\]"),
        (np.array([2**63 + 5, 0, 0], dtype=np.uint64), {}, rf"the label {2**63 + 5} \(row 0\) is beyond"),
        ([10**30, 0, 0], {}, rf"the label {10**30} \(row 0\) is beyond"),
        (["cat", 1, "ant"], {}, r"text \(row 0, 'cat'\) and number \(row 1, 1\)"),
        ([b"\xff\xfe", b"a", b"b"], {}, r"row 0\) is bytes that are not UTF-8"),
        ([["cat"], ["ant"], ["cat"]], {}, r"labels hold lists \(\['cat'\]\)"),
        (np.eye(3), {}, r"labels have shape \(3, 3\) for 3 vectors"),
        ([{"a": 1}, 0, 0], {}, "labels hold dicts"),
        ([object(), 0, 0], {}, r"row 0\) is object \(labels of dtype object\)"),
        ("cat", {}, "labels can't be made from a string, 'cat'"),
        ({"a": 1}, {}, "labels can't be made from dict"),
        (np.ma.masked_array([0, 1, 2], mask=[0, 1, 0]), {}, "labels: a masked array"),
        ([-2, 0, 1], {}, "-2 is below -1"),
        (
            ["cat", "cow", "ant"],
            {"class_names": ["ant", "cat", "crow"]},
            r"'cow' \(row 1\).*did you mean crow",
        ),
        (["a", "a", "a"], {"class_names": ["a", "b", "a"]}, "'a' twice"),
        ([0, 0, 0], {"class_names": "abc"}, "class_names is 'abc'"),
        ([0, 0, 0], {"class_names": {0: "a"}}, "class_names is {0: 'a'}"),
        ([0, 0, 0], {"class_names": ["a", None]}, r"class_names\[1\] is None"),
    ],
)
def test_what_can_be_no_label_is_refused_in_one_line(labels: Any, more: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        Embeddings.from_numpy(vectors(3), labels=labels, **more)
    assert one_line(error)


def test_class_names_without_labels_are_refused() -> None:
    with pytest.raises(UsageError, match="there are no labels"):
        Embeddings.from_numpy(vectors(3), class_names=["a"])


def test_what_minus_one_means_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "tenpercent"):
        labelled([-1, 1, 1])
        assert "-1 and 1 are two classes" in caplog.text
        caplog.clear()
        labelled([-1, -1, 0])
        assert "-1 means no label (2 images)" in caplog.text
    declared = Embeddings.from_numpy(vectors(3), labels=[-1, -1, 0], class_names=["a", "b"])
    assert "2 classes, 2 without a label" in repr(declared)


def test_labels_in_frames_and_tensors() -> None:
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")
    # like cleanlab/cleanlab#987: a label column with nan and None in it
    assert labelled(pandas.DataFrame({"label": [0, np.nan, 1, None]})["label"]) == (
        [0, -1, 1, -1],
        ("0", "1"),
    )
    assert labelled(pandas.Series([1, None, 0], dtype="Int64")) == ([1, -1, 0], ("0", "1"))
    assert labelled(pandas.Series(["cat", None, "ant"])) == ([1, -1, 0], ("ant", "cat"))
    assert labelled(pandas.Series(["cat", None, "ant"], dtype="category")) == ([1, -1, 0], ("ant", "cat"))
    assert labelled(torch.tensor([1, 0, 1])) == ([1, 0, 1], ("0", "1"))
    assert labelled([torch.tensor(1), torch.tensor(0), torch.tensor(1)]) == ([1, 0, 1], ("0", "1"))


# ---- ids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        ([b"b.jpg", b"a.jpg", b"c.jpg"], ["a.jpg", "b.jpg", "c.jpg"]),
        (np.array([b"b.jpg", b"a.jpg", b"c.jpg"]), ["a.jpg", "b.jpg", "c.jpg"]),
        ([Path("x/b.jpg"), Path("x/a.jpg"), "c"], ["c", "x/a.jpg", "x/b.jpg"]),
        ([10, 9, 1], ["1", "10", "9"]),
        (np.array([10.0, 9.0, 1.0]), ["1", "10", "9"]),
        ((10, 9, 1), ["1", "10", "9"]),
    ],
)
def test_ids_become_the_text_they_are(ids: Any, text: list[str]) -> None:
    assert Embeddings.from_numpy(vectors(3), ids=ids).ids.tolist() == text


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (["a", None, "c"], "the id of row 1 is None"),
        (np.array([0.0, np.nan, 1.0]), "the id of row 1 is nan"),
        (["a", float("nan"), "c"], "the id of row 1 is nan"),
        (np.array(["2024-01-01", "NaT", "2024-01-02"], dtype="M8[D]"), "the id of row 1 is NaT"),
        ([["a"], ["b"], ["c"]], r"ids hold lists \(\['a'\]\)"),
        (np.array([["a"], ["b"], ["c"]]), r"ids have shape \(3, 1\) for 3 vectors"),
        (np.array([[["a"]], [["b"]], [["c"]]], dtype=object), r"ids have shape \(3, 1, 1\)"),
        ([("a", 0), ("b", 0), ("c", 0)], "ids hold tuples"),
        ([0.5, 1.5, 2.5], r"the id of row 0 is 0\.5, not a whole number"),
        ([True, False, True], "the id of row 0 is True"),
        ([b"\xff", b"a", b"b"], "not UTF-8"),
        ("abc", "a string, 'abc'"),
        ({"a": 0, "b": 1, "c": 2}, "ids can't be made from dict"),
        ([1, "1", 2], "'1' occurs more than once"),
        ([b"a", "a", "b"], "'a' occurs more than once"),
        (np.ma.masked_array([1, 2, 3], mask=[1, 0, 0]), "masked"),
    ],
)
def test_what_can_be_no_id_is_refused_in_one_line(ids: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        Embeddings.from_numpy(vectors(3), ids=ids)
    assert one_line(error)


def test_missing_ids_of_frames_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    for column in (pandas.Series([1, None, 3], dtype="Int64"), pandas.Series(["a", None, "c"])):
        with pytest.raises(UsageError, match="the id of row 1 is"):
            Embeddings.from_numpy(vectors(3), ids=column)
    with pytest.raises(UsageError, match=r"shape \(3, 1\)"):
        Embeddings.from_numpy(vectors(3), ids=pandas.DataFrame({"a": ["x", "y", "z"]}))


# ---- vectors -----------------------------------------------------------------------------------------------------


def test_what_can_be_no_vectors_is_refused_in_one_line() -> None:
    pandas = pytest.importorskip("pandas")
    torch = pytest.importorskip("torch")

    class Pictures(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, row: int) -> Any:
            raise AssertionError("no image may be decoded to say that this is no array")

    cases: list[tuple[Any, str]] = [
        (pandas.DataFrame({"a": ["x", "y"], "b": [1, 2]}), "dtype object"),
        ([[1.0, 2.0], [1.0]], r"can't be made from list .*give a NumPy array"),
        (Pictures(), "Pictures; give a NumPy array"),
        (pandas.Series([np.ones(2), np.ones(3)]), r"row 1 has shape \(3,\), that of row 0 \(2,\)"),
        (pandas.Series([1, "a"], dtype=object), r"shape \(2,\)"),
        ("photos/", "a string, 'photos/'"),
        (None, "NoneType"),
        (np.ma.masked_array(np.ones((3, 2)), mask=np.zeros((3, 2))), "masked array"),
        (np.ones((3, 2), dtype=bool), "dtype bool"),
        (iter([[1.0]]), "iterator"),
    ]
    for given, said in cases:
        with pytest.raises(UsageError, match=said) as error:
            Embeddings.from_numpy(given)
        assert one_line(error), given


# ---- memory ------------------------------------------------------------------------------------------------------


def read_only_view(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def tensor_of(array: np.ndarray) -> Any:
    return pytest.importorskip("torch").from_numpy(array)


def frame_of(array: np.ndarray) -> Any:
    return pytest.importorskip("pandas").DataFrame(array, copy=False)


@pytest.mark.parametrize(
    "passed", [lambda a: a, read_only_view, tensor_of, frame_of, memoryview, lambda a: a[:, ::-1]]
)
def test_a_write_by_the_caller_changes_nothing(passed: Callable[[np.ndarray], Any]) -> None:
    mine = vectors(40)
    given = passed(mine)
    if isinstance(given, memoryview):
        given = np.asarray(given)
    taken = Embeddings.from_numpy(given)
    before = taken.vectors.copy()
    assert not taken.shared
    mine[:] = mine[::-1].copy()
    assert np.array_equal(taken.vectors, before)


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_a_map_is_not_copied_and_a_change_is_found_when_images_are_selected(
    tmp_path: Path, mode: Any
) -> None:
    path = tmp_path / "v.npy"
    np.save(path, vectors(60))
    given = np.load(path, mmap_mode=mode)
    taken = Embeddings.from_numpy(given)
    assert taken.shared and np.shares_memory(taken.vectors, given)
    merges = tp.cluster(taken, keep=0.5)
    assert len(tp.select(merges, keep=0.6).kept) == 36
    other = given if mode != "r" else np.load(path, mmap_mode="r+")
    other[7] = -other[7]
    with pytest.raises(UsageError, match="the vectors have changed") as error:
        tp.select(merges, keep=0.6)
    assert one_line(error)
    with pytest.raises(UsageError, match="the vectors have changed"):
        tp.select_by(taken, 0.6, strategy="random")


def test_read_only_memory_is_taken_as_it_is() -> None:
    given = vectors(30)
    given.flags.writeable = False
    taken = Embeddings.from_numpy(given)
    assert taken.shared and np.shares_memory(taken.vectors, given)
    merges = tp.cluster(taken, keep=0.5)
    given.flags.writeable = True
    given[3, 0] += 1
    with pytest.raises(UsageError, match="the vectors have changed"):
        tp.select(merges, keep=0.9)


def test_what_was_made_new_is_not_copied_twice() -> None:
    assert not Embeddings.from_numpy(vectors(5).tolist()).shared
    ordered = Embeddings.from_numpy(read_only_view(vectors(3)), ids=["c", "b", "a"])
    assert not ordered.shared


# ---- in the caller's order ---------------------------------------------------------------------------------------


def shuffled(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in near pairs, and ids whose order as text is not that of the rows."""
    rng = np.random.default_rng(1)
    centres = np.repeat(rng.normal(size=(n // 2, 8)), 2, axis=0)
    return centres + rng.normal(scale=0.01, size=(n, 8)), rng.permutation(n)


@pytest.mark.parametrize(
    "ids", [range(200), None, [f"{row}.jpg" for row in range(200)], list(range(1000, 800, -1)), "shuffled"]
)
def test_row_order_is_the_callers(ids: Any) -> None:
    given, order = shuffled()
    names = order if isinstance(ids, str) else ids
    selection = tp.select(tp.cluster(Embeddings.from_numpy(given, ids=names)), keep=0.6)
    mask, groups, keepers = selection.row_mask, selection.labels_, selection.representative_rows
    assert (mask.dtype, groups.dtype, keepers.dtype) == (bool, np.int64, np.int64)
    assert np.flatnonzero(mask).tolist() == selection.rows.tolist()
    assert np.flatnonzero(~mask).tolist() == selection.removed_rows.tolist()
    assert mask.sum() == 120 and mask[keepers].all()
    unit = given / np.linalg.norm(given, axis=1, keepdims=True)
    far = 1 - np.sum(unit * unit[keepers], axis=1)
    assert np.allclose(selection.by_row(selection.dissimilarity, np.nan), far, atol=1e-12)
    assert far.max() < 1e-3  # near pairs, so another order would show
    assert np.array_equal(groups, groups[keepers])
    assert len(np.unique(groups)) == 120
    if names is not None:
        assert set(np.asarray(names)[mask].tolist()) == set(selection.kept.tolist())
        assert set(np.asarray(names)[~mask].tolist()) == set(selection.removed.tolist())


def test_a_frame_is_cut_by_its_own_rows() -> None:
    # like MinishLab/semhash#30 and #36: the index of what was kept, to map it back to the input
    pandas = pytest.importorskip("pandas")
    given, _ = shuffled()
    frame = pandas.DataFrame({"row": np.arange(200)})
    selection = tp.select(tp.cluster(Embeddings.from_numpy(given, ids=frame.index)), keep=0.6)
    assert frame[selection.row_mask]["row"].tolist() == selection.rows.tolist()
    assert sorted(frame.loc[selection.kept]["row"]) == selection.rows.tolist()


def test_a_mask_in_id_order_has_a_name_that_says_so() -> None:
    selection = tp.select(tp.cluster(Embeddings.from_numpy(vectors(200), ids=range(200))), keep=0.6)
    with pytest.raises(AttributeError, match="row_mask, in the order of your rows"):
        selection.kept_mask  # noqa: B018
    assert not np.array_equal(selection.kept_by_id, selection.row_mask)
    assert not hasattr(selection, "kept_mask")


def test_rows_without_a_vector_are_in_no_group() -> None:
    taken = Embeddings(
        ids=np.array(["a", "b", "c"], dtype=object),
        rows=np.array([4, 0, 2]),
        vectors=np.array([[1, 0], [1, 1e-4], [0, 1.0]]),
        length=6,
    )
    selection = tp.select(tp.cluster(taken), tp.Cut(threshold=0.1))
    assert selection.row_mask.tolist() == [
        False,
        False,
        True,
        False,
        True,
        False,
    ]  # row 0 goes, 4 stands for it
    assert selection.labels_.tolist() == [0, -1, 1, -1, 0, -1]
    assert selection.representative_rows.tolist() == [4, -1, 2, -1, 4, -1]
    assert selection.removed_rows.tolist() == [0] and selection.rows.tolist() == [2, 4]
    with pytest.raises(UsageError, match="2 values for 3 images"):
        selection.by_row(np.zeros(2), 0)


def test_row_order_is_stored(tmp_path: Path) -> None:
    given, order = shuffled()
    selection = tp.select(tp.cluster(Embeddings.from_numpy(given, ids=order)), keep=0.6)
    selection.save(tmp_path / "s.parquet")
    again = tp.Selection.load(tmp_path / "s.parquet")
    assert np.array_equal(again.row_mask, selection.row_mask)
    assert again.kept.dtype == np.int64 and again.kept.tolist() == selection.kept.tolist()
    table = __import__("pyarrow.parquet").parquet.read_table(tmp_path / "s.parquet")
    assert table["id"].to_pylist() == sorted(map(str, range(200)))  # files stay text


# ---- ids as they were given --------------------------------------------------------------------------------------


def test_whole_numbers_come_back_as_numbers() -> None:
    given, order = shuffled()
    merges = tp.cluster(Embeddings.from_numpy(given, ids=order))
    selection = tp.select(merges, keep=0.6)
    assert selection.kept.dtype == selection.removed.dtype == np.int64
    assert selection.ids.tolist() == sorted(map(str, range(200)))  # the order of the text, which ties go by
    gone = int(selection.removed[0])
    why = selection.explain(gone)
    assert why.id == gone and why.representative in selection.kept.tolist()
    assert isinstance(why.representative, int) and all(isinstance(one.id, int) for one in why.members)
    assert f"{gone} is removed" in str(why) and str(selection.explain(str(gone))) == str(why)
    assert selection.position(np.int64(gone)) == selection.position(gone)
    assert gone in tp.select(merges, tp.Cut(0.6, keep_ids=[gone])).kept.tolist()
    assert next(selection.groups())["representative"].to_pylist()[0] in selection.kept.tolist()
    other = tp.select(merges, keep=0.8)
    assert set(tp.compare(selection, other).both.tolist()) == set(selection.kept) & set(other.kept)
    assert tp.select_by(merges.embeddings, 0.5, strategy="random").kept.dtype == np.int64


def test_numbers_beyond_64_bits_come_back() -> None:
    ids = [2**63 + 7, 2**64, 5]
    selection = tp.select(tp.cluster(Embeddings.from_numpy(vectors(3), ids=ids)), keep=1.0)
    assert set(selection.kept.tolist()) == set(ids)
    assert len(selection.table) == 3


def test_text_stays_text() -> None:
    for ids in (["10", "9", "1"], ["007", "7", "07"], [b"10", b"9", b"1"]):
        selection = tp.select(tp.cluster(Embeddings.from_numpy(vectors(3), ids=ids)), keep=1.0)
        assert all(isinstance(name, str) for name in selection.kept)


def test_a_row_is_found_by_its_number_where_ids_are_row_numbers() -> None:
    merges = tp.cluster(Embeddings.from_numpy(vectors(200)))
    selection = tp.select(merges, keep=0.6)
    for asked in (17, "17", "017", np.int32(17), 17.0):
        assert selection.explain(asked).id == "017"
    assert "017" in tp.select(merges, tp.Cut(0.6, keep_ids=[17])).kept
    assert selection.position(199) == 199
    for asked, said in (
        (200, "'200'"),
        ("0017", "'0017'"),
        (-1, "'-1'"),
        (1.5, "1.5, not a whole"),
        (None, "is None"),
    ):
        with pytest.raises(UsageError, match=said):
            selection.explain(asked)  # type: ignore[arg-type]


def test_a_number_is_no_row_where_ids_are_something_else() -> None:
    own = Embeddings.from_numpy(vectors(3), ids=["01", "05", "07"])
    selection = tp.select(tp.cluster(own), keep=1.0)
    with pytest.raises(UsageError, match="no such id"):
        selection.explain("5")  # row 1, which is not the row 5
    assert selection.explain("05").id == "05"


def test_explain_takes_row_numbers_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tenpercent.cli.main import main

    np.save(tmp_path / "v.npy", vectors(200))
    tp.run(tmp_path / "v.npy", out=tmp_path / "r", keep=0.6)
    assert tp.explain(tmp_path / "r", 17).id == tp.explain(tmp_path / "r", "017").id == "017"
    assert main(["explain", str(tmp_path / "r"), "17"]) == 0
    assert capsys.readouterr().out.startswith("017 is ")
    assert main(["explain", str(tmp_path / "r"), "1700"]) == 2
    selection = tp.select(tmp_path / "r", keep=0.7)
    assert selection.row_mask.sum() == 140 and len(selection.labels_) == 200


# ---- what is passed instead ----------------------------------------------------------------------------------------


def instead() -> dict[str, Any]:
    array = vectors(20)
    taken = Embeddings.from_numpy(array)
    merges = tp.cluster(taken)
    return {
        "NoneType": None,
        "bytes": b"photos",
        "int": 3,
        "Merges": merges,
        "Selection": tp.select(merges, keep=0.9),
    }


def test_vectors_are_no_run_folder(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    given = vectors(20)
    calls: list[Callable[[Any], Any]] = [
        lambda given: tp.embed(given, out=tmp_path / "r"),
        tp.open_source,
        tp.report,
        lambda given: tp.explain(given, "1"),
        lambda given: tp.export(given, "csv", tmp_path / "k.csv"),
        tp.Selection.load,
    ]
    for call in calls:
        for each in (given, given.tolist(), pandas.DataFrame(given), {"photos": 1}):
            with pytest.raises(UsageError, match=r"must be a path, not \w+;") as error:
                call(each)
            assert one_line(error)


def test_what_is_no_path_is_one_line_that_says_what_can_be_passed(tmp_path: Path) -> None:
    calls: list[Callable[[Any], Any]] = [
        lambda given: tp.run(given, out=tmp_path / "r"),
        lambda given: tp.run("digits", out=3 if given is None else given),  # None is the default folder
        lambda given: tp.embed(given, out=tmp_path / "r"),
        lambda given: tp.open_source(given),
        tp.cluster,
        tp.select,
        lambda given: tp.select_by(given, 0.9, strategy="random"),
        tp.report,
        lambda given: tp.explain(given, "1"),
        lambda given: tp.export(given, "csv", tmp_path / "k.csv"),
        tp.Selection.load,
        lambda given: tp.leaks(given, given),
    ]
    for call in calls:
        for kind, given in instead().items():
            if call is tp.select and kind == "Merges":
                continue
            with pytest.raises(UsageError, match=r"must be a path, not \w+;") as error:
                call(given)
            assert one_line(error), kind
    assert not (tmp_path / "r").exists()
    with pytest.raises(UsageError, match=r"of merges take tp\.select\(merges, keep=0\.9\)"):
        tp.report(instead()["Merges"])


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: tp.run("digits", out="r", options="train"), r"options is 'train'; give SourceOptions\("),
        (
            lambda: tp.run("digits", out="r", options={"split": "train"}),
            r"options is \{'split'.*SourceOptions\(",
        ),
        (lambda: tp.embed("digits", out="r", options=None), r"options is None; give SourceOptions\("),
        (lambda: tp.open_source("digits", "test"), r"options is 'test'; give SourceOptions\("),
        (lambda: tp.run("digits", out="r", cut=0.9), r"cut is 0\.9; give Cut\(keep=0\.9\)"),
        (lambda: tp.select("r", 0.9), r"cut is 0\.9; .*keep=0\.9 by its name"),
        (
            lambda: tp.run("digits", out="r", embedder=18),  # type: ignore[arg-type]
            r"the embedder is 18; it must be .*, the name of one, a torch module",
        ),
        (lambda: tp.run("digits", out="r", holdout="0.1"), r"holdout is 0\.1"),
        (lambda: tp.SourceOptions(split=3), "split is 3; give a name"),  # type: ignore[arg-type]
        (lambda: tp.SourceOptions(labels=np.zeros(3)), "labels must be a path, not ndarray"),  # type: ignore[arg-type]
        (lambda: tp.probe(vectors(3)), r"what is probed is ndarray; give a list"),  # type: ignore[arg-type]
        (lambda: tp.compare(3, 4), r"what is compared is 3; give two selections"),  # type: ignore[arg-type]
    ],
)
def test_plain_values_instead_of_options_are_one_line(
    call: Callable[[], Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=said) as error:
        call()
    assert one_line(error)


def test_files_of_options_may_be_named_by_strings(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", vectors(4))
    (tmp_path / "l.txt").write_text("cat\nant\ncat\nant\n")
    found = tp.open_source(tmp_path / "v.npy", tp.SourceOptions(labels=str(tmp_path / "l.txt")))  # type: ignore[arg-type]
    assert found.class_names == ("ant", "cat")


def test_what_a_selection_is_asked_is_one_line_where_it_can_not_be() -> None:
    taken = Embeddings.from_numpy(vectors(20))
    merges = tp.cluster(taken)
    selection = tp.select(merges, keep=0.9)
    masked = np.ma.masked_array(np.ones(20), mask=[True] + [False] * 19)
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: tp.select(merges, tp.Cut(0.9, keep_ids=3)), "keep_ids is 3; give a list of ids"),  # type: ignore[arg-type]
        (lambda: tp.select(merges, tp.Cut(0.9, keep_ids=None)), "keep_ids is None"),  # type: ignore[arg-type]
        (lambda: tp.select(merges, tp.Cut(0.9, keep_ids=[None])), "keep_ids is None"),
        (lambda: selection.explain(["01"]), r"the id is \['01'\]"),  # type: ignore[arg-type]
        (lambda: selection.explain("01", vectors(20)), "embeddings is ndarray"),  # type: ignore[arg-type]
        (lambda: list(selection.groups("2")), "min_size is '2'"),  # type: ignore[arg-type]
        (lambda: tp.cluster(taken, layer="start"), "layer is 'start', but these embeddings are of 'end'"),
        (lambda: tp.select_by(taken, 0.9, strategy="ccs", scores=masked), "scores: a masked array"),
        (
            lambda: tp.select_by(taken, 0.9, strategy="ccs", scores=np.ones(21)),
            "21 scores for a source of 20 rows",
        ),
    ]
    for call, said in calls:
        with pytest.raises(UsageError, match=said) as error:
            call()
        assert one_line(error), said


def test_the_estimator_refuses_what_is_masked() -> None:
    # like scikit-learn/scikit-learn#10186: what is masked is taken for values
    sklearn = pytest.importorskip("tenpercent.sklearn")
    given = np.ma.masked_array(vectors(6), mask=np.zeros((6, 6)))
    with pytest.raises(ValueError, match="X: a masked array"):
        sklearn.CompleteLinkage().fit(given)
    mine = vectors(12)
    found = sklearn.CompleteLinkage(3).fit(mine)
    before = found.labels_.copy(), found.distances_.copy()
    mine[:] = 1
    assert np.array_equal(before[0], found.labels_) and np.array_equal(before[1], found.distances_)


def test_rows_that_are_set_aside_are_rows_all_the_same(tmp_path: Path) -> None:
    given = vectors(30)
    given[[4, 29]] = 0
    selection = tp.select(
        tp.cluster(Embeddings.from_numpy(given, ids=range(30), drop_bad_rows=True)), keep=0.5
    )
    assert len(selection.row_mask) == 30 and not selection.row_mask[[4, 29]].any()
    assert selection.labels_[[4, 29]].tolist() == [-1, -1] and selection.row_mask.sum() == 14
    np.save(tmp_path / "v.npy", given)
    found = tp.run(
        tmp_path / "v.npy", out=tmp_path / "r", options=tp.SourceOptions(drop_bad_rows=True), keep=0.5
    )
    stored = tp.Selection.load(tmp_path / "r/selection.parquet")
    assert len(found.row_mask) == len(stored.row_mask) == 30
    assert np.array_equal(found.row_mask, stored.row_mask) and not found.row_mask[29]


def test_a_repeated_file_name_beside_vectors_falls_back_to_row_numbers(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    def opened(names: list[str | None], **options: Any) -> Embeddings:
        column = pa.array(vectors(4).tolist(), pa.list_(pa.float64()))
        pq.write_table(pa.table({"vector": column, "file_name": names}), tmp_path / "v.parquet")
        found = tp.open_source(tmp_path / "v.parquet", tp.SourceOptions(**options))
        assert isinstance(found, Embeddings)
        return found

    assert opened(["d", "c", "b", "a"]).ids.tolist() == ["a", "b", "c", "d"]
    for names, why in (
        (["a", "b", "a", "c"], "'a' occurs more than once"),
        (["a", None, "b", "c"], "row 1 is empty"),
    ):
        found = opened(names)
        assert found.ids.tolist() == ["0", "1", "2", "3"] and not found.number_ids
        assert found.taken["ids"] == f"row numbers ({why} in column file_name)"
        with pytest.raises(UsageError, match=why):
            opened(names, id_column="file_name")


def test_a_row_that_took_no_part_is_said_to_be_one() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 5))
    vectors[0], vectors[7] = 0, np.nan
    embeddings = tp.Embeddings.from_numpy(vectors, drop_bad_rows=True)
    selection = tp.select(tp.cluster(embeddings, keep=0.5), keep=0.7)
    for row in (0, 7, "07"):
        with pytest.raises(UsageError, match=rf"^row {int(row)} took no part"):
            selection.explain(row)
    assert selection.explain(1).id == "01"
    with pytest.raises(UsageError, match="no such id"):
        selection.explain(40)


@pytest.mark.parametrize("row", [0, 3, 5])
def test_ids_that_can_not_be_stored_are_refused_by_row(row: int) -> None:
    """As `os.listdir` gives file names that are not UTF-8."""
    ids = [f"image-{each}" for each in range(6)]
    ids[row] = "caf\udce9"
    with pytest.raises(UsageError, match=rf"the id of row {row} is 'caf\\udce9'.*os\.fsencode"):
        tp.Embeddings.from_numpy(np.eye(6), ids=ids)


def test_run_folders_are_compared_by_their_selections(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", vectors(20))
    for name, keep in (("a", 0.9), ("b", 0.5)):
        tp.run(tmp_path / "v.npy", out=tmp_path / name, keep=keep)
    found = tp.compare(str(tmp_path / "a"), tmp_path / "b")
    assert (len(found.both), len(found.only_a), len(found.only_b)) == (10, 8, 0)


# ---- embedders by name, and what an error says of arguments ----------------------------------------------------------


def test_an_embedder_may_be_given_by_name(photos: Path, tmp_path: Path) -> None:
    named = tp.embed(photos, out=tmp_path / "named", embedder="pretrained")
    assert (named.vectors == tp.embed(photos, out=tmp_path / "made", embedder=tp.Pretrained()).vectors).all()
    for wrong in ("pixels", "timm:", "Pretrained"):
        with pytest.raises(UsageError, match=f"embedder is '{wrong}'; it must be pretrained, supervised"):
            tp.run(photos, out=tmp_path / "none", embedder=wrong)
    assert not (tmp_path / "none").exists()


def test_a_run_without_out_says_where_it_writes_even_without_logging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("own.npy", vectors(9))
    script = "import tenpercent as tp; tp.embed('own.npy')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[0] == "writing to runs/own"


def test_an_error_names_the_arguments_beside_the_flags_and_leaves_commands_alone() -> None:
    said = UsageError(
        "runs/p holds another run; choose another --out, or start over with --keep-ids and --out"
    )
    assert said.__notes__ == [
        "In Python, as arguments, or as fields of SourceOptions, Cut and the embedder: out, keep_ids"
    ]
    command = UsageError("no selection; make it with: tenpercent select runs/p --keep 0.9")
    assert not hasattr(command, "__notes__")
    assert str(said).startswith("runs/p") and "\n" not in str(said)


def test_memory_without_its_unit_is_refused_also_where_nothing_is_left_to_cluster() -> None:
    merges = tp.cluster(Embeddings.from_numpy(vectors(9)), keep=0.5)
    with pytest.raises(UsageError, match=r"memory is '4', in bytes as it has no unit; give one, e\.g\. 4GiB"):
        tp.select(merges, keep=0.9, memory="4")
