"""Arrays of a selection with one entry an image, in id order, and the same in the order of the source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ..data.store.checks import check_kind
from ..data.store.embeddings import Ints, Strings
from ..data.store.ids import as_given
from ..errors import UsageError, counted
from ..tree.steps import Bools, Floats


@dataclass(frozen=True)
class ClassCut:
    """The cut of one class.

    Attributes:
        code: the class; −1 holds the images without a label, −2 all images (``within="all"``).
        name: its name, None for −1 and −2.
        images: how many it has.
        groups: how many groups they make: the images kept, but for `keep_ids`.
        kept: how many are kept.
        height: the height of the last merge taken, 0 where none was; of a strategy without merges the radius: the
            largest dissimilarity of a removed image to its representative.
    """

    code: int
    name: str | None
    images: int
    groups: int
    kept: int
    height: float


@dataclass(frozen=True, eq=False, repr=False)
class SelectionArrays:
    """Images kept and removed, and the representative of each, as arrays in id order: the order of the ids as text.

    Attributes:
        ids: str[n], in files as here; `kept` and `removed` are as they were given.
        source_rows: int64[n], position in the source.
        paths: str[n], or None.
        labels: int64[n], −1 for none; None where the source has no labels.
        class_names: the name of each code.
        kept_by_id: bool[n], in id order like all of these; `row_mask` is in the order of the source.
        group: int64[n], numbered by smallest member.
        group_size: int64[n].
        representative: int64[n], the position in id order of the group's representative; −1 where all of
            its images are removed by decision: they stand outside the guarantee.
        dissimilarity: float64[n], to the representative; nan where there is none.
        group_diameter: float64[n], the largest dissimilarity within the group.
        classes: how each class was cut.
        settings: what was asked for.
        notes: sentences on the outcome that a person should read.
        origin: the fingerprint of the embeddings.
        source: ``spec``, ``options`` and ``length`` of the source where known (`with_source`); not stored.
        length: how many rows the source has, those without a vector counted; None where that is not known.
        number_ids: whether the ids were given as whole numbers: then `kept`, `removed`, `table` and `explain` give
            numbers.
        locked: bool[n], the images that had to stay (`Cut.locked`); None where there were none.
    """

    ids: Strings
    source_rows: Ints
    paths: Strings | None
    labels: Ints | None
    class_names: tuple[str, ...]
    kept_by_id: Bools
    group: Ints
    group_size: Ints
    representative: Ints
    dissimilarity: Floats
    group_diameter: Floats
    classes: tuple[ClassCut, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    origin: str = ""
    source: dict[str, Any] | None = field(default=None)
    length: int | None = None
    number_ids: bool = False
    locked: Bools | None = None

    def __post_init__(self) -> None:
        of_images = (self.kept_by_id, self.group, self.group_size, self.representative)
        for array in (*of_images, self.dissimilarity, self.group_diameter):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kept(self) -> npt.NDArray[Any]:
        """Ids of the kept images, in id order: text, or int64 where they were given as whole numbers."""
        return as_given(self.ids[self.kept_by_id], self.number_ids)

    @property
    def removed(self) -> npt.NDArray[Any]:
        """Ids of the removed images, in id order: text, or int64 where they were given as whole numbers."""
        return as_given(self.ids[~self.kept_by_id], self.number_ids)

    @property
    def kept_mask(self) -> NoReturn:
        """Removed attribute: a mask in id order would be mistaken for one in the order of the caller's rows."""
        raise AttributeError(
            "a selection has no kept_mask: take row_mask, in the order of your rows, or kept_by_id, in id order"
        )

    # ---- in the order of the source ------------------------------------------------------------------------------

    @property
    def rows(self) -> Ints:
        """Row numbers in the source of the kept images, ascending; int64[k]."""
        return np.sort(self.source_rows[self.kept_by_id])

    @property
    def removed_rows(self) -> Ints:
        """Row numbers in the source of the removed images, ascending; int64[n − k]."""
        return np.sort(self.source_rows[~self.kept_by_id])

    @property
    def row_mask(self) -> Bools:
        """Mask of the kept rows of the source, bool[length]; False also where an image has no vector."""
        return self.by_row(self.kept_by_id, False)

    @property
    def labels_(self) -> Ints:
        """Number of each row's group, as in scikit-learn: int64[length], −1 for rows without a vector."""
        return self.by_row(self.group, -1)

    @property
    def representative_rows(self) -> Ints:
        """Row of the representative of each row's group, int64[length]; −1 where there is none."""
        rows = np.where(self.representative < 0, -1, self.source_rows[self.representative])
        return self.by_row(rows, -1)

    def by_row(self, values: npt.NDArray[Any], absent: object) -> npt.NDArray[Any]:
        """Return values that are in id order in the order of the source.

        Args:
            values: [n], such as `dissimilarity`.
            absent: the value of rows without a vector.

        Returns:
            An array [length] of the same dtype.

        Raises:
            UsageError: another number of values, or how many rows the source has is not known.
        """
        if len(values) != len(self):
            raise UsageError(
                f"there are {counted(len(values), 'value')} for {counted(len(self), 'image')}; give one per "
                "image, in id order"
            )
        if self.length is None:
            raise UsageError(
                "this selection was stored without the number of rows of its source; load selection.parquet where it "
                "lies, in its run folder"
            )
        found = np.full(self.length, absent, dtype=np.asarray(values).dtype)
        found[self.source_rows] = values
        return found

    def group_members(self, min_size: int = 2) -> Iterator[Ints]:
        """Yield the positions of the members, group by group, in the order of `groups`."""
        others = self.representative != np.arange(len(self))
        check_kind(min_size, Integral, "min_size", "a whole number of images")
        order = np.lexsort((np.arange(len(self)), self.dissimilarity, others, self.group))
        sizes = np.bincount(self.group)
        starts = np.cumsum(sizes) - sizes
        for g in np.argsort(-sizes, kind="stable"):
            if sizes[g] < min_size:
                return
            yield order[starts[g] : starts[g] + sizes[g]]

    @property
    def strategy(self) -> str:
        """Strategy that chose the images: ``semantic`` for the tree, else its name with its value."""
        return str(self.settings.get("strategy", "semantic"))

    @property
    def represented(self) -> Bools:
        """Mask of the images that are kept or have a representative; the others are outside the guarantee."""
        return self.representative >= 0

    @cached_property
    def codes(self) -> Ints:
        """The code of each image's class, −1 for none; int64[n], also where there are no labels."""
        return np.full(len(self), -1) if self.labels is None else self.labels

    def given_id(self, position: int) -> str | int:
        """Return the id of the image at `position`, as it was given: text, or a whole number."""
        name = str(self.ids[position])
        return int(name) if self.number_ids else name

    def class_name(self, position: int) -> str | None:
        """Return the name of the class of the image at `position`, or None where it has none."""
        code = int(self.codes[position])
        return None if code < 0 else self.class_names[code]

    def class_cut(self, position: int) -> ClassCut:
        """Return the cut of the class of the image at `position`."""
        code = self.codes[position]
        return next((cut for cut in self.classes if cut.code == code), self.classes[0])

    def __repr__(self) -> str:
        kept, n = int(self.kept_by_id.sum()), len(self)
        several = len(np.unique(self.group[~self.kept_by_id]))
        largest = f" (largest {int(self.group_size.max()):,})" if several else ""
        return f"Selection({kept:,} of {n:,} images kept, {n - kept:,} removed, redundant groups: {several:,}{largest})"
