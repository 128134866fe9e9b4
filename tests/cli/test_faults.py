"""Bad input gets one line that names the value and the remedy, and the right exit status; nothing is lost."""

from __future__ import annotations

import json
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from reviewing import flat
from tenpercent.cli.main import main
from tenpercent.data.store.run_folder import RunFolder, Stage
from tenpercent.decisions.log import DecisionLog, ImageName, Kind

Fault = Callable[[Path, Path], list[str]]


def _vectors(tmp_path: Path, rows: np.ndarray) -> str:
    np.save(tmp_path / "bad.npy", rows)
    return str(tmp_path / "bad.npy")


def _file(tmp_path: Path, name: str, content: str | bytes) -> str:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def _folder(tmp_path: Path, *names: str) -> str:
    for name in names:
        (tmp_path / "images" / name).mkdir(parents=True)
    return str(tmp_path / "images")


class _Bomb:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (print, ("unpickled!",))


def _object_vectors(tmp_path: Path) -> str:
    np.save(tmp_path / "objects.npy", np.array([_Bomb(), _Bomb()], dtype=object), allow_pickle=True)
    return str(tmp_path / "objects.npy")


ONES = np.ones((4, 3), dtype=np.float32)
NAN = np.array([[1.0, 2.0], [np.nan, 1.0]], dtype=np.float32)
INF = np.array([[1.0, 2.0], [np.inf, 1.0]], dtype=np.float32)
ZERO = np.array([[1.0, 2.0], [0.0, 0.0]], dtype=np.float32)

FAULTS: dict[str, tuple[Fault, str]] = {
    "missing source": (lambda t, v: [str(t / "nowhere")], "nowhere"),
    "empty folder": (lambda t, v: [_folder(t, "cat")], "images"),
    "file for a folder": (lambda t, v: [_file(t, "notes.txt", "hello")], "notes.txt"),
    "keep 0": (lambda t, v: [str(v), "--keep", "0"], "keep is 0"),
    "keep negative": (lambda t, v: [str(v), "--keep", "-0.5"], "keep is -0.5"),
    "keep above 1": (lambda t, v: [str(v), "--keep", "90"], "keep is 90"),
    "keep nan": (lambda t, v: [str(v), "--keep", "nan"], "keep is nan"),
    "keep text": (lambda t, v: [str(v), "--keep", "most"], "'most' is not a number"),
    "threshold negative": (lambda t, v: [str(v), "--threshold", "-1"], "threshold is -1"),
    "threshold above 2": (lambda t, v: [str(v), "--threshold", "5"], "threshold is 5"),
    "both cuts": (
        lambda t, v: [str(v), "--keep", "0.9", "--threshold", "0.1"],
        "--keep and --threshold exclude each other",
    ),
    "budget": (lambda t, v: [str(v), "--budget", "globel"], "did you mean global"),
    "within": (lambda t, v: [str(v), "--within", "classes"], "did you mean class"),
    "min-per-class 0": (lambda t, v: [str(v), "--min-per-class", "0"], "min_per_class is 0"),
    "labels' length": (
        lambda t, v: [str(v), "--labels", _vectors(t, np.zeros(7, dtype=np.int64))],
        "60",
    ),
    "nan": (lambda t, v: [_vectors(t, NAN)], "1 of 2 vectors holds nan (row 1)"),
    "inf": (lambda t, v: [_vectors(t, INF)], "1 of 2 vectors holds infinity (row 1)"),
    "zero row": (lambda t, v: [_vectors(t, ZERO)], "zero"),
    "wrong rank": (lambda t, v: [_vectors(t, np.ones(5, dtype=np.float32))], "(5,)"),
    "objects": (lambda t, v: [_object_vectors(t)], "objects.npy"),
    "no rows": (lambda t, v: [_vectors(t, np.ones((0, 4), dtype=np.float32))], "(0, 4)"),
    "duplicate ids": (lambda t, v: [_vectors(t, ONES), "--ids", _file(t, "ids.txt", "a\nb\nb\nc\n")], "'b'"),
    "not a npy": (lambda t, v: [_file(t, "text.npy", "hello")], "text.npy"),
    "truncated npy": (lambda t, v: [_file(t, "cut.npy", v.read_bytes()[:-20])], "cut.npy"),
    "one image without a label": (
        lambda t, v: [_flat_image(t), "--embedder", "selfsupervised"],
        "--embedder pretrained",
    ),
    "one class": (lambda t, v: [_one_class(t)], "class"),
    "case": (lambda t, v: [_case(t)], "Cat"),
    "unknown embedder": (lambda t, v: [_two_classes(t), "--embedder", "superwised"], "superwised"),
    "unknown model": (lambda t, v: [_two_classes(t), "--embedder", "timm:resnett50"], "resnet50"),
    "unknown network": (lambda t, v: [_two_classes(t), "--network", "resnetv2_5"], "resnetv2_50"),
    "depth": (lambda t, v: [_two_classes(t), "--depth", "33"], "32"),
    "unknown torchvision": (lambda t, v: ["torchvision:CIFAR11"], "CIFAR10"),
    "layer of vectors": (lambda t, v: [str(v), "--layer", "middle"], "layer"),
    "unknown layer": (lambda t, v: [str(v), "--layer", "last"], "last"),
    "keep-ids unknown": (lambda t, v: [str(v), "--keep-ids", _file(t, "stay.txt", "99\n")], "99"),
    "keep-ids missing": (lambda t, v: [str(v), "--keep-ids", str(t / "gone.txt")], "gone.txt"),
    "holdout 1": (lambda t, v: [_two_classes(t), "--holdout", "1"], "holdout"),
    "embedder for vectors": (lambda t, v: [str(v), "--embedder", "supervised"], "vectors"),
}


def _images(folder: Path, count: int) -> None:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.full((8, 8, 3), 40 * number, dtype=np.uint8)).save(folder / f"{number}.png")


def _flat_image(tmp_path: Path) -> str:
    _images(tmp_path / "flat", 1)
    return str(tmp_path / "flat")


def _one_class(tmp_path: Path) -> str:
    _images(tmp_path / "one" / "cat", 3)
    return str(tmp_path / "one")


def _two_classes(tmp_path: Path) -> str:
    _images(tmp_path / "two" / "cat", 3)
    _images(tmp_path / "two" / "dog", 3)
    return str(tmp_path / "two")


def _case(tmp_path: Path) -> str:
    _images(tmp_path / "case" / "Cat", 2)
    _images(tmp_path / "case" / "cat", 2)
    return str(tmp_path / "case")


def status_of(argv: list[str]) -> int:
    """Run one command in this process and return its exit status."""
    try:
        return main(argv)
    except SystemExit as stop:
        return int(stop.code or 0)


BEFORE_ANYTHING_IS_WRITTEN = {
    "unknown model",
    "unknown network",
    "depth",
    "missing source",
    "keep nan",
    "budget",
    "within",
    "unknown layer",
    "nan",
    "duplicate ids",
    "one class",
    "holdout 1",
    "embedder for vectors",
    "keep-ids missing",
}


@pytest.mark.parametrize("name", FAULTS)
def test_bad_input_gets_one_line(
    name: str, tmp_path: Path, vectors: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, expected = FAULTS[name]
    status = status_of(["run", *arguments(tmp_path, vectors), "--out", str(tmp_path / "run")])
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if ": error: " in line]
    assert status == 2
    assert len(lines) == 1
    assert expected in lines[0]
    assert "Traceback" not in captured.err
    assert "unpickled!" not in captured.out
    assert not (tmp_path / "run" / "selection.parquet").exists()
    assert not (name in BEFORE_ANYTHING_IS_WRITTEN and (tmp_path / "run").exists())


def test_report_before_select(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["embed", str(vectors), "--out", str(tmp_path / "run")]) == 0
    assert main(["report", str(tmp_path / "run")]) == 1
    assert "tenpercent select" in capsys.readouterr().err
    assert main(["select", str(tmp_path / "run")]) == 1
    assert "tenpercent cluster" in capsys.readouterr().err


def test_another_source(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["run", str(vectors), "--out", str(run)]) == 0
    before = (run / "selection.parquet").read_bytes()
    other = _vectors(tmp_path, ONES)
    capsys.readouterr()
    assert main(["run", other, "--out", str(run)]) == 1
    assert "choose another --out" in capsys.readouterr().err
    assert (run / "selection.parquet").read_bytes() == before


def test_vectors_that_changed(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["run", str(vectors), "--out", str(run)]) == 0
    np.save(vectors, np.load(vectors) + 1)
    assert main(["select", str(run), "--keep", "0.8"]) == 1
    assert "has changed" in capsys.readouterr().err


def test_newer_format(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["run", str(vectors), "--out", str(run)]) == 0
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "format": 99}))
    for command in (["info", str(run)], ["run", str(vectors), "--out", str(run)]):
        assert main(command) == 1
        assert "format 99" in capsys.readouterr().err


def test_a_folder_that_is_no_run(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert main(["run", str(vectors), "--out", str(tmp_path / "mine")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert main(["run", str(vectors), "--out", str(tmp_path / "mine" / "thesis.txt")]) == 1
    assert "is a file" in capsys.readouterr().err
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert main(["info", str(tmp_path / "mine")]) == 1
    assert "not a run folder" in capsys.readouterr().err


def _hold(
    run: Path, ready: multiprocessing.synchronize.Event, done: multiprocessing.synchronize.Event
) -> None:
    with RunFolder.open(run).lock(Stage.SELECT):
        ready.set()
        done.wait(60)


def test_two_processes(vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert main(["run", str(vectors), "--out", str(run)]) == 0
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(run, ready, done))
    holder.start()
    try:
        assert ready.wait(60)
        assert main(["select", str(run)]) == 1
        assert f"process {holder.pid} on " in capsys.readouterr().err
    finally:
        done.set()
        holder.join()
    assert main(["select", str(run)]) == 0


def test_unknown_id_offers_the_nearest(
    vectors: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["run", str(vectors), "--out", str(run)]) == 0
    assert main(["explain", str(run), "05x"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_names_with_control_characters_stay_on_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a\x1b[31m.png", "b\nc.png", "d\u202ee.png", "plain.png"]
    (tmp_path / "photos").mkdir()
    for seed, name in enumerate(names):
        pixels = np.random.default_rng(max(seed, 1)).integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / name)
    run = tmp_path / "run"
    tp.run(tmp_path / "photos", out=run, keep=0.75, embedder=flat)
    DecisionLog(run).add(Kind.KEEP, [ImageName(name, "") for name in names[:3]])
    (tmp_path / "labelled.csv").write_text("id\nplain.png\n")
    for arguments in (
        ["explain", str(run), names[0]],
        ["next", str(run), "--locked", str(tmp_path / "labelled.csv"), "--n", "3"],
        ["decisions", str(run)],
        ["explain", str(run), "a\x1b[32m.png"],
    ):
        main(arguments)
        said = "".join(capsys.readouterr())
        assert "\\x1b" in said
        assert not {"\x1b", "\u202e"} & set(said), arguments
        assert "b\nc" not in said, arguments


def test_pickles_are_never_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(pickle.dumps({"a": _Bomb()}))
    source = _two_classes(tmp_path)
    embedder = ["--embedder", "timm:resnet10t", "--weights", str(weights)]
    status = main(["run", source, "--out", str(tmp_path / "run"), *embedder])
    captured = capsys.readouterr()
    assert status == 2
    assert "weights.pt" in captured.err
    assert "unpickled!" not in captured.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["runn", "v.npy"],
            "tenpercent: error: there is no command 'runn'; did you mean run?; see tenpercent --help",
        ),
        (
            ["run", "v.npy", "--kep", "0.9"],
            "tenpercent run: error: run takes no argument '--kep'; did you mean --keep",
        ),
        (["run", "v.npy", "--treshold=0.1"], "takes no argument '--treshold'; did you mean --threshold"),
        (
            ["info", "runs/x", "more"],
            "tenpercent info: error: info takes no argument 'more'; see tenpercent info",
        ),
        (["run", "hf:"], "hf: names no data set; give hf:NAME"),
        (["run", "torchvision:"], "torchvision: names no data set; give torchvision:NAME"),
    ],
)
def test_a_mistyped_word_is_named_with_the_nearest(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status_of(words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
