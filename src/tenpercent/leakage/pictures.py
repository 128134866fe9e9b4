"""Search by perceptual hash for training images that show a test image's picture, whatever the vectors say."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..data.sources.perceptual import BITS, SAME, Greys, SmallPictures, bits_apart
from ..data.store.embeddings import Ints, in_batches

Singles = npt.NDArray[np.float32]

BLOCK = 1024  # test images compared at a time …
COLUMNS = 8192  # … with this many training images
CANDIDATES = 3  # training images that a test image is overlaid on, the most similar coarse pictures
COARSE = 8  # pixels a side of a coarse picture

# Where many different images look alike, as photographs of shirts on black do, few bits show nothing. So a pair must be
# nearer by MARGIN than the distance within which COMMON of the training images lie, SEVERAL of them at least, so that
# copies of one image don't count as common. LEAST is JPEG's effect on any image.
COMMON, SEVERAL, MARGIN, LEAST = 0.005, 50, 58, 14
ASKED = 4096  # training images that this distance is measured on, evenly spaced


def same_pictures(
    test: SmallPictures, train: SmallPictures, near: tuple[Ints, Ints]
) -> tuple[Ints, Ints, Ints]:
    """Return the pairs of a test and a training image that are one picture.

    Every pair whose hashes differ in few enough bits is found, mirrored or not. A cropped copy has another hash: it is
    found where it is among the training images that a test image is overlaid on, those with the most similar coarse
    pictures and `near`.

    Args:
        test, train: the images of both sets.
        near: positions of pairs to look at in any case, such as the nearest by vector.

    Returns:
        Positions in the test set, positions in the training set, and in how many bits they differ; by position.
    """
    mirrored = test.mirrored()
    equal, likest = _search((test, mirrored), train)
    pairs = np.unique(np.concatenate([np.stack(found) for found in (equal, likest, near)], axis=1), axis=1)
    bits = bits_apart(test.take(pairs[0]), train.take(pairs[1]))
    same = bits <= _limits((test, mirrored), train)[pairs[0]]
    return pairs[0][same], pairs[1][same], bits[same]


def _search(
    ways: tuple[SmallPictures, SmallPictures], train: SmallPictures
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """Return the pairs of near hashes, and for each test image those of the most similar coarse pictures."""
    coarse = _coarse(train.greys)
    equal, likest = [], []
    for rows in in_batches(len(ways[0]), BLOCK):
        some = [way.take(np.arange(rows.start, rows.stop)) for way in ways]
        signs, small = [_signs(way) for way in some], [_coarse(way.greys) for way in some]
        best = np.empty((2, rows.stop - rows.start, 0))  # similarity and position
        for columns in in_batches(len(train), COLUMNS):
            theirs = _signs(train.take(np.arange(columns.start, columns.stop))).T
            i, j = np.nonzero(np.maximum(signs[0] @ theirs, signs[1] @ theirs) >= BITS - 2 * SAME)
            equal.append((i + rows.start, j + columns.start))
            like = np.maximum(small[0] @ coarse[columns].T, small[1] @ coarse[columns].T)
            top = np.argpartition(-like, min(CANDIDATES, len(theirs.T)) - 1, axis=1)[:, :CANDIDATES]
            found = np.stack([np.take_along_axis(like, top, axis=1), top + columns.start])
            best = np.concatenate([best, found], axis=2)
        order = np.argsort(-best[0], axis=1, kind="stable")[:, :CANDIDATES]
        j = np.take_along_axis(best[1], order, axis=1).astype(np.int64).reshape(-1)
        likest.append((np.repeat(np.arange(rows.start, rows.stop), order.shape[1]), j))
    return _joined(equal), _joined(likest)


def _joined(parts: list[tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    i, j = np.concatenate([np.stack(part) for part in parts], axis=1).astype(np.int64)
    return i, j


def _limits(ways: tuple[SmallPictures, SmallPictures], train: SmallPictures) -> Ints:
    """Return the number of bits in which each test image may differ from a copy of it: int64[n]."""
    places = np.unique(np.linspace(0, len(train) - 1, min(len(train), ASKED)).round().astype(np.int64))
    rank = round(max(COMMON, SEVERAL / len(train)) * len(places))
    if rank >= len(places):
        return np.full(len(ways[0]), SAME, dtype=np.int64)
    some = _signs(train.take(places))
    limits = []
    for rows in in_batches(len(ways[0]), BLOCK):
        agree = np.maximum(*(_signs(way.take(np.arange(rows.start, rows.stop))) @ some.T for way in ways))
        usual = (BITS - np.partition(agree, len(places) - 1 - rank, axis=1)[:, len(places) - 1 - rank]) / 2
        limits.append(np.clip(usual - MARGIN, LEAST, SAME))
    return np.concatenate(limits).astype(np.int64)


def _signs(images: SmallPictures) -> Singles:
    """Return the hashes as −1 and 1, so that a product counts equal bits; 0 for flat images: float32[n, 256]."""
    signs = np.where(images.hashes, np.float32(1), np.float32(-1))
    signs[images.flat()] = 0
    return signs


def _coarse(greys: Greys) -> Singles:
    """Return coarse pictures of mean 0 and length 1: float32[n, 64]."""
    n, side, _ = greys.shape
    step = side // COARSE
    means = greys.reshape(n, COARSE, step, COARSE, step).mean(axis=(2, 4), dtype=np.float32).reshape(n, -1)
    means -= means.mean(axis=1, keepdims=True)
    return np.asarray(
        means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-6), dtype=np.float32
    )
