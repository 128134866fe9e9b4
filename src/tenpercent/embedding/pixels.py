"""Images as pixels of one size: each is read, hashed and decoded once, and kept in memory where they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, tee
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch
from PIL import Image, ImageOps

from ..data.decoding.decode import Unreadable, decode_for
from ..data.sources.source import ImageSource, content_hash
from ..data.store.rejected import Rejected
from ..errors import SourceError, TenpercentError, bytes_text, reason_of
from ..linkage.threads import cpus
from ..progress import bar
from .networks import Size
from .reading import check_most, in_order
from .settings import LARGE, SMALL

CHUNK = 16  # images per thread and turn while scanning
AHEAD = 512  # images of one size decoded ahead, at most
AHEAD_BYTES = 100_000_000

Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pixels:
    """Images of one size, uint8 RGB, in memory or decoded on demand: the same values either way.

    Attributes:
        source: the source of the images.
        rows: int64[m], the row of each in the source.
        size: height and width, the same for all.
        native: whether all of them have that size in the source.
        kept: uint8[m, h, w, 3], or None where they are decoded on demand.
        limit: the memory limit for them, in bytes.
    """

    source: ImageSource = field(repr=False)
    rows: Ints = field(repr=False)
    size: Size
    native: bool
    kept: Bytes | None = field(repr=False)
    limit: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def noun(self) -> str:
        """What one image is called: see `ImageSource.noun`."""
        return self.source.noun

    @property
    def in_memory(self) -> bool:
        """True if all pixels are kept in memory."""
        return self.kept is not None

    def describe(self) -> str:
        """Return in words their number and size, and whether they are in memory."""
        return describe(len(self), self.size, self.in_memory, self.limit)

    def batch(self, indices: npt.ArrayLike) -> torch.Tensor:
        """Return the images at `indices` (positions, 0 to m − 1) as uint8 [k, 3, h, w], channels last in memory.

        Raises:
            TenpercentError: an image that was readable before can't be read any more.
        """
        positions = np.asarray(indices, dtype=np.int64)
        if self.kept is not None:
            return _as_batch(self.kept[positions])
        return next(self.batches([positions]))

    def batches(self, order: Iterable[Ints]) -> Iterator[torch.Tensor]:
        """Yield `batch(indices)` for each of `order`; what is not in memory is decoded ahead by threads.

        Raises:
            TenpercentError: an image that was readable before can't be read any more.
        """
        if self.kept is not None:
            for indices in order:
                yield self.batch(indices)
            return
        ahead = max(1, min(AHEAD, AHEAD_BYTES // (3 * self.size[0] * self.size[1])))
        for images in self._ahead(order, lambda image: fit(image, self.size), ahead):
            yield _as_batch(np.stack(images))

    def originals(self, order: Iterable[Ints], transform: Callable[[Bytes], Any]) -> Iterator[list[Any]]:
        """Yield for each of `order` a list of `transform(image)`, the image uint8[h, w, 3] at its own size.

        Threads run `transform` ahead of the caller. Images are decoded again unless native ones are in memory.

        Raises:
            TenpercentError: an image that was readable before can't be read any more.
        """
        yield from self._ahead(order, transform, ahead=4 * cpus())

    def _ahead(
        self, order: Iterable[Ints], transform: Callable[[Bytes], Any], ahead: int
    ) -> Iterator[list[Any]]:
        ours, theirs = tee(order)
        positions = (position for indices in theirs for position in np.asarray(indices).tolist())
        with closing(in_order(lambda position: self.made(position, transform), positions, ahead)) as images:
            for indices in ours:
                yield list(islice(images, len(indices)))

    def made(self, position: int, transform: Callable[[Bytes], Any]) -> Any:
        """Return ``transform(image)`` of one image, uint8[h, w, 3] at its own size.

        Raises:
            TenpercentError: it was readable before and can't be read any more.
        """
        if self.kept is not None and self.native:
            return transform(np.asarray(self.kept[position]))
        row = int(self.rows[position])
        try:
            raw = self.source.read(row)
        except (OSError, Unreadable) as error:
            raise self._gone(row, error) from None
        try:
            return decode_for(raw, self.source.decoding, transform)
        except Unreadable as error:
            raise self._gone(row, error) from None

    def _gone(self, row: int, error: Exception) -> TenpercentError:
        return TenpercentError(
            f"the image {self.source.ids[row]!r} could be read before, but not now ({reason_of(error)}); leave "
            "the source unchanged while it is embedded, then run the same command again"
        )


@dataclass(frozen=True, eq=False)
class Scan:
    """Result of one pass over the images.

    Attributes:
        rows: int64[m], the readable rows, in the requested order.
        hashes: str[m], blake2b-128 of each image's bytes; of shape, dtype and values for arrays.
        sizes: int64[m, 2], height and width of each.
        file_bytes: int64[m], the bytes of each in the source.
        rejected: the others.
        pixels: the pixels of the readable ones, at one size.
    """

    rows: Ints
    hashes: tuple[str, ...]
    sizes: Ints
    file_bytes: Ints
    rejected: tuple[Rejected, ...]
    pixels: Pixels

    @property
    def alike(self) -> bool:
        """True if all images have one size in the source."""
        return bool((self.sizes == self.sizes[:1]).all())


@dataclass(frozen=True, eq=False, slots=True)  # there is one an image
class _DecodedImage:
    """Image read by a thread: its pixels, or the reason why there are none."""

    row: int
    hash: str = ""
    size: Size = (0, 0)
    file_bytes: int = 0
    pixels: Bytes | None = None
    reason: str = ""


def scan(
    source: ImageSource,
    rows: Ints,
    *,
    memory_limit: int | None = None,
    large: bool = True,
    side: int | None = None,
    size: Size | None = None,
) -> Scan:
    """Read, hash and decode the images at `rows` once, and keep their pixels where they fit into memory.

    All pixels are scaled to one size, which depends on the images alone:

    - all of one size and at most 64 pixels on the larger side: unchanged;
    - different, but none above 64: the most common size (of equally common ones the smallest); the others are
      scaled to cover it and cropped at the centre;
    - any above 64: `side` on the shorter side, and a square crop at the centre.

    Args:
        source: the images.
        rows: int64[n], rows of the images, each once.
        memory_limit: bytes the pixels may take; None for half of the free memory.
        large: False keeps no pixels once an image is above 64: for encoders with transforms of their own.
        side: pixels; None for 256.
        size: a fixed size instead, such as that of the images that a network was trained on.

    Raises:
        SourceError: there are no rows.
        TenpercentError: more than half of the images can't be read.
    """
    if len(rows) == 0:
        raise SourceError(f"{source.spec} has no images to embed; name a source that has some")
    source = source.reading(rows)
    limit = memory_for_pixels() if memory_limit is None else memory_limit
    square = size or (side or LARGE, side or LARGE)
    smallest = 0 if size else SMALL  # up to it images wait for the size that most have
    store = _PixelStore(len(rows), limit, large)
    images: list[_DecodedImage] = []
    rejected: list[Rejected] = []
    chunks = (rows[start : start + CHUNK].tolist() for start in range(0, len(rows), CHUNK))
    with bar(len(rows), "reading", f"{source.noun}s") as progress:
        for chunk in in_order(
            lambda part: [look(source, row, square, smallest) for row in part], chunks, ahead=4 * cpus()
        ):
            for found in chunk:
                if found.pixels is None:
                    rejected.append(Rejected(source.ids[found.row], found.row, found.reason))
                else:
                    store.add(found.pixels, large=max(found.size) > smallest)
                    images.append(_DecodedImage(found.row, found.hash, found.size, found.file_bytes))
            progress.update(len(chunk))
    check_most(rejected, len(rows), source, "can't be read")
    sizes = np.asarray([found.size for found in images], dtype=np.int64).reshape(-1, 2)
    readable = np.asarray([found.row for found in images], dtype=np.int64)
    size = size or (canvas((found.size for found in images), square) if images else square)
    native = bool((sizes == size).all())
    pixels = Pixels(source, readable, size, native, store.finish(size), limit)
    file_bytes = np.asarray([found.file_bytes for found in images], dtype=np.int64)
    return Scan(readable, tuple(found.hash for found in images), sizes, file_bytes, tuple(rejected), pixels)


def memory_for_pixels() -> int:
    """Return the bytes that pixels may take: half of the free memory."""
    return int(psutil.virtual_memory().available // 2)


def describe(count: int, size: Size, in_memory: bool, limit: int) -> str:
    """Return in words the number and size of images, and whether they are kept in memory."""
    needed = count * 3 * size[0] * size[1]
    what = f"{count:,} images of {size[1]}×{size[0]} pixels ({bytes_text(needed)})"
    if in_memory:
        return f"{what}, decoded once into memory"
    if needed <= limit:
        return f"{what}, decoded when needed"
    return f"{what}, decoded when needed: half of the free memory is {bytes_text(limit)}"


def canvas(sizes: Iterable[Size], square: Size) -> Size:
    """Return the one size, height and width, that images of these sizes are scaled to; see `scan`."""
    counts = Counter(sizes)
    if max(max(size) for size in counts) > SMALL:
        return square
    return min(counts, key=lambda size: (-counts[size], size[0] * size[1], size))


def fit(image: Bytes, size: Size) -> Bytes:
    """Return uint8[h, w, 3] of `size`: scaled to cover it (bicubic, antialiased), then cropped at the centre."""
    if image.shape[:2] == size:
        return image
    scaled = ImageOps.fit(Image.fromarray(image), (size[1], size[0]), method=Image.Resampling.BICUBIC)
    return np.asarray(scaled)


class _PixelStore:
    """Pixels collected in one array for all images; dropped as soon as they can't fit."""

    def __init__(self, total: int, limit: int, large: bool) -> None:
        self._total, self._limit, self._large = total, limit, large
        self._array: Bytes | None = None
        self._square = False  # whether an image was large, so that all are scaled to its size
        self._others: dict[int, Bytes] = {}  # small images of another size than the array's
        self._others_bytes = self._count = 0
        self._dropped = False

    def add(self, pixels: Bytes, *, large: bool) -> None:
        """Add the next readable image: a small one at its own size, a large one scaled to the square."""
        position, self._count = self._count, self._count + 1
        if self._dropped:
            return
        if self._array is None or (large and not self._square):
            self._square = large
            if (large and not self._large) or self._total * pixels.nbytes > self._limit:
                self._drop()
                return
            self._array = self._at((pixels.shape[0], pixels.shape[1]), position, self._total)
        size: Size = self._array.shape[1:3]
        if self._square or pixels.shape[:2] == size:
            self._array[position] = fit(pixels, size)
            return
        self._others[position] = pixels
        self._others_bytes += pixels.nbytes
        if self._others_bytes > self._limit:
            self._drop()

    def finish(self, size: Size) -> Bytes | None:
        """Return the pixels of all images at `size`, uint8[m, h, w, 3], or None where they don't fit."""
        if self._array is None or self._count * 3 * size[0] * size[1] > self._limit:
            return None
        if self._array.shape[1:3] != size:
            return self._at(size, self._count, self._count)
        for position, pixels in self._others.items():
            self._array[position] = fit(pixels, size)
        return self._array[: self._count]

    def _drop(self) -> None:
        self._dropped, self._array, self._others = True, None, {}

    def _at(self, size: Size, count: int, total: int) -> Bytes:
        """Return an array of `total` images at `size`, the first `count` of them filled in."""
        made = np.empty((total, *size, 3), np.uint8)
        for position in range(count):
            assert self._array is not None
            made[position] = fit(self._others.pop(position, self._array[position]), size)
        return made


def look(source: ImageSource, row: int, square: Size, smallest: int = SMALL) -> _DecodedImage:
    """Read and decode one image; failures are returned as a reason, never raised."""

    def decoded(image: Bytes) -> _DecodedImage:
        size = (int(image.shape[0]), int(image.shape[1]))
        small = max(size) <= smallest
        held = len(raw) if isinstance(raw, bytes) else raw.nbytes
        return _DecodedImage(row, content_hash(raw), size, held, image if small else fit(image, square))

    try:
        raw = source.read(row)
        return decode_for(raw, source.decoding, decoded)
    except (OSError, Unreadable) as error:
        return _DecodedImage(row, reason=reason_of(error))


def _as_batch(images: Bytes) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)
