"""Log of decisions: one SQLite file in the run folder; every change is on disk before the call returns."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from ..errors import RunFolderError, StageError, TenpercentError
from . import rows
from .rows import ANSWERS as ANSWERS
from .rows import Decision as Decision
from .rows import ImageName as ImageName
from .rows import Kind as Kind
from .rows import check_decision

NAME = "decisions.sqlite"
WAIT = 10.0  # seconds for another writer to finish

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


class ConflictError(TenpercentError):
    """Error for a decision that contradicts one made meanwhile.

    Attributes:
        decision: the other decision.
        version: version of the log, to pass in order to decide otherwise all the same.
    """

    def __init__(self, decision: Decision, version: int) -> None:
        self.decision, self.version = decision, version
        super().__init__(
            f"decision {decision.number} ({decision.kind}, {decision.time}) says the contrary of "
            f"{decision.images[0].id}; look at it, then decide again"
        )


class DamagedDecisionsError(StageError):
    """Error for a file of decisions that can't be read; it is left as it is."""


class DecisionLog:
    """Decisions of a run, shared by any number of processes.

    Opening the log writes nothing: the file is created with the first decision.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME

    # ---- reading -------------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Number that grows with each decision, undo and redo; 0 where there is none.

        Raises:
            DamagedDecisionsError: the file can't be read.
        """
        with self._reading() as database:
            return 0 if database is None else rows.version(database)

    def history(self) -> tuple[Decision, ...]:
        """Return all decisions in the order they were made, including undone ones.

        Raises:
            DamagedDecisionsError: the file can't be read.
        """
        with self._reading() as database:
            return () if database is None else rows.decisions(database)

    def active(self) -> tuple[Decision, ...]:
        """Return the decisions in force, in the order they were made."""
        return tuple(decision for decision in self.history() if not decision.undone)

    @property
    def can_undo(self) -> bool:
        """True if there is a decision to undo."""
        with self._reading() as database:
            return database is not None and rows.last_active(database) is not None

    @property
    def can_redo(self) -> bool:
        """True if the last action was an undo."""
        with self._reading() as database:
            return database is not None and rows.last_undone(database) is not None

    # ---- writing -------------------------------------------------------------------------------------------------

    def add(
        self, kind: Kind, images: Sequence[ImageName], note: str = "", seen: int | None = None
    ) -> Decision:
        """Store a decision.

        Args:
            kind: the kind of decision.
            images: the images concerned, each once.
            note: the reason.
            seen: the version of the log that the person had seen; None for the current one.

        Raises:
            UsageError: too few or too many images for the kind, one twice, or a note too long.
            ConflictError: a decision after `seen` contradicts it.
            RunFolderError: the file can't be written.
        """
        check_decision(kind, images, note)
        with self._writing() as database:
            if seen is not None:
                theirs = rows.since(database, seen)
                for decision in rows.decisions(database):
                    if (
                        not decision.undone
                        and decision.number in theirs
                        and decision.contradicts(kind, images)
                    ):
                        raise ConflictError(decision, rows.version(database))
            return rows.decision(database, rows.insert(database, kind, images, note, rows.now()))

    def undo(self, number: int | None = None) -> Decision | None:
        """Undo a decision.

        Args:
            number: the decision's number; None for the last one in force.

        Returns:
            The decision, or None where there was nothing to undo.
        """
        with self._writing() as database:
            found = rows.last_active(database) if number is None else number
            if found is None or not rows.mark(database, found, undone=True):
                return None
            return rows.decision(database, found)

    def redo(self) -> Decision | None:
        """Restore the decision undone last, as long as nothing was decided since."""
        with self._writing() as database:
            found = rows.last_undone(database)
            if found is None or not rows.mark(database, found, undone=False):
                return None
            return rows.decision(database, found)

    def take_over(self, decisions: Sequence[Decision]) -> int:
        """Add decisions made elsewhere, except those already present; return the number added.

        They keep their time, kind, images, note and whether they were undone, and come after the existing ones.

        Raises:
            UsageError: one of them is invalid.
            RunFolderError: the file can't be written.
        """
        for decision in decisions:
            check_decision(decision.kind, decision.images, decision.note)
        with self._writing() as database:
            known = {(d.time, d.kind, d.images, d.note) for d in rows.decisions(database)}
            fresh = [d for d in decisions if (d.time, d.kind, d.images, d.note) not in known]
            for decision in fresh:
                number = rows.insert(database, decision.kind, decision.images, decision.note, decision.time)
                if decision.undone:
                    rows.mark(database, number, undone=True)
            return len(fresh)

    # ---- the file ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        if not self.path.exists():
            yield None
            return
        with self._told(), closing(self._open("ro")) as database:
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                yield None  # the first decision is being written, or its writer was killed
                return
            rows.check_schema(database, self.path)
            yield database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the file exclusively until the block ends, then flush it to disk."""
        with self._told(), closing(self._open("rwc")) as database:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")  # a decision survives a power failure, too
            database.execute("BEGIN IMMEDIATE")
            if not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in rows.SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA user_version = {rows.FORMAT}")
            rows.check_schema(database, self.path)
            database.execute(f"PRAGMA user_version = {rows.FORMAT}")
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
                # In a read-only folder no write-ahead log can be opened, and nobody else writes either.
                database.close()
                database = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
        return database

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Convert SQLite errors into a line for a person."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            code = (
                getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            )  # without the extended part
            if code in BUSY:
                raise RunFolderError(
                    f"can't write {self.path}: {error}; another process has held it for {WAIT:g} seconds; try again"
                ) from None
            if code in DISK:
                raise RunFolderError(
                    f"can't write {self.path}: {error}; free some space, or make the folder writable; nothing was lost"
                ) from None
            raise DamagedDecisionsError(
                f"{self.path} is damaged ({error}) and left as it is; restore a backup, or move it away to "
                "begin without decisions"
            ) from None
