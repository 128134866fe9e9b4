"""Look at groups and pairs by their definition, with numpy alone: nothing here is the engine's code."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


def unit_rows(vectors: npt.NDArray[Any]) -> Doubles:
    """Return the rows divided by their lengths, float64[n, d]."""
    rows = np.asarray(vectors, dtype=np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_class(vectors: npt.NDArray[Any], labels: Ints | None) -> list[npt.NDArray[Any]]:
    """Return the rows of each class; without labels, all rows as one. Where labels ascend, nothing is copied."""
    if labels is None:
        return [vectors]
    codes, starts = np.unique(labels, return_index=True)
    if bool(np.all(labels[1:] >= labels[:-1])):
        return [vectors[a:b] for a, b in zip(starts, np.append(starts[1:], len(labels)), strict=True)]
    return [vectors[labels == code] for code in codes]


def partition(groups: npt.NDArray[Any]) -> str:
    """Return a fingerprint of which rows are together, whatever the groups are called."""
    _, first, which = np.unique(groups, return_index=True, return_inverse=True)
    return hashlib.blake2b(first[which].astype("<i8").tobytes(), digest_size=8).hexdigest()


def diameters(units: Doubles, groups: npt.NDArray[Any]) -> Doubles:
    """Return the largest dissimilarity within each group of two or more rows, ½|u − v|²."""
    order = np.argsort(groups, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(groups[order]) != 0, True)) + 1
    found = []
    for start, end in zip(np.append(0, ends[:-1]), ends, strict=True):
        if end - start < 2:
            continue
        rows = units[order[start:end]]
        farthest = 0.0
        for row in range(0, len(rows), 1024):
            cosine = rows[row : row + 1024] @ rows.T
            i, j = np.unravel_index(np.argmin(cosine), cosine.shape)
            farthest = max(farthest, 0.5 * float(np.sum((rows[row + i] - rows[j]) ** 2)))
        found.append(farthest)
    return np.asarray(found)


def against_cut(units: Doubles, groups: npt.NDArray[Any], cut: float) -> dict[str, Any]:
    """Say how the diameters of groups compare with a cut."""
    found = diameters(units, groups)
    return {
        "groups of two or more": len(found),
        "largest diameter": float(found.max(initial=0.0)),
        "cut": cut,
        "over the cut": int((found > cut * (1 + 1e-9)).sum()),
    }


def connected(n: int, i: npt.NDArray[Any], j: npt.NDArray[Any]) -> Ints:
    """Return the connected component of each of `n` rows under the pairs (i, j)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(i), dtype=np.int8), (i, j)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def all_pairs(settings: dict[str, Any]) -> Iterator[Any]:
    """Contestant: every pair within `radius`, in float64, written to `out` as i·n + j in increasing order.

    One product of matrices in float64 finds what may lie within; ½|u − v|² of each such pair decides.
    """
    yield
    units, radius = unit_rows(np.load(settings["vectors"])), settings["radius"]
    n = len(units)

    def work() -> Ints:
        found = []
        for start in range(0, n, 1024):
            cosine = units[start : start + 1024] @ units[start:].T
            i, j = np.nonzero(cosine >= 1.0 - radius - 1e-12)
            i, j = i[j > i] + start, j[j > i] + start
            d = 0.5 * np.sum((units[i] - units[j]) ** 2, axis=1)
            found.append((i * n + j)[d <= radius])
        return np.sort(np.concatenate(found))

    def facts(codes: Ints) -> dict[str, Any]:
        np.save(settings["out"], codes)
        return {"pairs": len(codes)}

    yield work, facts


def against_truth(codes: Ints, truth: str | Path) -> dict[str, int]:
    """Say how many pairs there are, how many of the true ones are missing and how many are too many."""
    true = np.load(truth)
    codes = np.unique(codes)
    shared = len(np.intersect1d(codes, true, assume_unique=True))
    return {"pairs": len(codes), "missed": len(true) - shared, "added": len(codes) - shared}


def missed(
    vectors: npt.NDArray[Any], group: npt.NDArray[Any], kept: Any, codes: Any, settings: dict[str, Any]
) -> dict[str, Any]:
    """Say what a method misses that was asked for everything within `radius`.

    Args:
        vectors: [n, d].
        group: [n], which rows are in one group.
        kept: bool[n].
        codes: the pairs that it found, as i·n + j; None where it does not list them.
        settings: `radius`, and `truth`, the file of all pairs.
    """
    units = unit_rows(vectors)
    true = np.load(settings["truth"])
    i, j = true // len(units), true % len(units)
    covered = kept.copy()
    covered[i[kept[j]]] = True
    covered[j[kept[i]]] = True
    return {
        "kept": int(kept.sum()),
        "removed, none kept within the radius": int((~covered).sum()),
        "pairs": None if codes is None else against_truth(codes, settings["truth"]),
        **against_cut(units, group, settings["radius"]),
    }
