"""Find the images a training set does not need.

    import tenpercent as tp

    selection = tp.run("photos/", keep=0.9)  # the run folder is runs/photos
    selection.kept, selection.removed, selection.groups()

Each name is loaded on first use: `import tenpercent` itself loads neither numpy nor torch and compiles nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .calibration.calibration import Calibration
    from .data.sources.opening import open_source
    from .data.sources.options import SourceOptions
    from .data.store.embeddings import Embeddings
    from .embedding.settings import Pretrained, SelfSupervised, Supervised, Timm
    from .embedding.stage import embed
    from .errors import TenpercentError
    from .evaluation.probing.comparison import probe
    from .leakage.find import leaks
    from .leakage.result import Leaks
    from .pipeline import cluster, explain, export, report, run, select, select_by
    from .reviewing.inline import open_review
    from .selection.comparison import compare
    from .selection.label_next import NextImages, next_images
    from .selection.selection import Selection
    from .tasks.on_ray import Ray
    from .tasks.processes import Processes
    from .tree.cut import Cut
    from .tree.merges import Merges

__version__ = "0.1.0"

__all__ = [
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

# The module of each public name: loaded on first use, as numpy, pyarrow and numba take most of a second.
_PLACES = {
    "Calibration": "calibration.calibration",
    "Cut": "tree.cut",
    "Embeddings": "data.store.embeddings",
    "Leaks": "leakage.result",
    "Merges": "tree.merges",
    "NextImages": "selection.label_next",
    "Pretrained": "embedding.settings",
    "Processes": "tasks.processes",
    "Ray": "tasks.on_ray",
    "Selection": "selection.selection",
    "SelfSupervised": "embedding.settings",
    "SourceOptions": "data.sources.options",
    "Supervised": "embedding.settings",
    "TenpercentError": "errors",
    "Timm": "embedding.settings",
    "cluster": "pipeline",
    "compare": "selection.comparison",
    "embed": "embedding.stage",
    "explain": "pipeline",
    "export": "pipeline",
    "leaks": "leakage.find",
    "next_images": "selection.label_next",
    "open_review": "reviewing.inline",
    "open_source": "data.sources.opening",
    "probe": "evaluation.probing.comparison",
    "report": "pipeline",
    "run": "pipeline",
    "select": "pipeline",
    "select_by": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
