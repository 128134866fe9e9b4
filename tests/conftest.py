"""What several tests need: small real inputs, and where the large ones lie."""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent


# A kill needs no fsync, a power cut does: without it no test waits for the disk.
os.fsync = lambda _: None


def pytest_collection_finish() -> None:
    """Let no collection of garbage look again at all that was imported: 0.3 s each time."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let what was imported go at the end: some of it reports what is left of it."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_further_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no evaluation start further processes, each of which loads torch again, unless its test says so."""
    monkeypatch.setattr("tenpercent.evaluation.stage.LONG", 3600.0)


@pytest.fixture(scope="session", autouse=True)
def figures_drawn_once() -> None:
    """Let reports of one process draw each figure once: half of a report's time, and most tests' reports are alike."""
    from tenpercent.reporting import report

    for name in ("sizes_figure", "curve_figure", "removal_figure"):
        setattr(report, name, remembered(getattr(report, name)))


@pytest.fixture(scope="session", autouse=True)
def precisions_measured_once() -> None:
    """Let one process time each network in each precision once: a tenth of a second for each, of each training."""
    precision = sys.modules.get("tenpercent.embedding.precision")  # where no test loads torch, none trains
    if precision is None:
        return
    measure, found = precision._seconds, defaultdict(list)

    def call(network: Any, choice: Any, *where: Any) -> float:
        times = found[f"{network}{choice}{where}"]
        if len(times) <= precision.ROUNDS:
            times.append(measure(network, choice, *where))
            return times[-1]
        times.append(times.pop(0))
        return times[-1]

    precision._seconds = call


def remembered(function: Callable[..., str]) -> Callable[..., str]:
    found: dict[bytes, str] = {}

    def call(*arguments: object, **named: object) -> str:
        key = pickle.dumps((arguments, named))
        if key not in found:
            found[key] = function(*arguments, **named)
        return found[key]

    return call


@pytest.fixture(scope="session")
def cifar10() -> Path:
    """The folder of the real CIFAR-10, or skip."""
    folder = Path(os.environ.get("TENPERCENT_CIFAR10", ROOT.parent / "shared" / "data" / "cifar10"))
    if not (folder / "resnet32-train.npy").is_file():
        pytest.skip(f"the real CIFAR-10 is not there ({folder}); TENPERCENT_CIFAR10 names its folder")
    return folder


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """See `write_vectors`."""
    return write_vectors(tmp_path)


def write_vectors(folder: Path) -> Path:
    """Write 60 vectors in 3 classes as vectors.npy and labels.npy, a third of them in tight pairs."""
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((60, 8)).astype(np.float32)
    rows[40:] = rows[:20] * 1.5 + 0.001 * generator.standard_normal((20, 8)).astype(np.float32)
    np.save(folder / "vectors.npy", rows)
    np.save(folder / "labels.npy", np.arange(60) % 20 % 3)
    return folder / "vectors.npy"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """See `write_photos`."""
    return write_photos(tmp_path / "photos")


def write_photos(folder: Path) -> Path:
    """Write 48 small colour images in 2 class folders, one of them broken, beside a text file."""
    generator = np.random.default_rng(1)
    for label, name in enumerate(["cat", "dog"]):
        (folder / name).mkdir(parents=True)
        base = generator.integers(0, 256, (12, 16, 16, 3))
        for number in range(24):
            noise = generator.integers(-4, 5, (16, 16, 3))
            pixels = np.clip(base[number % 12] + noise + 10 * label, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02d}.png")
    (folder / "cat" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a photo")
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A real browser, or skip; another one would take two seconds of CPU."""
    from browsing import browser

    with browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of photographs, see `browsing.make_run`; not to be changed."""
    from browsing import make_run

    return make_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it to decide about."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.fixture
def address(run: Path) -> Iterator[str]:
    """Where the copy's review page is served."""
    from browsing import served

    with served(run) as found:
        yield found


@pytest.fixture
def seen(chromium: Any, address: str) -> Iterator[Any]:
    """The review page at `address`, loaded; nothing may go wrong in it."""
    from browsing import look

    opened = look(chromium, address)
    opened.ready()
    yield opened
    opened.leave()
    assert opened.faults == []
