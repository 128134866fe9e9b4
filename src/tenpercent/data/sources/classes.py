"""Names of classes: refused where they are too alike, told apart, and matched with those of another set."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from ...errors import SourceError
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


def told_apart(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return declared class names, with the code added to duplicates: ImageNet has two of `crane`."""
    counts = Counter(names)
    return tuple(f"{name} ({code})" if counts[name] > 1 else name for code, name in enumerate(names))


def refuse_case_twins(
    names: Sequence[str], spec: str, remedy: str = "make these names alike", forms: bool = False
) -> None:
    """Refuse class names that a case-insensitive file system would treat as equal.

    Args:
        names: of classes.
        spec: the source, for the error.
        remedy: what to do, for the error.
        forms: also refuse names that differ by their Unicode form only (é as one character or as two).

    Raises:
        SourceError: two names differ by case only: ``Cat`` and ``cat``, but not ``Masse`` and ``Maße``; or a name
            contains a null character, which no file name can.
    """
    seen: dict[str, str] = {}
    for name in names:
        if "\0" in name:
            raise SourceError(f"{spec} has a class {name!r} with a null character; {remedy}")
        other = seen.setdefault(caseless(name) if forms else _fold(name), name)
        if other != name:
            by_case = unicodedata.normalize("NFC", name) != unicodedata.normalize("NFC", other)
            said = "case" if by_case else "the Unicode form of their letters"
            shown = (repr(other), repr(name)) if by_case else (ascii(other), ascii(name))
            raise SourceError(
                f"{spec} has classes {shown[0]} and {shown[1]}, which differ by {said} only; {remedy}"
            )


def caseless(name: str) -> str:
    """Return a key that is equal for names that differ by case or by Unicode form only.

    Case is folded letter by letter, as file systems do: ``ß`` is not ``ss``, and ``ı`` is not ``i``.
    """
    return unicodedata.normalize("NFD", _fold(unicodedata.normalize("NFD", name)))


def _fold(name: str) -> str:
    folded = name.casefold()
    if len(folded) == len(name):
        return folded
    return "".join(each if len(each := letter.casefold()) == 1 else letter.lower() for letter in name)
