"""Names of several files by one with braces, as users of WebDataset write them: ``shard-{000..009}.tar``."""

from __future__ import annotations

import re

from ...errors import SourceError, shown

MOST = 100_000  # files that a name may stand for
_BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")


def has_braces(name: str) -> bool:
    """Return whether a name stands for several: it holds a range or a list in braces."""
    return _BRACES.search(name) is not None


def expanded(name: str) -> list[str]:
    """Return the names that one stands for, as a shell does: ``{000..009}`` keeps its zeros, ``{a,b}`` is a list.

    Raises:
        SourceError: it names more than `MOST` files.
    """
    found = _BRACES.search(name)
    if found is None:
        return [name]
    first, last, listed = found.groups()
    rest = expanded(name[found.end() :])
    step = 0 if listed is not None else 1 if int(first) <= int(last) else -1
    numbers = range(int(first), int(last) + step, step) if step else range(0)
    count = len(rest) * (len(numbers) if step else listed.count(",") + 1)
    if count > MOST:
        raise SourceError(f"{shown(name)} names {count:,} files, above {MOST:,}; name their folder")
    if listed is not None:
        chosen = listed.split(",")
    else:
        zeros = any(len(end) > 1 and end.startswith("0") for end in (first, last))
        width = max(len(first), len(last)) if zeros else 1
        chosen = [f"{number:0{width}d}" for number in numbers]
    return [f"{name[: found.start()]}{one}{more}" for one in chosen for more in rest]


def before_braces(name: str) -> tuple[str, str]:
    """Return the folder above all files that a name stands for, and how their names begin: ``("shards", "shard")``."""
    folder, _, begin = name.partition("{")[0].rpartition("/")
    return folder, begin.rstrip("-_. ")
