"""The annotations of a source without the images that went, as their format has them, and the images that stay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.sources.boxes.opening import BoxFormat, read_annotated
from ..data.sources.changes import some
from ..data.sources.opening import place_of
from ..data.sources.options import SourceOptions
from ..data.sources.source import ImageSource
from ..errors import TenpercentError, UsageError, counted, reason_of, shown
from ..progress import bar
from ..selection.whole_images import images_kept
from .folder import notes, put
from .summary import ExportFormat, ExportSummary
from .targets import building, check_free, check_outside, place

if TYPE_CHECKING:
    from ..selection.selection import Selection


def write_annotated_set(
    selection: Selection, source: ImageSource, kind: BoxFormat, to: Path
) -> ExportSummary:
    """Write the folder `to`: the annotations of the images that stay, unchanged, and these images.

    Of a selection of objects, an image stays unless all of its objects went, with all of its annotations: a detector
    that is trained on it must know every object there.

    Raises:
        UsageError: the source has annotations of another format, or none; `to` is not empty or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    own = source.spec.partition(":")[0] if source.annotations else ""
    if own != kind:
        remedy = f"--format {own}, and convert that with labelformat" if own else "--format folder, csv or hf"
        raise UsageError(
            f"--format {kind} writes annotations of a source, and this is not of that format: {source.spec}; choose "
            f"{remedy}"
        )
    check_free(to)
    check_outside(to, source)
    options = SourceOptions(split=source.split or None, images=source.folder)
    found, how = read_annotated(kind, place_of(source.spec), options), Counter[str]()
    kept, missing = images_kept(selection, found.files, source.unit), set(found.missing)
    stay = [file for file in kept if file not in missing]
    with building(to) as temporary, bar(len(stay), "Writing images", "images") as progress:
        root = temporary / "kept"
        root.mkdir()
        said = [_write_coco(place_of(source.spec), set(stay), root)]
        for file in stay:
            target = root / "images" / file
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                (found.root / file).open("rb").close()
            except OSError as error:
                raise TenpercentError(
                    f"the image {shown(file)} of {source.spec} can't be read: {reason_of(error)}; bring it back or "
                    "run again"
                ) from error
            how[put(found.root / file, target)] += 1
            progress.update(1)
        (done,) = place({root: to})
    if len(stay) < len(kept):
        said.append(
            f"{counted(len(kept) - len(stay), 'image')} missing and left out ({some(missing.intersection(kept))})"
        )
    return ExportSummary(ExportFormat(kind), (done,), len(stay), (*said, *notes(how, [], Counter())))


def _write_coco(path: Path, stay: Collection[str], to: Path) -> str:
    """Write ``annotations.json``: every entry as it was, to the byte, without the images that are not to stay."""
    import msgspec

    from ..data.sources.boxes.annotated import checked_path
    from ..data.sources.boxes.coco import CocoAnnotation, CocoImage, read_json

    content = read_json(path, dict[str, msgspec.Raw])
    images = msgspec.json.decode(content["images"], type=list[msgspec.Raw])
    boxes = msgspec.json.decode(content.get("annotations", b"[]"), type=list[msgspec.Raw])
    kept, ids = [], set()
    for one in images:
        image = msgspec.json.decode(one, type=CocoImage)
        if checked_path(image.file_name, str(path)) in stay:
            kept.append(one)
            ids.add(image.id)
    left = [one for one in boxes if msgspec.json.decode(one, type=CocoAnnotation).image_id in ids]
    lists = {"images": kept, "annotations": left}
    with (to / "annotations.json").open("wb") as file:
        for number, (key, value) in enumerate(content.items()):
            file.write((b",\n" if number else b"{") + msgspec.json.encode(key) + b": ")
            file.write(b"[" + b",\n".join(lists[key]) + b"]" if key in lists else value)
        file.write(b"}\n")
    return f"{len(left):,} of {counted(len(boxes), 'annotation')} are of these images"
