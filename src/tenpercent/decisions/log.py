"""The log of decisions: one SQLite file in the run folder, every change of it on disk before the call returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import RunFolderError, StageError, TenpercentError, UsageError

FORMAT = 1
NAME = "decisions.sqlite"
WAIT = 10.0  # seconds for another writer to finish
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
BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
DISK = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


class Kind(StrEnum):
    """What can be decided about images."""

    KEEP = "keep"  # they stay, beside the keeper of their group
    REMOVE = "remove"  # they go, even where they are alone
    PREFER = "prefer"  # each stands for its group
    APART = "apart"  # two images: they never share a group
    ALONE = "alone"  # they share a group with no other image
    ACCEPT = "accept"  # a person has seen them: nothing changes


COUNT = {Kind.APART: 2}  # how many images a decision names; the others any number
STAYS = frozenset({Kind.KEEP, Kind.PREFER, Kind.ALONE})  # what contradicts `REMOVE`, and the other way round


class ImageName(NamedTuple):
    """How a decision names an image: by id and, where the id is gone, by the hash of its content."""

    id: str
    hash: str | None = None


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        number: counts from 1, in the order in which they were made.
        time: in UTC, ISO 8601.
        kind: what was decided.
        images: about which images.
        note: why, in a person's words.
        undone: whether it was taken back.
    """

    number: int
    time: str
    kind: Kind
    images: tuple[ImageName, ...]
    note: str = ""
    undone: bool = False

    def contradicts(self, kind: Kind, images: Sequence[ImageName]) -> bool:
        """Whether another decision would undo what this one says of the same image."""
        if not (kind is Kind.REMOVE and self.kind in STAYS) and not (
            self.kind is Kind.REMOVE and kind in STAYS
        ):
            return False
        return not {image.id for image in self.images}.isdisjoint(image.id for image in images)


class ConflictError(TenpercentError):
    """Somebody has decided the contrary meanwhile.

    Attributes:
        decision: theirs.
        version: of the log, with which to decide otherwise all the same.
    """

    def __init__(self, decision: Decision, version: int) -> None:
        self.decision, self.version = decision, version
        super().__init__(
            f"decision {decision.number} ({decision.kind}, {decision.time}) says the contrary of "
            f"{decision.images[0].id}; look at it, then decide again"
        )


class DamagedDecisionsError(StageError):
    """The file of decisions can't be read; it is left as it is."""


class DecisionLog:
    """The decisions of a run, shared by any number of processes.

    Opening it touches nothing: the file is made with the first decision.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    # ---- reading -------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """A number that grows with each decision, undo and redo; 0 where there is none.

        Raises:
            DamagedDecisionsError: the file can't be read.
        """
        with self._reading() as database:
            return 0 if database is None else _version(database)

    def history(self) -> tuple[Decision, ...]:
        """Return all decisions in the order they were made, with those undone.

        Raises:
            DamagedDecisionsError: the file can't be read.
        """
        with self._reading() as database:
            return () if database is None else _decisions(database)

    def active(self) -> tuple[Decision, ...]:
        """Return the decisions that hold, in the order they were made."""
        return tuple(decision for decision in self.history() if not decision.undone)

    @property
    def can_undo(self) -> bool:
        """Whether there is a decision to take back."""
        with self._reading() as database:
            return database is not None and _last_active(database) is not None

    @property
    def can_redo(self) -> bool:
        """Whether the last thing done was to take a decision back."""
        with self._reading() as database:
            return database is not None and _last_undone(database) is not None

    # ---- writing -------------------------------------------------------------------------------------------------

    def add(
        self, kind: Kind, images: Sequence[ImageName], note: str = "", seen: int | None = None
    ) -> Decision:
        """Write a decision down.

        Args:
            kind: what is decided.
            images: about which images, each once.
            note: why.
            seen: the version of the log that the person had seen; None for whatever there is.

        Raises:
            UsageError: too few or too many images for the kind, one twice, or a note too long.
            ConflictError: a decision after `seen` says the contrary.
            RunFolderError: the file can't be written.
        """
        _check(kind, images, note)
        with self._writing() as database:
            if seen is not None:
                theirs = _since(database, seen)
                for decision in _decisions(database):
                    if (
                        not decision.undone
                        and decision.number in theirs
                        and decision.contradicts(kind, images)
                    ):
                        raise ConflictError(decision, _version(database))
            return _decision(database, _insert(database, kind, images, note, _now()))

    def undo(self, number: int | None = None) -> Decision | None:
        """Take a decision back.

        Args:
            number: which one; None for the last one that holds.

        Returns:
            The decision, or None where there was nothing to take back.
        """
        with self._writing() as database:
            found = _last_active(database) if number is None else number
            if found is None or not _mark(database, found, undone=True):
                return None
            return _decision(database, found)

    def redo(self) -> Decision | None:
        """Bring back what was taken back last, as long as nothing was decided since."""
        with self._writing() as database:
            found = _last_undone(database)
            if found is None or not _mark(database, found, undone=False):
                return None
            return _decision(database, found)

    def take_over(self, decisions: Sequence[Decision]) -> int:
        """Add decisions made elsewhere, but for those that are here already; return how many came.

        They keep their time, kind, images, note and whether they were undone, and come after what is here.

        Raises:
            UsageError: one of them is none.
            RunFolderError: the file can't be written.
        """
        for decision in decisions:
            _check(decision.kind, decision.images, decision.note)
        with self._writing() as database:
            known = {(d.time, d.kind, d.images, d.note) for d in _decisions(database)}
            fresh = [d for d in decisions if (d.time, d.kind, d.images, d.note) not in known]
            for decision in fresh:
                number = _insert(database, decision.kind, decision.images, decision.note, decision.time)
                if decision.undone:
                    _mark(database, number, undone=True)
            return len(fresh)

    # ---- the file ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self.path.exists():
            yield None
            return
        with self._told(), closing(self._open("ro")) as database:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                yield None  # the first decision is just being written, or its writer was killed
                return
            _check_schema(database, self.path)
            yield database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file alone until the block ends, then have it on disk."""
        with self._told(), closing(self._open("rwc")) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")  # a decision outlives the machine's power, too
            database.execute("BEGIN IMMEDIATE")
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {FORMAT}")
            _check_schema(database, self.path)
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _open(self, mode: str) -> sqlite3.Connection:
        address = f"{self.path.absolute().as_uri()}?mode={mode}"
        database = sqlite3.connect(address, uri=True, timeout=WAIT, isolation_level=None)
        if mode == "ro":
            try:
                database.execute("PRAGMA user_version")
            except sqlite3.OperationalError:
                # In a folder that can't be written no log of writes can be opened, and nobody else writes either.
                database.close()
                database = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
        return database

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite says into a line for a person."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the finer reason
            if code in BUSY:
                raise RunFolderError(
                    f"can't write {self.path}: {error}; another process has held it for {WAIT:g} seconds: try again"
                ) from None
            if code in DISK:
                raise RunFolderError(
                    f"can't write {self.path}: {error}; free some space, or make the folder writable; nothing was lost"
                ) from None
            raise DamagedDecisionsError(
                f"{self.path} is damaged ({error}) and left as it is; put a copy in its place, or move it away to "
                "begin without decisions"
            ) from None


def _check(kind: Kind, images: Sequence[ImageName], note: str) -> None:
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


def _check_schema(database: sqlite3.Connection, path: Path) -> None:
    """Raise where the file is of a newer format, or has not the tables and columns of this one."""
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


def _version(database: sqlite3.Connection) -> int:
    found = database.execute("SELECT coalesce(max(version), 0) FROM actions").fetchone()[0]
    return int(_checked(found, int, "version of an action"))


def _decisions(database: sqlite3.Connection) -> tuple[Decision, ...]:
    images: dict[int, list[ImageName]] = {}
    for number, name, code in database.execute("SELECT number, id, hash FROM images ORDER BY number, place"):
        images.setdefault(number, []).append(_image(name, code))
    rows = database.execute("SELECT number, time, kind, note, undone FROM decisions ORDER BY number")
    found = tuple(_read(row, tuple(images.pop(row[0], ()))) for row in rows)
    if images:
        raise sqlite3.DatabaseError(f"images of decision {min(images)} are there, and it is not")
    return found


def _decision(database: sqlite3.Connection, number: int) -> Decision:
    images = database.execute("SELECT id, hash FROM images WHERE number = ? ORDER BY place", (number,))
    named = tuple(_image(*row) for row in images)
    row = database.execute(
        "SELECT number, time, kind, note, undone FROM decisions WHERE number = ?", (number,)
    ).fetchone()
    return _read(row, named)


def _read(row: tuple[Any, ...], images: tuple[ImageName, ...]) -> Decision:
    """Return the decision of a row; what no version of this program writes is an error."""
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
        _check(Kind(kind), images, note)
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


def _insert(
    database: sqlite3.Connection, kind: Kind, images: Sequence[ImageName], note: str, time: str
) -> int:
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


def _mark(database: sqlite3.Connection, number: int, *, undone: bool) -> bool:
    """Take a decision back or bring it back; return whether that changes anything."""
    changed = database.execute(
        "UPDATE decisions SET undone = ? WHERE number = ? AND undone = ?", (undone, number, not undone)
    ).rowcount
    if changed:
        _act(database, "undo" if undone else "redo", number)
    return bool(changed)


def _act(database: sqlite3.Connection, action: str, number: int) -> None:
    database.execute("INSERT INTO actions (time, action, number) VALUES (?, ?, ?)", (_now(), action, number))


def _last_active(database: sqlite3.Connection) -> int | None:
    found = database.execute("SELECT max(number) FROM decisions WHERE undone = 0").fetchone()[0]
    return None if found is None else int(_checked(found, int, "number of a decision"))


def _last_undone(database: sqlite3.Connection) -> int | None:
    """Return what was taken back last and not brought back since, and nothing decided after it."""
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


def _since(database: sqlite3.Connection, version: int) -> set[int]:
    """Return the decisions that were made or brought back after a version."""
    rows = database.execute("SELECT number FROM actions WHERE version > ? AND action != 'undo'", (version,))
    return {int(_checked(row[0], int, "number of an action")) for row in rows}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
