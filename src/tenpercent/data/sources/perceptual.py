"""Perceptual hashes of images, and the number of bits in which two images differ, robust to common alterations.

Each image is reduced to 32 × 32 grey pixels, whatever its shape: enough for the 256 bits of ImageHash's ``phash`` of
size 16. A copy that was re-encoded, scaled, brightened or converted to grey differs from the original in few bits, but
one cropped by a few per cent in nearly as many as an unrelated image. So images are aligned with each other too
(`alignment.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from .alignment import best_overlap

SIDE = 32
BITS = 256
SAME = 48  # bits up to which two images can be one picture; measured by experiments/leaks_planted.py
SURE = 24  # bits up to which they are near-identical, whatever the rest of the set
TINY = 12  # pixels per side below which an image holds too little for a hash
FLAT = 2.0  # standard deviation in grey levels below which an image has too little detail to be identified
AT_ONCE = 512  # pairs that are aligned together

Greys = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SmallPictures:
    """Reduced images and their hashes, for comparison.

    Attributes:
        greys: uint8[n, 32, 32].
        hashes: bool[n, 256].
    """

    greys: Greys
    hashes: Bools

    def __len__(self) -> int:
        return len(self.greys)

    def take(self, at: Ints) -> SmallPictures:
        """Return the pictures at some positions."""
        return SmallPictures(self.greys[at], self.hashes[at])

    def mirrored(self) -> SmallPictures:
        """Return the pictures mirrored left to right."""
        return SmallPictures.of(np.ascontiguousarray(self.greys[:, :, ::-1]))

    def flat(self) -> Bools:
        """Return which pictures have too little detail to be identified: bool[n]."""
        return np.asarray(self.greys.reshape(len(self), -1).std(axis=1, dtype=np.float64) < FLAT)

    @classmethod
    def of(cls, greys: Greys) -> SmallPictures:
        """Hash small grey images."""
        from imagehash import phash  # takes half the time limit of `import tenpercent`

        hashes = np.empty((len(greys), BITS), np.bool_)
        for row, grey in enumerate(greys):
            hashes[row] = phash(Image.fromarray(grey), hash_size=16, highfreq_factor=2).hash.reshape(-1)
        return cls(greys, hashes)


def small_grey(pixels: npt.NDArray[np.uint8]) -> Greys:
    """Return an image in grey at 32 × 32 pixels; all black, and so flat, if a side has fewer than `TINY` pixels.

    Args:
        pixels: uint8[h, w, 3], as returned by `decode`.
    """
    if min(pixels.shape[:2]) < TINY:
        return np.zeros((SIDE, SIDE), np.uint8)
    return np.asarray(Image.fromarray(pixels).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def bits_apart(one: SmallPictures, other: SmallPictures) -> Ints:
    """Return the number of bits in which two images differ as they are, mirrored, or aligned with a part of the other.

    Args:
        one, other: the images of each of k pairs.

    Returns:
        int64[k], from 0 to 256; 256 where an image is flat.
    """
    apart = np.full(len(one), BITS, dtype=np.int64)
    told = np.flatnonzero(~(one.flat() | other.flat()))
    for start in range(0, len(told), AT_ONCE):
        at = told[start : start + AT_ONCE]
        apart[at] = _apart_at_once(one.take(at), other.take(at))
    return apart


def _apart_at_once(one: SmallPictures, other: SmallPictures) -> Ints:
    found = np.minimum(_differ(one, other), _differ(one.mirrored(), other))
    pairs, part, cut = best_overlap(one.greys, other.greys)
    found[pairs] = np.minimum(found[pairs], _differ(SmallPictures.of(part), SmallPictures.of(cut)))
    return found


def _differ(one: SmallPictures, other: SmallPictures) -> Ints:
    return np.asarray(np.count_nonzero(one.hashes != other.hashes, axis=1), dtype=np.int64)
