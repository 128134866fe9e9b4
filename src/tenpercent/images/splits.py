"""Which files of a source belong to which split, and which split is taken."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..errors import SourceError

# The words that `datasets` looks for in file and folder names (datasets.data_files.SPLIT_KEYWORDS).
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF_WORD = {word: split for split, words in _KEYWORDS.items() for word in words}
_SHARD = re.compile(r"(.+)-\d+-of-\d+")
_SEPARATORS = re.compile(r"[-._ 0-9/]+")


class NoSplitError(SourceError):
    """A source has no split of that name."""


def split_of_file(path: str) -> str | None:
    """Return the split that a file's name (or else its folders') speaks of, the way `datasets` reads it.

    ``data/train-00000-of-00002.parquet`` is of `train`, ``extra-00000-of-00001.parquet`` of `extra`,
    ``test/0000.parquet`` and ``my_test.parquet`` of `test`; ``images.parquet`` of none.
    """
    file = PurePosixPath(path)
    shard = _SHARD.fullmatch(file.stem)
    if shard:
        return _SPLIT_OF_WORD.get(shard[1], shard[1])
    for part in (file.stem, *reversed(file.parts[:-1])):
        for word in re.split(_SEPARATORS, part.lower().replace("_", " ")):
            if word in _SPLIT_OF_WORD:
                return _SPLIT_OF_WORD[word]
    return None


def choose_split(asked: str | None, known: Sequence[str], spec: str) -> str:
    """Return the one of the `known` splits to take: the one asked for, else `train`.

    Raises:
        NoSplitError: there is no such split.
    """
    wanted = asked or "train"
    if wanted in known:
        return wanted
    same = [
        name
        for name in known
        if wanted in _SPLIT_OF_WORD and _SPLIT_OF_WORD.get(name) == _SPLIT_OF_WORD[wanted]
    ]
    if len(same) == 1:
        return same[0]
    if not known:
        raise NoSplitError(f"{spec} has no splits, and so no {wanted!r}; leave --split out")
    raise NoSplitError(
        f"{spec} has no split {wanted!r}, only {', '.join(known)}; choose one of them with --split"
    )
