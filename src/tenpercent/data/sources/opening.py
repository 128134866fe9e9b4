"""Opening of a source by its name: a path, `hf:NAME`, `torchvision:NAME` or `digits`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from ...errors import SourceError, UsageError, nearest, without_secrets
from ..store.checks import as_path, check_kind
from ..store.embeddings import Embeddings
from ..store.run_folder import RunFolder, is_run_folder
from .archives import open_archives
from .boxes.opening import BoxFormat, open_annotated
from .classes import renamed, same_classes
from .folder import open_folder
from .huggingface import Address, open_huggingface, without_split
from .idx_files import has_idx_files, open_idx
from .lance_tables import ENDING as LANCE
from .lance_tables import open_lance
from .library_sets import open_digits, open_torchvision
from .listing import READ_IN_PLACE, VIDEO_ENDINGS, Listing, list_folder, no_images
from .mixed_folder import means_pictures
from .options import NO_COLUMN, SourceOptions
from .parquet import open_parquet
from .patterns import before_braces, expanded, has_braces
from .remote.fetched import fetched
from .remote.listing import find_remote, list_remote
from .remote.place import Place, RemotePath
from .remote.store import is_remote
from .source import ImageSource
from .splits import NoSplitError, choose_split
from .vectors import open_npy
from .videos import open_videos

__all__ = ["ImageSource", "SourceOptions", "open_source", "open_split"]

_COLUMNS = (
    "image_column",
    "label_column",
    "embedding_column",
    "id_column",
    "max_pixels",
    "drop_bad_rows",
    "where",
    "by",
)
_ARCHIVES = ("split", "labels", "label_column", "max_pixels")
_VIDEOS = ("split", "label_column", "max_pixels", "fps", "by")

PACKED = (".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
PARQUET, NPY = (".parquet", ".pq"), ".npy"
FILES = (*PARQUET, NPY, LANCE, *READ_IN_PLACE, *sorted(VIDEO_ENDINGS))


class Prefix(StrEnum):
    """Prefixes before a colon."""

    HF = "hf"
    TORCHVISION = "torchvision"
    COCO = BoxFormat.COCO.value
    YOLO = BoxFormat.YOLO.value
    VOC = BoxFormat.VOC.value


ANNOTATED = (Prefix.COCO, Prefix.YOLO, Prefix.VOC)


def open_source(spec: str | Path, options: SourceOptions = SourceOptions()) -> ImageSource | Embeddings:  # noqa: B008
    """Open a source of images, or of existing vectors.

    Args:
        spec: a folder of images or of idx files, a video or a folder of videos, a zip or tar file or a folder of
            them, a Parquet file or folder, several of such files by braces (``shard-{000..009}.tar``), a Lance data
            set, a `.npy` file, the address of images, archives, Parquet, videos or `.npy` (``s3://bucket/photos``),
            ``hf:NAME[:CONFIGURATION][:SPLIT]``, ``torchvision:NAME``, ``coco:FILE.json``, ``yolo:data.yaml``,
            ``voc:FOLDER`` or ``digits``. A `Path`, or another string with a slash, is always a path.
        options: those that apply to this kind of source.

    Returns:
        An `ImageSource` whose `spec` opens it again from anywhere (with the same options), or `Embeddings`.

    Raises:
        SourceError: missing, empty, unreadable, or not of the stated kind.
        UsageError: an option that does not apply, or an invalid value.
    """
    if not isinstance(spec, str):
        as_path(spec, "a source")
    check_options(options)
    opened = _open(spec, options)
    return replace(opened, decoding=options.decoding) if isinstance(opened, ImageSource) else opened


def check_options(options: object) -> None:
    """Raise `UsageError` where options are of another type, such as the name of a split."""
    check_kind(options, SourceOptions, "options", "SourceOptions(split='train'), for example")


def _open(spec: str | Path, options: SourceOptions) -> ImageSource | Embeddings:
    if is_remote(spec):
        return _open_remote(str(spec), options)
    prefix, name = split_prefix(spec)
    if prefix is not None and not name.strip():
        raise SourceError(f"{spec} names no data set; give {prefix}:NAME")
    if prefix is Prefix.HF:
        options.allow("hf: sources", "split", *_COLUMNS)
        return open_huggingface(name, options)
    if prefix is Prefix.TORCHVISION:
        options.allow("torchvision: sources", "split", "data_dir", "max_pixels")
        return open_torchvision(name, options.data_dir, options.split, options.decoding)
    if prefix in ANNOTATED:
        return open_annotated(BoxFormat(prefix), name, options)
    if spec == "digits":
        options.allow("digits", "split")
        return open_digits(options.split)
    path = Path(name).expanduser()
    try:
        if has_braces(name) and not path.exists():
            return _open_several(path, options)
        if not name or not path.exists():
            raise SourceError(_missing(name))
        if path.is_dir():
            return _open_directory(path.resolve(), options)
    except OSError as error:
        raise SourceError(
            f"{path} can't be read ({error.strerror}); make it readable, or give another source"
        ) from None
    return _open_file(_located(path), options)


def _open_remote(spec: str, options: SourceOptions) -> ImageSource | Embeddings:
    """Open what lies in a store; the source's name is without what gives access to it."""
    if options.follow_links:
        raise UsageError(f"--follow-links does not apply to {spec}: a store has no links; leave it out")
    place, files = find_remote(spec)
    if place.suffix.lower() == LANCE:
        raise SourceError(f"{spec} is not read where it is; fetch the Lance data set, and name its folder")
    found = (
        _open_files(files, place, options) if files else _open_listing(list_remote(place, options), options)
    )
    return replace(found, spec=without_secrets(spec)) if isinstance(found, ImageSource) else found


def _open_several(name: Path, options: SourceOptions) -> ImageSource | Embeddings:
    """Open the files that a name with braces stands for."""
    files: list[Place] = [Path(one) for one in expanded(absolute(name))]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise SourceError(
            f"{len(missing):,} of the {len(files):,} files that {name} names are not there, first {missing[0]}; bring "
            "them, or name those that are there"
        )
    found = _open_files(files, place_of(name).resolve(), options)
    return replace(found, spec=absolute(name)) if isinstance(found, ImageSource) else found


def absolute(spec: str | Path) -> str:
    """Return the name that opens a source of files or of `datasets` from any working directory, without passwords."""
    if is_remote(spec):
        return without_secrets(str(spec))
    prefix, name = split_prefix(spec)
    if prefix is Prefix.HF:
        return str(Address.of(name))
    if prefix in ANNOTATED and is_remote(name):
        return without_secrets(f"{prefix}:{name}")
    path = Path(name).expanduser()
    if prefix in ANNOTATED:
        return f"{prefix}:{path.resolve()}"
    return str(path.resolve() if path.is_dir() else _located(path))


def in_store(spec: str | Path) -> bool:
    """Return whether a source is read from an address: images, or annotations."""
    return is_remote(spec) or (isinstance(spec, str) and is_remote(split_prefix(spec)[1]))


def place_of(spec: str | Path) -> Path:
    """Return the file or folder that a source is read from; of files named by braces, the folder above all.

    One of that name is not there for a name of a library, or an address.
    """
    if is_remote(spec):
        return Path(spec)
    prefix, name = split_prefix(spec)
    path = Path(name if prefix in ANNOTATED else spec)
    return Path(before_braces(name)[0] or ".") if has_braces(name) and not path.exists() else path


def _located(path: Path) -> Path:
    """Return the absolute path of a file, under the given name if that is a link to one without a telling name.

    The cache of the hub has ``snapshots/…/train.parquet`` as a link to a file without an ending.
    """
    file = path.resolve()
    return file if file.suffix.lower() in FILES else path.parent.resolve() / path.name


def open_split(spec: str | Path, options: SourceOptions, split: str) -> ImageSource | Embeddings | None:
    """Open another split of a source, with labels coded as by `open_source(spec, options)`.

    Args:
        spec: as for `open_source`.
        options: those that the source was opened with.
        split: the split, "test" say.

    Returns:
        The split, or None where the source has none of that name. Classes that only the other split has get codes
        after those of the source.
    """
    base = open_source(spec, options)
    if isinstance(base, ImageSource) and not base.splits:
        return None
    prefix, name = split_prefix(spec)
    if prefix is Prefix.HF:
        spec = f"hf:{without_split(name)}"
    try:  # a label file belongs to the images that it was given for
        labels = options.labels if isinstance(base, Embeddings) else None
        other = open_source(spec, replace(options, split=split, labels=labels))
    except NoSplitError:
        return None
    if isinstance(base, Embeddings):
        return other
    return with_classes(other, base.class_names) if isinstance(other, ImageSource) else other


def with_classes(source: ImageSource, class_names: tuple[str, ...]) -> ImageSource:
    """Return the source with labels as codes of `class_names`; other classes come after them.

    Classes match as in `same_classes`, and `taken` tells where their names differ. Where −1 and 1 are the only numbers
    of the source, −1 is a class, but means no label beside classes that lack it.
    """
    if source.labels is None or source.class_names == class_names:
        return source
    none = {"-1"} if source.class_names == ("-1", "1") and class_names and "-1" not in class_names else set()
    same = same_classes([name for name in source.class_names if name not in none], class_names)
    ours = [same.get(name, name) for name in source.class_names]
    names = class_names + tuple(name for name in ours if name not in {*class_names, *none})
    codes = [-1 if name in none else names.index(name) for name in ours]
    taken = {**source.taken, **({"classes": said} if (said := renamed(same)) else {})}
    labels = np.array([*codes, -1], dtype=np.int64)[source.labels]
    return replace(source, labels=labels, class_names=names, taken=taken)


def split_prefix(spec: str | Path) -> tuple[Prefix | None, str]:
    """Return the prefix, if any, and the rest; a `Path` has none."""
    if isinstance(spec, Path):
        return None, str(spec)
    found = re.match(r"([A-Za-z]\w+):", spec)
    if found is None or Path(spec).exists():
        return None, spec
    try:
        return Prefix(found[1].lower()), spec[found.end() :]
    except ValueError:
        known = [f"{prefix}:" for prefix in Prefix]
        raise SourceError(
            f"{spec} begins with {found[0]!r}, which is not a kind of source (known: {', '.join(known)})"
            f"{nearest(found[0], known)}"
        ) from None


def _missing(name: str) -> str:
    close = nearest(name, ["digits"])
    return (
        f"no such file or folder: {name!r}; give a folder, a video, an archive, a .parquet or .npy file, hf:NAME, "
        f"torchvision:NAME, coco:FILE, yolo:FILE, voc:FOLDER or digits{close}"
    )


def _open_directory(folder: Path, options: SourceOptions) -> ImageSource | Embeddings:
    if folder.suffix.lower() == LANCE and (folder / "_versions").is_dir():
        options.allow("a Lance data set", *_COLUMNS)
        return open_lance(folder, options)
    if any((folder / mark).is_file() for mark in ("state.json", "dataset_dict.json")):
        raise SourceError(f"{folder} was written by save_to_disk; open it as hf:{folder}")
    if options.rules > 1 and is_run_folder(folder):
        raise SourceError(
            f"{folder} is a run folder, not a source; name what it was made of, or bring it up to date: "
            f"{RunFolder(folder).command()}"
        )
    return _open_listing(list_folder(folder, options), options)


def _open_listing(listing: Listing, options: SourceOptions) -> ImageSource | Embeddings:
    """Open the files of a folder: those of the kind that it holds."""
    folder = listing.root
    if listing.videos and (options.fps is not None or not listing.images + listing.parquets):
        options.allow("a folder of videos", *_VIDEOS, "follow_links")
        return open_videos(listing, options)
    if means_pictures(listing, options):
        alone = options if options.image_column != NO_COLUMN else replace(options, image_column=None)
        alone.allow("a folder of images", "split", "follow_links", "max_pixels", "labels", "label_column")
        return open_folder(listing, alone)
    if not listing.parquets and isinstance(folder, Path) and has_idx_files(folder):
        options.allow("a folder of idx files", "split")
        return open_idx(folder, options.split)
    if not listing.parquets and listing.archives:
        options.allow("a folder of archives", *_ARCHIVES, "follow_links")
        return open_archives([folder / path for path in sorted(listing.archives)], folder, options)
    if not listing.parquets:
        raise no_images(folder, listing.skipped)
    options.allow("a folder of Parquet files", "split", "follow_links", *_COLUMNS)
    opened = open_parquet([folder / path for path in listing.parquets], folder, options)
    if not isinstance(opened, ImageSource):
        return opened
    images = {"image files": len(listing.images)} if listing.images else {}
    return replace(opened, skipped={**listing.skipped, **opened.skipped, **images})


def _open_files(files: Sequence[Place], place: Place, options: SourceOptions) -> ImageSource | Embeddings:
    """Open files named one by one, all Parquet or all archives; `place` is their folder, or the one file."""
    endings, spec = {file.suffix.lower() for file in files}, files[0] if len(files) == 1 else place
    if endings <= {*PARQUET}:
        options.allow("a Parquet file", "split", *_COLUMNS)
        return open_parquet(files, spec, options)
    if endings <= {*READ_IN_PLACE}:
        options.allow("an archive", *_ARCHIVES)
        return open_archives(files, spec, options)
    if len(files) == 1 and endings <= VIDEO_ENDINGS:
        return _open_video(files[0], options)
    if len(files) == 1 and endings == {NPY} and isinstance(files[0], RemotePath):
        return _open_vectors(fetched(files[0].parent, [files[0].name]) / files[0].name, options)
    raise SourceError(
        f"{files[0]} is not read where it is: Parquet files, .tar and .zip files, a video, a .npy file, and folders of "
        "images, videos or the first three are; fetch it, and name it on disk"
    )


def _open_video(file: Place, options: SourceOptions) -> ImageSource:
    options.allow("a video", *_VIDEOS)
    return open_videos(Listing(file.parent, rules=options.rules, videos=[file.name]), options, file)


def _open_vectors(path: Path, options: SourceOptions) -> Embeddings:
    options.allow("a .npy file", "split", "labels", "ids", "drop_bad_rows")
    if options.split is not None:
        choose_split(options.split, (), str(path))
    return open_npy(path, options)


def _open_file(path: Path, options: SourceOptions) -> ImageSource | Embeddings:
    ending = path.suffix.lower()
    if ending in (*PARQUET, *READ_IN_PLACE):
        return _open_files([path], path, options)
    if ending == NPY:
        return _open_vectors(path, options)
    if ending in VIDEO_ENDINGS:
        return _open_video(path, options)
    if ending in PACKED:
        raise SourceError(f"{path} is packed as a whole, so no image in it can be read alone; unpack it once")
    raise SourceError(
        f"{path} is a file, not a folder; give the folder of the images, a video, an archive, or a .parquet or .npy "
        "file"
    )
