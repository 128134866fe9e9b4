"""Decisions that change how many images stay, where the height of the cut is held and not the count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tenpercent as tp
from examples import some
from tenpercent.cli.main import main
from tenpercent.decisions.constraints import Constraints
from tenpercent.decisions.log import DecisionLog, ImageName, Kind
from tenpercent.errors import UsageError


def drawn(seed: int, labelled: bool) -> tp.Embeddings:
    """Few distinct vectors, full of ties and equals."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-1, 2, (30, 3)).astype(np.float32)
    rows[~rows.any(axis=1)] = 1
    rows[15:] += 0.05 * rng.standard_normal((15, 3)).astype(np.float32)
    return tp.Embeddings.from_numpy(rows, labels=rng.integers(0, 3, 30) if labelled else None)


@settings(deadline=None, max_examples=some(30))
@given(
    seed=st.integers(0, 10**6),
    labelled=st.booleans(),
    keep=st.floats(0.3, 1.0),
    budget=st.sampled_from(["class", "global"]),
    pairs=st.sets(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=3),
)
def test_held_at_its_height_a_cut_makes_no_wider_group_and_takes_no_more(
    seed: int, labelled: bool, keep: float, budget: str, pairs: set[tuple[int, int]]
) -> None:
    bare = tp.cluster(drawn(seed, labelled), keep)
    apart = np.asarray(sorted((x, y) for x, y in pairs if x < y), dtype=np.int64).reshape(-1, 2)
    merges = bare.under(Constraints(apart=apart)).deepened(tp.Cut(keep, budget=budget))
    plain = bare.deepened(tp.Cut(keep, budget=budget)).partition(tp.Cut(keep, budget=budget))
    held = merges.deepened(tp.Cut(keep, budget=budget, hold="height")).partition(
        tp.Cut(keep, budget=budget, hold="height")
    )
    full = merges.partition(tp.Cut(keep, budget=budget))
    assert held.n_kept >= full.n_kept
    assert held.height <= plain.height
    if not len(apart):
        assert held.group.tolist() == plain.group.tolist()
    for x, y in apart.tolist():
        assert held.group[x] != held.group[y]


def test_the_cut_never_needs_a_deeper_tree_than_without_decisions() -> None:
    bare = tp.cluster(drawn(1, True), 0.6)
    pair = np.sort(np.asarray([[bare.a[0], bare.b[0]]]), axis=1)
    merges = bare.under(Constraints(apart=pair, keep=bare.a[1:3].copy()))
    assert bare.covers(tp.Cut(0.6)) and merges.covers(tp.Cut(0.6, hold="height"))
    held = merges.deepened(tp.Cut(0.4, hold="height"))
    assert held.covers(tp.Cut(0.4, hold="height")) and held.bare is not None and held.bare.covers(tp.Cut(0.4))


def test_a_run_stores_it_and_cuts_again_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.standard_normal((20, 6)), 2, axis=0)
    rows[1::2] += np.linspace(0.01, 0.3, 20)[:, None] * rng.standard_normal((20, 6))
    np.save(tmp_path / "v.npy", rows.astype(np.float32))
    run = tmp_path / "run"
    tp.embed(tmp_path / "v.npy", out=run)
    tp.cluster(run, 0.75)
    before = tp.select(run, tp.Cut(keep=0.75))
    pair = next(before.group_members())
    names = [ImageName(str(before.ids[p])) for p in pair[:2].tolist()]
    log = DecisionLog(run)
    log.add(Kind.APART, names)
    assert len(tp.select(run, tp.Cut(keep=0.75)).kept) == 30
    assert main(["select", str(run), "--keep", "0.75", "--hold", "height"]) == 0
    held = tp.Selection.load(run / "selection.parquet")
    assert held.settings["hold"] == "height" and len(held.kept) == 31
    log.undo()
    assert len(tp.select(run, tp.Cut(keep=0.75, hold="height")).kept) == 30
    with pytest.raises(UsageError, match="hold is 'both'"):
        tp.select(run, tp.Cut(keep=0.75, hold="both"))
