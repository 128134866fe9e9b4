"""Origin of a run's embeddings, what they were made from, stored beside them; a run is not resumed with another."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ..data.sources.source import ImageSource
from ..data.store.embeddings import Ints
from ..data.store.files import fingerprint, write_text
from ..data.store.part_files import part_files, part_layout
from ..data.store.run_folder import RunFolder
from ..data.store.tables import read_about, read_settings
from ..errors import StageError
from .settings import ChoiceRecord

if TYPE_CHECKING:  # torch is loaded where it is needed
    from .precision import Choice

FORMAT = 1
SETTINGS = "settings.json"  # in the folder of the part files, and in that of the training run

_NAMES = {
    "source": "the source",
    "rows": "the images held out (--holdout)",
    "images": "the contents of the images",
}


class OtherOriginError(StageError):
    """Embeddings have another origin: other settings, or other images; `differ` says which, in words."""

    def __init__(self, differ: str, message: str) -> None:
        super().__init__(message)
        self.differ = differ


class OriginRecord(TypedDict):
    """Content of the file beside the part files."""

    format: int
    source: str
    rows: str
    images: str
    embedder: dict[str, Any]
    choice: ChoiceRecord | None


@dataclass(frozen=True)
class Origin:
    """What embeddings were made from: the images, which of their rows, and the embedder.

    Attributes:
        source: fingerprint of the source.
        rows: fingerprint of the rows of its images.
        embedder: identity of the embedder (`encoders.embedder_json`).
        images: fingerprint of the contents of the readable images; "" before they have been read.
    """

    source: str
    rows: str
    embedder: dict[str, Any]
    images: str = ""

    @classmethod
    def of(cls, source: ImageSource, rows: Ints, embedder: dict[str, Any]) -> Origin:
        """Return the origin as far as it is known before the images are read.

        Local weights count by their hash, not by the path of their file.
        """
        known = {k: v for k, v in embedder.items() if k != "weights" or "weights_hash" not in embedder}
        return cls(source.fingerprint, fingerprint(rows.tolist()), known)

    @property
    def fingerprint(self) -> str:
        """Fingerprint that the part files repeat."""
        return fingerprint([self.source, self.rows, self.embedder, self.images])

    def about(self, source: ImageSource) -> dict[str, Any]:
        """Return the metadata that all part files have in common, see `part_files.write_part`."""
        return {
            "origin": self.fingerprint,
            "class_names": list(source.class_names),
            "labelled": source.labels is not None,
        }

    def check(self, run: RunFolder) -> None:
        """Compare with the stored origin.

        Raises:
            StageError: the folder holds embeddings or a training run with another origin; the message names it.
        """
        path = run.embeddings / SETTINGS
        remedy = f"choose another --out, or delete {run.embeddings} and {run.training} to embed again"
        if not path.exists():
            if (run.training / SETTINGS).exists() or part_files(run.embeddings):
                gone = f"{path} is gone, so the settings of {run.path} are not known"
                raise OtherOriginError(gone, f"{gone}; {remedy}")
            return
        stored = _read(path, remedy)
        differ = [
            f"{what} changed" for key, what in _NAMES.items() if getattr(self, key) not in ("", stored[key])
        ]
        differ += differences(stored["embedder"], self.embedder)
        if differ:
            said = "; ".join(differ)
            raise OtherOriginError(said, f"{run.path} holds embeddings with other settings: {said}; {remedy}")
        for part in part_files(run.embeddings) if self.images else []:
            if read_about(part, part_layout())["origin"] != self.fingerprint:
                other = f"{part} has other settings or other images"
                raise OtherOriginError(other, f"{other}; {remedy}")

    def write(self, run: RunFolder, choice: Choice | None) -> None:
        """Store the origin beside the part files, with the precision, which a resumed run must not choose again."""
        content = {
            "format": FORMAT,
            "source": self.source,
            "rows": self.rows,
            "images": self.images,
            "embedder": self.embedder,
            "choice": None if choice is None else choice.as_json(),
        }
        write_text(run.embeddings / SETTINGS, json.dumps(content, indent=2, sort_keys=True) + "\n")


def stored_choice(run: RunFolder) -> Choice | None:
    """Return the precision that a run was started with, or None where it is not chosen yet."""
    path = run.embeddings / SETTINGS
    content = _read(path, "delete it") if path.exists() else {}
    if content.get("choice") is None:
        return None
    from .precision import Choice

    return Choice.from_json(content["choice"])


def stored_origin(run: RunFolder) -> OriginRecord:
    """Return what a run records of the origin of its embeddings.

    Raises:
        StageError: it is missing or damaged.
    """
    path = run.embeddings / SETTINGS
    if not path.exists():
        raise StageError(f"{path} is gone; bring it back, or choose another --out")
    return cast(OriginRecord, _read(path, "bring it back, or choose another --out"))


def stored_embedder(run: RunFolder) -> dict[str, Any] | None:
    """Return the identity of the embedder that a run was started with, or None where there is none."""
    path = run.embeddings / SETTINGS
    return dict(_read(path, "delete it")["embedder"]) if path.exists() else None


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the settings of an embedder that differ, with both values; for another kind of embedder only the kind."""
    if old.get("embedder") != new["embedder"]:
        return [f"the embedder was {_kind(old)}, now {_kind(new)}"]
    keys = sorted(old.keys() | new.keys())
    return [
        f"{key} was {_value(old.get(key))}, now {_value(new.get(key))}"
        for key in keys
        if old.get(key) != new.get(key)
    ]


def _value(setting: object) -> object:
    return "not set" if setting is None else setting


def _kind(embedder: dict[str, Any]) -> str:
    """Return the kind of an embedder, and its name where it has one."""
    name = embedder.get("name") or embedder.get("class") or embedder.get("function")
    return f"{embedder.get('embedder')}:{name}" if name else str(embedder.get("embedder"))


def _read(path: Path, remedy: str) -> dict[str, Any]:
    return read_settings(path, OriginRecord, FORMAT, remedy)
