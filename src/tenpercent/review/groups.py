"""The groups of one cut as a list to look through: ordered, filtered, each known by its smallest position."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..store.embeddings import Ints
from .memo import Memo

if TYPE_CHECKING:
    from ..select.partition import Partition

Bools = npt.NDArray[np.bool_]

LISTS = 8  # orders kept of one cut


class Order(StrEnum):
    """In what order groups come; equals by their smallest position."""

    SIZE = "size"  # largest first, of equals the tighter
    TIGHTEST = "tightest"  # smallest diameter first, of equals the larger
    WIDEST = "widest"  # largest diameter first, of equals the larger
    HEIGHT = "height"  # in the order in which their last merges were made, the latest first
    CLASS = "class"  # class by class, the largest first
    CONFLICT = "conflict"  # those of several labels first, the largest first


class Decided(StrEnum):
    """Which groups to list: all, those that a decision names an image of, or the others."""

    ANY = "any"
    YES = "yes"
    NO = "no"


@dataclass(frozen=True)
class Filter:
    """What to list.

    Attributes:
        order: in what order.
        code: of the class that an image of the group must have; None for any.
        smallest, largest: how many images a group has at least and at most.
        decided: whether somebody has decided about it.
    """

    order: Order = Order.SIZE
    code: int | None = None
    smallest: int = 2
    largest: int | None = None
    decided: Decided = Decided.ANY


class Groups:
    """The groups of one cut.

    Attributes:
        partition: the cut.
        labels: int64[n] or None.
        by_class: no group has images of two classes.
        touched: int64[k], positions of images that decisions name.
    """

    def __init__(self, partition: Partition, labels: Ints | None, by_class: bool, touched: Ints) -> None:
        """Take a cut with what is known of its images."""
        self.partition, self.labels, self.by_class, self.touched = partition, labels, by_class, touched
        self._lists: Memo[Ints] = Memo(LISTS)

    @cached_property
    def first(self) -> Ints:
        """The smallest position of each group, int64[g]."""
        group = self.partition.group
        first = np.empty(len(self.partition.size), dtype=np.int64)
        first[group[::-1]] = np.arange(len(group) - 1, -1, -1)  # the last to be written stays
        return first

    @cached_property
    def redundant(self) -> Ints:
        """The groups of two or more, int64[k]."""
        return np.flatnonzero(self.partition.size >= 2)

    @cached_property
    def conflict(self) -> Bools:
        """Whether a group holds images of more than one label, bool[g]; those without a label don't count."""
        return self._unlike(-1)

    @cached_property
    def mixed(self) -> Bools:
        """Whether a group holds images of more than one class, bool[g]; those without a label are one as well."""
        return self._unlike(-2)

    def _unlike(self, above: int) -> Bools:
        """Whether the labels above a code differ within a group, bool[g]."""
        count = len(self.partition.size)
        if self.labels is None or self.by_class:
            return np.zeros(count, dtype=bool)
        members = np.flatnonzero((self.partition.size[self.partition.group] >= 2) & (self.labels > above))
        group, label = self.partition.group[members], self.labels[members]
        lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -2)
        np.minimum.at(lowest, group, label)
        np.maximum.at(highest, group, label)
        return np.asarray(lowest < highest)

    @cached_property
    def decided(self) -> Bools:
        """Whether a decision names an image of the group, bool[g]."""
        found = np.zeros(len(self.partition.size), dtype=bool)
        found[self.partition.group[self.touched]] = True
        return found

    def code(self, groups: Ints) -> Ints:
        """Return the class of each group: that of its first image; int64[k], −1 for none."""
        if self.labels is None:
            return np.full(len(groups), -1)
        return np.asarray(self.labels[self.first[groups]])

    def listed(self, wanted: Filter, hits: Ints | None = None) -> Ints:
        """Return the groups to list, in order; int64[k].

        Args:
            wanted: the filter and order.
            hits: int64[h], positions one of which a group must hold; None for any.
        """
        found = self._lists.get(wanted, lambda: self._filtered(wanted))
        if hits is None:
            return found
        holds = np.zeros(len(self.partition.size), dtype=bool)
        holds[self.partition.group[hits]] = True
        return found[holds[found]]

    def _filtered(self, wanted: Filter) -> Ints:
        size = self.partition.size
        found = self.redundant if wanted.smallest >= 2 else np.arange(len(size))
        if wanted.smallest > 2:
            found = found[size[found] >= wanted.smallest]
        if wanted.largest is not None:
            found = found[size[found] <= wanted.largest]
        if wanted.decided is not Decided.ANY:
            found = found[self.decided[found] == (wanted.decided is Decided.YES)]
        if wanted.code is not None:
            found = found[self._of_class(wanted.code)[found]]
        return self._ordered(found, wanted.order)

    def _of_class(self, code: int) -> Bools:
        holds = np.zeros(len(self.partition.size), dtype=bool)
        if self.labels is not None:
            holds[self.partition.group[self.labels == code]] = True
        return holds

    def _ordered(self, found: Ints, order: Order) -> Ints:
        size, diameter = self.partition.size[found], self.partition.diameter[found]
        keys: tuple[npt.NDArray[Any], ...]  # the last is the first to decide
        if order is Order.SIZE:
            keys = (diameter, -size)
        elif order is Order.TIGHTEST:
            keys = (-size, diameter)
        elif order is Order.WIDEST:
            keys = (-size, -diameter)
        elif order is Order.HEIGHT:
            keys = (-diameter,)
        elif order is Order.CLASS:
            code = self.code(found)
            keys = (diameter, -size, np.where(code < 0, np.iinfo(np.int64).max, code))
        else:
            keys = (diameter, -size, ~self.conflict[found])
        return found[np.lexsort((found, *keys))]
