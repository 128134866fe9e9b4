"""What starting costs: a command's help and an import load nothing heavy."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tenpercent as tp

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
