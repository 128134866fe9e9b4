"""What each class had counted when its merges ended, on disk beside them, so that a deeper cut repeats nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from ..cluster.walk import Counted
from ..store.files import read_columns, read_metadata, write_table

FORMAT = 1


class StoredCounts(Mapping[int, Counted]):
    """The stored counts by the code of the class, read when they are first asked for.

    Counts serve only the merges they were written beside. Where there are none, or those of other merges, or of a newer
    format, no class has any: a deeper cut then looks at all pairs again and comes to the same.
    """

    def __init__(self, merges: Path, made_of: str) -> None:
        """Take the counts beside the file `merges`, if they are those of the merges with the fingerprint `made_of`."""
        self._path, self._made_of = counts_path(merges), made_of

    @cached_property
    def _found(self) -> dict[int, Counted]:
        if not self._path.is_file():
            return {}
        about = read_metadata(self._path)
        if int(about.get("format", 0)) > FORMAT or about.get("made_of") != self._made_of:
            return {}
        table = read_columns(self._path, ["class", "a", "b", "seen"])
        of_class, a, b, seen = (table[name].to_numpy() for name in table.column_names)
        codes = about["classes"]
        ends = np.searchsorted(of_class, codes, side="right").tolist()
        starts = np.searchsorted(of_class, codes, side="left").tolist()
        return {
            code: Counted(a[start:end], b[start:end], seen[start:end])
            for code, start, end in zip(codes, starts, ends, strict=True)
        }

    def __getitem__(self, code: int) -> Counted:
        return self._found[code]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)


def counts_path(merges: Path) -> Path:
    """Return where the counts of a file of merges lie."""
    return merges.with_name(f"{merges.stem}.counted.parquet")


def save_counts(merges: Path, counts: Mapping[int, Counted], made_of: str) -> None:
    """Write the counts beside the file `merges`, which has the fingerprint `made_of`; equal counts, equal bytes.

    Write them first: a process killed between the two files then leaves counts that are not taken for the older merges.
    """
    path, codes = counts_path(merges), sorted(counts)
    if not codes:
        path.unlink(missing_ok=True)
        return
    edges = [len(counts[code].seen) for code in codes]
    columns = {"class": np.repeat(np.asarray(codes, dtype=np.int64), edges)}
    for name in Counted._fields:
        columns[name] = np.concatenate([getattr(counts[code], name) for code in codes])
    write_table(path, pa.table(columns), {"format": FORMAT, "made_of": made_of, "classes": codes})
