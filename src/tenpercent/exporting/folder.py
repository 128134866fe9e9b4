"""The kept images as a folder with a subfolder a class, as torchvision's ImageFolder reads it."""

from __future__ import annotations

import errno
import os
import shutil
from collections import Counter
from pathlib import Path, PurePosixPath

from ..data.sources.folder_layout import plain_names
from ..data.sources.options import Unit
from ..data.sources.source import ImageSource
from .encoded import gone, named, read_encoded
from .kept import Kept
from .names import FreeNames, safe_name, shortened
from .summary import ExportFormat, ExportSummary
from .targets import check_target, new_folder

# The suffixes that torchvision's ImageFolder reads; it skips all others silently.
IMAGE_FOLDER = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})
# Errors of a file system that can't link here: another device, not supported, not ours, too many links.
NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def write_folder(kept: Kept, source: ImageSource, to: Path) -> ExportSummary:
    """Write each kept image into the subfolder of its class; images without a label go beside the subfolders.

    Files of the source are hard-linked where the file system can, else copied, and so are targets of links; other
    images are written with their original bytes, or as PNG where they came as pixels.

    Raises:
        UsageError: `to` is not empty or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    check_target(to, source)
    source = source.reading(kept.rows)
    how: Counter[str] = Counter()
    with new_folder(to, len(kept), source.noun) as (root, done):
        beside = FreeNames()
        folders = class_folders(kept.class_names, root, beside)
        names = {root: beside, **{folder: FreeNames() for folder in folders.values()}}
        for row, class_name in zip(kept.rows.tolist(), kept.class_names, strict=True):
            folder = root if class_name is None else folders[class_name]
            how[write_image(source, row, folder, names[folder])[0]] += 1
            done(1)
        endings = Counter(file.suffix.lower() for folder in folders.values() for file in folder.iterdir())
    return ExportSummary(ExportFormat.FOLDER, (to,), len(kept), notes(how, kept.class_names, endings))


def class_folders(class_names: list[str | None], root: Path, taken: FreeNames) -> dict[str, Path]:
    """Make a folder in `root` for each class there is, with names not yet `taken`; return them by class name.

    Levels that all classes share are not part of the folder's name.
    """
    known = sorted({name for name in class_names if name is not None})
    plain = zip(known, plain_names(known), strict=True)
    folders = {name: root / taken.free(safe_name(short)) for name, short in plain}
    for folder in folders.values():
        folder.mkdir()
    return folders


def write_image(source: ImageSource, row: int, folder: Path, names: FreeNames) -> tuple[str, Path]:
    """Put one image into `folder`; return the way and the file.

    The way is ``linked``, ``copied``, ``followed`` (a link) or ``written``.
    """
    path = source.paths[row] if source.unit is Unit.IMAGE else None  # a part of a file is written as its own
    name = safe_name(PurePosixPath(path or source.ids[row]).name)
    place = Path(source.folder or source.spec, path or "")
    if path is not None and place.is_file():
        try:
            place.open("rb").close()
        except OSError as error:
            raise gone(source, row, error) from error
        target = folder / names.free(name)
        return put(place, target), target
    data = read_encoded(source, row)
    try:
        name = named(data, name)
    except OSError as error:
        raise gone(source, row, error) from error
    target = folder / names.free(shortened(name))
    target.write_bytes(data)
    return "written", target


def put(file: Path, target: Path) -> str:
    """Make `target` another name of `file`, or a copy; return the way: ``linked``, ``copied`` or ``followed``."""
    real = file.resolve()
    if real == file:
        return link_or_copy(real, target)
    shutil.copyfile(real, target)  # a link would let a change here change a store shared by others
    return "followed"


def link_or_copy(file: Path, target: Path) -> str:
    """Make `target` another name of `file`, or a copy where the file system can't."""
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copy2(file, target)
        return "copied"
    return "linked"


def notes(how: Counter[str], class_names: list[str | None], endings: Counter[str]) -> tuple[str, ...]:
    """Return notes on how the files were made, and on those that ImageFolder will skip."""
    said = []
    if how["linked"]:
        said.append(f"{how['linked']:,} are hard links: changing one changes the source's file")
    if how["copied"]:
        said.append(f"{how['copied']:,} are copies: the file system can't link there")
    if how["followed"]:
        said.append(f"{how['followed']:,} are copies: the source has links in their place")
    unlabelled = class_names.count(None)
    if 0 < unlabelled < len(class_names):
        said.append(f"{unlabelled:,} have no label and lie beside the class folders")
    others = sorted(set(endings) - IMAGE_FOLDER)
    if others:
        count = sum(endings[ending] for ending in others)
        said.append(
            f"{count:,} end with {', '.join(others)}, which ImageFolder reads only with is_valid_file given"
        )
    return tuple(said)
