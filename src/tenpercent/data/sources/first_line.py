"""First line of every run: what was taken from a source and what was skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...errors import counted
from ..store.embeddings import Embeddings
from ..store.records import SourceRecord
from .source import ImageSource

_SINGULAR = (
    (r"\b(image|file|folder|video|archive|link|pointer|vector)s\b", r"\1"),
    (r"\bare\b", "is"),
    (r"\blead\b", "leads"),
    ("is not image$", "is not an image"),
)
MANY = 6  # kinds of files that the line names; it counts the others


def account(opened: ImageSource | Embeddings) -> SourceRecord:
    """Return the description of an open source, without the options it was opened with."""
    labelled = np.empty(0) if opened.labels is None else opened.labels[opened.labels >= 0]
    found = SourceRecord(
        spec=opened.spec if isinstance(opened, ImageSource) else "",
        fingerprint=opened.fingerprint if isinstance(opened, ImageSource) else opened.origin,
        n=len(opened),
        class_names=tuple(opened.class_names),
        classes_used=len(np.unique(labelled)),
        unlabelled=len(opened) - len(labelled),
        taken=dict(opened.taken),
    )
    if isinstance(opened, ImageSource):
        return replace(found, split=opened.split, skipped=opened.skipped)
    gone = len(opened.rejected)
    return replace(found, kind="vectors", n=found.n + gone, width=opened.width, rejected=gone)


def describe_taken(about: SourceRecord) -> str:
    """Return one line: number of images, classes, columns, and skipped files.

    Args:
        about: the source.
    """
    taken = about.taken
    first = ", ".join([_counted(about), _classes(about, taken)])
    parts = [first, *_parts(about, taken)]
    passed = passed_over(about.skipped or {})
    return "; ".join([*parts, *passed])


def _counted(about: SourceRecord) -> str:
    if about.has_vectors:
        width = "" if about.width is None else f" of {counted(about.width, 'value')}"
        gone = f" ({about.rejected:,} set aside: zero or not finite)" if about.rejected else ""
        return f"{counted(about.n, 'vector')}{width}{gone}{_from(about.taken, 'vectors')}"
    return f"{counted(about.n, 'image')}{_from(about.taken, 'images')}"


def _classes(about: SourceRecord, taken: Mapping[str, str]) -> str:
    names = len(about.class_names)
    if not names:
        return "no labels"
    used = names if about.classes_used is None else about.classes_used
    many = counted(names, "class")
    if used < names:
        many = f"{used:,} of {many}"
    without = f" ({counted(about.unlabelled, 'image')} without a label)" if about.unlabelled else ""
    return f"{many}{_from(taken, 'labels')}{without}"


def _many(count: int, nouns: str) -> str:
    """Return a count with its noun, which is given in the plural."""
    if count == 1:
        for plural, singular in _SINGULAR:
            nouns = re.sub(plural, singular, nouns)
    return f"{count:,} {nouns}"


def _from(taken: Mapping[str, str], what: str) -> str:
    return f" from {taken[what]}" if what in taken else ""


def _parts(about: SourceRecord, taken: Mapping[str, str]) -> list[str]:
    found = []
    if "ids" in taken:
        found.append(f"ids from {taken['ids']}")
    if about.split:
        found.append(f"split {about.split}")
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
