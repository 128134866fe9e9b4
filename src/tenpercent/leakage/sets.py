"""Opening of the two sets to compare: run folders, vectors, or images that are embedded first, by one network."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..data.sources.changes import said_change
from ..data.sources.classes import renamed, same_classes
from ..data.sources.first_line import account, describe_taken
from ..data.sources.given import as_embeddings, is_place
from ..data.sources.huggingface import names_split, without_split
from ..data.sources.opening import open_source
from ..data.sources.options import SourceOptions
from ..data.sources.pictures import picture_options
from ..data.sources.small_pictures import FOLDER, small_pictures
from ..data.sources.source import ImageSource
from ..data.sources.splits import NoSplitError
from ..data.store.checks import as_path
from ..data.store.embeddings import Embeddings
from ..data.store.left_out import read_held_out, read_rejected
from ..data.store.rejected import rejected_table
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.by_run import embed_by_run
from ..embedding.identity import identity_of, identity_text
from ..embedding.stage import embed
from ..errors import SourceError, StageError, UsageError
from .compared_set import ComparedSet

if TYPE_CHECKING:
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder

log = logging.getLogger("tenpercent")

Spec = str | Path | Embeddings
Content = RunFolder | ImageSource | Embeddings


class OpenedSet(NamedTuple):
    """One of the two sets, opened, with what the caller named it by.

    Attributes:
        role: ``TRAIN`` or ``TEST``.
        spec: a source, a run folder or embeddings.
        options: of the source.
        content: the run folder, the images or the vectors.
    """

    role: str
    spec: Spec
    options: SourceOptions
    content: Content


def open_train(spec: Any, options: SourceOptions) -> OpenedSet:
    """Open the training set.

    Raises:
        UsageError, RunFolderError: it can't be opened, or the options don't apply to it.
    """
    spec, options = _taken(spec, options)
    return OpenedSet("TRAIN", spec, options, _opened(spec, options))


def _taken(spec: Any, options: SourceOptions) -> tuple[Spec, SourceOptions]:
    """Return a path, or what is passed instead as embeddings, with the options that are left for it."""
    if is_place(spec):
        return spec, options
    return as_embeddings(spec, options), SourceOptions(rules=options.rules)


def open_test(spec: Any, options: SourceOptions, train: OpenedSet) -> OpenedSet:
    """Open the test set: of a source with splits the split `test`, unless `options` names another.

    Args:
        spec: None for the test split of the training set's own source.
        options: of the source; the split is taken from here where it is given.
        train: the training set.

    Raises:
        UsageError, RunFolderError: it can't be opened, has no such split, or is the training set itself.
    """
    options = replace(options, rules=_rules(train))
    spec, options = _taken(spec, options)
    if spec is None:
        options.allow("the test split of TRAIN's own source", "split")
        return _other_split((options.split,) if options.split else ("test", "validation"), train)
    try:
        opened = _opened(spec, options)
    except NoSplitError:  # no training split, or several: irrelevant here
        if options.split is not None:
            raise
        options = replace(options, split="test")
        opened = _opened(spec, options)
    if options.split is None and not isinstance(opened, RunFolder) and isinstance(spec, str | Path):
        opened, options = _test_split(spec, options, opened)
    same = isinstance(spec, str | Path) and isinstance(train.spec, str | Path)
    if same and _place(spec) == _place(train.spec) and _split(opened) == _split(train.content):
        raise UsageError(
            f"TRAIN and TEST are both {spec}, where each would be its own near-duplicate; give another TEST, or, of a "
            "source with splits, another --test-split"
        )
    return OpenedSet("TEST", spec, options, opened)


def _opened(spec: Spec, options: SourceOptions) -> Content:
    if isinstance(spec, Embeddings):
        return spec
    if (as_path(spec, "a set of images") / "run.json").is_file():
        options.allow("a run folder")
        return RunFolder.open(spec)
    return open_source(spec, options)


def _other_split(splits: tuple[str, ...], train: OpenedSet) -> OpenedSet:
    """Open another split of the training set's source: the first of those named that it has."""
    spec, options, opened = train.spec, train.options, train.content
    if isinstance(opened, RunFolder):
        source = opened.source
        spec, options = source.spec, SourceOptions.from_json(source.options)
        opened = open_source(spec, options)
    missing = (
        f"{spec} has no split {' or '.join(map(repr, splits))}; give the test set, or name another split with "
        "--test-split"
    )
    if isinstance(spec, Embeddings) or (isinstance(opened, ImageSource) and not opened.splits):
        raise SourceError(missing)
    if isinstance(spec, str) and spec.lower().startswith("hf:"):
        spec = f"hf:{without_split(spec[3:])}"
    for split in splits:
        wanted = replace(options, split=split, labels=None, ids=None)
        try:
            other = open_source(spec, wanted)
        except NoSplitError:
            continue
        if split != _split(opened) and (not _split(other) or _split(other) != _split(opened)):
            log.info("TEST: the split %s of %s", _split(other) or split, spec)
            return OpenedSet("TEST", spec, wanted, other)
        if len(splits) == 1:  # maybe by another spelling: val of validation, test of Testing
            raise UsageError(f"the split {split!r} of {spec} is TRAIN itself; name another with --test-split")
    raise SourceError(missing)


def _test_split(spec: str | Path, options: SourceOptions, opened: Content) -> tuple[Content, SourceOptions]:
    """Return the split `test` where a source has splits and its name gives none; else the set as opened."""
    named = isinstance(spec, str) and spec.lower().startswith("hf:")
    if named and names_split(str(spec)[3:]):
        return opened, options
    if isinstance(opened, ImageSource) and not opened.splits:
        return opened, options
    if isinstance(opened, Embeddings) and not named and not Path(str(spec)).is_dir():
        return opened, options
    wanted = replace(options, split="test")
    try:
        return open_source(spec, wanted), wanted
    except NoSplitError:
        if isinstance(opened, Embeddings):
            return opened, options
        raise SourceError(
            f"{spec} has no split 'test', only {', '.join(opened.splits)}; choose one with --test-split"  # type: ignore[union-attr]
        ) from None


def _split(opened: Content) -> str:
    return opened.split if isinstance(opened, ImageSource) else ""


def _rules(one: OpenedSet) -> int:
    """Return the rules by which the images of a set were read, so that the other set's are read alike."""
    if isinstance(one.content, RunFolder):
        return SourceOptions.from_json(one.content.source.options).rules
    return one.options.rules


def _place(spec: Spec | None) -> str:
    """Return the part that two names of the same source share."""
    path = Path(str(spec)).expanduser()
    return str(path.resolve()) if path.exists() else str(spec)


# ---- vectors for both --------------------------------------------------------------------------------------------


def vectors_of(
    train: OpenedSet,
    test: OpenedSet,
    embedder: Embedder | ByLabels | None,
    out: Path | None,
    layer: str | None,
    *,
    reread: bool = False,
) -> tuple[ComparedSet, ComparedSet]:
    """Embed the sets not embedded yet, by one network; return both with their vectors.

    Args:
        train, test: the sets.
        embedder: for images that no run has embedded; None for a network trained on the training set's labels.
        out: the folder whose ``train`` and ``test`` become run folders of the sets embedded here.
        layer: the layer whose vectors to take; None for the last.
        reread: embed anew what has changed since.

    Raises:
        UsageError: images beside ready vectors, or an embedder where there is nothing to embed with it.
        StageError: two networks made the vectors, or two widths.
    """
    _check_pair(train, test, embedder, out)
    if isinstance(train.content, ImageSource):
        train = _embedded(train, test, embedder, out, reread)
    if isinstance(test.content, ImageSource):
        test = _embedded(test, train, embedder, out, reread)
    left, right = _compared_set(train, layer), _compared_set(test, layer)
    _check_comparable(left, right)
    right = _with_classes_of(left, right)
    if left.source is None or right.source is None:
        return left, right
    return _with_pictures(train, left), _with_pictures(test, right)


def _with_classes_of(train: ComparedSet, test: ComparedSet) -> ComparedSet:
    """Return the test set with the training set's names of the same classes."""
    names = test.embeddings.class_names
    same = same_classes(names, train.embeddings.class_names)
    if said := renamed(same):
        log.info("TEST: %s", said)
    return replace(
        test, embeddings=replace(test.embeddings, class_names=tuple(same.get(name, name) for name in names))
    )


def _check_pair(
    train: OpenedSet, test: OpenedSet, embedder: Embedder | ByLabels | None, out: Path | None
) -> None:
    images = [one for one in (train, test) if isinstance(one.content, ImageSource)]
    ready = [one for one in (train, test) if _is_vectors(one.content)]
    if images and ready:
        raise UsageError(
            f"{images[0].role} holds images and {ready[0].role} ready vectors, and what made those is not known; give "
            "both as images, or both as vectors of one network"
        )
    if not images and embedder is not None:
        raise UsageError(f"TRAIN and TEST are embedded already; leave out the embedder ({embedder})")
    if images and out is None:
        raise UsageError(
            f"{images[0].role} holds images that are not embedded yet; say where with out=FOLDER"
        )


def _is_vectors(opened: Content) -> bool:
    if isinstance(opened, RunFolder):
        return opened.source.has_vectors
    return isinstance(opened, Embeddings)


def _embedded(
    one: OpenedSet, other: OpenedSet, embedder: Embedder | ByLabels | None, out: Path | None, reread: bool
) -> OpenedSet:
    """Embed the images of one set, by the network of the other one where that is embedded already."""
    assert isinstance(one.content, ImageSource)
    assert out is not None
    to = out / one.role.lower()
    if not isinstance(other.content, RunFolder):
        assert not isinstance(one.spec, Embeddings)
        embed(one.spec, out=to, embedder=embedder, options=one.options, reread=reread)
        return one._replace(content=RunFolder.open(to))
    log.info("%s: %s", one.role, describe_taken(account(one.content)))
    embedded = embed_by_run(other.content, one.content, one.options, to, embedder, reread=reread)
    return one._replace(content=embedded)


def _compared_set(one: OpenedSet, layer: str | None) -> ComparedSet:
    from ..selection.stored import load_embeddings, open_present

    opened = one.content
    if isinstance(opened, Embeddings):
        if layer is not None and layer != opened.layer:
            raise UsageError(
                f"layer is {layer!r}; {one.role} holds ready vectors without layers; leave it out"
            )
        named = one.role if isinstance(one.spec, Embeddings) else str(one.spec)
        log.info("%s: %s", one.role, describe_taken(account(opened)))
        return ComparedSet(named, opened, rejected=rejected_table(opened.rejected))
    assert isinstance(opened, RunFolder)
    opened.require(Stage.EMBED)
    embeddings = load_embeddings(opened, layer or "end")
    about = opened.source
    split = f", split {about.split}" if about.split else ""
    vectors = about.has_vectors
    rejected = rejected_table(embeddings.rejected) if vectors else read_rejected(opened)
    if picture_options(about) is None:
        return ComparedSet(about.spec, embeddings, rejected=rejected)
    source: ImageSource | None = None
    try:
        source, change = open_present(opened)
        if change:
            log.warning("%s: %s", one.role, said_change(change, opened))
    except (UsageError, StageError) as gone:
        log.warning("no pictures of %s: %s", one.role, gone)
    held_out = read_held_out(opened)
    return ComparedSet(
        spec=f"{about.spec}{split}",
        embeddings=embeddings,
        source=source,
        network=None if vectors else identity_of(opened),
        rejected=rejected,
        held_out=0 if held_out is None else len(held_out),
    )


def _with_pictures(one: OpenedSet, found: ComparedSet) -> ComparedSet:
    """Return a set with its images as used for perceptual hashes: read now, or stored in its run folder."""
    assert isinstance(one.content, RunFolder)
    assert found.source is not None
    log.info("reading the pictures of %s for their perceptual hashes", one.role)
    rows, contents = found.embeddings.rows, found.embeddings.hashes
    if contents is None:  # beside ready vectors: nothing tells whether the stored ones are of these images
        pictures, unreadable = small_pictures(found.source, rows)
    else:
        pictures, unreadable = small_pictures(
            found.source, rows, contents.tolist(), one.content.path / FOLDER
        )
    return replace(found, pictures=pictures, unreadable=unreadable)


def _check_comparable(train: ComparedSet, test: ComparedSet) -> None:
    """Raise `StageError` where the vectors are of two networks, or of two widths."""
    if train.network is not None and test.network is not None and train.network != test.network:
        raise StageError(
            f"TRAIN was embedded by {identity_text(train.network)}, TEST by {identity_text(test.network)}, and "
            "vectors of two networks can't be compared; give TEST as a source of images, and TRAIN's network embeds it"
        )
    if train.embeddings.width != test.embeddings.width:
        raise UsageError(
            f"the vectors of TRAIN have {train.embeddings.width} values, those of TEST {test.embeddings.width}; "
            "give vectors of one network"
        )
