"""Results: the leaking test images, their near-duplicates, and how both grow with the radius."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from ..data.sources.perceptual import SmallPictures
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings, Ints, Strings, frozen
from ..data.store.files import replacing, write_table
from ..data.store.remains import remove_remains
from ..errors import UsageError

if TYPE_CHECKING:
    from ..exporting import ExportSummary, Format

FORMAT = 1

NOT_SAME = -1  # in place of the number of differing bits: the two are not one picture

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


class By(IntEnum):
    """The criterion that a pair was found by; of several, the surest."""

    FILE = 0
    PICTURE = 1
    VECTOR = 2


@dataclass(frozen=True, eq=False)
class Side:
    """One of the two sets.

    Attributes:
        spec: its origin, in words.
        embeddings: its vectors, in id order.
        source: its images, for pictures and exports; None where there are none, or no longer.
        network: the identity of the network that made the vectors; None where unknown.
        rejected: id, row and reason of the rejected images.
        held_out: number of images that its run holds out.
        pictures: the images as used for perceptual hashes, in id order; None where there are none.
        unread: number of them that can no longer be read.
    """

    spec: str
    embeddings: Embeddings
    source: ImageSource | None = field(default=None, repr=False)
    network: dict[str, Any] | None = None
    rejected: pa.Table | None = field(default=None, repr=False)
    held_out: int = 0
    pictures: SmallPictures | None = field(default=None, repr=False)
    unread: int = 0

    def __len__(self) -> int:
        return len(self.embeddings)

    @cached_property
    def label_names(self) -> Strings:
        """Name of each image's class, None where it has no label."""
        labels = self.embeddings.labels
        if labels is None:
            return np.full(len(self), None, dtype=object)
        return np.asarray([*self.embeddings.class_names, None], dtype=object)[labels]


@dataclass(frozen=True, eq=False)
class Growth:
    """The number of images with a near-duplicate within a radius, for every radius up to `radius`.

    Attributes:
        test: float64[a], the dissimilarity of test images to their nearest training image, ascending; those beyond
            `radius` are left out, and an equal file counts as 0.
        test_images: number of test images.
        train: float64[b], the same of training images among themselves.
        train_images: number of training images compared.
        radius: both are complete up to it.
    """

    test: Floats
    test_images: int
    train: Floats
    train_images: int
    radius: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "test", frozen(self.test))
        object.__setattr__(self, "train", frozen(self.train))

    def leaking(self, threshold: float) -> int:
        """Return the number of test images with a near-duplicate within `threshold`.

        Raises:
            UsageError: it is beyond `radius`.
        """
        self._check(threshold)
        return int(np.searchsorted(self.test, threshold, "right"))

    def among_training(self, threshold: float) -> float:
        """Return the share of training images with a near-duplicate among the others within `threshold`.

        Raises:
            UsageError: it is beyond `radius`.
        """
        self._check(threshold)
        return float(np.searchsorted(self.train, threshold, "right")) / max(self.train_images, 1)

    def _check(self, threshold: float) -> None:
        if not threshold <= self.radius:
            raise UsageError(
                f"the threshold {threshold} is beyond {self.radius:.6g}, up to which twins were looked for; "
                f"look for them again with threshold={threshold}"
            )


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a test and a training image, the surest first.

    Equal files come first, then equal pictures by the number of bits that differ; ties are in the order of
    (dissimilarity, test id, train id).

    Attributes:
        i: int64[p], the position of each pair's test image, in id order.
        j: int64[p], that of its training image.
        dissimilarity: float64[p].
        equal: bool[p], whether the two files are equal, byte by byte; None where files are not known.
        bits: int64[p], number of bits of 256 in which the perceptual hashes differ, −1 where the two are not one
            picture; None where there are no images to compare.
    """

    i: Ints
    j: Ints
    dissimilarity: Floats
    equal: Bools | None
    bits: Ints | None

    def __post_init__(self) -> None:
        for name in ("i", "j", "dissimilarity", "equal", "bits"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen(getattr(self, name)))

    def __len__(self) -> int:
        return len(self.i)

    @classmethod
    def sorted(cls, i: Ints, j: Ints, d: Floats, equal: Bools | None, bits: Ints | None) -> Pairs:
        """Return pairs in their order."""
        pairs = cls(i, j, d, equal, bits)
        apart = 0 if bits is None else bits
        return pairs.take(np.lexsort((j, i, d, np.where(pairs.by == By.PICTURE, apart, 0), pairs.by)))

    @cached_property
    def by(self) -> Ints:
        """Criterion that each pair was found by: `By`, int64[p]."""
        by = np.full(len(self), By.VECTOR, dtype=np.int64)
        if self.bits is not None:
            by[self.bits != NOT_SAME] = By.PICTURE
        if self.equal is not None:
            by[self.equal] = By.FILE
        return by

    def take(self, at: Ints | Bools) -> Pairs:
        """Return the pairs at some places."""
        equal = None if self.equal is None else self.equal[at]
        bits = None if self.bits is None else self.bits[at]
        return Pairs(self.i[at], self.j[at], self.dissimilarity[at], equal, bits)

    @cached_property
    def first(self) -> Ints:
        """First pair of each test image; int64[k], ascending."""
        return np.sort(np.unique(self.i, return_index=True)[1]).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Near:
    """Pairs near by vector alone, which don't count: the pictures differ, or the hash can't tell.

    Attributes:
        threshold: the largest dissimilarity.
        pairs: the pairs.
    """

    threshold: float
    pairs: Pairs

    @property
    def asked(self) -> str:
        """Threshold in four digits, rounded up, so that it includes all of the pairs."""
        return f"{self.threshold * (1 + 5e-4):.4g}"

    @property
    def images(self) -> int:
        """Number of test images with such a pair."""
        return len(self.pairs.first)


@dataclass(frozen=True, eq=False, repr=False)
class Leaks:
    """Near-duplicate pairs of a test image and a training image, the surest first.

    Attributes:
        train, test: the two sets.
        threshold: the largest dissimilarity of near-duplicates by vector; equal files and pictures count at any.
        chosen: True where the caller chose it.
        pairs: the near-duplicates.
        growth: their number within other thresholds.
        notes: notes on the outcome, in sentences.
        near: pairs near by vector alone, which don't count; None where the threshold was chosen, or nothing but
            vectors could be compared.
    """

    train: Side
    test: Side
    threshold: float
    chosen: bool
    pairs: Pairs
    growth: Growth
    notes: tuple[str, ...] = ()
    near: Near | None = None

    def __len__(self) -> int:
        return len(self.nearest)

    @property
    def i(self) -> Ints:
        """Position of each pair's test image, in id order; int64[p]."""
        return self.pairs.i

    @property
    def j(self) -> Ints:
        """Position of each pair's training image, in id order; int64[p]."""
        return self.pairs.j

    @property
    def dissimilarity(self) -> Floats:
        """Dissimilarity of each pair; float64[p]."""
        return self.pairs.dissimilarity

    @property
    def equal(self) -> Bools | None:
        """Equality of each pair's files; bool[p], None where files are not known."""
        return self.pairs.equal

    @property
    def nearest(self) -> Ints:
        """Pair of each leaking test image and its surest near-duplicate, the surest first; int64[k]."""
        return self.pairs.first

    @property
    def ids(self) -> Strings:
        """Ids of the leaking test images, the surest first, equally sure ones by id."""
        return self.test.embeddings.ids[self.i[self.nearest]]

    @property
    def share(self) -> float:
        """Share of test images that leak."""
        return len(self) / len(self.test)

    @property
    def equal_files(self) -> int | None:
        """Number of test images that are, byte by byte, a training image; None where files are not known."""
        return None if self.equal is None else len(np.unique(self.i[self.equal]))

    @property
    def same_picture(self) -> int | None:
        """Number of test images that show the picture of a training image in another file; None without images."""
        return None if self.pairs.bits is None else self._surest(By.PICTURE)

    @property
    def by_vector(self) -> int:
        """Number of test images with near-duplicates by vector alone."""
        return self._surest(By.VECTOR)

    def _surest(self, by: By) -> int:
        return int(np.count_nonzero(self.pairs.by[self.nearest] == by))

    @cached_property
    def same_label(self) -> npt.NDArray[np.object_]:
        """Equality of each pair's class names; None where one has no label, or names don't compare."""
        ours, theirs = self.test.label_names[self.i], self.train.label_names[self.j]
        found = np.full(len(self.i), None, dtype=object)
        if labels_compare(self.test, self.train):
            known = np.asarray(
                [a is not None and b is not None for a, b in zip(ours, theirs, strict=True)], bool
            )
            found[known] = ours[known] == theirs[known]
        return found

    @property
    def other_label(self) -> int | None:
        """Number of leaks whose label differs from their surest near-duplicate's; None where labels don't compare."""
        if not labels_compare(self.test, self.train):
            return None
        return int(np.count_nonzero(self.same_label[self.nearest] == False))  # noqa: E712 – None is neither

    @cached_property
    def clean_mask(self) -> Bools:
        """Mask of the test images without a near-duplicate; bool[n] in id order."""
        mask = np.ones(len(self.test), dtype=np.bool_)
        mask[self.i] = False
        return mask

    @property
    def clean(self) -> Strings:
        """Ids of the test images without a near-duplicate, in id order."""
        return self.test.embeddings.ids[self.clean_mask]

    @property
    def clean_rows(self) -> Ints:
        """Row numbers in the test source of the images without a near-duplicate, ascending; int64[k]."""
        return np.sort(self.test.embeddings.rows[self.clean_mask])

    @cached_property
    def table(self) -> pa.Table:
        """Table with one row a pair.

        Columns: test_id, train_id, by (file, picture or vector), dissimilarity, hash_bits, test_label, train_label,
        same_label, equal_file, test_row, train_row.
        """
        test, train = self.test.embeddings, self.train.embeddings
        pairs = len(self.i)
        equal = pa.nulls(pairs, pa.bool_()) if self.equal is None else pa.array(self.equal)
        names = np.asarray([by.name.lower() for by in By], dtype=object)
        bits = self.pairs.bits
        return pa.table(
            {
                "test_id": pa.array(test.ids[self.i], pa.string()),
                "train_id": pa.array(train.ids[self.j], pa.string()),
                "by": pa.array(names[self.pairs.by], pa.string()),
                "dissimilarity": pa.array(self.dissimilarity, pa.float64()),
                "hash_bits": pa.nulls(pairs, pa.int64())
                if bits is None
                else pa.array(bits, mask=bits == NOT_SAME),
                "test_label": pa.array(self.test.label_names[self.i], pa.string()),
                "train_label": pa.array(self.train.label_names[self.j], pa.string()),
                "same_label": pa.array(self.same_label, pa.bool_()),
                "equal_file": equal,
                "test_row": pa.array(test.rows[self.i], pa.int64()),
                "train_row": pa.array(train.rows[self.j], pa.int64()),
            }
        )

    def save(self, path: str | Path) -> None:
        """Write `table` as CSV or Parquet, by the suffix; equal results give equal bytes.

        Raises:
            UsageError: the name ends with neither ``.csv`` nor ``.parquet``.
            RunFolderError: it can't be written.
        """
        path = check_table(path)
        remove_remains(path)
        if path.suffix == ".csv":
            options = csv.WriteOptions(include_header=True, quoting_style="needed")
            with replacing(path) as temporary:
                csv.write_csv(self.table, temporary, options)
            return
        about = {
            "format": FORMAT,
            "threshold": self.threshold,
            "train": self.train.embeddings.origin,
            "test": self.test.embeddings.origin,
            "test_images": len(self.test),
            "train_images": len(self.train),
            "leaking": len(self),
        }
        write_table(path, self.table, about)

    def export(self, format: Format | str, to: str | Path) -> ExportSummary:  # noqa: A002 – the flag's name
        """Write the test images without a near-duplicate in another tool's format.

        Args:
            format: ``indices``, ``folder``, ``csv`` or ``hf``.
            to: the target; nothing there is overwritten.

        Raises:
            UsageError: `to` exists, or images are asked for of ready vectors.
        """
        from .clean import export_clean

        return export_clean(self, format, Path(to))

    def __repr__(self) -> str:
        return (
            f"Leaks({len(self):,} of {len(self.test):,} test images have a twin among {len(self.train):,} training "
            f"images within {self.threshold:.6g}, {len(self.i):,} pairs)"
        )


def labels_compare(one: Side, other: Side) -> bool:
    """Return whether the labels of two sets compare, that is, share any class name."""
    return bool(used_names(one) & used_names(other))


def used_names(side: Side) -> set[str]:
    """Return the names of the classes with images in a set."""
    labels = side.embeddings.labels
    if labels is None:
        return set()
    return {side.embeddings.class_names[code] for code in np.unique(labels).tolist() if code >= 0}


def check_table(path: str | Path) -> Path:
    """Return a table's path.

    Raises:
        UsageError: the name ends with neither ``.csv`` nor ``.parquet``.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(
            f"the table {path} ends with {path.suffix!r}; give a name that ends with .csv or .parquet"
        )
    return path
