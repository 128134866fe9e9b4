"""Damage every file of a run in every way, and see what commands make of it.

    python tests/stress/damage_runs.py --share 1 --seed 0

Two runs are damaged: one of version 0.1, which has no checksums and is held to what its files must look like, and the
same with checksums, as this version writes them. A command must end with one line that names the file, or give what
it gives of the whole run; of a run without checksums any result will do that is no traceback.
Prints a line for each damage that was not met so, and exits with status 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sqlite3
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tenpercent.cli.main import main
from tenpercent.data.store.checksums import ABOUT, CHECKSUMS
from tenpercent.data.store.files import write_table
from tenpercent.data.store.run_folder import RunFolder, Stage

STORED = Path(__file__).parents[1] / "support" / "stored_runs.zip"
NOT_READ = ("report.html", "locks", "evidence", "decisions.sqlite-shm")

Damaging = Callable[[Path], None]


@dataclass(frozen=True)
class Damage:
    """One damage to one file.

    Attributes:
        file: within the run folder.
        what: was done to it.
        do: does it.
    """

    file: str
    what: str
    do: Damaging

    def __str__(self) -> str:
        return f"{self.file}: {self.what}"


# ---- the runs --------------------------------------------------------------------------------------------------------


def unpacked(folder: Path) -> Path:
    """Unpack the stored runs into `folder` and return it."""
    with zipfile.ZipFile(STORED) as stored:
        stored.extractall(folder)
    for path in [*folder.rglob("*.json"), *folder.rglob("*.csv")]:
        path.write_text(path.read_text(encoding="utf-8").replace("@FOLDER@", str(folder)), encoding="utf-8")
    for name in NOT_READ:
        for path in folder.glob(f"runs/*/{name}"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return folder


def with_checksums(run: Path) -> Path:
    """Give a run the checksums that this version keeps, and return it."""
    for path in [*run.glob("trainings/*.parquet"), run / "results.parquet"]:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[ABOUT])
        write_table(path, table.replace_schema_metadata(None), about, checksums=True)
    for stage in (Stage.EMBED, Stage.CLUSTER, Stage.SELECT):
        RunFolder.open(run).store_checksums(stage)
    return run


# ---- damages to tables -----------------------------------------------------------------------------------------------


def of_table(run: Path, file: str, dice: random.Random, flips: int) -> Iterator[Damage]:
    """Yield damages to a Parquet file."""
    table = pq.read_table(run / file)
    for what, change in (*_of_columns(table), *_of_rows(table, dice), *_of_metadata(table)):
        yield Damage(file, what, lambda path, change=change: _rewrite(path, change))
    yield from of_bytes(run, file, dice, flips)


def _rewrite(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = pq.read_table(path)
    metadata = table.schema.metadata
    found = change(table)
    kept = found.schema.metadata if found.schema.metadata != metadata else metadata
    pq.write_table(found.replace_schema_metadata(kept), path, compression="zstd")


def _put(name: str, make: Callable[[pa.ChunkedArray], Any]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, make(table[name]))

    return change


def _first(value: Any) -> Callable[[pa.ChunkedArray], pa.Array]:
    return lambda column: pa.array([value, *column.to_pylist()[1:]], column.type)


def _of_columns(table: pa.Table) -> Iterator[tuple[str, Callable[[pa.Table], pa.Table]]]:
    for name in table.column_names:
        kind = table[name].type
        yield f"column {name} dropped", lambda t, name=name: t.drop_columns([name])
        yield (
            f"column {name} renamed",
            lambda t, name=name: t.rename_columns(
                [f"{one}_" if one == name else one for one in t.column_names]
            ),
        )
        yield f"column {name} twice", lambda t, name=name: t.append_column(name, t[name])
        yield f"column {name} of numbers", _put(name, lambda c: pa.array([1.5] * len(c)))
        yield f"column {name} of text", _put(name, lambda c: pa.array(["x"] * len(c)))
        yield f"column {name} of nothing", _put(name, lambda c: pa.nulls(len(c)))
        yield f"column {name} all null", _put(name, lambda c: pa.nulls(len(c), c.type))
        if not len(table):
            continue
        yield f"column {name} with a null", _put(name, _first(None))
        yield f"column {name} shifted", _put(name, lambda c: c.take(pa.array([*range(1, len(c)), 0])))
        if pa.types.is_integer(kind):
            for value in (-1, -(2**31), len(table), 2**31 - 1, *([2**62] if kind == pa.int64() else [])):
                yield f"column {name} with {value}", _put(name, _first(value))
            yield f"column {name} in 16 bits", _put(name, lambda c: pc.cast(c, pa.int16(), safe=False))
        elif pa.types.is_floating(kind):
            for number in (-1.0, 1e300, float("nan"), float("inf")):
                yield f"column {name} with {number}", _put(name, _first(number))
            yield f"column {name} in 32 bits", _put(name, lambda c: pc.cast(c, pa.float32()))
        elif pa.types.is_string(kind):
            for text in ("", "no such", "\0", "x" * 10_000):
                yield f"column {name} with {text[:10]!r}", _put(name, _first(text))
            yield f"column {name} as categories", _put(name, lambda c: c.dictionary_encode())
            yield f"column {name} as bytes", _put(name, lambda c: pc.cast(c, pa.binary()))
        elif pa.types.is_boolean(kind):
            yield f"column {name} turned round", _put(name, pc.invert)
        elif pa.types.is_fixed_size_list(kind):
            for number in (float("nan"), 0.0, 5.0):
                yield f"a vector of {name} with {number}", _put(name, _first([number] * kind.list_size))
            yield f"a vector of {name} turned round", _put(name, _negated)
            yield f"column {name} as lists", _put(name, lambda c: pa.array(c.to_pylist()))
            yield (
                f"column {name} narrower",
                _put(
                    name,
                    lambda c, k=kind: pa.array(
                        [row[1:] for row in c.to_pylist()], pa.list_(k.value_type, k.list_size - 1)
                    ),
                ),
            )


def _negated(column: pa.ChunkedArray) -> pa.Array:
    rows = column.to_pylist()
    return pa.array([[-value for value in rows[0]], *rows[1:]], column.type)


def _of_rows(table: pa.Table, dice: random.Random) -> Iterator[tuple[str, Callable[[pa.Table], pa.Table]]]:
    n = len(table)
    if not n:
        return
    order = dice.sample(range(n), n)
    yield "no rows", lambda t: t.slice(0, 0)
    yield "the first row gone", lambda t: t.slice(1)
    yield "the last row gone", lambda t: t.slice(0, n - 1)
    yield "half of the rows", lambda t: t.slice(0, n // 2)
    yield "a row twice", lambda t: t.take([0, *range(n)])
    yield "all rows twice", lambda t: pa.concat_tables([t, t])
    yield "rows turned round", lambda t: t.take(list(reversed(range(n))))
    yield "rows shuffled", lambda t: t.take(order)


def _of_metadata(table: pa.Table) -> Iterator[tuple[str, Callable[[pa.Table], pa.Table]]]:
    stored = table.schema.metadata

    def with_about(about: bytes | None) -> Callable[[pa.Table], pa.Table]:
        others = {key: value for key, value in stored.items() if key != ABOUT}
        return lambda t: t.replace_schema_metadata(others if about is None else {**others, ABOUT: about})

    yield "no metadata", lambda t: t.replace_schema_metadata({})
    yield "metadata gone", with_about(None)
    for raw in (b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}", b"[" * 100_000):
        yield f"metadata {raw[:8]!r}", with_about(raw)
    for what, content in of_json(json.loads(stored[ABOUT])):
        yield f"metadata: {what}", with_about(json.dumps(content).encode())
    if CHECKSUMS in stored:
        for raw in (b"{", b"00000000", b"a.b.c"):
            changed = {**stored, CHECKSUMS: raw}
            yield f"checksums {raw!r}", lambda t, changed=changed: t.replace_schema_metadata(changed)


# ---- damages to JSON, databases and bytes ----------------------------------------------------------------------------


def of_json(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield JSON that differs from `content` at one place, with what was done."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        at = f"{name}.{key}" if name else key
        yield f"{at} gone", {k: v for k, v in content.items() if k != key}
        for other in (None, "x", -1, 1.5, True, [], {}, [None], 2**70, "\0"):
            if type(other) is not type(value) or other != value:
                yield f"{at} is {other!r}", {**content, key: other}
        for what, inner in of_json(value, at):
            yield what, {**content, key: inner}


def of_json_file(run: Path, file: str, dice: random.Random, flips: int) -> Iterator[Damage]:
    """Yield damages to a file of JSON."""
    content = json.loads((run / file).read_text(encoding="utf-8"))
    if isinstance(content, list):
        inner = ((what, [one, *content[1:]]) for what, one in of_json(content[0]))
        found = [("empty list", []), *inner]
    else:
        found = list(of_json(content))
    for what, changed in found:
        yield Damage(file, what, lambda path, changed=changed: _write_json(path, changed))
    for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe{}", b"[" * 100_000):
        yield Damage(file, f"holds {raw[:8]!r}", lambda path, raw=raw: _write(path, raw))
    yield from of_bytes(run, file, dice, flips)


def _write_json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


STATEMENTS = (
    "DROP TABLE actions",
    "DROP TABLE decisions",
    "DROP TABLE images",
    "ALTER TABLE decisions DROP COLUMN note",
    "ALTER TABLE images DROP COLUMN hash",
    "ALTER TABLE actions RENAME COLUMN action TO what",
    "UPDATE decisions SET kind = 'burn'",
    "UPDATE decisions SET kind = 5",
    "UPDATE decisions SET kind = ''",
    "UPDATE decisions SET undone = 'x'",
    "UPDATE decisions SET undone = 2",
    "UPDATE decisions SET time = x'ff00'",
    "UPDATE decisions SET note = x'00'",
    "UPDATE decisions SET note = CAST(x'ff' AS TEXT)",
    "UPDATE decisions SET number = number + 100",
    "DELETE FROM decisions WHERE number = 1",
    "DELETE FROM images",
    "UPDATE images SET id = x'6162'",
    "UPDATE images SET id = CAST(x'ff41' AS TEXT)",
    "UPDATE images SET hash = x'00'",
    "UPDATE images SET number = 'x' WHERE number = 1",
    "UPDATE images SET number = 99 WHERE number = 1",
    "UPDATE actions SET action = 'burn'",
    "UPDATE actions SET number = 'x'",
    "DELETE FROM actions",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = -3",
    "PRAGMA user_version = 99",
)


def of_database(run: Path, file: str, dice: random.Random, flips: int) -> Iterator[Damage]:
    """Yield damages to the file of decisions."""
    for statement in STATEMENTS:
        yield Damage(file, statement, lambda path, statement=statement: _execute(path, statement))
    yield Damage(file, "another program's database", _of_another_program)
    yield Damage(file, "a folder", lambda path: (path.unlink(), path.mkdir())[1])
    yield Damage(file, "text", lambda path: _write(path, b"no database at all " * 300))
    yield from of_bytes(run, file, dice, flips)


def _execute(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


def _of_another_program(path: Path) -> None:
    path.unlink()
    _execute(path, "CREATE TABLE moz_places (id INTEGER, url TEXT)", "PRAGMA user_version = 1")


def of_bytes(run: Path, file: str, dice: random.Random, flips: int) -> Iterator[Damage]:
    """Yield damages to the bytes of a file: flipped ones, a shorter file, one too long."""
    size = (run / file).stat().st_size
    for place in sorted(dice.sample(range(size), min(flips, size))):
        bit = 1 << dice.randrange(8)
        yield Damage(file, f"byte {place} ^ {bit}", lambda path, p=place, b=bit: _flip(path, p, b))
    for left in {0, 4, size // 2, size - 1}:
        yield Damage(
            file, f"{left} of {size} bytes", lambda path, left=left: _write(path, path.read_bytes()[:left])
        )
    yield Damage(file, "zeros at its end", lambda path: _write(path, path.read_bytes()[:-64] + bytes(64)))


def _flip(path: Path, place: int, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= bit
    path.write_bytes(bytes(content))


def damages(run: Path, seed: int, flips: int) -> Iterator[Damage]:
    """Yield all damages to all files of a run that commands read."""
    dice = random.Random(seed)
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        file = path.relative_to(run).as_posix()
        if path.suffix == ".parquet":
            yield from of_table(run, file, dice, flips)
        elif path.suffix == ".json":
            yield from of_json_file(run, file, dice, flips)
        elif path.suffix == ".sqlite":
            yield from of_database(run, file, dice, flips)
        elif path.suffix == ".safetensors":
            yield from of_bytes(run, file, dice, flips)


# ---- commands --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outcome:
    """What a command came to.

    Attributes:
        status: its exit status; None after a traceback.
        error: what it wrote to stderr.
        result: what it gave, for comparing; None where it failed.
    """

    status: int | None
    error: str
    result: Any


def _command(words: list[str], result: Callable[[Path, str], Any]) -> Callable[[Path], Outcome]:
    def run_it(run: Path) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        asked = [word.replace("RUN", str(run)) for word in words]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status = main([*asked, "--quiet"])
        except SystemExit as left:
            return Outcome(None, f"SystemExit {left.code}: {err.getvalue()}", None)
        except BaseException:  # noqa: BLE001 – whatever a damaged file makes of a command is the finding
            return Outcome(None, traceback.format_exc(), None)
        found = result(run, out.getvalue()) if status == 0 else None
        return Outcome(status, err.getvalue(), found)

    return run_it


def _rows(name: str) -> Callable[[Path, str], Any]:
    return lambda run, _: pq.read_table(run / name).replace_schema_metadata(None).to_pydict()


def _nothing(run: Path, said: str) -> None:
    return None


def _said(run: Path, said: str) -> str:
    return said


def _answers(run: Path) -> Outcome:
    """Ask the review server for what its page asks for."""
    from reviewing import page

    try:
        with page(run) as opened:
            for address in ("/api/run", "/api/groups", "/api/decisions", "/api/images/0", "/api/accuracy"):
                answer = opened.client.get(address)
                if answer.status_code >= 500 and answer.status_code != 503:
                    return Outcome(None, f"{address}: {answer.status_code} {answer.text}", None)
    except BaseException as error:  # noqa: BLE001
        from tenpercent.errors import TenpercentError

        if isinstance(error, TenpercentError):
            return Outcome(1, f"tenpercent: error: {' '.join(str(error).split())}\n", None)
        return Outcome(None, traceback.format_exc(), None)
    return Outcome(0, "", None)


COMMANDS: dict[str, Callable[[Path], Outcome]] = {
    "info": _command(["info", "RUN"], _nothing),
    "explain": _command(["explain", "RUN", "cat/02.png"], _said),
    "absent": _command(["explain", "RUN", "dog/broken.jpg"], _said),
    "export": _command(
        ["export", "RUN", "--format", "csv", "--to", "RUN/out.csv"],
        lambda run, _: (run / "out.csv").read_text(),
    ),
    "select": _command(["select", "RUN", "--keep", "0.8"], _rows("selection.parquet")),
    "deepen": _command(["select", "RUN", "--keep", "0.3"], _rows("selection.parquet")),
    "cluster": _command(["cluster", "RUN", "--keep", "0.4"], _rows("merges.parquet")),
    "decisions": _command(["decisions", "RUN"], _said),
    "report": _command(["report", "RUN"], _nothing),
    "review": _answers,
}
ALWAYS = ("select", "report", "review")
READ_BY: dict[str, tuple[str, ...]] = {
    "run.json": tuple(COMMANDS),
    "selection.parquet": ("export", "explain", "info", "report"),
    "embeddings": ("select", "deepen", "cluster", "explain", "report", "review"),
    "merges.parquet": ("select", "deepen", "cluster", "explain", "report", "review"),
    "merges.counted.parquet": ("cluster", "deepen"),
    "decided.parquet": ("select", "deepen", "report", "review"),
    "decided.counted.parquet": ("deepen",),
    "decisions.sqlite": ("select", "decisions", "explain", "export", "report", "review"),
    "rejected.parquet": ("absent", "report", "info"),
    "holdout.parquet": ("absent",),
    "results.parquet": ("report", "review"),
    "trainings": ("report",),
}


def commands_of(damage: Damage) -> tuple[str, ...]:
    """Return the commands that read a damaged file."""
    return READ_BY.get(damage.file) or READ_BY.get(damage.file.partition("/")[0], ALWAYS)


def fault(outcome: Outcome, expected: Outcome, *, checked: bool) -> str | None:
    """Return what is wrong with an outcome, or None.

    Args:
        outcome: of the damaged run.
        expected: of the whole one.
        checked: the run has checksums, so no other result is right.
    """
    if outcome.status is None:
        return outcome.error.strip().splitlines()[-1]
    if outcome.status == 0:
        return "another result, without a word" if checked and outcome.result != expected.result else None
    if outcome.status not in (1, 2):
        return f"exit status {outcome.status}"
    lines = outcome.error.splitlines()
    if len(lines) != 1 or not lines[0].startswith("tenpercent: error: "):
        return f"not one line of an error: {outcome.error!r}"
    return None


def tried(run: Path, scratch: Path, damage: Damage, command: str) -> Outcome:
    """Return what a command makes of a copy of a run that is damaged."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(run, scratch)
    damage.do(scratch / damage.file)
    return COMMANDS[command](scratch)


def whole(run: Path, scratch: Path) -> dict[str, Outcome]:
    """Return what the commands make of the run as it is."""
    nothing = Damage("run.json", "nothing", lambda _: None)
    return {name: tried(run, scratch, nothing, name) for name in COMMANDS}


def parser() -> argparse.ArgumentParser:
    """Return the arguments of the script."""
    found = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    found.add_argument(
        "--share", type=float, default=0.1, help="the share of all damages that is tried (0.1)"
    )
    found.add_argument("--seed", type=int, default=0, help="of the share and of flipped bytes (0)")
    found.add_argument("--flips", type=int, default=40, help="how many bytes of each file are flipped (40)")
    found.add_argument("--file", default="", help="only files whose name holds this")
    return found


def run_all() -> int:
    """Run the script."""
    sys.path.append(str(STORED.parent))  # where `reviewing` lies, which pytest finds by itself
    arguments = parser().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="damage-runs-"))
    old = unpacked(folder) / "runs" / "photos"
    shutil.copytree(old, folder / "runs" / "new")
    count, bad = 0, 0
    for run, checked in ((old, False), (with_checksums(folder / "runs" / "new"), True)):
        expected = whole(run, folder / "scratch")
        dice = random.Random(arguments.seed)
        for damage in damages(run, arguments.seed, arguments.flips):
            if arguments.file not in damage.file or dice.random() >= arguments.share:
                continue
            for command in commands_of(damage):
                count += 1
                outcome = tried(run, folder / "scratch", damage, command)
                wrong = fault(outcome, expected[command], checked=checked)
                if wrong is not None:
                    bad += 1
                    print(f"{run.name} {command}, {damage}: {wrong}", flush=True)
    print(f"{count:,} commands on damaged runs, {bad:,} of them wrong")
    shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(run_all())
