"""Changes in a source of images since a run was made of it, and the images that are still there."""

from __future__ import annotations

from calendar import timegm
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import strptime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import UsageError, shown
from ...progress import bar
from ..decoding.decode import decode, extensions
from ..store.ids import paired
from ..store.left_out import read_held_out, read_rejected
from ..store.part_files import part_files, part_layout
from ..store.records import SourceRecord
from ..store.run_folder import RunFolder, Stage
from ..store.stamps import read_stamps
from ..store.tables import read_checked
from .listing import UNREAD, kind_of
from .opening import place_of
from .options import Unit
from .source import ImageSource, Raw, Unreadable, content_hash, hash_of

SHOWN = 3  # images named per kind of change
OTHER_CONTENT = "other content than when it was embedded"
GONE = "the image was moved or deleted since it was embedded"


@dataclass(frozen=True, eq=False, repr=False)
class RecordedImages:
    """Images of a run, by row of its source.

    Attributes:
        ids: of all images, including held out and rejected ones.
        labels: the code of the class, −1 for none; rejected images have no entry.
        class_names: the name of each code.
        hashes, sizes: of the bytes of each image that was embedded; sizes are unknown in runs of version 0.1.
        held_out: of each image held out the hash, None where it is not known, as in older runs.
        since: seconds since 1970, when reading began: a file written later may have changed.
        taken: what was taken for the images, as in `ImageSource.taken`.
        stamps: by id, of images in a store: see `ImageSource.stamps`.
    """

    ids: Mapping[int, str]
    labels: Mapping[int, int]
    class_names: tuple[str, ...]
    hashes: Mapping[int, str]
    sizes: Mapping[int, int | None]
    since: float
    taken: str = ""
    held_out: Mapping[int, str | None] = field(default_factory=dict)
    stamps: Mapping[str, str] = field(default_factory=dict)

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
        held: dict[int, str | None] = {}
        if held_out is not None:
            labels |= zip(held_out["row"].to_pylist(), held_out["label"].to_pylist(), strict=True)
            held = dict.fromkeys(held_out["row"].to_pylist())
            if "hash" in held_out.column_names:
                held |= zip(held, held_out["hash"].to_pylist(), strict=True)
        source = run.source
        if len(ids) != source.n:
            return None
        since = timegm(strptime(done.finished, "%Y-%m-%dT%H:%M:%SZ")) - done.seconds - 1
        return cls(
            ids,
            labels,
            source.class_names,
            hashes,
            sizes,
            since,
            source.taken.get("images", ""),
            held,
            read_stamps(run.stamps),
        )

    def is_held_out(self, row: int) -> bool:
        """Return whether an image was held out."""
        return row in self.held_out

    def hash_of(self, row: int) -> str | None:
        """Return the hash of an image that was embedded or held out; None where it is not known."""
        return self.hashes.get(row) or self.held_out.get(row)


@dataclass(frozen=True, eq=False, repr=False)
class Change:
    """Differences between the images of a run and its source as it is now.

    Attributes:
        new: ids now of images that the run does not have.
        gone: ids in the run of images that no longer exist, under any id.
        renamed: id in the run -> id now, of images with equal bytes.
        replaced: ids whose image has other content, not that of another image of the run.
        relabelled: ids whose class has changed.
        content: row now -> row in the run, of the images that are known to have the bytes that were embedded.
    """

    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    content: Mapping[int, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.counts.values())

    @property
    def counts(self) -> dict[str, int]:
        """Number of images that changed in each way, in words."""
        return {
            "new": len(self.new),
            "gone": len(self.gone),
            "moved": len(self.renamed),
            "with other content": len(self.replaced),
            "of another class": len(self.relabelled),
        }

    def __str__(self) -> str:
        """Return the number of images that changed in each way, with some names."""
        renamed = [f"{old} is {new}" for old, new in self.renamed.items()]
        names = (self.new, self.gone, renamed, self.replaced, self.relabelled)
        return ", ".join(
            f"{count:,} {what} ({some(which)})"
            for (what, count), which in zip(self.counts.items(), names, strict=True)
            if count
        )


def some(names: Collection[str]) -> str:
    """Return the first names, and whether there are more."""
    return ", ".join(map(shown, sorted(names)[:SHOWN])) + (", …" if len(names) > SHOWN else "")


def said_change(change: Change, run: RunFolder) -> str:
    """Return one line on what has changed in the source of a run, and the command that takes it as it is now."""
    return f"{run.source.spec} has changed since it was embedded: {change}; {takes_it(run)}"


def takes_it(run: RunFolder) -> str:
    """Return in words which command brings a run up to date."""
    return f"{run.command()} takes it as it is now"


def is_folder(source: ImageSource) -> bool:
    """Return whether the images are files of a folder, or parts of such, identified by name; also of a store."""
    return (source.folder is not None or source.stamps is not None) and None not in source.paths


def compare(known: RecordedImages, now: ImageSource, *, closely: bool = False) -> Change:
    """Compare the images of a run with its source as it is now.

    A file has changed if its size differs, or if it was written since and its bytes differ; a table's rows are read
    where its file was written since or its ids have changed. Of images with equal bytes those with equal ids are the
    same; the others are moved ones, paired by how alike their paths are (`ids.paired`).

    Args:
        known: the images of the run.
        now: the source.
        closely: also read the files that were renamed, linked or given other rights since: another file that was moved
            to an image's name keeps its time of writing.
    """
    contents = _Contents(known, now, closely)
    places = {name: place for place, name in enumerate(now.ids)}
    row_of = {name: row for row, name in known.ids.items()}
    there = [(row, places[name]) for name, row in row_of.items() if name in places]
    other = contents.other(there)
    lost = {known.ids[row]: row for row in [row for row, _ in other]} | {
        name: row for name, row in row_of.items() if name not in places
    }
    found = {now.ids[place]: place for _, place in other} | {
        name: place for name, place in places.items() if name not in row_of
    }
    renamed = _renamed(contents, lost, found)
    left, arrived = lost.keys() - renamed.keys(), found.keys() - set(renamed.values())
    names = (*now.class_names, None)
    others = set(other)
    same = [pair for pair in there if pair not in others]
    return Change(
        tuple(name for name in found if name in arrived - left),
        tuple(name for name in lost if name in left - arrived),
        renamed,
        tuple(sorted(left & arrived)),
        tuple(
            known.ids[row]
            for row, place in same
            if row in known.labels
            and now.labels is not None
            and (None if (code := known.labels[row]) < 0 else known.class_names[code])
            != names[now.labels[place]]
        ),
        {place: row for row, place in same if row in known.hashes and place not in contents.unreadable}
        | {places[new]: row_of[old] for old, new in renamed.items() if row_of[old] in known.hashes},
    )


class _Contents:
    """Content of a source's images now, read only where it may differ from that of a run.

    Attributes:
        unreadable: places of images that had to be read, and could not be.
    """

    def __init__(self, known: RecordedImages, now: ImageSource, closely: bool) -> None:
        self.known, self._now, self._closely = known, now, closely
        self._files = is_folder(now)
        self._trusted = not self._files and self._is_table_untouched()
        self._drawn = 0.0  # when the annotations were touched that say which part of a file an image is
        if now.unit is Unit.OBJECT:
            self._drawn = max(file.stat().st_mtime for file in now.annotations)
        self.unreadable: set[int] = set()

    def _is_table_untouched(self) -> bool:
        """Return whether a table, or another source that is not a folder of files, has the rows that it had."""
        same_ids = [*self._now.ids] == [self.known.ids.get(row) for row in range(len(self._now))]
        if not same_ids or self._now.taken.get("images", "") != self.known.taken:
            return False
        path = place_of(self._now.spec)
        if self._now.stamps is not None:
            return False  # each stamp is compared
        files = [path, *path.rglob("*")] if path.exists() else []  # nothing is known of files elsewhere
        return all(max(one.stat().st_mtime, one.stat().st_ctime) < self.known.since for one in files)

    def other(self, there: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the rows in the run, and places now, of ids whose content has changed, in order."""
        other, unsure = set(), []
        for row, place in there:
            known = self.known.hash_of(row)
            if self._trusted or self._is_stamped(place) or (known is None and self.known.is_held_out(row)):
                continue
            was, (size, written) = self.known.sizes.get(row), self._stat(place)
            touched = written is None or written >= self.known.since
            if known is None:  # it could not be used; it may be repaired
                other |= {(row, place)} if touched and self._files and self._is_image(place) else set()
            elif None not in (was, size) and was != size:
                other.add((row, place))
            elif touched:
                unsure.append((row, place))
        with bar(len(unsure), "Comparing", f"{self._now.noun}s") as progress:
            for row, place in unsure:
                if self.hash(place) not in (None, self.known.hash_of(row)):
                    other.add((row, place))
                progress.update(1)
        return [pair for pair in there if pair in other]

    def _is_stamped(self, place: int) -> bool:
        """Return whether the store says of an image's file what it said when its content was compared last."""
        stamp = "" if self._now.stamps is None else self._now.stamps[place]
        return stamp != "" and stamp == self.known.stamps.get(self._now.ids[place])

    def _stat(self, place: int) -> tuple[int | None, float | None]:
        """Return the size of a file, and when it was touched; None where it is not a file, or gone."""
        if not self._files or self._now.folder is None:
            return None, None
        try:
            found = Path(self._now.folder, self._now.paths[place] or "").stat()
        except OSError:
            return None, None  # reading it reports the reason
        written = max(found.st_mtime, found.st_ctime) if self._closely else found.st_mtime
        return (
            (None, max(written, self._drawn)) if self._now.unit is Unit.OBJECT else (found.st_size, written)
        )

    def size(self, place: int) -> int | None:
        """Return the size of a file; None where it is not a file, or gone."""
        return self._stat(place)[0]

    def _is_image(self, place: int) -> bool:
        """Return whether an image can be decoded."""
        try:
            decode(self._now.read(place), self._now.decoding)
        except (OSError, Unreadable):
            return False
        return True

    def hash(self, place: int) -> str | None:
        """Return the hash of an image, or None where it can't be read."""
        found = hash_of(self._now, place)
        if found is None:
            self.unreadable.add(place)
        return found


def _renamed(contents: _Contents, lost: Mapping[str, int], found: Mapping[str, int]) -> dict[str, str]:
    """Return the id now of each lost image that was found under another."""
    known = contents.known
    by_hash: dict[str, tuple[list[str], list[str]]] = {}
    for name, row in lost.items():
        if (digest := known.hash_of(row)) is not None:
            by_hash.setdefault(digest, ([], []))[0].append(name)
    sizes = {known.sizes.get(row) for row in lost.values() if known.hash_of(row) is not None}
    for name, place in found.items() if sizes else ():
        size = contents.size(place)
        if (None in sizes or size is None or size in sizes) and (digest := contents.hash(place)) in by_hash:
            by_hash[digest][1].append(name)
    renamed: dict[str, str] = {}
    for old, new in by_hash.values():
        renamed |= paired(old, new) if new else {}
    return dict(sorted(renamed.items()))


def as_recorded(known: RecordedImages, now: ImageSource, change: Change) -> ImageSource:
    """Return the current folder with the rows, ids and classes of a run; missing images are unreadable."""
    places = {name: row for row, name in enumerate(now.ids)}
    gone = set(change.gone)
    at = {
        row: -1 if name in gone else places.get(change.renamed.get(name, name), -1)
        for row, name in known.ids.items()
    }
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
        stamps=None,
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

    whole, image = source.columns, source.image_column or ""
    return replace(source, read=read, columns=None if whole is None else columns)


def check_not_skipped(about: SourceRecord, name: str) -> None:
    """Raise `UsageError` where a file of a run's folder is not an image of the run, with the reason.

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
