"""The evaluation set: images that training runs are tested on, never seen by the embedding or the selection."""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..data.sources.classes import listed
from ..data.sources.first_line import account, describe_taken
from ..data.sources.opening import open_source, open_split, with_classes
from ..data.sources.options import SourceOptions
from ..data.sources.pictures import picture_options
from ..data.sources.source import ImageSource
from ..data.sources.splits import NoSplitError, split_of_folder
from ..data.store.embeddings import Embeddings, Strings
from ..data.store.left_out import read_held_out
from ..data.store.run_folder import RunFolder
from ..errors import SourceError, UsageError, counted, quoted

log = logging.getLogger("tenpercent")

OWN_SPLITS = ("test", "validation")
HELD_OUT = "held out"


@dataclass(frozen=True, eq=False)
class EvaluationSet:
    """Labelled images to test on.

    Attributes:
        source: where they come from; labels as the codes of the training images' classes.
        rows: int64[m], which of them, all labelled.
        name: for people: ``test``, ``validation``, ``held out`` or the source's name.
    """

    source: ImageSource
    rows: npt.NDArray[np.int64]
    name: str


def evaluation_set(
    run: RunFolder, images: ImageSource, test: str | None, options: SourceOptions
) -> EvaluationSet:
    """Return the evaluation set: `test` where it is given, else the hold-out, else the source's own split.

    Args:
        run: the run folder.
        images: the source of the training images.
        test: another source, or None.
        options: of `test`.

    Raises:
        UsageError: there is none; it has classes that the training images lack, no labels, or is the training set.
    """
    if test is not None:
        return given_set(test, options, images)
    options.allow("the run's own evaluation set")
    held_out = read_held_out(run)
    if held_out is not None:
        return _labelled(images, HELD_OUT, images, held_out["row"].to_numpy())
    about = run.source
    of_images = picture_options(about)  # beside vectors, the test split holds images too
    found = None if of_images is None else own_set(about.spec, of_images, images)
    if found is None:
        raise UsageError(
            f"{images.spec} has no {_without_labels(about.spec, of_images, images)}; name labelled {images.noun}s "
            f"with --test SOURCE, or hold {images.noun}s out: tenpercent run {shlex.quote(about.spec)} --out OTHER "
            "--holdout 0.1"
        )
    return found


def check_apart(trained_on: Strings, tested_on: Strings, name: str, noun: str = "image") -> None:
    """Warn where images to test on are among those to train on, byte for byte.

    Args:
        trained_on, tested_on: hashes of the images' contents.
        name: of the images to test on.
        noun: what one of them is called.

    Raises:
        UsageError: all of them are.
    """
    same, n = int(np.isin(tested_on, trained_on).sum()), len(tested_on)
    if 0 < same == n:
        raise UsageError(
            f"all {n:,} {noun}s to test on ({name}) are {noun}s of the training set; give others with --test SOURCE"
        )
    if same:
        log.warning(
            "%s of %s to test on (%s) are among the training %ss, file for file: results are too good; "
            "tenpercent leaks finds them",
            f"{same:,}",
            counted(n, noun),
            name,
            noun,
        )


def _without_labels(spec: str, options: SourceOptions | None, images: ImageSource) -> str:
    """Return what a source lacks to test on: a split, or the labels of its splits."""
    found = [] if options is None else [open_split(spec, options, split) for split in OWN_SPLITS]
    others = [one for one in found if isinstance(one, ImageSource) and one.split != images.split]
    if not others:
        return "test or validation split"
    said = [f"{one.split}: {describe_taken(account(one))}" for one in others]
    return f"labelled test or validation split ({'; '.join(said)})"


def given_set(test: str, options: SourceOptions, images: ImageSource) -> EvaluationSet:
    """Return the images of another source, to test networks trained on `images`.

    Raises:
        UsageError: see `evaluation_set`.
    """
    return _labelled(_opened(test, options, images), str(test), images)


def own_set(spec: str, options: SourceOptions, images: ImageSource) -> EvaluationSet | None:
    """Return the test or validation split of the training images' source; None where none has labels.

    Args:
        spec: of the source.
        options: that it was opened with.
        images: the training images.

    Raises:
        UsageError: it has classes that the training images lack.
    """
    for split in OWN_SPLITS:
        if split == images.split:
            continue
        found = open_split(spec, options, split)
        if isinstance(found, ImageSource) and found.split != images.split and _has_labels(found):
            return _labelled(found, found.split, images)
    return None


def _has_labels(source: ImageSource) -> bool:
    """Return whether any image has a label; some test labels are not public, and the validation set serves then."""
    return source.labels is not None and bool((source.labels >= 0).any())


def _opened(spec: str, options: SourceOptions, images: ImageSource) -> ImageSource:
    if split_of_folder(spec) is not None and not Path(spec).exists():
        raise UsageError(
            f"--test {spec} is no file or folder but the name of a split; give the source too: "
            f"--test {quoted(images.spec)} --test-split {spec}"
        )
    options = replace(options, rules=images.decoding.rules)  # read like the training images
    try:
        found = open_source(spec, options)
        if isinstance(found, ImageSource) and options.split is None and found.splits:
            found = open_split(spec, options, "test") or found
    except NoSplitError:  # no training split, or several: irrelevant here
        if options.split is not None:
            raise
        found = open_source(spec, replace(options, split="test"))
    if isinstance(found, Embeddings):
        raise SourceError(f"--test {spec} holds vectors; networks are tested on images, so give their source")
    if (found.spec, found.split) == (images.spec, images.split):
        raise UsageError(
            f"--test {spec} is the training set itself; give {images.noun}s that are not trained on"
        )
    matched = with_classes(found, images.class_names)
    log.info("testing on %s: %s", spec, describe_taken(account(replace(found, taken=matched.taken))))
    return matched


def _labelled(
    source: ImageSource, name: str, images: ImageSource, rows: npt.NDArray[np.int64] | None = None
) -> EvaluationSet:
    if source.labels is None:
        why = f" ({source.taken['unlabelled']})" if "unlabelled" in source.taken else ""
        raise UsageError(
            f"the {images.noun}s to test on ({name}) have no labels{why}; put them into one folder per class, or give "
            "--test-labels FILE with a file name and a class per line"
        )
    rows = np.arange(len(source)) if rows is None else rows
    rows = rows[source.labels[rows] >= 0]
    if not len(rows):
        raise UsageError(
            f"none of the {images.noun}s to test on ({name}) has a label; give others with --test SOURCE"
        )
    used, known = np.unique(source.labels[rows]), len(images.class_names)
    unknown = [source.class_names[code] for code in used if code >= known]
    if unknown:
        raise UsageError(_other_classes(name, unknown, len(used), images))
    return EvaluationSet(source, rows, name)


def _other_classes(name: str, unknown: list[str], used: int, images: ImageSource) -> str:
    """Return the message for test images of classes that the training images lack; it names both."""
    noun = images.noun
    which = f"classes that the training {noun}s lack: {listed(unknown)}"
    some = f"{which}" if len(unknown) == used else f"{len(unknown):,} of {used:,} {which}"
    return (
        f"the {noun}s to test on ({name}) have {some}; the training {noun}s have {listed(images.class_names)}; name "
        f"the classes alike, or leave those {noun}s out"
    )
