"""The kept images as shards of WebDataset: tar files in which the files of a sample share their name up to the dot."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

from ..data.decoding.decode import Unreadable
from ..data.sources.source import ImageSource, Sample
from ..errors import counted
from .encoded import gone, named, read_encoded
from .kept import Kept
from .names import FreeNames
from .summary import ExportFormat, ExportSummary
from .targets import check_target, new_folder

SHARD_BYTES = 2**30  # of a shard's files, where the source has no shards of its own


def write_shards(kept: Kept, source: ImageSource, to: Path) -> ExportSummary:
    """Write the folder `to` of tar files, the same bytes each time.

    Of a source of archives, each becomes a tar file of its name, with all files of each kept image's sample as they
    were. Of other sources ``shard-000000.tar`` and so on hold each image's bytes (PNG where it came as pixels), the
    number of its class as ``.cls``, and its id, class and group as ``.json``; so do samples of archives whose labels
    are in neither, but in the names of folders.

    Raises:
        UsageError: `to` is not empty or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    check_target(to, source)
    source = source.reading(kept.rows)
    write = _write_new if source.sample is None else _write_own
    with new_folder(to, len(kept), source.noun) as (root, done):
        said = write(kept, source, root, done)
    return ExportSummary(ExportFormat.WEBDATASET, (to,), len(kept), tuple(said))


def _write_new(kept: Kept, source: ImageSource, root: Path, done: Callable[[int], object]) -> list[str]:
    """Write numbered samples into numbered shards; return a note on them."""
    shards, size = 0, SHARD_BYTES
    with ExitStack() as current:
        for row, about in zip(kept.rows.tolist(), kept.about(), strict=True):
            if size >= SHARD_BYTES:
                current.close()
                tar = current.enter_context(tarfile.open(root / f"shard-{shards:06d}.tar", "w"))
                shards, size = shards + 1, 0
            data = read_encoded(source, row)
            files = {_ending(source, row, data): data, **_labels(source, row, about)}
            for ending, content in files.items():
                _add(tar, f"{row:09d}{ending}", content)
            size += sum(map(len, files.values()))
            done(1)
    return [counted(shards, "shard")]


def _write_own(kept: Kept, source: ImageSource, root: Path, done: Callable[[int], object]) -> list[str]:
    """Write a shard for each archive with a kept image; return notes on them."""
    assert source.sample is not None
    found = [
        (source.sample(row), row, about) for row, about in zip(kept.rows.tolist(), kept.about(), strict=True)
    ]
    found.sort(key=lambda one: one[0].archive)  # stable: within an archive the order of the source
    names, written, last = FreeNames(), set(), ""
    with ExitStack() as current:
        for sample, row, about in found:
            if sample.archive != last:
                current.close()
                path = root / names.free(PurePosixPath(sample.archive).with_suffix(".tar").as_posix())
                path.parent.mkdir(parents=True, exist_ok=True)
                tar, last = current.enter_context(tarfile.open(path, "w")), sample.archive
            if (last, sample.key) not in written:
                written.add((last, sample.key))
                for name, content in _files(source, row, sample, about):
                    _add(tar, name, content)
            done(1)
    stay = set(kept.rows.tolist())
    others = (source.sample(row) for row in range(len(source)) if row not in stay)
    along = sum((other.archive, other.key) in written for other in others)
    said = f"{counted(along, 'image')} that did not stay came with an image of the same sample that did"
    return [counted(len({archive for archive, _ in written}), "shard"), *([said] if along else [])]


def _files(
    source: ImageSource, row: int, sample: Sample, about: Mapping[str, Any]
) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a sample, and its label where none of them has it."""
    for name in sample.names:
        try:
            yield name, read_encoded(source, row) if name == sample.image else sample.read(name)
        except (OSError, Unreadable) as error:
            raise gone(source, row, error) from error
    if "class_name" in about and not any(name.endswith((".cls", ".json")) for name in sample.names):
        for ending, content in _labels(source, row, about).items():
            yield f"{sample.key}{ending}", content


def _labels(source: ImageSource, row: int, about: Mapping[str, Any]) -> dict[str, bytes]:
    """Return what is written beside an image, by ending."""
    text = json.dumps(about, ensure_ascii=False).encode()
    if source.labels is None or "class_name" not in about:
        return {".json": text}
    return {".cls": str(source.labels[row]).encode(), ".json": text}


def _ending(source: ImageSource, row: int, data: bytes) -> str:
    try:
        return PurePosixPath(named(data, source.paths[row] or source.ids[row])).suffix.lower()
    except OSError as error:
        raise gone(source, row, error) from error


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a file without time or owner."""
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
