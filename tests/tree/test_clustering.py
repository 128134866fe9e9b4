"""Classes clustered side by side, within a budget, and gone on with: none of it shows in what comes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pytest

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.errors import RunFolderError, StageError, UsageError
from tenpercent.linkage import growth
from tenpercent.linkage.linkage import Linkage, first_merges
from tenpercent.linkage.memory import MemoryBudgetError, Resources
from tenpercent.linkage.walk import PairCounts
from tenpercent.tree import clustering
from tenpercent.tree import finished_classes as parts
from tenpercent.tree.counts import counts_path
from tenpercent.tree.forecast import Forecast, forecast
from tenpercent.tree.merges import Merges, cluster, uncut

SIZES = (40, 7, 25, 1, 33, 2, 40, 12)


def some(tied: bool = False, sizes: tuple[int, ...] = SIZES) -> Embeddings:
    random = np.random.default_rng(sum(sizes))
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    shape = (len(labels), 3 if tied else 5)
    vectors = random.integers(1, 4, shape) if tied else random.normal(size=shape)
    return Embeddings.from_numpy(vectors.astype(np.float32), labels=labels)


def stored(merges: Merges, folder: Path) -> dict[str, bytes]:
    """What saving the merges writes."""
    folder.mkdir(parents=True)
    merges.save(folder / "merges.parquet")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class Watched:
    """`first_merges`, with a list of what it was asked for and something to do before."""

    def __init__(self, before: Callable[..., None] = lambda *_: None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.before = before
        self.lock, self.running, self.most = Lock(), 0, 0

    def __call__(self, vectors: Any, **asked: Any) -> Linkage:
        with self.lock:
            self.calls.append({"vectors": vectors, **asked})
            self.running += 1
            self.most = max(self.most, self.running)
            count = len(self.calls)
        try:
            self.before(self, count, vectors, asked)
            return first_merges(vectors, **asked)
        finally:
            with self.lock:
                self.running -= 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watched]:
    def watching(before: Callable[..., None] = lambda *_: None) -> Watched:
        watched = Watched(before)
        monkeypatch.setattr(clustering, "first_merges", watched)
        return watched

    return watching


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sets so small would be finished densely, which counts nothing."""
    monkeypatch.setattr(growth._Growth, "dense_pays", lambda *_: False)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("alone", [0, 30, 10_000])
def test_neither_threads_nor_shares_show(
    tied: bool, alone: int, sparse: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embeddings = some(tied)
    expected = stored(cluster(embeddings, tp.Cut(0.7), resources=Resources(threads=1)), tmp_path / "expected")
    assert set(expected) == {"merges.parquet", "merges.counted.parquet"}
    monkeypatch.setattr(clustering, "ALONE", alone)
    for threads in (1, 2, 5):
        resources = Resources(memory=200 << 20, threads=threads, scratch=tmp_path / f"scratch-{threads}")
        found = cluster(embeddings, tp.Cut(0.7), resources=resources)
        assert stored(found, tmp_path / f"found-{threads}") == expected


def test_small_classes_share_threads_and_memory_and_large_ones_have_them_alone(
    watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering, "ALONE", 35)
    watched = watch()
    cluster(
        some(sizes=(30, 40, 30, 40, 30, 30)), tp.Cut(0.5), resources=Resources(memory=300 << 20, threads=3)
    )
    given = [(len(c["vectors"]), c["resources"].memory >> 20, c["resources"].threads) for c in watched.calls]
    assert given == [(40, 300, 3)] * 2 + [(30, 100, 1)] * 4
    # one that would keep a thread busy longer than all others together keep theirs is not left for the end
    watched = watch()
    cluster(some(sizes=(10, 30, 10, 10)), tp.Cut(0.5), resources=Resources(memory=300 << 20, threads=3))
    given = [(len(c["vectors"]), c["resources"].memory >> 20, c["resources"].threads) for c in watched.calls]
    assert given == [(30, 300, 3)] + [(10, 100, 1)] * 3


def test_a_class_that_needs_more_than_a_share_is_done_alone(
    watch: Callable[..., Watched], tmp_path: Path
) -> None:
    def refuse_a_share(watched: Watched, _: int, vectors: Any, asked: dict[str, Any]) -> None:
        if len(vectors) == 25:
            if asked["resources"].memory < 100 << 20:
                raise MemoryBudgetError("it", needed=1, allowed=0, fits=1, n=25)
            assert watched.running == 1

    watched = watch(refuse_a_share)
    found = cluster(some(), tp.Cut(0.5), resources=Resources(memory=100 << 20, threads=2))
    assert [len(call["vectors"]) for call in watched.calls].count(25) == 2
    watch()
    assert stored(found, tmp_path / "a") == stored(cluster(some(), tp.Cut(0.5)), tmp_path / "b")


def test_fewer_threads_where_their_own_memory_is_too_much(watch: Callable[..., Watched]) -> None:
    def refuse_threads(_: Watched, __: int, vectors: Any, asked: dict[str, Any]) -> None:
        if asked["resources"].threads > 3:
            raise MemoryBudgetError("it", needed=1, allowed=0, fits=0, n=len(vectors))

    watched = watch(refuse_threads)
    cluster(some(sizes=(50,)), tp.Cut(0.5, within="all"), resources=Resources(threads=16))
    assert [call["resources"].threads for call in watched.calls] == [16, 8, 4, 2]


def test_rows_are_taken_class_by_class_and_a_map_stays_one(
    watch: Callable[..., Watched], tmp_path: Path
) -> None:
    np.save(tmp_path / "v.npy", some().vectors)
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    embeddings = Embeddings.from_numpy(mapped, labels=some().labels)
    watched = watch()
    cluster(embeddings, tp.Cut(0.5, within="all"))
    assert np.shares_memory(watched.calls[0]["vectors"], mapped)
    cluster(embeddings, tp.Cut(0.5))
    assert sorted(len(call["vectors"]) for call in watched.calls[1:]) == sorted(
        size for size in SIZES if size > 1
    )


# ---- what does not fit -------------------------------------------------------------------------------------------


def test_a_budget_below_the_minimum_is_refused_in_one_sentence() -> None:
    with pytest.raises(MemoryBudgetError) as said:
        some_merges = uncut(some())
        tp.select(some_merges, keep=0.5, memory="100KiB")
    needed = str(said.value).split(",")[0].split()[-2:]
    assert str(said.value) == (
        f"--keep 0.5 needs about {' '.join(needed)}, and 100 KiB may be used; give --memory {''.join(needed)} or more"
    )
    assert len(tp.select(uncut(some()), keep=0.5, memory="".join(needed)).kept) == 80


@pytest.mark.parametrize("memory", ["plenty", 0, -5, 1.5])
def test_a_size_of_memory_is_checked(memory: Any) -> None:
    with pytest.raises(UsageError, match="memory is"):
        tp.select(uncut(some()), keep=0.5, memory=memory)


def refuse_depth(watched: Watched, _: int, vectors: Any, asked: dict[str, Any]) -> None:
    """Let no class make more than 45 merges of 100."""
    if asked["merges"] is None or asked["merges"] * 100 > 45 * len(vectors):
        fits = 45 * len(vectors) // 100
        raise MemoryBudgetError("it", needed=9 << 30, allowed=4 << 30, fits=fits, n=len(vectors))


def test_what_fits_is_said_as_a_cut(watch: Callable[..., Watched]) -> None:
    embeddings = some(sizes=(100, 100, 60))
    watch(refuse_depth)
    with pytest.raises(MemoryBudgetError) as said:
        cluster(embeddings, tp.Cut(0.5))
    assert str(said.value) == "--keep 0.56 fits, 0.5 needs about 9 GiB; give --memory 9GiB or more"
    assert len(cluster(embeddings, tp.Cut(0.56))) == 114
    with pytest.raises(MemoryBudgetError) as said:
        cluster(embeddings, tp.Cut(threshold=0.5))
    assert str(said.value) == (
        "--threshold 0.5 needs about 9 GiB, and 4 GiB may be used; give --memory 9GiB or more, or --keep 0.56, "
        "which fits"
    )


def test_what_fits_fits_every_class(watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch) -> None:
    def expected(rows: Any, merges: int, _: Resources) -> Forecast:
        return Forecast(12 << 30, 30) if len(rows) == 60 else Forecast(9 << 30, merges)

    monkeypatch.setattr(clustering, "forecast", expected)
    watch(refuse_depth)
    with pytest.raises(MemoryBudgetError) as said:
        cluster(some(sizes=(100, 70, 60)), tp.Cut(0.2))
    assert str(said.value) == "--keep 0.56 fits, 0.2 needs about 12 GiB; give --memory 12GiB or more"
    with pytest.raises(MemoryBudgetError) as said:
        cluster(some(sizes=(100, 60, 60, 60)), tp.Cut(0.2))
    assert "--keep 0.56" in str(said.value)
    monkeypatch.setattr(clustering, "forecast", lambda rows, *_: Forecast(1, len(rows) // 4))
    with pytest.raises(MemoryBudgetError) as said:
        cluster(some(sizes=(100, 60)), tp.Cut(0.2))
    assert str(said.value).startswith("--keep 0.77 fits, 0.2 needs about 9 GiB")


def test_a_forecast_is_what_clustering_would_say() -> None:
    vectors = np.random.default_rng(0).normal(size=(150_000, 6)).astype(np.float32)
    expected = forecast(vectors, 80_000, Resources(memory=1 << 30, threads=1))
    assert expected.fits >= 80_000
    tight = Resources(memory=expected.needed - (1 << 20), threads=1)
    with pytest.raises(MemoryBudgetError) as said:
        first_merges(vectors, merges=80_000, resources=tight)
    assert (said.value.needed, said.value.fits) == forecast(vectors, 80_000, tight)
    assert said.value.needed == expected.needed


# ---- going on ----------------------------------------------------------------------------------------------------


def interrupt_at(number: int) -> Callable[..., None]:
    def interrupt(_: Watched, count: int, *__: Any) -> None:
        if count == number:
            raise KeyboardInterrupt

    return interrupt


def test_finished_classes_are_not_clustered_again(watch: Callable[..., Watched], tmp_path: Path) -> None:
    expected = stored(cluster(some(), tp.Cut(0.4)), tmp_path / "expected")
    resources = Resources(threads=1, scratch=tmp_path / "scratch")
    watch(interrupt_at(4))
    with pytest.raises(KeyboardInterrupt):
        cluster(some(), tp.Cut(0.4), resources=resources)
    assert len(list(tmp_path.glob("scratch/cluster-*/part-*.parquet"))) == 1
    watch(interrupt_at(3))
    with pytest.raises(KeyboardInterrupt):
        cluster(some(), tp.Cut(0.4), resources=resources)
    assert len(list(tmp_path.glob("scratch/cluster-*/part-*.parquet"))) == 2
    watched = watch()
    found = cluster(some(), tp.Cut(0.4), resources=resources)
    assert sorted(len(call["vectors"]) for call in watched.calls) == [2, 7]
    assert stored(found, tmp_path / "found") == expected


def test_parts_come_together_for_two_seconds(watch: Callable[..., Watched], tmp_path: Path) -> None:
    cluster(some(), tp.Cut(0.4), resources=Resources(scratch=tmp_path / "scratch"))
    assert not (tmp_path / "scratch").exists()


def test_each_class_is_on_disk_when_time_has_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "SECONDS", 0.0)
    cluster(some(), tp.Cut(0.4), resources=Resources(threads=2, scratch=tmp_path / "scratch"))
    assert len(list(tmp_path.glob("scratch/cluster-*/part-*.parquet"))) == 7


def test_a_deeper_tree_goes_on_from_what_an_interrupted_one_finished(
    watch: Callable[..., Watched], tmp_path: Path
) -> None:
    expected = stored(cluster(some(), tp.Cut(0.3)), tmp_path / "expected")
    resources = Resources(threads=1, scratch=tmp_path / "scratch")
    watch(interrupt_at(4))
    with pytest.raises(KeyboardInterrupt):
        cluster(some(), tp.Cut(0.6), resources=resources)
    watched = watch()
    assert stored(cluster(some(), tp.Cut(0.3), resources=resources), tmp_path / "found") == expected
    known = [call["after"] and len(call["after"]) for call in watched.calls]
    assert known == [16, 16, 13, None, None, None, None]
    # and a shallower one comes out as if nothing had been there
    watched = watch()
    shallow = cluster(some(), tp.Cut(0.8), resources=resources)
    assert [call["after"] for call in watched.calls] == [None] * 6
    assert stored(shallow, tmp_path / "shallow") == stored(
        cluster(some(), tp.Cut(0.8)), tmp_path / "shallow-2"
    )


def test_parts_of_anything_else_are_removed(watch: Callable[..., Watched], tmp_path: Path) -> None:
    watch(interrupt_at(4))
    resources = Resources(threads=1, scratch=tmp_path)
    for embeddings, within in ((some(), "class"), (some(tied=True), "class"), (some(), "all")):
        watch(interrupt_at(4 if within == "class" else 1))
        with pytest.raises(KeyboardInterrupt):
            cluster(embeddings, tp.Cut(0.4, within=within), resources=resources)
        assert len(list(tmp_path.glob("cluster-*"))) == (1 if within == "class" else 0)


def test_a_damaged_part_is_named(watch: Callable[..., Watched], tmp_path: Path) -> None:
    watch(interrupt_at(4))
    resources = Resources(threads=1, scratch=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cluster(some(), tp.Cut(0.4), resources=resources)
    part = next(tmp_path.glob("cluster-*/part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(StageError, match=r"part-00000\.parquet is damaged .* move it away"):
        cluster(some(), tp.Cut(0.4), resources=resources)
    part.unlink()
    assert len(cluster(some(), tp.Cut(0.4), resources=resources)) == 96


def test_a_disk_that_is_full_is_one_line_and_keeps_what_is_finished(
    watch: Callable[..., Watched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(_: Watched, count: int, *__: Any) -> None:
        if count == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(clustering, "MAY_SPILL", 0.0)
    watch(fill)
    resources = Resources(threads=1, scratch=tmp_path)
    with pytest.raises(
        RunFolderError, match=r"can't write .*class-2: No space left on device \(.* free\); free some space"
    ):
        cluster(some(), tp.Cut(0.4), resources=resources)
    watched = watch()
    cluster(some(), tp.Cut(0.4), resources=resources)
    assert len(watched.calls) == 4


# ---- the counts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("within", ["class", "all"])
def test_a_stored_tree_is_gone_on_from_with_its_counts(
    within: str, watch: Callable[..., Watched], sparse: None, tmp_path: Path
) -> None:
    embeddings = some()
    deep, shallow = (cluster(embeddings, tp.Cut(keep, within=within)) for keep in (0.6, 0.8))
    expected = stored(deep, tmp_path / "deep")
    stored(shallow, tmp_path / "run")
    path = tmp_path / "run" / "merges.parquet"

    back = Merges.load(path, embeddings)
    assert listed(back.counts) == listed(shallow.counts)
    assert {column.dtype for counted in back.counts.values() for column in counted} == {
        np.dtype(np.int32),
        np.dtype(np.int64),
    }
    watched = watch()
    assert stored(back.deepened(tp.Cut(0.6)), tmp_path / "found") == expected
    known = [call["after"] for call in watched.calls if call["after"] is not None]
    assert [linkage.counted is None for linkage in known] == [False] * len(known)
    assert len(known) == (6 if within == "class" else 1)

    # Without counts, or with those of other merges, everything is looked at again, and it comes to the same.
    for content in (None, expected["merges.counted.parquet"]):
        counts_path(path).unlink(missing_ok=True)
        if content is not None:
            counts_path(path).write_bytes(content)
        watched.calls.clear()
        assert (
            stored(Merges.load(path, embeddings).deepened(tp.Cut(0.6)), tmp_path / f"{content is None}")
            == expected
        )
        assert all(call["after"] is None or call["after"].counted is None for call in watched.calls)


def listed(counts: Mapping[int, PairCounts]) -> dict[int, list[list[int]]]:
    return {code: [column.tolist() for column in counted] for code, counted in counts.items()}


def test_damaged_counts_are_named_when_they_are_wanted(tmp_path: Path) -> None:
    stored(cluster(some(), tp.Cut(0.7)), tmp_path / "run")
    path = counts_path(tmp_path / "run" / "merges.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    (tmp_path / "run" / "run.json").write_text("{}")
    merges = Merges.load(tmp_path / "run" / "merges.parquet", some())
    assert len(tp.select(merges, keep=0.8).removed) == 32
    with pytest.raises(StageError, match=r"merges\.counted\.parquet is damaged .* delete it"):
        tp.select(merges, keep=0.2)
    path.unlink()
    merges = Merges.load(tmp_path / "run" / "merges.parquet", some())
    assert len(tp.select(merges, keep=0.2).removed) == 128


def test_a_whole_tree_has_no_counts(tmp_path: Path) -> None:
    stored(cluster(some(), tp.Cut(0.7)), tmp_path / "run")
    whole = cluster(some(), tp.Cut(0.7)).deepened(tp.Cut(1e-9))
    whole.save(tmp_path / "run" / "merges.parquet")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["merges.parquet"]
