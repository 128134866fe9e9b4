"""Find the images a training set does not need.

    import tenpercent as tp

    selection = tp.run("photos/", keep=0.9, out="runs/photos")
    selection.kept, selection.removed, selection.groups()

Importing it neither loads torch nor compiles anything.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .data.store.embeddings import Embeddings
from .embedding.settings import SelfSupervised, Supervised, Timm
from .embedding.stage import embed
from .errors import TenpercentError
from .evaluation.probing.comparison import probe
from .leakage.find import leaks
from .pipeline import cluster, explain, export, report, run, select, select_by
from .tree.cut import Cut

if TYPE_CHECKING:
    from .data.sources.opening import open_source
    from .data.sources.options import SourceOptions
    from .leakage.result import Leaks
    from .selection.comparison import compare
    from .selection.selection import Selection
    from .tree.merges import Merges

__version__ = "0.1.0"

__all__ = [
    "Cut",
    "Embeddings",
    "Leaks",
    "Merges",
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
    "open_source",
    "probe",
    "report",
    "run",
    "select",
    "select_by",
]

# Loaded on first use: numba takes most of a second to load.
_LATER = {
    "Leaks": "leakage.result",
    "Merges": "tree.merges",
    "Selection": "selection.selection",
    "SourceOptions": "data.sources.options",
    "compare": "selection.comparison",
    "open_source": "data.sources.opening",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
