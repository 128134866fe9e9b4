"""A folder of image files: a subfolder a class, or flat and unlabelled."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import SourceError
from .columns import refuse_case_twins
from .decode import extensions
from .source import ImageSource, Raw
from .splits import choose_split

SPLITS = (
    "train",
    "val",
    "validation",
    "test",
)  # names of top folders that are splits where `train` is among them


@dataclass
class Listing:
    """What lies under a folder.

    Attributes:
        root: the folder, absolute, links resolved.
        images, parquets: posix paths relative to it.
        skipped: what was passed over, with counts.
    """

    root: Path
    images: list[str] = field(default_factory=list)
    parquets: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def list_folder(root: Path) -> Listing:
    """Find the images and Parquet files under `root`.

    Links are followed where they lead to something inside `root`, and not where they lead out of it or in a circle.

    Raises:
        SourceError: the folder or one below it can't be read.
    """
    listing = Listing(root.resolve())
    _walk(listing, "", (os.path.realpath(listing.root),))
    return listing


def _walk(listing: Listing, folder: str, above: tuple[str, ...]) -> None:
    """Add what lies in `folder` (relative, "" for the root); `above` are the real paths from the root down to it."""
    try:
        with os.scandir(listing.root / folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        where = listing.root / folder
        raise SourceError(
            f"{where} can't be read ({error.strerror}); allow reading it or leave it out"
        ) from None
    folders: list[tuple[str, str]] = []
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if entry.name.startswith("."):
            listing.skipped["hidden"] += 1
        elif not entry.is_symlink():
            _sort_in(listing, path, entry.is_dir(follow_symlinks=False), entry.is_file(follow_symlinks=False))
            if entry.is_dir(follow_symlinks=False):
                folders.append((path, f"{above[-1]}{os.sep}{entry.name}"))
        else:
            target = os.path.realpath(entry.path)
            if not _inside(target, above[0]):
                listing.skipped["links out of the folder"] += 1
            elif target in above:
                listing.skipped["links in a circle"] += 1
            elif (kind := _kind(target)) is None:
                listing.skipped["broken links"] += 1
            else:
                _sort_in(listing, path, stat.S_ISDIR(kind), stat.S_ISREG(kind))
                if stat.S_ISDIR(kind):
                    folders.append((path, target))
    for path, real in folders:
        _walk(listing, path, (*above, real))


def _sort_in(listing: Listing, path: str, is_folder: bool, is_file: bool) -> None:
    ending = os.path.splitext(path)[1].lower()  # noqa: PTH122  a plain string: this runs a million times
    if is_folder:
        return
    if is_file and ending in extensions():
        listing.images.append(path)
    elif is_file and ending in (".parquet", ".pq"):
        listing.parquets.append(path)
    else:
        listing.skipped["not images"] += 1


def _inside(target: str, root: str) -> bool:
    return target == root or target.startswith(root.rstrip(os.sep) + os.sep)


def _kind(path: str) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return None


def open_folder(listing: Listing, split: str | None) -> ImageSource:
    """Open the images of a listing.

    The class of an image is its folder below the source (below the split, where there are splits); images beside
    class folders have no label. Rows go by class, then by file name: for plain class folders the order of
    torchvision's `ImageFolder`.

    Raises:
        SourceError: no images, no such split, or class names that differ by case only.
    """
    root, skipped = listing.root, Counter(listing.skipped)
    if listing.parquets:
        skipped["Parquet files"] += len(listing.parquets)
    images = listing.images
    tops = {path.partition("/")[0] for path in images if "/" in path}
    splits = tuple(name for name in SPLITS if name in tops) if "train" in tops or split is not None else ()
    chosen = ""
    if split is None and splits == ("train",) and len(tops) > 1:
        other = min(tops - {"train"})
        raise SourceError(
            f"{root} has a folder train beside {other}: a split or a class? Say --split train, or rename that folder"
        )
    if splits or split is not None:
        chosen = choose_split(split, splits, str(root))
        of_a_split = sum(path.partition("/")[0] in splits and "/" in path for path in images)
        if of_a_split < len(images):
            skipped["images outside the splits"] += len(images) - of_a_split
        images = [path for path in images if path.startswith(chosen + "/")]
    if not images:
        raise SourceError(
            f"{root} holds no images{passed_over(skipped)}; give a folder with image files in it"
        )
    start = len(chosen) + 1 if chosen else 0
    keyed = sorted((path[start:].rpartition("/")[0], path.rpartition("/")[2], path) for path in images)
    names = sorted({folder for folder, _, _ in keyed if folder})
    refuse_case_twins(names, str(root))
    codes = {name: code for code, name in enumerate(names)} | {"": -1}
    files = [path for _, _, path in keyed]
    ids = tuple(_printable(path) for path in files)
    if len(set(ids)) < len(ids):
        raise SourceError(
            f"{root} holds two files whose names look the same once written in UTF-8; rename one"
        )

    def read(row: int) -> Raw:
        return (root / files[row]).read_bytes()

    return ImageSource(
        spec=str(root),
        ids=ids,
        paths=ids,
        labels=np.array([codes[folder] for folder, _, _ in keyed], dtype=np.int64) if names else None,
        class_names=tuple(_printable(name) for name in names),
        read=read,
        split=chosen,
        skipped=dict(skipped),
        splits=splits,
    )


def passed_over(skipped: Counter[str]) -> str:
    """Return ``" (passed over: 2 hidden, 1 not images)"``, or nothing."""
    counts: Iterable[str] = (f"{count} {what}" for what, count in sorted(skipped.items()))
    return f" (passed over: {', '.join(counts)})" if skipped else ""


def _printable(path: str) -> str:
    """Return a path as proper UTF-8: bytes that are not become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
