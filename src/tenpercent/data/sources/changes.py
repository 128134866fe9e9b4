"""Changes in a folder of images since a run was made of it, and the images that are still there."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import strptime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import UsageError
from ...progress import bar
from ..decoding.decode import extensions
from ..store.left_out import read_held_out, read_rejected
from ..store.part_files import part_files, part_layout
from ..store.records import SourceRecord
from ..store.run_folder import RunFolder, Stage
from ..store.tables import read_checked
from .listing import UNREAD, kind_of
from .source import ImageSource, Raw, Unreadable, content_hash

SHOWN = 3  # images named per kind of change
OTHER_CONTENT = "other content than when it was embedded"
GONE = "the image was moved or deleted since it was embedded"


@dataclass(frozen=True, eq=False)
class RecordedImages:
    """Images of a run, by row of its source.

    Attributes:
        ids: of all images, including held out and rejected ones.
        labels: the code of the class, −1 for none; rejected images have no entry.
        class_names: the name of each code.
        hashes, sizes: of the bytes of each image that was embedded; sizes are unknown in runs of version 0.1.
        since: seconds since 1970, when reading began: a file written later may have changed.
    """

    ids: Mapping[int, str]
    labels: Mapping[int, int]
    class_names: tuple[str, ...]
    hashes: Mapping[int, str]
    sizes: Mapping[int, int | None]
    since: float

    @classmethod
    def of(cls, run: RunFolder) -> RecordedImages | None:
        """Read the images recorded in a run; None where the record is not, or no longer, complete."""
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
        source = run.source
        if len(ids) != source.n:
            return None
        since = timegm(strptime(done.finished, "%Y-%m-%dT%H:%M:%SZ")) - done.seconds - 1
        return cls(ids, labels, source.class_names, hashes, sizes, since)


@dataclass(frozen=True, eq=False)
class Change:
    """Differences between the images of a run and its folder as it is now.

    Attributes:
        new: ids that the run does not have.
        gone: ids of the run that no longer exist, under any name.
        renamed: id in the run -> id now, of files with equal bytes.
        replaced: ids whose file has other content.
        relabelled: ids whose class has changed.
    """

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] | None = None
    replaced: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.new or self.gone or self.renamed or self.replaced or self.relabelled)

    def __str__(self) -> str:
        """Return the number of images that changed in each way, with some names."""
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
    """Return whether the images are files of a folder, identified by name."""
    return source.columns is None and Path(source.spec).is_dir() and None not in source.paths


def compare(known: RecordedImages, now: ImageSource, *, closely: bool = False) -> Change:
    """Compare the images of a run with its folder as it is now.

    A file has changed if its size differs, or if it was written since and its bytes differ. A missing file counts as
    renamed if a new one has the same bytes.

    Args:
        known: the images of the run.
        now: the folder.
        closely: also read the files that were renamed, linked or given other rights since: another file that was moved
            to an image's name keeps its time of writing.
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
        _replaced(known, now, there, closely),
        tuple(
            known.ids[row]
            for row, place in there
            if row in known.labels
            and now.labels is not None
            and (None if (code := known.labels[row]) < 0 else known.class_names[code])
            != names[now.labels[place]]
        ),
    )


def _replaced(
    known: RecordedImages, now: ImageSource, there: list[tuple[int, int]], closely: bool
) -> tuple[str, ...]:
    other, unsure = [], []
    for row, place in there:
        if row not in known.hashes:
            continue
        try:
            found = Path(now.spec, now.paths[place] or "").stat()
        except OSError:
            continue  # reading it reports the reason
        if known.sizes.get(row) not in (None, found.st_size):
            other.append(row)
        elif (max(found.st_mtime, found.st_ctime) if closely else found.st_mtime) >= known.since:
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
    known: RecordedImages, now: ImageSource, gone: Mapping[str, int], new: Mapping[str, int]
) -> dict[str, str]:
    """Return the new name of each missing file, where exactly one new file has the same bytes."""
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


def as_recorded(known: RecordedImages, now: ImageSource, change: Change) -> ImageSource:
    """Return the current folder with the rows, ids and classes of a run; missing images are unreadable."""
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


def only_embedded(source: ImageSource, known: RecordedImages) -> ImageSource:
    """Return a source whose images are unreadable where their bytes are not those that were embedded.

    This is for sources that `compare` can't compare: tables, data sets.
    """

    def read(row: int) -> Raw:
        return _as_embedded(source.read(row), row)

    def columns(rows: npt.NDArray[np.int64]) -> pa.RecordBatchReader:
        assert whole is not None
        reader = whole(rows)
        return pa.RecordBatchReader.from_batches(reader.schema, _checked(reader, rows.tolist()))

    def _checked(reader: pa.RecordBatchReader, rows: list[int]) -> Iterator[pa.RecordBatch]:
        for batch in reader:
            these, rows = rows[: len(batch)], rows[len(batch) :]
            for row, cell in zip(these, batch[image].to_pylist(), strict=True):
                content = cell["bytes"] if isinstance(cell, dict) else cell
                if content is not None:
                    _as_embedded(content, row)
            yield batch

    def _as_embedded(raw: Raw, row: int) -> Raw:
        if known.hashes.get(row) not in (None, content_hash(raw)):
            raise Unreadable(f"image {source.ids[row]!r} has {OTHER_CONTENT}")
        return raw

    image, whole = source.taken.get("images", "").removeprefix("column "), source.columns
    return replace(source, read=read, columns=None if whole is None else columns)


def check_not_skipped(about: SourceRecord, name: str) -> None:
    """Raise `UsageError` where a file of a run's folder is no image of the run, with the reason.

    Args:
        about: the source as described in `run.json`.
        name: the path of the file within the source, or as a user gives it.
    """
    root = Path(about.spec)
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
    raise UsageError(f"{name} took no part: it was skipped ({why})")
