"""Data sets of `torchvision.datasets` that are on disk already."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import SourceError, UsageError, nearest, one_line, require
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
class Kind:
    """Selection of a split of a torchvision data set: the argument, and its value for each split."""

    argument: str = ""
    splits: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


_FLAG = Kind("train", MappingProxyType({"train": True, "test": False}))
_TWO = Kind("split", MappingProxyType({"train": "train", "test": "test"}))
_THREE = Kind("split", MappingProxyType({"train": "train", "val": "val", "test": "test"}))
_VAL = Kind("split", MappingProxyType({"train": "train", "val": "val"}))
_TRAINVAL = Kind("split", MappingProxyType({"train": "trainval", "test": "test"}))
_WHOLE = Kind()

KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "CIFAR10": _FLAG,
        "CIFAR100": _FLAG,
        "CLEVRClassification": _THREE,
        "Caltech101": _WHOLE,
        "Caltech256": _WHOLE,
        "Country211": Kind("split", MappingProxyType({"train": "train", "valid": "valid", "test": "test"})),
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
    known = {each.lower(): each for each in KINDS}
    if name.lower() not in known:
        close = nearest(name.lower(), known) or "; known: " + ", ".join(KINDS)
        raise UsageError(f"torchvision:{name} is not known{_cased(close, known)}")
    name = known[name.lower()]
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


def _cased(text: str, known: dict[str, str]) -> str:
    for lower, name in known.items():
        text = text.replace(f" {lower}?", f" {name}?").replace(f" {lower},", f" {name},")
    return text


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
    for name in ("targets", "labels", "_labels", "y"):
        found = getattr(dataset, name, None)
        if found is not None and len(found) == len(dataset):
            return np.array([-1 if code is None else int(code) for code in found], dtype=np.int64)
    for name in ("samples", "_samples"):
        found = getattr(dataset, name, None)
        if found is not None and len(found) == len(dataset):
            return np.array([-1 if code is None else int(code) for _, code in found], dtype=np.int64)
    codes = np.empty(len(dataset), dtype=np.int64)
    with bar(len(dataset), "Reading labels", "images") as progress:
        for row in range(len(dataset)):
            code = dataset[row][1]
            codes[row] = -1 if code is None else int(code)
            progress.update()
    return codes


def _class_names(dataset: Any) -> tuple[str, ...] | None:
    for name in ("classes", "categories"):
        found = getattr(dataset, name, None)
        if found is not None:
            return tuple(each if isinstance(each, str) else ", ".join(map(str, each)) for each in found)
    return None
