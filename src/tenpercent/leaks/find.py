"""Find the test images that have a twin in the training set: the flow, from two sources to a table and a page."""

from __future__ import annotations

import json
import logging
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cut import checked_layer, similarity_hint
from ..errors import UsageError
from ..images.options import SourceOptions
from ..select.memory import checked_memory
from ..store.embeddings import Embeddings, Ints
from ..store.environment import machine, versions
from ..store.files import own_folder, write_text
from .result import Bools, Floats, Growth, Leaks, Side, labels_compare
from .sides import Spec, open_test, open_train, vectors_of

if TYPE_CHECKING:
    from ..embed.by_labels import ByLabels
    from ..embed.encoders import Embedder

log = logging.getLogger("tenpercent")

FORMAT = 1
PAGE, TABLE, RECORD = "leaks.html", "leaks.parquet", "leaks.json"
NEAR = 0.01  # the default threshold: so many of the different training images have another one as near
WIDE = 0.1  # and up to here it is said how many images have a twin
ASKED = 50_000  # training images that are asked for their nearest other one, evenly spaced in id order


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
    """Find the test images that have a twin in the training set, exactly: every pair within the threshold.

    Args:
        train: the training set: a run folder, a source of images or of vectors, or embeddings.
        test: the test set, likewise; None for the split `test` of the training set's own source.
        threshold: the largest dissimilarity of twins; None for the height within which 1% of the different training
            images have another one. Equal files are twins at any threshold.
        embedder: for images that no run has embedded; None to train on the training set's labels, as `run` does. Where
            one set is a run folder, the other's images get their vectors from its network.
        out: a folder for a page that shows the twins, the table of all pairs, a record of the settings, and the
            vectors that are made here; the same call again goes on there.
        train_options, test_options: column names, split and the like.
        layer: of run folders, whose vectors: ``start``, ``middle`` or ``end`` (the default).
        memory: what the pairs of twins may take, in bytes or as ``"4GiB"``; None for half of what is free.

    Raises:
        UsageError: a set that can't be opened, images beside ready vectors, a threshold out of its range, or so wide
            that the twins don't fit into memory.
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
    """Raise `UsageError` where a threshold is no number from 0 to 2."""
    if threshold is not None and not (math.isfinite(threshold) and 0 <= threshold <= 2):
        raise UsageError(f"the threshold is {threshold}; it must be a dissimilarity, from 0 (the same) to 2")


def compare(train: Side, test: Side, threshold: float | None, memory: int | None = None) -> Leaks:
    """Find the twins of two sets whose vectors are there: see `leaks`."""
    from .join import Distinct, nearest_across, nearest_other, rank, twins

    log.info("comparing %s test images with %s training images", f"{len(test):,}", f"{len(train):,}")
    left, right = Distinct.among(test.embeddings.vectors), Distinct.among(train.embeddings.vectors)
    places = np.unique(np.linspace(0, len(train) - 1, min(len(train), ASKED)).round().astype(np.int64))
    asked = np.unique(right.of[places])
    others, radius = nearest_other(right, asked, WIDE, threshold or 0.0)
    chosen = threshold is not None
    if threshold is None:
        height = float(np.sort(others)[rank(NEAR, len(asked)) - 1])
        threshold = height if math.isfinite(height) else 0.0
    i, j, d = twins(left, right, threshold, memory=memory)
    i, j, d, equal = _with_equal_files(train.embeddings, test.embeddings, (i, j, d))
    across = nearest_across(left, right, radius)[left.of]
    if equal is not None:
        across[i[equal]] = 0.0
    repeated = right.count[right.of[places]] > 1
    among = np.where(repeated, 0.0, others[np.searchsorted(asked, right.of[places])])
    growth = Growth(
        np.sort(across[across <= radius]), len(test), np.sort(among[among <= radius]), len(places), radius
    )
    notes = (*_notes(train, test, len(places)), *_wide(threshold, len(np.unique(i)) / len(test), chosen))
    return Leaks(train, test, threshold, chosen, i, j, d, equal, growth, notes)


def _with_equal_files(
    train: Embeddings, test: Embeddings, pairs: tuple[Ints, Ints, Floats]
) -> tuple[Ints, Ints, Floats, Bools | None]:
    """Add the pairs of equal files that are not within the threshold, and say which pairs are equal files."""
    from .join import between, same_codes

    if train.hashes is None or test.hashes is None:
        return *pairs, None
    codes = np.unique(np.concatenate([test.hashes, train.hashes]).astype(str), return_inverse=True)[1]
    ours, theirs = codes[: len(test)], codes[len(test) :]
    i, j = same_codes(ours, theirs)
    key = np.concatenate([pairs[0], i]) * len(train) + np.concatenate([pairs[1], j])
    key, first = np.unique(key, return_index=True)
    i, j = key // len(train), key % len(train)
    known = first < len(pairs[0])
    d = np.empty(len(key))
    d[known] = pairs[2][first[known]]
    d[~known] = between(test.vectors, train.vectors, i[~known], j[~known])
    order = np.lexsort((j, i, d))
    i, j = i[order], j[order]
    return i, j, d[order], ours[i] == theirs[j]


def _notes(train: Side, test: Side, asked: int) -> tuple[str, ...]:
    """Return what a person should know about the outcome."""
    found = []
    for what, side in (("training", train), ("test", test)):
        if side.rejected is not None and len(side.rejected):
            found.append(f"{len(side.rejected):,} {what} images were rejected and not compared.")
        if side.held_out:
            found.append(f"{side.held_out:,} {what} images are held out of their run and were not compared.")
    if train.network is None or test.network is None:
        found.append("Ready vectors: that one network made both is taken for granted.")
    if train.embeddings.hashes is None or test.embeddings.hashes is None:
        found.append("Ready vectors: which files are equal is not known.")
    labelled = train.embeddings.labels is not None and test.embeddings.labels is not None
    if labelled and not labels_compare(train, test):
        found.append("The labels of the two sets can't be compared: no class name is in both.")
    if asked < len(train):
        found.append(
            f"How near training images are to each other is that of {asked:,} of {len(train):,}, evenly spaced by id."
        )
    return tuple(found)


def _wide(threshold: float, share: float, chosen: bool) -> list[str]:
    """Say of a threshold within which most test images have a twin that it may have been meant as a similarity."""
    hint = similarity_hint(threshold)
    if not chosen or share <= 0.5 or not hint:
        return []
    return [
        f"The threshold is a dissimilarity (1 − cosine): {threshold:g} takes images down to a similarity of "
        f"{1 - threshold:.6g} as twins{hint}."
    ]


def _record(found: Leaks, layer: str | None, seconds: float) -> dict[str, Any]:
    """Return what is kept beside the page: settings, counts, versions, machine."""
    return {
        "format": FORMAT,
        "train": _about(found.train),
        "test": _about(found.test),
        "settings": {
            "threshold": found.threshold,
            "threshold_from": "given" if found.chosen else f"the nearest {NEAR:.0%} of the training images",
            "layer": layer or found.train.embeddings.layer,
        },
        "found": {
            "leaking": len(found),
            "pairs": len(found.i),
            "equal_files": found.equal_files,
            "other_label": found.other_label,
        },
        "seconds": round(seconds, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions(),
        "machine": machine(),
    }


def _about(side: Side) -> dict[str, Any]:
    return {
        "spec": side.spec,
        "images": len(side),
        "width": side.embeddings.width,
        "origin": side.embeddings.origin,
        **(side.network or {"network": "not known", "weights_hash": None}),
    }
