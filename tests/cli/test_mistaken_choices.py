"""Choices that are mistaken: a layer that is not there, a similarity for a dissimilarity, percent for a fraction."""

from __future__ import annotations

import logging
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.dry_run import plan
from tenpercent.cli.main import main
from tenpercent.embedding.by_labels import ByLabels
from tenpercent.embedding.choice import default_embedder
from tenpercent.embedding.settings import SelfSupervised, Supervised
from tenpercent.errors import UsageError
from tenpercent.evaluation.probing.comparison import VectorFile
from tenpercent.selection.confirmation import confirmed_by
from tenpercent.tree.cut import Cut

# ---- layers ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ready_run(vectors: Path, tmp_path: Path) -> Path:
    tp.embed(
        vectors, out=tmp_path / "ready", options=tp.SourceOptions(labels=vectors.with_name("labels.npy"))
    )
    tp.cluster(tmp_path / "ready", 0.5)
    return tmp_path / "ready"


@pytest.mark.parametrize("layer", ["bogus", "middle", "End", "", 3, ["end"]])
def test_a_layer_that_is_not_there_is_never_ignored(
    layer: Any, vectors: Path, ready_run: Path, tmp_path: Path
) -> None:
    array = tp.Embeddings.from_numpy(np.load(vectors))
    labels = vectors.with_name("labels.npy")
    calls: list[Callable[[], Any]] = [
        lambda: tp.cluster(array, 0.5, layer=layer),
        lambda: tp.cluster(ready_run, 0.5, layer=layer),
        lambda: tp.run(vectors, out=tmp_path / "run", cut=Cut(layer=layer)),
        lambda: tp.select(ready_run, Cut(layer=layer)),
        lambda: tp.leaks(array, array, layer=layer),
        lambda: tp.leaks(ready_run, array, layer=layer),
        lambda: tp.probe([VectorFile(vectors, labels)], layers=(layer,), out=tmp_path / "probe"),
        lambda: tp.probe([ready_run], layers=(layer,), out=tmp_path / "probe"),
        lambda: plan(vectors, out=tmp_path / "plan", cut=Cut(layer=layer)),
    ]
    for call in calls:
        with pytest.raises(tp.TenpercentError, match="layer"):
            call()
    assert not (tmp_path / "run").exists()


def test_the_only_layer_may_be_named(vectors: Path, ready_run: Path) -> None:
    array = tp.Embeddings.from_numpy(np.load(vectors))
    assert len(tp.cluster(array, 0.5, layer="end")) == len(tp.cluster(array, 0.5))
    assert len(tp.select(ready_run, Cut(layer="end", keep=0.9))) == 60
    assert len(tp.leaks(array, array, layer="end")) == 60


@pytest.mark.parametrize("layers", ["end", (), 3, None])
def test_layers_are_a_list_of_names(layers: Any, ready_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layers is .*; give a list of names"):
        tp.probe([ready_run], layers=layers, out=tmp_path / "probe")


def test_a_layer_of_no_name_is_told_from_one_that_was_not_clustered(ready_run: Path) -> None:
    with pytest.raises(UsageError, match=r"layer is 'midle'; it must be .* end; did you mean middle"):
        tp.select(ready_run, Cut(layer="midle"))
    with pytest.raises(tp.TenpercentError, match="was clustered with --layer end, not middle"):
        tp.select(ready_run, Cut(layer="middle"))


# ---- a similarity given for a dissimilarity ------------------------------------------------------------------------


def words(source: Path, out: Path, *more: str) -> list[str]:
    return ["run", str(source), "--out", str(out), *more]


def test_a_threshold_that_removes_most_is_not_taken_unasked(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Like visual-layer/fastdup#302 and idealo/imagededup#198, where a threshold is taken for the other kind.
    out = tmp_path / "run"
    assert main(words(vectors, out, "--threshold", ".95")) == 2
    said = capsys.readouterr().err
    kept = len(tp.select(tp.cluster(out, threshold=0.95), tp.Cut(threshold=0.95)).kept)
    assert kept < 30
    assert f"--threshold 0.95 removes {60 - kept} of 60 images ({(60 - kept) / 60:.1%})" in said
    assert "down to a similarity of 0.05" in said and "give --threshold 0.05" in said and "--yes" in said
    assert not (out / "selection.parquet").exists() and "Traceback" not in said
    assert main(words(vectors, out, "--threshold", ".95", "--yes")) == 0
    captured = capsys.readouterr()
    assert f"{60 - kept} of 60 images ({(60 - kept) / 60:.1%})" in captured.out
    assert "similarity of 0.05" in captured.err
    assert main(["select", str(out), "--threshold", ".95"]) == 2
    assert len(tp.Selection.load(out / "selection.parquet").kept) == kept  # as it was


def test_a_threshold_that_removes_little_is_taken_and_said(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(vectors, tmp_path / "run", "--threshold", ".05")) == 0
    captured = capsys.readouterr()
    assert "20 of 60 images (33.3%)" in captured.out
    assert "similarity" not in captured.err


def test_a_fraction_is_meant_however_small(vectors: Path, tmp_path: Path) -> None:
    assert main(words(vectors, tmp_path / "run", "--keep", ".1")) == 0


@pytest.mark.parametrize("strategy", ["kcenter", "graph-remove"])
def test_strategies_by_threshold_ask_too(
    strategy: str, ready_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = ["select", str(ready_run), "--strategy", strategy, "--threshold", "0.95"]
    assert main(choice) == 2
    assert "to continue anyway, give --yes" in capsys.readouterr().err
    assert not (ready_run / "selection.parquet").exists()
    assert main([*choice, "--yes"]) == 0
    assert len(tp.Selection.load(ready_run / "selection.parquet").kept) < 30


def test_from_python_it_is_a_warning(ready_run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tenpercent"):
        selection = tp.select(ready_run, Cut(threshold=1.95))
    assert len(selection.kept) < 30
    (said,) = [record.getMessage() for record in caplog.records if "removes" in record.getMessage()]
    assert "similarity of -0.95" in said and "if you mean" not in said  # there is no similarity of 1.95
    caplog.clear()
    asked: list[str] = []
    with confirmed_by(asked.append):
        tp.select(ready_run, Cut(threshold=1.95))
    assert len(asked) == 1 and not caplog.records


@pytest.mark.skipif(sys.platform == "win32", reason="needs a terminal")
@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("\n", 2), ("n\n", 2)])
def test_on_a_terminal_it_is_asked(answer: str, status: int, ready_run: Path) -> None:
    import os

    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "tenpercent", "select", str(ready_run), "--threshold", ".95"]
    with subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal) as process:
        os.close(terminal)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(controller, 1000)
        os.write(controller, answer.encode())
        assert process.wait(60) == status
    os.close(controller)
    assert (ready_run / "selection.parquet").exists() == (status == 0)


def test_leaks_within_a_similarity_are_questioned(vectors: Path) -> None:
    train, test = tp.Embeddings.from_numpy(np.load(vectors)), tp.Embeddings.from_numpy(np.load(vectors)[:20])
    found = tp.leaks(train, test, threshold=0.9)
    assert any("down to a similarity of 0.1 as near-duplicates" in note for note in found.notes)
    assert not any("similarity" in note for note in tp.leaks(train, test, threshold=0.05).notes)


@pytest.mark.parametrize(
    ("keep", "remedy"),
    [
        (90.0, "for 90 percent give 0.9, for 90 images the int 90"),
        (1, "give 1.0 for all, or a number from 2 up"),
        (500, "there are [0-9]+; give at most"),
        (62.5, "for 62.5 percent give 0.625"),
        (0, "every class keeps at least one image"),
        (-0.5, "above 0 and at most 1"),
        (float("nan"), "above 0 and at most 1"),
        (float("inf"), "above 0 and at most 1"),
        (-1, "above 0 and at most 1"),
        (10**400, "above 0 and at most 1"),
        ("0.9", "above 0 and at most 1"),
        (True, "above 0 and at most 1"),
    ],
)
def test_what_keep_may_be(keep: Any, remedy: str, vectors: Path, ready_run: Path, tmp_path: Path) -> None:
    for call in (
        lambda: tp.select(ready_run, keep=keep),
        lambda: tp.run(vectors, out=tmp_path / "run", keep=keep),
        lambda: tp.cluster(ready_run, keep),
    ):
        with pytest.raises(UsageError, match=remedy):
            call()


# ---- numbers that fit into no integer of a machine -----------------------------------------------------------------

HUGE = ["1" + "0" * 30, str(2**63), "9" * 5000]


@pytest.mark.parametrize("number", HUGE, ids=len)
@pytest.mark.parametrize(
    ("command", "flags"),
    [
        (
            "embed",
            (
                "--seed",
                "--depth",
                "--dim",
                "--batch",
                "--steps",
                "--epochs",
                "--side",
                "--devices",
                "--max-pixels",
            ),
        ),
        ("select", ("--min-per-class", "--seed")),
        ("review", ("--port",)),
        ("leaks", ("--fail-above",)),
        ("evaluate", ("--trials", "--embeddings", "--steps", "--batch", "--depth")),
    ],
)
def test_a_whole_number_that_fits_nowhere_is_one_short_line(
    command: str, flags: tuple[str, ...], number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for flag in flags:
        more = ["--out", "never"] if command == "embed" else ["test"] if command == "leaks" else []
        with pytest.raises(SystemExit) as ended:
            main([command, "nothing", *more, flag, number])
        said = capsys.readouterr().err
        assert ended.value.code == 2 and flag in said and "out of range" in said and len(said) < 300


@pytest.mark.parametrize("name", ["batch", "side", "dim", "epochs", "steps", "depth", "devices", "seed"])
def test_settings_end_before_integers_do(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*; it must be a whole number of at most"):
        SelfSupervised(**{name: 2**40 + 2})


@pytest.mark.parametrize("least", [2**63, 10**30])
def test_the_least_of_a_class_is_a_number_of_images(least: int, ready_run: Path) -> None:
    with pytest.raises(UsageError, match="min_per_class is"):
        tp.select(ready_run, Cut(keep=0.5, min_per_class=least))
    assert len(tp.select(ready_run, Cut(keep=0.5, min_per_class=2**63 - 1)).kept) == 60


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e400", "1" + "0" * 400, "9" * 5000])
def test_a_fraction_or_height_that_is_none_is_one_line(
    number: str, ready_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["select", ready_run, "--keep"],
        ["select", ready_run, "--threshold"],
        ["cluster", ready_run, "--keep"],
        ["cluster", ready_run, "--threshold"],
        ["report", ready_run, "--margin"],
    ):
        assert main([str(word) for word in words[:2]] + [f"{words[2]}={number}"]) == 2
        said = capsys.readouterr().err
        assert "Traceback" not in said and len(said.strip().splitlines()[-1]) < 300


@pytest.mark.parametrize("size", ["1e400", "nan", "inf", "-1", "0x10", "0.0000001B", "9" * 5000 + "XB"])
def test_a_size_of_memory_that_is_none_is_refused(size: str, ready_run: Path) -> None:
    assert main(["select", str(ready_run), f"--memory={size}"]) == 2


def test_more_memory_than_there_is_may_be_allowed(ready_run: Path) -> None:
    for size in ("99999999TB", "9" * 400 + "TB"):
        assert main(["select", str(ready_run), "--keep", "0.6", f"--memory={size}"]) == 0


# ---- flags whose meaning the labels decide -------------------------------------------------------------------------


@pytest.fixture
def flat_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 3), dtype=np.uint8)
    for number, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


def test_epochs_alone_train_without_labels_where_there_are_none_and_say_so(
    flat_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    small = ("--epochs", "1", "--depth", "8", "--batch", "8", "--precision", "float32")
    assert main(["embed", str(flat_folder), "--out", str(tmp_path / "run"), *small]) == 0
    said = "--batch, --depth, --epochs, --precision: a network is trained from scratch, without labels (--embedder"
    assert said in capsys.readouterr().err
    stored = (tmp_path / "run" / "run.json").read_text()
    assert '"embedder": "selfsupervised"' in stored and '"epochs": 1' in stored
    assert main(["embed", str(flat_folder), "--out", str(tmp_path / "run"), *small]) == 0  # the same again


def test_the_kind_is_decided_by_the_labels(photos: Path, flat_folder: Path) -> None:
    given = ByLabels((("epochs", 3), ("seed", 5)))
    assert default_embedder(tp.open_source(photos), given) == Supervised(epochs=3, seed=5)
    assert default_embedder(tp.open_source(flat_folder), given) == SelfSupervised(epochs=3, seed=5)
    wide = ByLabels((("dim", 8),))
    assert default_embedder(tp.open_source(flat_folder), wide) == SelfSupervised(dim=8)
    with pytest.raises(
        UsageError, match=r"--dim does not apply .*, which has labels; .* --embedder selfsupervised"
    ):
        default_embedder(tp.open_source(photos), wide)


@pytest.mark.parametrize(
    "flags",
    [
        ["--epochs", "0"],
        ["--batch", "1"],
        ["--finetune", "--depth", "8"],
        ["--seed", "-1"],
        ["--epochs", "1", "--steps", "1"],
    ],
)
def test_flags_that_fit_no_kind_are_refused_before_the_source_is_opened(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["embed", str(tmp_path / "missing"), "--out", str(tmp_path / "run"), *flags]) == 2
    assert "missing" not in capsys.readouterr().err
