"""The result: test images that leak, their near-duplicates in the training set, and the test set without them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from ..data.store.embeddings import Ints, Strings
from ..data.store.files import replacing, write_table
from ..data.store.remains import remove_remains
from ..errors import UsageError
from ..exporting import ExportFormat, ExportSummary
from .clean import export_clean
from .compared_set import ComparedSet
from .pairs import NOT_SAME, Bools, ImagePairs, MatchKind, SimilarPairs

FORMAT = 1


@dataclass(frozen=True, eq=False, repr=False)
class Leaks:
    """Near-duplicates of test images in the training set, the surest first.

    Attributes:
        train, test: the two sets.
        threshold: the largest dissimilarity of near-duplicates by vector; equal files and pictures count at any.
        chosen: True where the caller chose it.
        pairs: the near-duplicates.
        notes: notes on the result, in sentences.
        similar: pairs with similar vectors that don't count; None where the threshold was chosen, or nothing but
            vectors could be compared.
    """

    train: ComparedSet
    test: ComparedSet
    threshold: float
    chosen: bool
    pairs: ImagePairs
    notes: tuple[str, ...] = ()
    similar: SimilarPairs | None = None

    def __len__(self) -> int:
        return len(self.surest)

    @property
    def surest(self) -> Ints:
        """Pair of each leaking test image with its surest near-duplicate, the surest first; int64[k]."""
        return self.pairs.first

    @property
    def ids(self) -> Strings:
        """Ids of the leaking test images, the surest first, equally sure ones by id."""
        return self.test.embeddings.ids[self.pairs.i[self.surest]]

    @property
    def noun(self) -> str:
        """What one image of both sets is called; image where they differ."""
        ours, theirs = self.test.embeddings.noun, self.train.embeddings.noun
        return ours if ours == theirs else "image"

    @property
    def share(self) -> float:
        """Share of test images that leak."""
        return len(self) / len(self.test)

    @property
    def equal_files(self) -> int | None:
        """Number of test images that are, byte by byte, a training image; None where files are not known."""
        return None if self.pairs.equal is None else self._count(MatchKind.FILE)

    @property
    def same_picture(self) -> int | None:
        """Number of test images that show the picture of a training image in another file; None without images."""
        return None if self.pairs.bits is None else self._count(MatchKind.PICTURE)

    @property
    def by_vector(self) -> int:
        """Number of test images with near-duplicates by vector alone."""
        return self._count(MatchKind.VECTOR)

    def _count(self, kind: MatchKind) -> int:
        return int(np.count_nonzero(self.pairs.kind[self.surest] == kind))

    @cached_property
    def same_label(self) -> npt.NDArray[np.object_]:
        """Equality of each pair's class names; None where one has no label, or no class is in both sets."""
        ours, theirs = self.test.label_names[self.pairs.i], self.train.label_names[self.pairs.j]
        found = np.full(len(self.pairs), None, dtype=object)
        if self._labels_compare:
            known = np.asarray([None not in names for names in zip(ours, theirs, strict=True)], dtype=bool)
            found[known] = ours[known] == theirs[known]
        return found

    @property
    def _labels_compare(self) -> bool:
        return not self.test.class_names.isdisjoint(self.train.class_names)

    @property
    def other_label(self) -> int | None:
        """Number of leaks whose label differs from their surest near-duplicate's; None where labels don't compare."""
        if not self._labels_compare:
            return None
        return int(np.count_nonzero(self.same_label[self.surest] == False))  # noqa: E712 – None is neither

    @cached_property
    def clean_mask(self) -> Bools:
        """Mask of the test images without a near-duplicate; bool[n] in id order."""
        mask = np.ones(len(self.test), dtype=np.bool_)
        mask[self.pairs.i] = False
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
        pairs, test, train = self.pairs, self.test.embeddings, self.train.embeddings
        kinds = np.asarray([kind.name.lower() for kind in MatchKind], dtype=object)
        bits, equal = pairs.bits, pairs.equal
        unknown = pa.nulls(len(pairs), pa.int64())
        return pa.table(
            {
                "test_id": pa.array(test.ids[pairs.i], pa.string()),
                "train_id": pa.array(train.ids[pairs.j], pa.string()),
                "by": pa.array(kinds[pairs.kind], pa.string()),
                "dissimilarity": pa.array(pairs.dissimilarity, pa.float64()),
                "hash_bits": unknown if bits is None else pa.array(bits, mask=bits == NOT_SAME),
                "test_label": pa.array(self.test.label_names[pairs.i], pa.string()),
                "train_label": pa.array(self.train.label_names[pairs.j], pa.string()),
                "same_label": pa.array(self.same_label, pa.bool_()),
                "equal_file": unknown.cast(pa.bool_()) if equal is None else pa.array(equal),
                "test_row": pa.array(test.rows[pairs.i], pa.int64()),
                "train_row": pa.array(train.rows[pairs.j], pa.int64()),
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

    def export(self, format: ExportFormat | str, to: str | Path) -> ExportSummary:  # noqa: A002 – the flag's name
        """Write the test images without a near-duplicate in another tool's format.

        Args:
            format: ``indices``, ``folder``, ``csv`` or ``hf``.
            to: the target; nothing there is overwritten.

        Raises:
            UsageError: `to` exists, or images are requested of ready vectors.
        """
        return export_clean(self.test, self.clean_mask, format, Path(to))

    def __repr__(self) -> str:
        return (
            f"Leaks({len(self):,} of {len(self.test):,} test {self.noun}s have a near-duplicate among "
            f"{len(self.train):,} training {self.noun}s within {self.threshold:.6g}, {len(self.pairs):,} pairs)"
        )


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
