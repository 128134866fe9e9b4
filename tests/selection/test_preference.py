"""The image that represents a group: by a rule, within the cut of all others; a rule without values is one line."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_images

import tenpercent as tp
from examples import some
from stored_runs import unpack
from tenpercent.cli.main import main
from tenpercent.decisions.constraints import Constraints
from tenpercent.errors import StageError, UsageError
from tenpercent.linkage.distances import dissimilarities, unit_vectors
from tenpercent.reviewing.session import RunSession
from tenpercent.selection.preference import Preference, sharpness
from tenpercent.selection.selection import Selection
from tenpercent.tree.merges import cluster


def valued(embeddings: tp.Embeddings, values: np.ndarray) -> tp.Embeddings:
    n = len(embeddings)
    made = Preference(lambda positions: values[positions], np.full(n, np.nan), np.zeros(n, dtype=bool))
    return replace(embeddings, preference=made)


@settings(deadline=None, max_examples=some(30))
@given(seed=st.integers(0, 10**6), threshold=st.floats(0, 0.5), decided=st.booleans())
def test_the_largest_value_represents_and_all_others_are_within_the_cut(
    seed: int, threshold: float, decided: bool
) -> None:
    rng = np.random.default_rng(seed)
    embeddings = tp.Embeddings.from_numpy(rng.integers(1, 4, (30, 3)).astype(np.float32))
    values = rng.choice([1.0, 2.0, np.nan], 30)
    removed = np.sort(rng.permutation(30)[:5]) if decided else np.empty(0, dtype=np.int64)
    merges = cluster(valued(embeddings, values)).under(Constraints(remove=removed))
    found = tp.select(merges, tp.Cut(threshold=threshold, representative="sharpest"))
    usual = tp.select(replace(merges, embeddings=embeddings), tp.Cut(threshold=threshold))
    assert np.array_equal(found.group, usual.group)
    units = unit_vectors(embeddings.vectors)
    for group in np.unique(found.group):
        members = np.flatnonzero(found.group == group)
        one = found.representative[members[0]]
        may = np.setdiff1d(members, removed)
        if not len(may):
            assert one == -1
            continue
        known = may[~np.isnan(values[may])]
        best = known[values[known] == values[known].max()] if len(known) else may
        assert one in best
        closeness = units[members].sum(axis=0) @ units[best].T
        assert closeness[best == one] >= closeness.max() - 1e-12  # of equal values the nearest to the centre
    there = found.representative >= 0
    far = dissimilarities(units, np.flatnonzero(there), found.representative[there])
    assert np.array_equal(found.dissimilarity[there], far)
    assert (far <= found.group_diameter[there]).all() and (found.group_diameter <= threshold).all()


def test_a_count_holds_where_the_rule_meets_an_image_kept_by_decision() -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        embeddings = tp.Embeddings.from_numpy(rng.integers(1, 5, (40, 3)).astype(np.float32))
        values = np.random.default_rng(seed).permutation(40).astype(float)
        keep = np.sort(np.random.default_rng(seed).permutation(40)[:6])
        merges = cluster(valued(embeddings, values), tp.Cut(0.4)).under(Constraints(keep=keep))
        found = tp.select(merges, tp.Cut(0.7, representative="sharpest"))
        assert len(found.kept) == 28 and found.kept_by_id[keep].all()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two pictures, of each a large one, a small one and a blurred one, with times of files and of a camera."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, picture in zip("ab", load_sample_images().images, strict=True):
        large = Image.fromarray(picture).resize((320, 214))
        exif = Image.Exif()
        exif.get_ifd(0x8769)[36867] = "2020:05:06 07:08:09"
        large.save(folder / f"{name}1.png")
        large.resize((160, 107)).save(folder / f"{name}2.png", exif=exif)
        large.filter(ImageFilter.GaussianBlur(3)).save(folder / f"{name}3.png")
        for at, year in (("1", 2010), ("2", 2026), ("3", 2015)):
            os.utime(folder / f"{name}{at}.png", (0, (year - 1970) * 365.25 * 86_400))
    return folder


def test_photos_are_represented_by_each_rule(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    assert (
        main(["run", str(photos), "--out", str(run), "--keep", "0.34", "--representative", "sharpest"]) == 0
    )
    assert "of each group the sharpest image is kept" in capsys.readouterr().out
    assert "of each group the sharpest image is kept" in (run / "report.html").read_text()
    first = Selection.load(run).kept.tolist()
    assert first == ["a1.png", "b1.png"]
    assert Selection.load(run).settings["representative"] == "sharpest"
    assert "Of each group the sharpest image is kept." in str(tp.explain(run, first[0]))

    monkeypatch.setattr(
        "tenpercent.selection.preference.decode_for", None
    )  # stored: no image is decoded again
    assert tp.select(run, tp.Cut(0.34, representative="sharpest")).kept.tolist() == first
    state = RunSession(run).state  # the review page shows the same
    groups = state.groups(state.checked(None, None))
    assert (
        state.embeddings.ids[groups.with_representatives(groups.redundant).representative].tolist() == first
    )
    for rule, kept in (("largest", "1"), ("newest", "2"), ("oldest", "1")):
        chosen = tp.select(run, tp.Cut(0.34, representative=rule)).kept.tolist()
        assert chosen == [f"a{kept}.png", f"b{kept}.png"], rule

    (run / "sharpness.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(
        StageError, match=r"sharpness.parquet is damaged .*delete it: the images are then read"
    ):
        tp.select(run, tp.Cut(0.34, representative="sharpest"))
    (photos / "a2.png").unlink()
    gone = tp.select(run, tp.Cut(0.34, representative="newest"))
    assert gone.kept.tolist()[1] == "b2.png"
    assert "1 image of 6 images in groups can't be told by that" in gone.notes[0]


def test_sharpness_is_the_variance_of_the_laplacian_at_a_fixed_size() -> None:
    squares = np.kron(np.indices((16, 16)).sum(axis=0) % 2 * 255, np.ones((32, 32)))
    picture = np.repeat(squares[:, :, None], 3, axis=2).astype(np.uint8)
    grey = squares[1:-1, 1:-1]
    around = squares[:-2, 1:-1] + squares[2:, 1:-1] + squares[1:-1, :-2] + squares[1:-1, 2:]
    assert sharpness(picture) == pytest.approx(np.var(around - 4 * grey))
    blurred = np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(2)))
    assert sharpness(blurred) < sharpness(picture) / 2
    assert sharpness(picture[:1, :1]) == 0


def test_a_column_of_a_table_chooses_and_what_is_wrong_is_one_line(photos: Path, tmp_path: Path) -> None:
    names = sorted(path.name for path in photos.iterdir())
    table = pa.table(
        {
            "image": [{"bytes": (photos / name).read_bytes(), "path": name} for name in names],
            "id": names,
            "score": [1, 2, 3, 3, None, 1],
            "day": pa.array([3, 2, 1, 1, 2, 3], pa.date32()),
            "words": ["x"] * 6,
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    run = tmp_path / "run"
    main(["run", str(tmp_path / "t.parquet"), "--out", str(run), "--keep", "0.34", "--quiet"])
    by = lambda rule: tp.select(run, tp.Cut(0.34, representative=rule))  # noqa: E731
    assert by("column:score").kept.tolist() == ["a3.png", "b1.png"]
    assert "the image with the largest score is kept; 1 image" in by("column:score").notes[0]
    assert by("column:day").kept.tolist() == ["a1.png", "b3.png"]
    for rule, said in (
        ("column:words", "column words of .* holds string; .* numbers or times: score, day"),
        ("column:rating", "column rating of .* is not there"),
        ("sharper", "did you mean sharpest"),
        ("column:", "must be one of centre, sharpest"),
    ):
        with pytest.raises(UsageError, match=said):
            by(rule)


def test_what_has_no_such_values_is_one_line(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(9, 4)))
    tp.run(tmp_path / "v.npy", out=tmp_path / "vectors")
    for rule in ("sharpest", "largest", "newest", "oldest"):
        with pytest.raises(UsageError, match="holds vectors without images"):
            tp.select(tmp_path / "vectors", tp.Cut(representative=rule))
    with pytest.raises(UsageError, match="which needs the images; give the run folder"):
        tp.select(tp.cluster(tmp_path / "vectors"), tp.Cut(representative="sharpest"))
    run = tmp_path / "run"
    tp.run(photos, out=run)
    with pytest.raises(UsageError, match="is not a table; give one of centre"):
        tp.select(run, tp.Cut(representative="column:score"))
    assert main(["select", str(run), "--strategy", "random", "--keeper", "largest"]) == 2
    assert "--representative has no meaning for --strategy random" in capsys.readouterr().err


def test_an_old_run_without_sizes_says_so_and_measures_sharpness(tmp_path: Path) -> None:
    run = unpack(tmp_path / "stored") / "runs" / "photos"
    with pytest.raises(StageError, match=r"made by an older version, .*sizes.* --reread"):
        tp.select(run, tp.Cut(representative="largest"))
    tp.select(run, tp.Cut(representative="sharpest"))
    assert (run / "sharpness.parquet").is_file()
