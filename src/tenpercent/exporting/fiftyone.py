"""All images of a run as a data set of FiftyOne: kept, group, representative and dissimilarity as fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import counted
from .annotators import write_array
from .boxed import Box, BoxedImage, BoxedSet
from .kept import ABOUT
from .summary import ExportFormat, ExportSummary
from .targets import check_target, new_folder

FIELDS = (*ABOUT, "kept", "representative", "dissimilarity", "locked")


def write_fiftyone(boxed: BoxedSet, to: Path) -> ExportSummary:
    """Write the folder `to` with ``metadata.json``, ``samples.json`` and ``data/``, as type ``FiftyOneDataset``.

    Tags are ``kept`` or ``removed``, and ``group N`` where a group has several images. The class, or the boxes with
    fields of their own where objects were selected, are the field ``ground_truth``.

    Raises:
        UsageError: `to` is not empty or lies within the source.
        TenpercentError: an image can't be read, or `to` can't be written.
    """
    check_target(to, boxed.source)
    kept: list[bool] = []
    with new_folder(to, len(boxed), boxed.noun) as (root, done):
        metadata = json.dumps({"name": to.absolute().name, "media_type": "image"}, ensure_ascii=False)
        (root / "metadata.json").write_text(f"{metadata}\n", encoding="utf-8")
        images = (_counted(one, kept) for one in boxed.written(root / "data", FIELDS, done))
        write_array(root / "samples.json", map(_sample, images), '{"samples": [', "]}\n")
    said = (
        f"with them {counted(len(kept) - sum(kept), f'removed {boxed.noun}')}, so that both can be looked at"
    )
    return ExportSummary(ExportFormat.FIFTYONE, (to,), sum(kept), (said, *boxed.notes()))


def _counted(one: BoxedImage, kept: list[bool]) -> BoxedImage:
    kept.append(bool(one.about["kept"]))
    return one


def _sample(one: BoxedImage) -> dict[str, Any]:
    tags = ["kept" if one.about["kept"] else "removed"]
    if one.about.get("group_size", 1) > 1:
        tags.append(f"group {one.about['group']}")
    sample = {"filepath": f"data/{one.file}", "tags": tags, **_fields(one.about)}
    if one.boxes:
        found = [_detection(box, one.size) for box in one.boxes]
        sample["ground_truth"] = {"_cls": "Detections", "detections": found}
    elif one.kind is not None:
        sample["ground_truth"] = {"_cls": "Classification", "label": one.kind}
    return sample


def _detection(box: Box, size: tuple[int, int]) -> dict[str, Any]:
    place = {"_cls": "Detection", "label": box.kind, "bounding_box": box.shares(size)}
    return {**place, **_fields(box.about)}


def _fields(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the selection says as fields; `id` is FiftyOne's own, and the class is a label."""
    return {
        ("source_id" if key == "id" else key): value for key, value in about.items() if key != "class_name"
    }
