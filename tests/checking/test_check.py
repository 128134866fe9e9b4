"""``tenpercent check``: exit statuses, what is counted, and the files for CI servers."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main

N, PAIRS = 40, 3  # of the vectors, 3 are near to another
PAGE = Path(__file__).parents[2] / "docs" / "ci.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check")
    vectors = np.eye(N, 50)
    vectors[1 : 1 + PAIRS] = vectors[0] + 0.001 * np.arange(1, 1 + PAIRS)[:, None]
    tp.run(vectors, out=folder / "run", keep=0.5)
    np.save(folder / "test.npy", np.vstack([vectors[5], np.eye(50)[48:]]))
    np.save(folder / "clean.npy", np.eye(50)[48:])
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return Path("run")


def check(*words: object) -> int:
    return main(["check", "run", *map(str, words)])


def test_the_share_of_redundant_images_is_limited_exactly(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*.parquet")}
    assert check("--max-redundant", PAIRS / N, "--threshold", "0.02") == 0
    assert (
        capsys.readouterr().out
        == "passed: 3 of 40 images (7.5%) are redundant up to 0.02; at most 7.5% may be\n"
    )
    assert check("--max-redundant", "7.4%", "--threshold", "0.02") == 1
    said = capsys.readouterr()
    assert said.out.startswith("FAILED: 3 of 40 images")
    assert said.err == (
        "tenpercent: error: run: 3 of 40 images (7.5%) are redundant up to 0.02, but at most 7.4% may be\n"
    )
    assert check("--max-redundant", "0", "--threshold", "0") == 0
    assert check("--max-redundant", "0.9", "--threshold", "1.5") == 1  # deeper than the stored tree
    assert {path: path.read_bytes() for path in run.rglob("*.parquet")} == before  # nothing is stored


def test_a_run_cut_by_keep_alone_is_refused_and_one_by_threshold_is_not(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check("--max-redundant", "0.9") == 2
    assert (
        "run was cut by keep 0.5, a quota that goes whatever the images are; give --threshold"
        in capsys.readouterr().err
    )
    tp.select(run, tp.Cut(threshold=0.02))
    assert check("--max-redundant", "0.05") == 1
    tp.select_by(run, strategy="kcenter", threshold=0.02)  # no threshold of groups
    assert check("--max-redundant", "0.05") == 2


def test_decisions_hold(run: Path) -> None:
    from tenpercent.decisions.log import DecisionLog
    from tenpercent.decisions.rows import ImageName, Kind

    assert check("--max-redundant", "0.05", "--threshold", "0.02") == 1
    log = DecisionLog(run)
    embeddings = tp.cluster(run).embeddings
    log.add(Kind.KEEP, [ImageName(str(embeddings.ids[row])) for row in range(1 + PAIRS)])
    assert check("--max-redundant", "0", "--threshold", "0.02") == 0


def test_leaking_test_images_are_limited(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--max-leaks", "0", "--test", "clean.npy") == 0
    assert check("--max-leaks", "1", "--test", "test.npy") == 0
    capsys.readouterr()
    assert (
        check("--max-leaks", "0", "--test", "test.npy", "--max-redundant", "0.01", "--threshold", "0.02") == 1
    )
    assert capsys.readouterr().err.splitlines()[-1] == (
        "tenpercent: error: run: 3 of 40 images (7.5%) are redundant up to 0.02, but at most 1% may be; 1 of 3 test "
        "images have a near-duplicate in the training set, but at most 0 may"
    )
    assert Path("runs/leaks/leaks.html").exists()


def test_the_files_for_ci_servers_hold_what_was_found(run: Path) -> None:
    for path in ("j.xml", "s.md"):
        Path(path).write_text("older")
    words = ("--max-redundant", "1%", "--threshold", "0.02", "--max-leaks", "5", "--test", "test.npy")
    assert check(*words, "--junit", "j.xml", "--summary", "s.md") == 1
    (suite,) = ElementTree.parse("j.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    first, second = suite
    assert first.get("name") == "redundant images" and "at most 1% may be" in str(
        first.find("failure").attrib
    )
    assert (
        re.search(r"0[0-3]: (0[0-3], ){2}0[0-3]", str(first.findtext("failure")))
        and second.find("failure") is None
    )
    table = [line for line in Path("s.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert [line[2] for line in table[1:]] == ["❌", "✅"] and "3 of 40 images" in table[1]


def test_names_of_images_break_neither_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ids = ["<b>|x|.jpg", "a\x07\n## [b](c)", *map(str, range(8))]
    tp.run(np.vstack([np.eye(9)[[0, 0]], np.eye(9)[1:]]), out="run", ids=ids)
    assert check("--max-redundant", "0", "--threshold", "0", "--junit", "j.xml", "--summary", "s.md") == 1
    assert "<b>|x|.jpg" in "".join(ElementTree.parse("j.xml").getroot().itertext())
    (line,) = [
        line for line in Path("s.md").read_text(encoding="utf-8").splitlines() if line.startswith("- ")
    ]
    assert "\\<b\\>\\|x\\|.jpg" in line and "\\[b\\](c)" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "there is no limit to check; give --max-redundant 0.05, --max-leaks 0 or both"),
        (["--max-redundant", "5"], "--max-redundant is 5; .* for 5 percent give 5%"),
        (["--max-redundant=-0.1"], "must be a fraction from 0 to 1$"),
        (["--max-redundant", "nan"], "must be a fraction from 0 to 1$"),
        (["--max-redundant", "0.1", "--threshold", "3"], "threshold is 3.0"),
        (["--max-leaks=-1"], "--max-leaks is -1; it must be a whole number"),
        (["--max-leaks", "0", "--threshold", "0.1"], "--threshold 0.1 is for --max-redundant"),
        (
            ["--max-redundant", "0.1", "--test", "test.npy"],
            "--test has no meaning for a check without --max-leaks",
        ),
        (["--max-leaks", "0"], "has no split 'test'"),
        (["--max-leaks", "0", "--test", "none.npy"], "no such file or folder: 'none.npy'"),
    ],
)
def test_what_can_not_be_checked_is_one_line(
    words: list[str], said: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(*words) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("tenpercent: error: ") and re.search(said, line)


# ---- the examples of the page ----------------------------------------------------------------------------------------


def scripts() -> list[list[str]]:
    """The commands of each example, in order."""
    yaml: Any = pytest.importorskip("yaml")
    blocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    github, gitlab = (yaml.safe_load(block) for block in blocks)
    steps = [step["run"] for step in github["jobs"]["limits"]["steps"] if "run" in step]
    return [steps, gitlab["limits"]["script"]]


@pytest.mark.parametrize("which", [0, 1], ids=["github", "gitlab"])
def test_the_commands_of_the_examples_run(
    which: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    photographs = pytest.importorskip("sklearn.datasets").load_sample_images().images
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "check.md"))
    crops = [picture[:, at : at + 200] for picture in photographs for at in (0, 220, 440)]
    for at, crop in enumerate(crops):
        place = Path("data") / ("test" if at in (1, 4) else "train")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop).save(place / f"{at}.png")
    install, *commands = scripts()[which]
    assert install.startswith("pip install ") and len(commands) == 2
    for command in commands:
        program, *words = shlex.split(os.path.expandvars(command))
        assert program == "tenpercent" and main(words) == 0
    assert (
        Path("check.md").exists() and Path("check.xml").exists() and Path("runs/train/report.html").exists()
    )
    shutil.copy("data/train/0.png", "data/test/0.png")
    shutil.rmtree("runs/leaks")  # which the jobs don't keep
    assert main(shlex.split(os.path.expandvars(commands[1]))[1:]) == 1
    assert "❌ leaking test images" in Path("check.md").read_text(encoding="utf-8")
