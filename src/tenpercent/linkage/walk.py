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

**Resuming.** So a walk over all pairs up to some radius gives exactly the merges up to that height, and a later walk
over the pairs beyond it resumes where this one stopped: clusters and counts are all it needs to know (`Clusters`).
They in turn are the merges and, for each two clusters, how many of the walked pairs lie between them, however the walk
was cut into parts: hence the one form in which they are returned and stored (`PairCounts`). A pair within one cluster
decides nothing and is dropped: all cross pairs were seen before the merge, so it comes only when a caller counts again.

**Stopping.** After all pairs with d ≤ h the walk stands exactly where the tree does at height h, for whatever comes
later was not needed. So a walk that has made enough merges takes the pairs that tie in d with the last of them, which
may close more, and no other.

**Components.** A pair changes the count of its two clusters, and a merge the counts of its two with others. So, taking
clusters as vertices and the counted pairs and those to come as edges, what happens in one connected component depends
on the pairs of that component alone. Components are walked apart, each over its pairs in their order, by several
threads; the merges are put back in order by the pairs that closed them.

**Cost.** Each counted cluster pair is an edge between two clusters. A merge hands the edges of the cluster with fewer
to the one with more and adds up those that meet. With E pairs that is O(E log E) steps in all (Φ = Σ len·log len over
the lists grows by at least one for each entry handed over, falls by at most log E + 2 for each entry dropped, and ends
at no more than 2E·log 2E) and memory for the edges that exist at one time, on real vectors 3 to 30 for 100 pairs.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import TenpercentError
from .components import Shares, find, flatten, shares, united
from .distances import Doubles, Positions, fixed
from .kernels import inner, kernel
from .threads import in_threads

Counts = npt.NDArray[np.int64]
Table = npt.NDArray[np.int64]
Lists = npt.NDArray[np.int32]

# What an edge takes at the peak, when the table grows and old and new are there together: the table is at most ¾ full,
# so 16/¾ bytes for the old slots and twice as many for the new; entries of lists are 8 bytes, two to an edge and on
# real vectors one more left behind, in an array up to twice too long: 48; the counts of before or after: 16.
# A pair takes nothing beside its own i, j and d.
BYTES_PER_EDGE = 128

APART = 100_000  # with fewer, the walk is over before a second thread has begun
BEGIN = 1 << 15  # initial room for edges of a walk over many pairs: a short one need not grow
FULL = 0.75  # of a table at most: fuller, and searches become long
MOST_ENTRIES = 2**31 - 1  # the entries of lists are numbered with 32 bits
NEVER = 2**62
# A walk's tally: edges there are, entries ever used, the first of those free again, merges, the pair of the last.
EDGES, USED, FREE, MERGES, LAST = range(5)


class Clusters(NamedTuple):
    """State of a walk: the same bytes for the same pairs, however it was divided and by however many threads.

    Attributes:
        root: int32[n], the largest point of each point's cluster, which identifies it.
        size: int64[n], the number of points of the cluster, at its root; elsewhere 0.
        a: int32[e], the smaller root of each pair of clusters that has been counted …
        b: int32[e], … the larger one, sorted by (a, b) …
        seen: int64[e], … and how many of the size[a]·size[b] pairs between them were seen, at least one, not all.
    """

    root: Positions
    size: Counts
    a: Positions
    b: Positions
    seen: Counts


class PairCounts(NamedTuple):
    """Counts of a walk: with the merges everything needed to resume (`restored`).

    Attributes:
        a: int32[e], one cluster of each pair of clusters, by its largest point …
        b: int32[e], … the other, a < b, sorted by (a, b) …
        seen: int64[e], … and how many pairs between them were seen.
    """

    a: Positions
    b: Positions
    seen: Counts


def singletons(n: int) -> Clusters:
    """Return the start of every walk: n clusters of one point, no pair seen."""
    none = np.empty(0, dtype=np.int32)
    return Clusters(
        np.arange(n, dtype=np.int32), np.ones(n, dtype=np.int64), none, none, none.astype(np.int64)
    )


def counted(clusters: Clusters) -> PairCounts:
    """Return the counts to store beside the merges."""
    return PairCounts(clusters.a, clusters.b, clusters.seen)


def restored(n: int, a: npt.NDArray[Any], b: npt.NDArray[Any], counts: PairCounts) -> Clusters:
    """Return the state of a walk that made the merges `a`, `b` of n points and counted `counts`.

    Args:
        n: number of points.
        a: integer[m], a point of one cluster of each merge.
        b: integer[m], a point of the other.
        counts: as `counted` gave it.
    """
    return _standing(united(np.arange(n, dtype=np.int32), a, b), *counts)


def walk(
    clusters: Clusters,
    i: npt.NDArray[Any],
    j: npt.NDArray[Any],
    d: Doubles | None = None,
    *,
    until: int | None = None,
    threads: int = 1,
) -> tuple[Counts, Clusters]:
    """Walk pairs in the order given and merge clusters as their counts fill.

    Args:
        clusters: the state of the walk before; it is not changed.
        i: integer[k], a point of each pair; the pairs in increasing (d, i, j), and beyond all pairs walked before.
        j: integer[k], the other point.
        d: float64[k], the dissimilarities; needed with `until`.
        until: stop at this many merges, when all pairs that tie in d with the last of them are walked; with 0 at once.
        threads: number of threads, where there are components to walk separately; the result is the same.

    Returns:
        The positions in `i` of the pairs that closed a merge, increasing, and the new state of the walk: after all
        pairs, or, where there are `until` merges or more, after those with d ≤ d[closing[-1]].
    """
    if until is not None and (d is None or until < 0):
        raise ValueError(f"until is {until}; it needs the dissimilarities d and must be 0 or more")
    if until == 0:
        return np.empty(0, dtype=np.int64), clusters
    i, j, heights = fixed(i), fixed(j), fixed(np.empty(0) if until is None or d is None else d, np.float64)
    n = len(clusters.root)
    state = State(
        root=clusters.root.copy(),
        size=clusters.size.copy(),
        closing=np.full(n, -1, dtype=np.int64),
        head=np.full(n, -1, dtype=np.int32),
        length=np.zeros(n, dtype=np.int32),
    )
    share = None
    # With a stop, threads walk everything and then again up to it: two would take longer than one that stops by itself.
    if threads > (1 if until is None else 2) and len(i) >= APART:
        share = shares(united(state.root, clusters.a, clusters.b, i, j), i, threads)
    if share is None:
        edges = [
            _walk_share(state, clusters, (i, j, heights), until or NEVER, np.zeros(n, dtype=np.uint16), 0)
        ]
    else:
        walk_share = partial(_walk_share, state, clusters, (i, j, heights), NEVER, share)
        edges = list(in_threads(walk_share, range(threads), threads))
    closing = np.sort(state.closing[state.closing >= 0])
    if share is not None and until is not None and len(closing) >= until:
        # The merges up to this height are right whatever came later, but counts continued: count again up to here.
        end = int(np.searchsorted(heights, heights[closing[until - 1]], side="right"))
        if end < len(i):
            return walk(clusters, i[:end], j[:end], threads=threads)
    flatten(state.root)
    keys, seen = (np.concatenate(column) for column in zip(*edges, strict=True))
    return closing, _standing(state.root, *_ends(keys), seen)


def _walk_share(
    state: State,
    clusters: Clusters,
    pairs: tuple[Positions, Positions, Doubles],
    until: int,
    share: Shares,
    mine: int,
) -> tuple[Counts, Counts]:
    """Walk the pairs of some components; return the keys and the counts of the remaining edges."""
    own = share[clusters.a] == mine
    edges = int(np.count_nonzero(own))
    room = edges + min(len(pairs[0]) // 8, BEGIN) + 8
    table = _empty(1 << (4 * room // 3).bit_length())
    entries = np.empty((3 * room, 2), dtype=np.int32)
    tally = np.array([0, 0, -1, 0, -1])
    _restore(state, table, entries, tally, clusters.a[own], clusters.b[own], clusters.seen[own])
    at = 0
    while (at := _walk(state, table, entries, tally, pairs, until, share, mine, at)) < len(pairs[0]):
        if tally[USED] + 2 > len(entries):
            if len(entries) > MOST_ENTRIES // 2:
                raise TenpercentError(
                    f"the walk counts {tally[EDGES]:,} pairs of clusters at a time and can't number more; "
                    "ask for fewer merges"
                )
            entries = np.concatenate([entries, np.empty_like(entries)])
        if tally[EDGES] >= FULL * len(table):
            wider = _empty(2 * len(table))
            _rehash(table, wider)
            table = wider
    table = table[table[:, 0] >= 0]
    return table[:, 0], table[:, 1]


def _standing(root: Positions, a: Positions, b: Positions, seen: Counts) -> Clusters:
    """Return clusters and counts in their canonical form, from any roots."""
    n = len(root)
    largest = np.empty(n, dtype=np.int32)
    largest[root] = np.arange(n, dtype=np.int32)  # of equal indices the last is assigned
    root = largest[root]
    one, other = root[a], root[b]
    keys = np.minimum(one, other).astype(np.int64) << 32 | np.maximum(one, other)
    order = np.argsort(keys)
    return Clusters(root, np.bincount(root, minlength=n), *_ends(keys[order]), seen[order])


def _ends(keys: Counts) -> tuple[Positions, Positions]:
    """Return the two clusters of each key."""
    return (keys >> 32).astype(np.int32), (keys & 0xFFFFFFFF).astype(np.int32)


# ---- the walk itself ---------------------------------------------------------------------------------------------


class State(NamedTuple):
    """State shared by the walks of all components, each of which touches the entries of its own points only.

    Each counted pair (a, b) is in the list of a and in that of b. Entry e of a list is `entries[e]`: a point of the
    other cluster, and the entry that follows; `head` has the first of each list. An edge that vanishes leaves its
    entries: whoever comes by and finds no such edge in the table drops them.

    Attributes:
        root: int32[n], the path to the point that identifies each point's cluster.
        size: int64[n], the number of points of the cluster, at its root.
        closing: int64[n], the position of the pair that ended the cluster of this root, or −1.
        head: int32[n], the first entry of the list of the cluster of this root, or −1.
        length: int32[n], and how many entries it has.
    """

    root: Positions
    size: Counts
    closing: Counts
    head: Positions
    length: Positions


@kernel
def _walk(
    state: State,
    table: Table,
    entries: Lists,
    tally: Counts,
    pairs: tuple[Positions, Positions, Doubles],
    until: int,
    share: Shares,
    mine: int,
    at: int,
) -> int:
    """Walk the pairs of one share from position `at` on; return where room for edges ran out, or the end.

    The code for every pair is inlined here: another function around it would double the time.
    """
    root, size, closing, _, length = state
    i, j, d = pairs
    for pair in range(at, len(i)):
        if share[i[pair]] != mine:
            continue
        if tally[MERGES] >= until and d[pair] > d[tally[LAST]]:
            break
        a, b = find(root, i[pair]), find(root, j[pair])
        if a == b:
            continue
        full = size[a] * size[b]
        if full > 1:
            key = _key(a, b)
            slot = _slot(table, key)
            if table[slot, 0] != key:
                if tally[EDGES] >= FULL * len(table) or tally[USED] + 2 > len(entries):
                    return pair
                _insert(state, table, entries, tally, slot, a, b, np.int64(1))
                continue
            table[slot, 1] += 1
            if table[slot, 1] < full:
                continue
            _erase(table, slot)
            tally[EDGES] -= 1
        if length[a] > length[b]:
            a, b = b, a
        _hand_over(state, table, entries, tally, a, b)
        root[a] = b
        size[b] += size[a]
        closing[a] = pair
        tally[MERGES] += 1
        tally[LAST] = pair
    return len(i)


@inner
def _insert(
    state: State, table: Table, entries: Lists, tally: Counts, slot: int, a: int, b: int, seen: int
) -> None:
    """Put a new edge in: at its slot, and in the lists of both clusters."""
    table[slot, 0], table[slot, 1] = _key(a, b), seen
    tally[EDGES] += 1
    for owner, other in ((a, b), (b, a)):
        entry = np.int32(tally[FREE])
        if entry >= 0:
            tally[FREE] = entries[entry, 1]
        else:
            entry = np.int32(tally[USED])
            tally[USED] += 1
        _link(state, entries, entry, owner, other)


@inner
def _link(state: State, entries: Lists, entry: int, owner: int, other: int) -> None:
    entries[entry, 0], entries[entry, 1] = other, state.head[owner]
    state.head[owner] = entry
    state.length[owner] += 1


@kernel
def _restore(
    state: State, table: Table, entries: Lists, tally: Counts, a: Positions, b: Positions, seen: Counts
) -> None:
    """Put the counts of an earlier walk in; there is room for them."""
    for edge in range(len(a)):
        slot = _slot(table, _key(a[edge], b[edge]))
        _insert(state, table, entries, tally, slot, a[edge], b[edge], seen[edge])


@inner
def _hand_over(state: State, table: Table, entries: Lists, tally: Counts, a: int, b: int) -> None:
    """Move all edges of cluster a to b, adding the counts of those that meet."""
    entry = state.head[a]
    while entry >= 0:
        following = entries[entry, 1]
        c = find(state.root, entries[entry, 0])
        kept = False
        slot = _slot(table, _key(a, c))
        if table[slot, 0] >= 0:
            seen = table[slot, 1]
            _erase(table, slot)
            key = _key(b, c)
            slot = _slot(table, key)
            if table[slot, 0] >= 0:
                table[slot, 1] += seen
                tally[EDGES] -= 1
            else:  # c's entry for a leads to b from now on
                table[slot, 0], table[slot, 1] = key, seen
                _link(state, entries, entry, b, c)
                kept = True
        if not kept:
            entries[entry, 1] = tally[FREE]
            tally[FREE] = entry
        entry = following
    state.head[a] = -1
    state.length[a] = 0


# ---- the hash table of edges -------------------------------------------------------------------------------------


@inner
def _key(a: int, b: int) -> np.int64:
    return np.int64(a) << 32 | b if a < b else np.int64(b) << 32 | a


@inner
def _home(key: int, slots: int) -> np.int64:
    """Return the slot where the search for a key begins."""
    code = np.uint64(key)
    code = (code ^ (code >> np.uint64(31))) * np.uint64(0x7FB5D329728EA185)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x81DADEF4BC2DD44D)
    return np.int64((code ^ (code >> np.uint64(33))) & np.uint64(slots - 1))


@inner
def _slot(table: Table, key: int) -> int:
    """Return the slot of a key, or the empty slot where it belongs."""
    mask = len(table) - 1
    slot: int = _home(key, len(table))
    while table[slot, 0] >= 0 and table[slot, 0] != key:
        slot = (slot + 1) & mask
    return slot


@inner
def _erase(table: Table, slot: int) -> None:
    """Empty a slot and move later keys back, so that no search meets a gap before its key."""
    mask = len(table) - 1
    gap = slot
    while True:
        slot = (slot + 1) & mask
        if table[slot, 0] < 0:
            break
        if (slot - _home(table[slot, 0], len(table))) & mask >= (slot - gap) & mask:
            table[gap, 0], table[gap, 1] = table[slot, 0], table[slot, 1]
            gap = slot
    table[gap, 0] = -1


@kernel
def _rehash(table: Table, wider: Table) -> None:
    """Copy all keys and counts into an empty table."""
    for old in range(len(table)):
        if table[old, 0] >= 0:
            slot = _slot(wider, table[old, 0])
            wider[slot, 0], wider[slot, 1] = table[old, 0], table[old, 1]


def _empty(slots: int) -> Table:
    """Return a table of keys, −1 where there is none, and counts."""
    table = np.empty((slots, 2), dtype=np.int64)
    table[:, 0] = -1
    return table
