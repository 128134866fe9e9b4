"""Search for test images with a near-duplicate in the training set: from two sources to a table and a page."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sources.classes import listed
from ..data.sources.options import SourceOptions
from ..data.store.embeddings import Ints
from ..data.store.environment import machine, versions
from ..data.store.files import own_folder, write_text
from ..errors import UsageError, counted
from ..selection.confirmation import similarity_hint
from ..tree.cut import checked_layer
from ..tree.memory_limit import checked_memory
from .pictures import same_pictures
from .result import NOT_SAME, By, Floats, Growth, Leaks, Near, Pairs, Side, used_names
from .sides import Spec, open_test, open_train, vectors_of

if TYPE_CHECKING:
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder

log = logging.getLogger("tenpercent")

FORMAT = 1
PAGE, TABLE, RECORD = "leaks.html", "leaks.parquet", "leaks.json"
NEAR = 0.01  # default: the threshold within which this share of the different training images have another
WIDE = 0.1  # the same share at the largest radius that is reported
ASKED = 50_000  # training images whose nearest other one is sought, evenly spaced in id order


def leaks(
    train: Spec,
    test: Spec | None = None,
    *,
    threshold: float | None = None,
    embedder: Embedder | ByLabels | None = None,
    out: str | Path | None = None,
    train_options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    test_options: SourceOptions = SourceOptions(),  # noqa: B008
    layer: str | None = None,
    memory: int | str | None = None,
) -> Leaks:
    """Find the test images with a near-duplicate in the training set, exactly: every pair within the threshold.

    Args:
        train: the training set: a run folder, a source of images or of vectors, or embeddings.
        test: the test set, likewise; None for the split `test` of the training set's own source.
        threshold: the largest dissimilarity of near-duplicates by vector; None for 0, or without the images of both
            sets for the height within which 1% of the different training images have another one. Equal files, and
            images that are one picture by their perceptual hash, are near-duplicates at any threshold.
        embedder: for images that no run has embedded; None to train on the training set's labels, as `run` does. Where
            one set is a run folder, the other's images get their vectors from its network.
        out: a folder for a page that shows the pairs, the table of all pairs, a record of the settings, and the
            vectors that are made here; the same call resumes there.
        train_options, test_options: column names, split and the like.
        layer: of run folders, the layer whose vectors to take: ``start``, ``middle`` or ``end`` (the default).
        memory: limit for the pairs, in bytes or as ``"4GiB"``; None for half of the free memory.

    Raises:
        UsageError: a set that can't be opened, images beside ready vectors, a threshold out of its range, or so wide
            that the pairs don't fit into memory.
        StageError: two networks made the vectors.
    """
    started = time.perf_counter()
    check_threshold(threshold)
    allowed, layer = checked_memory(memory), checked_layer(layer)
    folder = None if out is None else own_folder(Path(out), RECORD, (PAGE, TABLE), FORMAT, "leaks")
    asked = open_train(train, train_options)
    other = open_test(test, test_options, asked)
    sides = vectors_of(asked, other, embedder, folder, layer)
    found = compare(*sides, threshold, allowed)
    if folder is not None:
        from .page import write_page

        record = _record(found, layer, time.perf_counter() - started)
        found.save(folder / TABLE)
        write_page(folder / PAGE, found, record)
        write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return found


def check_threshold(threshold: float | None) -> None:
    """Raise `UsageError` where a threshold is not a number from 0 to 2."""
    if threshold is not None and not (math.isfinite(threshold) and 0 <= threshold <= 2):
        raise UsageError(f"the threshold is {threshold}; it must be a dissimilarity, from 0 (the same) to 2")


def compare(train: Side, test: Side, threshold: float | None, memory: int | None = None) -> Leaks:
    """Find the near-duplicates of two embedded sets; see `leaks`."""
    from .join import Distinct, likest, nearest_across, nearest_other, rank, twins

    log.info("comparing %s test images with %s training images", f"{len(test):,}", f"{len(train):,}")
    left, right = Distinct.among(test.embeddings.vectors), Distinct.among(train.embeddings.vectors)
    places = np.unique(np.linspace(0, len(train) - 1, min(len(train), ASKED)).round().astype(np.int64))
    asked = np.unique(right.of[places])
    others, radius = nearest_other(right, asked, WIDE, threshold or 0.0)
    height = threshold
    if height is None:
        height = float(np.sort(others)[rank(NEAR, len(asked)) - 1])
        height = height if math.isfinite(height) else 0.0
    pairs = _pairs(train, test, twins(left, right, height, memory=memory), lambda: likest(left, right))
    near = None
    least = height
    if (
        threshold is None and pairs.bits is not None
    ):  # the pictures decide; pairs by vector alone are shown separately
        least = 0.0
        alone = (pairs.by == By.VECTOR) & (pairs.dissimilarity > least)
        near, pairs = Near(height, pairs.take(alone)), pairs.take(~alone)
    across = nearest_across(left, right, radius)[left.of]
    across[pairs.i[pairs.by != By.VECTOR]] = 0.0
    repeated = right.count[right.of[places]] > 1
    among = np.where(repeated, 0.0, others[np.searchsorted(asked, right.of[places])])
    growth = Growth(
        np.sort(across[across <= radius]), len(test), np.sort(among[among <= radius]), len(places), radius
    )
    leaking = len(np.unique(pairs.i)) / len(test)
    notes = (*_notes(train, test, len(places)), *_wide(least, leaking, threshold is not None))
    return Leaks(train, test, least, threshold is not None, pairs, growth, notes, near)


def _pairs(
    train: Side, test: Side, near: tuple[Ints, Ints, Floats], nearest: Callable[[], tuple[Ints, Ints]]
) -> Pairs:
    """Return the pairs that are near by vector, equal files, or one picture; the surest first.

    Args:
        train, test: the sets.
        near: the pairs within the threshold, and their dissimilarity.
        nearest: gives the pairs of test images and the training images that are nearest by vector.
    """
    from .join import between, same_codes

    one, other = test.embeddings, train.embeddings
    found, bits = [near[:2]], None
    codes = None
    if one.hashes is not None and other.hashes is not None:
        codes = np.unique(np.concatenate([one.hashes, other.hashes]).astype(str), return_inverse=True)[1]
        found.append(same_codes(codes[: len(test)], codes[len(test) :]))
    if test.pictures is not None and train.pictures is not None:
        *same, apart = same_pictures(test.pictures, train.pictures, nearest())
        found.append((same[0], same[1]))
    key, first = np.unique(np.concatenate([i * len(train) + j for i, j in found]), return_index=True)
    i, j = key // len(train), key % len(train)
    known = first < len(near[0])
    d = np.empty(len(key))
    d[known] = near[2][first[known]]
    d[~known] = between(one.vectors, other.vectors, i[~known], j[~known])
    if test.pictures is not None and train.pictures is not None:
        bits = np.full(len(key), NOT_SAME, dtype=np.int64)
        bits[np.searchsorted(key, same[0] * len(train) + same[1])] = apart
    equal = None if codes is None else codes[i] == codes[len(test) + j]
    return Pairs.sorted(i, j, d, equal, bits)


def _notes(train: Side, test: Side, asked: int) -> tuple[str, ...]:
    """Return notes on the outcome."""
    found = []
    for what, side in (("training", train), ("test", test)):
        for count, why in ((len(side.rejected or ()), "rejected"), (side.held_out, "held out")):
            if count:
                verb = "was" if count == 1 else "were"
                found.append(f"{counted(count, f'{what} image')} {verb} {why} and not compared.")
    if train.network is None or test.network is None:
        found.append("Ready vectors: that one network made both is taken for granted.")
    if train.embeddings.hashes is None or test.embeddings.hashes is None:
        found.append("Ready vectors: which files are equal is not known.")
    found += _about_pictures(train, test)
    found += _other_classes(used_names(train), used_names(test))
    if asked < len(train):
        found.append(
            f"How near training images are to each other is that of {asked:,} of {len(train):,}, evenly spaced by id."
        )
    return tuple(found)


def _about_pictures(train: Side, test: Side) -> Iterator[str]:
    """Yield notes on what the comparison of the pictures can't see."""
    from ..data.sources.perceptual import TINY

    if train.pictures is None or test.pictures is None:
        yield (
            "Without the images of both sets there is no perceptual hash: a copy that was encoded anew, cropped or "
            "altered is found only where its vector is within the threshold, and many are not."
        )
        return
    for what, side in (("training", train), ("test", test)):
        if side.unread:
            yield f"{counted(side.unread, f'{what} image')} can't be read any more and took part by vectors alone."
        flat = int(np.count_nonzero(side.pictures.flat())) - side.unread if side.pictures is not None else 0
        if flat:
            verb = "is" if flat == 1 else "are"
            many = counted(flat, f"{what} image")
            yield f"{many} {verb} of hardly more than one colour or below {TINY} pixels a side: no hash tells."
    yield (
        "The perceptual hash does not find copies that are turned on their side, and misses some that are framed, "
        "written over, or cropped by a tenth of a side and more."
    )


def _other_classes(train: set[str], test: set[str]) -> list[str]:
    """Return notes on classes in one set only, where labels therefore can't be compared."""
    if not train or not test or test <= train:
        return []
    which = f"TEST has {listed(test - train)}; TRAIN has {listed(train)}."
    if test & train:
        return [f"TEST has classes that TRAIN lacks: {which}"]
    return [f"The labels of the two sets can't be compared, as no class is in both: {which}"]


def _wide(threshold: float, share: float, chosen: bool) -> list[str]:
    """Return a note where most test images have a near-duplicate: the threshold may have been meant as a similarity."""
    hint = similarity_hint(threshold)
    if not chosen or share <= 0.5 or not hint:
        return []
    return [
        f"The threshold is a dissimilarity (1 − cosine): {threshold:g} takes images down to a similarity of "
        f"{1 - threshold:.6g} as twins{hint}."
    ]


def _record(found: Leaks, layer: str | None, seconds: float) -> dict[str, Any]:
    """Return the record stored beside the page: settings, counts, versions, machine."""
    return {
        "format": FORMAT,
        "train": _about(found.train),
        "test": _about(found.test),
        "settings": {
            "threshold": found.threshold,
            "threshold_from": _threshold_from(found),
            "layer": layer or found.train.embeddings.layer,
        },
        "found": {
            "leaking": len(found),
            "pairs": len(found.i),
            "equal_files": found.equal_files,
            "same_picture": found.same_picture,
            "by_vector_alone": found.by_vector,
            "near_by_vector": None
            if found.near is None
            else {"threshold": found.near.threshold, "images": found.near.images},
            "other_label": found.other_label,
        },
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "machine": machine(),
    }


def _threshold_from(found: Leaks) -> str:
    if found.chosen:
        return "given"
    return f"the nearest {NEAR:.0%} of the training images" if found.near is None else "equal vectors"


def _about(side: Side) -> dict[str, Any]:
    return {
        "spec": side.spec,
        "images": len(side),
        "width": side.embeddings.width,
        "origin": side.embeddings.origin,
        **(side.network or {"network": "not known", "weights_hash": None}),
    }
