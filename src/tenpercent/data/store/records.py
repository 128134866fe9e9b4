"""Records of `run.json` as frozen dataclasses: the source, and each finished stage."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from .files import fingerprint
from .typed import built, problem

SEMANTIC = "semantic"  # the strategy of selections by the tree, not written into their settings
Scope = Literal["class", "all"]


class Stage(StrEnum):
    """Stages that write into a run folder, in order."""

    EMBED = "embed"
    CLUSTER = "cluster"
    SELECT = "select"
    REPORT = "report"


@dataclass(frozen=True)
class SourceRecord:
    """Description of a source: enough to open it again, to recognize it, and to say what was taken from it.

    Attributes:
        spec: the name that opens it, absolute where it is a path.
        fingerprint: of its images or vectors.
        kind: whether it holds images or ready vectors.
        n: number of its images or vectors.
        class_names: the name of each class.
        classes_used: number of classes that have an image; None in runs of version 0.1.
        unlabelled: number of images without a label.
        taken: what was read from where, as in `ImageSource.taken`.
        skipped: number of files that were skipped, by kind.
        split: the split that was read.
        width: number of values of a ready vector.
        rejected: number of ready vectors that were set aside.
        pictures: fingerprint of the images beside ready vectors.
        options: `SourceOptions` as JSON.
        holdout: the fraction of images held out.
        noun: what one of its images is called, as in `ImageSource.noun`.
    """

    spec: str
    fingerprint: str
    kind: Literal["images", "vectors"] = "images"
    n: int = 0
    class_names: tuple[str, ...] = ()
    classes_used: int | None = None
    unlabelled: int = 0
    taken: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, int] | None = None
    split: str | None = None
    width: int | None = None
    rejected: int = 0
    pictures: str | None = None
    options: Mapping[str, str | bool | float | None] = field(default_factory=dict)
    holdout: float = 0.0
    noun: str = "image"

    @property
    def has_vectors(self) -> bool:
        """True if the source holds ready vectors."""
        return self.kind == "vectors"

    @property
    def decisions_by(self) -> str:
        """Return how decisions follow ready vectors that are read again, for a message; "" for images."""
        if not self.has_vectors:
            return ""
        return "; decisions hold by id" if self.taken.get("ids") else "; decisions hold by row number"

    def differences(self, now: SourceRecord) -> str:
        """Return what differs from the source as it is now, with both values; "" for the same images, read alike."""
        then_limit, limit = (each.options.get("max_pixels") or "the default" for each in (self, now))
        if self.fingerprint == now.fingerprint:
            return "" if then_limit == limit else f"--max-pixels was {then_limit}, now {limit}"
        noun = "vectors" if self.has_vectors else "images"
        values = (
            ("the source", self.spec, now.spec),
            ("the kind", self.kind, now.kind),
            (f"the number of {noun}", self.n, now.n),
            ("the width of a vector", self.width, now.width),
            ("the split", self.split, now.split),
            ("the number of classes", len(self.class_names), len(now.class_names)),
            *(
                (f"the {name}", self.taken.get(name), now.taken.get(name))
                for name in ("labels", "ids", "images")
            ),
            ("--max-pixels", then_limit, limit),
        )
        found = [
            f"{what} was {then or 'none'}, now {is_now or 'none'}"
            for what, then, is_now in values
            if (then or None) != (is_now or None)
        ]
        return "; ".join(found) or f"its {noun}, their names or their labels differ"

    def as_json(self) -> dict[str, Any]:
        """Return the record as `run.json` holds it."""
        pictures = {} if self.pictures is None else {"pictures": self.pictures}
        own: dict[str, Any] = {"split": self.split, "skipped": self.skipped}
        return {
            "spec": self.spec,
            "fingerprint": self.fingerprint,
            **pictures,
            "kind": self.kind,
            **({"width": self.width} if self.has_vectors else own),
            "n": self.n,
            "class_names": list(self.class_names),
            "classes_used": self.classes_used,
            "unlabelled": self.unlabelled,
            "taken": dict(self.taken),
            **({"rejected": self.rejected} if self.rejected else {}),
            "options": dict(self.options),
            "holdout": self.holdout,
            **({} if self.noun == "image" else {"noun": self.noun}),
        }


@dataclass(frozen=True)
class EmbedSettings:
    """Settings of the embedding: the embedder as JSON, or a name alone, and the fraction held out."""

    embedder: str | dict[str, Any]
    holdout: float | None = None

    @property
    def made_by(self) -> dict[str, Any]:
        """The embedder as JSON, by its kind under ``embedder``; ready vectors have no more than that."""
        return {"embedder": self.embedder} if isinstance(self.embedder, str) else self.embedder


@dataclass(frozen=True)
class ClusterSettings:
    """Settings of the clustering: the vectors and the depth."""

    within: Scope
    layer: str
    keep: float | None
    threshold: float | None


@dataclass(frozen=True)
class CutSettings:
    """Settings of the cut of a selection; those from `strategy` to `guarantee` of other strategies than the tree.

    `count` is the number of images to keep, where that was given instead of the fraction.
    """

    keep: float | None
    threshold: float | None
    budget: Literal["class", "global"] | None
    within: Scope
    layer: str
    min_per_class: int
    keep_ids: int
    hold: str | None = None
    decisions: str = ""
    locked: int = 0
    locked_ids: str = ""
    representative: str = "centre"
    strategy: str = SEMANTIC
    seed: int | None = None
    radius: float | None = None
    guarantee: str = ""
    count: int | None = None


@dataclass(frozen=True)
class StageRecord:
    """Record of any finished stage.

    Attributes:
        fingerprint: of the settings.
        settings: what was asked for.
        seconds: the time that it took.
        finished: when, in UTC: ``2026-01-31T12:00:00Z``.
        versions: of the packages that the result may depend on.
        machine: its CPU and number of cores.
    """

    fingerprint: str
    settings: Any
    seconds: float
    finished: str
    versions: dict[str, str]
    machine: dict[str, str | int | None]


@dataclass(frozen=True)
class EmbedRecord(StageRecord):
    """Record of the embeddings.

    Attributes:
        n: number of images with a vector.
        layers: number of values of each layer's vectors.
        rejected: number of images without a vector.
        pixels: the size that the images were scaled to, and where they were kept, in words.
        image_size: height and width of the images as scaled; None for ready vectors and in early runs.
        train_accuracy: of the embedding's network in its last epoch, where it was trained on labels.
        change: number of images that the last update found changed, by the kind of change; None before there is one.
        network_classes: the classes of the run when its network was trained; None while they are those of the source.
    """

    settings: EmbedSettings
    n: int
    layers: dict[str, int]
    rejected: int = 0
    pixels: str = ""
    image_size: tuple[int, int] | None = None
    train_accuracy: float | None = None
    change: dict[str, int] | None = None
    network_classes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ClusterRecord(StageRecord):
    """Record of the merges, with their number."""

    settings: ClusterSettings
    merges: int


@dataclass(frozen=True)
class SelectRecord(StageRecord):
    """Record of the selection: the number of images kept and removed, and notes for a person."""

    settings: CutSettings
    kept: int
    removed: int
    notes: list[str]
    mean_dissimilarity: float | None = None


RECORDS = {Stage.EMBED: EmbedRecord, Stage.CLUSTER: ClusterRecord, Stage.SELECT: SelectRecord}
USED = {"kind", "options", "n", "class_names"}  # of the source, by every stage


@dataclass(frozen=True)
class RunRecord:
    """Content of `run.json`; each stage is checked on its own (`stage_record`)."""

    format: int
    source: SourceRecord
    stages: dict[str, dict[str, Any]]
    checksums: dict[str, str] = field(default_factory=dict)


def stage_record(name: str, found: dict[str, Any]) -> Any:
    """Return the record of a stage.

    Raises:
        ValueError: it lacks what its stage stores, or its settings do not match their fingerprint.
    """
    if name not in list(Stage):
        raise ValueError(f"stages.{name} is not a stage")
    kind = RECORDS.get(Stage(name), StageRecord)
    wrong = problem(found, kind, f"stages.{name}")
    if wrong is not None:
        raise ValueError(wrong)
    if fingerprint(found["settings"]) != found["fingerprint"]:
        raise ValueError(f"stages.{name}.settings are not those of its fingerprint")
    return built(kind, {**found, **_early_size(found)})


def _early_size(found: dict[str, Any]) -> dict[str, list[int]]:
    """Return the image size of a record made before it was a field, from its words; empty where they have none."""
    said = re.search(r" of (\d+)×(\d+) pixels", str(found.get("pixels", "")))
    return {} if said is None or "image_size" in found else {"image_size": [int(said[2]), int(said[1])]}
