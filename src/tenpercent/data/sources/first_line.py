"""First line of every run: what was taken from a source and what was skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...errors import counted
from ..store.embeddings import Embeddings
from .source import ImageSource

_SINGULAR = (
    (r"\b(image|file|folder|video|archive|link|pointer|vector)s\b", r"\1"),
    (r"\bare\b", "is"),
    (r"\blead\b", "leads"),
    ("is not image$", "is not an image"),
)
MANY = 6  # kinds of files that the line names; it counts the others


def account(opened: ImageSource | Embeddings) -> dict[str, Any]:
    """Return what `describe_taken` needs to know of a source, as JSON; `run.json` keeps it."""
    labelled = np.empty(0) if opened.labels is None else opened.labels[opened.labels >= 0]
    common = {
        "n": len(opened),
        "class_names": list(opened.class_names),
        "classes_used": len(np.unique(labelled)),
        "unlabelled": len(opened) - len(labelled),
        "taken": dict(opened.taken),
    }
    if isinstance(opened, Embeddings):
        gone = {"rejected": len(opened.rejected)} if opened.rejected else {}
        n = len(opened) + len(opened.rejected)
        return {"kind": "vectors", "width": opened.width, **common, "n": n, **gone}
    return {"kind": "images", "split": opened.split, "skipped": opened.skipped, **common}


def describe_taken(about: Mapping[str, Any]) -> str:
    """Return one line: number of images, classes, columns, and skipped files.

    Args:
        about: the result of `account`, or the source as described in `run.json`.
    """
    taken = about.get("taken", {})
    first = ", ".join([_counted(about), _classes(about, taken)])
    parts = [first, *_parts(about, taken)]
    passed = passed_over(about.get("skipped") or {})
    return "; ".join([*parts, *passed])


def _counted(about: Mapping[str, Any]) -> str:
    n = about["n"]
    if about["kind"] == "vectors":
        width = f" of {counted(about['width'], 'value')}" if "width" in about else ""
        gone = f" ({about['rejected']:,} set aside: zero or not finite)" if about.get("rejected") else ""
        return f"{counted(n, 'vector')}{width}{gone}{_from(about.get('taken', {}), 'vectors')}"
    return f"{counted(n, 'image')}{_from(about.get('taken', {}), 'images')}"


def _classes(about: Mapping[str, Any], taken: Mapping[str, str]) -> str:
    names = len(about["class_names"])
    if not names:
        return "no labels"
    used = about.get("classes_used", names)
    many = counted(names, "class")
    if used < names:
        many = f"{used:,} of {many}"
    unlabelled = about.get("unlabelled", 0)
    without = f" ({counted(unlabelled, 'image')} without a label)" if unlabelled else ""
    return f"{many}{_from(taken, 'labels')}{without}"


def _many(count: int, nouns: str) -> str:
    """Return a count with its noun, which is given in the plural."""
    if count == 1:
        for plural, singular in _SINGULAR:
            nouns = re.sub(plural, singular, nouns)
    return f"{count:,} {nouns}"


def _from(taken: Mapping[str, str], what: str) -> str:
    return f" from {taken[what]}" if what in taken else ""


def _parts(about: Mapping[str, Any], taken: Mapping[str, str]) -> list[str]:
    found = []
    if "ids" in taken:
        found.append(f"ids from {taken['ids']}")
    if about.get("split"):
        found.append(f"split {about['split']}")
    return found + [
        text for name, text in taken.items() if name not in ("images", "labels", "vectors", "ids")
    ]


def passed_over(skipped: Mapping[str, int]) -> list[str]:
    """Return ``["passed over: 2 hidden files, 1 .zip archive"]``, the most frequent first, or nothing."""
    if not skipped:
        return []
    most = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    said = [_many(count, what) for what, count in most[:MANY]]
    rest = sum(count for _, count in most[MANY:])
    if rest:
        said.append(f"{rest:,} others of {counted(len(most) - MANY, 'kind')}")
    return [f"passed over: {', '.join(said)}"]
