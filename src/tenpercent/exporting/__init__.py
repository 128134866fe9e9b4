"""Exports of the kept images, as training code reads them: row numbers, a folder, CSV, a Hugging Face data set."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.sources.boxes.opening import BoxFormat
from ..errors import UsageError
from .hub import HubSet
from .kept import Kept
from .summary import ExportFormat, ExportSummary, describe_change

if TYPE_CHECKING:
    from ..data.sources.source import ImageSource
    from ..selection.selection import Selection

__all__ = ["ExportFormat", "ExportSummary", "HubSet", "describe_change", "export", "push"]


def export(
    selection: Selection,
    source: ImageSource | None,
    format: ExportFormat | str,  # noqa: A002
    to: Path,
    without: Collection[str] = (),
    card: str = "",
) -> ExportSummary:
    """Write the kept images of `selection`, in the order of the source.

    Args:
        selection: the selection.
        source: the images it was made from; None for ready vectors.
        format: `indices` (``indices.npy``, int64[k], and ``indices.txt``: row numbers in the source),
            `folder` (a subfolder a class; hard links to the source's files where that is possible),
            `csv` (a row a kept image, with all columns of ``selection.table``),
            `hf` (a folder of Parquet files for ``datasets.load_dataset``); of videos `times` (a table of
            the kept frames' times) and `cut` (a list of the kept stretches for ffmpeg); `coco`, `yolo` and `voc` (of a
            source with boxes these and the images); `webdataset` (a folder of tar files, a sample a kept image),
            `labelstudio` (a folder with a list of tasks and the images), `cvat` (a zip file), `fiftyone` (a folder with
            all images, also the removed ones).
        to: the folder to make, the file for `csv` and `cvat`; written whole or not at all, and never over anything.
        without: ids of missing images; formats with images leave them out.
        card: the text of the ``README.md`` of `hf`; "" for none.

    Returns:
        The summary of the files written.

    Raises:
        UsageError: `to` exists or lies within the source; an image format of ready vectors; `times` or
            `cut` of other images than videos.
        MissingExtraError: `hf` without the package `datasets`.
        StageError: the source is not the one the selection was made from.
        TenpercentError: an image can no longer be read, the disk is full, or `to` can't be written.
    """
    from . import annotated_set, annotators, fiftyone, folder, hf, rows, times, webdataset
    from .boxed import boxed_set

    format = ExportFormat(format)  # noqa: A001
    to = to if to.name else to.absolute()  # "." has no name, and files are written under one or beside it
    kept = Kept.of(selection)
    if format is ExportFormat.INDICES:
        return rows.write_indices(kept, to)
    if format is ExportFormat.CSV:
        return rows.write_csv(kept, to)
    if source is None:
        raise UsageError(
            f"this run was made from ready vectors: it has no images for the format {format.value!r}; "
            f"choose --format indices or csv"
        )
    if format.has_annotations:
        return annotated_set.write_annotated_set(selection, source, BoxFormat(format), to)
    kept = kept.without(without)
    kept.check(source)
    if format is ExportFormat.TIMES:
        return times.write_times(kept, source, to)
    if format is ExportFormat.CUT:
        return times.write_cut(kept, source, to)
    if format is ExportFormat.WEBDATASET:
        return webdataset.write_shards(kept, source, to)
    if format is ExportFormat.LABELSTUDIO:
        return annotators.write_labelstudio(boxed_set(selection, kept, source), to)
    if format is ExportFormat.CVAT:
        return annotators.write_cvat(boxed_set(selection, kept, source), to)
    if format is ExportFormat.FIFTYONE:
        every = Kept.of(selection, all_images=True).without(without)
        every.check(source)
        return fiftyone.write_fiftyone(boxed_set(selection, every, source, all_images=True), to)
    if format is ExportFormat.FOLDER:
        return folder.write_folder(kept, source, to)
    return hf.write_dataset(kept, source, to, card)


def push(
    selection: Selection,
    source: ImageSource | None,
    to: HubSet,
    without: Collection[str] = (),
    card: str = "",
) -> ExportSummary:
    """Push the kept images of `selection` to the Hugging Face hub; see `hub.push_dataset`."""
    from .hub import push_dataset

    if source is None:
        raise UsageError(
            "this run was made from ready vectors: it has no images to push; choose --format csv"
        )
    kept = Kept.of(selection).without(without)
    kept.check(source)
    return push_dataset(kept, source, to, card)
