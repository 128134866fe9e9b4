"""Folders of image files: a subfolder per class, or flat and unlabelled."""

from __future__ import annotations

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import SourceError
from ..decoding.decode import extensions
from .annotations import ENDINGS, Annotations, find_annotations, read_annotations
from .classes import refuse_case_twins
from .endings import (
    BROKEN,
    CIRCLES,
    LINKS_OUT,
    NO_IMAGES,
    NOT_IN_ANNEX,
    NOT_IN_CACHE,
    POINTERS,
    kind_of,
    remedy_for,
)
from .first_line import passed_over
from .folder_layout import Layout, read_layout
from .options import NO_COLUMN, RULES, SourceOptions
from .source import ImageSource, Raw
from .splits import choose_split

# Folders that systems and programs leave among images, in lower case: thumbnails, resource forks, recycle bins.
LEFT_BEHIND = frozenset(
    {
        "@eadir",
        "__macosx",
        "$recycle.bin",
        "#recycle",
        "@recycle",
        "#snapshot",
        "@recently-snapshot",
        "lost+found",
        "system volume information",
    }
)
TEXT_FOLDERS = frozenset({"annotations", "annotation", "labels", "lists", "meta", "devkit"})
_IMAGE, _PARQUET = "image", "Parquet"
_OLD_SPLITS = ("train", "val", "validation", "test")  # by rules 1, where `train` is among them


@dataclass
class Listing:
    """Files under a folder.

    Attributes:
        root: the folder, absolute, links resolved.
        follow_links: whether links that lead out of it are followed.
        rules: see `SourceOptions.rules`.
        images, parquets: posix paths relative to it.
        texts: likewise, files that may give the classes of images.
        skipped: what was skipped, with counts.
        followed: number of followed links that lead out.
    """

    root: Path
    follow_links: bool = False
    rules: int = RULES
    images: list[str] = field(default_factory=list)
    parquets: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    followed: int = 0
    _kinds: dict[str, str] = field(default_factory=dict, repr=False)

    def add(self, path: str) -> None:
        """Add a file to the list that its ending belongs to."""
        ending = os.path.splitext(path)[1]  # noqa: PTH122  a plain string: this runs a million times
        kind = self._kinds.get(ending)
        if kind is None:
            kind = self._kinds[ending] = _kind_by_ending(ending.lower())
        if kind is _IMAGE:
            self.images.append(path)
        elif kind is _PARQUET:
            self.parquets.append(path)
        else:
            self.skipped[kind] += 1
            if kind is NO_IMAGES and ending.lower() in ENDINGS:
                self.texts.append(path)


def _kind_by_ending(ending: str) -> str:
    if ending in extensions():
        return _IMAGE
    return _PARQUET if ending in (".parquet", ".pq") else kind_of(ending)


def list_folder(root: Path, options: SourceOptions = SourceOptions()) -> Listing:  # noqa: B008  frozen
    """Find the images and Parquet files under `root`.

    Links to targets inside `root` are followed, with `options.follow_links` all links, and never in a circle.

    Raises:
        SourceError: the folder or one below it can't be read.
    """
    listing = Listing(root.resolve(), options.follow_links, options.rules)
    _walk(listing, "", (os.path.realpath(listing.root),))
    return listing


def _walk(listing: Listing, folder: str, above: tuple[str, ...]) -> None:
    """Add the content of `folder` (relative, "" for the root); `above` are the real paths from the root down to it."""
    folders: list[tuple[str, str]] = []
    pointers: list[str] = []
    entries = _entries(listing.root / folder)
    if folder and listing.rules != 1 and _is_run({entry.name for entry in entries}):
        listing.skipped["run folders"] += 1
        return
    for entry in entries:
        name = entry.name
        path = f"{folder}/{name}" if folder else name
        if name[0] == ".":
            listing.skipped["hidden folders" if entry.is_dir(follow_symlinks=False) else "hidden files"] += 1
        elif entry.is_symlink():
            real = _follow(listing, entry.path, path, above)
            if real is not None:
                folders.append((path, real))
        elif entry.is_dir(follow_symlinks=False):
            if listing.rules != 1 and name.lower() in LEFT_BEHIND:
                listing.skipped[f"{name} folders"] += 1
            else:
                folders.append((path, f"{above[-1]}{os.sep}{name}"))
        elif not entry.is_file(follow_symlinks=False):
            listing.skipped[NO_IMAGES] += 1
        elif name.endswith(".dvc"):
            pointers.append(name.removesuffix(".dvc"))
        else:
            listing.add(path)
    if pointers:
        _count_pointers(listing, pointers, {entry.name for entry in entries})
    for path, real in folders:
        # A plain folder closes a circle where a link above leads to a folder that holds a folder further up.
        if listing.rules != 1 and real in above:
            listing.skipped[CIRCLES] += 1
        else:
            _walk(listing, path, (*above, real))


def _is_run(names: set[str]) -> bool:
    """Return whether a folder with these names is a run, whose thumbnails and tables are no part of a source."""
    return {"run.json", "locks"} <= names


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            f"{folder} can't be read ({error.strerror}); make it readable, or leave it out"
        ) from None


def _follow(listing: Listing, link: str, path: str, above: tuple[str, ...]) -> str | None:
    """Add the file that a link leads to, or return the real path of the folder that it leads to."""
    target = os.path.realpath(link)
    inside = _inside(target, above[0])
    if not inside and not listing.follow_links:
        listing.skipped[LINKS_OUT] += 1
    elif target in above:
        listing.skipped[CIRCLES] += 1
    elif (kind := _kind(target)) is None:
        listing.skipped[_missing(target)] += 1
    else:
        listing.followed += not inside
        if stat.S_ISDIR(kind):
            return target
        if stat.S_ISREG(kind):
            listing.add(path)
        else:
            listing.skipped[NO_IMAGES] += 1
    return None


def _missing(target: str) -> str:
    """Return the kind of a broken link."""
    place = target.replace(os.sep, "/")
    if "/annex/objects/" in place:
        return NOT_IN_ANNEX
    return NOT_IN_CACHE if "/.dvc/" in place or "/files/md5/" in place else BROKEN


def _count_pointers(listing: Listing, pointers: list[str], names: set[str]) -> None:
    """Count files ``x.dvc``, which stand in for a file or folder ``x`` beside them."""
    for name in pointers:
        listing.skipped[NO_IMAGES if name in names else POINTERS] += 1


def _inside(target: str, root: str) -> bool:
    return target == root or target.startswith(root.rstrip(os.sep) + os.sep)


def _kind(path: str) -> int | None:
    try:
        return os.stat(path).st_mode  # noqa: PTH116
    except OSError:
        return None


def open_folder(listing: Listing, options: SourceOptions) -> ImageSource:
    """Open the images of a listing.

    The class of an image is its folder below the source, without levels that are splits or that all classes share
    (`read_layout`); images beside class folders have no label. Without class folders, a text file that names the
    images may hold their labels (`annotations.py`). Rows are sorted by class folder, then by file name: for plain class
    folders the order of torchvision's `ImageFolder`.

    Raises:
        SourceError: no images, no such split, or class names that a case-insensitive file system would treat as equal.
    """
    root, split, skipped = listing.root, options.split, Counter(listing.skipped)
    if listing.parquets:
        skipped["Parquet files"] += len(listing.parquets)
    if not listing.images:
        raise no_images(root, skipped)
    counts = Counter(path.rpartition("/")[0] for path in listing.images)
    read_folders = _old_layout if listing.rules == 1 else read_layout
    layout = read_folders(counts.keys(), split, str(root))
    outside = sum(counts[folder] for folder in layout.outside)
    if outside:
        skipped["images outside the splits"] += outside
    keyed = sorted(_keyed(listing.images, layout.class_of))
    if not keyed:
        raise no_images(root, skipped)
    files = [path for _, _, path in keyed]
    classes = [name for name, _, _ in keyed]
    said = Annotations()
    if options.label_column == NO_COLUMN:
        classes = [""] * len(files)
    elif listing.rules != 1 and (options.labels or options.label_column or not any(classes)):
        said = _annotations(listing, files, options)
        classes = [(said.classes or {}).get(path, "") for path in files]
    if said.classes and any((root / path) == said.file for path in listing.texts):
        skipped -= Counter({NO_IMAGES: 1})
    names = sorted(set(classes) - {""})
    remedy = "rename one of the two folders, or move their images into one"
    refuse_case_twins(names, str(root), remedy, forms=listing.rules != 1)
    codes = {name: code for code, name in enumerate(names)} | {"": -1}
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
        labels=np.array([codes[name] for name in classes], dtype=np.int64) if names else None,
        class_names=tuple(_printable(name) for name in names),
        read=read,
        split=layout.split,
        skipped=dict(skipped),
        splits=layout.splits,
        taken=_taken(listing, layout, names, said),
    )


def _keyed(images: Iterable[str], class_of: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Yield class, file name and path of each image that is taken."""
    for path in images:
        folder, _, name = path.rpartition("/")
        found = class_of.get(folder)
        if found is not None:
            yield found, name, path


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


def _texts_near(listing: Listing, files: list[str]) -> list[Path]:
    """Return the text files in the folder of all images, above, or in a folder for such files there; nearest first.

    Files for a single image each (``1.txt`` of ``1.jpg``) are left out.
    """
    shared = posixpath.commonpath([posixpath.dirname(path) for path in files])
    above = {"", shared, *(str(folder) for folder in PurePosixPath(shared).parents)} - {"."}
    stems = {posixpath.splitext(path)[0] for path in files}
    found = [
        listing.root / text
        for text in sorted(listing.texts, key=lambda text: (-text.count("/"), text))
        if _place_of_text(text) in above and posixpath.splitext(text)[0] not in stems
    ]
    if shared:
        return found
    outside = [folder for folder in listing.root.parent.iterdir() if folder.name.lower() in TEXT_FOLDERS]
    near = [text for folder in (listing.root.parent, *outside) for text in folder.glob("[!.]*")]
    return [*found, *sorted(text for text in near if text.suffix.lower() in ENDINGS and text.is_file())]


def _place_of_text(text: str) -> str:
    """Return the folder of a text file, or the folder beside a folder for such files."""
    folder = posixpath.dirname(text)
    return posixpath.dirname(folder) if posixpath.basename(folder).lower() in TEXT_FOLDERS else folder


def _old_layout(folders: Collection[str], asked: str | None, spec: str) -> Layout:
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
        return Layout({folder: folder for folder in folders})
    chosen = choose_split(asked, splits, spec)
    inside = {folder: folder.partition("/") for folder in folders if folder.partition("/")[0] in splits}
    return Layout(
        {folder: rest for folder, (top, _, rest) in inside.items() if top == chosen},
        chosen,
        splits,
        frozenset(folders) - inside.keys(),
    )


def _taken(listing: Listing, layout: Layout, names: list[str], labels: Annotations) -> dict[str, str]:
    """Describe in words what is not obvious about the images taken."""
    said = {}
    if labels.classes and labels.file is not None:
        said["labels"] = _printable(labels.file.name)
    elif labels.remark:
        said["unlabelled"] = _printable(labels.remark)
    elif names and layout.silent:
        levels = ", ".join(_printable(name) for name in layout.silent)
        said["labels"] = f"folders without the shared level{'s' if len(layout.silent) > 1 else ''} {levels}"
    if layout.crossed:
        said["splits"] = "splits from the folders within the class folders"
    if listing.followed:
        said["links"] = f"{listing.followed:,} links that lead out of the folder followed"
    return said


def no_images(root: Path, skipped: Mapping[str, int]) -> SourceError:
    """Return an error that says what a folder holds instead of images, and what to do about it."""
    said = "; ".join([f"{root} holds no images", *passed_over(skipped), remedy_for(dict(skipped))])
    return SourceError(said)


def _printable(path: str) -> str:
    """Return a path as valid UTF-8; invalid bytes become backslash escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
