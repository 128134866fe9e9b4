"""What a stranger reads: in the report of a labelled, an unlabelled and a vectors run, and where a value is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from reviewing import flat
from tenpercent.cli.main import main
from tenpercent.data.sources.opening import open_source
from tenpercent.embedding.pixels import fit, scan
from tenpercent.errors import UsageError
from tenpercent.evaluation.stage import protocol_of
from tenpercent.reporting.gallery import shelves, tightest
from tenpercent.reporting.provenance import flat as flat_settings
from tenpercent.reporting.tables import groups_of


def text_of(run: Path) -> str:
    """The words of a run's report, without tags."""
    page = (run / "report.html").read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]+>", " ", re.sub(r"<style.*?</style>|<svg.*?</svg>", "", page, flags=re.DOTALL))
    return re.sub(r"\s+", " ", plain)


@pytest.fixture
def unlabelled(photos: Path, tmp_path: Path) -> Path:
    """The photos in one folder."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in photos.rglob("*.png"):
        path.rename(folder / f"{path.parent.name}{path.name}")
    return folder


def pairs(seed: int = 0, n: int = 40) -> np.ndarray:
    """Random directions, each with a copy."""
    rows = np.random.default_rng(seed).standard_normal((n, 8))
    return np.concatenate([rows, rows + 0.01 * np.random.default_rng(seed + 1).standard_normal((n, 8))])


# ---- groups --------------------------------------------------------------------------------------------------------


def test_the_tightest_are_the_tightest_whatever_else_is_shown() -> None:
    of_pairs = groups_of(tp.select(tp.cluster(tp.Embeddings.from_numpy(pairs()), 0.5), keep=0.5))
    tight, wide = shelves(of_pairs, 6)
    assert (tight.title, wide.title) == ("The tightest groups", "The widest groups")
    assert not set(tight.groups) & set(wide.groups)
    assert max(of_pairs.diameter[tight.groups]) <= min(of_pairs.diameter[wide.groups])
    some = np.concatenate([pairs(), pairs()[:10]])
    mixed = groups_of(tp.select(tp.cluster(tp.Embeddings.from_numpy(some), 0.5), keep=0.5))
    large, tight = shelves(mixed, 6)
    assert (large.title, tight.title) == ("The largest groups", "The tightest groups")
    assert mixed.size[large.groups].tolist() == [3] * 6
    assert tight.groups == tightest(mixed, 6)
    one = np.concatenate([pairs(n=4), pairs(n=4)[:1]])
    single = groups_of(tp.select(tp.cluster(tp.Embeddings.from_numpy(one), 0.4), keep=4 / 9))
    large, tight = shelves(single, 6)
    assert single.size[large.groups].tolist() == [3], "pairs are not among the largest"
    assert len(tight.groups) == 4


def test_few_groups_stand_on_one_shelf() -> None:
    few = groups_of(tp.select(tp.cluster(tp.Embeddings.from_numpy(pairs(n=4)), 0.5), keep=0.5))
    (only,) = shelves(few, 6)
    assert len(only.groups) == 4


# ---- the report ----------------------------------------------------------------------------------------------------


def test_the_report_names_the_commands_that_go_on(photos: Path, tmp_path: Path) -> None:
    run = tmp_path / "my run"
    tp.run(photos, out=run, keep=0.8, embedder=flat)
    text = text_of(run)
    assert text.count(f"tenpercent review '{run}'".replace("'", "&#39;")) == 2
    assert f"tenpercent export &#39;{run}&#39; --format csv" in text
    assert "largest dissimilarity between two of its images" in text


def test_the_report_of_unlabelled_images_says_nothing_of_classes(unlabelled: Path, tmp_path: Path) -> None:
    tp.run(unlabelled, out=tmp_path / "run", keep=0.8, embedder=flat)
    text = text_of(tmp_path / "run")
    assert "ifferent labels" not in text and "whatever its class" not in text and "another label" not in text
    assert not re.search(r"(?<![\d.,])1 images\b", text)


def test_one_is_one_everywhere(tmp_path: Path) -> None:
    rows = np.concatenate([np.eye(3), np.eye(3)[:1]])
    np.save(tmp_path / "vectors.npy", rows)
    tp.run(tmp_path / "vectors.npy", out=tmp_path / "run", keep=0.75)
    text = text_of(tmp_path / "run")
    assert not re.search(r"(?<![\d.,])1 (images|groups|classes|pairs|pictures)\b", text)
    assert "removed 1 of 4 images." in text


def test_a_kind_of_file_is_no_part_of_a_dotted_name() -> None:
    source = {"skipped": {".cr2 images": 2}, "options": {"rules": 2}}
    assert flat_settings(source) == [("skipped: .cr2 images", 2), ("options.rules", 2)]


def test_a_plan_speaks_of_classes_only_where_there_are_some(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(vectors), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "keep 0.9 of the images" in said
    assert "values all together: at most" in said
    assert "class;" not in said.replace("the largest class", "")
    assert main([*command, "--labels", str(tmp_path / "labels.npy")]) == 0
    said = capsys.readouterr().out
    assert "keep 0.9 of each class" in said
    assert "values in 3 classes: at most" in said


# ---- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "kept"), [("90%", 54), ("90 %", 54), ("0.9", 54), ("87.5%", 52)])
def test_a_percentage_is_a_fraction(vectors: Path, tmp_path: Path, given: str, kept: int) -> None:
    assert main(["run", str(vectors), "--out", str(tmp_path / "run"), "--keep", given]) == 0
    assert len(tp.Selection.load(tmp_path / "run" / "selection.parquet").kept) == kept


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--keep", "0,9"], "'0,9' is not a number; write 0.9"),
        (["--threshold", "0,05"], "'0,05' is not a number; write 0.05"),
        (["--keep", "0.9,0.8"], "'0.9,0.8' is not a number"),
        (["--keep", "%"], "is not a number"),
        (["--keep", "150%"], "keep is 1.5; it must be a number above 0 and at most 1"),
        (["--out", ""], "the path is empty"),
        (["--labels", " "], "the path is empty"),
    ],
)
def test_what_is_no_value_is_refused_with_what_was_meant(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    command = ["run", str(vectors), *([] if "--out" in flags else ["--out", str(tmp_path / "run")]), *flags]
    try:
        status = main(command)
    except SystemExit as ended:
        status = int(str(ended.code))
    assert status == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("empty", [lambda: tp.run("digits", out=""), lambda: tp.select("", keep=0.9)])
def test_an_empty_path_is_refused_in_python(empty: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match="empty path; give a name"):
        empty()


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(UsageError, match="the id of row 1 is empty"):
        tp.Embeddings.from_numpy(np.eye(3), ids=["a", "", "c"])


# ---- evaluate ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", [None, "digits"])
def test_what_can_not_be_learnt_is_said_before_any_setting(
    vectors: Path, unlabelled: Path, tmp_path: Path, preset: str | None
) -> None:
    tp.embed(vectors, out=tmp_path / "ready")
    with pytest.raises(UsageError, match=r"made of vectors .* no images to train on"):
        protocol_of(tmp_path / "ready", preset)
    tp.embed(unlabelled, out=tmp_path / "plain", embedder=flat)
    with pytest.raises(UsageError, match="have no labels, and evaluation trains classifiers"):
        protocol_of(tmp_path / "plain", preset)


def test_test_images_come_at_the_size_of_the_training_images(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    for name, sizes in (("train", [(16, 20)] * 3), ("test", [(16, 20), (80, 100), (30, 12)])):
        (tmp_path / name).mkdir()
        for number, (width, height) in enumerate(sizes):
            pixels = draw.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    train, test = (open_source(tmp_path / name) for name in ("train", "test"))
    seen = scan(train, np.arange(3), side=16)
    alone = scan(test, np.arange(3), side=16)
    beside = scan(test, np.arange(3), size=seen.pixels.size)
    assert (seen.pixels.size, alone.pixels.size, beside.pixels.size) == ((20, 16), (16, 16), (20, 16))
    unkept = scan(test, np.arange(3), size=seen.pixels.size, memory_limit=0)
    assert unkept.pixels.kept is None
    for position in range(3):
        read = unkept.pixels.made(position, lambda image: image)
        assert beside.pixels.kept is not None
        assert (fit(read, (20, 16)) == beside.pixels.kept[position]).all()
