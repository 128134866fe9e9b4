"""Embeddings to compare, each with training vectors and with test vectors of images it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...data.sources.holdout import draw_holdout
from ...data.sources.options import MAX_PIXELS, SourceOptions
from ...data.store.embeddings import Embeddings, Ints, Vectors
from ...data.store.files import fingerprint
from ...data.store.run_folder import RunFolder, Stage
from ...embedding.by_run import embed_by_run
from ...embedding.identity import borrowed, is_trained
from ...embedding.settings import Timm
from ...embedding.stage import embed
from ...errors import UsageError
from ...selection.stored import load_embeddings, open_images
from ..evaluation_set import EvaluationSet, check_apart, evaluation_set
from .measure import check_classes

PART = 0.2  # of vectors that come without a test set
SEEN = "the embedding may have been trained on its test images"


@dataclass(frozen=True, eq=False)
class Candidate:
    """Vectors of one embedding.

    Attributes:
        name: for people.
        layer: of the network.
        train, labels: float[n, d] and int64[n], the classifiers' training data.
        test, test_labels: float[m, d] and int64[m], their test data.
        test_set: description of the test images.
        note: a remark, or "".
    """

    name: str
    layer: str
    train: Vectors
    labels: Ints
    test: Vectors
    test_labels: Ints
    test_set: str
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
    stored = run.require(Stage.EMBED).settings.made_by
    found = [load_embeddings(run, layer) for layer in layers]
    name = run.path.name
    if stored["embedder"] == "vectors":
        return [of_vectors(name, one) for one in found]
    images = open_images(run)
    if images.labels is None:
        raise UsageError(f"{path} has no labels; a probe needs them, so give labelled images")
    if test is None:
        note = ""
        if stored["embedder"] in ("module", "function"):
            note = "its embedder can't be stored in the run folder"
        elif not (is_trained(stored) or run.holdout.exists() or images.splits):
            note = "its network was not trained on these images"
        if note:
            return [of_vectors(name, one, note) for one in found]
    tested = evaluation_set(run, images, test, SourceOptions())
    folder = embedded(run, tested, out)
    candidates = []
    for train, layer in zip(found, layers, strict=True):
        other = Embeddings.load(folder.embeddings, layer)
        assert train.labels is not None
        assert other.labels is not None
        known = train.labels >= 0
        if train.hashes is not None and other.hashes is not None:
            check_apart(train.hashes, other.hashes, tested.name)
        check_classes(train.labels[known])
        data = train.vectors[known], train.labels[known], other.vectors, other.labels
        candidates.append(Candidate(name, layer, *data, tested.name))
    return candidates


def of_vectors(name: str, embeddings: Embeddings, note: str = SEEN) -> Candidate:
    """Return ready vectors, a fifth of each class as the test images, chosen by their ids alone.

    Raises:
        UsageError: no labels, one class, or so few vectors that none is left to test on.
    """
    if embeddings.labels is None:
        raise UsageError(f"{name} has no labels, and a probe needs them; give --labels FILE")
    labelled = np.flatnonzero(embeddings.labels >= 0)
    kept, held = draw_holdout(embeddings.ids[labelled].tolist(), embeddings.labels[labelled], PART)
    if not len(held):
        raise UsageError(
            f"{name} has {len(labelled)} labelled vectors, too few to test on a fifth of each class; give at least "
            "three per class"
        )
    train, test = labelled[kept], labelled[held]
    check_classes(embeddings.labels[train])
    return Candidate(
        name=name,
        layer=embeddings.layer,
        train=embeddings.vectors[train],
        labels=embeddings.labels[train],
        test=embeddings.vectors[test],
        test_labels=embeddings.labels[test],
        test_set="a fifth of the vectors",
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
        about = RunFolder.open(runs[0]).source if runs else None
        if about is None or about.has_vectors:
            raise UsageError(
                f"{model.name} embeds images, and no run with images is given; name them with --images SOURCE"
            )
        images, holdout = about.spec, about.holdout
        options = SourceOptions.from_json(about.options)
    made_of = [str(images), options.as_json(), holdout, model.as_json()]
    to = out / f"timm-{model.name.replace('/', '-')}-{fingerprint(made_of)}"
    embed(images, out=to, embedder=model, holdout=holdout, options=options)
    return to


def embedded(run: RunFolder, tested: EvaluationSet, out: Path) -> RunFolder:
    """Embed the test images by the network of a run, unless that is done; return their folder."""
    source = tested.source.part(tested.rows)
    rules, limit = source.decoding.rules, source.decoding.max_pixels
    own = [] if limit == MAX_PIXELS else [limit]  # other images may be rejected
    options = SourceOptions(rules=rules, max_pixels=limit if own else None)
    to = out / f"{run.path.name}-{fingerprint([borrowed(run), source.fingerprint, *own])}"
    return embed_by_run(run, source, options, to)
