"""The counting walk: complete linkage decided from pairs in increasing order alone.

**Claim.** Let the pairs of points be walked in increasing (d, i, j), and let a cluster pair's count be the number of
its cross pairs seen. Merge A and B at the moment their count reaches |A|·|B|. These are the merges of complete
linkage, in its order.

**Proof.** Complete linkage compares clusters by their largest cross pair, max over a ∈ A, b ∈ B of (d, i, j), and
always merges the two clusters whose largest cross pair is smallest. Keys (d, i, j) of pairs differ, so the choice is
unique. Suppose the walk has made the same merges as complete linkage so far, and look at the clusters there are.
The count of A and B is full exactly when their largest cross pair has been seen. No two clusters have a full count,
else they would have merged when it filled: a merge adds C's counts with A and with B, and the sum is full only if both
parts were. So every largest cross pair is still to come, and the first of them to come is the smallest: its clusters
are the next that complete linkage merges, and they are the first whose count fills. ∎

So a walk over all pairs up to some radius gives exactly the merges up to that height, and a later walk over the pairs
beyond it goes on where this one stopped: clusters and counts are all it needs to know (`Clusters`). A pair within one
cluster never comes: all cross pairs were seen before the merge.

**Cost.** Each counted cluster pair is an edge between two clusters. A merge hands the edges of the cluster with fewer
to the one with more and adds up those that meet. With E pairs that is O(E log E) steps in all (Φ = Σ deg·log deg grows
by at least one for each edge handed over, falls by at most log E + 2 at each end of an edge that vanishes, and ends at
no more than 2E·log 2E) and O(E) memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from .distances import Positions

Counts = npt.NDArray[np.int64]


class Clusters(NamedTuple):
    """Where a walk stands.

    Attributes:
        root: int32[n], the point that stands for each point's cluster.
        size: int64[n], the number of points of the cluster, at its root.
        a: int32[e], one root of each pair of clusters that has been counted …
        b: int32[e], … the other root …
        seen: int64[e], … and how many of the size[a]·size[b] pairs between them were seen.
    """

    root: Positions
    size: Counts
    a: Positions
    b: Positions
    seen: Counts


def singletons(n: int) -> Clusters:
    """Return the start of every walk: n clusters of one point, no pair seen."""
    none = np.empty(0, dtype=np.int32)
    return Clusters(
        np.arange(n, dtype=np.int32), np.ones(n, dtype=np.int64), none, none, none.astype(np.int64)
    )


def walk(clusters: Clusters, i: Positions, j: Positions) -> tuple[Counts, Clusters]:
    """Walk pairs in the order given and merge clusters as their counts fill.

    Args:
        clusters: where the walk before stood; it is not changed.
        i: int32[k], a point of each pair; the pairs in increasing (d, i, j), and beyond all pairs walked before.
        j: int32[k], the other point.

    Returns:
        The positions in `i` of the pairs that closed a merge, increasing, and where the walk stands now.
    """
    capacity = len(clusters.a) + len(i)
    if capacity >= 1 << 30:
        raise ValueError(f"{capacity} pairs; the walk numbers them with 32 bits, up to {1 << 30}")
    root, size = clusters.root.copy(), clusters.size.copy()
    edges = Edges(
        end=np.empty(2 * capacity, dtype=np.int32),
        following=np.empty(2 * capacity, dtype=np.int32),
        before=np.empty(2 * capacity, dtype=np.int32),
        seen=np.empty(capacity, dtype=np.int64),
        head=np.full(len(root), -1, dtype=np.int32),
        degree=np.zeros(len(root), dtype=np.int32),
        slots=np.full(1 << max(4, (2 * capacity - 1).bit_length()), -1, dtype=np.int32),
    )
    used = _restore(edges, clusters.a, clusters.b, clusters.seen)
    closing = np.empty(len(root), dtype=np.int64)
    merged = _walk(root, size, edges, used, i, j, closing)
    a, b, count = _live(edges)
    return closing[:merged].copy(), Clusters(root, size, a, b, count)


# ---- the walk itself ---------------------------------------------------------------------------------------------


class Edges(NamedTuple):
    """Counted pairs of clusters, as a graph: edge e has the half-edges 2e and 2e + 1, each in its cluster's list.

    `end[h]` is the cluster that half-edge h belongs to, so `end[h ^ 1]` is the other one. `following` and `before`
    make the lists, `head` their beginnings. `slots` is a hash table (open addressing) from two clusters to their edge.
    """

    end: Positions
    following: Positions
    before: Positions
    seen: Counts
    head: Positions
    degree: Positions
    slots: Positions


@njit(cache=True, nogil=True)
def _walk(
    root: Positions, size: Counts, edges: Edges, used: int, i: Positions, j: Positions, closing: Counts
) -> int:
    """Walk the pairs; fill `closing`, return its length."""
    merged = 0
    free = -1  # edges that vanished, a list through `following`
    for pair in range(len(i)):
        a, b = _find(root, i[pair]), _find(root, j[pair])
        full = size[a] * size[b]
        if full > 1:
            slot = _slot(edges, a, b)
            edge = int(edges.slots[slot])
            if edge < 0:
                if free >= 0:
                    edge, free = free, int(edges.following[2 * free])
                else:
                    edge, used = used, used + 1
                _insert(edges, slot, edge, a, b, 1)
                continue  # one pair of several
            edges.seen[edge] += 1
            if edges.seen[edge] < full:
                continue
            _erase(edges, slot)
            _unlink(edges, 2 * edge)
            _unlink(edges, 2 * edge + 1)
            edges.following[2 * edge] = free
            free = edge
        if edges.degree[a] > edges.degree[b]:
            a, b = b, a
        free = _hand_over(edges, a, b, free)
        root[a] = b
        size[b] += size[a]
        closing[merged] = pair
        merged += 1
    for point in range(len(root)):
        root[point] = _find(root, point)
    return merged


@njit(cache=True, nogil=True)
def _find(root: Positions, point: int) -> int:
    """Return the root of a point's cluster, halving the path to it."""
    while root[point] != point:
        root[point] = root[root[point]]
        point = root[point]
    return point


@njit(cache=True, nogil=True)
def _hand_over(edges: Edges, a: int, b: int, free: int) -> int:
    """Give all edges of cluster a to b, adding the counts of those that meet; return the head of the free list."""
    half = int(edges.head[a])
    while half >= 0:
        following = int(edges.following[half])
        edge, c = half >> 1, edges.end[half ^ 1]
        _erase(edges, _slot(edges, a, c))
        slot = _slot(edges, b, c)
        other = edges.slots[slot]
        if other >= 0:
            edges.seen[other] += edges.seen[edge]
            _unlink(edges, half ^ 1)
            edges.following[2 * edge] = free
            free = edge
        else:
            edges.slots[slot] = edge
            _link(edges, half, b)
        half = following
    edges.head[a] = -1
    edges.degree[a] = 0
    return free


# ---- lists and hash table of edges -------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _link(edges: Edges, half: int, cluster: int) -> None:
    head = edges.head[cluster]
    edges.end[half] = cluster
    edges.following[half] = head
    edges.before[half] = -1
    if head >= 0:
        edges.before[head] = half
    edges.head[cluster] = half
    edges.degree[cluster] += 1


@njit(cache=True, nogil=True)
def _unlink(edges: Edges, half: int) -> None:
    before, following = edges.before[half], edges.following[half]
    if before >= 0:
        edges.following[before] = following
    else:
        edges.head[edges.end[half]] = following
    if following >= 0:
        edges.before[following] = before
    edges.degree[edges.end[half]] -= 1


@njit(cache=True, nogil=True)
def _home(a: int, b: int, slots: int) -> int:
    """Return the slot where the search for two clusters begins, the same for (a, b) and (b, a)."""
    code = np.uint64(min(a, b)) << np.uint64(32) | np.uint64(max(a, b))
    code = (code ^ (code >> np.uint64(31))) * np.uint64(0x7FB5D329728EA185)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x81DADEF4BC2DD44D)
    return int(np.int64((code ^ (code >> np.uint64(33))) & np.uint64(slots - 1)))


@njit(cache=True, nogil=True)
def _slot(edges: Edges, a: int, b: int) -> int:
    """Return the slot of the edge between two clusters, or the empty slot where it belongs."""
    mask = len(edges.slots) - 1
    slot = _home(a, b, len(edges.slots))
    while True:
        edge = int(edges.slots[slot])
        if edge < 0:
            return slot
        one, other = edges.end[2 * edge], edges.end[2 * edge + 1]
        if (one == a and other == b) or (one == b and other == a):
            return slot
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def _insert(edges: Edges, slot: int, edge: int, a: int, b: int, count: int) -> None:
    edges.slots[slot] = edge
    edges.seen[edge] = count
    _link(edges, 2 * edge, a)
    _link(edges, 2 * edge + 1, b)


@njit(cache=True, nogil=True)
def _erase(edges: Edges, slot: int) -> None:
    """Empty a slot and move later edges back, so that no search meets a gap before its edge."""
    mask = len(edges.slots) - 1
    gap = slot
    while True:
        slot = (slot + 1) & mask
        edge = int(edges.slots[slot])
        if edge < 0:
            break
        home = _home(edges.end[2 * edge], edges.end[2 * edge + 1], len(edges.slots))
        if (slot - home) & mask >= (slot - gap) & mask:
            edges.slots[gap] = edge
            gap = slot
    edges.slots[gap] = -1


@njit(cache=True, nogil=True)
def _restore(edges: Edges, a: Positions, b: Positions, count: Counts) -> int:
    """Put the counts of an earlier walk in; return how many edges there are."""
    for edge in range(len(a)):
        _insert(edges, _slot(edges, a[edge], b[edge]), edge, a[edge], b[edge], count[edge])
    return len(a)


@njit(cache=True, nogil=True)
def _live(edges: Edges) -> Any:
    """Return the counted pairs of clusters: roots, other roots, counts."""
    live = 0
    for slot in range(len(edges.slots)):
        live += edges.slots[slot] >= 0
    a, b = np.empty(live, dtype=np.int32), np.empty(live, dtype=np.int32)
    count = np.empty(live, dtype=np.int64)
    at = 0
    for slot in range(len(edges.slots)):
        edge = int(edges.slots[slot])
        if edge >= 0:
            a[at], b[at] = edges.end[2 * edge], edges.end[2 * edge + 1]
            count[at] = edges.seen[edge]
            at += 1
    return a, b, count
