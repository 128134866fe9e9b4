"""Vectors that a program passes in any form: the same selection as from an array with labels and ids."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import tenpercent as tp
from tenpercent.errors import UsageError

N, WIDTH = 120, 6


def vectors() -> np.ndarray:
    """Vectors in near pairs, in single precision."""
    rng = np.random.default_rng(5)
    centres = np.tile(rng.normal(size=(N // 2, WIDTH)), (2, 1))
    return (centres + rng.normal(scale=0.01, size=(N, WIDTH))).astype(np.float32)


V = vectors()
LABELS = ["cat", "dog", "ant"] * (N // 3)
IDS = [f"{row * 7 % N}.jpg" for row in range(N)]
EXPECTED = tp.run(V, keep=0.6, labels=LABELS, ids=IDS)


def frame() -> Any:
    return pytest.importorskip("pandas").DataFrame({"vec": list(V), "label": LABELS, "id": IDS})


def wide() -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(V).assign(species=pandas.Categorical(LABELS), file=IDS)


def fixed() -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(V.ravel()), WIDTH)


def torch() -> Any:
    pytest.importorskip("torch.utils.data")
    return sys.modules["torch"]


def polars() -> Any:
    return pytest.importorskip("polars").DataFrame({"vec": V.tolist(), "label": LABELS, "id": IDS})


def dataset() -> Any:
    found = pytest.importorskip("datasets").Dataset.from_pandas(frame())
    return found.cast_column("label", sys.modules["datasets"].ClassLabel(names=["ant", "cat", "dog"]))


@pytest.mark.parametrize(
    "made",
    [frame, polars, dataset, lambda: pa.table({"vec": fixed(), "label": LABELS, "id": IDS})],
    ids=["pandas", "polars", "datasets", "arrow"],
)
def test_a_table_brings_its_labels_and_ids(made: Callable[[], Any]) -> None:
    data = made()
    found = [tp.run(data, keep=0.6), tp.select(data, keep=0.6), tp.select(tp.cluster(data, 0.5), keep=0.6)]
    found.append(tp.run(data, keep=0.6, embeddings="vec", labels="label", ids="id"))
    for selection in found:
        assert selection.removed.tolist() == EXPECTED.removed.tolist()
        assert selection.class_names == ("ant", "cat", "dog")
        assert np.array_equal(selection.row_mask, EXPECTED.row_mask)
    assert len(tp.select_by(data, 0.5, strategy="random").kept) == N // 2


@pytest.mark.parametrize(
    "made",
    [
        lambda: frame()["vec"],
        lambda: polars()["vec"],
        lambda: dataset()["vec"],
        fixed,
        lambda: pa.chunked_array([pa.array(V.tolist())]),
        lambda: V.tolist(),
        lambda: list(V),
        lambda: torch().tensor(V, requires_grad=True),
        lambda: list(torch().tensor(V, requires_grad=True)),
        lambda: torch().utils.data.TensorDataset(torch().tensor(V)),
    ],
)
def test_a_column_of_vectors_is_a_matrix(made: Callable[[], Any]) -> None:
    selection = tp.run(made(), keep=0.6, labels=LABELS, ids=IDS)
    assert selection.removed.tolist() == EXPECTED.removed.tolist()


def test_columns_of_numbers_are_vectors_beside_named_labels_and_ids() -> None:
    selection = tp.run(wide(), keep=0.6, labels="species", ids="file")
    assert selection.removed.tolist() == EXPECTED.removed.tolist()
    assert selection.class_names == EXPECTED.class_names
    taken = tp.cluster(wide().drop(columns=["species", "file"])).embeddings
    assert taken.labels is None and np.array_equal(taken.vectors, V)
    named = sys.modules["pandas"].DataFrame(V, columns=[*"abcde", "y"])
    with pytest.raises(UsageError, match="a column y among its numbers"):  # a coordinate, or a label?
        tp.run(named)
    assert tp.run(named, labels="none", keep=0.6).labels is None


def test_a_tensor_of_bfloat16_is_taken_at_its_values() -> None:
    short = torch().tensor(V).to(torch().bfloat16)
    taken = tp.Embeddings.from_numpy(short)
    assert taken.vectors.dtype == np.float32 and np.array_equal(taken.vectors, short.float().numpy())
    assert tp.Embeddings.from_numpy(torch().tensor(V, dtype=torch().float64)).vectors.dtype == np.float64


def test_a_torch_data_set_brings_the_labels_beside_its_vectors() -> None:
    data = torch().utils.data
    codes = [["ant", "cat", "dog"].index(label) for label in LABELS]
    whole = data.TensorDataset(torch().tensor(V), torch().tensor(codes))

    class Pairs(data.Dataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return N

        def __getitem__(self, row: int) -> Any:
            return V[row], codes[row]

    for each in (
        whole,
        Pairs(),
        data.Subset(whole, range(N)),
        data.ConcatDataset([data.Subset(whole, range(9)), data.Subset(whole, range(9, N))]),
    ):
        found = tp.run(each, keep=0.6, ids=IDS)
        assert found.removed.tolist() == EXPECTED.removed.tolist() and found.labels is not None


def test_whole_numbers_as_ids_of_a_table_come_back_as_numbers() -> None:
    found = tp.run(pa.table({"v": fixed(), "id": list(range(N, 0, -1))}), keep=0.6)
    assert found.kept.dtype == np.int64 and set(found.kept) | set(found.removed) == set(range(1, N + 1))


def test_a_row_without_a_vector_is_set_aside_on_request() -> None:
    holes = frame()
    holes.at[3, "vec"] = None
    with pytest.raises(UsageError, match=r"1 of 120 vectors is null .*row 3"):
        tp.run(holes)
    found = tp.run(holes, options=tp.SourceOptions(drop_bad_rows=True), keep=0.6)
    assert len(found) == N - 1 and len(found.row_mask) == N and not found.row_mask[3]
    column = tp.Embeddings.from_numpy(holes["vec"], drop_bad_rows=True)
    assert [one.row for one in column.rejected] == [3]


def test_leaks_are_found_between_sets_in_any_form() -> None:
    same = tp.leaks(frame(), torch().tensor(V[:10]), threshold=0.0)
    assert len(np.unique(same.pairs.i)) == 10
    with pytest.raises(UsageError, match="no split 'test'"):
        tp.leaks(V)


def test_nothing_is_written_without_a_run_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tp.run(V, keep=0.6)
    assert not list(tmp_path.iterdir())


def test_arrays_are_taken_without_loading_the_libraries_of_others() -> None:
    script = (
        "import sys, numpy, tenpercent as tp; tp.run(numpy.eye(9)); "
        "print([name for name in ('torch', 'pandas', 'polars', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_what_holds_no_vectors_is_refused_in_one_line() -> None:
    data, pandas, sets = torch().utils.data, pytest.importorskip("pandas"), dataset()
    pixels = data.TensorDataset(torch().zeros(3, 2, 4, 4))
    images = pa.table({"image": [{"bytes": b"a", "path": "a.png"}] * 3, "v": pa.array([[1.0, 2.0]] * 3)})
    cases: list[tuple[Callable[[], Any], str]] = [
        (lambda: tp.run(pixels), r"TensorDataset hold no vectors \(\(2, 4, 4\)\)"),
        (lambda: tp.run(images), "holds images in column image; name its column of vectors"),
        (lambda: tp.run(wide()), r"column species holds no numbers; .*labels='species'"),
        (lambda: tp.run(wide(), labels="specie", ids="file"), "no column specie, .*did you mean species"),
        (lambda: tp.run(frame(), embeddings="vex"), "did you mean vec"),
        (lambda: tp.run(frame(), labels="label", options=tp.SourceOptions(label_column="id")), "give one"),
        (lambda: tp.run(V, labels="label"), "label_column is 'label', but ndarray has no named columns"),
        (lambda: tp.run(V, embeddings=V), "embeddings given beside vectors"),
        (lambda: tp.run(V, labels=LABELS[:5]), "5 labels for 120 vectors"),
        (lambda: tp.run(frame(), labels=LABELS[:5]), "5 labels for 120 vectors"),
        (lambda: tp.run(tp.Embeddings.from_numpy(V), labels=LABELS), "embeddings, which have their own"),
        (lambda: tp.run(V, holdout=0.1), "leave out --holdout"),
        (lambda: tp.run(V, embedder="pretrained"), "leave out --holdout, --embedder"),
        (lambda: tp.run("digits", labels=[1, 2]), "labels given beside digits"),
        (lambda: tp.run(sys.modules["datasets"].DatasetDict(a=sets, b=sets)), r"several sets \(a, b\)"),
        (lambda: tp.run(sets.to_iterable_dataset()), "IterableDataset"),
        (lambda: tp.run(data.DataLoader(pixels)), "DataLoader"),
        (lambda: tp.run(pandas.DataFrame({"v": [[1.0], [1.0, 2.0]]})), "row 1 of column v has 2 values"),
        (lambda: tp.run(pandas.DataFrame({"v": [[1.0], "a"]})), "DataFrame can't be read as a table"),
        (lambda: tp.run(pandas.DataFrame()), "no column of vectors"),
        (lambda: tp.run(V, cut=tp.Cut(within="class")), "within is 'class', but the images have no labels"),
    ]
    for call, said in cases:
        with pytest.raises(UsageError, match=said) as error:
            call()
        assert "\n" not in str(error.value) and len(str(error.value)) < 400, said


# ---- a number to keep ------------------------------------------------------------------------------------------------


def test_keep_may_be_a_number_of_images(tmp_path: Any) -> None:
    for wanted in (7, 61, N):
        found = tp.run(V, keep=wanted, labels=LABELS)
        assert len(found.kept) == wanted and found.settings["count"] == wanted
        assert len(tp.select_by(V, wanted, strategy="kcenter").kept) == wanted
    assert tp.select(V, keep=np.int64(60)).settings["count"] == 60
    assert "keep 7 is a number of images; 7 percent is 0.07" in tp.run(V, keep=7).notes
    np.save(tmp_path / "v.npy", V)
    assert len(tp.run(tmp_path / "v.npy", out=tmp_path / "r", keep=100).kept) == 100
    assert len(tp.select(tmp_path / "r", keep=31).kept) == 31  # deeper than the stored tree
    assert tp.Selection.load(tmp_path / "r").settings["count"] == 31
