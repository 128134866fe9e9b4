"""Choice between the image files and the Parquet files of a folder that has both."""

from __future__ import annotations

import posixpath

import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import SourceError, counted
from .arrow_types import can_be_image
from .listing import Listing
from .options import NO_COLUMN, SourceOptions
from .remote.place import Place, opened

_TABLE_OPTIONS = frozenset({"image_column", "label_column", "embedding_column", "id_column", "drop_bad_rows"})


def means_pictures(listing: Listing, options: SourceOptions) -> bool:
    """Return whether the image files of a folder are meant, not its Parquet files.

    They are if there are no Parquet files, or none with a column of images (captions, vectors, a run's own files).
    Column options select the Parquet files, `image_column` ``"none"`` the image files.

    Raises:
        SourceError: both could be meant.
    """
    if not listing.images or not listing.parquets:
        return bool(listing.images)
    if listing.rules == 1 or options.image_column == NO_COLUMN:
        return True
    if options.given() & _TABLE_OPTIONS:
        return False
    columns = next(filter(None, (_image_columns(listing.root / path) for path in listing.parquets)), None)
    if columns is None:
        return True
    raise SourceError(
        f"{listing.root} holds {counted(len(listing.images), 'image file')} and "
        f"{counted(len(listing.parquets), 'Parquet file')} with images; give --image-column {NO_COLUMN} for the image "
        f"files, --image-column {columns[0]} for the Parquet files{_or_path(listing)}"
    )


def _image_columns(path: Place) -> list[str]:
    """Return the columns of a Parquet file that can hold images; none if it can't be read."""
    try:
        schema = pq.read_schema(opened(path))
    except (OSError, pa.ArrowException):
        return []
    return [column.name for column in schema if can_be_image(column.type)]


def _or_path(listing: Listing) -> str:
    """Return the path that selects the Parquet files alone, in words, where there is one."""
    tables = listing.parquets
    shared = tables[0] if len(tables) == 1 else posixpath.commonpath(map(posixpath.dirname, tables))
    if not shared or any(path.startswith(f"{shared}/") for path in listing.images):
        return ""
    return f", or {listing.root / shared} as the source"
