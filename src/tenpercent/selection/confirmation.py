"""Confirmation of a selection that removes most of the images, since its threshold may be meant as a similarity."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ..errors import counted
from .arrays import SelectionArrays

log = logging.getLogger("tenpercent")

MOST = 0.5  # of the images: a threshold that removes more may be meant as a similarity

_confirmed: ContextVar[Callable[[str], None]] = ContextVar("confirmed", default=log.warning)


@contextmanager
def confirmed_by(ask: Callable[[str], None]) -> Iterator[None]:
    """Call `ask`, within this context, before storing a selection that removes most of the images.

    `ask` gets a description of the selection, and raises to refuse it. Outside this context such a selection is stored
    with a warning.
    """
    token = _confirmed.set(ask)
    try:
        yield
    finally:
        _confirmed.reset(token)


def confirm(selection: SelectionArrays, threshold: float | None, noun: str) -> None:
    """Ask for confirmation of a selection by threshold that removes more than half of the images."""
    n, kept = len(selection), len(selection.kept)
    if threshold is None or n - kept <= MOST * n:
        return
    said = (
        f"--threshold {threshold:g} removes {n - kept:,} of {counted(n, noun)} ({(n - kept) / n:.1%}): it is a "
        f"dissimilarity (1 − cosine) and groups {noun}s down to a similarity of {1 - threshold:.6g}"
    )
    _confirmed.get()(said + similarity_hint(threshold))


def similarity_hint(threshold: float) -> str:
    """Return how to give a similarity as a threshold, where one above 0.5 may be meant as such; else nothing."""
    if not 0.5 < threshold <= 1:
        return ""
    return f"; if you mean a similarity of {threshold:g}, give --threshold {1 - threshold:.6g}"
