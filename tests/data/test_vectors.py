"""Vectors that are there already: `.npy` files and Parquet columns."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenpercent.data.sources.opening import SourceOptions, open_source, open_split
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import SourceError, UsageError


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(12, 5)).astype(np.float32)


def opened(path: Path, **options: object) -> Embeddings:
    found = open_source(path, SourceOptions(**options))  # type: ignore[arg-type]
    assert isinstance(found, Embeddings)
    return found


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


def test_npy_is_mapped_not_read(tmp_path: Path, vectors: np.ndarray) -> None:
    found = opened(saved(tmp_path / "v.npy", vectors))
    assert isinstance(found.vectors, np.memmap) or isinstance(found.vectors.base, np.memmap)
    assert np.array_equal(found.vectors, vectors)
    assert found.ids.tolist() == [f"{row:02d}" for row in range(12)]
    assert found.labels is None


@pytest.mark.parametrize("kind", [">f4", "<f8", ">f8", "f2", "i4", ">i2", "u1"])
def test_npy_of_other_dtypes(tmp_path: Path, vectors: np.ndarray, kind: str) -> None:
    array = (np.abs(vectors) * 50 + 1).astype(kind)
    found = opened(saved(tmp_path / "v.npy", array))
    assert found.vectors.dtype.isnative
    assert np.array_equal(found.vectors, array)


def test_npy_in_fortran_order(tmp_path: Path, vectors: np.ndarray) -> None:
    assert np.array_equal(opened(saved(tmp_path / "v.npy", np.asfortranarray(vectors))).vectors, vectors)


def test_ids_and_labels_in_text_files_are_parted_by_newlines_alone(
    tmp_path: Path, vectors: np.ndarray
) -> None:
    path = saved(tmp_path / "v.npy", vectors)
    names = [f"{row:02d}\u2028\x0b.png" for row in range(12)]
    (tmp_path / "ids.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    (tmp_path / "labels.txt").write_bytes("a\u2028b\r\n\r\n".encode() * 6)
    found = opened(path, ids=tmp_path / "ids.txt", labels=tmp_path / "labels.txt")
    assert found.ids.tolist() == names and found.class_names == ("a\u2028b",)
    assert found.labels is not None and found.labels.tolist() == [0, -1] * 6
    (tmp_path / "none.txt").write_text("")
    with pytest.raises(UsageError, match="0"):
        opened(path, ids=tmp_path / "none.txt")


def test_labels_and_ids_from_npy_and_text(tmp_path: Path, vectors: np.ndarray) -> None:
    path = saved(tmp_path / "v.npy", vectors)
    codes = saved(tmp_path / "codes.npy", np.arange(12) % 3 - 1)
    names = tmp_path / "names.txt"
    names.write_text("\n".join(["cat", "dog"] * 6) + "\n")
    ids = tmp_path / "ids.txt"
    ids.write_text("\n".join(f"x{11 - row:02d}" for row in range(12)))
    found = opened(path, labels=codes, ids=ids)
    assert found.ids.tolist() == [f"x{row:02d}" for row in range(12)]
    assert found.rows.tolist() == list(range(11, -1, -1))
    assert found.labels is not None and found.labels.tolist() == [(row % 3) - 1 for row in range(11, -1, -1)]
    assert np.array_equal(found.vectors, vectors[::-1])
    named = opened(path, labels=names)
    assert named.class_names == ("cat", "dog")
    counts = tmp_path / "codes.txt"
    counts.write_text("0\n1\n" * 6)
    assert opened(path, labels=counts).class_names == ("0", "1")
    assert (
        opened(path, ids=saved(tmp_path / "ids.npy", np.array([f"i{row:02d}" for row in range(12)]))).ids[3]
        == "i03"
    )


class Trap:
    """Unpickling this leaves a file behind."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (self.path,))


@pytest.mark.parametrize("which", ["vectors", "labels", "ids"])
def test_objects_are_refused_without_unpickling(tmp_path: Path, vectors: np.ndarray, which: str) -> None:
    sprung = tmp_path / "sprung"
    trap = np.array([Trap(str(sprung))] * 12, dtype=object)
    np.save(tmp_path / "trap.npy", trap, allow_pickle=True)
    good = saved(tmp_path / "v.npy", vectors)
    with pytest.raises(SourceError, match=r"trap\.npy"):
        if which == "vectors":
            opened(tmp_path / "trap.npy")
        else:
            opened(good, **{which: tmp_path / "trap.npy"})
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 4), np.float32), r"\(0, 4\)"),
        (np.zeros((4, 0), np.float32), r"\(4, 0\)"),
        (np.ones(4, np.float32), r"\(4,\)"),
        (np.ones((2, 2, 2), np.float32), r"\(2, 2, 2\)"),
        (np.ones((3, 2), np.complex64), "complex"),
        (np.array([["a", "b"]]), "U1"),
        (np.array([[1, 2], [0, 0]], np.float32), "1 of 2 vectors is zero .*row 1"),
        (np.array([[1, np.nan]], np.float32), "nan"),
        (np.array([[1, np.inf]], np.float32), "infinity"),
    ],
)
def test_arrays_that_are_no_vectors(tmp_path: Path, array: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        opened(saved(tmp_path / "v.npy", array))
    assert caught.value.exit_status == 2 and "\n" not in str(caught.value)


def test_npy_that_is_broken_or_something_else(tmp_path: Path, vectors: np.ndarray) -> None:
    path = saved(tmp_path / "v.npy", vectors)
    whole = path.read_bytes()
    for content in (b"", b"hello", whole[:40], whole[:-8], b"PK\x03\x04 zip"):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"v\.npy"):
            opened(path)


def test_labels_and_ids_that_do_not_fit(tmp_path: Path, vectors: np.ndarray) -> None:
    path = saved(tmp_path / "v.npy", vectors)
    with pytest.raises(UsageError, match="11"):
        opened(path, labels=saved(tmp_path / "l.npy", np.zeros(11, np.int64)))
    with pytest.raises(UsageError, match="-2"):
        opened(path, labels=saved(tmp_path / "l.npy", np.full(12, -2)))
    with pytest.raises(SourceError, match=r"l\.npy: the label 0\.5 \(row 0, float\) is not a whole number"):
        opened(path, labels=saved(tmp_path / "l.npy", np.full(12, 0.5)))
    with pytest.raises(SourceError, match=r"l\.npy: labels have dtype complex128"):
        opened(path, labels=saved(tmp_path / "l.npy", np.zeros(12, complex)))
    twins = tmp_path / "l.txt"
    twins.write_text("Cat\ncat\n" * 6)
    with pytest.raises(SourceError, match="case"):
        opened(path, labels=twins)
    ids = tmp_path / "i.txt"
    ids.write_text("same\n" * 12)
    with pytest.raises(UsageError, match="'same'"):
        opened(path, ids=ids)
    ids.write_text("one\n")
    with pytest.raises(UsageError, match="1 id for 12 vectors"):
        opened(path, ids=ids)
    with pytest.raises(SourceError, match=r"l\.csv"):
        opened(path, labels=tmp_path / "l.csv")
    with pytest.raises(SourceError, match=r"missing\.npy"):
        opened(path, labels=tmp_path / "missing.npy")


def test_options_that_do_not_apply(tmp_path: Path, vectors: np.ndarray) -> None:
    path = saved(tmp_path / "v.npy", vectors)
    with pytest.raises(UsageError, match="--data-dir"):
        opened(path, data_dir=tmp_path)
    assert open_split(path, SourceOptions(), "test") is None


def written(path: Path, **columns: pa.Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=5)
    return path


@pytest.mark.parametrize("kind", ["list", "large", "fixed", "double", "half"])
def test_parquet_vector_columns(tmp_path: Path, vectors: np.ndarray, kind: str) -> None:
    rows = vectors.astype(np.float16 if kind == "half" else np.float32).tolist()
    types = {
        "list": pa.list_(pa.float32()),
        "large": pa.large_list(pa.float32()),
        "fixed": pa.list_(pa.float32(), 5),
        "double": pa.list_(pa.float64(), 5),
        "half": pa.list_(pa.float16()),
    }
    if kind == "half":
        rows = [[np.float16(value) for value in row] for row in rows]
    path = written(
        tmp_path / "v.parquet", emb=pa.array(rows, types[kind]), label=pa.array(["b", "a", None] * 4)
    )
    found = opened(path)
    assert found.vectors.dtype == (np.float64 if kind == "double" else np.float32)
    assert np.allclose(found.vectors, vectors, atol=1e-2 if kind == "half" else 0)
    assert found.class_names == ("a", "b")
    assert found.labels is not None and found.labels[:3].tolist() == [1, 0, -1]


def test_parquet_ids_and_the_choice_of_column(tmp_path: Path, vectors: np.ndarray) -> None:
    column = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    other = pa.array((vectors * 2 + 1).tolist(), pa.list_(pa.float32()))
    ids = pa.array([f"p{row:02d}" for row in range(12)])
    path = written(tmp_path / "v.parquet", id=ids, one=column, two=other)
    with pytest.raises(SourceError, match=r"one, two.*--embedding-column"):
        opened(path)
    found = opened(path, embedding_column="two")
    assert found.ids[0] == "p00" and np.array_equal(found.vectors, vectors * 2 + 1)
    with pytest.raises(SourceError, match=r"twoo.*did you mean.*two"):
        opened(path, embedding_column="twoo")
    with pytest.raises(SourceError, match=r"id.*not vectors"):
        opened(path, embedding_column="id")


def test_parquet_splits_of_vectors(tmp_path: Path, vectors: np.ndarray) -> None:
    column = pa.array(vectors.tolist(), pa.list_(pa.float32()))
    written(tmp_path / "train.parquet", v=column)
    written(tmp_path / "test.parquet", v=column.slice(0, 4))
    assert len(opened(tmp_path)) == 12
    test = open_split(tmp_path, SourceOptions(), "test")
    assert isinstance(test, Embeddings) and len(test) == 4
    assert open_split(tmp_path, SourceOptions(), "validation") is None


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (pa.array([[1.0, 2.0], [1.0]], pa.list_(pa.float32())), "row 1.*1 values.*2"),
        (pa.array([[1.0], None], pa.list_(pa.float32())), "1 of 2 vectors is null.*row 1"),
        (pa.array([[1.0], [None]], pa.list_(pa.float32())), "1 of 2 vectors is null or nan.*row 1"),
        (pa.array([], pa.list_(pa.float32())), "no rows"),
        (pa.array([[1], [2]], pa.list_(pa.int64())), "no column of images or vectors"),
    ],
)
def test_parquet_columns_that_are_no_vectors(tmp_path: Path, column: pa.Array, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        opened(written(tmp_path / "v.parquet", v=column))


# ---- labels in files and from Python -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "codes", "names"),
    [
        (["cat", "", "dog", "cat"], [0, -1, 1, 0], ("cat", "dog")),  # an empty line: no label
        (["1", "", "12", "1"], [0, -1, 1, 0], ("1", "12")),
        (
            ["1_0", "10", "1_0", "2"],
            [1, 0, 1, 2],
            ("10", "1_0", "2"),
        ),  # no number, though Python reads it as one
        (["9" * 25, "1", "2", "1"], [2, 0, 1, 0], ("1", "2", "9" * 25)),
    ],
)
def test_a_line_of_labels_is_what_it_says(
    tmp_path: Path, lines: list[str], codes: list[int], names: tuple[str, ...]
) -> None:
    np.save(tmp_path / "v.npy", np.eye(4))
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n")
    options = SourceOptions(labels=tmp_path / "labels.txt")
    found = open_source(tmp_path / "v.npy", options)
    assert found.labels is not None
    assert (found.labels.tolist(), found.class_names) == (codes, names)


def test_a_run_of_version_0_1_keeps_its_class_of_empty_lines(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.eye(4))
    for name, lines in (("a.txt", ["cat", "", "dog", "cat"]), ("b.txt", ["a", "1", "2", ""])):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        found = open_source(tmp_path / "v.npy", SourceOptions(labels=tmp_path / name, rules=1))
        assert found.class_names == tuple(sorted(set(lines)))
        assert found.labels is not None
        assert [found.class_names[code] for code in found.labels.tolist()] == lines


def test_empty_text_from_python_is_no_label() -> None:
    found = Embeddings.from_numpy(np.eye(4), labels=[b"", b"a", b"b", b""])
    assert found.labels is not None
    assert found.labels.tolist() == [-1, 0, 1, -1]
    assert Embeddings.from_numpy(np.eye(4), labels=[""] * 4).labels is None
    named = Embeddings.from_numpy(np.eye(4), labels=["", "a", "a", ""], class_names=["a", ""])
    assert named.labels is not None
    assert named.labels.tolist() == [1, 0, 0, 1]  # a class that the caller names
