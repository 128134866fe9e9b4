"""Embedding of images one by one, by an encoder that is trained already: each image is read and decoded once.

The thread that has decoded an image encodes it too, so decoding and network share the CPUs without waiting for each
other, and no more pictures are in memory than there are threads.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from ..data.decoding.decode import decode_for, measures
from ..data.sources.options import SourceOptions
from ..data.sources.run_source import open_recorded
from ..data.sources.source import ImageSource, Unreadable, content_hash
from ..data.store.embeddings import Ints, in_batches
from ..data.store.files import read_metadata, remove_temporaries
from ..data.store.part_files import Part, part_files, part_layout, part_path, save_part, without_flaws
from ..data.store.rejected import REJECTED, Rejected, write_rejected
from ..data.store.run_folder import RunFolder
from ..data.store.stamps import read_stamps, write_stamps
from ..data.store.tables import count_rows, read_checked
from ..errors import SourceError, StageError, TenpercentError, counted, duration_text, reason_of
from ..linkage.threads import cpus
from ..progress import bar
from ..tasks.task import Runner, Task
from .origin import Origin
from .pretrained import PretrainedNetwork
from .reading import check_most, in_order
from .timing import IdleTimer

PART = 1024  # images a part file: what a kill can cost. Fixed, so that a resumed run writes the same files
MEMORY = 2**29  # bytes that a run takes, beside images above 20 megapixels
ROW_BYTES = 150  # of a part file beside the vectors: id, path, hash
TIMED = 16  # images from which the time of all is estimated
FIRST = 32  # images of a run after which it says how long all will take
AHEAD = 4  # images a thread may be ahead of the one that is written next

log = logging.getLogger("tenpercent")

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


class ImageEncoder(Protocol):
    """Encoder of single images; called by several threads at once.

    Attributes:
        width: values of a vector.
        least: pixels that the sides of an image need at least; a JPEG with longer ones is decoded smaller.
    """

    @property
    def width(self) -> int: ...

    @property
    def least(self) -> int | None: ...

    def vector(self, image: Bytes) -> Floats:
        """Return the vector of an image, float32[width], of uint8[h, w, 3]."""
        ...


@dataclass(frozen=True, eq=False, slots=True)  # there is one an image
class _Encoded:
    """Image that was read: its vector, or the reason why there is none."""

    row: int
    hash: str = ""
    size: tuple[int, int, int] = (0, 0, 0)  # width, height, bytes
    vector: Floats | None = None
    reason: str = ""


def embed_each(
    source: ImageSource,
    run: RunFolder,
    encoder: ImageEncoder,
    rows: Ints,
    embedder: dict[str, Any],
    runner: Runner | None = None,
) -> dict[str, Any]:
    """Embed the images of `source` at `rows` into a run folder, or resume that.

    Writes ``rejected.parquet`` and ``embeddings/part-*.parquet``, of 1,024 rows each. Interruptions do not change
    their bytes: parts that are whole stay, once their images prove to be unchanged.

    Args:
        source: the images.
        run: the run folder, whose embed stage the caller has locked.
        encoder: the network.
        rows: int64[n], rows of the images, in the order of the source.
        embedder: identity of the encoder, as stored in the run folder.
        runner: the place where parts are made, each by a task that opens the run's source itself; None for here.

    Returns:
        A summary for ``run.json``.

    Raises:
        StageError: the folder holds embeddings made with other settings, or of images that have changed.
        SourceError: there are no rows.
        TenpercentError: more than half of the images can't be read.
    """
    if len(rows) == 0:
        raise SourceError(f"{source.spec} has no images to embed; name a source that has some")
    origin, source = Origin.of(source, rows, embedder), source.reading(rows)
    origin.check(run)
    origin.write(run, None)
    about, started, fresh = origin.about(source), time.perf_counter(), 0
    gone: dict[Path, list[Rejected]] = {}  # of each part
    done = sum(count_rows(path) for path in part_files(run.embeddings))
    if done:
        log.info("embedding resumed: %s of %s are on disk", f"{done:,}", counted(len(rows), source.noun))
    parts = {
        part_path(run.embeddings, number): rows[cut] for number, cut in enumerate(in_batches(len(rows), PART))
    }
    stamps = read_stamps(run.stamps)
    with bar(len(rows), "embedding", f"{source.noun}s") as progress:
        left = {}
        for path, own in parts.items():
            if path.exists() and _is_unchanged(run, source, path, origin, stamps):
                gone[path] = _rejected(path)
                progress.update(len(own))
            else:
                path.unlink(missing_ok=True)
                left[path] = own
        write_stamps(run.stamps, source.ids, source.stamps)  # what is there is of these

        made = (
            _parts_here(source, encoder, left, about, progress)
            if runner is None
            else _parts_by_tasks(run, origin.source, left, about, progress, runner)
        )
        for path in made:
            gone[path] = _rejected(path)
            fresh += len(left[path])
            try:
                check_most(
                    [one for path in parts for one in gone.get(path, ())], len(rows), source, "can't be used"
                )
            except TenpercentError:
                path.unlink()  # so that its images are read again once they are repaired
                raise
    rejected = [one for path in parts for one in gone.get(path, ())]
    write_rejected(run.rejected, rejected)
    seconds = time.perf_counter() - started
    return {
        "n": len(rows) - len(rejected),
        "rejected": len(rejected),
        "layers": {"end": encoder.width},
        "extracted": fresh,
        "images_per_second": round(fresh / max(seconds, 1e-9), 1),
    }


def _parts_here(
    source: ImageSource,
    encoder: ImageEncoder,
    parts: Mapping[Path, Ints],
    about: dict[str, Any],
    progress: tqdm[Any],
) -> Iterator[Path]:
    """Make part files of the images at some rows, and yield each."""
    began, count, total = time.perf_counter(), 0, sum(map(len, parts.values()))
    for path, rows in parts.items():
        found = []
        for one in in_order(lambda row: encoded(source, row, encoder), rows.tolist(), AHEAD * cpus()):
            found.append(one)
            progress.update(1)
            count += 1
            if count == FIRST:
                each = (time.perf_counter() - began) / FIRST
                log.info("embedding takes about %s", duration_text(each * total))
        _save(path, source, found, encoder.width, about)
        yield path


def _parts_by_tasks(
    run: RunFolder,
    source: str,
    parts: Mapping[Path, Ints],
    about: dict[str, Any],
    progress: tqdm[Any],
    runner: Runner,
) -> Iterator[Path]:
    """Let part files of the images at some rows be made by tasks, and yield each; `source` is its fingerprint."""
    threads = runner.capacity(None).each.threads
    tasks = {
        Task(
            f"part {path.stem[-5:]} of the embeddings",
            partial(_embed_part, rows.tolist(), about, source, threads),
            (run.json_path.absolute(),),
            path.absolute(),
        ): path
        for path, rows in parts.items()
    }
    for task, error in runner.run(list(tasks)):
        if error is not None:
            raise error
        progress.update(len(parts[tasks[task]]))
        yield tasks[task]
    remove_temporaries(run.embeddings)  # of processes that were killed


def _embed_part(
    rows: Sequence[int],
    about: dict[str, Any],
    source: str,
    threads: int,
    inputs: Sequence[Path],
    output: Path,
) -> None:
    """Embed images of the source that a run folder names by the pretrained network, into one part file."""
    images, network = _source_of(inputs[0].parent, source), _network()
    found = in_order(lambda row: encoded(images, row, network), rows, AHEAD * threads, threads)
    _save(output, images, list(found), network.width, about)


@cache
def _source_of(path: Path, fingerprint: str) -> ImageSource:
    """Open the source of a run, once in a process.

    Raises:
        SourceError: it is not there, or has other images.
    """
    run = RunFolder.open(path)
    opened = open_recorded(run, SourceOptions.from_json(run.source.options))
    if not isinstance(opened, ImageSource) or opened.fingerprint != fingerprint:
        raise SourceError(
            f"{run.source.spec} holds other images on {socket.gethostname()} than where the run was begun; "
            "let all machines see the same"
        )
    return opened


@cache
def _network() -> PretrainedNetwork:
    return PretrainedNetwork()


def encoded(source: ImageSource, row: int, encoder: ImageEncoder) -> _Encoded:
    """Read, decode and encode one image; a failure is returned as a reason, never raised."""

    def encode(image: Bytes) -> _Encoded:
        held = len(raw) if isinstance(raw, bytes) else raw.nbytes
        width, height, _ = measures(raw, source.decoding)
        return _Encoded(row, content_hash(raw), (width, height, held), encoder.vector(image))

    try:
        raw = source.read(row)
        return decode_for(raw, source.decoding, encode, encoder.least)
    except (OSError, Unreadable) as error:
        return _Encoded(row, reason=reason_of(error))


def seconds_each(source: ImageSource, encoder: ImageEncoder, rows: Ints) -> float:
    """Return the seconds in which one thread of a free machine reads, decodes and encodes an image.

    Args:
        source, encoder, rows: see `embed_each`.
    """
    sample = rows[np.linspace(0, len(rows) - 1, min(len(rows), TIMED)).astype(int)].tolist()
    encoded(source, sample[0], encoder)  # the first one takes longer
    timer = IdleTimer()
    for row in sample:
        encoded(source, row, encoder)
    return timer.seconds / len(sample)


def _save(
    path: Path, source: ImageSource, found: Sequence[_Encoded], width: int, about: dict[str, Any]
) -> None:
    """Write a part file, with the rejected images in its metadata."""
    part, gone = _part(source, found, width)
    save_part(path, part, {**about, REJECTED: list(map(astuple, gone))} if gone else about)


def _rejected(path: Path) -> list[Rejected]:
    return [Rejected(*one) for one in read_metadata(path).get(REJECTED, [])]


def _part(source: ImageSource, found: Sequence[_Encoded], width: int) -> tuple[Part, list[Rejected]]:
    """Return a part of the images that have a vector with a direction, and the others with the reason."""
    unread = [Rejected(source.ids[one.row], one.row, one.reason) for one in found if one.vector is None]
    read = [one for one in found if one.vector is not None]
    rows = np.array([one.row for one in read], np.int64)
    part = Part(
        ids=[source.ids[row] for row in rows],
        rows=rows,
        paths=[source.paths[row] for row in rows],
        labels=np.full(len(rows), -1, np.int64) if source.labels is None else source.labels[rows],
        hashes=[one.hash for one in read],
        layers={"end": np.array([one.vector for one in read], np.float32).reshape(-1, width)},
        sizes=np.array([one.size for one in read], np.int64).reshape(-1, 3),
    )
    left, flawed = without_flaws(part)
    return left, sorted([*unread, *flawed], key=lambda one: one.row)


def _is_unchanged(
    run: RunFolder, source: ImageSource, path: Path, origin: Origin, stamps: Mapping[str, str]
) -> bool:
    """Return whether the images of a part file are still the same, and say which is not.

    Raises:
        StageError: it is of another origin; or an image has changed, and there is more that was made of it.
    """
    table, about = read_checked(path, part_layout())
    if about["origin"] != origin.fingerprint:
        raise StageError(
            f"{path} was made with other settings or of other images; delete it to embed them again"
        )
    if source.stamps is not None and all(
        stamp != "" and stamp == stamps.get(name)
        for name, stamp in ((source.ids[row], source.stamps[row]) for row in table["row"].to_pylist())
    ):
        return True
    now = in_order(lambda row: _hash(source, row), table["row"].to_pylist(), AHEAD * cpus())
    for name, before, after in zip(table["id"].to_pylist(), table["hash"].to_pylist(), now, strict=True):
        if before != after:
            changed = f"the image {name!r} has changed since {path} was made of it ({after})"
            if run.nothing_finished:
                log.warning(
                    "%s; the %s of that file are embedded again", changed, counted(len(table), "image")
                )
                return False
            raise StageError(
                f"{changed}; bring it back, or delete {path.name} in {path.parent} to embed its {len(table):,} images "
                "again"
            )
    return True


def _hash(source: ImageSource, row: int) -> str:
    """Return the hash of an image's content, or why it can't be read."""
    try:
        return content_hash(source.read(row))
    except (OSError, Unreadable) as error:
        return reason_of(error)
