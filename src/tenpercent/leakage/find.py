"""Search for test images with a near-duplicate in the training set: from two sources to a table and a page."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.sources.classes import listed
from ..data.sources.options import SourceOptions
from ..data.store.environment import machine, versions
from ..data.store.files import own_folder, write_text
from ..embedding.settings import by_name
from ..errors import UsageError, counted
from ..selection.confirmation import similarity_hint
from ..tree.cut import checked_layer
from ..tree.memory_limit import checked_memory
from .compared_set import ComparedSet
from .pairs import NOT_SAME, ImagePairs, MatchKind, SimilarPairs
from .pictures import same_pictures
from .result import Leaks
from .sets import open_test, open_train, vectors_of

if TYPE_CHECKING:
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder
    from .join import DistinctVectors

log = logging.getLogger("tenpercent")

FORMAT = 1
PAGE, TABLE, RECORD = "leaks.html", "leaks.parquet", "leaks.json"
CLOSEST = 0.01  # default: the threshold within which this share of the different training images have another
SAMPLE = 50_000  # training images that this is measured on, evenly spaced in id order


def leaks(
    train: Any,
    test: Any = None,
    *,
    threshold: float | None = None,
    embedder: Embedder | ByLabels | str | None = None,
    out: str | Path | None = None,
    train_options: SourceOptions = SourceOptions(),  # noqa: B008 – frozen
    test_options: SourceOptions = SourceOptions(),  # noqa: B008
    layer: str | None = None,
    memory: int | str | None = None,
    reread: bool = False,
) -> Leaks:
    """Find the test images with a near-duplicate in the training set, exactly: every pair within the threshold.

    Args:
        train: the training set: a run folder, a source of images or of vectors, embeddings, or vectors in any form that
            `given_vectors` takes.
        test: the test set, likewise; None for the split `test` of the training set's own source, or else `validation`.
        threshold: the largest dissimilarity of near-duplicates by vector; None for 0, or without the images of both
            sets for the height within which 1% of the different training images have another one. Equal files, and
            images that are one picture by their perceptual hash, are near-duplicates at any threshold.
        embedder: as at `run`, for images that no run has embedded. Where one set is a run folder, the other's images
            get their vectors from its network.
        out: a folder for a page that shows the pairs, the table of all pairs, a record of the settings, and the
            vectors that are made here; the same call resumes there.
        train_options, test_options: column names, split and the like.
        layer: of run folders, the layer whose vectors to take: ``start``, ``middle`` or ``end`` (the default).
        memory: limit for the pairs, in bytes or as ``"4GiB"``; None for half of the free memory.
        reread: embed a set anew that has changed since `out` was made; its earlier vectors move to ``earlier/``.

    Raises:
        UsageError: a set that can't be opened, images beside ready vectors, a threshold out of its range, or so wide
            that the pairs don't fit into memory.
        StageError: two networks made the vectors.
    """
    started = time.perf_counter()
    if threshold is not None and not (math.isfinite(threshold) and 0 <= threshold <= 2):
        raise UsageError(f"the threshold is {threshold}; it must be a dissimilarity, from 0 (the same) to 2")
    allowed, layer = checked_memory(memory), checked_layer(layer)
    folder = None if out is None else own_folder(Path(out), RECORD, (PAGE, TABLE), FORMAT, "leaks")
    first = open_train(train, train_options)
    second = open_test(test, test_options, first)
    both = vectors_of(first, second, by_name(embedder), folder, layer, reread=reread)
    found = compare(*both, threshold, allowed)
    if folder is not None:
        from .page import write_page

        record = _record(found, layer, time.perf_counter() - started)
        found.save(folder / TABLE)
        write_page(folder / PAGE, found, record)
        write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return found


def compare(
    train: ComparedSet, test: ComparedSet, threshold: float | None, memory: int | None = None
) -> Leaks:
    """Find the near-duplicates of two embedded sets; see `leaks`."""
    from .join import DistinctVectors

    log.info(
        "comparing %s with %s",
        counted(len(test), f"test {test.embeddings.noun}"),
        counted(len(train), f"training {train.embeddings.noun}"),
    )
    left, right = (DistinctVectors.among(one.embeddings.vectors) for one in (test, train))
    limit = _closest(right) if threshold is None else threshold
    pairs = _pairs(train, test, (left, right), limit, memory)
    similar, counted_to = None, limit
    if (
        threshold is None and pairs.bits is not None
    ):  # the pictures decide; merely similar vectors are shown apart
        counted_to = 0.0
        alone = (pairs.kind == MatchKind.VECTOR) & (pairs.dissimilarity > counted_to)
        similar, pairs = SimilarPairs(limit, pairs.take(alone)), pairs.take(~alone)
    notes = [*_notes(train, test)]
    if threshold is None and len(train) > SAMPLE:
        notes.append(
            f"How close training {train.embeddings.noun}s are to each other was measured on {SAMPLE:,} of "
            f"{len(train):,}, evenly spaced by id."
        )
    if threshold is not None and len(np.unique(pairs.i)) > len(test) / 2:
        notes += _similarity_meant(threshold)
    return Leaks(train, test, counted_to, threshold is not None, pairs, tuple(notes), similar)


def _closest(train: DistinctVectors) -> float:
    """Return the dissimilarity within which 1% of the different training images have another one; 0 where none has."""
    from .join import nearest_other, rank

    n = len(train.of)
    places = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).round().astype(np.int64))
    points = np.unique(train.of[places])
    height = float(np.sort(nearest_other(train, points, CLOSEST))[rank(CLOSEST, len(points)) - 1])
    return height if math.isfinite(height) else 0.0


def _pairs(
    train: ComparedSet,
    test: ComparedSet,
    distinct: tuple[DistinctVectors, DistinctVectors],
    threshold: float,
    memory: int | None,
) -> ImagePairs:
    """Return the pairs that are near by vector, equal files, or one picture; the surest first.

    Args:
        train, test: the sets.
        distinct: the distinct vectors of the test set and of the training set.
        threshold: the largest dissimilarity by vector.
        memory: limit in bytes for the pairs; None for half of the free memory.
    """
    from .join import dissimilarities_of, equal_codes, most_similar, near_duplicates

    one, other = test.embeddings, train.embeddings
    *near, apart = near_duplicates(*distinct, threshold, memory=memory)
    found = [tuple(near)]
    codes = None
    if one.hashes is not None and other.hashes is not None:
        codes = np.unique(np.concatenate([one.hashes, other.hashes]).astype(str), return_inverse=True)[1]
        found.append(equal_codes(codes[: len(test)], codes[len(test) :]))
    same = None
    if test.pictures is not None and train.pictures is not None:
        same = same_pictures(test.pictures, train.pictures, most_similar(*distinct))
        found.append(same[:2])
    key, first = np.unique(np.concatenate([i * len(train) + j for i, j in found]), return_index=True)
    i, j = key // len(train), key % len(train)
    known = first < len(apart)
    d = np.empty(len(key))
    d[known] = apart[first[known]]
    d[~known] = dissimilarities_of(one.vectors, other.vectors, i[~known], j[~known])
    bits = None
    if same is not None:
        bits = np.full(len(key), NOT_SAME, dtype=np.int64)
        bits[np.searchsorted(key, same[0] * len(train) + same[1])] = same[2]
    equal = None if codes is None else codes[i] == codes[len(test) + j]
    return ImagePairs.sorted(i, j, d, equal, bits)


def _notes(train: ComparedSet, test: ComparedSet) -> Iterator[str]:
    """Yield notes on what was not compared, and on what the comparison can't see."""
    for what, one in (("training", train), ("test", test)):
        for count, why in ((len(one.rejected or ()), "rejected"), (one.held_out, "held out")):
            if count:
                verb = "was" if count == 1 else "were"
                yield f"{counted(count, f'{what} {one.embeddings.noun}')} {verb} {why} and not compared."
    if train.network is None or test.network is None:
        yield "Ready vectors: assumed to come from one network."
    if train.embeddings.hashes is None or test.embeddings.hashes is None:
        yield "Ready vectors: equal files can't be detected."
    yield from _picture_notes(train, test)
    ours, theirs = test.class_names, train.class_names
    if ours and theirs and not ours <= theirs:
        which = f"TEST has {listed(ours - theirs)}; TRAIN has {listed(theirs)}."
        lacking, unlike = (
            "TEST has classes that TRAIN lacks",
            "Labels can't be compared, as no class is in both",
        )
        yield f"{lacking if ours & theirs else unlike}: {which}"


def _picture_notes(train: ComparedSet, test: ComparedSet) -> Iterator[str]:
    """Yield notes on what the comparison of the pictures can't see."""
    from ..data.sources.perceptual import TINY

    if train.pictures is None or test.pictures is None:
        yield (
            "No perceptual hashes without the images of both sets: re-encoded, cropped or altered copies are found "
            "only where their vectors are within the threshold, and many are not."
        )
        return
    for side, one in (("training", train), ("test", test)):
        what = f"{side} {one.embeddings.noun}"
        if one.unreadable:
            yield f"{counted(one.unreadable, what)} could not be read again; compared by vector only."
        flat = int(np.count_nonzero(one.pictures.flat())) - one.unreadable if one.pictures is not None else 0
        if flat:
            yield (
                f"{counted(flat, what)} without enough detail for a perceptual hash (almost one colour, or "
                f"below {TINY} pixels a side)."
            )
    yield (
        "The perceptual hash misses copies that are rotated by 90°, and some that are framed, overlaid with text, or "
        "cropped by a tenth of a side or more."
    )


def _similarity_meant(threshold: float) -> Iterator[str]:
    """Yield a note where a threshold at which most test images leak may have been meant as a similarity."""
    if hint := similarity_hint(threshold):
        yield (
            f"The threshold is a dissimilarity (1 − cosine): {threshold:g} counts images down to a similarity of "
            f"{1 - threshold:.6g} as near-duplicates{hint}."
        )


def _record(found: Leaks, layer: str | None, seconds: float) -> dict[str, Any]:
    """Return the record stored beside the page: settings, counts, versions, machine."""
    similar, closest = found.similar, f"the closest {CLOSEST:.0%} of the training images"
    return {
        "format": FORMAT,
        "train": _set_record(found.train),
        "test": _set_record(found.test),
        "settings": {
            "threshold": found.threshold,
            "threshold_from": "given" if found.chosen else closest if similar is None else "equal vectors",
            "layer": layer or found.train.embeddings.layer,
        },
        "found": {
            "leaking": len(found),
            "pairs": len(found.pairs),
            "equal_files": found.equal_files,
            "same_picture": found.same_picture,
            "by_vector_alone": found.by_vector,
            "near_by_vector": similar and {"threshold": similar.limit, "images": similar.images},
            "other_label": found.other_label,
        },
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "machine": machine(),
    }


def _set_record(one: ComparedSet) -> dict[str, Any]:
    return {
        "spec": one.spec,
        "images": len(one),
        "width": one.embeddings.width,
        "origin": one.embeddings.origin,
        **(one.network or {"network": "not known", "weights_hash": None}),
    }
