"""Table of the vectors that a program passed, also beside a folder of images, in the run folder that is made of it."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import RunFolderError, UsageError, counted, nearest
from ..store.arrays import checked_vectors
from ..store.checksums import ABOUT
from ..store.embeddings import Embeddings, Ints
from ..store.files import remove_temporaries, replacing
from ..store.ids import as_ids, check_unique
from ..store.labels import label_codes
from ..store.run_folder import RunFolder, Stage
from .given import GivenVectors, given_vectors, is_place
from .opening import open_source
from .options import NO_COLUMN, SourceOptions
from .source import ImageSource

log = logging.getLogger("tenpercent")

GROUP = 2**26  # bytes of vectors in a row group


def stored_given(
    source: Any, options: SourceOptions, folder: Path, values: dict[str, Any], *, reread: bool = False
) -> tuple[Path, SourceOptions]:
    """Write what a program passed into a run folder, unless it is there; return the file, and the options to open it.

    Args:
        source: vectors in any form that `given_vectors` takes; or a folder of images, beside which they are given.
        options: those that the source is opened with.
        folder: the run folder, which need not exist.
        values: ``labels`` and ``ids``, one a vector, and beside images ``embeddings``.
        reread: replace other vectors.

    Raises:
        UsageError: there are no vectors, or they don't fit the images; see `Embeddings.from_numpy` too.
        RunFolderError: the folder holds a run of something else.
    """
    run = RunFolder.at(folder)
    if not is_place(source):
        given = given_vectors(source, options, **values)
    elif "embeddings" in values:
        given = _beside_images(source, options, values.pop("embeddings"), **values)
    else:
        raise UsageError(
            f"{' and '.join(values)} given beside {source}, which is read from its place; give the name of a column, "
            "or a file as pathlib.Path"
        )
    found, path = given.embeddings(), run.given
    options = SourceOptions(
        image_column=NO_COLUMN if given.pictures is None else "image",
        label_column=NO_COLUMN if found.labels is None else "label",
        embedding_column="vector",
        id_column=NO_COLUMN if given.ids is None else "id",
        drop_bad_rows=given.drop_bad_rows,
    )
    if run.json_path.exists() and not reread:
        there = open_source(path, options) if path.exists() else None
        if not isinstance(there, Embeddings) or there.origin != found.origin:
            raise RunFolderError(
                f"{run.path} holds a run of {'other vectors' if there else run.source.spec}; choose another out, or "
                "make it again with reread=True"
            )
        return path, options
    with run.lock(Stage.EMBED):
        remove_temporaries(path)
        _write(given, path)
    return path, options


def _write(given: GivenVectors, path: Path) -> None:
    """Write the rows as they were given, those that can't be used too."""
    vectors, _ = checked_vectors(given.vectors)
    n, width = vectors.shape
    columns: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    if given.ids is not None:
        names, numbers = as_ids(given.ids, n)
        columns["id"] = pa.array(names.tolist(), pa.string())
        metadata[ABOUT.decode()] = json.dumps({"number_ids": numbers})
    codes, classes = label_codes(given.labels, given.class_names, n)
    if codes is not None:
        columns["label"] = codes
        feature = {"_type": "ClassLabel", "names": list(classes)}
        metadata["huggingface"] = json.dumps({"info": {"features": {"label": feature}}})
    if given.pictures is not None:
        cells = pa.array(given.pictures, pa.string())
        columns["image"] = pa.StructArray.from_arrays([pa.nulls(n, pa.binary()), cells], ["bytes", "path"])
    flat = pa.array(np.ascontiguousarray(vectors).ravel())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(flat, width)
    table = pa.table(columns).replace_schema_metadata(metadata)
    group = max(1, GROUP // (width * vectors.itemsize))
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="none", use_dictionary=False, row_group_size=group)


# ---- beside images -----------------------------------------------------------------------------------------------


def _beside_images(
    source: str | Path, options: SourceOptions, vectors: Any, labels: Any = None, ids: Any = None
) -> GivenVectors:
    """Return vectors with the ids, classes and files of the images that they are of, in the order of the source.

    Raises:
        UsageError: it is no folder of image files on disk, or there is not one vector for each image.
    """
    opened = open_source(source, options)
    if not isinstance(opened, ImageSource) or None in opened.paths or opened.stamps is not None:
        raise UsageError(
            f"embeddings given beside {source}, which is no folder of image files on disk; add them to its table as a "
            "column, and give the column's name"
        )
    vectors = open_source(vectors) if isinstance(vectors, Path) else vectors
    given = given_vectors(vectors, SourceOptions(), labels=labels, ids=ids)
    matrix, _ = checked_vectors(given.vectors)
    rows = _rows(opened, len(matrix), given.ids)
    codes, names = label_codes(given.labels, given.class_names, len(matrix))
    place = Path(opened.spec)
    return replace(
        given,
        vectors=matrix[rows],
        labels=opened.labels if codes is None else codes[rows],
        class_names=(opened.class_names if codes is None else names) or None,
        ids=list(opened.ids),
        pictures=[str(place / str(path)) for path in opened.paths],
    )


def _rows(opened: ImageSource, n: int, ids: Any) -> Ints:
    """Return the vector of each image of a source, int64[len(opened)].

    Raises:
        UsageError: an image has none, or a vector no image.
    """
    if ids is None:
        if n != len(opened):
            raise UsageError(
                f"there are {counted(n, 'vector')} for {counted(len(opened), 'image')} of {opened.spec}; give one per "
                "image in its order, or ids=, the path of each one's image in the folder"
            )
        log.warning(
            "vectors are in the order of the images: the first is of %s, the last of %s",
            opened.ids[0],
            opened.ids[-1],
        )
        return np.arange(n)
    names, _ = as_ids(ids, n)
    check_unique(np.sort(names))
    place = {name: row for row, name in enumerate(names.tolist())}
    known = set(opened.ids)
    if unknown := [name for name in place if name not in known]:
        raise UsageError(
            f"{unknown[0]} is no image of {opened.spec} ({len(unknown):,} such); give each image's path in the folder"
            f"{nearest(unknown[0], opened.ids)}"
        )
    if without := [name for name in opened.ids if name not in place]:
        raise UsageError(f"{without[0]} has no vector ({len(without):,} such); give one vector per image")
    return np.asarray([place[name] for name in opened.ids], dtype=np.int64)
