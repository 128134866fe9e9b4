"""What a start costs and says: help and import load nothing heavy, and help states the library's defaults."""

from __future__ import annotations

import os
import subprocess
import sys
from inspect import signature

import pytest

import tenpercent as tp
from tenpercent.cli.parser import build_parser, filled
from tenpercent.evaluation.stage import SEARCHED, EvaluationRequest
from tenpercent.reporting.evidence.statistics import MARGIN
from tenpercent.reviewing.serve import PORT, serve

HEAVY = {"matplotlib", "numba", "numpy", "pyarrow", "scipy", "starlette", "timm", "torch"}


@pytest.mark.parametrize(
    "code",
    [
        "import tenpercent",
        "from tenpercent.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass",
    ],
    ids=["import", "help"],
)
def test_starting_loads_nothing_heavy(code: str) -> None:
    code = f"import sys\n{code}\nprint('loaded:', *sorted({HEAVY} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_every_public_name_is_there_and_is_told() -> None:
    assert {*tp.__all__} <= {*dir(tp)}
    assert all(getattr(tp, name) is not None for name in tp.__all__)
    assert {*tp._PLACES} == {*tp.__all__}
    with pytest.raises(AttributeError, match="no attribute 'slect'"):
        tp.slect  # noqa: B018


def help_of(command: str, flag: str) -> str:
    """The help of a flag as it is printed."""
    parser = build_parser().parse_args([command, "RUN"]).parser
    return filled(parser._option_string_actions[flag].help)


def test_help_states_the_defaults_of_the_library() -> None:
    assert f"(default: {MARGIN})" in help_of("evaluate", "--margin")
    assert f"(default: {MARGIN})" in help_of("report", "--margin")
    assert f"(default: {PORT}," in help_of("review", "--port")
    assert f"the default, {signature(serve).parameters['host'].default}," in help_of("review", "--host")
    assert f"(default: {EvaluationRequest().embeddings})" in help_of("evaluate", "--embeddings")
    assert f"(default: {signature(tp.run).parameters['holdout'].default:g})" in help_of("run", "--holdout")
    assert f"--find {' '.join(map(str, SEARCHED))})" in help_of("evaluate", "--keep")
    assert f"from 2 up (default: {tp.Cut().keep})" in help_of("run", "--keep")


def test_a_terminal_that_lacks_a_character_is_no_fault() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tenpercent", "presets"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "n / (C \\xb7 n_c)" in done.stdout


def test_file_names_that_are_not_utf_8_are_refused_at_once() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    called = [sys.executable, "-m", "tenpercent", "--version"]
    done = subprocess.run(called, env={**os.environ, **plain}, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr
        == "tenpercent: error: file names are encoded as ascii here, not utf-8; set PYTHONUTF8=1\n"
    )
