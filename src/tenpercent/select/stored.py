"""What a run folder holds, opened as the objects that made it."""

from __future__ import annotations

from ..errors import StageError, UsageError
from ..images.options import SourceOptions
from ..images.source import ImageSource
from ..images.sources import open_source
from ..store.embeddings import Embeddings
from ..store.files import read_metadata
from ..store.run import RunFolder, Stage
from .cut import Within
from .merges import Merges
from .selection import Selection


def stored_merges(
    folder: RunFolder, embeddings: Embeddings, within: Within | str | None = None
) -> Merges | None:
    """Return the stored merges of these embeddings, or None where there are none or they were made `within` another."""
    if folder.stage(Stage.CLUSTER) is None or not folder.merges.exists():
        return None
    about = read_metadata(folder.merges)
    if about.get("origin") != embeddings.origin or (
        within is not None and about.get("within") != str(within)
    ):
        return None
    return Merges.load(folder.merges, embeddings)


def load_merges(folder: RunFolder) -> Merges:
    """Return the stored merges with their embeddings.

    Raises:
        StageError: nothing has been clustered yet.
    """
    settings = folder.require(Stage.CLUSTER)["settings"]
    return Merges.load(folder.merges, load_embeddings(folder, settings["layer"]))


def load_embeddings(folder: RunFolder, layer: str = "end") -> Embeddings:
    """Return a run's embeddings, from its part files or from where the ready vectors lie.

    Raises:
        StageError: the vectors have changed since.
    """
    source = folder.read()["source"]
    if source["kind"] != "vectors":
        return Embeddings.load(folder.embeddings, layer)
    if layer != "end":
        raise UsageError(f"ready vectors have no layer {layer!r}; leave out --layer")
    opened = open_source(source["spec"], SourceOptions.from_json(source["options"]))
    if not isinstance(opened, Embeddings) or opened.content_fingerprint != source["fingerprint"]:
        raise StageError(
            f"{source['spec']} has changed since {folder.path} was made; choose another --out and run again"
        )
    return opened


def open_images(folder: RunFolder) -> ImageSource:
    """Open the images that a run was made of.

    Raises:
        StageError: the run was made of ready vectors, or its images have changed.
    """
    source = folder.read()["source"]
    if source["kind"] == "vectors":
        raise StageError(f"{folder.path} was made of vectors ({source['spec']}) and has no images")
    opened = open_source(source["spec"], SourceOptions.from_json(source["options"]))
    if not isinstance(opened, ImageSource) or opened.fingerprint != source["fingerprint"]:
        raise StageError(
            f"{source['spec']} has changed since {folder.path} was made; choose another --out and run again"
        )
    return opened


def load_selection(folder: RunFolder) -> Selection:
    """Return the stored selection.

    Raises:
        StageError: nothing has been selected yet.
    """
    folder.require(Stage.SELECT)
    source = folder.read()["source"]
    return Selection.load(folder.selection).with_source(source["spec"], source["options"], source["n"])
