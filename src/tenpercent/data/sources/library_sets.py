"""Data sets that come with other libraries: the digits of scikit-learn, and `torchvision.datasets` on disk."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import SourceError, UsageError, one_line, require
from ...progress import bar
from ..decoding.decode import Unreadable, as_rgb
from ..store.embeddings import row_ids
from ..store.labels import Labels, number_labels
from .classes import told_apart
from .columns_0_1 import check_codes
from .options import Decoding
from .source import ImageSource, Raw
from .splits import choose_split


@dataclass(frozen=True)
class SplitArgument:
    """Selection of a split of a torchvision data set: the argument, and its value for each split."""

    argument: str = ""
    splits: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


_FLAG = SplitArgument("train", MappingProxyType({"train": True, "test": False}))
_TWO = SplitArgument("split", MappingProxyType({"train": "train", "test": "test"}))
_THREE = SplitArgument("split", MappingProxyType({"train": "train", "val": "val", "test": "test"}))
_VAL = SplitArgument("split", MappingProxyType({"train": "train", "val": "val"}))
_TRAINVAL = SplitArgument("split", MappingProxyType({"train": "trainval", "test": "test"}))
_WHOLE = SplitArgument()

KINDS: Mapping[str, SplitArgument] = MappingProxyType(
    {
        "CIFAR10": _FLAG,
        "CIFAR100": _FLAG,
        "CLEVRClassification": _THREE,
        "Caltech101": _WHOLE,
        "Caltech256": _WHOLE,
        "Country211": SplitArgument(
            "split", MappingProxyType({"train": "train", "valid": "valid", "test": "test"})
        ),
        "DTD": _THREE,
        "EuroSAT": _WHOLE,
        "FER2013": _TWO,
        "FGVCAircraft": _TRAINVAL,
        "FashionMNIST": _FLAG,
        "Flowers102": _THREE,
        "Food101": _TWO,
        "GTSRB": _TWO,
        "ImageNet": _VAL,
        "Imagenette": _VAL,
        "KMNIST": _FLAG,
        "MNIST": _FLAG,
        "OxfordIIITPet": _TRAINVAL,
        "PCAM": _THREE,
        "RenderedSST2": _THREE,
        "SEMEION": _WHOLE,
        "STL10": _TWO,
        "SUN397": _WHOLE,
        "SVHN": _TWO,
        "StanfordCars": _TWO,
        "USPS": _FLAG,
    }
)


def open_torchvision(
    name: str,
    data_dir: Path | None,
    split: str | None,
    decoding: Decoding = Decoding(),  # noqa: B008 – frozen
) -> ImageSource:
    """Open an image classification data set of torchvision; nothing is downloaded.

    Args:
        name: its class in `torchvision.datasets`, in any case.
        data_dir: the `root` passed to torchvision.
        split: None for train.
        decoding: the rules for reading labels, and for converting images that the data set decodes itself to RGB.

    Raises:
        UsageError: an unknown name, or no `data_dir`.
        SourceError: the data is missing, or there is no such split.
    """
    found = next((each for each in KINDS if each.lower() == name.lower()), None)
    if found is None:
        known = {each.lower(): each for each in KINDS}
        close = [known[each] for each in get_close_matches(name.lower(), known, n=3, cutoff=0.5)]
        meant = f"did you mean {', '.join(close)}?" if close else f"known: {', '.join(KINDS)}"
        raise UsageError(f"torchvision:{name} is not one of the data sets that can be read; {meant}")
    name = found
    if data_dir is None:
        raise UsageError(f"torchvision:{name} needs the folder its data lies in; name it with --data-dir")
    kind = KINDS[name]
    chosen = choose_split(split, tuple(kind.splits), f"torchvision:{name}") if kind.splits or split else ""
    root = data_dir.expanduser().resolve()
    dataset = _construct(name, root, {kind.argument: kind.splits[chosen]} if chosen else {})
    names = _class_names(dataset)
    if names is not None and decoding.rules != 1:
        names = told_apart(names)
    labels = _coded(_labels(dataset), names, f"torchvision:{name}", decoding.rules)

    def read(row: int) -> Raw:
        try:
            image = dataset[row][0]
            return image if isinstance(image, bytes) else as_rgb(image, decoding)
        except (OSError, Unreadable, MemoryError):
            raise
        except Exception as error:  # sets that decode by themselves raise nearly anything
            raise Unreadable(f"broken or truncated: {one_line(error)}") from error

    return ImageSource(
        spec=f"torchvision:{name}",
        ids=tuple(row_ids(len(dataset)).tolist()),
        paths=(None,) * len(dataset),
        labels=labels.codes,
        class_names=labels.class_names,
        read=read,
        split=chosen,
        splits=tuple(kind.splits),
        taken={"none": labels.remark} if labels.remark else {},
    )


def _coded(
    codes: npt.NDArray[np.int64], class_names: tuple[str, ...] | None, what: str, rules: int
) -> Labels:
    if rules == 1:
        return check_codes(codes, class_names, what)
    try:
        return number_labels(codes, np.zeros(len(codes), dtype=bool), class_names)
    except UsageError as error:
        raise SourceError(f"{what}: {error}") from None


def _construct(name: str, root: Path, split: dict[str, object]) -> Any:
    """Create the data set, with a loader that returns a file's bytes where it takes one."""
    made: Callable[..., Any] = getattr(require("torchvision.datasets", "images"), name)
    takes = inspect.signature(made).parameters
    arguments: dict[str, object] = dict(split)
    if "loader" in takes or name == "ImageNet":
        arguments["loader"] = _bytes_of_file
    if "download" in takes:
        arguments["download"] = False
    try:
        return made(str(root), **arguments)
    except Exception as error:  # missing data is a RuntimeError; damaged files raise nearly anything
        reason = one_line(error).partition(". ")[0]
        call = f"get it with: torchvision.datasets.{name}({str(root)!r}, download=True)"
        remedy = call if "download" in takes else "see torchvision's documentation for where to get it"
        raise SourceError(
            f"torchvision:{name} is not in {root} ({reason}); name its folder with --data-dir, or {remedy}"
        ) from error


def _bytes_of_file(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _labels(dataset: Any) -> npt.NDArray[np.int64]:
    """Return the labels without decoding images, where the data set lists them."""
    for name in ("targets", "labels", "_labels", "y", "samples", "_samples"):
        found = getattr(dataset, name, None)
        if found is not None and len(found) == len(dataset):
            return _codes(each[1] if name.endswith("samples") else each for each in found)
    with bar(len(dataset), "Reading labels", "images") as progress:
        codes = []
        for row in range(len(dataset)):
            codes.append(dataset[row][1])
            progress.update()
    return _codes(codes)


def _codes(labels: Iterable[Any]) -> npt.NDArray[np.int64]:
    return np.array([-1 if label is None else int(label) for label in labels], dtype=np.int64)


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    for name in ("classes", "categories"):
        found = getattr(dataset, name, None)
        if found is not None:
            return tuple(each if isinstance(each, str) else ", ".join(map(str, each)) for each in found)
    return None


# ---- the 1,797 handwritten digits of 8×8 pixels that come with scikit-learn ----------------------------------------

N_TRAIN = 1437  # the first rows are the training set, the other 360 the test set


def open_digits(split: str | None) -> ImageSource:
    """Open a split of the digits; ids are row numbers in the whole set, so no id is in both splits.

    The 17 levels of grey (0 to 16) are spread over 0 to 255.
    """
    loaded = require("sklearn.datasets", "images").load_digits()
    images = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    images.setflags(write=False)
    chosen = choose_split(split, ("train", "test"), "digits")
    rows = slice(0, N_TRAIN) if chosen == "train" else slice(N_TRAIN, None)
    ids = tuple(row_ids(len(images))[rows].tolist())
    part = images[rows]

    def read(row: int) -> Raw:
        pixels: Raw = part[row]
        return pixels

    return ImageSource(
        spec="digits",
        ids=ids,
        paths=(None,) * len(ids),
        labels=loaded.target[rows].astype(np.int64),
        class_names=tuple(str(name) for name in loaded.target_names),
        read=read,
        split=chosen,
        splits=("train", "test"),
    )
