"""Equal rows among all, by their hashes; and the comparison of a sample with all: a shard of the rows at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..distances import Doubles
from ..equal_rows import EqualRows, Ints, collapse, forbidden_pairs
from ..points import Indices, Points, first_equals, rows_at_a_time
from ..sample import look_at
from .arrays import load, save


def shard_of(vectors: Path, dropped: Path, start: int, stop: int) -> tuple[Points, Indices]:
    """Return the points among the rows from `start` to `stop`, and their positions: int64[k].

    Args:
        vectors: the file of all rows.
        dropped: the positions that are no points, in order.
        start, stop: the shard.
    """
    rows = np.load(vectors, mmap_mode="r")[start:stop]
    (gone,) = load(dropped)
    first, last = np.searchsorted(gone, (start, stop))
    at = np.delete(np.arange(start, stop), gone[first:last] - start)
    return Points.of(rows).subset(at - start), at


def hash_rows(inputs: Sequence[Path], output: Path, *, start: int, stop: int, buckets: int) -> None:
    """Write the hashes of a shard's rows and their positions, by the bucket of the hash.

    Args:
        inputs: the vectors.
        output: where each bucket begins, int64[b + 1]; uint64[k]; int32[k].
        start, stop: the shard.
        buckets: number of buckets.
    """
    (vectors,) = inputs
    codes = Points.of(np.load(vectors, mmap_mode="r")[start:stop]).hashes()
    bucket = (codes % np.uint64(buckets)).astype(np.int64)
    order = np.argsort(bucket, kind="stable")
    starts = np.searchsorted(bucket[order], np.arange(buckets + 1))
    save(output, starts, codes[order], (order + start).astype(np.int32))


def equal_rows(inputs: Sequence[Path], output: Path, *, bucket: int) -> None:
    """Write the rows of a bucket that equal an earlier one, and the first of those.

    Args:
        inputs: the vectors, and the hashes of all shards, in order.
        output: int32[k], int32[k], positions.
        bucket: its number.
    """
    vectors, *hashes = inputs
    found = []
    for path in hashes:
        starts, codes, at = load(path)
        own = slice(int(starts[bucket]), int(starts[bucket + 1]))
        found.append((codes[own], at[own]))
    codes, at = (np.concatenate(column) for column in zip(*found, strict=True))
    _, inverse, count = np.unique(codes, return_inverse=True, return_counts=True)
    several = count[inverse] > 1
    codes, at = codes[several], at[several]
    rows = np.load(vectors, mmap_mode="r")

    def take(which: Indices) -> Doubles:
        return Points.of(rows[at[which]]).take(np.arange(len(which)))

    first = first_equals(codes, take, rows_at_a_time(rows.shape[1]))
    later = first != np.arange(len(first))
    save(output, at[later], at[first[later]])


def collapse_found(n: int, others: Ints, heads: Ints, cannot_link: Ints | None) -> EqualRows:
    """Merge all equal rows that may merge, without touching the rows that have no equal.

    Args:
        n: number of rows.
        others: int64[k], rows that equal an earlier one.
        heads: int64[k], the first of those.
        cannot_link: int[q, 2], positions that must not share a cluster; None for none.

    Returns:
        As `collapse` does, but in `points` only the rows with an equal, or a pair that must not meet; and the pairs
        `apart` are positions.

    Raises:
        UsageError: see `collapse`.
    """
    pairs = forbidden_pairs(cannot_link, n)
    some = np.unique(np.concatenate([others, heads, pairs.ravel()]))
    first = np.arange(len(some))
    first[np.searchsorted(some, others)] = np.searchsorted(some, heads)
    points, a, b, apart = collapse(first, np.searchsorted(some, pairs))
    return EqualRows(some[points], some[a], some[b], some[points][apart] if len(apart) else apart)


def look(inputs: Sequence[Path], output: Path, *, start: int, stop: int) -> None:
    """Compare the sampled rows with a shard.

    Args:
        inputs: the vectors; the positions dropped; the positions of the sample, int64[s].
        output: float32[s], int64[2¹⁵]: a `Look`.
        start, stop: the shard.
    """
    vectors, dropped, sample = inputs
    (drawn,) = load(sample)
    points, at = shard_of(vectors, dropped, start, stop)
    place = np.searchsorted(at, drawn)
    here = (place < len(at)) & (at[np.minimum(place, len(at) - 1)] == drawn) if len(at) else drawn < 0
    some = Points.of(np.load(vectors, mmap_mode="r")[drawn])
    save(output, *look_at(points, some, np.where(here, place, -1)))
