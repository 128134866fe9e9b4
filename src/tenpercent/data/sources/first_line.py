"""First line of every run: what was taken from a source and what was skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ...errors import counted
from ..store.embeddings import Embeddings
from ..store.records import SourceRecord
from .source import SETS, ImageSource

_SINGULAR = (  # of what is counted, and of the hint behind it
    (r"(?<!-)\b(image|file|folder|video|archive|link|vector)s\b", r"\1"),
    (r"\bthem\b", "it"),
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
        return replace(found, split=opened.split, skipped=opened.skipped, noun=opened.noun)
    gone = len(opened.rejected)
    return replace(found, kind="vectors", n=found.n + gone, width=opened.width, rejected=gone)


def describe_taken(about: SourceRecord) -> str:
    """Return one line: number of images, classes, columns, and skipped files.

    Args:
        about: the source.
    """
    taken = dict(about.taken)
    whence = {
        name: f" from {taken.pop(name)}" if name in taken else "" for name in ("images", "vectors", "labels")
    }
    content = whence["vectors" if about.has_vectors else "images"]
    ids = [f"ids from {taken.pop('ids')}"] if "ids" in taken else []
    split = [f"split {about.split}"] if about.split else []
    first = f"{_counted(about)}{content}, {_classes(about, whence['labels'])}"
    return "; ".join([first, *ids, *split, *taken.values(), *describe_skipped(about.skipped or {})])


def _counted(about: SourceRecord) -> str:
    if not about.has_vectors:
        return counted(about.n, about.noun)
    width = "" if about.width is None else f" of {counted(about.width, 'value')}"
    gone = f" ({about.rejected:,} set aside: zero or not finite)" if about.rejected else ""
    return f"{counted(about.n, 'vector')}{width}{gone}"


def _classes(about: SourceRecord, whence: str) -> str:
    names = len(about.class_names)
    if not names:
        return "no labels"
    used = names if about.classes_used is None else about.classes_used
    many = counted(names, "class set" if SETS in about.taken else "class")
    without = f" ({counted(about.unlabelled, about.noun)} without a label)" if about.unlabelled else ""
    return f"{many if used >= names else f'{used:,} of {many}'}{whence}{without}"


def _many(count: int, nouns: str) -> str:
    """Return a count with its noun, which is given in the plural."""
    if count == 1:
        for plural, singular in _SINGULAR:
            nouns = re.sub(plural, singular, nouns)
    return f"{count:,} {nouns}"


def describe_skipped(skipped: Mapping[str, int]) -> list[str]:
    """Return ``["skipped: 2 hidden files, 1 .zip archive"]``, the most frequent first, or nothing."""
    if not skipped:
        return []
    most = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    said = [_many(count, what) for what, count in most[:MANY]]
    rest = sum(count for _, count in most[MANY:])
    if rest:
        said.append(f"{rest:,} others of {counted(len(most) - MANY, 'kind')}")
    return [f"skipped: {', '.join(said)}"]
