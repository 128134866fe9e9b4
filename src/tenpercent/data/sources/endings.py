"""Kinds of files that are not read, by the ending of their names, in words that can be counted."""

from __future__ import annotations

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
_VIDEOS = frozenset(
    """
    .mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .flv .mts .m2ts .3gp
    """.split()  # noqa: SIM905
)

UNREAD = "images that can't be read here"
ARCHIVES = "archives"
VIDEOS = "videos"
NO_ENDING = "files without an ending"
NO_IMAGES = "files that are not images"

LINKS_OUT = "links that lead out of the folder (--follow-links follows them)"
CIRCLES = "links in a circle"
BROKEN = "broken links"
NOT_IN_ANNEX = "links to git-annex content that is not here (git annex get fetches it)"
NOT_IN_CACHE = "links to DVC content that is not here (dvc pull fetches it)"
POINTERS = "DVC pointers to files that are not here (dvc pull fetches them)"

_REMEDIES = (
    (LINKS_OUT, "follow the links with --follow-links"),
    (NOT_IN_ANNEX, "fetch the content with git annex get"),
    (NOT_IN_CACHE, "fetch the content with dvc pull"),
    (POINTERS, "fetch the files with dvc pull"),
    (UNREAD, "convert the images to JPEG or PNG"),
    (ARCHIVES, "unpack the archives"),
    (VIDEOS, "extract images from the videos"),
    (NO_ENDING, "give the files the ending of their format, such as .jpg"),
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
    if ending in _VIDEOS:
        return f"{ending} {VIDEOS}"
    return NO_IMAGES if ending else NO_ENDING


def remedy_for(skipped: dict[str, int]) -> str:
    """Return the remedy for a folder of skipped files only: that for most of them."""
    counts = {
        remedy: sum(count for noun, count in skipped.items() if noun.endswith(end))
        for end, remedy in _REMEDIES
    }
    best = max(counts, key=lambda remedy: counts[remedy])
    return best if counts[best] else "give a folder with image files in it"
