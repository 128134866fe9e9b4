"""How deep a first run looks for the gap between copies and the rest, and what the review page says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tenpercent as tp
from tenpercent.cli import main
from tenpercent.images.options import SourceOptions
from tenpercent.select import deepening
from tenpercent.select.gap import find_gap
from tenpercent.select.merges_file import read_heights

FILES = ("merges.parquet", "selection.parquet")


def write(folder: Path, rows: np.ndarray, labels: np.ndarray | None = None) -> tuple[Path, SourceOptions]:
    """Write vectors and labels as files."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "vectors.npy", rows)
    if labels is None:
        return folder / "vectors.npy", SourceOptions()
    np.save(folder / "labels.npy", labels)
    return folder / "vectors.npy", SourceOptions(labels=folder / "labels.npy")


def with_copies(n: int, copies: int, width: int = 16, seed: int = 0) -> np.ndarray:
    """Random directions, the last `copies` of them copies of the first."""
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((n, width))
    rows[n - copies :] = rows[:copies] + 0.02 * draw.standard_normal((copies, width))
    return rows


# ---- how deep a run looks ------------------------------------------------------------------------------------------


def test_a_first_run_finds_the_gap_far_beyond_its_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, _ = write(tmp_path, with_copies(340, 40))
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--keep", "0.95"]) == 0
    assert "have a gap: 40 up to" in capsys.readouterr().out


def test_a_first_run_by_a_threshold_below_the_gap_finds_it_too(tmp_path: Path) -> None:
    vectors, _ = write(tmp_path, with_copies(340, 40))
    tp.run(vectors, out=tmp_path / "run", cut=tp.Cut(threshold=0.0))
    found = find_gap(read_heights(tmp_path / "run" / "merges.parquet"))
    assert found is not None
    assert found.merges == 40


def test_one_tight_class_does_not_hide_the_gap_of_the_others(tmp_path: Path) -> None:
    """As many merges as its share needs are all copies there, so by count alone it would be complete to them only."""
    rows, tight = with_copies(340, 40), np.repeat(np.eye(16)[:3], [3, 3, 4], axis=0)
    labels = np.concatenate([np.arange(340) % 300 % 5, np.full(10, 5)])
    vectors, options = write(tmp_path, np.concatenate([rows, tight]), labels)
    tp.run(vectors, out=tmp_path / "run", keep=0.9, options=options)
    heights = read_heights(tmp_path / "run" / "merges.parquet")
    found = find_gap(heights)
    assert found is not None
    assert found.merges == 47


def test_a_stored_tree_that_reaches_the_cut_stays_as_it_is(tmp_path: Path) -> None:
    vectors, _ = write(tmp_path, with_copies(120, 20))
    run = tmp_path / "run"
    tp.embed(vectors, out=run)
    tp.cluster(run, keep=0.85)
    tp.select(run, keep=0.9)
    before = [(run / name).read_bytes() for name in FILES]
    tp.run(vectors, out=run, keep=0.9)
    assert [(run / name).read_bytes() for name in FILES] == before
    assert not tp.cluster(run, keep=0.85).covers(0.3)


@pytest.mark.parametrize("cut", [tp.Cut(keep=0.9), tp.Cut(threshold=0.001)])
def test_a_larger_set_is_clustered_about_as_deep_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: tp.Cut
) -> None:
    vectors, _ = write(tmp_path, with_copies(120, 20))
    monkeypatch.setattr(deepening, "SMALL", 120 * 119 // 2 - 1)
    tp.run(vectors, out=tmp_path / "large", cut=cut)
    monkeypatch.setattr(deepening, "SMALL", 120 * 119 // 2)
    tp.run(vectors, out=tmp_path / "small", cut=cut)
    large, small = (tp.cluster(tmp_path / name, keep=0.95) for name in ("large", "small"))
    assert not large.covers(0.8)
    assert small.covers(0.3)
    assert (tmp_path / "large" / FILES[1]).read_bytes() == (tmp_path / "small" / FILES[1]).read_bytes()


def test_where_far_beyond_does_not_fit_the_tree_ends_at_the_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenpercent.cluster.memory import MemoryBudgetError
    from tenpercent.select.merges import Merges

    whole = Merges.deepened

    def short(self: Merges, keep: float | None = None, **how: object) -> Merges:
        if keep == deepening.COPIES:
            raise MemoryBudgetError("0.3", needed=2, allowed=1, fits=1, n=2)
        return whole(self, keep, **how)

    vectors, _ = write(tmp_path, with_copies(120, 20))
    monkeypatch.setattr(Merges, "deepened", short)
    tp.run(vectors, out=tmp_path / "run", keep=0.9)
    monkeypatch.undo()
    found = tp.cluster(tmp_path / "run", keep=0.85)
    assert not found.covers(0.8)
