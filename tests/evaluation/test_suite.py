"""A suite: every data set with every embedder, once, from one file."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenpercent.cli.main import main
from tenpercent.data.sources.options import SourceOptions
from tenpercent.embedding.settings import KINDS
from tenpercent.errors import UsageError
from tenpercent.evaluation.suite import COLUMNS, bench, describe_suite
from tenpercent.evaluation.suite_file import DATA, EMBEDDER, read_suite

SUITE = """
out = "suite"
keep = [0.5]
arms = ["full", "random", "semantic"]
trials = 1
steps = 4

[[data]]
name = "photos"
source = "photos"

[[data]]
name = "again"
source = "photos"
holdout = 0.25

[[embedder]]
name = "supervised"
depth = 8
steps = 4
batch = 8
precision = "float32"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split, each in (("train", 8), ("test", 2)):
        for code in range(2):
            folder = tmp_path / "photos" / split / f"class{code}"
            folder.mkdir(parents=True)
            for number in range(each):
                pixels = random.integers(0, 200, (18, 18, 3)).astype(np.uint8) + np.uint8(50 * code)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "suite.toml").write_text(SUITE)
    return tmp_path / "suite.toml"


def test_a_suite_has_one_table_and_is_done_once(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(suite)]) == 0
    said = capsys.readouterr().out
    rows = list(csv.DictReader((suite.parent / "suite" / "table.csv").read_text().splitlines()))
    assert [(row["data"], row["arm"], row["fraction"], row["n"]) for row in rows] == [
        (data, arm, fraction, str(n))
        for data, whole in (("photos", 16), ("again", 12))
        for arm, fraction, n in (
            ("full", "1.0", whole),
            ("semantic", "0.5", whole // 2),
            ("random", "0.5", whole // 2),
        )
    ]
    assert all(line in said for line in ("photos  supervised  full", "Table and figure:"))
    assert (suite.parent / "suite" / "figure.svg").read_text().count("<svg") == 1
    trained = sorted(suite.parent.glob("suite/*/trainings/*.parquet"))
    assert len(trained) == 6
    times = [path.stat().st_mtime_ns for path in trained]
    assert bench(suite) == suite.parent / "suite"
    assert [path.stat().st_mtime_ns for path in trained] == times


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("trials = 1", "trial = 1", "has the key 'trial'; known are .*did you mean trials"),
        ('name = "supervised"', 'name = "superb"', "--embedder is 'superb'"),
        ("depth = 8", "deep = 8", "has the key 'deep'"),
        ('source = "photos"\n\n', "\n", "has no source"),
        ("keep = [0.5]", "keep = [0.5", "can't read"),
        ("holdout = 0.25", "hold = 0.25", "has the key 'hold'"),
    ],
)
def test_what_a_file_must_not_say(old: str, new: str, said: str, suite: Path) -> None:
    suite.write_text(suite.read_text().replace(old, new))
    with pytest.raises(UsageError, match=said):
        read_suite(suite)


LIST = "it must be a list, each"
TABLES = f"{LIST} a table, e.g. "


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('out = "suite"', "out = 3", 'out = 3; it must be a string, e.g. out = "runs/suite"'),
        ("keep = [0.5]", "keep = 0.8", f"keep = 0.8; {LIST} a number, e.g. keep = [0.9, 0.5]"),
        ("keep = [0.5]", 'keep = "0.8"', f'keep = "0.8"; {LIST} a number'),
        ("keep = [0.5]", "keep = [0.5, true]", f"keep = [0.5, true]; {LIST} a number"),
        ('arms = ["full", "random", "semantic"]', 'arms = "full"', f'arms = "full"; {LIST} a string'),
        ("trials = 1", 'trials = "3"', 'trials = "3"; it must be a whole number, e.g. trials = 3'),
        ("trials = 1", "trials = true", "trials = true; it must be a whole number"),
        ("trials = 1", "preset = 1.5", "preset = 1.5; it must be a string"),
        ("trials = 1", "length = 1979-05-27", 'length = "1979-05-27"; it must be a string'),
        ("steps = 4\n\n", 'steps = "4"\n\n', 'steps = "4"; it must be a whole number'),
        (SUITE, 'data = "digits"', f'data = "digits"; {TABLES}[[data]]'),
        (
            SUITE,
            '[data]\nsource = "d"\nids = []',
            f'data = {{"source": "d", "ids": []}}; {TABLES}[[data]]',
        ),
        (SUITE, 'embedder = "x"', f'embedder = "x"; {TABLES}[[embedder]]'),
        ('source = "photos"\n\n', "source = 3\n\n", "source = 3; it must be a string"),
        ('name = "again"', "name = 3", "name = 3; it must be a string"),
        ("holdout = 0.25", 'holdout = "x"', 'holdout = "x"; it must be a number, e.g. holdout = 0.1'),
        ("holdout = 0.25", "split = 3", 'split = 3; it must be a string, e.g. split = "train"'),
        ("holdout = 0.25", "labels = [1]", "labels = [1]; it must be a string"),
        ('name = "supervised"', "name = 3", "name = 3; it must be a string"),
        ('name = "supervised"', "label = 3", "label = 3; it must be a string"),
        ("depth = 8", 'depth = "8"', 'depth = "8"; it must be a whole number, e.g. depth = 20'),
        ("depth = 8", "network = 8", "network = 8; it must be a string"),
        ("depth = 8", "rate = true", "rate = true; it must be a number"),
        ('"supervised"\ndepth = 8', '"timm:x"\nfinetune = 1', "finetune = 1; it must be true or false, e.g."),
        ('"supervised"\ndepth = 8', '"timm:x"\nweights = 1', "weights = 1; it must be a string"),
    ],
)
def test_a_value_of_another_type(
    old: str, new: str, said: str, suite: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.write_text(suite.read_text().replace(old, new))
    assert main(["bench", str(suite)]) == 2
    line = capsys.readouterr().err
    assert str(suite) in line and f"has {said}" in line
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"again"\nsource = "photos"', '"again"\nsource = "photoz"', r"\[\[data\]\] again of .*photoz"),
        ("holdout = 0.25", 'test = "elsewhere"', r"\[\[data\]\] again of .*elsewhere"),
        ("holdout = 0.25", 'split = "test"', r"\[\[data\]\] again of .*no test or validation split"),
        ('"again"\nsource = "photos"', '"again"\nsource = "flat"', r"\[\[data\]\] again of .*no labels"),
        ('"again"\nsource = "photos"', '"again"\nsource = "rows.npy"', r"\[\[data\]\] again of .*vectors"),
        ("holdout = 0.25", "holdout = 1.5", r"\[\[data\]\] again of .*1.5"),
        (
            '"photos"\nholdout = 0.25',
            '"photos/train"\nholdout = 0.01',
            r"\[\[data\]\] again of .*no test or .*, or hold some out with holdout = 0.1",
        ),
        ("depth = 8", 'network = "resnet188"', "no network 'resnet188'; did you mean"),
        ("depth = 8", "depth = 9", "depth is 9"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_embedding(
    old: str, new: str, said: str, suite: Path
) -> None:
    (suite.parent / "flat").mkdir()
    Image.new("RGB", (18, 18)).save(suite.parent / "flat" / "0.png")
    np.save(suite.parent / "rows.npy", np.eye(4, dtype=np.float32))
    suite.write_text(suite.read_text().replace(old, new))
    with pytest.raises(UsageError, match=said):
        bench(suite)
    assert not (suite.parent / "suite").exists()


def test_lists_alone_ask_for_no_fraction(suite: Path) -> None:
    (suite.parent / "mine.txt").write_text("0\n9\n")
    text = suite.read_text().replace('"semantic"', '"mine=mine.txt"')
    suite.write_text(text)
    assert read_suite(suite).request.keep == (0.5,)
    suite.write_text(text.replace("keep = [0.5]\n", ""))
    assert read_suite(suite).request.keep == ()


def test_every_option_has_an_example() -> None:
    known = {field.name for kind in KINDS.values() for field in fields(kind)} - {"recipe"}
    assert set(EMBEDDER) == known | {"label"}
    assert set(DATA) == {field.name for field in fields(SourceOptions)} - {"rules"} | {
        "name",
        "source",
        "test",
        "holdout",
    }


ARMS = 'arms = ["full", "random", "semantic"]'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (ARMS, 'arms = ["full", "semantik"]', "names 'semantik'; known are .*did you mean semantic"),
        (ARMS, 'arms = ["full", "mixed:2"]', "value '2'; it must be"),
        (ARMS, 'arms = ["full", "full"]', "names full twice"),
        (ARMS, 'arms = ["mine=suite.toml", "mine=suite.toml"]', "names mine twice"),
        (ARMS, 'arms = ["random=suite.toml"]', "arm 'random=suite.toml': a list is NAME=FILE"),
        (
            ARMS,
            'arms = ["mine=none.txt"]',
            "arm 'mine=none.txt': a list is NAME=FILE, .* and an existing file .*none.txt",
        ),
        (ARMS, "arms = []", "no arms to compare"),
        ("keep = [0.5]", "keep = []", "no fraction to evaluate"),
        ("keep = [0.5]", "keep = [0.5, 1]", "--keep is 1; it must be above 0 and below 1"),
        ("trials = 1", "trials = 0", "--trials is 0; it must be a whole number of at least 1"),
        ("trials = 1", 'preset = "quik"', "'quik' is not one of .*did you mean quick"),
        ("trials = 1", 'length = "step"', "length 'step' is not one of steps, epochs; did you mean steps"),
        ("trials = 1", "side = 2", "side is 2; it must be"),
        ("trials = 1", "epochs = 3", "both epochs .3. and steps .4. are given"),
        ("steps = 4\n\n", "steps = 0\n\n", "steps is 0; it must be"),
        (
            '"supervised"\ndepth = 8',
            '"selfsupervised"',
            "selfsupervised is not trained from scratch.*with preset",
        ),
        ("batch = 8", "batch = 1", "batch is 1; it must be"),
    ],
)
def test_what_no_training_can_be_is_said_before_any_embedding(
    old: str, new: str, said: str, suite: Path
) -> None:
    suite.write_text(suite.read_text().replace(old, new))
    with pytest.raises(UsageError, match=f"suite.toml.*{said}"):
        read_suite(suite)


def test_what_a_file_may_say(suite: Path) -> None:
    (suite.parent / "mine.txt").write_text("0\n1\n")
    text = SUITE.replace('"semantic"', '"mine=mine.txt", "mixed:0.3"').replace(
        "trials = 1", 'preset = "digits"'
    )
    text += (
        'rate = 1\n\n[[embedder]]\nname = "timm:resnet18"\nfinetune = true\nweights = "w.pt"\nepochs = 2\n'
    )
    suite.write_text(text.replace("holdout = 0.25", "holdout = 0"))
    found = read_suite(suite)
    assert found.request.arms == ("full", "random", f"mine={suite.parent / 'mine.txt'}", "mixed:0.3")
    assert found.embedders == {
        "supervised": KINDS["supervised"](depth=8, steps=4, batch=8, precision="float32", rate=1),
        "timm:resnet18": KINDS["timm"]("resnet18", suite.parent / "w.pt", finetune=True, epochs=2),
    }


def test_a_suite_is_read_without_torch(suite: Path) -> None:
    code = (
        "import sys; from tenpercent.evaluation.suite_file import read_suite; read_suite(sys.argv[1]); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(suite)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "False\n"


def test_differences_have_a_true_minus(tmp_path: Path) -> None:
    row = ("digits", "supervised", "random", "0.5", "80", "3", "0.9", "0.01", "-1.25", "0.5")
    (tmp_path / "table.csv").write_text(f"{','.join(COLUMNS)}\n{','.join(row)}\n")
    assert "90.00 ± 1.00  −1.25         +0.50" in describe_suite(tmp_path)


def test_a_file_without_data_or_none_at_all(suite: Path) -> None:
    with pytest.raises(UsageError, match="can't read"):
        read_suite(suite.parent / "none.toml")
    suite.write_text("trials = 2\n")
    with pytest.raises(UsageError, match="names no data set"):
        read_suite(suite)
