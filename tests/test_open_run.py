"""One command opens its source once, loads its embeddings once, and hashes ready vectors once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.data.sources import opening
from tenpercent.data.store import embeddings


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a source is opened, part files are read with their vectors, and vectors are hashed."""
    found: Counter[str] = Counter()

    def count(owner: Any, name: str, what: str) -> None:
        inner: Callable[..., Any] = getattr(owner, name)

        def counted(*given: Any, **named: Any) -> Any:
            found[what] += 1
            return inner(*given, **named)

        monkeypatch.setattr(owner, name, counted)

    count(opening, "open_folder", "opened")
    count(opening, "open_npy", "opened")
    count(embeddings.Embeddings, "_fingerprint", "hashed")
    count(embeddings, "read_parts", "loaded")
    return found


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(24):
        pixels = chance.integers(0, 256, (16, 16, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{number:02}.png")
    return tmp_path / "photos"


def blind(images: Any) -> Any:
    return images.reshape(len(images), -1)[:, ::97]


def test_a_run_of_images(photos: Path, tmp_path: Path, seen: Counter[str]) -> None:
    tp.run(photos, out=tmp_path / "run", keep=0.8, embedder=blind)
    assert seen == {"opened": 1, "loaded": 1}
    seen.clear()
    tp.run(photos, out=tmp_path / "run", keep=0.5, embedder=blind)  # deeper: the tree grows
    assert seen == {"opened": 1, "loaded": 1}
    for command in (tp.report, lambda run: tp.export(run, "csv", tmp_path / "kept.csv")):
        seen.clear()
        command(tmp_path / "run")
        assert seen["opened"] == 1 and seen["loaded"] <= 1


def test_a_run_of_ready_vectors(tmp_path: Path, seen: Counter[str]) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32))
    for keep in (0.8, 0.5):
        seen.clear()
        tp.run(tmp_path / "v.npy", out=tmp_path / "run", keep=keep)
        assert seen == {"opened": 1, "hashed": 1}
    for command in (tp.report, tp.cluster, tp.select):
        seen.clear()
        command(tmp_path / "run")
        assert seen == {"opened": 1, "hashed": 1}


def test_vectors_that_change_between_two_commands_are_refused(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((60, 8)).astype(np.float32)
    np.save(tmp_path / "v.npy", vectors)
    tp.run(tmp_path / "v.npy", out=tmp_path / "run")
    np.save(tmp_path / "v.npy", vectors[::-1])
    with pytest.raises(tp.TenpercentError, match="has changed since"):
        tp.report(tmp_path / "run")
