"""Vectors and constraints full of what is hard to get right, and what the tests of the clustering say of its trees."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tenpercent.linkage.linkage import Linkage

Ints = npt.NDArray[np.int64]

KINDS = ("grid", "equal", "twins", "multiples", "axes", "last bit", "single", "line", "balls")
METRICS = ("cosine", "euclidean")


def hard_vectors(kind: str, n: int, width: int, seed: int) -> npt.NDArray[Any]:
    """Make n vectors, none of them zero: many equal dissimilarities, equal rows, and rows that are nearly so."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, size=(n, width)).astype(np.float64)
    if kind == "equal":
        rows = np.tile(rows[:1], (n, 1))
    elif kind == "twins":
        rows = rows[rng.integers(0, max(1, n // 3), size=n)]
    elif kind == "multiples":
        rows = rows[rng.integers(0, max(1, n // 2), size=n)] * rng.choice([1.0, 2, 3, 0.25, 7], size=(n, 1))
    elif kind == "axes":
        rows = np.eye(width)[rng.integers(0, width, size=n)] * rng.choice([-1.0, 1], size=(n, 1))
    elif kind == "last bit":  # near-ties one unit in the last place apart
        rows = rows[rng.integers(0, max(1, n // 4), size=n)]
        rows = np.where(rng.random(rows.shape) < 0.2, np.nextafter(rows, rng.choice([-9.0, 9])), rows)
    elif kind == "line":  # each step of the tree is a tie with all that are left
        rows[:, 1:] = 0.0
        rows[:, 0] = rng.permutation(n) + 1.0
    elif kind == "balls":
        rows = 5.0 * rows[rng.integers(0, max(1, n // 5), size=n)] + 0.1 * rng.normal(size=(n, width))
    rows[~rows.any(axis=1)] = 1.0
    return rows.astype(np.float32) if kind == "single" else rows


def hard_inputs(most: int = 60, widest: int = 16) -> st.SearchStrategy[npt.NDArray[Any]]:
    """From 1 to `most` hard vectors with 1 to `widest` values."""
    seeds = st.integers(0, 10**9)
    return st.builds(
        hard_vectors, st.sampled_from(KINDS), st.integers(1, most), st.integers(1, widest), seeds
    )


def constraints(kind: str, vectors: npt.NDArray[Any], seed: int) -> Ints | None:
    """Make pairs that must not share a cluster: int64[k, 2], in any order, some twice and some the other way round."""
    n = len(vectors)
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, n, size=(rng.integers(0, 2 * n + 1), 2))
    if kind == "none":
        return None
    if kind == "few":
        pairs = pairs[:3]
    elif kind == "among equals":
        _, of = np.unique(vectors, axis=0, return_inverse=True)
        pairs = pairs[of.ravel()[pairs[:, 0]] == of.ravel()[pairs[:, 1]]]
    elif kind == "two sides":  # no row of the one half with one of the other
        side = rng.random(n) < 0.5
        pairs = np.stack(np.meshgrid(np.flatnonzero(side), np.flatnonzero(~side)), axis=-1).reshape(-1, 2)
    elif kind == "all":
        pairs = np.stack(np.triu_indices(n, 1), axis=1)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    again = pairs[rng.random(len(pairs)) < 0.2, ::-1]
    return rng.permutation(np.concatenate([pairs, again]).astype(np.int64))


CONSTRAINTS = ("none", "few", "many", "among equals", "two sides", "all")


def up_to(tree: Linkage, height: float) -> int:
    """How many merges are at or below a height."""
    return int(np.searchsorted(tree.height, height, side="right"))


def first_of(tree: Linkage, merges: int) -> tuple[int, float]:
    """How many merges `first_merges(merges=…)` returns of a whole tree, and what they are complete to."""
    last = float(tree.height[min(merges, len(tree)) - 1]) if merges and len(tree) else 0.0
    count = up_to(tree, last)
    return count, math.inf if count == len(tree) else last


def assert_same(found: Linkage, expected: Linkage, count: int | None = None, to: float | None = None) -> None:
    """`found` has the bytes of the first `count` merges of `expected`, of all where it is None."""
    count = len(expected) if count is None else count
    assert len(found) == count
    for name in ("a", "b", "height"):
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other[:count].tobytes(), name
    assert found.complete_to == (expected.complete_to if to is None else to)


def groups(tree: Linkage, n: int, merges: int | None = None) -> Ints:
    """The cluster of each of n points after the first merges, numbered by smallest member."""
    members = {point: [point] for point in range(n)}
    for a, b in zip(tree.a[:merges].tolist(), tree.b[:merges].tolist(), strict=True):
        one, other = members[a], members[b]
        assert one is not other  # a merge joins two clusters
        if len(one) < len(other):
            one, other = other, one
        one += other
        members.update(dict.fromkeys(other, one))
    number: dict[int, int] = {}
    return np.array(
        [number.setdefault(id(members[point]), len(number)) for point in range(n)], dtype=np.int64
    )


def same_partition(one: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Two numberings of clusters name the same clusters."""
    one, other = np.unique(one, return_inverse=True)[1], np.unique(other, return_inverse=True)[1]
    both = len(np.unique(one * len(other) + other))
    return bool(both == one.max(initial=-1) + 1 == other.max(initial=-1) + 1)
