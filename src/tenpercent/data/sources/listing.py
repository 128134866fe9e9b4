"""Files and links of a folder: the images and tables in it, and what is skipped."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import SourceError
from ..decoding.decode import extensions
from ..store.run_folder import is_run_folder
from .annotations import ENDINGS
from .first_line import describe_skipped
from .options import RULES, SourceOptions
from .remote.place import Place

# Folders that systems and programs leave among images, in lower case: thumbnails, resource forks, recycle bins.
LEFT_BEHIND = frozenset(
    {
        "@eadir",
        "__macosx",
        "$recycle.bin",
        "#recycle",
        "@recycle",
        "#snapshot",
        "@recently-snapshot",
        "lost+found",
        "system volume information",
    }
)
_IMAGE, _PARQUET = "image", "Parquet"


@dataclass
class Listing:
    """Files under a folder.

    Attributes:
        root: the folder, absolute, links resolved; or the folder of a store.
        follow_links: whether links that lead out of it are followed.
        rules: see `SourceOptions.rules`.
        images, parquets: posix paths relative to it.
        texts: likewise, files that may give the classes of images.
        videos, archives: likewise; these are counted in `skipped` too, as for a folder of images.
        skipped: what was skipped, with counts.
        followed: number of followed links that lead out.
    """

    root: Place
    follow_links: bool = False
    rules: int = RULES
    images: list[str] = field(default_factory=list)
    parquets: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    videos: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    followed: int = 0
    _kinds: dict[str, str] = field(default_factory=dict, repr=False)

    def add(self, path: str) -> None:
        """Add a file to the list that its ending belongs to."""
        ending = os.path.splitext(path)[1]  # noqa: PTH122  a plain string: this runs a million times
        kind = self._kinds.get(ending)
        if kind is None:
            kind = self._kinds[ending] = _kind_by_ending(ending.lower())
        if kind is _IMAGE:
            self.images.append(path)
        elif kind is _PARQUET:
            self.parquets.append(path)
        else:
            self.skipped[kind] += 1
            if kind is NO_IMAGES and ending.lower() in ENDINGS:
                self.texts.append(path)
            elif kind.endswith(VIDEOS):
                self.videos.append(path)
            elif ending.lower() in READ_IN_PLACE:
                self.archives.append(path)


def _kind_by_ending(ending: str) -> str:
    if ending in extensions():
        return _IMAGE
    return _PARQUET if ending in (".parquet", ".pq") else kind_of(ending)


def list_folder(root: Path, options: SourceOptions = SourceOptions()) -> Listing:  # noqa: B008  frozen
    """Find the images and Parquet files under `root`.

    Links to targets inside `root` are followed, with `options.follow_links` all links, and never in a circle.

    Raises:
        SourceError: the folder or one below it can't be read.
    """
    listing = Listing(root.resolve(), options.follow_links, options.rules)
    _walk(listing, "", (os.path.realpath(str(listing.root)),))
    return listing


def _walk(listing: Listing, folder: str, above: tuple[str, ...]) -> None:
    """Add the content of `folder` (relative, "" for the root); `above` are the real paths from the root down to it."""
    folders: list[tuple[str, str]] = []
    pointers: list[str] = []
    entries = _entries(Path(str(listing.root), folder))
    names = {entry.name for entry in entries}
    if folder and listing.rules != 1 and is_run_folder(Path(str(listing.root), folder)):
        listing.skipped["run folders"] += 1  # its thumbnails are not part of a source
        return
    for entry in entries:
        name = entry.name
        path = f"{folder}/{name}" if folder else name
        if name[0] == ".":
            listing.skipped["hidden folders" if entry.is_dir(follow_symlinks=False) else "hidden files"] += 1
        elif entry.is_symlink():
            real = _follow(listing, entry.path, path, above)
            if real is not None:
                folders.append((path, real))
        elif entry.is_dir(follow_symlinks=False):
            if listing.rules != 1 and name.lower() in LEFT_BEHIND:
                listing.skipped[f"{name} folders"] += 1
            else:
                folders.append((path, f"{above[-1]}{os.sep}{name}"))
        elif not entry.is_file(follow_symlinks=False):
            listing.skipped[NO_IMAGES] += 1
        elif name.endswith(".dvc"):
            pointers.append(name.removesuffix(".dvc"))
        else:
            listing.add(path)
    for name in pointers:  # files `x.dvc`, which stand in for a file or folder `x` beside them
        listing.skipped[NO_IMAGES if name in names else POINTERS] += 1
    for path, real in folders:
        # A plain folder closes a circle where a link above leads to a folder that holds a folder further up.
        if listing.rules != 1 and real in above:
            listing.skipped[CIRCLES] += 1
        else:
            _walk(listing, path, (*above, real))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise SourceError(
            f"{folder} can't be read ({error.strerror}); make it readable, or leave it out"
        ) from None


def _follow(listing: Listing, link: str, path: str, above: tuple[str, ...]) -> str | None:
    """Add the file that a link leads to, or return the real path of the folder that it leads to."""
    target = os.path.realpath(link)
    inside = target == above[0] or target.startswith(above[0].rstrip(os.sep) + os.sep)
    if not inside and not listing.follow_links:
        listing.skipped[LINKS_OUT] += 1
        return None
    if target in above:
        listing.skipped[CIRCLES] += 1
        return None
    try:
        kind = os.stat(target).st_mode  # noqa: PTH116
    except OSError:
        listing.skipped[_missing(target)] += 1
        return None
    listing.followed += not inside
    if stat.S_ISREG(kind):
        listing.add(path)
    elif not stat.S_ISDIR(kind):
        listing.skipped[NO_IMAGES] += 1
    return target if stat.S_ISDIR(kind) else None


def _missing(target: str) -> str:
    """Return the kind of a broken link."""
    place = target.replace(os.sep, "/")
    if "/annex/objects/" in place:
        return NOT_IN_ANNEX
    return NOT_IN_CACHE if "/.dvc/" in place or "/files/md5/" in place else BROKEN


class NoImagesError(SourceError):
    """A folder holds no images."""


def no_images(root: Place, skipped: Mapping[str, int]) -> NoImagesError:
    """Return an error that says what a folder holds instead of images, and what to do about it."""
    plain = {
        noun.partition(" (")[0]: count for noun, count in skipped.items()
    }  # the remedy says what the hint does
    return NoImagesError(
        "; ".join([f"{root} holds no images", *describe_skipped(plain), remedy_for(dict(skipped))])
    )


# ---- kinds of files that are not read, by the ending of their names, in words that can be counted ------------------

_UNREAD = frozenset(
    """
    .heic .heif .heics .heifs .hif .avif .avifs .avci .jxl .jxr .hdp .wdp .bpg .flif .webp
    .jp2 .j2k .jpf .jpx .jpm .j2c .jpc .tif .tiff .svg .svgz .ai .eps .ps .emf .wmf .xcf .kra .psb .psd .exr .hdr
    .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .ptx .raw .rwl .srw .x3f .3fr .erf .kdc
    .dcr .mrw .iiq .mef .mos .gpr .dcm .dicom .nii .mha .nrrd .fits .fit .fts .svs .ndpi .mrxs .vsi .scn .czi
    .nd2 .lif
    """.split()  # noqa: SIM905  a table, not a sentence
)  # formats of still images; those that Pillow reads here are never looked up
_ARCHIVES = frozenset(
    """
    .zip .tar .gz .tgz .bz2 .xz .zst .7z .rar .tfrecord .tfrecords .h5 .hdf5 .lmdb
    """.split()  # noqa: SIM905
)
VIDEO_ENDINGS = frozenset(
    """
    .mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .asf .flv .f4v .ts .mts .m2ts .mxf .ogv .vob .3gp
    """.split()  # noqa: SIM905
)

READ_IN_PLACE = (".zip", ".tar")

UNREAD = "images that can't be read here"
ARCHIVES = "archives"
VIDEOS = "videos"
NO_ENDING = "files without an extension"
NO_IMAGES = "files that are not images"

LINKS_OUT = "links that lead out of the folder (--follow-links follows them)"
CIRCLES = "links in a circle"
BROKEN = "broken links"
NOT_IN_ANNEX = "links to git-annex content that is not here (git annex get fetches it)"
NOT_IN_CACHE = "links to DVC content that is not here (dvc pull fetches it)"
POINTERS = "files in DVC that are not here (dvc pull fetches them)"

_REMEDIES = (
    (LINKS_OUT, "follow the links with --follow-links"),
    (NOT_IN_ANNEX, "fetch the content with git annex get"),
    (NOT_IN_CACHE, "fetch the content with dvc pull"),
    (POINTERS, "fetch the files with dvc pull"),
    (UNREAD, "convert the images to JPEG or PNG"),
    (ARCHIVES, "unpack the archives"),
    (NO_ENDING, "add the extension of their format to the file names, such as .jpg"),
)


def kind_of(ending: str) -> str:
    """Return a plural noun for files with an ending that is not read.

    Args:
        ending: in lower case with its dot, "" for none.
    """
    if ending in _UNREAD:
        return f"{ending} {UNREAD}"
    if ending in _ARCHIVES:
        return f"{ending} {ARCHIVES}"
    if ending in VIDEO_ENDINGS:
        return f"{ending} {VIDEOS}"
    return NO_IMAGES if ending else NO_ENDING


def remedy_for(skipped: dict[str, int]) -> str:
    """Return the remedy for a folder of skipped files only: that for most of them."""
    counts = {
        remedy: sum(count for noun, count in skipped.items() if noun.endswith(end))
        for end, remedy in _REMEDIES
    }
    best = max(counts, key=lambda remedy: counts[remedy])
    return best if counts[best] else "give a folder that holds image files, directly or in subfolders"
