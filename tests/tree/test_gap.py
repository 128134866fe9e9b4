"""The gap between copies and everything else, and what is asked for beside what is found."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.reporting.summary import describe_run
from tenpercent.tree import gap
from tenpercent.tree.gap import FEWEST, describe_gap, find_gap, mean_dissimilarity, said_height
from tenpercent.tree.merges_file import complete_heights, read_heights


def heights(seed: int, n: int = 200, width: int = 32, copies: int = 0, noise: float = 0.2) -> np.ndarray:
    """Heights of the merges of random directions, `copies` of them beside a second one that is near."""
    draw = np.random.default_rng(seed)
    rows = draw.standard_normal((n, width))
    if copies:
        rows[-copies:] = rows[:copies] + noise * draw.random((copies, 1)) * draw.standard_normal(
            (copies, width)
        )
    return tp.cluster(tp.Embeddings.from_numpy(rows), keep=0.3).height


@pytest.mark.parametrize("seed", range(12))
def test_random_directions_have_none(seed: int) -> None:
    assert find_gap(heights(seed, n=60 + 20 * seed, width=4 + 4 * seed)) is None


@pytest.mark.parametrize("copies", [1, 2, 7, 40])
def test_copies_are_told_from_the_rest(copies: int) -> None:
    found = find_gap(heights(1, copies=copies))
    assert found is not None
    assert found.merges == copies
    assert found.below < found.threshold < found.above


def test_the_threshold_takes_the_copies_and_nothing_else() -> None:
    draw = np.random.default_rng(5)
    rows = draw.standard_normal((120, 16))
    rows[100:] = rows[:20] + 0.05 * draw.standard_normal((20, 16))
    merges = tp.cluster(tp.Embeddings.from_numpy(rows), keep=0.5)
    found = find_gap(merges.height)
    assert found is not None
    assert sorted(tp.select(merges, tp.Cut(threshold=found.threshold)).removed_rows % 100) == list(range(20))


@pytest.mark.parametrize("exact", [0.0, 3e-10])
def test_exact_duplicates_are_counted_apart_and_make_no_gap(exact: float) -> None:
    rest = np.linspace(0.3, 0.6, 60)
    for count, verb, them in (
        (1, "1 image is an exact duplicate", "it"),
        (5, "5 images are exact duplicates", "them"),
    ):
        found = np.concatenate([np.full(count, exact), rest])
        assert find_gap(found) is None
        threshold = "0" if exact == 0 else "1e-09"
        said = describe_gap(found, 100)
        removes = f"--threshold {threshold} removes {them} and no other"
        assert f"{verb} of another (equal vectors); {removes}. The" in said
        assert (
            "other merges have no gap up to 0.58: no threshold up to there tells copies from the rest."
            in said
        )


def test_a_gap_among_the_others_counts_the_exact_duplicates_below_it() -> None:
    near = np.concatenate([np.linspace(0.001, 0.002, 12), np.linspace(0.3, 0.6, 60)])
    found = find_gap(near)
    both = find_gap(np.concatenate([np.zeros(3), near]))
    assert found is not None
    assert both is not None
    assert (both.merges, both.below, both.above) == (found.merges + 3, found.below, found.above)
    assert both.threshold == found.threshold


def test_a_handful_of_merges_says_nothing() -> None:
    assert find_gap(np.linspace(0.1, 0.9, FEWEST)) is None
    assert "too few images to see a gap" in describe_gap(np.linspace(0.1, 0.9, FEWEST), 8)
    assert "too few merges to see a gap" in describe_gap(np.linspace(0.1, 0.9, FEWEST), 9)
    assert "too few other images" in describe_gap(np.asarray([0.0, 0.2]), 3)
    assert "no gap up to" in describe_gap(heights(0), 200)
    assert "looks further" not in describe_gap(heights(0), 200)
    assert "looks further" in describe_gap(heights(0)[:99], 200)
    assert "too few" in describe_gap(np.linspace(0.1, 0.2, 1), 2)


def test_what_too_few_merges_follow_is_not_called_free_of_gaps() -> None:
    found = np.concatenate([np.linspace(0.001, 0.002, 12), np.linspace(0.5, 0.6, FEWEST)])
    assert find_gap(found) is None, "a gap that nothing can be held against"
    assert "no gap up to 0.002:" in describe_gap(found, 17)


def test_only_heights_that_no_class_lacks_are_looked_at() -> None:
    height = np.asarray([0.1, 0.2, 0.3, 0.4])
    assert complete_heights(height, np.asarray([np.inf, 0.25])).tolist() == [0.1, 0.2]
    assert complete_heights(height, np.asarray([np.inf])).tolist() == height.tolist()
    assert complete_heights(height, np.asarray([-1.0, 0.3])).tolist() == []


def test_stored_heights_are_those_of_the_tree(vectors: Path, tmp_path: Path) -> None:
    tp.run(vectors, out=tmp_path / "run", keep=0.8)
    merges = tp.cluster(tmp_path / "run", keep=0.8)
    stored = read_heights(tmp_path / "run" / "merges.parquet")
    assert stored.tolist() == complete_heights(merges.height, merges.complete_to).tolist()


@pytest.mark.parametrize("shift", [0.0, 3.0, 1e4])
def test_the_mean_dissimilarity_is_that_of_all_pairs(shift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(2).standard_normal((300, 8)) + shift
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pairs = [((one - other) ** 2).sum() / 2 for one, other in combinations(units, 2)]
    assert mean_dissimilarity(rows) == pytest.approx(np.mean(pairs), rel=1e-6)
    monkeypatch.setattr(gap, "ROWS", 7)
    assert mean_dissimilarity(rows[::-1]) == pytest.approx(np.mean(pairs), rel=1e-6)
    assert mean_dissimilarity(rows[:1]) is None
    assert mean_dissimilarity(np.eye(2)) == 1.0
    assert mean_dissimilarity(np.tile(rows[0], (50, 1))) == 0.0


def test_the_mean_dissimilarity_is_the_same_flat_and_by_class(tmp_path: Path) -> None:
    """Ids differ, and so does the order of the rows; terminal, report and record say one number."""
    draw = np.random.default_rng(4)
    rows, labels = draw.standard_normal((90, 6)) + 1.0, np.arange(90) % 3
    said = set()
    for name, order in (("flat", np.arange(90)), ("by class", np.argsort(labels, kind="stable"))):
        np.save(tmp_path / f"{name}.npy", rows[order])
        run = tmp_path / f"run {name}"
        options = tp.SourceOptions()
        if name == "by class":
            np.save(tmp_path / "labels.npy", labels[order])
            options = tp.SourceOptions(labels=str(tmp_path / "labels.npy"))
        tp.run(tmp_path / f"{name}.npy", out=run, keep=0.8, options=options)
        page = (run / "report.html").read_text(encoding="utf-8")
        for text in (page, describe_run(run)):
            (found,) = re.findall(r"two images of this set are (\S+) apart on average", text)
            said.add(found)
        said.add(said_height(RunFolder.open(run).require(Stage.SELECT).mean_dissimilarity or 0.0))
    assert len(said) == 1


def test_a_quota_is_said_as_what_was_asked(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["run", str(vectors), "--keep", "0.9", "--out", run]) == 0
    said = capsys.readouterr().out
    assert "Asked to keep 90%: removed 6 of 60 images (10.0%), kept 54." in said
    assert "The last merge is at " in said
    assert "show again" not in said
    assert "The heights of the merges have a gap: 20 up to" in said, "far beyond the cut"
    assert main(["select", run, "--threshold", "0.001"]) == 0
    said = capsys.readouterr().out
    assert "Asked to group images up to 0.001 apart: removed 20 of 60 images (33.3%), kept 40." in said
    assert "The heights of the merges have a gap: 20 up to" in said
    assert main(["select", run, "--strategy", "random", "--keep", "0.5"]) == 0
    assert "Asked to keep 50% by random: removed 30 of 60 images (50.0%), kept 30." in capsys.readouterr().out


def test_the_report_names_what_was_asked_and_the_gap_below_the_curve(vectors: Path, tmp_path: Path) -> None:
    tp.run(vectors, out=tmp_path / "run", keep=0.5)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Asked to keep 50%: removed 30 of 60 images." in page
    assert re.search(r"; two images of this set are 0\.\d{1,2} apart on average\.", page)
    assert "nothing in common" not in page
    how_much = page[page.index('id="how-much"') :]
    assert "have a gap: 20 up to" in how_much[: how_much.index("</section>")]


def test_where_all_vectors_are_equal_that_is_said_and_not_that_no_gap_tells_them_apart() -> None:
    said = (
        "19 images are exact duplicates of another (equal vectors); --threshold 0 removes them and no other."
    )
    assert describe_gap(np.zeros(19), 20) == said


def test_a_count_that_rounds_is_explained(tmp_path: Path) -> None:
    for n, said in (
        (9, "Asked to keep 90%: removed 1 of 9 images (11.1%), kept 8 (90% of 9 is 8.1)."),
        (10, "Asked to keep 90%: removed 1 of 10 images (10.0%), kept 9."),
    ):
        np.save(tmp_path / f"{n}.npy", np.random.default_rng(n).standard_normal((n, 4)))
        tp.run(tmp_path / f"{n}.npy", out=tmp_path / f"run {n}")
        assert describe_run(tmp_path / f"run {n}").startswith(said)
