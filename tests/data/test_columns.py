"""Which columns of a table are taken for images, labels and ids, and that what is taken is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_sources import CELL, FEATURES, colours, labels, opened, png, table, write

import tenpercent as tp
from tenpercent.data.sources.opening import SourceOptions, open_source, open_split
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import SourceError, TenpercentError

KINDS = {  # how label columns are written, with cat, dog, none, cat in them
    "string_view": pa.array(["cat", "dog", None, "cat"], pa.string_view()),
    "large_string": pa.array(["cat", "dog", None, "cat"], pa.large_string()),
    "binary": pa.array([b"cat", b"dog", None, b"cat"]),
    "binary_view": pa.array([b"cat", b"dog", None, b"cat"], pa.binary_view()),
    "fixed_size_binary": pa.array([b"cat", b"dog", None, b"cat"], pa.binary(3)),
    "dictionary of binary": pa.array([b"cat", b"dog", None, b"cat"]).dictionary_encode(),
    "dictionary of large_string": pa.array(
        ["cat", "dog", None, "cat"], pa.large_string()
    ).dictionary_encode(),
    "empty text": pa.array(["cat", "dog", "", "cat"]),
}
NUMBERS = {  # 7, 9, none, 7
    "float64 of pandas": pa.array([7.0, 9.0, None, 7.0]),
    "NaN": pa.array([7.0, 9.0, float("nan"), 7.0]),
    "float32": pa.array([7, 9, None, 7], pa.float32()),
    "float16": pa.array([np.float16(7), np.float16(9), None, np.float16(7)], pa.float16()),
    "uint8": pa.array([7, 9, None, 7], pa.uint8()),
    "uint64": pa.array([7, 9, None, 7], pa.uint64()),
    "decimal": pa.array([7, 9, None, 7], pa.decimal128(10, 0)),
    "int16 with -1": pa.array([7, 9, -1, 7], pa.int16()),
    "dictionary of int64": pa.array([7, 9, None, 7]).dictionary_encode(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_text_of_any_kind_is_a_label(tmp_path: Path, kind: str) -> None:
    source = opened(write(tmp_path / "x.parquet", table(4, label=KINDS[kind])))
    assert (source.class_names, labels(source)) == (("cat", "dog"), [0, 1, -1, 0])
    assert source.taken["labels"] == "column label"
    assert source.taken["none"].endswith("means no label (1 image)")


@pytest.mark.parametrize("kind", NUMBERS)
def test_whole_numbers_of_any_type_are_labels(tmp_path: Path, kind: str) -> None:
    source = opened(write(tmp_path / "x.parquet", table(4, label=NUMBERS[kind])))
    assert (source.class_names, labels(source)) == (("7", "9"), [0, 1, -1, 0])


def test_truth_values_are_two_classes(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    source = opened(write(path, table(4, label=pa.array([True, False, None, True]))))
    assert (source.class_names, labels(source)) == (("False", "True"), [1, 0, -1, 1])
    assert opened(write(path, table(2, label=pa.array([True, True])))).class_names == ("True",)


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([[0], [1], [0, 1]]), r"column label holds list<.*int64>"),
        (pa.array([{"a": 1}] * 3), "column label holds struct"),
        (pa.array([0, 1, 2], pa.timestamp("s")), "column label holds timestamp"),
        (
            pa.array([0.5, 1.0, 2.0]),
            r"column label holds double, which can't be labels: the label 0\.5 \(row 0",
        ),
        (pa.array([0.0, float("inf"), 2.0]), r"the label inf \(row 1"),
        (pa.array(["0.5", "1", "2"]).cast(pa.decimal128(5, 1)), "column label holds decimal"),
        (pa.array([0, 1, 2**63 + 5], pa.uint64()), r"the label 9223372036854775813 \(row 2\)"),
        (pa.array([b"\xff\xfe", b"a", b"b"]), "column label holds binary"),
    ],
)
def test_what_can_not_be_a_label_is_refused(tmp_path: Path, column: pa.Array, words: str) -> None:
    path = write(tmp_path / "x.parquet", table(3, label=column, other=pa.array(["a", "b", "a"])))
    with pytest.raises(SourceError, match=words) as caught:
        opened(path)
    assert "\n" not in str(caught.value)
    assert "--label-column OTHER" in str(caught.value) and "--label-column none" in str(caught.value)
    assert opened(path, label_column="none").labels is None
    assert opened(path, label_column="other").class_names == ("a", "b")


def test_a_column_of_nothing_means_no_labels(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "x.parquet", table(3, label=pa.nulls(3))))
    assert source.labels is None and source.taken["none"] == "null means no label (3 images)"


def test_of_two_columns_with_a_label_name_the_more_usual_one_must_serve(tmp_path: Path) -> None:
    lists, names = pa.array([[0], [1], [0]]), pa.array(["a", "b", "a"])
    path = write(tmp_path / "x.parquet", table(3, **{"class": names, "labels": lists}))
    with pytest.raises(SourceError, match=r"column labels holds list.*--label-column class, or"):
        opened(path)
    assert opened(write(path, table(3, label=names, target=lists))).class_names == ("a", "b")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "__index_level_0__",
            "Unnamed: 0",
            "prompt",
            "uuid",
            "md5",
            "sha256",
            "filepath",
            "split",
            "__url__",
        ),
        *("breed", "timestamp", "photographer", "num_faces", "key", "caption_en"),
    ],
)
def test_the_only_column_left_is_no_label(tmp_path: Path, name: str) -> None:
    values = pa.array([f"{name}{row % 7}" for row in range(12)])
    source = opened(write(tmp_path / "x.parquet", table(12, **{name: values})))
    assert source.labels is None and "labels" not in source.taken
    hidden = name.startswith("__")
    assert ("unlabelled" in source.taken) != hidden
    assert hidden or f"--label-column takes one of {name}" in source.taken["unlabelled"]
    assert len(opened(tmp_path / "x.parquet", label_column=name).class_names) == 7


def test_a_pandas_index_is_no_label(tmp_path: Path) -> None:  # like pola-rs/polars#7291
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": [png(row) for row in range(4)]}, index=[10, 11, 12, 13])
    frame.to_parquet(tmp_path / "x.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "x.parquet").names
    assert opened(tmp_path / "x.parquet").labels is None


def test_pandas_types_are_labels(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    images = [png(row) for row in range(3)]
    for values, names, codes in (
        (pandas.Series([0, 2, None]), ("0", "2"), [0, 1, -1]),
        (pandas.Series([0, 2, None], dtype="Int64"), ("0", "2"), [0, 1, -1]),
        (pandas.Series([True, None, False], dtype="boolean"), ("False", "True"), [1, -1, 0]),
        (pandas.Series(["b", "a", None], dtype="category"), ("a", "b"), [1, 0, -1]),
        (pandas.Series(["b", "a", None], dtype="string"), ("a", "b"), [1, 0, -1]),
        (pandas.Series([30, 4, 30], dtype="category"), ("4", "30"), [1, 0, 1]),
    ):
        pandas.DataFrame({"image": images, "label": values}).to_parquet(tmp_path / "x.parquet")
        source = opened(tmp_path / "x.parquet")
        assert (source.class_names, labels(source)) == (names, codes)


def test_names_of_web_datasets(tmp_path: Path) -> None:
    made = table(
        3, image="jpg", cls=pa.array([4, 2, 4]), __key__=pa.array(["a/x", "a/y", "b/x"]), paths=False
    )
    made = made.append_column("__url__", pa.array(["u.tar"] * 3))
    source = opened(write(tmp_path / "x.parquet", made))
    assert (source.class_names, labels(source)) == (("2", "4"), [1, 0, 1])
    assert source.ids == ("a/x", "a/y", "b/x")
    assert source.taken == {"images": "column jpg", "labels": "column cls", "ids": "column __key__"}


# ---- codes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "names", "codes", "remark"),
    [
        ([300_000, 300_001, 300_000], ("300000", "300001"), [0, 1, 0], None),
        ([10, 9, 100], ("9", "10", "100"), [1, 0, 2], None),
        ([-1, 1, -1], ("-1", "1"), [0, 1, 0], "-1 and 1 are two classes"),
        ([-1, 1, None], ("-1", "1"), [0, 1, -1], "-1 and 1 are two classes; null means no label (1 image)"),
        ([-1, 0, 1], ("0", "1"), [-1, 0, 1], "-1 means no label (1 image)"),
        ([-1, 2, 2], ("2",), [-1, 0, 0], "-1 means no label (1 image)"),
        ([10**12, 0, 10**12], ("0", "1000000000000"), [1, 0, 1], None),
    ],
)
def test_numbers_are_the_classes_that_occur(
    tmp_path: Path, values: list[int | None], names: tuple[str, ...], codes: list[int], remark: str | None
) -> None:
    """Like cleanlab/cleanlab#335, where codes that are not 0 … k−1 are refused."""
    path = write(tmp_path / "x.parquet", table(3, label=pa.array(values)))
    source = opened(path)
    assert (source.class_names, labels(source)) == (names, codes)
    assert source.taken.get("none") == remark
    np.save(tmp_path / "v.npy", np.eye(3, dtype=np.float32))
    given = np.asarray([np.nan if value is None else value for value in values])
    np.save(tmp_path / "l.npy", given if None in values else given.astype(np.int64))
    found = open_source(tmp_path / "v.npy", SourceOptions(labels=tmp_path / "l.npy"))
    assert isinstance(found, Embeddings) and found.labels is not None
    assert (found.class_names, found.labels.tolist()) == (names, codes)
    assert found.taken["labels"] == "l.npy" and found.taken.get("none") == remark


def test_minus_one_is_none_where_the_metadata_names_classes(tmp_path: Path) -> None:
    """Like huggingface/dataset-viewer#1833 and huggingface/datasets#245."""
    path = tmp_path / "x.parquet"
    source = opened(write(path, table(3, features=FEATURES, label=pa.array([-1, 1, -1]))))
    assert (source.class_names, labels(source)) == (("ant", "bee", "cow"), [-1, 1, -1])
    assert source.taken["none"] == "-1 means no label (2 images)"
    hidden = opened(write(path, table(3, features=FEATURES, label=pa.array([-1, -1, -1]))))
    assert hidden.labels is None and hidden.taken["none"] == "-1 means no label (3 images)"


def test_another_split_has_the_classes_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", table(3, label=pa.array([300_001, 5, 300_001])))
    write(tmp_path / "test.parquet", table(3, start=3, label=pa.array([300_001, 7, -1])))
    test = open_split(tmp_path, SourceOptions(), "test")
    assert opened(tmp_path).class_names == ("5", "300001")
    assert test is not None and test.class_names == ("5", "300001", "7")
    assert test.labels is not None and test.labels.tolist() == [1, 2, -1]


def test_a_run_of_0_1_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write(path, table(4, paths=False, label=pa.array([3, 0, -1, 3]), id=pa.array(["a", "b", "c", "d"])))
    old, now = opened(path, rules=1), opened(path)
    assert (old.class_names, labels(old)) == (("0", "1", "2", "3"), [3, 0, -1, 3])
    assert (now.class_names, labels(now)) == (("0", "3"), [1, 0, -1, 1])
    assert (old.ids, now.ids) == (("0", "1", "2", "3"), ("a", "b", "c", "d"))
    write(path, table(4, label=pa.array([True, False, True, True])))
    assert opened(path, rules=1).labels is None and labels(opened(path)) == [1, 0, 1, 1]
    write(path, table(4, prompt=pa.array(["w", "x", "y", "z"])))
    assert opened(path, rules=1).class_names == ("w", "x", "y", "z") and opened(path).class_names == ()
    with pytest.raises(SourceError, match="has the label 2000000"):
        opened(write(path, table(2, label=pa.array([0, 2_000_000]))), rules=1)


# ---- images --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        *(pa.binary(), pa.large_binary(), pa.binary_view()),
        *(pa.struct({"bytes": pa.binary_view(), "path": pa.string_view()}), CELL),
    ],
    ids=str,
)
@pytest.mark.parametrize("encoded", [False, True])
def test_bytes_of_any_kind_are_images(tmp_path: Path, kind: pa.DataType, encoded: bool) -> None:
    cells: list[object] = [png(0), png(1), png(0)]
    if pa.types.is_struct(kind):
        cells = [{"bytes": cell, "path": f"{row}.png"} for row, cell in enumerate(cells)]
    column = pa.array(cells, kind)
    if encoded and not pa.types.is_struct(kind):
        column = pa.array(cells, pa.binary()).dictionary_encode()
    source = opened(
        write(tmp_path / "x.parquet", pa.table({"image": column, "label": pa.array([b"a", b"b", b"a"])}))
    )
    assert colours(source) == [0, 1, 0]
    assert (source.class_names, labels(source)) == (("a", "b"), [0, 1, 0])
    assert source.taken["images"] == "column image"


def test_bytes_beside_images_are_no_second_images(tmp_path: Path) -> None:
    made = pa.table({"photo": [png(0), png(1)], "label": [b"a", b"b"], "__key__": [b"x", b"y"]})
    source = opened(write(tmp_path / "x.parquet", made))
    assert colours(source) == [0, 1] and source.class_names == ("a", "b") and source.ids == ("x", "y")
    made = pa.table({"photo": [png(0), png(1)], "thumbnail": [png(2), png(3)]})
    with pytest.raises(SourceError, match=r"photo, thumbnail.*--image-column"):
        opened(write(tmp_path / "x.parquet", made))


# ---- ids -----------------------------------------------------------------------------------------------------------


def test_ids_come_from_the_column_that_is_asked_for(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.parquet", table(3, number=pa.array([30, 4, 5]), twice=pa.array(["a", "b", "a"]))
    )
    source = opened(path)
    assert source.ids[0] == "im/000.png" and source.taken["ids"] == "the paths in column img"
    assert opened(path, id_column="number").ids == ("30", "4", "5")
    assert opened(path, id_column="none").ids == ("0", "1", "2")
    assert opened(path, id_column="number").taken["ids"] == "column number"
    with pytest.raises(SourceError, match=r"--id-column twice: 'a' occurs more than once"):
        opened(path, id_column="twice")
    with pytest.raises(SourceError, match=r"--id-column img.*not ids.*number, twice"):
        opened(path, id_column="img")
    with pytest.raises(SourceError, match=r"--id-column numbr.*did you mean number"):
        opened(path, id_column="numbr")


@pytest.mark.parametrize(
    ("names", "ids", "said"),
    [
        (["a", "b", "c"], ("a", "b", "c"), "column file_name"),
        (["a", "b", "a"], ("0", "1", "2"), "row numbers ('a' occurs more than once in column file_name)"),
        (["a", None, "b"], ("0", "1", "2"), "row numbers (row 1 is empty in column file_name)"),
    ],
)
@pytest.mark.parametrize("vectors", [False, True])
def test_a_repeated_file_name_falls_back_to_row_numbers(
    tmp_path: Path, names: list[str | None], ids: tuple[str, ...], said: str, vectors: bool
) -> None:
    content = pa.array([[1.0, row] for row in range(3)]) if vectors else pa.array([png(0), png(1), png(2)])
    path = write(tmp_path / "x.parquet", pa.table({"image": content, "file_name": pa.array(names)}))
    source = open_source(path)
    assert (tuple(source.ids), source.taken["ids"]) == (ids, said)
    assert tuple(open_source(path, SourceOptions(id_column="none")).ids) == ("0", "1", "2")


# ---- tables that are odd -------------------------------------------------------------------------------------------


def test_a_column_that_is_there_twice_is_one_line(tmp_path: Path) -> None:
    """Like pola-rs/polars#27393 (one of the two is dropped) and dask/dask#9251."""
    twice = pa.table([pa.array([png(0)]), pa.array([1]), pa.array([2])], names=["image", "label", "label"])
    with pytest.raises(SourceError, match="more than one column label"):
        opened(write(tmp_path / "x.parquet", twice))


@pytest.mark.parametrize(
    "metadata",
    [
        "null",
        "{}",
        '{"info": null}',
        '{"info": {}}',
        '{"info": {"features": null}}',
        '{"info": {"features": {"label": null}}}',
    ],
)
def test_metadata_that_says_nothing_leaves_it_to_the_types(tmp_path: Path, metadata: str) -> None:
    made = table(2, label=pa.array(["a", "b"])).replace_schema_metadata({"huggingface": metadata})
    source = opened(write(tmp_path / "x.parquet", made))
    assert source.class_names == ("a", "b") and colours(source) == [0, 1]


@pytest.mark.parametrize(
    "metadata",
    [
        "{",
        "[]",
        '"x"',
        '{"info": []}',
        '{"info": {"features": []}}',
        b"\xff\xfe",
        '{"info": {"features": "img"}}',
    ],
)
def test_metadata_that_is_broken_is_one_line(tmp_path: Path, metadata: str | bytes) -> None:
    made = table(2, label=pa.array(["a", "b"])).replace_schema_metadata({"huggingface": metadata})
    with pytest.raises(SourceError, match="broken `huggingface` metadata") as caught:
        opened(write(tmp_path / "x.parquet", made))
    assert "\n" not in str(caught.value)


def test_class_names_that_are_none(tmp_path: Path) -> None:
    for names, found in ((None, ("0", "4")), (["a", "b", "c", "d", "e"], ("a", "b", "c", "d", "e"))):
        features = {
            "img": {"_type": "Image"},
            "label": {"_type": "ClassLabel", "names": names, "num_classes": 5},
        }
        made = table(2, features=features, label=pa.array([4, 0]))
        assert opened(write(tmp_path / "x.parquet", made)).class_names == found
    features = {"label": {"_type": "ClassLabel", "names": {"0": "a"}}}
    with pytest.raises(SourceError, match="the names of column label are"):
        opened(write(tmp_path / "x.parquet", table(2, features=features, label=pa.array([0, 0]))))


def test_a_class_label_beside_a_column_called_label_is_asked_about(tmp_path: Path) -> None:
    features = {"img": {"_type": "Image"}, "quality": {"_type": "ClassLabel", "names": ["good", "bad"]}}
    made = table(2, features=features, quality=pa.array([0, 1]), label=pa.array(["a", "b"]))
    path = write(tmp_path / "x.parquet", made)
    with pytest.raises(SourceError, match=r"quality, label; choose one with --label-column"):
        opened(path)
    assert opened(path, label_column="quality").class_names == ("good", "bad")
    features["split"] = features.pop("quality")
    made = table(2, features=features, split=pa.array([0, 1]), label=pa.array(["a", "b"]))
    assert opened(write(path, made)).class_names == ("a", "b")


def test_files_of_one_set_may_write_their_labels_otherwise(tmp_path: Path) -> None:
    for number, column in enumerate(
        [pa.array([3, 5]), pa.array([5.0, None]), pa.array([3, 3], pa.uint8()), pa.nulls(2)]
    ):
        write(tmp_path / f"{number}.parquet", table(2, start=2 * number, label=column))
    source = opened(tmp_path)
    assert (source.class_names, labels(source)) == (("3", "5"), [0, 1, 1, -1, 0, 0, -1, -1])
    write(tmp_path / "9.parquet", table(2, start=8, label=pa.array(["a", "b"])))
    with pytest.raises(SourceError, match=r"column label is int64 in 0\.parquet and string in 9\.parquet"):
        opened(tmp_path)


def test_metadata_is_what_datasets_writes() -> None:
    assert json.dumps({"info": {"features": FEATURES}}) in str(table(1, features=FEATURES).schema.metadata)


def test_a_subset_knows_numbers_that_are_names(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    import tenpercent as tp
    from tenpercent.errors import UsageError

    class Numbered(torch.utils.data.Dataset):  # type: ignore[misc,name-defined]
        def __init__(self, targets: list[int]) -> None:
            self.targets = targets

        def __len__(self) -> int:
            return len(self.targets)

    given = [300_001, 5, 300_001, 5]
    vectors = pa.array(np.eye(4).tolist())
    path = write(tmp_path / "x.parquet", pa.table({"v": vectors, "label": given}))
    found = open_source(path)
    assert isinstance(found, Embeddings)
    selection = tp.select(tp.cluster(found), keep=1.0)
    assert len(selection.subset(Numbered(given))) == 4
    with pytest.raises(UsageError, match=r"row 0 .*the label 5 in the dataset"):
        selection.subset(Numbered([5, 5, 300_001, 5]))


def test_a_column_that_only_a_later_file_has_is_seen(tmp_path: Path) -> None:
    write(tmp_path / "0.parquet", table(2))
    write(tmp_path / "1.parquet", table(2, start=2, label=pa.array(["a", "b"]), note=pa.array(["x", "y"])))
    with pytest.raises(SourceError, match=r"column label is missing in 0\.parquet and string in 1\.parquet"):
        opened(tmp_path)
    assert opened(tmp_path, label_column="none").labels is None
    assert opened(tmp_path, rules=1).labels is None
    write(tmp_path / "0.parquet", pa.table({"img": [png(0)]}))
    with pytest.raises(SourceError, match=r"column img is binary in 0\.parquet and struct<.* in 1\.parquet"):
        opened(tmp_path, label_column="none")


@pytest.mark.parametrize(
    ("column", "ids", "said"),
    [
        (pa.array([2.0, 10.0]), ("2", "10"), "column id"),
        (pa.array([2.0, None]), ("0", "1"), "row numbers (row 1 is empty in column id)"),
        (pa.array(["b", ""]), ("0", "1"), "row numbers (row 1 is empty in column id)"),
        (pa.array([[1], [2]]), ("0", "1"), "row numbers (there is list<element: int64> in column id)"),
        (pa.array([b"\xff", b"a"]), ("0", "1"), "row numbers (Invalid UTF8 payload in column id)"),
        (pa.array(["b", "a"]).dictionary_encode(), ("b", "a"), "column id"),
        (pa.array(["b", "a"], pa.string_view()), ("b", "a"), "column id"),
        (pa.array([2**64 - 1, 1], pa.uint64()), ("18446744073709551615", "1"), "column id"),
    ],
)
def test_an_id_column_that_can_not_serve_is_said(
    tmp_path: Path, column: pa.Array, ids: tuple[str, ...], said: str
) -> None:
    source = opened(write(tmp_path / "x.parquet", table(2, paths=False, id=column)))
    assert (source.ids, source.taken["ids"]) == (ids, said)


def test_two_columns_called_label_but_for_case_are_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", table(2, Label=pa.array([1, 2]), label=pa.array(["a", "b"])))
    with pytest.raises(SourceError, match="Label, label; choose one with --label-column"):
        opened(path)
    assert opened(path, label_column="label").class_names == ("a", "b")


@pytest.mark.parametrize(
    ("n", "classes", "said"), [(60, 60, True), (60, 31, True), (60, 30, False), (20, 20, False)]
)
def test_labels_that_are_nearly_all_distinct_are_asked_about(
    tmp_path: Path, n: int, classes: int, said: bool
) -> None:
    column = pa.array([f"c{row % classes}" for row in range(n)])
    source = opened(write(tmp_path / "x.parquet", table(n, label=column)))
    assert len(source.class_names) == classes
    assert ("distinct" in source.taken) == said
    if said:
        assert f"{classes} classes for {n} labelled images" in source.taken["distinct"]


def test_names_that_differ_by_case_have_one_remedy(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"image": [png(1)] * 2, "label": ["Cat", "cat"]}), file)
    with pytest.raises(SourceError, match=r"differ by case only; make the values alike") as caught:
        open_source(file)
    assert str(caught.value).count("--label-column") == 1


def test_classes_of_one_name_stay_two_and_are_exported_as_two(tmp_path: Path) -> None:
    """As torchvision's ImageNet, which has two classes `crane`."""
    features = {"label": {"_type": "ClassLabel", "names": ["crane", "crane", "dog"]}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {
        "image": [png(row) for row in range(6)],
        "v": [[1.0, row] for row in range(6)],
        "label": [0, 1, 2] * 2,
    }
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train", "test"):
        pq.write_table(pa.table(columns).replace_schema_metadata(metadata), data / f"{name}.parquet")
    found = open_source(data)
    assert found.class_names == ("crane (0)", "crane (1)", "dog")
    other = open_split(str(data), SourceOptions(), "test")
    assert other is not None
    assert other.labels is not None
    assert other.labels.tolist() == [0, 1, 2] * 2
    assert open_source(data, SourceOptions(rules=1)).class_names == ("crane", "crane", "dog")
    tp.run(data, out=tmp_path / "run", keep=1.0, options=SourceOptions(embedding_column="v"))
    tp.export(tmp_path / "run", "folder", tmp_path / "kept")
    assert {path.name: len(list(path.iterdir())) for path in (tmp_path / "kept").iterdir()} == {
        "crane (0)": 2,
        "crane (1)": 2,
        "dog": 2,
    }
    with pytest.raises(
        TenpercentError, match=r"refused by datasets .*duplicated.*; .* choose --format folder"
    ):
        tp.export(tmp_path / "run", "hf", tmp_path / "set")


def test_a_class_name_with_a_null_character_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    pq.write_table(pa.table({"image": [png(1)] * 2, "label": ["a\0", "b"]}), file)
    with pytest.raises(SourceError, match=r"null character; make the values alike, or choose another"):
        open_source(file)
