"""Types of `run.json`: the source, the record of each stage, and checksums."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal, NotRequired, TypedDict

from .files import fingerprint
from .typed import problem


class Stage(StrEnum):
    """Stages that write into a run folder, in order."""

    EMBED = "embed"
    CLUSTER = "cluster"
    SELECT = "select"
    REPORT = "report"


class SourceRecord(TypedDict):
    """Description of the source: enough to open it again and to recognize it."""

    spec: str
    fingerprint: str
    kind: NotRequired[Literal["images", "vectors"]]
    options: NotRequired[dict[str, str | bool | float | None]]
    n: NotRequired[int]
    class_names: NotRequired[list[str]]
    holdout: NotRequired[float]
    split: NotRequired[str | None]
    skipped: NotRequired[dict[str, int] | None]


class EmbedSettings(TypedDict):
    """Settings of the embedding."""

    embedder: str | dict[str, Any]
    holdout: NotRequired[float]


class ClusterSettings(TypedDict):
    """Settings of the clustering: the vectors and the depth."""

    within: Literal["class", "all"]
    layer: str
    keep: float | None
    threshold: float | None


class CutSettings(TypedDict):
    """Settings of the cut of a selection."""

    keep: float | None
    threshold: float | None
    budget: Literal["class", "global"] | None
    within: Literal["class", "all"]
    layer: str
    min_per_class: int
    keep_ids: int
    decisions: NotRequired[str]
    strategy: NotRequired[str]
    seed: NotRequired[int | None]
    radius: NotRequired[float]
    guarantee: NotRequired[str]


class StageRecord(TypedDict):
    """Record of any stage."""

    fingerprint: str
    settings: dict[str, Any]
    seconds: float
    finished: str
    versions: dict[str, str]
    machine: dict[str, str | int | None]


class EmbedRecord(StageRecord):
    """Record of the embeddings."""

    settings: EmbedSettings  # type: ignore[misc]
    n: int
    layers: dict[str, int]
    rejected: NotRequired[int]
    pixels: NotRequired[str]


class ClusterRecord(StageRecord):
    """Record of the merges."""

    settings: ClusterSettings  # type: ignore[misc]
    merges: int


class SelectRecord(StageRecord):
    """Record of the selection."""

    settings: CutSettings  # type: ignore[misc]
    kept: int
    removed: int
    notes: list[str]
    mean_dissimilarity: NotRequired[float | None]


RECORDS = {Stage.EMBED: EmbedRecord, Stage.CLUSTER: ClusterRecord, Stage.SELECT: SelectRecord}
USED = {"kind", "options", "n", "class_names"}  # of the source, by every stage


class Holder(TypedDict):
    """Process that holds a stage."""

    pid: int
    host: str
    since: str


class RunRecord(TypedDict):
    """Content of `run.json`."""

    format: int
    source: SourceRecord
    stages: dict[str, StageRecord]
    checksums: NotRequired[dict[str, str]]


def check_stage(name: str, found: dict[str, Any]) -> None:
    """Raise `ValueError` where a record lacks what its stage stores, or its settings do not match their fingerprint."""
    if name not in list(Stage):
        raise ValueError(f"stages.{name} is not a stage")
    wrong = problem(found, RECORDS.get(Stage(name), StageRecord), f"stages.{name}")
    if wrong is not None:
        raise ValueError(wrong)
    if fingerprint(found["settings"]) != found["fingerprint"]:
        raise ValueError(f"stages.{name}.settings are not those of its fingerprint")
