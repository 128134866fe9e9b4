"""Whole images of a selection of their objects: one is redundant if all of its objects are."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.sources.options import Unit
from .selection import Selection


def redundant_images(selection: Selection) -> set[str]:
    """Return the paths of images of which no object is kept.

    Args:
        selection: of objects; those that could not be used have no part in it.
    """
    paths = selection.table["path"].to_pylist()
    kept = selection.kept_by_id.tolist()
    return set(paths) - {path for path, stays in zip(paths, kept, strict=True) if stays}


def images_kept(selection: Selection, files: Sequence[str], unit: Unit) -> list[str]:
    """Return the images that stay: of a selection of objects all but the redundant ones, also those without an object.

    Args:
        selection: of the images, or of their objects.
        files: paths of all images.
        unit: what the selection is of.
    """
    if unit is Unit.OBJECT:
        redundant = redundant_images(selection)
        return [file for file in files if file not in redundant]
    kept = set(selection.ids[selection.kept_by_id].tolist())
    return [file for file in files if file in kept]
