"""Matching of the classes of two sets whose names differ only in insignificant ways."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from .columns import caseless
from .folder_layout import plain_names

SHOWN = 5  # classes that a message names at most


def same_classes(names: Collection[str], known: Collection[str]) -> Mapping[str, str]:
    """Return the matching known class for each name; names without a match are left out.

    Names are compared as they are; if some are unknown, without the levels that all names of a set share
    (``n01443537/images``), then ignoring case, then as numbers (``00014`` and ``14``). The first comparison with the
    most matches is used for all names.
    """
    ways: tuple[Callable[[Collection[str]], Iterable[str]], ...] = (
        lambda these: these,
        plain_names,
        _caseless,
        _numbers,
    )
    found = [
        _same(dict(zip(way(names), names, strict=True)), dict(zip(way(known), known, strict=True)))
        for way in ways
    ]
    return max(found, key=len)


def _caseless(names: Collection[str]) -> list[str]:
    return [caseless(name) for name in plain_names(names)]


def _numbers(names: Collection[str]) -> list[str]:
    return [str(int(name)) if name.isdecimal() else name for name in _caseless(names)]


def _same(ours: Mapping[str, str], theirs: Mapping[str, str]) -> dict[str, str]:
    return {name: theirs[form] for form, name in ours.items() if form in theirs}


def listed(names: Collection[str]) -> str:
    """Return the first names and the number of others."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(sorted(names)[:SHOWN])}{more}"


def renamed(same: Mapping[str, str]) -> str:
    """Return in words which names match different ones; "" where all are the same."""
    others = [f"{name} is {known}" for name, known in same.items() if name != known]
    return f"classes matched: {listed(others)}" if others else ""
