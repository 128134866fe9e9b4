"""The image that stands for a group, and the groups that merges make."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenpercent.linkage.distances import dissimilarities, unit_vectors
from tenpercent.selection import nearest
from tenpercent.selection.nearest import nearest_outside
from tenpercent.tree import representatives as module
from tenpercent.tree.representatives import groups_of, representatives


def by_definition(vectors: np.ndarray, group: np.ndarray) -> list[int]:
    units = unit_vectors(vectors)
    found = []
    for g in group:
        members = np.flatnonzero(group == g)
        closeness = units[members] @ units[members].sum(axis=0)
        found.append(int(members[np.flatnonzero(closeness >= closeness.max() - 1e-12)[0]]))
    return found


def some_groups(n: int, random: np.random.Generator) -> np.ndarray:
    a = random.integers(0, n, n // 2)
    b = random.integers(0, n, n // 2)
    return groups_of(n, np.minimum(a, b), np.maximum(a, b))


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_representatives_follow_the_definition(n: int, width: int, seed: int, tied: bool) -> None:
    random = np.random.default_rng(seed)
    vectors = random.integers(1, 3, (n, width)) if tied else random.normal(size=(n, width))
    vectors = vectors.astype(np.float32)
    group = some_groups(n, random)
    found, dissimilarity = representatives(vectors, group)
    assert found.tolist() == by_definition(vectors, group)
    assert np.array_equal(group[found], group)
    assert np.array_equal(dissimilarity, dissimilarities(unit_vectors(vectors), np.arange(n), found))


def test_a_group_of_two_keeps_its_smaller_id() -> None:
    vectors = np.random.default_rng(0).normal(size=(2000, 7)).astype(np.float32)
    group = np.arange(2000) // 2
    found, dissimilarity = representatives(vectors, group)
    assert np.array_equal(found, group * 2)
    assert (dissimilarity[::2] == 0).all() and (dissimilarity[1::2] > 0).all()


def test_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    vectors, group = random.normal(size=(300, 9)), some_groups(300, random)
    whole = representatives(vectors, group)
    monkeypatch.setattr(module, "BLOCK_BYTES", 8 * 9 * 4)  # four rows a block
    assert all(np.array_equal(x, y) for x, y in zip(whole, representatives(vectors, group), strict=True))


@given(st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_groups_are_the_connected_images_numbered_by_smallest_member(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = random.integers(0, n, n // 2), random.integers(0, n, n // 2)
    expected = np.arange(n)
    for _ in range(n):  # spread the smallest member until nothing changes
        for x, y in zip(a, b, strict=True):
            expected[x] = expected[y] = min(expected[x], expected[y])
    found = groups_of(n, a, b)
    assert np.array_equal(np.unique(expected, return_inverse=True)[1], found)


def nearest_by_definition(vectors: np.ndarray, group: np.ndarray, asked: int) -> tuple[int, float]:
    units = unit_vectors(vectors)
    others = np.flatnonzero(group != group[asked])
    if not len(others):
        return -1, np.inf
    d = dissimilarities(units, np.full(len(others), asked), others)
    first = int(np.lexsort((others, d))[0])
    return int(others[first]), float(d[first])


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_nearest_image_outside_is_exact(n: int, width: int, seed: int, tied: bool) -> None:
    random = np.random.default_rng(seed)
    vectors = (
        random.integers(1, 3, (n, width)).astype(float) if tied else 1 + 1e-5 * random.normal(size=(n, width))
    )
    group = some_groups(n, random)
    found, dissimilarity = nearest_outside(vectors, group, np.arange(n))
    expected = [nearest_by_definition(vectors, group, k) for k in range(n)]
    assert found.tolist() == [position for position, _ in expected]
    assert dissimilarity.tolist() == [d for _, d in expected]


def test_tiles_change_nothing_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(2)
    vectors, group = random.integers(1, 4, (90, 3)).astype(np.float32), some_groups(90, random)
    whole = nearest_outside(vectors, group, np.arange(0, 90, 7))
    monkeypatch.setattr(nearest, "TILE", 8)
    monkeypatch.setattr(nearest, "QUERIES", 3)
    assert all(
        np.array_equal(x, y)
        for x, y in zip(whole, nearest_outside(vectors, group, np.arange(0, 90, 7)), strict=True)
    )
