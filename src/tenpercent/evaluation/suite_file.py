"""Suite files: reading one, and checking all that can be checked before the first embedding."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.sources.options import SourceOptions
from ..embedding.settings import KINDS, Supervised, named
from ..errors import UsageError, nearest, reason_of
from .preparation import EvaluationRequest, sized_by_lists

if TYPE_CHECKING:
    from ..embedding.encoders import Embedder

# Keys of a file, of its [[data]] and its [[embedder]], each with an example: a value must be of the example's type.
SUITE: dict[str, Any] = {
    "out": "runs/suite",
    "keep": [0.9, 0.5],
    "arms": ["full", "random", "semantic"],
    "trials": 3,
    "preset": "digits",
    "steps": 200,
    "epochs": 10,
    "length": "steps",
    "side": 64,
    "data": [{"source": "digits"}],
    "embedder": [{"name": "supervised"}],
}
DATA: dict[str, Any] = {
    "name": "digits",
    "source": "digits",
    "test": "photos/test",
    "holdout": 0.1,
    "split": "train",
    "image_column": "image",
    "label_column": "label",
    "embedding_column": "embedding",
    "id_column": "id",
    "follow_links": True,
    "max_pixels": 200_000_000,
    "drop_bad_rows": True,
    "data_dir": "data",
    "labels": "labels.npy",
    "ids": "ids.npy",
    "where": "score > 0.5",
    "by": "camera",
    "images": "images",
    "unit": "image",
    "fps": 1.0,
}
EMBEDDER: dict[str, Any] = {
    "name": "supervised",
    "label": "supervised, short",
    "network": "resnet18",
    "weights": "resnet18.safetensors",
    "finetune": True,
    "dim": 64,
    "depth": 20,
    "side": 64,
    "epochs": 10,
    "steps": 200,
    "batch": 128,
    "seed": 0,
    "rate": 0.1,
    "weight_decay": 0.0001,
    "momentum": 0.9,
    "devices": 1,
    "precision": "float32",
}
TYPES = {bool: "true or false", int: "a whole number", float: "a number", str: "a string", dict: "a table"}
FILES = ("data_dir", "labels", "ids", "images", "weights")  # keys whose values are paths


@dataclass(frozen=True)
class SuiteData:
    """A data set of a suite.

    Attributes:
        name: for the table, and its folder.
        source: as on the command line.
        test: labelled images to test on, None for the source's own.
        holdout: the share of each class held out for testing, where the source has no test split.
        options: of the source.
    """

    name: str
    source: str
    test: str | None
    holdout: float
    options: SourceOptions


@dataclass(frozen=True)
class Suite:
    """The content of a suite file.

    Attributes:
        out: the folder of all runs, the table and the figure.
        data: the data sets.
        embedders: by name.
        request: arms, fractions and trials; the same everywhere.
        preset: the training settings; None for those of each embedding.
        override: steps, epochs, length and side in place of the preset's.
    """

    out: Path
    data: tuple[SuiteData, ...]
    embedders: dict[str, Embedder]
    request: EvaluationRequest
    preset: str | None
    override: dict[str, Any]


def read_suite(path: str | Path) -> Suite:
    """Read a suite from a TOML file; paths in it are relative to its folder.

    Raises:
        UsageError: it can't be read, or holds an invalid value.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            f"can't read {path} ({reason_of(error)}); give a TOML file as docs/evidence/commands.md shows"
        ) from None
    _check(str(path), content, SUITE)
    if not content.get("data"):
        raise UsageError(f'{path} names no data set; add one: [[data]] with source = "digits"')
    data = tuple(_data(path, one) for one in content["data"])
    embedders = [_embedder(path, one) for one in content.get("embedder") or [{}]]
    _check_names(f"[[data]] of {path}", "name", [one.name for one in data])
    _check_names(f"[[embedder]] of {path}", "label", [label for label, _ in embedders])
    with told(str(path)):
        arms = tuple(_arm(path.parent, arm) for arm in content.get("arms", EvaluationRequest.arms))
        keep = tuple(content.get("keep", () if sized_by_lists(arms) else EvaluationRequest.keep))
        suite = Suite(
            out=path.parent / content.get("out", f"runs/{path.stem}"),
            data=data,
            embedders=dict(embedders),
            request=EvaluationRequest(keep, arms, content.get("trials", EvaluationRequest.trials)),
            preset=content.get("preset"),
            override={
                name: content[name] for name in ("steps", "epochs", "length", "side") if name in content
            },
        )
        _check_training_runs(suite)
    return suite


@contextmanager
def told(where: str) -> Iterator[None]:
    """Add to errors the place in the file of the invalid value."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{where}: {error}") from None


def folder_name(name: str) -> str:
    """Return a name made fit for a folder."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name)


def _check(where: str, table: dict[str, Any], known: dict[str, Any]) -> None:
    """Check the keys of a table and the types of its values, against examples of all allowed keys."""
    for key, value in table.items():
        if key not in known:
            raise UsageError(
                f"{where} has the key {key!r}; known are {', '.join(sorted(known))}{nearest(key, known)}"
            )
        example = known[key]
        if not _alike(value, example):
            several = isinstance(example, list)
            kind = TYPES[type(example[0] if several else example)]
            right = f"[[{key}]]" if several and kind == TYPES[dict] else f"{key} = {json.dumps(example)}"
            raise UsageError(
                f"{where} has {key} = {json.dumps(value, ensure_ascii=False, default=str)}; it must be "
                f"{'a list, each ' if several else ''}{kind}, e.g. {right}"
            )


def _alike(value: Any, example: Any) -> bool:
    if isinstance(example, list):
        return isinstance(value, list) and all(_alike(one, example[0]) for one in value)
    return type(value) is type(example) or (type(value) is int and type(example) is float)


def _check_names(where: str, key: str, names: list[str]) -> None:
    """Check that names give different folders."""
    if len({folder_name(name) for name in names}) < len(names):
        raise UsageError(f"{where}: two have the same {key} ({', '.join(names)}); give each its own {key}")


def _check_training_runs(suite: Suite) -> None:
    """Check arms and training settings now rather than after an embedding, which may take hours."""
    from .arms import check_arms
    from .presets import Protocol, preset
    from .trials import WHOLE, plan_trials

    request = suite.request
    names = tuple(arm for arm in request.arms if "=" not in arm)
    check_arms(names)
    lists = [(arm.partition("=")[0], WHOLE) for arm in request.arms if "=" in arm]
    plan_trials(names, request.keep, request.trials, lists=lists)
    for label, embedder in suite.embedders.items():
        if suite.preset is not None:
            protocol = preset(suite.preset).protocol
        elif isinstance(embedder, Supervised):
            protocol = Protocol(embedder)
        else:
            raise UsageError(
                f"the embedder {label} is not trained from scratch on labels, so it does not say how to train; name "
                "settings with preset (tenpercent presets lists them)"
            )
        protocol.override(**suite.override)


def _data(path: Path, table: dict[str, Any]) -> SuiteData:
    _check(f"[[data]] of {path}", table, DATA)
    if "source" not in table:
        raise UsageError(f'[[data]] of {path} has no source; give one, e.g. source = "digits"')
    places = {key: path.parent / table[key] for key in ("source", "test") if key in table}
    table = {**table, **{key: str(place) for key, place in places.items() if place.exists()}}
    source: str = table["source"]
    name = table.get("name", Path(source).stem if "/" in source else source)
    options = _chosen(path.parent, table, {field.name for field in fields(SourceOptions)})
    return SuiteData(
        name, source, table.get("test"), float(table.get("holdout", 0.0)), SourceOptions(**options)
    )


def _chosen(folder: Path, table: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """Return the named values of a table, its paths relative to a folder."""
    return {key: folder / value if key in FILES else value for key, value in table.items() if key in names}


def _arm(folder: Path, arm: str) -> str:
    """Return an arm; a list's file is relative to the suite file's folder, and must exist."""
    from .arms import is_known

    name, is_list, file = arm.partition("=")
    if not is_list:
        return arm
    if not name or is_known(name) or not (folder / file).is_file():
        raise UsageError(
            f"arm {arm!r}: a list is NAME=FILE, with a name that is not yet an arm and an existing file {folder / file}"
        )
    return f"{name}={folder / file}"


def _embedder(path: Path, table: dict[str, Any]) -> tuple[str, Embedder]:
    """Return an embedder and its name in the suite."""
    where, name = f"[[embedder]] of {path}", table.get("name", "supervised")
    _check(where, {"name": name}, EMBEDDER)
    with told(where):
        kind, own = named(name)
        options = {field.name for field in fields(KINDS[kind])} - {"name", "recipe"}
        _check(kind, table, {key: EMBEDDER[key] for key in ("name", "label", *options)})
        return table.get("label", name), KINDS[kind](**{**own, **_chosen(path.parent, table, options)})
