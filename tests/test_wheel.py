"""The wheel is complete: built, installed into an environment of its own and run from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "tenpercent"


def run(command: list[str | Path], **options: str | Path | dict[str, str]) -> str:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=300, **options
    )  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", to, ROOT])
    (found,) = to.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; what the wheel needs is borrowed from this one, without network."""
    home = tmp_path_factory.mktemp("environment")
    run([sys.executable, "-m", "venv", "--without-pip", home])
    python = home / "bin" / "python"
    (packages,) = home.glob("lib/python*/site-packages")
    # A path in a .pth file is searched last, and .pth files below it are not read: an editable install stays out.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            python,
            "install",
            "--quiet",
            "--no-index",
            "--no-deps",
            "--disable-pip-version-check",
            wheel,
        ]
    )
    return python


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        information = next(name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(information).decode()
    there = {path.relative_to(PACKAGE.parent).as_posix() for path in PACKAGE.rglob("*") if path.is_file()}
    there = {name for name in there if "__pycache__" not in name}
    assert {name for name in names if ".dist-info/" not in name} == there
    assert "tenpercent/py.typed" in names
    assert any(name.startswith("tenpercent/reporting/templates/") for name in names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "License-Expression: Apache-2.0" in metadata
    assert "Provides-Extra: images" in metadata


def test_the_installed_command_runs_from_another_folder(python: Path, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    where = run(
        [python, "-c", "import tenpercent; print(tenpercent.__file__)"], cwd=tmp_path, env=environment
    )
    assert Path(where.strip()).is_relative_to(python.parent.parent)
    command = python.parent / "tenpercent"
    version = run([command, "--version"], cwd=tmp_path, env=environment)
    assert version.split() == ["tenpercent", "0.1.0"]

    random = np.random.default_rng(0)
    np.save(tmp_path / "vectors.npy", random.normal(size=(40, 3)).astype(np.float32))
    np.save(tmp_path / "labels.npy", np.arange(40) % 2)
    arguments = ["vectors.npy", "--labels", "labels.npy", "--keep", "0.8", "--out", "run"]
    plain = {**environment, "NUMBA_DISABLE_JIT": "1"}  # another place would compile all kernels again
    run([command, "run", *arguments], cwd=tmp_path, env=plain)
    table = pq.read_table(tmp_path / "run" / "selection.parquet")
    assert sum(table["kept"].to_pylist()) == 32
    assert "</html>" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    run([command, "export", "run", "--format", "indices", "--to", "kept"], cwd=tmp_path, env=environment)
    assert len(np.load(tmp_path / "kept" / "indices.npy")) == 32
