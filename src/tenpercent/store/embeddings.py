"""The embeddings of a source: ids, labels and vectors in id order, and their part files on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import SourceError, StageError, UsageError, nearest
from .files import count_rows, fingerprint, read_columns, read_metadata, write_table

FORMAT = 1
LAYERS = ("start", "middle", "end")
BLOCK_BYTES = 32 * 2**20  # of vectors looked at at a time
MOST_CLASSES = 1_000_000  # unnamed codes beyond are numbers of something else

Strings = npt.NDArray[np.object_]  # Python strings: ids differ in length too much for a fixed width
Ints = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32] | npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """One vector an image, in id order.

    Attributes:
        ids: str[n], strictly increasing as strings.
        rows: int64[n], position in the source, unreadable images counted.
        vectors: float32[n, d] as stored, or float64 as given; no row is zero, nan or infinite.
        labels: int64[n], the code of the class, −1 for none; None where the source has no labels.
        class_names: the name of each code.
        paths: str[n], the file within the source where there is one, else None.
        hashes: str[n], a hash of each image's bytes, or None for ready vectors.
        layer: which layer of the network the vectors come from.
        origin: what made the vectors, a fingerprint that `merges.parquet` repeats.
        taken: of ready vectors, what was taken from where, as `ImageSource.taken` says it.
    """

    ids: Strings
    rows: Ints
    vectors: Vectors
    labels: Ints | None = None
    class_names: tuple[str, ...] = ()
    paths: Strings | None = None
    hashes: Strings | None = None
    layer: str = "end"
    origin: str = ""
    taken: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name in ("ids", "rows", "vectors", "labels", "paths", "hashes"):
            value = getattr(self, name)
            if value is None:
                continue
            if len(value) != n:
                raise UsageError(f"{name} has {len(value)} entries for {n} ids; give one an image")
            object.__setattr__(self, name, frozen(value))
        if not bool(np.all(self.ids[1:] > self.ids[:-1])):
            raise UsageError(
                "ids must be strictly increasing strings; use Embeddings.from_numpy to sort them"
            )

    @classmethod
    def from_numpy(
        cls,
        vectors: npt.ArrayLike,
        *,
        labels: npt.ArrayLike | None = None,
        ids: Sequence[str] | npt.NDArray[Any] | None = None,
        class_names: Sequence[str] | None = None,
    ) -> Embeddings:
        """Take vectors that are there already.

        Args:
            vectors: [n, d] of any real dtype; float64 is taken as it is, others become float32.
            labels: [n] integer codes (−1: none) or names; None for no labels.
            ids: [n] strings, each once; None for the row number, zero-padded.
            class_names: the name of each code, where labels are codes.

        Raises:
            UsageError: wrong rank, dtype or length, a nan, infinite or zero row, a duplicate id.
        """
        array = checked_vectors(vectors)
        n = len(array)
        if ids is None:
            names, order = row_ids(n), np.arange(n)
        else:
            names = as_strings(ids, n)
            order = np.argsort(names, kind="stable")
            check_unique(names[order])
        if bool(np.all(order[1:] > order[:-1])):
            order_or_all: Any = slice(None)  # already in id order: no copy, so a memory map stays one
        else:
            order_or_all = order
        codes, known = label_codes(labels, class_names, n)
        found = cls(
            ids=names[order_or_all],
            rows=np.arange(n, dtype=np.int64)[order_or_all],
            vectors=array[order_or_all],
            labels=None if codes is None else codes[order_or_all],
            class_names=known,
        )
        return replace(found, origin=found._checked_fingerprint())

    def _checked_fingerprint(self) -> str:
        """Return a fingerprint of the ids, labels and vectors themselves: the origin of vectors that were ready.

        Raises:
            UsageError: a row that is zero, or holds nan or infinity.
        """
        digest = hashlib.blake2b(digest_size=8)
        digest.update("\0".join(self.ids.tolist()).encode("utf-8", "surrogatepass"))
        if self.labels is not None:
            digest.update(self.labels.tobytes())
            digest.update("\0".join(self.class_names).encode("utf-8", "surrogatepass"))
        digest.update(f"{self.vectors.dtype.str}{self.vectors.shape}".encode())
        rows = max(1, BLOCK_BYTES // self.vectors[:1].nbytes)
        with ThreadPoolExecutor(
            1
        ) as beside:  # one pass for both: vectors may be a file larger than the memory
            for part in in_batches(len(self), rows):
                block = self.vectors[part]
                hashed = beside.submit(digest.update, np.ascontiguousarray(block).data)
                broken = zero_or_broken_row(block)
                hashed.result()
                if broken is not None:
                    row = part.start + broken[0]
                    raise UsageError(
                        f"the vector of {self.ids[row]!r} (row {self.rows[row]}) {broken[1]}; remove that row or embed "
                        "it again"
                    )
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def width(self) -> int:
        """The number of values of a vector, d."""
        return int(self.vectors.shape[1])

    def class_name(self, code: int) -> str | None:
        """Return the name of a class, or None for the code −1."""
        return self.class_names[code] if code >= 0 else None

    def __repr__(self) -> str:
        labelled = "no labels" if self.labels is None else f"{len(self.class_names)} classes"
        return (
            f"Embeddings({len(self):,} × {self.width} {self.vectors.dtype}, layer {self.layer!r}, {labelled})"
        )

    # ---- on disk -----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path, layer: str = "end") -> Self:
        """Read the part files of a run's ``embeddings`` folder, with the vectors of one layer.

        Raises:
            StageError: there are none, or they are damaged or of a newer format.
            UsageError: they hold no such layer.
        """
        parts = part_files(folder)
        if not parts:
            raise StageError(
                f"{folder} holds no embeddings; make them with: tenpercent embed SOURCE --out RUN"
            )
        about = read_metadata(parts[0])
        if int(about.get("format", 0)) > FORMAT:
            raise StageError(
                f"{parts[0]} has format {about['format']}, this version reads up to {FORMAT}; update tenpercent"
            )
        layers = stored_layers(parts[0])
        if layer not in layers:
            raise UsageError(
                f"{folder} holds the layers {', '.join(layers)}, not {layer!r}{nearest(layer, layers)}"
            )
        columns = ["id", "row", "path", "label", "hash", layer]
        table = pa.concat_tables([read_columns(part, columns) for part in parts])
        ids = np.asarray(table["id"].to_pylist(), dtype=object)
        order = np.argsort(ids, kind="stable")
        flat = np.concatenate(
            [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[layer].chunks]
        )
        paths = np.asarray(table["path"].to_pylist(), dtype=object)
        labelled = bool(about["labelled"])
        return cls(
            ids=ids[order],
            rows=table["row"].to_numpy()[order],
            vectors=flat.reshape(len(ids), -1)[order],
            labels=table["label"].to_numpy()[order] if labelled else None,
            class_names=tuple(about["class_names"]),
            paths=None if all(path is None for path in paths) else paths[order],
            hashes=np.asarray(table["hash"].to_pylist(), dtype=object)[order],
            layer=layer,
            origin=fingerprint({"embeddings": about["origin"], "layer": layer}),
        )


@dataclass(frozen=True)
class Part:
    """A run of consecutive images of the source, embedded: what one part file holds.

    Attributes:
        ids, paths, hashes: str[k]; paths are None where there are no files.
        rows, labels: int64[k]; the label −1 means none.
        layers: the vectors of each layer, float32[k, d].
    """

    ids: Sequence[str]
    rows: Ints
    paths: Sequence[str | None]
    labels: Ints
    hashes: Sequence[str]
    layers: dict[str, npt.NDArray[np.float32]]


def write_part(folder: Path, number: int, part: Part, about: dict[str, Any]) -> None:
    """Write one part file, whole or not at all.

    Args:
        folder: the run's ``embeddings`` folder.
        number: parts are numbered from 0 in the order of the source.
        part: the vectors with their images.
        about: ``origin`` (what made them), ``class_names`` and ``labelled``; the same for all parts.
    """
    columns: dict[str, pa.Array] = {
        "id": pa.array(part.ids, pa.string()),
        "row": pa.array(part.rows, pa.int64()),
        "path": pa.array(part.paths, pa.string()),
        "label": pa.array(part.labels, pa.int64()),
        "hash": pa.array(part.hashes, pa.string()),
    }
    for layer, vectors in part.layers.items():
        flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1), pa.float32())
        columns[layer] = pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])
    write_table(folder / f"part-{number:05d}.parquet", pa.table(columns), {"format": FORMAT, **about})


def part_files(folder: Path) -> list[Path]:
    """Return the whole part files of `folder` in the order of the source."""
    return sorted(folder.glob("part-*.parquet"))


def stored_count(folder: Path) -> int:
    """Return how many images the part files of `folder` hold."""
    return sum(count_rows(part) for part in part_files(folder))


def stored_layers(part: Path) -> list[str]:
    """Return the names of the layers that a part file holds."""
    return [field.name for field in pq.read_schema(part) if pa.types.is_fixed_size_list(field.type)]


# ---- checks at the edge ------------------------------------------------------------------------------------------


def frozen(array: Any) -> Any:
    """Return a view of an array that can't be written to; whoever owns the array may still write to it."""
    view = array.view()
    view.flags.writeable = False
    return view


def row_ids(n: int) -> Strings:
    """Return the row numbers 0 … n−1 as strings, zero-padded so that string order is row order."""
    width = len(str(max(n - 1, 0)))
    codes, rest = np.empty((n, width), dtype=np.uint32), np.arange(n)
    for place in reversed(range(width)):  # digit by digit: formatting each number takes five times as long
        rest, digit = np.divmod(rest, 10)
        codes[:, place] = digit + ord("0")
    return np.asarray(codes.view(f"U{width}")[:, 0], dtype=object)


def as_strings(ids: Sequence[str] | npt.NDArray[Any], n: int) -> Strings:
    """Return `ids` as an object array of Python strings.

    Raises:
        UsageError: not n of them.
    """
    names = np.asarray([str(name) for name in np.asarray(ids, dtype=object).tolist()], dtype=object)
    if len(names) != n:
        raise UsageError(f"there are {len(names)} ids for {n} vectors; give one id a vector")
    return names


def check_unique(sorted_ids: Strings) -> None:
    """Raise `UsageError` naming the first id that occurs twice in `sorted_ids`."""
    twice = np.flatnonzero(sorted_ids[1:] == sorted_ids[:-1])
    if len(twice):
        raise UsageError(
            f"the id {sorted_ids[twice[0]]!r} occurs more than once ({len(twice)} such); "
            "every image needs an id of its own"
        )


def checked_vectors(vectors: npt.ArrayLike) -> Vectors:
    """Return `vectors` as float64 (if they are) or float32 [n, d] in native byte order; a memory map stays one.

    Raises:
        UsageError: not a matrix of real numbers, or an empty one.
    """
    array = vectors if isinstance(vectors, np.ndarray) else np.asarray(vectors)
    if array.ndim != 2:
        raise UsageError(f"vectors have shape {array.shape}; they must be a matrix [n, d], one row an image")
    if array.dtype.kind not in "fiu":
        raise UsageError(f"vectors have dtype {array.dtype}; they must be real numbers (float32, say)")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise UsageError(f"vectors have shape {array.shape}; there must be at least one row and one column")
    wanted: type[np.floating[Any]] = (
        np.float64 if array.dtype.kind == "f" and array.dtype.itemsize >= 8 else np.float32
    )
    return array if array.dtype == np.dtype(wanted) else array.astype(wanted)


def zero_or_broken_row(vectors: Vectors) -> tuple[int, str] | None:
    """Return the first row without a direction and what is wrong with it, or None."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1) | ~vectors.any(axis=1))
    if not len(bad):
        return None
    return int(bad[0]), "holds nan or infinity" if vectors[bad[0]].any() else "is zero and has no direction"


def label_codes(
    labels: npt.ArrayLike | None, class_names: Sequence[str] | None, n: int
) -> tuple[Ints | None, tuple[str, ...]]:
    """Return labels as codes with the name of each code; names become codes in the order of the names.

    Raises:
        UsageError: another length, codes below −1 or beyond the names, or a dtype that is neither.
    """
    if labels is None:
        return None, ()
    array = np.asarray(labels)
    if array.shape != (n,):
        raise UsageError(f"labels have shape {array.shape} for {n} vectors; give one label a vector")
    if array.dtype.kind in "iu":
        codes = array.astype(np.int64)
        if codes.min() < -1:
            raise UsageError(
                f"the label {codes.min()} is below -1; codes count from 0, and -1 means no label"
            )
        highest = int(codes.max())
        if class_names is None and highest >= MOST_CLASSES:
            raise UsageError(
                f"the label {highest} is above {MOST_CLASSES - 1:,}; codes count from 0: number the classes anew, "
                "or give their names as labels"
            )
        names = (
            tuple(str(c) for c in range(highest + 1)) if class_names is None else tuple(map(str, class_names))
        )
        if highest >= len(names):
            raise UsageError(
                f"the label {highest} has no name among {len(names)} class names; give one a class"
            )
        return (None, ()) if highest < 0 else (codes, names)
    if array.dtype.kind in "UO" and all(isinstance(label, str) for label in array.tolist()):
        found, codes = np.unique(array.astype(str), return_inverse=True)
        return codes.astype(np.int64), tuple(map(str, found))
    raise SourceError(f"labels have dtype {array.dtype}; they must be integer codes or names")


def in_batches(n: int, size: int) -> Iterator[slice]:
    """Yield the slices that cut range(n) into batches of `size`."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
