"""A suite of experiments from one file: data sets × embedders × strategies × fractions × trials, and one table."""

from __future__ import annotations

import csv
import io
import logging
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .embed.settings import KINDS, named
from .embedding import embed
from .errors import TrainingFailedError, UsageError, nearest
from .evaluation import Asked, evaluate, protocol_of
from .images.options import SourceOptions
from .store.files import write_text
from .store.run import RunFolder

if TYPE_CHECKING:
    from .embed.encoders import Embedder
    from .evaluate.evidence import Evidence

log = logging.getLogger("tenpercent")

COLUMNS = (
    "data",
    "embedder",
    "arm",
    "fraction",
    "n",
    "trials",
    "mean",
    "std",
    "against_full",
    "against_random",
)
KNOWN = {"out", "keep", "arms", "trials", "preset", "steps", "epochs", "length", "side", "data", "embedder"}


@dataclass(frozen=True)
class Data:
    """A data set of a suite.

    Attributes:
        name: for the table, and its folder.
        source: as on the command line.
        test: labelled images to test on, None for the source's own.
        holdout: of each class kept out for testing, where the source has no test split.
        options: of the source.
    """

    name: str
    source: str
    test: str | None
    holdout: float
    options: SourceOptions


@dataclass(frozen=True)
class Suite:
    """What a file asks for.

    Attributes:
        out: the folder of all runs, the table and the figure.
        data: the data sets.
        embedders: by name.
        asked: arms, fractions and trials; the same everywhere.
        preset: how to train, None for as each embedding was trained.
        override: steps, epochs, length and side in the place of the preset's.
    """

    out: Path
    data: tuple[Data, ...]
    embedders: dict[str, Embedder]
    asked: Asked
    preset: str | None
    override: dict[str, Any]


def read_suite(path: str | Path) -> Suite:
    """Read a suite from a TOML file; paths in it count from where the file lies.

    Raises:
        UsageError: it can't be read, or says something that has no meaning.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"can't read {path} ({error}); give a TOML file as docs/evidence.md shows") from None
    _check_keys(str(path), content, KNOWN)
    if not content.get("data"):
        raise UsageError(f'{path} names no data set; add one: [[data]] with source = "digits"')
    embedders = content.get("embedder") or [{"name": "supervised"}]
    data = tuple(_data(path, one) for one in content["data"])
    for what, key, names in (
        ("data", "name", [one.name for one in data]),
        ("embedder", "label", [_label(one) for one in embedders]),
    ):
        if len({_safe(name) for name in names}) < len(names):
            raise UsageError(
                f"{path} has two [[{what}]] called the same ({', '.join(names)}); give each a {key} of its own"
            )
    asked = Asked(
        keep=tuple(content.get("keep", Asked.keep)),
        arms=tuple(_arm(path, str(arm)) for arm in content.get("arms", Asked.arms)),
        trials=content.get("trials", Asked.trials),
    )
    return Suite(
        out=path.parent / content.get("out", f"runs/{path.stem}"),
        data=data,
        embedders={_label(one): _embedder(path, one) for one in embedders},
        asked=asked,
        preset=content.get("preset"),
        override={name: content[name] for name in ("steps", "epochs", "length", "side") if name in content},
    )


def _check_keys(where: str, table: dict[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(
                f"{where} has the key {key!r}; known are {', '.join(sorted(known))}{nearest(key, known)}"
            )


def _data(path: Path, table: dict[str, Any]) -> Data:
    options = {field.name for field in fields(SourceOptions)}
    _check_keys(f"[[data]] of {path}", table, {"name", "source", "test", "holdout", *options})
    if "source" not in table:
        raise UsageError(f'[[data]] of {path} has no source; give one, e.g. source = "digits"')
    given = {name: value for name, value in table.items() if name in options}
    for name in ("data_dir", "labels", "ids"):
        if name in given:
            given[name] = path.parent / given[name]
    source, test = (_from(path, table.get(name)) for name in ("source", "test"))
    assert source is not None
    name = str(table.get("name", Path(source).stem if "/" in source else source))
    return Data(name, source, test, float(table.get("holdout", 0.0)), SourceOptions(**given))


def _from(path: Path, source: str | None) -> str | None:
    """Return a source, counted from the file's folder where there is such a path."""
    if source is None or not (path.parent / source).exists():
        return source
    return str(path.parent / source)


def _arm(path: Path, arm: str) -> str:
    """Return an arm; a list's file counts from the folder of the suite's file."""
    name, is_list, file = arm.partition("=")
    return f"{name}={path.parent / file}" if is_list else arm


def _label(table: dict[str, Any]) -> str:
    return str(table.get("label", table.get("name", "supervised")))


def _embedder(path: Path, table: dict[str, Any]) -> Embedder:
    kind, own = named(str(table.get("name", "supervised")))
    known = {field.name for field in fields(KINDS[kind])} - {"name", "recipe"}
    _check_keys(f"[[embedder]] {kind} of {path}", table, {"name", "label", *known})
    given = {key: value for key, value in table.items() if key in known}
    if "weights" in given:
        given["weights"] = path.parent / given["weights"]
    return KINDS[kind](**own, **given)


def bench(path: str | Path) -> Path:
    """Run every experiment of a suite, or what is left of it, and write ``table.csv`` and ``figure.svg``.

    Both are written anew after each experiment, so what was done before an interruption can be looked at.

    Args:
        path: a TOML file.

    Returns:
        The suite's folder.

    Raises:
        UsageError: the file says something that has no meaning, or an experiment can't be done.
        TrainingFailedError: trainings failed; all others are done and in the table.
    """
    from .show.suite_figure import write_suite_figure

    suite = read_suite(path)
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for data in suite.data:
        for label, embedder in suite.embedders.items():
            log.info("%s, embedded by %s", data.name, label)
            run = suite.out / f"{_safe(data.name)}-{_safe(label)}"
            embed(data.source, out=run, embedder=embedder, holdout=data.holdout, options=data.options)
            protocol = protocol_of(run, suite.preset)[0].override(**suite.override)
            found = evaluate(run, replace(suite.asked, test=data.test), protocol)
            rows += _rows(data.name, label, run, found.protocol)
            write_text(suite.out / "table.csv", _csv(rows))
            if rows:
                write_suite_figure(suite.out / "figure.svg", rows)
            failed += [f"{data.name}, {label}, {trial}: {reason}" for trial, reason in found.tally.failed]
    if failed:
        raise TrainingFailedError(
            f"{len(failed)} trainings failed (the first: {failed[0]}); {suite.out / 'table.csv'} has the others"
        )
    return suite.out


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def _rows(data: str, embedder: str, run: Path, protocol: str) -> Iterator[dict[str, Any]]:
    """Yield one row an arm and fraction of an experiment."""
    from .evaluate.evidence import gather
    from .store.files import read_table

    table = read_table(RunFolder.open(run).results)
    evidence: Evidence | None = next((one for one in gather(table) if one.protocol == protocol), None)
    for point in () if evidence is None else evidence.points:
        if point.accuracy is None:
            continue
        assert evidence is not None
        full, random = evidence.against_full(point), evidence.against_random(point)
        yield {
            "data": data,
            "embedder": embedder,
            "arm": point.arm,
            "fraction": point.fraction,
            "n": round(float(point.values("n").mean())),
            "trials": len(point.done),
            "mean": point.accuracy.mean,
            "std": point.accuracy.std,
            "against_full": None if full is None else full.difference,
            "against_random": None if random is None else random.difference,
        }


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def describe_suite(folder: Path) -> str:
    """Return a suite's table for the terminal."""
    rows = list(csv.DictReader((folder / "table.csv").read_text(encoding="utf-8").splitlines()))
    lines: list[tuple[str, ...]] = [
        ("data", "embedder", "arm", "kept", "trials", "accuracy", "against full", "against random")
    ]
    for row in rows:
        std = f" ± {100 * float(row['std']):.2f}" if row["std"] else ""
        gains = [
            f"{float(row[name]):+.2f}" if row[name] else "–" for name in ("against_full", "against_random")
        ]
        accuracy = f"{100 * float(row['mean']):.2f}{std}"
        kept = f"{100 * float(row['fraction']):g}%"
        lines.append((row["data"], row["embedder"], row["arm"], kept, row["trials"], accuracy, *gains))
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [[f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)] for line in lines]
    table = "\n".join("  ".join(line).rstrip() for line in padded)
    return f"{table}\n\nTable and figure: {folder}"
