"""All vectors together, in pieces: the tree of the engine in memory, however it is cut and in whatever order."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import some
from hard_vectors import CONSTRAINTS, assert_same, constraints, first_of, hard_inputs, hard_vectors, up_to
from tenpercent.errors import UsageError
from tenpercent.linkage import cells as cells_module
from tenpercent.linkage.linkage import Linkage, first_merges
from tenpercent.linkage.memory import MemoryBudgetError
from tenpercent.linkage.pieces.plan import Pieces
from tenpercent.linkage.reference import complete_linkage
from tenpercent.tasks.task import Capacity, Finished, Share, Task, perform
from tenpercent.tree.together import AllTogether, first_merges_by_tasks

ROOM = 1 << 28


class AnyOrder:
    """Runner in this process, which does tasks in any order, and some of them twice."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.done: list[str] = []

    def capacity(self, memory: int | None) -> Capacity:
        return Capacity(3, Share(1, ROOM), Share(1, ROOM))

    def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
        for at in self.rng.permutation(len(tasks)):
            before = tasks[at].output.read_bytes() if tasks[at].output.exists() else None
            if before is not None and self.rng.random() < 0.3:
                tasks[at].output.unlink()
            perform(tasks[at])
            assert before is None or tasks[at].output.read_bytes() == before
            self.done.append(tasks[at].name)
            yield Finished(tasks[at])


def by_tasks(vectors, pieces: Pieces, seed: int = 0, **depth) -> Linkage:
    """Cluster in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, vectors)
        return first_merges_by_tasks(
            AllTogether(path, **depth), pieces, Path(folder) / "work", AnyOrder(seed)
        )


def same(found: Linkage, expected: Linkage) -> None:
    """Compare bit by bit; the counts too, where neither was finished densely."""
    assert_same(found, expected)
    if found.counted is not None and expected.counted is not None:
        for one, other in zip(found.counted, expected.counted, strict=True):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()


def cut_into(n: int, seed: int, memory: int = ROOM) -> Pieces:
    """Any numbers of pieces."""
    rng = np.random.default_rng(seed)
    alone = (1, int(rng.choice([0, ROOM])))
    return Pieces(int(rng.integers(1, n + 1)), int(rng.integers(1, 9)), int(rng.integers(1, 5)), memory, 1, alone)


@pytest.fixture(scope="module", autouse=True)
def cells_always_pay():
    """Let few vectors have cells too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells_module, "WORTHWHILE", 0)
        patched.setattr(cells_module, "TILE_COST", 1.0)
        yield


@settings(deadline=None, max_examples=some(40))
@given(
    vectors=hard_inputs(most=50, widest=8),
    cut=st.floats(0, 1),
    kind=st.sampled_from(CONSTRAINTS),
    seed=st.integers(0, 10**9),
)
def test_the_tree_is_the_reference(vectors, cut, kind, seed):
    n = len(vectors)
    apart = constraints(kind, vectors, seed)
    tree = complete_linkage(vectors, cannot_link=apart)
    wanted = round(cut * (n - 1))
    pieces = cut_into(n, seed)
    found = by_tasks(vectors, pieces, seed, merges=wanted, cannot_link=apart)
    same(found, first_merges(vectors, merges=wanted, cannot_link=apart))
    assert_same(found, tree, *first_of(tree, wanted))
    height = float(tree.height[len(tree) // 2]) if len(tree) else 0.0
    found = by_tasks(vectors, pieces, seed, height=height, cannot_link=apart)
    same(found, first_merges(vectors, height=height, cannot_link=apart))
    assert up_to(tree, height) == len(found)


@settings(deadline=None, max_examples=some(12))
@given(
    kind=st.sampled_from(["grid", "twins", "multiples", "last bit", "single", "balls"]),
    n=st.integers(300, 1500),
    width=st.sampled_from([2, 5, 33]),
    seed=st.integers(0, 10**9),
    keep=st.sampled_from([0.99, 0.9, 0.5, 0.2, 0.05]),
)
def test_many_vectors_full_of_ties_and_copies(kind, n, width, seed, keep):
    vectors = hard_vectors(kind, n, width, seed)
    pieces = cut_into(n // 3, seed)
    wanted = n - round(keep * n)
    same(by_tasks(vectors, pieces, seed, merges=wanted), first_merges(vectors, merges=wanted))
