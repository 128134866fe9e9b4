"""Decisions as lines of JSON, to share them or to keep a copy."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict

from ..data.store.files import write_text
from ..data.store.remains import remove_remains
from ..data.store.run_folder import RunFolder
from ..data.store.typed import parsed
from ..errors import UsageError, counted, quoted, reason_of, shown
from .log import Decision, DecisionLog, ImageName, Kind

SHOWN = 3  # images named per decision


class NamedImage(TypedDict):
    """Image that a decision names."""

    id: str
    hash: str | None


class DecisionLine(TypedDict):
    """Line of a file of decisions."""

    number: int
    time: str
    kind: str
    images: list[NamedImage]
    note: str
    undone: bool


def to_lines(decisions: Iterable[Decision]) -> str:
    """Return one line of JSON per decision."""
    return "".join(json.dumps(as_json(decision), ensure_ascii=False) + "\n" for decision in decisions)


def as_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON."""
    return {
        "number": decision.number,
        "time": decision.time,
        "kind": str(decision.kind),
        "images": [{"id": image.id, "hash": image.hash} for image in decision.images],
        "note": decision.note,
        "undone": decision.undone,
    }


def from_lines(text: str, name: str = "the file") -> tuple[Decision, ...]:
    """Read the output of `to_lines`.

    Args:
        text: lines of JSON; empty ones are ignored.
        name: the origin of the text, for the error.

    Raises:
        UsageError: a line is invalid; the message names it.
    """
    found = []
    for number, line in enumerate(
        text.split("\n"), start=1
    ):  # ids may hold what splitlines takes for line ends
        if not line.strip():
            continue
        try:
            found.append(_decision(parsed(line, DecisionLine)))
        except ValueError as error:
            raise UsageError(
                f"line {number} of {name} is not a decision ({error}); give what decisions --export wrote"
            ) from None
    return tuple(found)


def _decision(content: DecisionLine) -> Decision:
    return Decision(
        number=content["number"],
        time=content["time"],
        kind=Kind(content["kind"]),
        images=tuple(ImageName(image["id"], image["hash"]) for image in content["images"]),
        note=content["note"],
        undone=content["undone"],
    )


def write_from(run: str | Path, path: Path) -> str:
    """Write all decisions of a run into a file; return a line with their number.

    Raises:
        UsageError: the file exists already.
        RunFolderError: it can't be written.
    """
    decisions = DecisionLog(RunFolder.open(run).path).history()
    if path.exists():
        raise UsageError(f"{path} is there already; choose another --export")
    remove_remains(path)
    write_text(path, to_lines(decisions))
    return f"{counted(len(decisions), 'decision')}: {path}"


def read_into(run: str | Path, path: Path) -> str:
    """Add the decisions of a file to a run, except those it has; return a line with their number.

    Raises:
        UsageError: the file can't be read, or a line of it is not a decision.
    """
    folder = RunFolder.open(run)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"can't read --import {path}: {reason_of(error)}; give what decisions --export wrote"
        ) from None
    decisions = from_lines(text, str(path))
    fresh = DecisionLog(folder.path).take_over(decisions)
    return f"{fresh:,} of {counted(len(decisions), 'decision')} added; any others were there already"


def describe_decisions(run: str | Path) -> str:
    """Return all decisions of a run, one per line."""
    decisions = DecisionLog(RunFolder.open(run).path).history()
    if not decisions:
        return f"Nothing is decided yet; look at the groups with: tenpercent review {quoted(run)}"
    return "\n".join(_line(decision) for decision in decisions)


def _line(decision: Decision) -> str:
    named = ", ".join(shown(image.id) for image in decision.images[:SHOWN])
    more = f" and {len(decision.images) - SHOWN:,} more" if len(decision.images) > SHOWN else ""
    note = f'  "{decision.note}"' if decision.note else ""
    undone = "  (undone)" if decision.undone else ""
    return f"{decision.number:>5}  {decision.time[:19]}  {decision.kind:<9} {named}{more}{note}{undone}"
