"""Embeddings of a source: ids, labels and vectors in id order, and their part files on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ...errors import StageError, UsageError, counted, nearest
from ...flaws import Codes, Flaw, describe_flaws, flaws_of
from .arrays import Vectors as Vectors
from .arrays import checked_vectors, unshared
from .checks import as_path
from .files import fingerprint
from .ids import AT_ONCE, as_ids, check_unique
from .ids import Strings as Strings
from .ids import row_ids as row_ids
from .labels import label_codes
from .part_files import part_files, part_layout, read_parts, sizes_of, stored_layers
from .rejected import Rejected
from .tables import check, read_about

LAYERS = ("start", "middle", "end")
BLOCK_BYTES = 32 * 2**20  # of vectors checked at a time

Ints = npt.NDArray[np.int64]


EACH = ("ids", "rows", "vectors", "labels", "paths", "hashes", "sizes")  # arrays with one entry an image


@dataclass(frozen=True, eq=False, repr=False)
class Embeddings:
    """One vector per image, in id order.

    Attributes:
        ids: str[n], strictly increasing as strings.
        rows: int64[n], position in the source, counting unreadable images.
        vectors: float32[n, d] as stored, or float64 as given; no row is zero, nan or infinite.
        labels: int64[n], the code of the class, −1 for none; None where the source has no labels.
        class_names: the name of each code.
        paths: str[n], the file within the source, or None where there are no files.
        hashes: str[n], a hash of each image's bytes, or None for ready vectors.
        layer: the layer of the network that the vectors come from.
        origin: a fingerprint of what made the vectors, which `merges.parquet` repeats.
        noun: what one of the images is called, as in `ImageSource.noun`.
        taken: for ready vectors, what was taken from where, as in `ImageSource.taken`.
        length: number of rows of the source, including those without a vector (unreadable, held out); None where
            unknown.
        number_ids: whether the ids were given as whole numbers; they are text here and in files, sorted as text,
            and numbers again where a `Selection` names images.
        shared: whether the vectors lie in memory that others may write to, such as a file's; `check_unchanged`
            then checks whether they did.
        rejected: for ready vectors, the rows that were set aside; `rows` and `length` count them.
        sizes: int64[n, 3], width and height of each image in pixels, as displayed, and the bytes of its file; None
            for ready vectors, and in runs of version 0.1.
        preference: positions, int64[k] -> values, float64[k]: the image of a group with the largest represents it, nan
            being the least; None for the nearest to the centre.
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
    noun: str = "image"
    taken: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    number_ids: bool = False
    shared: bool = False
    rejected: tuple[Rejected, ...] = ()
    sizes: Ints | None = None
    preference: Callable[[Ints], npt.NDArray[np.float64]] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name in EACH:
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
        ids: Sequence[Any] | npt.NDArray[Any] | None = None,
        class_names: Sequence[str] | None = None,
        drop_bad_rows: bool = False,
    ) -> Embeddings:
        """Create embeddings from existing vectors.

        Args:
            vectors: [n, d] of any real dtype; float64 stays so, others become float32. Writable arrays are copied;
                memory maps and arrays that are read-only down to their memory are not, and a selection is refused if
                they have changed since.
            labels: [n] names, bool or whole numbers of any dtype; None, nan and −1 mean no label (−1 and 1 alone are
                two classes). None for no labels.
            ids: [n] text, bytes that are text, paths or whole numbers, unique; None for zero-padded row numbers.
            class_names: the name of each code; where labels are names, all possible names in order. None: one class
                per distinct label, in the order of the numbers or names.
            drop_bad_rows: set aside rows that are zero or contain nan or infinity, in `rejected`, instead of raising.
                The remaining rows are then copied.

        Raises:
            UsageError: wrong rank, dtype or length; nan, infinite or zero rows; a duplicate or missing id; an
                invalid label.
        """
        array, ours = checked_vectors(vectors)
        n = len(array)
        number_ids = False
        if ids is None:
            names, order = row_ids(n), np.arange(n)
        else:
            names, number_ids = as_ids(ids, n)
            order = np.argsort(names, kind="stable")
            check_unique(names[order])
        if bool(np.all(order[1:] > order[:-1])):
            order_or_all: Any = slice(None)  # already in id order: no copy, so a memory map stays one
        else:
            order_or_all, ours, array = order, True, array[order]
        array, shared = (array, False) if ours else unshared(array)
        codes, known = label_codes(labels, class_names, n)
        found = cls(
            ids=names[order_or_all],
            rows=np.arange(n, dtype=np.int64)[order_or_all],
            vectors=array,
            labels=None if codes is None else codes[order_or_all],
            class_names=known,
            length=n,
            number_ids=number_ids,
            shared=shared,
        )
        flaws = np.zeros(n, dtype=np.uint8)
        origin = found._fingerprint(flaws)
        if not flaws.any():
            return replace(found, origin=origin)
        found = found._without(flaws, drop_bad_rows, named=ids is not None)
        return replace(found, origin=found._fingerprint())

    def _without(self, flaws: Codes, drop: bool, named: bool) -> Embeddings:
        """Return the embeddings without the vectors that have a `Flaw`.

        Raises:
            UsageError: they are not to be dropped, or none would be left.
        """
        good = flaws == Flaw.NONE
        if not drop or not good.any():
            place = np.argsort(self.rows)
            said = describe_flaws(flaws[place], (lambda row: self.ids[place[row]]) if named else None)
            remedy = "embed the images again"
            if good.any():
                remedy += ", or set these aside: --drop-bad-rows, from Python drop_bad_rows=True"
            raise UsageError(f"{said}; {remedy}")
        rejected = tuple(
            Rejected(self.ids[at], int(self.rows[at]), f"the vector {Flaw(flaws[at]).reason}")
            for at in np.flatnonzero(~good)
        )
        return replace(
            self,
            ids=self.ids[good],
            rows=self.rows[good],
            vectors=self.vectors[good],
            labels=None if self.labels is None else self.labels[good],
            rejected=rejected,
            shared=False,
        )

    def check_unchanged(self) -> None:
        """Raise `UsageError` where shared vectors changed since `from_numpy`; reads all of them."""
        if self.shared and self._fingerprint() != self.origin:
            raise UsageError(
                "the vectors have changed since Embeddings.from_numpy took them (a memory map or read-only array is "
                "not copied): take them again and cluster again, or give from_numpy a copy"
            )

    def _fingerprint(self, flaws: Codes | None = None) -> str:
        """Return a fingerprint of the ids, labels and vectors themselves: the origin of ready vectors.

        Args:
            flaws: uint8[n], filled with the `Flaw` of each vector; None to skip this check.
        """
        digest = hashlib.blake2b(digest_size=8)
        for part in in_batches(len(self), AT_ONCE):
            names = "\0".join(self.ids[part].tolist())
            digest.update(f"{chr(0) if part.start else ''}{names}".encode("utf-8", "surrogatepass"))
        if self.labels is not None:
            digest.update(self.labels.tobytes())
            digest.update("\0".join(self.class_names).encode("utf-8", "surrogatepass"))
        digest.update(f"{self.vectors.dtype.str}{self.vectors.shape}".encode())
        rows = max(1, BLOCK_BYTES // self.vectors[:1].nbytes)
        with ThreadPoolExecutor(1) as beside:  # one pass for both: vectors may be a file larger than memory
            for part in in_batches(len(self), rows):
                block = self.vectors[part]
                hashed = beside.submit(digest.update, np.ascontiguousarray(block).data)
                if flaws is not None:
                    flaws[part] = flaws_of(block)
                hashed.result()
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def rank(self) -> Ints | None:
        """What decides which of equally central images is the representative, int64[n, 3].

        The columns are pixels, bytes of the file, and the order of the names: a shorter file name first, as copies get
        longer ones (`IMG_1 (1).jpg`), then the smaller id. None where sizes are unknown.
        """
        if self.sizes is None:
            return None
        width, height, size = self.sizes.T
        names = [len(name.rpartition("/")[2]) for name in self.ids.tolist()]
        order = np.empty(len(self), dtype=np.int64)
        order[np.argsort(names, kind="stable")] = np.arange(len(self))
        return np.column_stack([width * height, size, order])

    @property
    def width(self) -> int:
        """Number of values of a vector, d."""
        return int(self.vectors.shape[1])

    def class_name(self, code: int) -> str | None:
        """Return the name of a class, or None for the code −1."""
        return self.class_names[code] if code >= 0 else None

    def __repr__(self) -> str:
        labelled = "no labels"
        if self.labels is not None:
            none = int(np.count_nonzero(self.labels < 0))
            labelled = counted(len(self.class_names), "class") + (
                f", {none:,} without a label" if none else ""
            )
        return (
            f"Embeddings({len(self):,} × {self.width} {self.vectors.dtype}, layer {self.layer!r}, {labelled})"
        )

    # ---- on disk -----------------------------------------------------------------------------------------------

    @classmethod
    def load(cls, folder: Path, layer: str = "end", length: int | None = None) -> Self:
        """Read the part files of a run's ``embeddings`` folder, with the vectors of one layer.

        Args:
            folder: a run folder, or its folder of part files.
            layer: ``start``, ``middle`` or ``end``.
            length: number of rows of the source.

        Raises:
            StageError: there are none, or they are damaged or of a newer format.
            UsageError: they hold no such layer.
        """
        folder = as_path(folder, "a run folder")
        if not folder.is_dir():
            problem = "is a file, not a run folder" if folder.exists() else "does not exist"
            raise StageError(
                f"{folder} {problem}; pass the run folder of: tenpercent embed SOURCE --out RUN (a table or array of "
                "vectors is a SOURCE too)"
            )
        if (folder / "run.json").is_file():
            folder /= "embeddings"
        parts = part_files(folder)
        if not parts:
            raise StageError(
                f"{folder} holds no embeddings; make them with: tenpercent embed SOURCE --out RUN (those of a run of "
                "ready vectors are tp.cluster(RUN).embeddings)"
            )
        read_about(parts[0], part_layout())  # refuses other files of such a name
        layers = stored_layers(parts[0])
        if layer not in layers:
            raise UsageError(
                f"{folder} holds the layers {', '.join(layers)}, not {layer!r}{nearest(layer, layers)}"
            )
        table, about = read_parts(parts, layer)
        ids = np.asarray(table["id"].to_pylist(), dtype=object)
        order = np.argsort(ids, kind="stable")
        ids, rows = ids[order], table["row"].to_numpy()
        check(
            folder,
            (len(ids), "it holds no image"),
            (bool(np.all(ids[1:] != ids[:-1])), "an id occurs twice"),
            (len(np.unique(rows)) == len(rows), "a row of the source occurs twice"),
        )
        flat = np.concatenate(
            [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[layer].chunks]
        )
        paths = np.asarray(table["path"].to_pylist(), dtype=object)
        sizes = sizes_of(table)
        return cls(
            ids=ids,
            rows=rows[order],
            vectors=flat.reshape(len(ids), -1)[order],
            labels=table["label"].to_numpy()[order] if about["labelled"] else None,
            class_names=tuple(about["class_names"]),
            paths=None if all(path is None for path in paths) else paths[order],
            hashes=np.asarray(table["hash"].to_pylist(), dtype=object)[order],
            layer=layer,
            origin=fingerprint({"embeddings": about["origin"], "layer": layer}),
            length=length,
            sizes=None if sizes is None else sizes[order],
        )


def frozen(array: Any) -> Any:
    """Return a read-only view of an array; its owner may still write to it."""
    view = array.view()
    view.flags.writeable = False
    return view


def in_batches(n: int, size: int) -> Iterator[slice]:
    """Yield slices that divide range(n) into batches of `size`."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
