"""Layouts of the tables of a run folder, and the only way to read them: damaged files are refused here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...errors import StageError, one_line, quoted
from .checksums import ABOUT, CHECKSUMS, RECORD, checksum, recorded
from .typed import parsed_format

T = TypeVar("T")

MAGIC = b"PAR1"  # the first bytes of a Parquet file
LEVELS = 3  # folders between a file and `run.json`, at most

CHANGED = "it differs from what was written (another checksum)"

MAKERS = {  # by a file's name, else by its folder's: what to do about damage
    "merges.parquet": "delete it, then make it again with: tenpercent cluster {run}",
    "merges.counted.parquet": "delete it: a deeper cut then counts again (tenpercent select {run})",
    "decided.parquet": "delete it, then make it again with: tenpercent select {run}",
    "decided.counted.parquet": "delete it: a deeper cut then counts again (tenpercent select {run})",
    "selection.parquet": "make it again with: tenpercent select {run} --keep 0.9",
    "rejected.parquet": "delete it, then make it again with: tenpercent embed SOURCE --out {run}",
    "holdout.parquet": "delete it, then make it again with: tenpercent embed SOURCE --out {run}",
    "sharpness.parquet": "delete it: the images are then read again",
    "stamps.parquet": "delete it: the images are then read again",
    "results.parquet": "delete it, then make it again with: tenpercent evaluate {run}",
    "embeddings": "delete it, then make it again with: tenpercent embed SOURCE --out {run}",
    "begun": "delete it: its images are embedded again",
    "pictures": "delete it: the images are then read again",
    "training": "delete the folder and {run}/embeddings, then train again with: tenpercent embed SOURCE --out {run}",
    "trainings": "delete it, then train again with: tenpercent evaluate {run}",
}
CALLER_FILES = {  # files that a caller may name, by what they hold: their names in a run folder, and what to pass
    "selection": (("selection.parquet",), "pass a run folder, or the selection.parquet in it"),
    "tree of merges": (
        ("merges.parquet", "decided.parquet"),
        "pass a run folder, or the merges.parquet in it",
    ),
    "part of embeddings": (
        ("part-*.parquet",),
        "pass a run folder; a source of images or vectors is embedded first: tp.embed(SOURCE, out=RUN)",
    ),
}


def in_run_folder(path: Path) -> bool:
    """Return whether a file lies in a run folder."""
    return any((folder / RECORD).is_file() for folder in list(path.absolute().parents)[:LEVELS])


def remedy(path: Path, *, ours: bool = True) -> str:
    """Return the remedy for a damaged file, by its place in the run folder.

    Args:
        path: the file.
        ours: whether its content is tenpercent's; a file of somebody else is never to be deleted.
    """
    text, run = "delete it and repeat the command that made it", path.parent
    if path.name in MAKERS:
        text = MAKERS[path.name]
    elif path.parent.name in MAKERS:
        text, run = MAKERS[path.parent.name], path.parent.parent
    if ours and in_run_folder(path):
        return text.format(run=quoted(run))
    return text.replace("delete it", "move it away").format(run=quoted(run) if in_run_folder(path) else "RUN")


def damaged(path: Path, what: object) -> StageError:
    """Return the error for a damaged file: what is wrong with it, and which command makes it again."""
    return StageError(f"{path} is damaged ({one_line(what, 200)}); {remedy(path)}")


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: name of the column.
        type: its type, or a test of it.
        nullable: whether values may be missing.
        lowest, highest: the inclusive range of the values; nan is in none.
        optional: whether a table may lack the column, as in older versions.
        unvouched: a check of values without a checksum, which returns what is wrong with them.
    """

    name: str
    type: pa.DataType | Callable[[pa.DataType], bool]
    nullable: bool = False
    lowest: float | None = None
    highest: float | None = None
    optional: bool = False
    unvouched: Callable[[pa.ChunkedArray], str | None] | None = None

    def problem(self, found: pa.ChunkedArray) -> str | None:
        """Return what is wrong with a column that was read, or None."""
        right = self.type(found.type) if callable(self.type) else found.type == self.type
        if not right:
            return f"column {self.name} is {found.type}"
        if found.null_count and not self.nullable:
            return f"column {self.name} has {found.null_count:,} nulls"
        if self.lowest is None and self.highest is None:
            return None
        if pa.types.is_floating(found.type) and pc.any(pc.is_nan(found)).as_py():
            return f"column {self.name} holds nan"
        ends = pc.min_max(found).as_py()
        if self.lowest is not None and ends["min"] is not None and ends["min"] < self.lowest:
            return f"column {self.name} holds {ends['min']}, below {self.lowest}"
        if self.highest is not None and ends["max"] is not None and ends["max"] > self.highest:
            return f"column {self.name} holds {ends['max']}, above {self.highest}"
        return None


class FormatOnly(TypedDict):
    """Metadata of a table that needs no more than its format."""

    format: int


@dataclass(frozen=True)
class Layout:
    """Layout of a table.

    Attributes:
        columns: the columns to read; others are ignored.
        about: the type of the JSON stored beside the columns, a TypedDict.
        newest: the highest format that this version reads.
        bare: whether a table without metadata is accepted.
        what: the name of its content in `CALLER_FILES`, where a caller may name the file.
    """

    columns: tuple[Column, ...]
    about: Any
    newest: int
    bare: bool = False
    what: str = ""


def read_about(path: Path, layout: Layout) -> dict[str, Any]:
    """Return the JSON that `write_table` stored beside a table.

    Raises:
        StageError: the file is damaged, of a newer format, or no such table.
    """
    return _retried(path, lambda kept: _read_about(path, layout, kept))


def read_checked(path: Path, layout: Layout) -> tuple[pa.Table, dict[str, Any]]:
    """Return the columns of a table, in the order of the layout, and the JSON stored beside them.

    Everything is checked: columns, types, nulls, ranges, text, and the checksums that `run.json` or the file itself
    holds. Files of version 0.1 have no checksums; all other checks apply to them.

    Raises:
        StageError: the file is damaged, of a newer format, or no such table.
    """
    return _retried(path, lambda kept: _read(path, layout, kept))


def check_file(path: Path) -> None:
    """Raise `StageError` where the checksum of a file that is not a table differs from the one in `run.json`."""

    def compare(kept: str | None) -> None:
        with whole(path):
            if kept is not None and checksum(path.read_bytes()) != kept:
                raise damaged(path, CHANGED)

    _retried(path, compare)


def _retried(path: Path, read: Callable[[str | None], T]) -> T:
    """Read with the stored checksums; retry once if another process has rewritten the file meanwhile."""
    kept = recorded(path)
    try:
        return read(kept)
    except StageError:
        later = recorded(path)
        if later == kept:
            raise
    return read(later)


def _read_about(path: Path, layout: Layout, kept: str | None) -> dict[str, Any]:
    with whole(path):
        _check_content(path, layout)
        schema = pq.read_schema(path)
        return _about(path, schema, layout, _expected(path, schema, kept))


def _read(path: Path, layout: Layout, kept: str | None) -> tuple[pa.Table, dict[str, Any]]:
    with whole(path), _opened(path, layout) as file:
        schema = file.schema_arrow
        columns = [one for one in layout.columns if not one.optional or one.name in schema.names]
        expected = _expected(path, schema, kept)
        about = _about(path, schema, layout, expected)
        for column in columns:
            if schema.names.count(column.name) != 1:
                what = "is missing" if column.name not in schema.names else "occurs twice"
                raise damaged(path, f"column {column.name} {what}")
        names = [column.name for column in columns]
        table = file.read(columns=names).select(names)
        for column in columns:
            wrong = _wrong(column, table[column.name], expected.get(column.name))
            if wrong is not None:
                raise damaged(path, wrong)
    return table, about


def _opened(path: Path, layout: Layout) -> pq.ParquetFile:
    _check_content(path, layout)
    return pq.ParquetFile(path)


def _check_content(path: Path, layout: Layout) -> None:
    """Raise `StageError` where a file that a caller named holds something else than the layout's content."""
    if not layout.what:
        return
    names, instead = CALLER_FILES[layout.what]
    if in_run_folder(path) and any(path.match(name) for name in names):
        return  # in its own place: what is wrong with it is damage
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise StageError(f"{path} is not a {layout.what} (it is not a Parquet file); {instead}")
    schema = pq.read_schema(path)
    stored = (schema.metadata or {}).get(ABOUT)
    if stored is None:
        raise StageError(f"{path} is not a {layout.what}: it was not written by tenpercent; {instead}")
    try:
        parsed_format(path, stored, layout.about, layout.newest)
    except ValueError:
        columns = ", ".join(schema.names[:5]) + (", …" if len(schema.names) > 5 else "")
        raise StageError(f"{path} is not a {layout.what} (its columns are {columns}); {instead}") from None


def _expected(path: Path, schema: pa.Schema, kept: str | None) -> dict[str, str]:
    """Return the stored checksums by column name, and that of the metadata under ""."""
    if kept is None:
        kept = (schema.metadata or {}).get(CHECKSUMS, b"").decode("ascii", "replace")
    if not kept:
        return {}
    values, names = kept.split("."), ["", *schema.names]
    if len(values) != len(names):
        raise damaged(path, f"it has {len(names) - 1} columns and had {len(values) - 1} when it was written")
    return dict(zip(names, values, strict=True))


def _about(path: Path, schema: pa.Schema, layout: Layout, expected: dict[str, str]) -> dict[str, Any]:
    stored = (schema.metadata or {}).get(ABOUT)
    if stored is None:
        if layout.bare:
            return {}
        raise StageError(f"{path} was not written by tenpercent; {remedy(path, ours=False)}")
    if expected and expected[""] != checksum(stored):
        raise damaged(path, f"its metadata: {CHANGED}")
    try:
        about = parsed_format(path, stored, layout.about, layout.newest)
    except ValueError as error:
        raise damaged(path, f"its metadata: {error}") from None
    return about


def _wrong(column: Column, found: pa.ChunkedArray, expected: str | None) -> str | None:
    wrong = column.problem(found)
    if wrong is not None:
        return wrong
    if expected is not None:
        differs = checksum(found) != expected
        return f"column {column.name}: {CHANGED}" if differs else None
    found.validate(full=True)  # raises at invalid text
    return None if column.unvouched is None else column.unvouched(found)


def count_rows(path: Path) -> int:
    """Return the number of rows of a table.

    Raises:
        StageError: the file is damaged.
    """
    with whole(path):
        return int(pq.read_metadata(path).num_rows)


def has_checksums(path: Path) -> bool:
    """Return whether a table itself holds checksums."""
    with whole(path):
        return CHECKSUMS in (pq.read_schema(path).metadata or {})


def read_settings(path: Path, kind: Any, newest: int, remedy: str) -> dict[str, Any]:
    """Return a JSON file that has a format and the type `kind`, a TypedDict.

    Raises:
        StageError: it can't be read, is of a newer format, or of another type; the message ends with the remedy.
    """
    try:
        check_file(path)
        return parsed_format(path, path.read_bytes(), kind, newest)
    except (OSError, ValueError) as error:
        raise StageError(f"{path} can't be read ({one_line(error, 200)}); {remedy}") from None


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Convert the errors of reading a damaged file into `StageError`."""
    try:
        yield
    except StageError:
        raise
    except OSError as error:
        if error.errno is not None:
            raise StageError(f"{path} can't be read ({error.strerror}); {remedy(path)}") from None
        raise damaged(path, str(error).split("\n")[0]) from None
    except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as error:
        raise damaged(path, str(error).split("\n")[0]) from None


def check(path: Path, *claims: tuple[Any, str]) -> None:
    """Raise `StageError` at the first claim that is false; each comes with the message for that case."""
    for holds, what in claims:
        if not holds:
            raise damaged(path, what)


def ascending(*keys: npt.NDArray[Any]) -> bool:
    """Return whether rows are in strictly ascending order of the keys, the first key being the most significant."""
    tied = np.ones(max(len(keys[0]) - 1, 0), dtype=np.bool_)
    for key in keys:
        if bool(np.any(tied & (key[1:] < key[:-1]))):
            return False
        tied &= key[1:] == key[:-1]
    return not bool(tied.any())
