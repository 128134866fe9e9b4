"""Roles of the folders of a tree: splits, classes, or neither."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain

from ...errors import SourceError
from .splits import (
    FILLERS,
    NoSplitError,
    choose_split,
    in_order,
    is_divided,
    may_be_split,
    split_of_folder,
    splits_of_folders,
)

NO_SPLIT = "none"  # requested where folders named like splits are classes
Names = tuple[str, ...]  # the names along a path


@dataclass(frozen=True)
class FolderLayout:
    """Roles of the folders that hold images.

    Attributes:
        class_of: the class of each folder that is taken, "" for none.
        split: the split that is taken, "" where there are none.
        splits: all splits.
        outside: folders in no split, where there are splits.
        silent: levels that all classes share, omitted from the class names.
        crossed: the splits lie within the class folders.
    """

    class_of: Mapping[str, str]
    split: str = ""
    splits: Names = ()
    outside: frozenset[str] = frozenset()
    silent: Names = ()
    crossed: bool = False


@dataclass(frozen=True)
class _Division:
    """Folders by split: path -> (split, path without the levels up to and including the split's)."""

    members: Mapping[Names, tuple[str, Names]]
    splits: Mapping[str, str] = field(default_factory=dict)
    crossed: bool = False


def read_layout(folders: Collection[str], asked: str | None, spec: str) -> FolderLayout:
    """Find splits and classes.

    Folders side by side named for `train` and another split are splits: at the top, below shared folders, or within
    each class folder. The rest of a path is the class, without levels that all classes share.

    Args:
        folders: those that hold images, relative to the source with `/` between names, "" for the source itself.
        asked: the split to take; None for train where there are splits; ``"none"`` where folders with such names are
            classes.
        spec: the source, for errors.

    Raises:
        SourceError: it is not clear which folders are splits.
        NoSplitError: there is no split like the one asked for.
    """
    paths = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    division = None if asked == NO_SPLIT else _divide(set(paths.values()) - {()}, asked, spec)
    if division is None:
        if asked not in (None, NO_SPLIT):
            choose_split(asked, (), spec)
        silent = _Silent.of(paths.values(), FILLERS)
        classes = {folder: "/".join(silent.without(path)) for folder, path in paths.items()}
        return FolderLayout(classes, silent=silent.names)
    split = _choose(division, asked, spec)
    by_split: dict[str, set[Names]] = {name: set() for name in division.splits}
    for name, rest in division.members.values():
        by_split[name].add(rest)
    trained = next((name for name in in_order(division.splits) if division.splits[name] == "train"), split)
    trained = split if division.splits[split] == "train" else trained
    generic = FILLERS | {
        rest[0].lower() for rest in by_split[trained] if len(rest) == 1 and split_of_folder(rest[0])
    }
    silent = _Silent.of(by_split[trained], generic)
    silent = silent.fitting(by_split[trained], by_split[split], generic)
    members = {folder: division.members[path] for folder, path in paths.items() if path in division.members}
    return FolderLayout(
        class_of={
            folder: "/".join(silent.without(rest))
            for folder, (name, rest) in members.items()
            if name == split
        },
        split=split,
        splits=in_order(division.splits),
        outside=frozenset(paths.keys() - members.keys()),
        silent=silent.names,
        crossed=division.crossed,
    )


def plain_names(names: Collection[str]) -> list[str]:
    """Return class names without the levels that all share; unchanged where that would make two equal, or one empty."""
    paths = [tuple(name.split("/")) for name in names]
    silent = _Silent.of(paths, FILLERS)
    plain = ["/".join(silent.without(path)) for path in paths]
    return plain if len(set(plain) - {""}) == len(paths) else list(names)


def _choose(division: _Division, asked: str | None, spec: str) -> str:
    training = [name for name in in_order(division.splits) if division.splits[name] == "train"]
    if asked is None and len(training) > 1:
        raise NoSplitError(
            f"{spec} has {len(training)} folders for the split train: {', '.join(training)}; "
            f"choose one of them with --split"
        )
    return choose_split(asked, in_order(division.splits), spec, division.splits)


def _divide(paths: set[Names], asked: str | None, spec: str) -> _Division | None:
    """Return the folders by split, or None where there are no splits."""
    if not any(may_be_split(name) for name in set(chain.from_iterable(paths))):
        return None
    level, names = 0, _names_at(paths, 0)
    while len(names) == 1 and (
        not splits_of_folders(names) or is_divided(splits_of_folders(_names_at(paths, level + 1)).values())
    ):
        level, names = level + 1, _names_at(paths, level + 1)
    found = splits_of_folders(names)
    if not found:
        return _divide_within(paths, level, asked, spec)
    others = sorted(names - found.keys())
    if asked is None and not _are_splits(found, others, spec):
        return None
    members = {
        path: (path[level], path[level + 1 :]) for path in paths if len(path) > level and path[level] in found
    }
    return _Division(members, found)


def _names_at(paths: Iterable[Names], level: int) -> set[str]:
    return {path[level] for path in paths if len(path) > level}


def _are_splits(found: Mapping[str, str], others: list[str], spec: str) -> bool:
    """Return whether folders with names of splits are splits, `others` being those beside them.

    Raises:
        SourceError: it is ambiguous.
    """
    kinds = set(found.values())
    if is_divided(kinds):
        return True
    name = in_order(found)[0]
    if kinds == {"train"}:
        if others:
            raise SourceError(
                f"{spec} has a folder {name} beside {others[0]}: a split or a class? "
                f"Give --split {name}, or --split {NO_SPLIT} to take them as classes"
            )
        return True
    if len(kinds) > 1 and not others:
        raise NoSplitError(
            f"{spec} has the splits {', '.join(in_order(found))} and none to train on; choose one with --split, or "
            f"take all as classes with --split {NO_SPLIT}"
        )
    return False


def _divide_within(paths: set[Names], level: int, asked: str | None, spec: str) -> _Division | None:
    """Return the folders by split where splits lie within class folders: ``cat/train``, ``cat/test``, ``dog/train``.

    Raises:
        SourceError: splits lie within some class folders only, and none is requested.
    """
    children: dict[Names, set[str]] = {}
    for path in paths:
        for at in range(level + 1, len(path)):
            children.setdefault(path[:at], set()).add(path[at])
    within = {parent: splits_of_folders(names) for parent, names in children.items()}
    divided = sorted(parent for parent, found in within.items() if is_divided(found.values()))
    if not divided:
        return None
    depth = len(divided[0])
    members = {}
    outside = []
    for path in paths:
        split = within.get(path[:depth], {}).get(path[depth]) if len(path) > depth else None
        if split is None:
            outside.append(path)
        else:
            members[path] = (split, (*path[:depth], *path[depth + 1 :]))
    if outside and asked is None:
        first = "/".join(divided[0])
        pair = " and ".join(f"{first}/{name}" for name in in_order(within[divided[0]])[:2])
        raise SourceError(
            f"{spec} has splits within a folder ({pair}) but {'/'.join(min(outside))} lies in none of them; "
            f"give --split train to leave it out, --split {NO_SPLIT} to take all as classes, or "
            f"{spec}/{first} as the source"
        )
    return _Division(members, {split: split for split, _ in members.values()}, crossed=True)


@dataclass(frozen=True)
class _Silent:
    """Levels of paths that are not part of the class.

    Attributes:
        lead, trail: names that all paths begin and end with.
        inner: position -> name, for paths of `length` names that all have the same name there.
        generic: names to be removed from either end of each path, where there is one class or none.
    """

    lead: Names = ()
    trail: Names = ()
    inner: Mapping[int, str] = field(default_factory=dict)
    length: int = 0
    generic: frozenset[str] = frozenset()

    @classmethod
    def of(cls, paths: Iterable[Names], generic: frozenset[str]) -> _Silent:
        """Find what the paths of several classes share; of a single class, only `generic` names are silent."""
        classes = list(set(paths) - {()})
        if len(classes) < 2:
            return cls(generic=generic)
        shortest = min(map(len, classes))
        lead = _shared(classes, shortest - 1)
        trail = _shared([path[::-1] for path in classes], shortest - 1 - len(lead))[::-1]
        inner = {}
        if len({len(path) for path in classes}) == 1:
            between = range(len(lead), shortest - len(trail))
            inner = {at: classes[0][at] for at in between if len(_names_at(classes, at)) == 1}
        return cls(lead, trail, inner, shortest)

    def fitting(self, trained: Iterable[Names], paths: Iterable[Names], generic: frozenset[str]) -> _Silent:
        """Return the silent levels of another split: as in training, or those that its own classes share.

        The latter if only then its classes are those of training: ``train/cat``, ``test/cat/images``.
        """
        classes, others = set(map(self.without, trained)), set(paths) - {()}
        beside = self.beside(others)
        own = _Silent.of(others, generic)
        alike = set(map(own.without, others)) - {()} <= classes
        return own if alike and not set(map(beside.without, others)) - {()} <= classes else beside

    def beside(self, paths: Iterable[Names]) -> _Silent:
        """Return the same for another split, whose first levels may have another name: ``test/seg_test/cat``."""
        classes = sorted(set(paths) - {()})
        if not classes or not self.lead or all(path[: len(self.lead)] == self.lead for path in classes):
            return self
        lead = _shared(classes, min(len(self.lead), min(map(len, classes)) - 1))
        return _Silent(lead, self.trail, self.inner, self.length) if len(lead) == len(self.lead) else self

    def without(self, path: Names) -> Names:
        """Return the rest of a path without its silent levels."""
        if not (self.lead or self.trail or self.inner or self.generic):
            return path
        kept = [
            name for at, name in enumerate(path) if len(path) != self.length or self.inner.get(at) != name
        ]
        start = len(self.lead) if self.lead and tuple(kept[: len(self.lead)]) == self.lead else 0
        kept = kept[start:]
        if self.trail and tuple(kept[-len(self.trail) :]) == self.trail:
            kept = kept[: -len(self.trail)]
        while kept and kept[-1].lower() in self.generic:
            kept.pop()
        while kept and kept[0].lower() in self.generic:
            kept.pop(0)
        return tuple(kept)

    @property
    def names(self) -> Names:
        """Names of the shared levels, from the top."""
        return (*self.lead, *(self.inner[at] for at in sorted(self.inner)), *self.trail)


def _shared(paths: list[Names], most: int) -> Names:
    """Return the leading names that all paths share, `most` at most."""
    count = 0
    while count < most and len({path[count] for path in paths}) == 1:
        count += 1
    return paths[0][:count]
