"""Default place of a run folder: ``runs/`` and the name of its source."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import UsageError
from ..store.checks import as_path
from ..store.run_folder import is_run_folder
from ..store.run_paths import RunPaths
from .huggingface import Address
from .opening import FILES, Prefix, absolute, split_prefix
from .patterns import before_braces, has_braces
from .remote.store import is_remote

RUNS = Path("runs")


def run_folder_of(source: str | Path, out: str | Path | None = None) -> Path:
    """Return the run folder of a source: `out` where it is given, else ``runs/`` and the source's name.

    The name is the last part of the path, without the suffix of a file of vectors or a table: ``photos/`` and
    ``photos.parquet`` are ``runs/photos``, ``hf:owner/name`` is ``runs/name``, ``torchvision:CIFAR10`` is
    ``runs/CIFAR10``.

    Raises:
        UsageError: the source is not a path, or has no name, as the root of a disk; `out` lies in a run folder and is
            not one of its embeddings with other seeds.
    """
    if out is not None:
        asked = as_path(out, "the run folder (out)")
        above = next(filter(is_run_folder, asked.absolute().parents), None)
        if above is not None and asked.absolute().parent != RunPaths(above).embeddings_again:
            raise UsageError(
                f"{asked} lies in the run folder {above}, whose files are its own; choose another --out"
            )
        return asked
    if not isinstance(source, str):
        as_path(source, "a source")
    prefix, text = (None, absolute(source)) if is_remote(source) else split_prefix(source)
    if prefix is Prefix.HF:
        text = Address.of(text).name
    if has_braces(text) and not Path(text).exists():
        folder, begin = before_braces(text)
        text = begin or folder
    path = Path(text).expanduser().absolute()
    path = path.resolve() if path.name == ".." else path
    name = re.split(r"[/\\]", path.name.rstrip("\\"))[-1]  # a path as Windows writes it is one name here
    if path.suffix.lower() in FILES or prefix in (Prefix.COCO, Prefix.YOLO):
        name = Path(name).stem
    if not name.strip(". "):
        raise UsageError(f"the source {source} has no name to call a run folder by; give one with --out")
    return RUNS / name
