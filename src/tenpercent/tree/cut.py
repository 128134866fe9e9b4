"""Cut of the tree, and the depth of clustering for it, valid from its construction."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from numbers import Integral, Real
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..data.sources.source import SETS, ImageSource
from ..data.store.checks import check_kind
from ..data.store.embeddings import LAYERS, Embeddings
from ..data.store.ids import positions_of
from ..data.store.run_paths import RunPaths
from ..errors import StageError, UsageError, nearest, quoted

DEFAULT_KEEP = 0.9
DEPTH = 0.5  # the fraction kept that a tree is built for by default


class Within(StrEnum):
    """Scope of merges: inside each class only, or among all images."""

    CLASS = "class"
    ALL = "all"


class Budget(StrEnum):
    """Distribution of `keep`: the same fraction of every class, or the lowest merges of all classes together."""

    CLASS = "class"
    GLOBAL = "global"


class Hold(StrEnum):
    """Quantity that decisions about images leave unchanged: the number kept, or the height of each class's cut."""

    COUNT = "count"  # an image that a decision restores is compensated by a merge further up
    HEIGHT = "height"  # nothing is merged that would not be without decisions: the number kept changes


class Rule(StrEnum):
    """Rule for the image that represents a group."""

    CENTRE = "centre"  # nearest to the group's centre
    SHARPEST = "sharpest"
    LARGEST = "largest"  # most pixels
    NEWEST = "newest"  # when it was taken, by its EXIF block, else the time of its file
    OLDEST = "oldest"


COLUMN = "column:"  # before the name of a table's column, of which the largest value represents the group
Choice = TypeVar("Choice", Within, Budget, Hold)


@dataclass(frozen=True)
class Cut:
    """Cut of the tree, with its constraints.

    Attributes:
        keep: the fraction of images kept, a float in (0, 1], or their number, an int from 2 up; 0.9 where neither it
            nor `threshold` is given.
        threshold: take every merge with height ≤ this, in [0, 2], instead of `keep`.
        budget: ``class`` (the default) keeps the same fraction of every class, by largest remainder; ``global`` takes
            the lowest merges of all classes together. Has no effect on a threshold.
        keep_ids: images that stay in addition to those that the cut keeps, by id, or by row where ids are row numbers.
        min_per_class: least number of images of each class, or its size if smaller.
        within: ``class`` or ``all``; None for class by class where there are labels.
        layer: layer of the vectors, ``start``, ``middle`` or ``end`` (the paper, section 4.2); None for the last.
        hold: what decisions about images leave unchanged where `keep` cuts, ``count`` (the number kept, the default) or
            ``height``; a threshold holds the height.
        locked: images that must stay, by id or row, because they are labelled already; they count towards `keep`.
            Images near to them are removed first, and the rest is clustered (`selection.locked`).
        grow: lock what the earlier selection of the run folder keeps.
        representative: the image that represents a group: ``centre``, ``sharpest``, ``largest``, ``newest``, ``oldest``
            or, for a table, ``column:NAME``.

    Raises:
        UsageError: a value out of its range, both `keep` and `threshold`, a budget beside a threshold, or both `locked`
            and `grow`.
    """

    keep: float | None = None
    threshold: float | None = None
    budget: Budget | str | None = None
    keep_ids: tuple[str | int, ...] = ()
    min_per_class: int = 1
    within: Within | str | None = None
    layer: str | None = None
    hold: Hold | str | None = None
    locked: Iterable[str | int] = ()
    grow: bool = False
    representative: str = Rule.CENTRE

    def __post_init__(self) -> None:
        """Check every value, and set the default where none was given."""
        if self.keep is not None and self.threshold is not None:
            raise UsageError(
                f"both keep {self.keep!r} and threshold {self.threshold!r} given; give exactly one, e.g. keep=0.9"
            )
        if self.threshold is not None and self.budget is not None:
            raise UsageError(
                f"budget {str(self.budget)!r} says how keep is spent and means nothing beside a threshold; leave it out"
            )
        keep = DEFAULT_KEEP if self.keep is None and self.threshold is None else self.keep
        checked = {
            "keep": None if keep is None else checked_keep(keep),
            "threshold": None if self.threshold is None else checked_threshold(self.threshold),
            "budget": _budget(self.budget, self.threshold),
            "min_per_class": _checked_minimum(self.min_per_class),
            "within": None if self.within is None else checked_choice(self.within, Within, "within"),
            "layer": checked_layer(self.layer),
            "hold": Hold.COUNT if self.hold is None else checked_choice(self.hold, Hold, "hold"),
            "representative": _checked_rule(self.representative),
            "locked": _checked_locked(self.locked, grow=self.grow),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def holds_height(self) -> bool:
        """True if `keep` sets the height of the cut of each class, and decisions change the number kept."""
        return self.keep is not None and self.hold is Hold.HEIGHT

    def wanted(self, n: int) -> int:
        """Return the number of images out of `n` that `keep` requests."""
        if self.keep is None:
            raise ValueError("a threshold asks for no number of images")
        return self.keep if isinstance(self.keep, int) else round(self.keep * n)

    def among(self, n: int) -> Cut:
        """Return the cut of `n` images, with a number to keep as the fraction that keeps exactly as many.

        Raises:
            UsageError: there are fewer.
        """
        if not isinstance(self.keep, int):
            return self
        if self.keep > n:
            raise UsageError(
                f"keep is {self.keep:,} images, but there are {n:,}; give at most {n}, or 1.0 for all"
            )
        return replace(self, keep=self.keep / n)


def one_cut(cut: Cut | None, keep: float | None, locked: Iterable[str | int] | None = None) -> Cut:
    """Return the cut of a caller who may give `keep` alone, and `locked`.

    Raises:
        UsageError: one is given twice, or `cut` is not a `Cut`.
    """
    if cut is None:
        return Cut(keep=keep, locked=() if locked is None else locked)
    check_kind(cut, Cut, "cut", "Cut(keep=0.9), or keep=0.9 by its name")
    for name, alone, within in (("keep", keep, True), ("locked", locked, cut.locked)):
        if alone is not None and within:
            raise UsageError(f"{name} is {alone!r:.60} beside cut, which says it too; give it once")
    return cut if locked is None else replace(cut, locked=locked)


def scoped(cut: Cut, taken: Mapping[str, str]) -> Cut:
    """Return the cut with the scope that its source has by default: sets of classes are not classes.

    Args:
        cut: as asked for.
        taken: see `ImageSource.taken`.
    """
    return replace(cut, within=Within.ALL) if cut.within is None and SETS in taken else cut


def check_cut(cut: Cut, opened: ImageSource | Embeddings) -> None:
    """Refuse a cut that is impossible for a source, before anything is computed for it.

    Raises:
        UsageError: one of `keep_ids` or `locked` is not in the source, more are locked than may be kept, or the source
            lacks the requested labels or layer.
    """
    cut = cut.among(len(opened))
    if cut.within is Within.CLASS and opened.labels is None:
        raise UsageError("within is 'class', but the images have no labels; use within 'all' or give labels")
    if isinstance(opened, Embeddings) and cut.layer not in (None, "end"):
        raise UsageError(f"layer is {cut.layer!r}; ready vectors have one layer, 'end': leave it out")
    if cut.locked or cut.grow:
        together = opened.labels is None or cut.within is Within.ALL
        check_beside_locked(cut, 1 if together else len(opened.class_names))
    if cut.keep_ids or cut.locked:
        ids = np.asarray(opened.ids, dtype=object)
        rows = np.argsort(ids, kind="stable") if isinstance(opened, ImageSource) else opened.rows
        positions_of(np.sort(ids), cut.keep_ids, "keep_ids", rows)
        check_room(cut, len(positions_of(np.sort(ids), cut.locked, "locked", rows)), len(ids))


def check_beside_locked(cut: Cut, classes: int) -> None:
    """Raise `UsageError` for options of a cut that have no meaning beside locked images."""
    if cut.budget is Budget.GLOBAL and classes > 1:
        raise UsageError(
            "budget is 'global', but beside locked images each class has its own; leave it out, or instead of keep and "
            "budget give a threshold, which is one for all classes"
        )
    if cut.holds_height:
        raise UsageError(
            "hold is 'height', but beside locked images the count is held; leave it out, or give a threshold instead "
            "of keep, which holds the height"
        )


def check_room(cut: Cut, locked: int, images: int) -> None:
    """Raise `UsageError` where more images are locked than a cut may keep."""
    if cut.keep is not None and locked > (wanted := cut.wanted(images)):
        raise UsageError(
            f"keep {cut.keep:g} of {images:,} images is {wanted:,}, but {locked:,} are locked; give a keep of at least "
            f"{math.ceil(1e4 * locked / images) / 1e4:g}, or lock fewer"
        )


def check_grows(cut: Cut, folder: Path) -> None:
    """Raise `StageError` where a cut is to grow a selection, and the run folder holds none."""
    if cut.grow and not RunPaths(folder).selection.is_file():
        raise StageError(
            f"{folder} holds no selection to grow; make the first one without --grow: "
            f"tenpercent select {quoted(folder)} --keep 0.9"
        )


def checked_layer(layer: str | None) -> str | None:
    """Return the name of a layer; None stays None, which is the last one.

    Raises:
        UsageError: there is no layer of that name.
    """
    if layer is not None and layer not in LAYERS:
        raise UsageError(f"layer is {layer!r}; it must be one of {', '.join(LAYERS)}{nearest(layer, LAYERS)}")
    return layer


def check_layer(layer: str | None, embeddings: Embeddings) -> None:
    """Raise `UsageError` where the requested layer is not the one of the given vectors."""
    if layer is not None and layer != embeddings.layer:
        raise UsageError(
            f"layer is {layer!r}, but these embeddings are of {embeddings.layer!r} alone; leave it out, or give the "
            "run folder that holds the others"
        )


def checked_keep(keep: object) -> float:
    """Return `keep` as a float, or a number of images as an int.

    Raises:
        UsageError: it is neither a number in (0, 1] nor a whole one from 2 up.
    """
    value = _real(keep)
    if isinstance(keep, Integral) and value is not None and value >= 1:
        if int(keep) == 1:
            raise UsageError(
                "keep is 1, which could be all images or one; give 1.0 for all, or a number from 2 up"
            )
        return int(keep)
    if value is None or not 0 < value <= 1:
        remedy = ", e.g. 0.9 to keep nine images in ten"
        if value is not None and 1 < value <= 100:
            remedy = f"; for {value:g} percent give {value / 100:g}"
            remedy += f", for {value:g} images the int {value:g}" if value.is_integer() else ""
        elif value == 0:
            remedy = ", as every class keeps at least one image; give 0.1, for example"
        raise UsageError(f"keep is {keep!r}; it must be a number above 0 and at most 1{remedy}")
    return value


def checked_threshold(threshold: object) -> float:
    """Return `threshold` as a float.

    Raises:
        UsageError: it is not a number in [0, 2].
    """
    value = _real(threshold)
    if value is None or not 0 <= value <= 2:
        raise UsageError(
            f"threshold is {threshold!r}; it must be a number from 0 (equal) to 2 (opposite), e.g. 0.01"
        )
    return value + 0.0  # −0.0 is 0.0


def checked_choice(value: object, kind: type[Choice], name: str) -> Choice:
    """Return `value` as a member of the enum `kind`.

    Raises:
        UsageError: it is none of them.
    """
    known = [str(member) for member in kind]
    if not isinstance(value, str) or value not in known:
        raise UsageError(f"{name} is {value!r}; it must be {' or '.join(known)}{nearest(str(value), known)}")
    return kind(value)


def _budget(budget: Budget | str | None, threshold: float | None) -> Budget | None:
    """Return the budget of `keep`; a threshold has none."""
    if threshold is not None:
        return None
    return Budget.CLASS if budget is None else checked_choice(budget, Budget, "budget")


def _checked_minimum(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= int(value) < 2**63:
        raise UsageError(f"min_per_class is {value!r}; it must be a whole number from 1 to 2^63 − 1")
    return int(value)


def rule_words(rule: str) -> str:
    """Return the image that a rule takes of a group, in words."""
    return (
        f"image with the largest {rule.removeprefix(COLUMN)}" if rule.startswith(COLUMN) else f"{rule} image"
    )


def _checked_rule(rule: object) -> str:
    """Return the name of a rule.

    Raises:
        UsageError: there is no such rule.
    """
    if isinstance(rule, str) and rule.startswith(COLUMN) and rule != COLUMN:
        return rule
    if not isinstance(rule, str) or rule not in list(Rule):
        raise UsageError(
            f"representative is {rule!r}; it must be one of {', '.join(Rule)}, or column:NAME of a table"
            f"{nearest(str(rule), list(Rule))}"
        )
    return str(rule)


def _checked_locked(locked: object, *, grow: bool) -> object:
    """Return ids as a tuple; what is none is refused where images are looked for."""
    ids = tuple(locked) if isinstance(locked, Iterable) and not isinstance(locked, str | bytes) else locked
    if grow and ids:
        raise UsageError(
            "both locked and grow given; grow locks what the earlier selection keeps: give one of them"
        )
    return ids


def _real(value: object) -> float | None:
    """Return a number as a float, anything else (text, bool, a number too large for a float) as None."""
    if not isinstance(value, Real) or isinstance(value, bool | np.bool_):
        return None
    try:
        return float(value)
    except OverflowError:
        return None
