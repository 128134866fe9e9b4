"""Comparison of how an older run reads its source with how this version would."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import SourceError, counted
from ..decoding.decode import Unreadable, decode
from ..store.embeddings import Embeddings
from .opening import open_source
from .options import RULES, Decoding, SourceOptions
from .source import ImageSource, Raw

SAMPLE = 16  # images whose pixels are compared, spread evenly: a photo takes a tenth of a second


def differences(
    spec: str | Path, options: SourceOptions, opened: ImageSource | Embeddings
) -> tuple[str, ...]:
    """Return what the rules of this version would read differently from the rules of a run.

    Args:
        spec: the source, as for `open_source`.
        options: those of the run, with its rules.
        opened: the source, opened with these options.

    Returns:
        Phrases in words; empty where both rules read the same, as far as the pixels of a sample tell.
    """
    if options.rules == RULES:
        return ()
    try:
        now = open_source(spec, replace(options, rules=RULES))
    except SourceError as refused:
        return (f"it would be refused: {refused}",)
    if not isinstance(now, ImageSource) or not isinstance(opened, ImageSource):
        same_kind = isinstance(now, ImageSource) == isinstance(opened, ImageSource)
        return tuple(_listing(opened, now)) if same_kind else ("images and vectors would be exchanged",)
    return (*_listing(opened, now), *_pixels(opened, now))


def _listing(old: ImageSource | Embeddings, now: ImageSource | Embeddings) -> list[str]:
    """Compare ids and classes."""
    before, after = _classes(old), _classes(now)
    counts = (
        (len(before.keys() - after.keys()), "would be left out"),
        (len(after.keys() - before.keys()), "would be added"),
    )
    found = [f"{counted(count, 'image')} {what}" for count, what in counts if count]
    moved = [name for name in before if name in after and before[name] != after[name]]
    if moved:
        other, own = (repr(known[moved[0]]) if known[moved[0]] else "none" for known in (after, before))
        first = f"{moved[0]} would be of {other}, not of {own}"
        change = f"{len(old.class_names):,} classes become {len(now.class_names):,}"
        found.append(f"{counted(len(moved), 'image')} would have another class ({first}; {change})")
    if isinstance(old, ImageSource) and isinstance(now, ImageSource) and old.split != now.split:
        found.append(f"the split would be {now.split or 'none'}, not {old.split or 'none'}")
    return found


def _classes(opened: ImageSource | Embeddings) -> dict[str, str | None]:
    """Return the class name of each id."""
    if opened.labels is None:
        return dict.fromkeys(opened.ids)
    names = np.asarray([*opened.class_names, None], dtype=object)  # the last for the code -1
    return dict(zip(opened.ids, names[opened.labels].tolist(), strict=True))


def _pixels(old: ImageSource, now: ImageSource) -> list[str]:
    """Compare the pixels of a sample of images by both rules."""
    rows = np.unique(np.linspace(0, len(old) - 1, min(SAMPLE, len(old))).astype(np.int64))
    other = 0
    for row in rows.tolist():
        with suppress(OSError, Unreadable):  # unreadable by either rules
            raw = old.read(row)
            other += _decoded(raw, old.decoding) != _decoded(raw, now.decoding)
    return [f"{other} of {len(rows)} sampled images would have other pixels"] if other else []


def _decoded(raw: Raw, how: Decoding) -> tuple[tuple[int, ...], bytes] | None:
    """Return a key of the pixels of an image, or None where it is rejected."""
    with suppress(Unreadable):
        pixels = decode(raw, how)
        return pixels.shape, pixels.tobytes()
    return None
