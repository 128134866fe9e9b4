"""Images of a trial: the labelled images of training and test set together, split again by the number of the trial."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ...data.store.embeddings import EACH, Embeddings, Ints
from ...data.store.files import fingerprint
from ...data.store.run_folder import RunFolder, Stage
from ...embedding.identity import is_trained
from ...errors import UsageError, counted
from ...selection.stored import open_images
from ..evaluation_set import EvaluationSet, evaluation_set
from ..preparation import EvaluationRequest, check_classes, no_labels, warn_of_boxes
from ..probing.candidates import embedded

log = logging.getLogger("tenpercent")

PART = 0.2  # of each class, tested in a trial where there is no test set
SMALLEST = 2  # images of a class that is tested


@dataclass(frozen=True, eq=False)
class Pool:
    """All labelled images, of which every trial tests others.

    Attributes:
        embeddings: their vectors and labels, in id order.
        tested: int64[c], the number of images of each class that a trial tests.
        test_set: description of the test images.
        about: a fingerprint of the images and of what is tested.
    """

    embeddings: Embeddings
    tested: Ints
    test_set: str
    about: str

    @property
    def labels(self) -> Ints:
        """Class of each image, int64[n]."""
        assert self.embeddings.labels is not None
        return self.embeddings.labels

    @property
    def n_tested(self) -> int:
        """Number of test images of a trial."""
        return int(self.tested.sum())

    def split(self, trial: int) -> tuple[Ints, Ints]:
        """Return the training and the test images of a trial, int64 each, ascending: drawn class by class.

        Args:
            trial: its number, which alone decides the draw.
        """
        digest = hashlib.blake2b(f"{self.about} {trial}".encode(), digest_size=8).digest()
        rank = np.random.default_rng(int.from_bytes(digest, "little")).permutation(len(self.embeddings))
        order = np.lexsort((rank, self.labels))
        place = np.arange(len(order)) - np.searchsorted(self.labels[order], self.labels[order])
        drawn = place < self.tested[self.labels[order]]
        return np.sort(order[~drawn]), np.sort(order[drawn])

    def name_of(self, trial: int) -> str:
        """Return a name of the split of a trial, the same for all arms and in all results."""
        return f"{self.about}-{trial}"

    def part(self, at: Ints) -> Embeddings:
        """Return the embeddings of some of the images, positions ascending."""
        own = self.embeddings
        known = {name: value for name in EACH if (value := getattr(own, name)) is not None}
        return replace(own, **{name: value[at] for name, value in known.items()}, origin="")


def pool_of(run: RunFolder, embeddings: Embeddings, request: EvaluationRequest) -> Pool:
    """Return the images of a run and those of its test set, embedded by the run's own network.

    Without a test set, trials test a fifth of the run's own images, where its network was not trained on them.

    Raises:
        UsageError: no labels, a single class, nothing to test on, or test images that are all in the training set.
        StageError: the run is not embedded, or its network is missing.
    """
    if embeddings.labels is None or not (embeddings.labels >= 0).any():
        raise no_labels(f"the embedded {embeddings.noun}s of {run.path}")
    check_classes(run)
    warn_of_boxes(run)
    tested = test_set(run, request)
    ours = _labelled(embeddings, "training")
    if tested is None:
        if run.source.noun == "object":
            log.warning(
                "objects of one image are trained and tested on in one trial: accuracies are too high"
            )
        sizes = np.bincount(ours.labels, minlength=len(ours.class_names))  # type: ignore[arg-type]
        parts = np.where(sizes < SMALLEST, 0, np.maximum(1, np.floor(PART * sizes + 0.5))).astype(np.int64)
        found = Pool(ours, parts, f"a fifth of the {ours.noun}s", fingerprint([embeddings.origin, PART]))
    else:
        folder = embedded(run, tested, run.path / "test")
        theirs = _labelled(Embeddings.load(folder.embeddings, embeddings.layer), tested.name)
        _check_apart(ours, theirs, tested.name)
        counts = np.bincount(theirs.labels, minlength=len(ours.class_names))  # type: ignore[arg-type]
        about = fingerprint([embeddings.origin, tested.source.fingerprint, tested.source.split, len(theirs)])
        found = Pool(_together(ours, theirs), counts, tested.name, about)
    return _checked(found, run)


def test_set(run: RunFolder, request: EvaluationRequest) -> EvaluationSet | None:
    """Return the images to test on; None for a part of the run's own.

    Raises:
        UsageError: they can't be embedded like the run's own, or there are none.
    """
    stored = run.require(Stage.EMBED).settings.made_by
    if stored["embedder"] == "vectors":
        if request.test is not None:
            raise UsageError(
                f"--test {request.test} can't be embedded: {run.path} was made of ready vectors; leave it out, and "
                "each trial tests a fifth of them"
            )
        return None
    images = open_images(run)
    can_embed = stored["embedder"] not in ("module", "function")
    if request.test is None and (
        not can_embed or not (is_trained(stored) or run.holdout.exists() or images.splits)
    ):
        return None
    if not can_embed:
        raise UsageError(
            f"--test {request.test} can't be embedded: a run folder can't store the embedder of {run.path}; leave it "
            f"out, and each trial tests a fifth of the {run.source.noun}s"
        )
    return evaluation_set(run, images, request.test, request.test_options)


def _labelled(embeddings: Embeddings, name: str) -> Embeddings:
    """Return the images with a label; say how many have none."""
    assert embeddings.labels is not None
    known = np.flatnonzero(embeddings.labels >= 0)
    without = len(embeddings) - len(known)
    if without:
        log.info(
            "%s of %s without a label left out (%s)",
            f"{without:,}",
            counted(len(embeddings), embeddings.noun),
            name,
        )
    return Pool(embeddings, known[:0], "", "").part(known)


def _check_apart(ours: Embeddings, theirs: Embeddings, name: str) -> None:
    """Warn of test images whose vectors are equal to those of training images; raise where all are."""
    known = {row.tobytes() for row in _rows(ours)}
    same = sum(row.tobytes() in known for row in _rows(theirs))
    if same == len(theirs):
        raise UsageError(
            f"all {same:,} {ours.noun}s to test on ({name}) have the vectors of training {ours.noun}s; give others "
            "with --test SOURCE"
        )
    if same:
        log.warning(
            "%s of %s to test on (%s) have the same vectors as training %s: results are too good; "
            "tenpercent leaks finds them",
            f"{same:,}",
            counted(len(theirs), ours.noun),
            name,
            f"{ours.noun}s",
        )


def _rows(embeddings: Embeddings) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(embeddings.vectors, dtype=np.float32)


def _together(ours: Embeddings, theirs: Embeddings) -> Embeddings:
    """Return the images of both, in the order of their ids with the name of their set before them."""
    ids = np.array(
        [f"training/{name}" for name in ours.ids.tolist()] + [f"test/{name}" for name in theirs.ids.tolist()],
        dtype=object,
    )
    order, without = np.argsort(ids, kind="stable"), ours.sizes is None or theirs.sizes is None
    return Embeddings(
        ids=ids[order],
        rows=np.arange(len(ids)),
        vectors=np.concatenate([_rows(ours), _rows(theirs)])[order],
        labels=np.concatenate([ours.labels, theirs.labels])[order],
        class_names=ours.class_names,
        layer=ours.layer,
        noun=ours.noun,
        sizes=None if without else np.concatenate([ours.sizes, theirs.sizes])[order],
    )


def _checked(pool: Pool, run: RunFolder) -> Pool:
    """Check that heads can be trained and tested on a pool.

    Raises:
        UsageError: one class, or no image to test.
    """
    sizes = np.bincount(pool.labels, minlength=len(pool.tested))
    trained = int((sizes - pool.tested > 0).sum())
    if trained < 2:
        raise UsageError(
            f"a head separates classes, at least 2, and the labelled {run.source.noun}s of {run.path} have {trained}; "
            "start a run of more classes"
        )
    if not pool.n_tested:
        raise UsageError(
            f"no class of {run.path} has {SMALLEST} {run.source.noun}s, one to train on and one to test; give "
            "more per class"
        )
    few = int(((sizes > 0) & (pool.tested == 0)).sum())
    if few:
        log.warning(
            "%s too small to test: all of their %ss are trained on", counted(few, "class"), run.source.noun
        )
    return pool
