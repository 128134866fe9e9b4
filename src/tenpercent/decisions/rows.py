"""Decisions as rows of SQLite: the tables, reading with every value checked, and writing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import StageError, UsageError

FORMAT = 2  # 2 has answers about pairs
LONGEST_NOTE = 2000

SCHEMA = """
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, kind TEXT NOT NULL, note TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE images (
    number INTEGER NOT NULL REFERENCES decisions, place INTEGER NOT NULL, id TEXT NOT NULL, hash TEXT,
    PRIMARY KEY (number, place)
) WITHOUT ROWID;
CREATE TABLE actions (
    version INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, action TEXT NOT NULL, number INTEGER NOT NULL
);
"""
TABLES = {  # and their columns
    "decisions": ("number", "time", "kind", "note", "undone"),
    "images": ("number", "place", "id", "hash"),
    "actions": ("version", "time", "action", "number"),
}


class Kind(StrEnum):
    """Kinds of decisions about images."""

    KEEP = "keep"  # they stay, beside the representative of their group
    REMOVE = "remove"  # they are removed, even where they are alone
    PREFER = "prefer"  # each represents its group
    APART = "apart"  # two images that never share a group
    ALONE = "alone"  # they share a group with no other image
    ACCEPT = "accept"  # reviewed: nothing changes
    SAME = "same"  # two images that are the same for the person's purpose: calibrates the threshold
    DIFFERENT = "different"  # two that are not


ANSWERS = frozenset({Kind.SAME, Kind.DIFFERENT})  # kinds that constrain nothing
COUNT = {
    Kind.APART: 2,
    Kind.SAME: 2,
    Kind.DIFFERENT: 2,
}  # images that a decision names; any number for the other kinds
STAYS = frozenset(
    {Kind.KEEP, Kind.PREFER, Kind.ALONE}
)  # kinds that contradict `REMOVE`, and the other way round


class ImageName(NamedTuple):
    """Name of an image in a decision: its id and, in case the id is gone, the hash of its content."""

    id: str
    hash: str | None = None


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        number: counts from 1, in the order in which they were made.
        time: in UTC, ISO 8601.
        kind: the kind of decision.
        images: the images concerned.
        note: the reason, in a person's words.
        undone: whether it was undone.
    """

    number: int
    time: str
    kind: Kind
    images: tuple[ImageName, ...]
    note: str = ""
    undone: bool = False

    def contradicts(self, kind: Kind, images: Sequence[ImageName]) -> bool:
        """Return whether another decision would undo what this one says of the same image."""
        if not (kind is Kind.REMOVE and self.kind in STAYS) and not (
            self.kind is Kind.REMOVE and kind in STAYS
        ):
            return False
        return not {image.id for image in self.images}.isdisjoint(image.id for image in images)


def check_decision(kind: Kind, images: Sequence[ImageName], note: str) -> None:
    """Raise `UsageError` where a decision names too few or too many images, or one twice, or its note is too long."""
    ids = [image.id for image in images]
    wanted = COUNT.get(kind)
    if not ids or (wanted is not None and len(ids) != wanted) or len(set(ids)) < len(ids):
        number = (
            "different images"
            if wanted is None
            else "1 image"
            if wanted == 1
            else f"{wanted} different images"
        )
        raise UsageError(f"'{kind}' is given {len(ids)} images ({len(set(ids))} different); name {number}")
    if len(note) > LONGEST_NOTE:
        raise UsageError(f"the note has {len(note):,} letters; {LONGEST_NOTE:,} is the most")


def check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Raise where the file is of a newer format, or lacks a table or column of this one."""
    version = database.execute("PRAGMA user_version").fetchone()[0]
    known = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    missing = sorted(TABLES.keys() - known)
    if len(missing) == len(TABLES) or version < 1:
        raise sqlite3.DatabaseError("it is a database of something else: no decisions are in it")
    if version > FORMAT:
        raise StageError(f"{path} has format {version}, this version reads up to {FORMAT}; update tenpercent")
    if missing:
        raise sqlite3.DatabaseError(f"table {missing[0]} is missing")
    for table, columns in TABLES.items():
        found = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        for column in columns:
            if column not in found:
                raise sqlite3.DatabaseError(f"column {column} of table {table} is missing")


def version(database: sqlite3.Connection) -> int:
    """Return the version of the log: that of its last action, 0 for none."""
    found = database.execute("SELECT coalesce(max(version), 0) FROM actions").fetchone()[0]
    return int(_checked(found, int, "version of an action"))


def decisions(database: sqlite3.Connection) -> tuple[Decision, ...]:
    """Return all decisions in the order in which they were made, including undone ones."""
    images: dict[int, list[ImageName]] = {}
    for number, name, code in database.execute("SELECT number, id, hash FROM images ORDER BY number, place"):
        images.setdefault(number, []).append(_image(name, code))
    rows = database.execute("SELECT number, time, kind, note, undone FROM decisions ORDER BY number")
    found = tuple(_read(row, tuple(images.pop(row[0], ()))) for row in rows)
    if images:
        raise sqlite3.DatabaseError(f"images of decision {min(images)} are there, and it is not")
    return found


def decision(database: sqlite3.Connection, number: int) -> Decision:
    """Return one decision."""
    images = database.execute("SELECT id, hash FROM images WHERE number = ? ORDER BY place", (number,))
    named = tuple(_image(*row) for row in images)
    row = database.execute(
        "SELECT number, time, kind, note, undone FROM decisions WHERE number = ?", (number,)
    ).fetchone()
    return _read(row, named)


def _read(row: tuple[Any, ...], images: tuple[ImageName, ...]) -> Decision:
    """Return the decision of a row; raise for values that no version of this program writes."""
    number, time, kind, note, undone = row
    of = f"of decision {number}"
    _checked(number, int, "number of a decision")
    if kind not in list(Kind):
        raise sqlite3.DatabaseError(f"the kind {of} is {kind!r}, not one of {', '.join(Kind)}")
    if undone not in (0, 1):
        raise sqlite3.DatabaseError(f"undone {of} is {undone!r}, not 0 or 1")
    _checked(time, str, f"time {of}")
    _checked(note, str, f"note {of}")
    try:
        check_decision(Kind(kind), images, note)
    except UsageError as error:
        raise sqlite3.DatabaseError(f"decision {number}: {error}") from None
    return Decision(number, time, Kind(kind), images, note, bool(undone))


def _image(name: Any, code: Any) -> ImageName:
    return ImageName(
        _checked(name, str, "id of an image"),
        None if code is None else _checked(code, str, f"hash of image {name}"),
    )


def _checked(value: Any, kind: type, name: str) -> Any:
    if not isinstance(value, kind):
        raise sqlite3.DatabaseError(f"the {name} is {value!r}, not {'text' if kind is str else 'a number'}")
    return value


def insert(
    database: sqlite3.Connection, kind: Kind, images: Sequence[ImageName], note: str, time: str
) -> int:
    """Add a decision and return its number."""
    number = database.execute(
        "INSERT INTO decisions (time, kind, note) VALUES (?, ?, ?)", (time, str(kind), note)
    ).lastrowid
    assert number is not None  # an insertion has one
    database.executemany(
        "INSERT INTO images VALUES (?, ?, ?, ?)",
        [(number, place, image.id, image.hash) for place, image in enumerate(images)],
    )
    _act(database, "add", number)
    return number


def mark(database: sqlite3.Connection, number: int, *, undone: bool) -> bool:
    """Undo or restore a decision; return whether that changes anything."""
    changed = database.execute(
        "UPDATE decisions SET undone = ? WHERE number = ? AND undone = ?", (undone, number, not undone)
    ).rowcount
    if changed:
        _act(database, "undo" if undone else "redo", number)
    return bool(changed)


def _act(database: sqlite3.Connection, action: str, number: int) -> None:
    database.execute("INSERT INTO actions (time, action, number) VALUES (?, ?, ?)", (now(), action, number))


def last_active(database: sqlite3.Connection) -> int | None:
    """Return the number of the last decision in force, or None."""
    found = database.execute("SELECT max(number) FROM decisions WHERE undone = 0").fetchone()[0]
    return None if found is None else int(_checked(found, int, "number of a decision"))


def last_undone(database: sqlite3.Connection) -> int | None:
    """Return the number of the decision undone last and not restored, if nothing was decided after it."""
    brought = 0
    for action, number in database.execute("SELECT action, number FROM actions ORDER BY version DESC"):
        if action == "add":
            return None
        if action == "redo":
            brought += 1
        elif action != "undo":
            raise sqlite3.DatabaseError(f"an action is {action!r}, not add, undo or redo")
        elif brought:
            brought -= 1
        else:
            return int(_checked(number, int, "number of an action"))
    return None


def since(database: sqlite3.Connection, version: int) -> set[int]:
    """Return the decisions that were made or restored after a version."""
    rows = database.execute("SELECT number FROM actions WHERE version > ? AND action != 'undo'", (version,))
    return {int(_checked(row[0], int, "number of an action")) for row in rows}


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
