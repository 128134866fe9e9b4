"""What has changed in a folder of images since a run was made of it, and the images that are still there."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import strptime
from typing import Any

import numpy as np

from ...errors import UsageError
from ...progress import bar
from ..decoding.decode import extensions
from ..store.left_out import read_held_out, read_rejected
from ..store.part_files import part_files, part_layout
from ..store.run_folder import RunFolder, Stage
from ..store.tables import read_checked
from .endings import UNREAD, kind_of
from .source import ImageSource, Raw, Unreadable, content_hash

SHOWN = 3  # images that are named of each kind
GONE = "the image was moved or deleted since it was embedded"


@dataclass(frozen=True, eq=False)
class Recorded:
    """The images of a run, by row of its source.

    Attributes:
        ids: of all, those held out and rejected too.
        labels: the code of the class, −1 for none; those that were rejected have no entry.
        class_names: the name of each code.
        hashes, sizes: of the bytes of each image that took part; its size is not known in runs of version 0.1.
        since: seconds since 1970, when reading began: a file that was written later may be another one.
    """

    ids: Mapping[int, str]
    labels: Mapping[int, int]
    class_names: tuple[str, ...]
    hashes: Mapping[int, str]
    sizes: Mapping[int, int | None]
    since: float

    @classmethod
    def of(cls, run: RunFolder) -> Recorded | None:
        """Read what a run knows of its images; None where it does not know them all, not yet or not any more."""
        done = run.stage(Stage.EMBED)
        if done is None:
            return None
        ids: dict[int, str] = {}
        labels: dict[int, int] = {}
        hashes: dict[int, str] = {}
        sizes: dict[int, int | None] = {}
        for part in part_files(run.embeddings):
            table, _ = read_checked(part, part_layout())
            rows = table["row"].to_pylist()
            ids |= zip(rows, table["id"].to_pylist(), strict=True)
            labels |= zip(rows, table["label"].to_pylist(), strict=True)
            hashes |= zip(rows, table["hash"].to_pylist(), strict=True)
            if "bytes" in table.column_names:
                sizes |= zip(rows, table["bytes"].to_pylist(), strict=True)
        rejected, held_out = read_rejected(run), read_held_out(run)
        for apart in (rejected, held_out):
            ids |= (
                () if apart is None else zip(apart["row"].to_pylist(), apart["id"].to_pylist(), strict=True)
            )
        if held_out is not None:
            labels |= zip(held_out["row"].to_pylist(), held_out["label"].to_pylist(), strict=True)
        source = run.read()["source"]
        if len(ids) != source["n"]:
            return None
        since = timegm(strptime(done["finished"], "%Y-%m-%dT%H:%M:%SZ")) - done["seconds"] - 1
        return cls(ids, labels, tuple(source["class_names"]), hashes, sizes, since)


@dataclass(frozen=True, eq=False)
class Change:
    """What differs between the images of a run and its folder as it is now.

    Attributes:
        new: ids that the run does not know.
        gone: ids of the run that are not there, under no other name either.
        renamed: id of the run -> id now, of files with equal bytes.
        replaced: ids whose file has other content.
        relabelled: ids of another class now.
    """

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None
    replaced: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.renamed or self.replaced or self.relabelled)

    def __str__(self) -> str:
        """Say how many images have changed in which way, with some names."""
        renamed = [f"{old} is {new}" for old, new in (self.renamed or {}).items()]
        return ", ".join(
            f"{count:,} {what} ({some(names)})"
            for names, what in (
                (self.new, "new"),
                (self.gone, "gone"),
                (renamed, "renamed"),
                (self.replaced, "with other content"),
                (self.relabelled, "of another class"),
            )
            if (count := len(names))
        )


def some(names: Collection[str]) -> str:
    """Return the first names, and whether there are more."""
    return ", ".join(sorted(names)[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def is_folder(source: ImageSource) -> bool:
    """Whether the images are files of a folder, each known by its name."""
    return source.columns is None and Path(source.spec).is_dir() and None not in source.paths


def compare(known: Recorded, now: ImageSource) -> Change:
    """Compare the images of a run with its folder as it is now.

    A file has other content where its size differs, or where it was written since and its bytes differ. A file that is
    gone is a new one of the same bytes.
    """
    places = {name: row for row, name in enumerate(now.ids)}
    row_of = {name: row for row, name in known.ids.items()}
    there = [(row, places[name]) for name, row in row_of.items() if name in places]
    gone = [name for name in row_of if name not in places]
    new = [name for name in now.ids if name not in row_of]
    renamed = _renamed(
        known, now, {name: row_of[name] for name in gone}, {name: places[name] for name in new}
    )
    names = (*now.class_names, None)
    return Change(
        tuple(name for name in new if name not in renamed.values()),
        tuple(name for name in gone if name not in renamed),
        renamed,
        _replaced(known, now, there),
        tuple(
            known.ids[row]
            for row, place in there
            if row in known.labels
            and now.labels is not None
            and (None if (code := known.labels[row]) < 0 else known.class_names[code])
            != names[now.labels[place]]
        ),
    )


def _replaced(known: Recorded, now: ImageSource, there: list[tuple[int, int]]) -> tuple[str, ...]:
    other, unsure = [], []
    for row, place in there:
        if row not in known.hashes:
            continue
        try:
            found = Path(now.spec, now.paths[place] or "").stat()
        except OSError:
            continue  # reading it says why
        if known.sizes.get(row) not in (None, found.st_size):
            other.append(row)
        elif found.st_mtime >= known.since:
            unsure.append((row, place))
    with bar(len(unsure), "Comparing images", "images") as progress:
        for row, place in unsure:
            if _hash(now, place) not in (None, known.hashes[row]):
                other.append(row)
            progress.update(1)
    return tuple(known.ids[row] for row in sorted(other))


def _hash(now: ImageSource, place: int) -> str | None:
    try:
        return content_hash(now.read(place))
    except OSError:
        return None


def _renamed(
    known: Recorded, now: ImageSource, gone: Mapping[str, int], new: Mapping[str, int]
) -> dict[str, str]:
    """Return the new name of each file that is gone, where the bytes of exactly one new file are the same."""
    sizes = {known.sizes.get(row) for row in gone.values()}
    by_hash: dict[str, list[str]] = {}
    for name, place in new.items():
        if None in sizes or Path(now.spec, now.paths[place] or "").stat().st_size in sizes:
            by_hash.setdefault(_hash(now, place) or "", []).append(name)
    asked = [known.hashes.get(row) for row in gone.values()]
    return {
        name: by_hash[digest][0]
        for name, row in gone.items()
        if (digest := known.hashes.get(row))
        and len(by_hash.get(digest, ())) == 1
        and asked.count(digest) == 1
    }


def as_recorded(known: Recorded, now: ImageSource, change: Change) -> ImageSource:
    """Return a folder as it is now with the rows, ids and classes that a run knows; what is gone can't be read."""
    places = {name: row for row, name in enumerate(now.ids)}
    renamed = change.renamed or {}
    at = {row: places.get(renamed.get(name, name), -1) for row, name in known.ids.items()}
    rows = range(max(known.ids, default=-1) + 1)

    def read(row: int) -> Raw:
        if at.get(row, -1) < 0:
            raise Unreadable(GONE)
        return now.read(at[row])

    return replace(
        now,
        ids=tuple(known.ids.get(row, "") for row in rows),
        paths=tuple(now.paths[place] if (place := at.get(row, -1)) >= 0 else None for row in rows),
        labels=np.array([known.labels.get(row, -1) for row in rows], dtype=np.int64)
        if known.class_names
        else None,
        class_names=known.class_names,
        read=read,
    )


def check_not_passed_over(about: Mapping[str, Any], name: str) -> None:
    """Raise `UsageError` where a file of a run's folder is no image of the run, with the reason.

    Args:
        about: what `run.json` says of the source.
        name: the path of the file within the source, or as a person gives it.
    """
    root = Path(about["spec"])
    file = root / name
    if not root.is_dir() or not file.is_file() or not file.resolve().is_relative_to(root.resolve()):
        return
    ending = file.suffix.lower()
    if any(part.startswith(".") for part in file.relative_to(root).parts if part != ".."):
        why = "hidden files are; rename it"
    elif ending in extensions():
        why = "it lies outside the split that was taken, or was added since the run was made"
    elif (kind := kind_of(ending)).endswith(UNREAD):
        why = f"it is one of the {kind}; convert it to JPEG or PNG"
    else:
        why = f"it is one of the {kind}"
    raise UsageError(f"{name} took no part: it was passed over ({why})")
