"""All vectors together, in pieces: the tree of the engine in memory, however it is cut and in whatever order."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from examples import some
from hard_vectors import CONSTRAINTS, assert_same, constraints, first_of, hard_inputs, hard_vectors, up_to
from tenpercent.errors import RunFolderError, UsageError
from tenpercent.linkage import accelerators
from tenpercent.linkage import cells as cells_module
from tenpercent.linkage.filters import SinglesFilter
from tenpercent.linkage.linkage import Linkage, check_depth, first_merges
from tenpercent.linkage.memory import MemoryBudgetError
from tenpercent.linkage.neighbors import neighbor_graph
from tenpercent.linkage.pairs import RECORD
from tenpercent.linkage.pieces.homes import Routed, grouped, routed
from tenpercent.linkage.pieces.plan import Pieces
from tenpercent.linkage.points import Points
from tenpercent.linkage.reference import complete_linkage
from tenpercent.tasks.task import Capacity, Finished, Share, Task, perform
from tenpercent.tree import together
from tenpercent.tree.together import AllTogether, first_merges_by_tasks

ROOM = 1 << 28
ENOUGH = 300_000
FULL = Path("/dev/full")


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


def by_tasks(vectors, pieces: Pieces, place: int | AnyOrder = 0, **depth) -> Linkage:
    """Cluster in a folder of its own, at a place for tasks or one of a seed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, vectors)
        job = AllTogether(path, **depth)
        runner = AnyOrder(place) if isinstance(place, int) else place
        return first_merges_by_tasks(job, pieces, Path(folder) / "work", runner)


def same(found: Linkage, expected: Linkage) -> None:
    """Compare bit by bit; the counts too, where neither was finished densely."""
    assert_same(found, expected)
    if found.counted is not None and expected.counted is not None:
        for one, other in zip(found.counted, expected.counted, strict=True):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes()


def cut_into(n: int, seed: int) -> Pieces:
    """Any numbers of pieces."""
    rng = np.random.default_rng(seed)
    alone = (1, int(rng.choice([0, ROOM])))
    shard, groups, together = rng.integers((max(1, n // 8), 1, 1), (n + 1, 9, 5)).tolist()
    return Pieces(shard, groups, together, ROOM, alone=alone)


@pytest.fixture(scope="module", autouse=True)
def cells_always_pay():
    """Let few vectors have cells too."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells_module, "WORTHWHILE", 0)
        patched.setattr(cells_module, "TILE_COST", 1.0)
        yield


@settings(deadline=None, max_examples=some(25))
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


@settings(deadline=None, max_examples=some(8))
@given(
    kind=st.sampled_from(["grid", "twins", "multiples", "last bit", "single", "balls"]),
    n=st.integers(300, 1200),
    width=st.sampled_from([2, 5, 33]),
    seed=st.integers(0, 10**9),
    keep=st.sampled_from([0.99, 0.9, 0.5, 0.2, 0.05]),
)
def test_many_vectors_full_of_ties_and_copies(kind, n, width, seed, keep):
    vectors = hard_vectors(kind, n, width, seed)
    pieces = cut_into(n, seed)
    wanted = n - round(keep * n)
    same(by_tasks(vectors, pieces, seed, merges=wanted), first_merges(vectors, merges=wanted))


@settings(deadline=None, max_examples=some(4))
@given(
    kind=st.sampled_from(["grid", "twins", "balls"]),
    seed=st.integers(0, 10**9),
    cuts=st.lists(st.floats(0.3, 1), min_size=2, max_size=3),
)
def test_a_deeper_cut_resumes_from_what_is_known(kind, seed, cuts):
    vectors = hard_vectors(kind, 300, 5, seed)
    apart = constraints("few", vectors, seed)
    known = None
    for keep in sorted(cuts, reverse=True):
        wanted = 300 - round(keep * 300)
        found = by_tasks(vectors, cut_into(300, seed), merges=wanted, cannot_link=apart, after=known)
        same(found, first_merges(vectors, merges=wanted, cannot_link=apart))
        known = found


def test_a_component_without_new_pairs_keeps_its_counts():
    angles = np.deg2rad([0, 25, 50, 120, 152])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    known = None
    for height, merges in (
        (0.1, 1),
        (0.2, 2),
        (0.4, 3),
    ):  # the first three go on only when the other two are done
        known = by_tasks(vectors, cut_into(5, 0), height=height, after=known)
        assert len(known) == merges
        same(known, first_merges(vectors, height=height))


def balls(n: int, seed: int = 0):
    """Vectors in many directions, near to others and far from most."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(40, 16))
    return (middles[rng.integers(0, 40, n)] + 0.4 * rng.normal(size=(n, 16))).astype(np.float32)


def test_little_memory_means_more_pieces_and_the_same_bytes():
    vectors = balls(3000)
    expected = first_merges(vectors, merges=300)
    # Pairs are spilled, and guests come a few at a time.
    little = Pieces(shard=700, groups=7, together=2, memory=150_000, beside=10**6)
    same(by_tasks(vectors, little, merges=300), expected)
    for memory in (20_000, 30_000):
        with pytest.raises(
            MemoryBudgetError, match=r"needs about .* may be used; .*give more memory"
        ) as caught:
            by_tasks(vectors, replace(little, memory=memory), merges=2400)
        assert caught.value.needed > caught.value.allowed == 10**6 + memory


def test_a_walk_that_ends_by_itself_needs_the_memory_it_takes_and_not_that_of_all_pairs_found(monkeypatch):
    """As with 10 million vectors, where the first radius held three times the pairs that were needed."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2000, 6)).astype(np.float32)  # one component
    expected = first_merges(vectors, merges=900)
    radius = together.first_radius
    monkeypatch.setattr(together, "first_radius", lambda *given: 3 * radius(*given))
    pieces = Pieces(shard=700, groups=4, together=2, memory=ENOUGH, beside=10**6)
    same(by_tasks(vectors, pieces, merges=900), expected)
    with pytest.raises(MemoryBudgetError, match="so deep a cut of 2,000 vectors needs about") as caught:
        by_tasks(vectors, replace(pieces, memory=ENOUGH // 8), merges=900)
    assert caught.value.needed > caught.value.allowed == 10**6 + ENOUGH // 8
    assert 0 < caught.value.fits < 900
    same(
        by_tasks(vectors, replace(pieces, memory=ENOUGH // 8), merges=caught.value.fits),
        first_merges(vectors, merges=caught.value.fits),
    )


def test_a_driver_that_was_killed_resumes_from_the_files_there_are(tmp_path):
    vectors = balls(2000)
    np.save(tmp_path / "vectors.npy", vectors)
    pieces = Pieces(shard=600, groups=5, together=2, memory=ROOM)
    job = AllTogether(tmp_path / "vectors.npy", merges=500)

    class Killed(AnyOrder):
        def run(self, tasks: Sequence[Task]) -> Iterator[Finished]:
            for finished in super().run([task for task in tasks if not task.output.exists()]):
                yield finished
                if len(self.done) == 7:
                    raise KeyboardInterrupt

    done = []
    while True:
        runner = Killed(len(done))
        try:
            found = first_merges_by_tasks(job, pieces, tmp_path / "work", runner)
            break
        except KeyboardInterrupt:
            done += runner.done
    assert len(done) > 20
    assert len(set(done)) == len(done)  # nothing is done twice
    same(found, first_merges(vectors, merges=500))


class Comparison(NamedTuple):
    """What one shell left: the pairs of each group, and who goes where, a shard each."""

    pairs: dict[int, npt.NDArray[np.void]]
    routes: list[tuple[Routed, Routed]]
    radius: float


def compared(vectors, pieces: Pieces, **depth) -> Comparison:
    """Cluster in one shell, and return how its pairs were found."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        np.save(path, vectors)
        first_merges_by_tasks(AllTogether(path, **depth), pieces, Path(folder), AnyOrder(0))
        (shell,) = Path(folder).glob("*/shell-*")
        return Comparison(
            {int(file.name): np.load(file) for file in (shell / "pairs").iterdir()},
            [routed(file) for file in sorted((shell / "routes").iterdir())],
            float.fromhex(shell.name.partition("-to-")[2]),
        )


def assert_all_pairs_once(vectors, found: Comparison) -> None:
    """The files of all groups hold each near pair once, in order."""
    members = np.sort(np.concatenate([own.at for own, _ in found.routes]))
    graph = neighbor_graph(Points.of(vectors).subset(members), found.radius)
    expected = np.rec.fromarrays([graph.d, members[graph.i], members[graph.j]], dtype=RECORD)
    assert np.array_equal(np.sort(np.concatenate(list(found.pairs.values()))), np.sort(expected))
    for pairs in found.pairs.values():
        assert np.array_equal(pairs, np.sort(pairs))


@settings(deadline=None, max_examples=some(12))
@given(
    kind=st.sampled_from(["grid", "single", "twins", "last bit"]),
    n=st.integers(20, 200),
    width=st.integers(2, 4),
    seed=st.integers(0, 10**9),
    height=st.sampled_from([0.05, 0.3, 1.0, 1.9]),
)
def test_each_pair_is_found_once_though_points_have_partners_in_all_groups(kind, n, width, seed, height):
    vectors = hard_vectors(kind, n, width, seed)
    if len(np.unique(Points.of(vectors).hashes())) > 1:
        assert_all_pairs_once(vectors, compared(vectors, cut_into(n, seed), height=height))


def test_pairs_cross_any_two_groups_in_both_directions():
    vectors = np.random.default_rng(0).normal(size=(600, 3))
    found = compared(vectors, Pieces(shard=180, groups=4, together=2, memory=ROOM), height=0.2)
    assert_all_pairs_once(vectors, found)
    home, visits = np.empty(600, dtype=np.int64), np.zeros(600, dtype=np.int64)
    for own, guests in found.routes:
        home[own.at] = np.repeat(np.arange(4), np.diff(own.starts))
        np.add.at(visits, guests.at, 1)
    assert np.sum(visits > 1) > 100
    across = {
        (home[point], group) for group, pairs in found.pairs.items() for point in (*pairs["i"], *pairs["j"])
    }
    assert across == {(one, other) for one in range(4) for other in range(4)}


def test_points_visit_few_groups_where_neighbours_are_near():
    vectors = balls(4000)
    found = compared(vectors, Pieces(shard=1500, groups=8, together=2, memory=ROOM), merges=200)
    assert_all_pairs_once(vectors, found)
    assert sum(len(pairs) > 0 for pairs in found.pairs.values()) > 4
    assert 0 < sum(len(guests.at) for _, guests in found.routes) < 4000 * 3


def test_groups_are_compared_on_a_gpu_where_that_is_worth_it(monkeypatch):
    """With numpy's filter in the place of a GPU's."""

    class Counted(SinglesFilter):
        calls = 0

        def near(self, *tile):
            Counted.calls += 1
            return super().near(*tile)

        def tile_bytes(self, width):
            return 1000

    vectors, asked = balls(2000), {False: set(), True: set()}
    monkeypatch.setattr(accelerators, "_on_gpu", Counted)
    monkeypatch.setattr(accelerators, "_is_there", lambda: True)

    class Asked(AnyOrder):
        def run(self, tasks):
            for task in tasks:
                asked[task.gpu].add(task.name.rpartition(" ")[0])
            return super().run(tasks)

    def found(worth):
        monkeypatch.setattr(accelerators, "WORTH_IMPORTING", worth)
        monkeypatch.setattr(accelerators, "WORTH_LOOKING", worth)
        return by_tasks(vectors, Pieces(shard=700, groups=4, together=2, memory=ROOM), Asked(0), merges=200)

    expected = found(1e18)
    assert not asked[True] and not Counted.calls
    same(found(0), expected)
    assert asked[True] == {"comparing group"} and "routing shard" in asked[False]
    assert Counted.calls > 4


def test_groups_of_cells_are_neighbours_with_as_many_points_each():
    rng = np.random.default_rng(3)
    centres = np.repeat(np.eye(8, dtype=np.float32) * 10, 16, axis=0)
    centres += 0.1 * rng.normal(size=centres.shape).astype(np.float32)
    group = grouped(centres, np.full(128, 5), 8)
    assert np.bincount(group).tolist() == [16] * 8
    assert all(len(np.unique(group[k : k + 16])) == 1 for k in range(0, 128, 16))
    size = rng.integers(0, 100, 128)
    points = np.bincount(grouped(centres, size, 5), weights=size)
    assert len(points) == 5
    assert points.max() < 1.5 * points.mean()
    assert grouped(centres[:2], size[:2], 5).max() < 5


def test_the_plan_cuts_to_the_memory_of_a_task():
    one, gib = (1, 1 << 30), 1 << 30
    few = Pieces.of((10**6, 64), 4, 2, one, one)
    many = Pieces.of((10**7, 64), 4, 2, one, one)
    assert few.groups == 4
    assert many.groups * many.memory * 0.3 > 10**7 * (256 + 64)
    assert many.groups > few.groups
    assert Pieces.of((10**7, 64), 4, 2, (1, 2 * gib), one).groups < many.groups
    assert few.shards(10**6)[-1] == (900_000, 10**6)
    with pytest.raises(
        MemoryBudgetError, match=r"any clustering of 1,000,000 vectors needs about .* 10 MiB may be used"
    ):
        Pieces.of((10**6, 64), 4, 2, (1, 10 << 20), one)


@pytest.mark.parametrize("depth", [{"merges": 9}, {"merges": 1, "height": 0.1}, {}, {"height": -1.0}])
def test_a_depth_that_there_is_not_is_refused(depth):
    with pytest.raises(UsageError):
        by_tasks(balls(9), cut_into(9, 0), **depth)


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("stage", ["hashing", "comparing group", "sorting pairs", "merging share"])
def test_a_full_disk_is_one_line_in_every_task(tmp_path, monkeypatch, stage):
    np.save(tmp_path / "vectors.npy", balls(500))
    opened = Path.open

    class OnFullDisk(AnyOrder):
        def run(self, tasks):
            with monkeypatch.context() as patch:
                if tasks[0].name.startswith(stage):
                    patch.setattr(Path, "open", lambda path, how: opened(FULL if how == "wb" else path, how))
                yield from super().run(tasks)

    job = AllTogether(tmp_path / "vectors.npy", merges=100)
    with pytest.raises(RunFolderError, match=r"can't write .*: No space left on device"):
        first_merges_by_tasks(job, Pieces(200, 3, 2, ROOM), tmp_path / "work", OnFullDisk(0))
    assert not list(tmp_path.rglob("*.partial"))


def test_more_vectors_than_32_bits_can_number_are_refused():
    check_depth(2**31 - 1, 5, None)
    with pytest.raises(UsageError, match=r"2,147,483,648 vectors are more than the 2,147,483,647"):
        check_depth(2**31, 5, None)


def test_real_vectors_all_together(cifar10):
    vectors = np.load(cifar10 / "resnet32-train.npy")[::2]
    pieces = Pieces(shard=9000, groups=6, together=2, memory=ROOM)
    same(by_tasks(vectors, pieces, merges=2500), first_merges(vectors, merges=2500))
