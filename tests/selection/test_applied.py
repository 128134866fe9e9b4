"""A selection applied to what the caller has: the same kind of object without the rows that went."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.errors import MissingExtraError, UsageError

N = 40
rng = np.random.default_rng(3)
V = np.repeat(rng.normal(size=(N // 2, 5)), 2, axis=0) + rng.normal(scale=0.01, size=(N, 5))
V[11] = 0
LABELS = [row % 3 for row in range(N)]
SELECTION = tp.run(
    V, keep=0.7, ids=range(N, 0, -1), labels=LABELS, options=tp.SourceOptions(drop_bad_rows=True)
)
ROWS = SELECTION.rows.tolist()


class Coordinates:
    """Something with rows that can't be taken one by one, as a `coo_matrix` of SciPy."""

    shape = (N, 2)

    def __getitem__(self, rows: Any) -> Any:
        raise TypeError("not subscriptable")


def test_the_kind_stays_and_the_rows_are_those_kept() -> None:
    pandas, torch = pytest.importorskip("pandas"), pytest.importorskip("torch")
    sparse = pytest.importorskip("scipy.sparse")
    datasets = pytest.importorskip("datasets")
    numbers = np.arange(N)
    frame = pandas.DataFrame({"n": numbers}, index=[f"i{n}" for n in numbers])
    kept = SELECTION.apply(frame)
    assert kept["n"].tolist() == ROWS and kept.index.tolist() == [f"i{n}" for n in ROWS]
    assert 11 not in ROWS  # it had no vector, so nothing stands for it
    cases: list[tuple[Any, Any]] = [
        (frame["n"], lambda found: found.tolist()),
        (numbers, lambda found: found.tolist()),
        (numbers.tolist(), list),
        (tuple(numbers.tolist()), list),
        (torch.tensor(numbers), lambda found: found.tolist()),
        (pa.table({"n": numbers}), lambda found: found["n"].to_pylist()),
        (pa.array(numbers), lambda found: found.to_pylist()),
        (sparse.csr_matrix(numbers[:, None]), lambda found: found.toarray()[:, 0].tolist()),
        (datasets.Dataset.from_dict({"n": numbers}), lambda found: list(found["n"])),
    ]
    for data, listed in cases:
        found = SELECTION.apply(data)
        assert type(found) is type(data) and listed(found) == ROWS
    assert SELECTION.apply(range(N)) == SELECTION.apply(deque(range(N))) == ROWS


def test_frames_of_polars_stay_such() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"n": range(N)})
    assert SELECTION.apply(frame)["n"].to_list() == ROWS
    assert SELECTION.apply(frame["n"]).to_list() == ROWS
    assert SELECTION.to_polars().columns == SELECTION.table.column_names


def test_a_torch_data_set_becomes_a_subset_with_targets_and_classes(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch.utils.data")
    pytest.importorskip("torchvision")
    from torchvision.datasets import ImageFolder

    for row in range(6):
        place = tmp_path / "photos" / ("ant", "bee")[row % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), 40 * row, np.uint8)).save(place / f"{row}.png")
    folder = ImageFolder(tmp_path / "photos")
    names = [f"{place.split('/')[-2]}/{place.split('/')[-1]}" for place, _ in folder.samples]
    selection = tp.run(V[:6], ids=names, labels=[folder.classes[code] for code in folder.targets], keep=4)
    subset = selection.apply(folder)
    assert isinstance(subset, sys.modules["torch.utils.data"].Subset) and len(subset) == 4
    assert subset.targets == [folder.targets[row] for row in selection.rows]
    assert subset.targets == [label for _, label in subset] and subset.classes == ["ant", "bee"]
    inner = tp.run(V[:4], keep=2).apply(subset)  # a selection of what was selected
    assert len(inner.targets) == 2 and inner.classes == ["ant", "bee"]
    with pytest.raises(UsageError, match=r"in the dataset and .* in the selection"):
        selection.apply(torch.Subset(folder, [1, 0, 2, 3, 4, 5]))


def test_a_data_set_of_other_images_is_refused() -> None:
    datasets = pytest.importorskip("datasets")
    assert len(SELECTION.apply(datasets.Dataset.from_dict({"label": LABELS}))) == len(ROWS)
    with pytest.raises(UsageError, match="rows differ"):
        SELECTION.apply(datasets.Dataset.from_dict({"label": LABELS[::-1]}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (list(range(N - 1)), f"39 images, the source of this selection {N}"),
        (np.zeros((N + 1, 2)), "41 images"),
        ({"train": [1], "test": [2]}, r"several sets \(train, test\)"),
        ("photos/", "not to str"),
        (3, "not to int"),
        (None, "not to NoneType"),
        (np.float64(3), "not to float64"),
        (iter([1]), "not to list_iterator"),
        (np.array(3), "not to ndarray"),
        (dict.fromkeys(range(N)).items(), "not to dict_items"),
        (Coordinates(), "not to Coordinates"),
    ],
)
def test_what_has_no_row_an_image_is_refused_in_one_line(data: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        SELECTION.apply(data)
    assert "\n" not in str(error.value)


def test_the_table_in_the_order_of_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas")
    table, frame = SELECTION.to_arrow(), SELECTION.to_pandas()
    assert table["row"].to_pylist() == [row for row in range(N) if row != 11] == frame["row"].tolist()
    assert frame.loc[frame["kept"], "row"].tolist() == ROWS
    assert frame["id"].tolist() == [N - row for row in frame["row"]]  # numbers, as they were given
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingExtraError, match=r"install it with: pip install polars$"):
        SELECTION.to_polars()
