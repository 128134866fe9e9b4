"""Archives as sources: images in zip and tar files, among them the shards of WebDataset, with their labels."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from ...errors import SourceError, UsageError, counted, one_line
from ...progress import bar
from ..store.labels import label_codes
from .annotations import TEXTS, Annotations, Member, TextFile, find_annotations, near, read_annotations
from .archive_files import ArchiveFile, open_archive
from .columns import LABEL_NAMES
from .folder import Ints, coded, printable, texts_in
from .folder_layout import FolderLayout, read_layout
from .listing import LEFT_BEHIND, NO_IMAGES, Listing, no_images
from .options import NO_COLUMN, SourceOptions
from .remote.place import Place, RemotePath, inside
from .source import ImageSource, Raw, Sample, Unreadable

CLS, JSON = ".cls", ".json"
NAMED = 3  # archives that a remark names
THREADS = 4  # archives listed at a time


@dataclass(frozen=True)
class _Image:
    """An image: its archive, its path there, and the class of its folder."""

    archive: ArchiveFile
    name: str
    kind: str = ""


def open_archives(files: Sequence[Place], spec: Place, options: SourceOptions) -> ImageSource:
    """Open the images in archives, in the order of their classes, archives and paths.

    The class of an image is in the file of its name that ends with ``.cls`` or ``.json``, as WebDataset has it, where
    there are such files; else it is its folder, or in a text file that names it, as for a folder of images.

    Args:
        files: the archives, sorted.
        spec: the archive, or the folder that holds them.
        options: `split`, `labels`, `label_column` (also the field of ``.json``) and `max_pixels`.

    Raises:
        SourceError: one is no archive; no images, no such split; labels that can't be such.
    """
    archives = _opened(files)
    skipped: Counter[str] = Counter()
    found = [_Image(archive, name) for archive in archives for name in _images(archive, skipped)]
    if not found:
        raise no_images(spec, skipped)
    layout = read_layout({_folder(one.name) for one in found}, options.split, str(spec))
    images = sorted(
        (
            _Image(one.archive, one.name, layout.class_of[_folder(one.name)])
            for one in found
            if _folder(one.name) in layout.class_of
        ),
        key=lambda one: (one.kind, str(one.archive.path), one.name),
    )
    names, codes, taken = _labels(images, spec, options, skipped)
    ids = tuple(printable(_id(one, spec)) for one in images)
    if len(set(ids)) < len(ids):
        raise SourceError(
            f"{spec} holds two files whose names look the same once written in UTF-8; rename one"
        )

    def read(row: int) -> Raw:
        return images[row].archive.read(images[row].name)

    def sample(row: int) -> Sample:
        archive, name = images[row].archive, images[row].name
        within = archive.path.name if archive.path == spec else inside(archive.path, spec)
        key = _key(name)
        if archive not in samples:
            samples[archive] = _samples(archive)
        return Sample(within, name, key, samples[archive][key], archive.read)

    samples: dict[ArchiveFile, Mapping[str, Sequence[str]]] = {}

    return ImageSource(
        spec=str(spec),
        ids=ids,
        paths=(None,) * len(ids),
        labels=codes,
        class_names=names,
        read=read,
        split=layout.split,
        skipped={what: count for what, count in skipped.items() if count},
        splits=layout.splits,
        taken=taken | _remarks(archives, layout, spec),
        sample=sample,
        stamps=tuple(
            one.archive.path.stat().stamp for one in images if isinstance(one.archive.path, RemotePath)
        )
        or None,
    )


def _opened(files: Sequence[Place]) -> list[ArchiveFile]:
    """Open archives, some at a time: listing those of a store takes long."""
    found = []
    with ThreadPoolExecutor(THREADS) as pool, bar(len(files), "Listing archives", "archives") as progress:
        for archive in pool.map(open_archive, files):
            found.append(archive)
            progress.update(1)
    return found


def _images(archive: ArchiveFile, skipped: Counter[str]) -> list[str]:
    """Return the images in an archive, and count what is skipped."""
    listing = Listing(archive.path)
    for name in archive.names:
        parts = PurePosixPath(name).parts
        if any(part.startswith(".") or part.lower() in LEFT_BEHIND for part in parts):
            skipped["hidden files"] += 1
        else:
            listing.add(name)
    skipped.update(listing.skipped + Counter({"Parquet files": len(listing.parquets)}))
    return listing.images


def _labels(
    images: Sequence[_Image], spec: Place, options: SourceOptions, skipped: Counter[str]
) -> tuple[tuple[str, ...], Ints | None, dict[str, str]]:
    """Return the class names, the code of each image, and the words for where they come from."""
    if options.label_column == NO_COLUMN:
        return (), None, {}
    archives = {one.archive for one in images}
    beside = {(archive, name) for archive in archives for name in archive.names if name.endswith((CLS, JSON))}
    ending = CLS if options.label_column is None and any(name.endswith(CLS) for _, name in beside) else JSON
    sides = [(one.archive, f"{_key(one.name)}{ending}") for one in images]
    if options.labels is not None or beside.isdisjoint(sides):
        return _text_labels(images, spec, options, skipped)
    found = [_value(*side, options.label_column) if side in beside else (None, "") for side in sides]
    skipped[NO_IMAGES] -= len(beside.intersection(sides))
    fields = {field for _, field in found} - {""}
    if options.label_column is not None and options.label_column not in fields:
        raise SourceError(
            f"no {JSON} file beside the images of {spec} has the field of --label-column {options.label_column}; "
            "name another"
        )
    what = f"{ending} files" + (f", field {', '.join(sorted(fields))}" if fields else "")
    try:
        codes, names = label_codes([value for value, _ in found], None, len(found))
    except UsageError as error:
        raise SourceError(
            f"{spec}: the labels in {what} can't be used: {one_line(error)}; name another field with --label-column, "
            f"or take none with --label-column {NO_COLUMN}"
        ) from None
    return names, codes, {"labels": what} if codes is not None else {}


def _text_labels(
    images: Sequence[_Image], spec: Place, options: SourceOptions, skipped: Counter[str]
) -> tuple[tuple[str, ...], Ints | None, dict[str, str]]:
    """Return the same where no files beside the images have labels: by folders, else by a text file that names them."""
    kinds, said = [one.kind for one in images], Annotations()
    ids = [_id(one, spec) for one in images]
    if options.labels is not None:
        said = read_annotations(options.labels.expanduser(), ids, options.label_column)
    elif options.label_column is not None or not any(kinds):
        folders = {part for one in images for part in one.name.split("/")[:-1]}
        said = find_annotations(_texts_near(images, spec), ids, folders, options.label_column)
    if options.label_column is not None and said.classes is None:
        why = f" ({said.remark})" if said.remark else ""
        raise SourceError(
            f"{spec} has no {JSON} files beside its images, nor a text file that names them, with --label-column "
            f"{options.label_column}{why}; leave it out"
        )
    if said.classes is not None and said.file is not None:
        skipped[NO_IMAGES] -= isinstance(said.file, Member)
        kinds, taken = [said.classes.get(one, "") for one in ids], {"labels": printable(said.file.name)}
    else:
        taken = {"unlabelled": printable(said.remark)} if said.remark else {}
    return *coded(Listing(spec), kinds), taken


def _texts_near(images: Sequence[_Image], spec: Place) -> list[TextFile]:
    """Return the text files that may give the classes of images: in their archives, and beside these on disk."""
    found: list[TextFile] = []
    for archive in dict.fromkeys(one.archive for one in images):
        own = [one.name for one in images if one.archive is archive]
        samples = set(map(_key, own))  # whose text files are each for one image, as captions are
        texts = [name for name in archive.names if name.lower().endswith(TEXTS) and _key(name) not in samples]
        found += [Member(name, partial(_content, archive, name)) for name in near(texts, own)]
    folder = spec if spec.is_dir() else spec.parent
    return [*found, *texts_in(folder)] if isinstance(folder, Path) else found


def _content(archive: ArchiveFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except Unreadable:
        return b""  # the archive ends in it, which is said


def _value(archive: ArchiveFile, name: str, field: str | None) -> tuple[str | int | None, str]:
    """Return the label in a file beside an image, and the field of JSON that it is in.

    Raises:
        SourceError: the file can't be read.
    """
    try:
        text = archive.read(name).decode("utf-8-sig").strip()
        if name.endswith(CLS):
            return int(text) if text.lstrip("-").isdecimal() else text or None, ""
        content = json.loads(text)
    except Unreadable:
        return None, ""  # the archive ends in it, which is said
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{name} in {archive.path} can't be read ({one_line(error)}); repair it, or take no labels with "
            f"--label-column {NO_COLUMN}"
        ) from None
    if not isinstance(content, Mapping):
        return content, ""
    known = {key.lower(): key for key in content}
    usual = next((known[one] for one in LABEL_NAMES if one in known), "") if field is None else field
    return (content[usual], usual) if usual and usual in content else (None, "")


def _remarks(archives: Sequence[ArchiveFile], layout: FolderLayout, spec: Place) -> dict[str, str]:
    broken = [archive.remark for archive in archives if archive.remark]
    more = f" and {counted(len(broken) - NAMED, 'other')}" if len(broken) > NAMED else ""
    said = {"damage": f"{'; '.join(broken[:NAMED])}{more}"} if broken else {}
    return said if spec.is_file() else {"images": counted(len(archives), "archive"), **said}


def _folder(name: str) -> str:
    return name.rpartition("/")[0]


def _key(name: str) -> str:
    """Return what the files of one sample share: the path up to the first dot of the name."""
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{file.partition('.')[0]}"


def _samples(archive: ArchiveFile) -> Mapping[str, Sequence[str]]:
    """Return the paths in an archive by what those of one sample share."""
    found = defaultdict(list)
    for name in archive.names:
        found[_key(name)].append(name)
    return found


def _id(image: _Image, spec: Place) -> str:
    path = image.archive.path
    return image.name if path == spec else f"{inside(path, spec)}/{image.name}"
