"""Zip and tar files, and shards of WebDataset, written file by file."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path


def zipped(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def shard(path: Path, numbers: range, png: Callable[[int], bytes], label: str = "cls") -> Path:
    """Write a sample a number: its picture, and its label as text or JSON."""
    files: dict[str, bytes] = {}
    for number in numbers:
        files[f"{number:04d}.png"] = png(number)
        text = json.dumps({"label": f"kind {number % 3}", "url": "x"}) if label == "json" else str(number % 3)
        files[f"{number:04d}.{label}"] = text.encode()
    return tarred(path, files)
