"""Classes of two sets that are the same, though their names differ by what says nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from .columns import caseless
from .folder_layout import plain_names

SHOWN = 5  # classes that a message names at most


def same_classes(names: Collection[str], known: Collection[str]) -> Mapping[str, str]:
    """Return for each name the known class that it stands for; a name that stands for none is left out.

    Names are compared as they are; where some are not known, without the levels that all of one set share
    (``n01443537/images``), then without upper and lower case, then as numbers (``00014`` and ``14``). The first way
    that finds most holds for all.
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
    """Return the first names and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return f"{', '.join(sorted(names)[:SHOWN])}{more}"


def renamed(same: Mapping[str, str]) -> str:
    """Say which names stand for others; "" where all are the same."""
    others = [f"{name} is {known}" for name, known in same.items() if name != known]
    return f"classes matched: {listed(others)}" if others else ""
