"""`Selection.subset`: the kept images of the data set that was selected from, or an error; never others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import UsageError
from tenpercent.selection.selection import Selection

torch = pytest.importorskip("torch")
vision = pytest.importorskip("torchvision.datasets")
data = torch.utils.data

N = 36
CLASSES = ("ant", "bee", "cat")


def vectors() -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.repeat(rng.normal(size=(N // 2, 5)), 2, axis=0) + rng.normal(scale=0.01, size=(N, 5))


def codes() -> np.ndarray:
    return np.random.default_rng(4).integers(0, 3, N)


def selected(labels: Any = None, **more: Any) -> Selection:
    given = codes() if labels is None else labels
    named = {"class_names": CLASSES} if labels is None else {}
    return tp.select(tp.cluster(Embeddings.from_numpy(vectors(), labels=given, **named, **more)), keep=0.6)


def shuffle() -> np.ndarray:
    return np.random.default_rng(5).permutation(N)


class Rows(data.Dataset):  # type: ignore[misc,name-defined]
    """A data set that gives row numbers and says what it is given."""

    def __init__(self, n: int = N, **said: Any) -> None:
        self.n = n
        self.__dict__.update(said)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int) -> int:
        if not 0 <= row < self.n:
            raise IndexError(row)
        return row


def taken(selection: Selection, dataset: Any) -> list[Any]:
    subset = selection.subset(dataset)
    return [subset[place] for place in range(len(subset))]


def refused(selection: Selection, dataset: Any, said: str = "rows differ") -> None:
    with pytest.raises(UsageError, match=said) as error:
        selection.subset(dataset)
    assert "\n" not in str(error.value)


# ---- length ------------------------------------------------------------------------------------------------------


def test_the_length_of_the_source_travels_with_the_embeddings() -> None:
    selection = selected()
    assert selection.length == N
    assert taken(selection, Rows()) == selection.rows.tolist()
    for n in (N - 1, N + 1, 2 * N):
        refused(selection, Rows(n), rf"has {n} images, the source of this selection {N};")


def photos(folder: Path, hidden: bool = False) -> Path:
    """A folder of three classes, alike in pairs, perhaps with a hidden copy of an image."""
    rng = np.random.default_rng(6)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        for place in range(0, 12, 2):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            for twin in range(2):
                shown = pixels.copy()
                shown[0, 0, 0] = (int(pixels[0, 0, 0]) + twin) % 256
                Image.fromarray(shown).save(folder / name / f"{place + twin:02d}.png")
    if hidden:
        Image.new("RGB", (8, 8)).save(folder / "ant" / "._00.png")
    return folder


def flat(images: Any) -> Any:
    """An embedder that trains nothing: the pixels themselves."""
    return images.reshape(len(images), -1).astype(np.float32) + 1


def run_on(folder: Path, out: Path, **more: Any) -> Selection:
    return tp.select(tp.cluster(tp.embed(folder, out=out, embedder=flat, **more)), keep=0.6)


def test_a_hidden_file_in_an_image_folder_is_an_error(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", hidden=True)
    selection = run_on(folder, tmp_path / "run")
    dataset = vision.ImageFolder(folder)
    assert (len(dataset), selection.length) == (37, 36)
    refused(selection, dataset, "has 37 images, the source of this selection 36")
    (folder / "ant" / "11.png").unlink()  # as many again, yet others
    refused(
        selection, vision.ImageFolder(folder), r"row 0 is .*/ant/\._00\.png in the dataset and ant/00\.png"
    )
    (folder / "ant" / "._00.png").unlink()
    refused(selection, vision.ImageFolder(folder), "has 35 images")


def test_a_hidden_folder_that_is_a_class_elsewhere_is_an_error(tmp_path: Path) -> None:
    # like pytorch/vision#109 and open-mmlab/mmpretrain#507: every code moves up by one
    folder = photos(tmp_path / "photos")
    selection = run_on(folder, tmp_path / "run")
    (folder / ".ipynb_checkpoints").mkdir()
    (folder / "cat" / "11.png").rename(folder / ".ipynb_checkpoints" / "11-checkpoint.png")
    dataset = vision.ImageFolder(folder)
    assert dataset.classes == [".ipynb_checkpoints", *CLASSES] and len(dataset) == 36
    refused(
        selection,
        dataset,
        r"row 0 is .*/\.ipynb_checkpoints/11-checkpoint\.png in the dataset and ant/00\.png",
    )
    without_files = Rows(targets=dataset.targets, classes=dataset.classes)
    refused(selection, without_files, r"row 0 .*label '\.ipynb_checkpoints' in the dataset and 'ant'")


def test_the_right_folder_gives_the_right_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = photos(tmp_path / "photos")
    selection = run_on(folder, tmp_path / "run")
    subset = selection.subset(vision.ImageFolder(folder))
    files = [Path(subset.dataset.samples[row][0]).relative_to(folder).as_posix() for row in subset.indices]
    assert files == sorted(selection.kept.tolist())
    assert "only its length" not in caplog.text


def test_unreadable_and_held_out_images_count_as_rows(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "cat" / "11.png").write_bytes(b"not an image")  # the last: rows alone would not tell
    selection = run_on(folder, tmp_path / "run", holdout=0.25)
    dataset = vision.ImageFolder(folder)
    assert selection.length == len(dataset) == 36 and len(selection) < 30
    assert selection.row_mask.sum() == len(selection.kept) and len(selection.row_mask) == 36
    assert not selection.row_mask[35] and selection.labels_[35] == -1
    assert len(selection.subset(dataset)) == len(selection.kept)
    refused(selection, data.Subset(dataset, range(35)), "35 images")
    tp.cluster(tmp_path / "run")
    stored = tp.select(tmp_path / "run", keep=0.6)
    assert np.array_equal(stored.row_mask, Selection.load(tmp_path / "run/selection.parquet").row_mask)


# ---- the order: labels and files, wherever they are said ----------------------------------------------------------


def tensors(order: Any = slice(None), **kind: Any) -> Any:
    return data.TensorDataset(torch.arange(N).reshape(N, 1).float(), torch.as_tensor(codes()[order], **kind))


def halves(rows: Any) -> Any:
    """Both halves of the rows one after the other."""
    return data.ConcatDataset([data.Subset(one(), rows[cut]) for cut in (slice(0, 10), slice(10, N))])


def one(order: Any = slice(None)) -> Rows:
    return Rows(targets=codes()[order].tolist(), classes=list(CLASSES))


@pytest.mark.parametrize(
    "made",
    [
        one,
        lambda order=slice(None): data.Subset(one(), np.arange(N)[order].tolist()),
        lambda order=slice(None): data.Subset(data.Subset(one(), shuffle()), np.argsort(shuffle())[order]),
        lambda order=slice(None): halves(np.arange(N)[order]),
        lambda order=slice(None): data.ConcatDataset([data.Subset(one(), np.arange(N)[order])]),
        tensors,
        lambda order=slice(None): tensors(order, dtype=torch.uint8),
        lambda order=slice(None): tensors(order, dtype=torch.float32),
        lambda order=slice(None): data.StackDataset(Rows(), one(order)),
        lambda order=slice(None): Rows(labels=codes()[order]),
        lambda order=slice(None): Rows(targets=torch.as_tensor(codes()[order])),
        lambda order=slice(None): Rows(samples=[("", int(c)) for c in codes()[order]], classes=CLASSES),
        lambda order=slice(None): Rows(targets=[CLASSES[code] for code in codes()[order]]),
        lambda order=slice(None): Rows(_labels=codes()[order].tolist(), classes=[*CLASSES, "dog"]),
        lambda order=slice(None): Rows(targets=codes()[order] + 1, classes=["aardvark", *CLASSES]),
        lambda order=slice(None): Rows(targets=2 - codes()[order], classes=CLASSES[::-1]),
        lambda order=slice(None): Rows(targets=codes()[order], classes=["tench", "shark", "ray"]),
        lambda order=slice(None): Rows(targets=codes()[order], classes=["ant", "bee", "feline"]),
    ],
)
def test_the_right_order_passes_and_another_is_refused(made: Any) -> None:
    selection = selected()
    assert len(selection.subset(made())) == len(selection.kept)
    refused(selection, made(shuffle()))
    swapped = np.arange(N)
    differ = np.flatnonzero(codes() != codes()[0])[0]
    swapped[[0, differ]] = swapped[[differ, 0]]
    refused(selection, made(swapped), "2 rows differ")


def test_names_that_are_another_order_of_classes_are_refused() -> None:
    refused(selected(), Rows(targets=codes(), classes=["cat", "bee", "ant"]))
    refused(selected(), Rows(targets=codes(), classes=["aardvark", *CLASSES]))


def test_codes_without_names_are_compared_as_numbers() -> None:
    sparse = codes() * 7 + 300_000
    selection = selected(sparse)
    assert len(selection.subset(Rows(targets=sparse))) == len(selection.kept)
    assert len(selection.subset(Rows(targets=codes()))) == len(selection.kept)
    refused(selection, Rows(targets=sparse[shuffle()]))
    one_up = selected(codes() + 1)  # classes 1, 2, 3 beside a data set whose names have a background first
    assert len(one_up.subset(Rows(targets=codes() + 1, classes=["nothing", *CLASSES]))) == len(one_up.kept)


def test_rows_without_a_label_are_not_compared() -> None:
    labels = np.where(np.arange(N) % 5 == 0, -1, codes())
    selection = selected(labels)
    assert len(selection.subset(Rows(targets=codes()))) == len(selection.kept)
    other = codes()
    other[1] = (other[1] + 1) % 3
    refused(selection, Rows(targets=other), r"row 1 .*1 rows differ")
    refused(selection, Rows(targets=np.where(np.arange(N) == 1, -1, codes())), "label none in the dataset")


def test_one_of_several_columns_of_labels_is_enough() -> None:
    selection = selected()
    index = torch.arange(N)
    three = data.TensorDataset(torch.zeros(N, 2), torch.as_tensor(codes()), index)
    assert len(selection.subset(three)) == len(selection.kept)
    refused(selection, data.TensorDataset(torch.zeros(N, 2), torch.as_tensor(codes()[shuffle()]), index))


class Delegating(data.Subset):  # type: ignore[misc,name-defined]
    """A subset that passes every other name on to what it is a subset of."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)


class Restating(data.Subset):  # type: ignore[misc,name-defined]
    """A subset that says the labels of the whole."""

    @property
    def targets(self) -> Any:
        return self.dataset.targets


@pytest.mark.parametrize("kind", [Delegating, Restating])
def test_a_subset_that_repeats_what_the_whole_says_is_no_way_around(kind: Any) -> None:
    # like pytorch/pytorch#149272 and ufoym/imbalanced-dataset-sampler#36: labels of the whole, rows of the part
    selection = selected()
    assert len(selection.subset(kind(one(), range(N)))) == len(selection.kept)
    refused(selection, kind(one(), shuffle().tolist()))


def test_image_folders_within_others_are_compared_by_file(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    selection = run_on(folder, tmp_path / "run")
    dataset = vision.ImageFolder(folder)
    within = np.arange(N)
    within[[0, 1]] = [1, 0]  # of one class: labels alone would not tell
    refused(
        selection,
        data.Subset(dataset, within),
        r"row 0 is .*ant/01\.png in the dataset and ant/00\.png.*2 rows",
    )
    refused(
        selection, data.ConcatDataset([data.Subset(dataset, range(18, 36)), data.Subset(dataset, range(18))])
    )
    parts = data.random_split(dataset, [20, 16], generator=torch.Generator().manual_seed(0))
    refused(selection, data.ConcatDataset(parts))
    right = data.ConcatDataset([data.Subset(dataset, range(20)), data.Subset(dataset, range(20, 36))])
    assert len(selection.subset(right)) == len(selection.kept)


def test_a_split_of_a_folder_is_known_from_within_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos" / "train")
    photos(tmp_path / "photos" / "test")
    selection = run_on(tmp_path / "photos", tmp_path / "run")
    assert len(selection.subset(vision.ImageFolder(tmp_path / "photos/train"))) == len(selection.kept)
    refused(
        selection,
        vision.ImageFolder(tmp_path / "photos/test"),
        "test/ant/00.png in the dataset and train/ant",
    )
    monkeypatch.chdir(tmp_path / "photos/train")
    assert len(selection.subset(vision.ImageFolder("."))) == len(selection.kept)


def test_ids_that_are_files_are_compared_as_files() -> None:
    names = [f"{row % 4}/{row:02d}.jpg" for row in range(N)]
    selection = selected(ids=names)
    pairs = [(f"/data/{name}", int(code)) for name, code in zip(names, codes(), strict=True)]
    assert len(selection.subset(Rows(samples=pairs))) == len(selection.kept)
    other = [(file, int(code)) for (file, _), code in zip([*pairs[1:], pairs[0]], codes(), strict=True)]
    refused(selection, Rows(samples=other), r"row 0 is /data/1/01\.jpg in the dataset and 0/00\.jpg")
    plain = selected()  # row numbers are no files
    assert len(plain.subset(Rows(samples=pairs))) == len(plain.kept)


# ---- Hugging Face ------------------------------------------------------------------------------------------------


def table(order: Any = slice(None), names: tuple[str, ...] | None = CLASSES, **more: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    features = {"row": datasets.Value("int64"), "label": datasets.Value("int64")}
    if names is not None:
        features["label"] = datasets.ClassLabel(names=list(names))
    columns = {"row": np.arange(N)[order].tolist(), "label": codes()[order].tolist(), **more}
    features |= {name: datasets.Value("int64") for name in more}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


@pytest.mark.parametrize("names", [CLASSES, None])
def test_a_table_of_datasets_is_compared_by_its_labels(names: Any) -> None:
    selection = selected()
    assert [row["row"] for row in taken(selection, table(names=names))] == selection.rows.tolist()
    refused(selection, table(shuffle(), names=names))
    refused(selection, table(names=names).shuffle(seed=0))
    refused(selection, table(names=names).select(shuffle()))
    refused(
        selection,
        data.ConcatDataset([table(names=names).select(range(9, N)), table(names=names).select(range(9))]),
    )


def test_a_table_of_datasets_with_one_class_more_or_another_order_of_names() -> None:
    selection = selected()
    assert len(selection.subset(table(names=(*CLASSES, "dog")))) == len(selection.kept)
    renamed = table(names=CLASSES[::-1])
    refused(selection, renamed)
    one_of_two = table(fine_label=[0] * N)
    assert len(selection.subset(one_of_two)) == len(selection.kept)


def test_a_table_of_datasets_is_compared_by_the_paths_of_its_images(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = photos(tmp_path / "photos")
    selection = run_on(folder, tmp_path / "run")
    files = sorted(str(path) for path in folder.rglob("*.png"))
    made = datasets.Dataset.from_dict({"image": files}).cast_column("image", datasets.Image())
    assert len(selection.subset(made)) == len(selection.kept)
    refused(
        selection,
        made.select([1, 0, *range(2, N)]),
        "row 0 is .*ant/01.png in the dataset and ant/00.png",
    )
    with_bytes = datasets.Dataset.from_dict(
        {"image": [{"bytes": Path(file).read_bytes(), "path": Path(file).name} for file in files]},
        features=datasets.Features({"image": datasets.Image()}),
    )
    assert len(selection.subset(with_bytes)) == len(selection.kept)
    refused(selection, with_bytes.select([1, 0, *range(2, N)]), "row 0 is 01.png in the dataset")


# ---- what can't be ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dataset",
    [
        Rows(),
        Rows(targets=np.zeros((N, 4))),  # several labels an image
        Rows(targets=[{"boxes": []}] * N),
        Rows(targets=np.linspace(0, 1, N)),
        Rows(targets=[0, 1]),
        Rows(dataset=one(), classes=["x"]),  # a wrapper that may do anything
        data.ConcatDataset([data.Subset(one(), range(5)), Rows(N - 5)]),
        list(range(N)),
    ],
)
def test_it_is_said_where_nothing_could_be_compared(dataset: Any, caplog: pytest.LogCaptureFixture) -> None:
    selection = selected()
    with caplog.at_level(logging.WARNING, "tenpercent"):
        assert len(selection.subset(dataset)) == len(selection.kept)
    assert "only its length was checked" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "tenpercent"):
        selection.subset(one())
        tp.select(tp.cluster(Embeddings.from_numpy(vectors())), keep=0.6)
    assert not caplog.text
    unlabelled = tp.select(tp.cluster(Embeddings.from_numpy(vectors())), keep=0.6)
    unlabelled.subset(one())
    assert "only its length was checked" in caplog.text


def test_what_is_no_data_set_is_refused_in_one_line() -> None:
    pandas = pytest.importorskip("pandas")
    selection = selected()

    class Stream(data.IterableDataset):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Any:
            return iter(range(N))

    refused(selection, pandas.DataFrame({"a": range(N)}), r"selection\.apply\(frame\)")
    refused(selection, {"train": one(), "test": one()}, "one data set, not a dict of train, test")
    refused(selection, data.DataLoader(one(), batch_size=1), r"loader\.dataset")
    refused(selection, Stream(), "with a length, not Stream")
    refused(selection, None, "not NoneType")
