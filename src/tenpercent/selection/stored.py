"""Content of a run folder, opened as the objects that were stored."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..data.sources.changes import (
    Change,
    RecordedImages,
    as_recorded,
    compare,
    is_folder,
    only_embedded,
    said_change,
    takes_it,
)
from ..data.sources.opening import FILES, place_of
from ..data.sources.options import SourceOptions
from ..data.sources.pictures import picture_fingerprint, picture_options
from ..data.sources.run_source import open_recorded
from ..data.sources.source import ImageSource
from ..data.store.added import read_added
from ..data.store.embeddings import Embeddings
from ..data.store.ids import find_id, first_of
from ..data.store.run_folder import RunFolder, Stage
from ..data.store.tables import read_about
from ..decisions.constraints import NONE, Constraints
from ..decisions.log import DecisionLog
from ..decisions.meaning import constraints_of
from ..errors import StageError, TenpercentError, UsageError, counted
from ..linkage.memory import Resources
from ..tree.cut import Cut, Within, check_grows
from ..tree.merges import Merges, uncut
from ..tree.merges_file import merges_layout
from .selection import Selection

log = logging.getLogger("tenpercent")


def stored_merges(
    folder: RunFolder, embeddings: Embeddings, within: Within | str | None = None
) -> Merges | None:
    """Return the stored merges of these embeddings, or None where there are none, or `within` differs.

    Args:
        folder: the run.
        embeddings: those that the merges must be of.
        within: ``class`` or ``all``; None for class by class where there are labels.

    Raises:
        StageError: they are damaged or of a newer format.
    """
    if folder.stage(Stage.CLUSTER) is None or not folder.merges.exists():
        return None
    about = read_about(folder.merges, merges_layout(len(embeddings)))
    wanted = (embeddings.origin, str(uncut(embeddings, within).within))
    if (about["origin"], about["within"]) != wanted:
        return None
    return Merges.load(folder.merges, embeddings)


def constraints_for(folder: RunFolder, embeddings: Embeddings, *, ignore: bool = False) -> Constraints:
    """Return the decisions of a run as constraints on embeddings of its images.

    Args:
        folder: the run.
        embeddings: of any network and layer.
        ignore: return no constraints, as if nothing had been decided.

    Raises:
        DamagedDecisionsError: they can't be read.
    """
    if ignore:
        return NONE
    constraints, unmatched = constraints_of(DecisionLog(folder.path).active(), embeddings)
    if unmatched:
        log.warning(
            "%d images of decisions are not among these, by id or content (%s …); the decisions are kept",
            len(unmatched),
            unmatched[0].id,
        )
    return constraints


def stored_decided(folder: RunFolder, merges: Merges, constraints: Constraints) -> Merges | None:
    """Return the stored tree under these constraints, or None where there is none, or it is less deep."""
    if not constraints.links or not folder.decided.exists():
        return None
    about = read_about(folder.decided, merges_layout(len(merges.embeddings)))
    wanted = (merges.embeddings.origin, str(merges.within), constraints.links)
    if (about["origin"], about["within"], about.get("decisions")) != wanted:
        return None
    found = Merges.load(folder.decided, merges.embeddings, constraints)
    return replace(found, bare=merges) if np.all(found.complete_to >= merges.complete_to) else None


def load_embeddings(folder: RunFolder, layer: str = "end") -> Embeddings:
    """Return a run's embeddings, from its part files or from the file of the ready vectors.

    Raises:
        StageError: part files are missing, or the ready vectors have changed since.
    """
    source = folder.source
    if not source.has_vectors:
        found = Embeddings.load(folder.embeddings, layer, length=source.n)
        n = folder.require(Stage.EMBED).n
        if len(found) != n:
            raise StageError(
                f"{folder.embeddings} holds {len(found):,} of {counted(n, source.noun)}; make the others again with: "
                f"{folder.command()}"
            )
        return replace(found, noun=source.noun)
    if layer != "end":
        raise UsageError(f"ready vectors have no layer {layer!r}; leave out --layer")
    opened = open_recorded(folder, SourceOptions.from_json(source.options))
    if not isinstance(opened, Embeddings) or opened.origin != source.fingerprint:
        raise StageError(
            f"{source.spec} has changed since {folder.path} was made; run again with another --out, or with --reread"
        )
    return replace(opened, shared=False)  # each opening checks the file: a cut need not read it again


def open_images(folder: RunFolder) -> ImageSource:
    """Open the images that a run was made of, or those beside its vectors, all of them unchanged.

    New images beside them are skipped, and named.

    Raises:
        StageError: the run was made of ready vectors alone, or an image is missing or has changed.
    """
    source, change = open_present(folder)
    if change.gone or change.replaced:
        raise StageError(
            f"{source.spec} has changed since {folder.path} was made of it: {change}; this needs all images as they "
            f"were: bring them back; {takes_it(folder)}"
        )
    if change:
        log.warning("%s", said_change(change, folder))
    return source


def open_present(folder: RunFolder, *, closely: bool = False) -> tuple[ImageSource, Change]:
    """Open the images that a run was made of, as far as they still exist, and report what has changed.

    Args:
        folder: the run.
        closely: for exports: compare the bytes of every file that was renamed or linked since too (`compare`), and of
            every image of a table when it is read.

    Returns:
        The images by the rows that the run knows; a missing one has no path and can't be read. And the changes,
        which are known of folders only.

    Raises:
        StageError: the run was made of ready vectors alone, or of a table whose rows have changed.
    """
    source = folder.source
    options = picture_options(source)
    if options is None:
        raise StageError(f"{folder.path} was made of vectors ({source.spec}) and has no images")
    opened = open_recorded(folder, options)
    known = RecordedImages.of(folder) if isinstance(opened, ImageSource) and is_folder(opened) else None
    if known is not None and isinstance(opened, ImageSource):
        change = compare(known, opened, closely=closely)
        same = opened.fingerprint == picture_fingerprint(source)
        return opened if same else as_recorded(known, opened, change), change
    if not isinstance(opened, ImageSource) or opened.fingerprint != picture_fingerprint(source):
        remedy = "run again with another --out, or with --reread"
        if not source.has_vectors:
            remedy = takes_it(folder)
        raise StageError(f"{source.spec} has changed since {folder.path} was made; {remedy}")
    embedded = RecordedImages.of(folder) if closely else None
    return (opened if embedded is None else only_embedded(opened, embedded)), Change()


def describe_change(folder: RunFolder) -> str:
    """Return one line on what has changed in a run's folder of images; "" for nothing, or for other sources."""
    source = folder.source
    if picture_options(source) is None or not _is_compared(place_of(source.spec)):
        return ""
    try:
        _, change = open_present(folder)
    except (UsageError, StageError) as gone:
        return str(gone)
    return said_change(change, folder) if change else ""


def _is_compared(place: Path) -> bool:
    """Return whether changes of a source are known without reading its images: of folders, and of annotations."""
    return place.exists() and place.suffix.lower() not in FILES


def check_known_by_that_name(folder: RunFolder, name: str) -> None:
    """Raise `UsageError` where a file of a run's folder is new, or an image of the run under another name."""
    try:
        _, change = open_present(folder)
    except TenpercentError:
        return  # vectors, or a source that is gone: nothing is known of its files
    old = next((old for old, new in (change.renamed or {}).items() if new == name), None)
    if old is not None:
        raise UsageError(f"{name} is {old} of the run under another name; explain {old}")
    if name in change.new:
        raise UsageError(f"{name} was added since the run was made; to take it too: {folder.command()}")


@dataclass
class OpenRun:
    """Run folder with what was read of it.

    Attributes:
        folder: the run folder.
        images: the images it was made of, as far as they still exist, and what has changed; None before
            they are opened.
    """

    folder: RunFolder
    images: tuple[ImageSource, Change] | None = None
    _embeddings: Embeddings | None = field(default=None, repr=False)
    _made_of: object = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> OpenRun:
        """Open an existing run folder.

        Raises:
            RunFolderError: there is none, or its format is newer than this version reads.
        """
        return cls(RunFolder.open(path))

    @classmethod
    def embedded(cls, folder: RunFolder, opened: ImageSource | Embeddings) -> OpenRun:
        """Return the run of a source that was just opened and embedded into its folder, unchanged since."""
        if isinstance(opened, ImageSource):
            return cls(folder, (opened, Change()))
        # The source was read a moment ago: a cut need not read it again.
        run = cls(folder, None, replace(opened, shared=False))
        run._made_of = run._stamp("end")
        return run

    def embeddings(self, layer: str = "end") -> Embeddings:
        """Return the vectors of a layer; they are read again where another process has replaced them.

        Raises:
            StageError: part files are missing, or the ready vectors have changed since.
        """
        made_of = self._stamp(layer)
        if self._embeddings is None or made_of != self._made_of:
            self._embeddings, self._made_of = load_embeddings(self.folder, layer), made_of
        return self._embeddings

    def merges(self) -> Merges:
        """Return the stored merges.

        Raises:
            StageError: nothing has been clustered yet.
        """
        layer = self.folder.require(Stage.CLUSTER).settings.layer
        return Merges.load(self.folder.merges, self.embeddings(layer))

    def decided(self, *, ignore: bool = False, resources: Resources | None = None) -> Merges:
        """Return the merges under the decisions of the run, at least as deep as those without.

        Args:
            ignore: return the merges without decisions.
            resources: those for walking the tree again where decisions are new.

        Raises:
            StageError: nothing has been clustered yet.
        """
        merges = self.merges()
        constraints = constraints_for(self.folder, merges.embeddings, ignore=ignore)
        known = stored_decided(self.folder, merges, constraints)
        return merges.under(constraints, resources) if known is None else known

    def present(self, *, closely: bool = False) -> tuple[ImageSource, Change] | None:
        """Return the images that still exist, and what has changed; None where the run has no images.

        Raises:
            UsageError, StageError: see `open_present`.
        """
        if self.images is None and picture_options(self.folder.source) is not None:
            self.images = open_present(self.folder, closely=closely)
        return self.images

    def _stamp(self, layer: str) -> object:
        """Return what the vectors are those of: the source, and the record of the embedding."""
        return self.folder.source.fingerprint, self.folder.stage(Stage.EMBED), layer


def load_merges(folder: RunFolder) -> Merges:
    """Return the stored merges with their embeddings: see `OpenRun.merges`."""
    return OpenRun(folder).merges()


def load_decided(folder: RunFolder, *, ignore: bool = False) -> Merges:
    """Return the merges under the decisions of a run: see `OpenRun.decided`."""
    return OpenRun(folder).decided(ignore=ignore)


def grown(cut: Cut, folder: RunFolder, embeddings: Embeddings) -> Cut:
    """Return a cut that is to grow with the kept images of the stored selection locked, as far as they still exist.

    Images that an update of the run found moved are locked by their new ids.

    Raises:
        StageError: the run folder holds no selection, or a damaged one.
    """
    if not cut.grow:
        return cut
    check_grows(cut, folder.path)
    earlier = Selection.load(folder.selection)
    moved = {} if earlier.origin == embeddings.origin else read_added(folder.added)[1]
    names = earlier.ids[earlier.kept_by_id].tolist()
    kept = np.asarray([moved.get(name, name) for name in names], dtype=object)
    there = np.isin(kept, embeddings.ids)
    for at in np.flatnonzero(~there).tolist():  # row numbers have more digits where a source has grown
        there[at] = find_id(embeddings.ids, kept[at], embeddings.rows) is not None
    gone = kept[~there]
    if len(gone):
        log.warning(
            "%s kept earlier %s no longer among the images: %s",
            counted(len(gone), "image"),
            "is" if len(gone) == 1 else "are",
            first_of(gone.tolist()),
        )
    return replace(cut, locked=tuple(kept[there].tolist()), grow=False)


def load_selection(folder: RunFolder, embeddings: Embeddings | None = None) -> Selection:
    """Return the stored selection; where `embeddings` are given, it must have been made from them.

    Raises:
        StageError: nothing has been selected yet, or it was made from other embeddings.
    """
    folder.require(Stage.SELECT)
    return with_source(Selection.load(folder.selection, embeddings), folder)


def with_source(selection: Selection, folder: RunFolder) -> Selection:
    """Return the same selection with the source of its run."""
    source = folder.source
    return selection.with_source(source.spec, dict(source.options), source.n)
