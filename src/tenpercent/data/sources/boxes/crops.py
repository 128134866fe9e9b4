"""Boxes as images: each cut out of its image with a margin around it."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from math import ceil, floor
from threading import Lock

import numpy as np

from ...decoding.decode import RGB, decode
from ..options import Decoding
from ..source import Unreadable
from .annotated import Annotated

MARGIN = 0.1  # of a box's width and height, on each side, as far as the image reaches
HELD = 2**28  # bytes of decoded images kept for the boxes to come; the last one always


class Crops:
    """Boxes of annotated images, as pixels; called by several threads at once.

    Boxes of one image follow each other, so each image is decoded once.
    """

    def __init__(self, annotated: Annotated, decoding: Decoding, *, follow_links: bool) -> None:
        """Take the images, and how they are read."""
        self._annotated, self._decoding = annotated, decoding
        self._read = annotated.reader(follow_links=follow_links)
        self._decoded: OrderedDict[tuple[int, int | str], Future[RGB]] = OrderedDict()
        self._lock = Lock()

    def __call__(self, box: int) -> RGB:
        """Return the pixels of a box, uint8[h, w, 3], upright.

        Raises:
            OSError, Unreadable: its image can't be read, or has another size than its annotations say; the box is a
                crowd, has no area, or lies outside the image.
        """
        found, image = self._annotated, int(self._annotated.image[box])
        if found.crowd[box]:
            raise Unreadable("a region of several objects (crowd), not an object")
        pixels = self._pixels(image)
        height, width = pixels.shape[:2]
        said = tuple(found.sizes[image].tolist())
        if all(said) and said != (width, height):
            raise Unreadable(
                f"the image has {width} × {height} pixels, upright, and {said[0]} × {said[1]} in its annotations"
            )
        left, top, right, bottom = found.edges(box, width, height)
        if not (right > left and bottom > top):
            raise Unreadable(f"the box has no area: {right - left:g} × {bottom - top:g} pixels")
        if left >= width or top >= height or right <= 0 or bottom <= 0:
            raise Unreadable(
                f"the box lies outside the image of {width} × {height} pixels: {left:g} to {right:g}, "
                f"{top:g} to {bottom:g}"
            )
        across, down = MARGIN * (right - left), MARGIN * (bottom - top)
        # Rounded first: fractions of a side give 9.999999 pixels for 10.
        columns = slice(floor(round(max(left - across, 0), 6)), ceil(round(min(right + across, width), 6)))
        rows = slice(floor(round(max(top - down, 0), 6)), ceil(round(min(bottom + down, height), 6)))
        return np.ascontiguousarray(pixels[rows, columns])

    def _pixels(self, image: int) -> RGB:
        """Return the pixels of an image as its file is now, decoded by the first thread that asks."""
        key = image, self._annotated.stamp(image)
        with self._lock:
            known = self._decoded.get(key)
            future = known or self._decoded.setdefault(key, Future())
            self._decoded.move_to_end(key)
        if known is None:
            try:
                future.set_result(decode(self._read(image), self._decoding))
            except BaseException as error:  # noqa: BLE001 – each thread that waits for it gets the same
                future.set_exception(error)
                if not isinstance(error, Unreadable):  # it may be readable the next time
                    with self._lock:
                        self._decoded.pop(key, None)
            self._make_room()
        return future.result()

    def _make_room(self) -> None:
        """Forget the images that were asked for longest ago."""
        with self._lock:
            while len(self._decoded) > 1 and sum(map(_bytes, self._decoded.values())) > HELD:
                self._decoded.popitem(last=False)


def _bytes(pixels: Future[RGB]) -> int:
    """Return the memory of an image; of one that can't be read little more than its reason."""
    return pixels.result().nbytes if pixels.done() and pixels.exception() is None else 2**16
