"""Images held out before embedding and selection, for an evaluation on unseen images."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...errors import UsageError
from ..store.embeddings import Ints
from ..store.files import write_table
from ..store.run_folder import RunFolder
from .options import Unit
from .source import ImageSource, hash_of


def split_holdout(source: ImageSource, fraction: float) -> tuple[Ints, Ints]:
    """Split the rows of a source into those to use and those held out, the same fraction of each class.

    Whether an image is held out depends on its id alone, so the order of the source does not matter.

    Returns:
        Two int64 arrays of rows, both ascending.

    Raises:
        UsageError: `fraction` is not in [0, 1).
    """
    if not (isinstance(fraction, (int, float)) and 0 <= fraction < 1):
        raise UsageError(f"--holdout is {fraction}; it must be a fraction from 0 up to, but not including, 1")
    if fraction and source.unit is Unit.OBJECT:
        raise UsageError(
            f"--holdout {fraction:g} would put objects of one image on both sides; leave out --holdout or "
            "--unit object"
        )
    labels = np.zeros(len(source), dtype=np.int64) if source.labels is None else source.labels
    return draw_holdout(source.ids, labels, fraction)


def split_again(source: ImageSource, fraction: float, used: Ints, held: Ints) -> tuple[Ints, Ints]:
    """Split the rows of a source that has changed: known images stay where they are, new ones fill up the hold-out.

    Args:
        source: the source as it is now.
        fraction: as for `split_holdout`.
        used, held: int64[k], rows of images that were used and held out before.

    Returns:
        Two int64 arrays of rows, both ascending.
    """
    drawn = split_holdout(source, fraction)[1]
    labels = np.zeros(len(source), dtype=np.int64) if source.labels is None else source.labels
    new = np.setdiff1d(np.arange(len(source), dtype=np.int64), np.concatenate([used, held]))
    order = new[np.argsort(_draws([source.ids[row] for row in new]), kind="stable")]
    out = [held]
    for label in np.unique(labels[new]):
        wanted = np.count_nonzero(labels[drawn] == label) - np.count_nonzero(labels[held] == label)
        out.append(order[labels[order] == label][: max(wanted, 0)])
    held_out = np.sort(np.concatenate(out))
    return np.setdiff1d(np.arange(len(source), dtype=np.int64), held_out), held_out


def draw_holdout(ids: Sequence[str], labels: Ints, fraction: float) -> tuple[Ints, Ints]:
    """Split positions into those to use and those held out, by a hash of each id; one of each class stays in use.

    Args:
        ids: str[n].
        labels: int64[n], the class of each.
        fraction: of each class, in [0, 1).

    Returns:
        Two int64 arrays of positions, both ascending.
    """
    everything = np.arange(len(ids), dtype=np.int64)
    if not fraction or not len(ids):
        return everything, everything[:0]
    draw = _draws(ids)
    held: list[Ints] = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(math.floor(fraction * len(rows) + 0.5), len(rows) - 1)
        held.append(rows[np.argsort(draw[rows], kind="stable")[:count]])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(everything, out), out


def _draws(ids: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Return a number for each id, drawn by a hash."""
    return np.array(
        [hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest() for name in ids],
        dtype="S8",
    )


def write_holdout(
    folder: RunFolder, source: ImageSource, rows: Ints, known: Mapping[int, str] | None = None
) -> None:
    """Write the images held out: id, row, label, and the hash by which a moved one is recognized.

    Args:
        folder: the run.
        source: all images.
        rows: those held out.
        known: hashes that are known, by row; the other images are read.
    """
    if not len(rows):
        return
    labels = np.full(len(rows), -1, dtype=np.int64) if source.labels is None else source.labels[rows]
    hashes = [(known or {}).get(row) or hash_of(source, row) for row in rows.tolist()]
    table = pa.table(
        {
            "id": [source.ids[row] for row in rows],
            "row": rows,
            "label": labels,
            "hash": pa.array(hashes, pa.string()),
        }
    )
    write_table(folder.holdout, table, {"format": 1, "class_names": list(source.class_names)})
