"""Embeddings to compare, each with training vectors and with test vectors of images it has not used."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...data.sources.holdout import draw_holdout
from ...data.sources.options import MAX_PIXELS, SourceOptions
from ...data.sources.source import ImageSource
from ...data.store.embeddings import Embeddings, Ints, Vectors
from ...data.store.files import fingerprint
from ...data.store.run_folder import RunFolder, Stage
from ...embedding.identity import borrowed, is_borrowed, is_trained
from ...embedding.settings import Timm
from ...embedding.stage import describe, embed
from ...errors import UsageError
from ...selection.stored import load_embeddings, open_images
from ..evaluation_set import EvaluationSet, evaluation_set
from .measure import check_classes

log = logging.getLogger("tenpercent")

PART = 0.2  # of vectors that come without a test set


@dataclass(frozen=True, eq=False)
class Candidate:
    """Vectors of one embedding.

    Attributes:
        name: for people.
        layer: of the network.
        train, labels: float[n, d] and int64[n], the classifiers' training data.
        test, test_labels: float[m, d] and int64[m], their test data.
        judged: description of the test images.
        note: a remark, or "".
    """

    name: str
    layer: str
    train: Vectors
    labels: Ints
    test: Vectors
    test_labels: Ints
    judged: str
    note: str = ""


def of_run(path: Path, layers: Sequence[str], test: str | None, out: Path) -> list[Candidate]:
    """Return the vectors of a run folder, one candidate a layer.

    The test images are the run's hold-out, or its source's test or validation split, or `test`; the run's own
    network embeds them. Ready vectors, and those of an embedder that can't be stored, are tested on a part of their
    own vectors.

    Args:
        path: the run folder.
        layers: the layers whose vectors to take.
        test: a source of labelled test images; None for the run's own.
        out: the folder for the vectors of the test images.

    Raises:
        UsageError: no labels, one class, or no test images.
        StageError: the run is not embedded, or its network is missing.
    """
    run = RunFolder.open(path)
    stored = run.require(Stage.EMBED)["settings"]["embedder"]
    found = [load_embeddings(run, layer) for layer in layers]
    name = run.path.name
    if stored == "vectors":
        return [
            of_vectors(name, one, "the embedding may have seen the images it is judged by") for one in found
        ]
    images = open_images(run)
    if images.labels is None:
        raise UsageError(
            f"{path} has no labels, and a probe asks how well vectors tell classes; give labelled images"
        )
    if stored["embedder"] in ("module", "function") and test is None:
        return [of_vectors(name, one, "its embedder can't be kept with the run") for one in found]
    has_own = run.holdout.exists() or bool(images.splits)
    if not is_trained(stored) and test is None and not has_own:
        return [of_vectors(name, one, "its network was not trained on these images") for one in found]
    judges = evaluation_set(run, images, test, SourceOptions())
    folder = _test_vectors(run, judges, out)
    asked = [Embeddings.load(folder.embeddings, layer) for layer in layers]
    return [
        _candidate(name, learnt, asked_, judges.name) for learnt, asked_ in zip(found, asked, strict=True)
    ]


def of_vectors(name: str, embeddings: Embeddings, note: str = "") -> Candidate:
    """Return ready vectors, a fifth of each class as the test images, chosen by their ids alone.

    Raises:
        UsageError: no labels, one class, or so few vectors that none is left to test on.
    """
    if embeddings.labels is None:
        raise UsageError(
            f"{name} has no labels, and a probe asks how well vectors tell classes; give --labels FILE"
        )
    labelled = np.flatnonzero(embeddings.labels >= 0)
    kept, held = draw_holdout(embeddings.ids[labelled].tolist(), embeddings.labels[labelled], PART)
    if not len(held):
        raise UsageError(
            f"{name} has {len(labelled)} labelled vectors, too few to judge a fifth of each class by the others; give "
            "three of a class at least"
        )
    learnt, asked = labelled[kept], labelled[held]
    check_classes(embeddings.labels[learnt])
    return Candidate(
        name=name,
        layer=embeddings.layer,
        train=embeddings.vectors[learnt],
        labels=embeddings.labels[learnt],
        test=embeddings.vectors[asked],
        test_labels=embeddings.labels[asked],
        judged="a fifth of the vectors",
        note=note,
    )


def timm_run(model: Timm, images: str | None, runs: Sequence[Path], out: Path) -> Path:
    """Embed images by a model of timm; return the run folder.

    Args:
        model: its name and weights.
        images: their source; None for that of the first run, with its hold-out.
        runs: the run folders to compare with.
        out: the folder for the new run.

    Raises:
        UsageError: there are no images.
    """
    options, holdout = SourceOptions(), 0.0
    if images is None:
        about: dict[str, Any] = RunFolder.open(runs[0]).read()["source"] if runs else {"kind": "vectors"}
        if about["kind"] != "images":
            raise UsageError(
                f"{model.name} embeds images, and no run with images is given; name them with --images SOURCE"
            )
        images, holdout = about["spec"], about["holdout"]
        options = SourceOptions.from_json(about["options"])
    made_of = [str(images), options.as_json(), holdout, model.as_json()]
    to = out / f"timm-{model.name.replace('/', '-')}-{fingerprint(made_of)}"
    embed(images, out=to, embedder=model, holdout=holdout, options=options)
    return to


def _candidate(name: str, learnt: Embeddings, asked: Embeddings, judged: str) -> Candidate:
    assert learnt.labels is not None
    assert asked.labels is not None
    known = learnt.labels >= 0
    check_classes(learnt.labels[known])
    return Candidate(
        name, learnt.layer, learnt.vectors[known], learnt.labels[known], asked.vectors, asked.labels, judged
    )


def _test_vectors(run: RunFolder, judges: EvaluationSet, out: Path) -> RunFolder:
    """Embed the test images by the network of a run, unless that is done; return their folder."""
    from ...embedding.of_run import embed_like

    source, made_by = part_of(judges.source, judges.rows), borrowed(run)
    rules, limit = source.decoding.rules, source.decoding.max_pixels
    own = [] if limit == MAX_PIXELS else [limit]  # other images may be rejected
    to = out / f"{run.path.name}-{fingerprint([made_by, source.fingerprint, *own])}"
    options = SourceOptions(rules=rules, max_pixels=limit if own else None)
    folder = RunFolder.create(to, describe(source.spec, source, options, 0.0))
    if not is_borrowed(folder, made_by):
        log.info("embedding %s images (%s) by the network of %s", f"{len(source):,}", judges.name, run.path)
        embed_like(run, source, folder, made_by, None)
    return folder


def part_of(source: ImageSource, rows: Ints) -> ImageSource:
    """Return a source of some of the images of another, in the order of `rows`."""
    return replace(
        source,
        ids=tuple(source.ids[row] for row in rows),
        paths=tuple(source.paths[row] for row in rows),
        labels=None if source.labels is None else source.labels[rows],
        read=lambda row: source.read(int(rows[row])),
        columns=None,
    )
