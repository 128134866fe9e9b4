"""Rules for the image that represents a group: values of images, of which the largest of a group wins.

Values are made for the images that share a group, when they are needed; sharpness is stored in the run folder.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from ..data.decoding.decode import decode_for
from ..data.decoding.levels import RGB
from ..data.decoding.pillow import open_image, quiet
from ..data.sources.source import ImageSource, Raw, Unreadable, content_hash
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.files import write_table
from ..data.store.tables import Column, Layout, read_checked
from ..errors import RunFolderError, StageError, UsageError
from ..progress import bar
from ..tree.cut import COLUMN, Rule
from ..tree.merges import Merges
from ..tree.steps import Floats
from .stored import OpenRun

log = logging.getLogger("tenpercent")

Values = Callable[[Ints], Floats]

FORMAT = 1
SIDE = 512  # pixels of the longer side at which sharpness is measured, whatever the image's own
EXIF, TAKEN, FRACTION = (
    0x8769,
    36867,
    37521,
)  # tags: the block of the camera, DateTimeOriginal, its part of a second


class _About(TypedDict):
    format: int


_LAYOUT = Layout((Column("hash", pa.string()), Column("sharpness", pa.float64(), lowest=0)), _About, FORMAT)


@dataclass(frozen=True, eq=False)
class Preference:
    """Values of images, each made once.

    Attributes:
        make: positions, int64[k] -> their values, float64[k], nan where an image has none.
        values: float64[n], those made so far.
        made: bool[n], which are.
    """

    make: Values
    values: Floats = field(repr=False)
    made: np.ndarray[tuple[int], np.dtype[np.bool_]] = field(repr=False)

    def __call__(self, positions: Ints) -> Floats:
        """Return the values of images: float64[k]."""
        new = np.unique(positions[~self.made[positions]])
        if len(new):
            self.values[new] = self.make(new)
            self.made[new] = True
        return self.values[positions]


def preferring(merges: Merges, rule: str, run: OpenRun | None = None) -> Merges:
    """Return merges whose groups are represented by a rule.

    Args:
        merges: the tree.
        rule: a `Rule`, or ``column:NAME``.
        run: the run folder; None for merges alone, which know the sizes of images at most.

    Raises:
        UsageError: the source has no such values.
        StageError: an older run folder that does not store them.
    """
    embeddings = merges.embeddings
    if rule == Rule.CENTRE:
        return merges
    n = len(embeddings)
    preference = Preference(_values(embeddings, rule, run), np.full(n, np.nan), np.zeros(n, dtype=np.bool_))
    return replace(merges, embeddings=replace(embeddings, preference=preference))


def _values(embeddings: Embeddings, rule: str, run: OpenRun | None) -> Values:
    if rule == Rule.LARGEST and embeddings.sizes is not None:
        pixels = embeddings.sizes[:, 0] * embeddings.sizes[:, 1]
        return lambda positions: pixels[positions].astype(np.float64)
    if run is None:
        raise UsageError(
            f"representative is {rule!r}, which needs the images; give the run folder, not merges"
        )
    found = run.present()
    if found is None:
        raise UsageError(
            f"representative is {rule!r}, but {run.folder.source.spec} holds vectors without images; "
            "leave it out, or name the column of images"
        )
    source = found[0]
    if rule.startswith(COLUMN):
        return _column(source, embeddings, rule.removeprefix(COLUMN))
    if rule == Rule.LARGEST:
        raise StageError(
            f"{run.folder.path} was made by an older version, which did not store the sizes of images; embed again: "
            f"{run.folder.command()} --reread"
        )
    if rule == Rule.SHARPEST:
        return _sharpnesses(source, embeddings, run.folder.sharpness)
    sign = 1.0 if rule == Rule.NEWEST else -1.0
    return lambda positions: (
        sign * np.asarray([_taken(source, row) for row in embeddings.rows[positions].tolist()])
    )


# ---- sharpness -----------------------------------------------------------------------------------------------------


def sharpness(pixels: RGB) -> float:
    """Return the variance of the Laplacian of an image in grey, its longer side scaled to 512 pixels."""
    grey = Image.fromarray(pixels).convert("L")
    scale = SIDE / max(grey.size)
    width, height = (max(3, round(side * scale)) for side in grey.size)
    values = np.asarray(grey.resize((width, height), Image.Resampling.LANCZOS), dtype=np.int64)
    middle = values[1:-1, 1:-1]
    around = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float(np.var(around - 4 * middle))


def _sharpnesses(source: ImageSource, embeddings: Embeddings, path: Path) -> Values:
    """Return a function for sharpness, by the content of the images, stored in a file."""
    known: dict[str, float] = {}
    if path.is_file():
        table, _ = read_checked(path, _LAYOUT)
        known = dict(zip(table["hash"].to_pylist(), table["sharpness"].to_pylist(), strict=True))
    hashes = embeddings.hashes

    def measured(position: int) -> float:
        try:
            raw = source.read(int(embeddings.rows[position]))
            if hashes is not None and content_hash(raw) != hashes[position]:
                return np.nan  # another image by now
            return decode_for(raw, source.decoding, sharpness, SIDE)
        except (OSError, Unreadable):
            return np.nan  # said with the selection

    def values(positions: Ints) -> Floats:
        names = [str(at) for at in positions.tolist()] if hashes is None else hashes[positions].tolist()
        new = [at for at, name in zip(positions.tolist(), names, strict=True) if name not in known]
        with (
            bar(len(new), "Measuring sharpness", f"{source.noun}s") as shown,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            found = []
            for value in pool.map(measured, new):
                found.append(value)
                shown.update(1)
        own = dict(zip(new, found, strict=True))
        if hashes is not None and new:
            stored = {str(hashes[at]): value for at, value in own.items() if not np.isnan(value)}
            known.update(stored)
            _store(path, known)
        return np.asarray(
            [
                own[at] if at in own else known[name]
                for at, name in zip(positions.tolist(), names, strict=True)
            ]
        )

    return values


def _store(path: Path, known: dict[str, float]) -> None:
    names = sorted(known)
    table = pa.table({"hash": names, "sharpness": pa.array([known[name] for name in names], pa.float64())})
    try:
        write_table(path, table, {"format": FORMAT}, checksums=True)
    except RunFolderError as error:  # as on a read-only disk: the next cut reads the images again
        log.warning("the sharpness of images is not stored: %s", error)


# ---- times ---------------------------------------------------------------------------------------------------------


def _taken(source: ImageSource, row: int) -> float:
    """Return when an image was taken, by its EXIF block, else the time of its file; nan where there is neither."""
    try:
        time = _taken_by_camera(source.read(row), source.decoding.max_pixels)
        path = source.paths[row]
        if time is not None or path is None or source.folder is None:
            return np.nan if time is None else time
        local = datetime.fromtimestamp((source.folder / path).stat().st_mtime)  # as cameras write it
        return local.replace(tzinfo=UTC).timestamp()
    except (OSError, Unreadable):
        return np.nan  # said with the selection


def _taken_by_camera(raw: Raw, max_pixels: int) -> float | None:
    """Return the EXIF block's DateTimeOriginal in seconds, of whatever place the camera was set to."""
    if not isinstance(raw, bytes):
        return None
    try:
        with quiet(max_pixels):
            image = open_image(raw)
            if image is None:
                return None
            with image:
                block = image.getexif().get_ifd(EXIF)
        taken = datetime.strptime(str(block[TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        return taken.timestamp() + float("0." + (str(block.get(FRACTION, "")).strip("\0 ") or "0"))
    except Exception:  # noqa: BLE001 – Pillow raises nearly anything on broken blocks: those say no time
        return None


# ---- columns -------------------------------------------------------------------------------------------------------


def _column(source: ImageSource, embeddings: Embeddings, name: str) -> Values:
    """Return a function for the values of a table's column.

    Raises:
        UsageError: the source is not a table, or has no such column of numbers or times.
    """
    if source.columns is None:
        raise UsageError(
            f"representative is {COLUMN + name!r}, but {source.spec} is not a table; give one of {', '.join(Rule)}"
        )
    schema = source.columns(embeddings.rows[:1]).schema
    kind = schema.field(name).type if name in schema.names else None
    if kind is None or not (pa.types.is_primitive(kind) or pa.types.is_decimal(kind)):
        what = "is not there" if kind is None else f"holds {kind}"
        numbers = [one.name for one in schema if pa.types.is_primitive(one.type)]
        raise UsageError(
            f"column {name} of {source.spec} {what}; a representative is chosen by numbers or times: "
            f"{', '.join(numbers) or 'it has no such column'}"
        )

    def values(positions: Ints) -> Floats:
        assert source.columns is not None
        rows = embeddings.rows[positions]
        order = np.argsort(rows)
        found = [_numbers(batch.column(name)) for batch in source.columns(rows[order])]
        by_row = np.empty(len(rows))
        by_row[order] = np.concatenate(found)
        return by_row

    return values


def _numbers(column: pa.Array) -> Floats:
    if pa.types.is_temporal(column.type):
        column = column.cast(pa.int64()) if column.type.bit_width == 64 else column.cast(pa.int32())
    return np.asarray(
        pc.cast(column, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64
    )
