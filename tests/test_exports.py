"""The public names, pinned: adding or taking away one is a decision."""

from __future__ import annotations

import subprocess
import sys

import tenpercent

NAMES = [
    "Calibration",
    "Cut",
    "Embeddings",
    "Leaks",
    "Merges",
    "NextImages",
    "Pretrained",
    "Processes",
    "Ray",
    "Selection",
    "SelfSupervised",
    "SourceOptions",
    "Supervised",
    "TenpercentError",
    "Timm",
    "cluster",
    "compare",
    "embed",
    "explain",
    "export",
    "leaks",
    "next_images",
    "open_review",
    "open_source",
    "probe",
    "report",
    "run",
    "select",
    "select_by",
]


def test_the_public_names() -> None:
    assert sorted(tenpercent.__all__) == NAMES
    assert set(NAMES) <= set(dir(tenpercent))
    for name in NAMES:
        assert getattr(tenpercent, name) is not None


def test_the_names_are_functions_also_where_a_package_has_the_same_name() -> None:
    import tenpercent.embedding
    import tenpercent.exporting
    import tenpercent.leakage
    import tenpercent.linkage
    import tenpercent.selection

    for name in ("cluster", "embed", "export", "leaks", "select"):
        assert callable(getattr(tenpercent, name)), name


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, tenpercent; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {
        "torch",
        "torchvision",
        "timm",
        "datasets",
        "lightning_fabric",
        "ray",
        "numba",
        "matplotlib",
        "sklearn",
    }
    assert heavy & set(loaded) == set()
