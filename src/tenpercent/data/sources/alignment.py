"""Alignment of images that overlap: the box of a crop, found along the gradient (Lucas and Kanade, 1981)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Greys = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST = 0.2  # of a side that a crop may remove at each end
STEP = 0.05  # of a side, the largest step of an edge of the box
STEPS = 8
LIKE = 0.7  # least correlation of the coarse images for the fine ones to be compared


def best_overlap(one: Greys, other: Greys) -> tuple[Ints, Greys, Greys]:
    """Align images with each other: either as a part of the other one, mirrored or not.

    Args:
        one, other: uint8[k, s, s], the images of each pair.

    Returns:
        The pairs that may be one picture, int64[m]; the image of each pair that is the part, and that part of the other
        image, uint8[m, s, s] both.
    """
    mirror = _likeness(one[:, :, ::-1], other) > _likeness(one, other)
    one = np.where(mirror[:, None, None], one[:, :, ::-1], one)
    ways = [(one, other), (other, one)]
    coarse = [align(_half(part), _half(whole)) for part, whole in ways]
    like = np.stack([alike for _, alike in coarse])
    pairs = np.flatnonzero(like.max(axis=0) >= LIKE)
    way = like.argmax(axis=0)[pairs]
    part = np.stack([part for part, _ in ways])[way, pairs]
    whole = np.stack([whole for _, whole in ways])[way, pairs]
    box, _ = align(part, whole, np.stack([box for box, _ in coarse])[way, pairs])
    return pairs, part, np.rint(cut_out(whole, box)).astype(np.uint8)


def align(
    part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic], box: Floats | None = None
) -> tuple[Floats, Floats]:
    """Find the box within each image that looks like another image.

    Args:
        part, whole: [k, s, s].
        box: float64[k, 4], the initial box: top, bottom, left and right as fractions of the sides; None for all of it.

    Returns:
        The boxes, and the correlation of each with the part: float64[k].
    """
    k, side = part.shape[:2]
    box = np.tile([0.0, 1.0, 0.0, 1.0], (k, 1)) if box is None else box
    seen = _standard(_blurred(part))
    whole = _blurred(whole)
    share = (np.arange(side) + 0.5) / side
    for _ in range(STEPS):
        found = _standard(cut_out(whole, box))
        down, right = np.gradient(found, axis=(1, 2))
        down *= side / (box[:, 1] - box[:, 0])[:, None, None]
        right *= side / (box[:, 3] - box[:, 2])[:, None, None]
        slopes = (down * (1 - share)[:, None], down * share[:, None], right * (1 - share), right * share)
        jacobian = np.stack(slopes, axis=1).reshape(k, 4, side * side)
        square = jacobian @ jacobian.transpose(0, 2, 1)
        damping = 2.5e-4 * np.trace(square, axis1=1, axis2=2) + 1e-9
        square += damping[:, None, None] * np.eye(4)
        step = np.linalg.solve(square, jacobian @ (seen - found).reshape(k, side * side, 1))[:, :, 0]
        box = np.clip(box + np.clip(step, -STEP, STEP), *_BOUNDS)
    return box, (seen * _standard(cut_out(whole, box))).sum(axis=(1, 2))


_BOUNDS = np.array([[0.0, 1 - MOST, 0.0, 1 - MOST], [MOST, 1.0, MOST, 1.0]])


def cut_out(whole: npt.NDArray[np.generic], box: Floats) -> Floats:
    """Return the content of a box of each image, scaled to the size of the image: float64[k, s, s]."""
    side = whole.shape[1]
    rows, columns = _between(box[:, 0], box[:, 1], side), _between(box[:, 2], box[:, 3], side)
    return np.asarray(rows @ whole.astype(np.float64) @ columns.transpose(0, 2, 1))


def _between(low: Floats, high: Floats, side: int) -> Floats:
    """Return the weights of linear interpolation at `side` evenly spaced points from `low` to `high`: [k, s, s]."""
    share = (np.arange(side) + 0.5) / side
    at = np.clip((low[:, None] + (high - low)[:, None] * share) * side - 0.5, 0, side - 1)
    return np.asarray(np.maximum(0.0, 1 - np.abs(at[:, :, None] - np.arange(side))))


def _likeness(one: Greys, other: Greys) -> Floats:
    """Return the correlation of the images of each pair, blurred and at half their size."""
    return np.asarray((_standard(_blurred(_half(one))) * _standard(_blurred(_half(other)))).sum(axis=(1, 2)))


def _half(images: Greys) -> Floats:
    """Return images at half their size."""
    k, side, _ = images.shape
    return np.asarray(images.reshape(k, side // 2, 2, side // 2, 2).mean(axis=(2, 4)))


def _blurred(images: npt.NDArray[np.generic]) -> Floats:
    from scipy.ndimage import gaussian_filter  # slow to import

    return np.asarray(gaussian_filter(images.astype(np.float64), (0, 1, 1)))


def _standard(images: Floats) -> Floats:
    """Return images scaled to mean 0 and length 1."""
    images = images - images.mean(axis=(1, 2), keepdims=True)
    length = np.sqrt((images * images).sum(axis=(1, 2), keepdims=True))
    return np.asarray(images / np.maximum(length, 1e-9))
