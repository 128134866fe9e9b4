"""Splits of a source: the files that belong to each, and the choice of one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import PurePosixPath
from urllib.parse import unquote

from ...errors import SourceError
from .options import RULES

# The words that `datasets` looks for in file and folder names (datasets.data_files.SPLIT_KEYWORDS).
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SPLIT_OF_WORD = {word: split for split, words in _KEYWORDS.items() for word in words}
_SHARD = re.compile(r"(.+)-\d+-of-\d+")
_SEPARATORS = re.compile(r"[-._ 0-9/]+")
# Words that may accompany a split's word in a folder name: `train_images`, `CLASS_TRAINING`, `testset`.
FILLERS = frozenset(
    """
    image images img imgs picture pictures pic pics photo photos jpg jpgs jpeg jpegs png pngs frame frames
    data dataset datasets set sets split splits subset class classes folder folders full raw all final
    crop crops cropped resized small large
    """.split()  # noqa: SIM905  a table, not a sentence
)
_HINT = re.compile("train|val|test|dev", re.IGNORECASE)  # each word for a split contains one of these
_ORDER = ("train", "validation", "test")
_DIGITS = "0123456789"
_NULL = ("", "__HIVE_DEFAULT_PARTITION__")  # values of folders `NAME=VALUE` that mean null


class NoSplitError(SourceError):
    """Error for a source without the requested split."""


def split_of_file(path: str, rules: int = RULES) -> str | None:
    """Return the split in a file's name, or else in its folders' names, as `datasets` reads it.

    ``data/train-00000-of-00002.parquet`` is of `train`, ``extra-00000-of-00001.parquet`` of `extra`,
    ``test/0000.parquet`` and ``my_test.parquet`` of `test`; ``images.parquet`` of none. Of folders ``NAME=VALUE``
    only ``split=test`` counts.
    """
    file = PurePosixPath(path)
    if rules > 1:
        named = partition_of(path)
        if named.get("split"):
            return _SPLIT_OF_WORD.get(str(named["split"]).lower(), named["split"])
        file = PurePosixPath(*(part for part in file.parts[:-1] if not _is_partition(part)), file.name)
    shard = _SHARD.fullmatch(file.stem)
    if shard:
        return _SPLIT_OF_WORD.get(shard[1] if rules == 1 else shard[1].lower(), shard[1])
    for part in (file.stem, *reversed(file.parts[:-1])):
        for word in re.split(_SEPARATORS, part.lower().replace("_", " ")):
            if word in _SPLIT_OF_WORD:
                return _SPLIT_OF_WORD[word]
    return None


def partition_of(path: str) -> dict[str, str | None]:
    """Return the columns in the folder names of a file, and its values; None for null.

    ``label=sea%20lion/year=2020/part-0.parquet`` gives ``{"label": "sea lion", "year": "2020"}``.
    """
    named = (part.split("=", 1) for part in PurePosixPath(path).parts[:-1] if _is_partition(part))
    return {unquote(name): None if value in _NULL else unquote(value) for name, value in named}


def _is_partition(folder: str) -> bool:
    """Return whether the name of a folder gives a column and its value."""
    return "=" in folder[1:]


def split_of_folder(name: str) -> str | None:
    """Return the split in a folder's name: the words of `split_of_file`, beside nothing but filler words.

    ``Training``, ``train2017``, ``val_images`` and ``testset`` are splits, ``train_station`` and ``Trainspotting`` not.
    """
    split, rest = _read_name(name)
    words = {word.strip(_DIGITS) for word in rest}
    return split if words <= FILLERS | {""} else None


def splits_of_folders(names: Collection[str]) -> dict[str, str]:
    """Return the split of each folder that is one, of folders that lie beside each other.

    Besides those of `split_of_folder` these are names that differ by their split alone: ``dogs_train``, ``dogs_test``.
    """
    hopeful = [name for name in names if may_be_split(name)]
    found = {name: split for name in hopeful if (split := split_of_folder(name)) is not None}
    alike: dict[tuple[str, ...], dict[str, str]] = {}
    for name in hopeful:
        split, rest = _read_name(name)
        if split is not None and name not in found:
            alike.setdefault(rest, {})[name] = split
    for group in alike.values():
        if is_divided(group.values()):
            found |= group
    return found


def may_be_split(name: str) -> bool:
    """Return whether a name may contain a word for a split: a quick test that rules out most folders."""
    return _HINT.search(name) is not None


def is_divided(splits: Iterable[str]) -> bool:
    """Return whether these are the splits of a divided set: `train`, and another."""
    kinds = set(splits)
    return "train" in kinds and len(kinds) > 1


def in_order(splits: Mapping[str, str]) -> tuple[str, ...]:
    """Return names in the order of their splits: train, validation, test."""
    return tuple(sorted(splits, key=lambda name: (_ORDER.index(splits[name]), name)))


@lru_cache
def _read_name(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the split that a name has words for, if exactly one, and the other words in lower case."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word for word in re.split(r"[\W_]+", spaced.lower()) if word]
    splits = {_split_of_word(word) for word in words} - {None}
    if splits == {"train", "validation"}:  # train_val
        splits = {"train"}
    rest = tuple(word for word in words if _split_of_word(word) is None)
    return (splits.pop() if len(splits) == 1 else None), rest


def _split_of_word(word: str) -> str | None:
    word = word.strip(_DIGITS)
    if word == "trainval":
        return "train"
    if word in _SPLIT_OF_WORD:
        return _SPLIT_OF_WORD[word]
    joined = (
        split
        for start, split in _SPLIT_OF_WORD.items()
        if word.startswith(start) and word[len(start) :] in FILLERS
    )
    return next(joined, None)


def choose_split(
    asked: str | None, known: Sequence[str], spec: str, splits: Mapping[str, str] | None = None
) -> str:
    """Return the one of the `known` splits to take: the requested one, else `train`.

    Args:
        asked: a name or another word for the same split, in any case; None for `train`.
        known: the existing names.
        spec: the source, for errors.
        splits: the split of each name whose words don't tell it, from `splits_of_folders`.

    Raises:
        NoSplitError: there is no such split, or several names match it.
    """
    wanted = asked or "train"
    if wanted in known:
        return wanted
    cased = [name for name in known if name.lower() == wanted.lower()]
    if len(cased) == 1:
        return cased[0]
    split = split_of_folder(wanted)
    same = [
        name
        for name in known
        if split is not None and (splits or {}).get(name, split_of_folder(name)) == split
    ]
    if len(same) == 1:
        return same[0]
    if not known:
        raise NoSplitError(f"{spec} has no splits, so there is no {wanted!r}; leave out --split")
    raise NoSplitError(
        f"{spec} has no split {wanted!r}, only {', '.join(known)}; choose one of them with --split"
    )
