"""Folders of image files: a subfolder per class, or flat and unlabelled."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from ...errors import SourceError
from .annotations import ENDINGS, TEXT_FOLDERS, Annotations, find_annotations, near, read_annotations
from .classes import refuse_case_twins
from .folder_layout import FolderLayout, read_layout
from .listing import NO_IMAGES, Listing, no_images
from .options import NO_COLUMN, SourceOptions
from .remote.place import Place, RemotePath
from .source import ImageSource, Raw
from .splits import choose_split

Ints = npt.NDArray[np.int64]

_OLD_SPLITS = ("train", "val", "validation", "test")  # by rules 1, where `train` is among them


def open_folder(listing: Listing, options: SourceOptions) -> ImageSource:
    """Open the images of a listing.

    The class of an image is its folder below the source, without levels that are splits or that all classes share
    (`read_layout`); images beside class folders have no label. Without class folders, a text file that names the
    images may hold their labels (`annotations.py`). Rows are sorted by class folder, then by file name: for plain class
    folders the order of torchvision's `ImageFolder`.

    Raises:
        SourceError: no images, no such split, or class names that a case-insensitive file system would treat as equal.
    """
    root, skipped = listing.root, Counter(listing.skipped)
    if listing.parquets:
        skipped["Parquet files"] += len(listing.parquets)
    if not listing.images:
        raise no_images(root, skipped)
    layout, files, classes = arranged(listing, listing.images, options)
    if outside := sum(path.rpartition("/")[0] in layout.outside for path in listing.images):
        skipped["images outside the splits"] += outside
    if not files:
        raise no_images(root, skipped)
    said = Annotations()
    if options.label_column == NO_COLUMN:
        classes = [""] * len(files)
    elif listing.rules != 1 and (options.labels or options.label_column or not any(classes)):
        said = _annotations(listing, files, options)
        classes = [(said.classes or {}).get(path, "") for path in files]
    if said.classes and any((root / path) == said.file for path in listing.texts):
        skipped -= Counter({NO_IMAGES: 1})
    names, labels = coded(listing, classes)
    ids = tuple(printable(path) for path in files)
    if len(set(ids)) < len(ids):
        raise SourceError(
            f"{root} holds two files whose names look the same once written in UTF-8; rename one"
        )

    remote = root if isinstance(root, RemotePath) else None

    def read(row: int) -> Raw:
        return (root / files[row]).read_bytes()

    return ImageSource(
        spec=str(root),
        ids=ids,
        paths=ids,
        labels=labels,
        class_names=names,
        read=read if remote is None else remote.ahead(files),
        split=layout.split,
        skipped=dict(skipped),
        splits=layout.splits,
        taken=_taken(listing, layout, names, said),
        folder=None if isinstance(root, RemotePath) else root,
        stamps=None if remote is None else remote.stamps(files),
    )


def arranged(
    listing: Listing, paths: Sequence[str], options: SourceOptions
) -> tuple[FolderLayout, list[str], list[str]]:
    """Return the layout of a folder, and the files that are taken with the class of each, "" for none, in their order.

    Args:
        listing: the folder.
        paths: the files of one kind in it.
        options: those for the folder.
    """
    read_folders = _old_layout if listing.rules == 1 else read_layout
    folders = {path.rpartition("/")[0] for path in paths}
    layout = read_folders(folders, options.split, str(listing.root))
    class_of = layout.class_of
    keyed = sorted(
        (class_of[folder], name, path)
        for path in paths
        for folder, _, name in (path.rpartition("/"),)
        if folder in class_of
    )
    return layout, [path for _, _, path in keyed], [kind for kind, _, _ in keyed]


def coded(listing: Listing, classes: Sequence[str]) -> tuple[tuple[str, ...], Ints | None]:
    """Return the names of the classes, and the code of each file, int64[n], −1 for none; None without classes.

    Raises:
        SourceError: names that a case-insensitive file system would treat as equal.
    """
    names = sorted(set(classes) - {""})
    remedy = "rename one of the two folders, or move their images into one"
    refuse_case_twins(names, str(listing.root), remedy, forms=listing.rules != 1)
    codes = {name: code for code, name in enumerate(names)} | {"": -1}
    labels = np.array([codes[name] for name in classes], dtype=np.int64) if names else None
    return tuple(printable(name) for name in names), labels


def _annotations(listing: Listing, files: list[str], options: SourceOptions) -> Annotations:
    """Return the labels from a text file: the requested one, else one beside or above the images.

    Raises:
        SourceError: the requested file or column gives no labels.
    """
    if options.labels is not None:
        return read_annotations(options.labels.expanduser(), files, options.label_column)
    folders = {name for path in listing.images for name in path.split("/")[:-1]}
    found = find_annotations(_texts_near(listing, files), files, folders, options.label_column)
    if options.label_column is not None and found.classes is None:
        why = found.remark or f"no file with such a column lies beside the images of {listing.root}"
        raise SourceError(
            f"--label-column {options.label_column}: {why}; leave it out, or give --labels FILE"
        )
    return found


def _texts_near(listing: Listing, files: list[str]) -> list[Place]:
    """Return the text files near the images in a listing, and beside it where it holds them directly; nearest first."""
    found: list[Place] = [listing.root / text for text in near(listing.texts, files)]
    shared = posixpath.commonpath([posixpath.dirname(path) for path in files])
    return found if shared or isinstance(listing.root, RemotePath) else found + texts_in(listing.root.parent)


def texts_in(folder: Path) -> list[Place]:
    """Return the text files in a folder, and in those in it that are for such files."""
    inside = [one for one in folder.iterdir() if one.name.lower() in TEXT_FOLDERS]
    texts = [text for place in (folder, *inside) for text in place.glob("[!.]*")]
    return sorted(text for text in texts if text.suffix.lower() in ENDINGS and text.is_file())


def _old_layout(folders: Collection[str], asked: str | None, spec: str) -> FolderLayout:
    """Read folders by rules 1: splits are top folders of four names, and classes are whole paths."""
    tops = {folder.partition("/")[0] for folder in folders} - {""}
    splits = (
        tuple(name for name in _OLD_SPLITS if name in tops) if "train" in tops or asked is not None else ()
    )
    if asked is None and splits == ("train",) and len(tops) > 1:
        other = min(tops - {"train"})
        raise SourceError(
            f"{spec} has a folder train beside {other}: a split or a class? Give --split train, or rename that folder"
        )
    if not splits and asked is None:
        return FolderLayout({folder: folder for folder in folders})
    chosen = choose_split(asked, splits, spec)
    inside = {folder: folder.partition("/") for folder in folders if folder.partition("/")[0] in splits}
    return FolderLayout(
        {folder: rest for folder, (top, _, rest) in inside.items() if top == chosen},
        chosen,
        splits,
        frozenset(folders) - inside.keys(),
    )


def _taken(
    listing: Listing, layout: FolderLayout, names: Collection[str], labels: Annotations
) -> dict[str, str]:
    """Describe in words what is not obvious about the images taken."""
    said = {}
    if labels.classes and labels.file is not None:
        said["labels"] = printable(labels.file.name)
    elif labels.remark:
        said["unlabelled"] = printable(labels.remark)
    elif names and layout.silent:
        levels = ", ".join(printable(name) for name in layout.silent)
        said["labels"] = f"folders without the shared level{'s' if len(layout.silent) > 1 else ''} {levels}"
    if layout.crossed:
        said["splits"] = "splits from the folders within the class folders"
    if listing.followed:
        said["links"] = f"{listing.followed:,} links that lead out of the folder followed"
    return said


def named_file(folder: Path, name: str) -> Path:
    """Return the file in a folder whose path is `name` once written in UTF-8 (`printable`)."""
    path = folder
    for part in PurePosixPath(name).parts:
        plain = path / part
        if not plain.exists() and path.is_dir():
            plain = next((one for one in path.iterdir() if printable(one.name) == part), plain)
        path = plain
    return path


def printable(path: str) -> str:
    """Return a path as valid UTF-8; invalid bytes become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
