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
from .preparation import Asked, sized_by_lists

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
TYPES = {bool: "boolean", int: "whole number", float: "number", str: "string", dict: "table"}  # in words


@dataclass(frozen=True)
class Data:
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
        asked: arms, fractions and trials; the same everywhere.
        preset: the training settings; None for those of each embedding.
        override: steps, epochs, length and side in place of the preset's.
    """

    out: Path
    data: tuple[Data, ...]
    embedders: dict[str, Embedder]
    asked: Asked
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
            f"can't read {path} ({reason_of(error)}); give a TOML file as docs/evidence.md shows"
        ) from None
    _check(str(path), content, SUITE)
    if not content.get("data"):
        raise UsageError(f'{path} names no data set; add one: [[data]] with source = "digits"')
    data = tuple(_data(path, one) for one in content["data"])
    embedders = [_embedder(path, one) for one in content.get("embedder") or [{}]]
    for what, key, names in (
        ("data", "name", [one.name for one in data]),
        ("embedder", "label", [label for label, _ in embedders]),
    ):
        if len({folder_name(name) for name in names}) < len(names):
            raise UsageError(
                f"{path} has two [[{what}]] called the same ({', '.join(names)}); give each a {key} of its own"
            )
    arms = tuple(_arm(path, arm) for arm in content.get("arms", Asked.arms))
    asked = Asked(
        keep=tuple(content.get("keep", () if sized_by_lists(arms) else Asked.keep)),
        arms=arms,
        trials=content.get("trials", Asked.trials),
    )
    suite = Suite(
        out=path.parent / content.get("out", f"runs/{path.stem}"),
        data=data,
        embedders=dict(embedders),
        asked=asked,
        preset=content.get("preset"),
        override={name: content[name] for name in ("steps", "epochs", "length", "side") if name in content},
    )
    with told(str(path)):
        _check_trainings(suite)
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
            one = example[0] if isinstance(example, list) else example
            kind = f"a {TYPES[type(one)]}" if one is example else f"a list of {TYPES[type(one)]}s"
            right = f"[[{key}]] with {_lines(one)}" if isinstance(one, dict) else _lines({key: example})
            raise UsageError(f"{where} has {key} = {_toml(value)}; it must be {kind}, e.g. {right}")


def _alike(value: Any, example: Any) -> bool:
    if isinstance(example, list):
        return isinstance(value, list) and all(_alike(one, example[0]) for one in value)
    return type(value) is type(example) or (type(value) is int and type(example) is float)


def _toml(value: Any) -> str:
    """Return a value as TOML."""
    if isinstance(value, dict):
        return f"{{{_lines(value)}}}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else str(value)


def _lines(table: dict[str, Any]) -> str:
    return ", ".join(f"{key} = {_toml(value)}" for key, value in table.items())


def _check_trainings(suite: Suite) -> None:
    """Check arms and training settings now rather than after an embedding, which may take hours.

    Raises:
        UsageError: an arm, a fraction, the preset or an override is invalid.
    """
    from .arms import check_arms
    from .presets import Protocol, preset
    from .trials import WHOLE, Plan

    asked = suite.asked
    names = tuple(arm for arm in asked.arms if "=" not in arm)
    check_arms(names)
    lists = tuple((arm.partition("=")[0], WHOLE) for arm in asked.arms if "=" in arm)
    Plan(names, asked.keep, asked.trials, lists=lists)
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


def _data(path: Path, table: dict[str, Any]) -> Data:
    options = {field.name for field in fields(SourceOptions)} - {"rules"}
    _check(f"[[data]] of {path}", table, DATA)
    if "source" not in table:
        raise UsageError(f'[[data]] of {path} has no source; give one, e.g. source = "digits"')
    given = {name: value for name, value in table.items() if name in options}
    for name in ("data_dir", "labels", "ids"):
        if name in given:
            given[name] = path.parent / given[name]
    source, test = (_from(path, table.get(name)) for name in ("source", "test"))
    assert source is not None
    name = table.get("name", Path(source).stem if "/" in source else source)
    return Data(name, source, test, float(table.get("holdout", 0.0)), SourceOptions(**given))


def _from(path: Path, source: str | None) -> str | None:
    """Return a source, relative to the file's folder where such a path exists."""
    if source is None or not (path.parent / source).exists():
        return source
    return str(path.parent / source)


def _arm(path: Path, arm: str) -> str:
    """Return an arm; a list's file is relative to the suite file's folder, and must exist."""
    from .arms import is_known

    name, is_list, file = arm.partition("=")
    if not is_list:
        return arm
    if not name or is_known(name):
        raise UsageError(
            f"{path} has the arm {_toml(arm)}; a list is NAME=FILE, with a name that is no arm already"
        )
    found = path.parent / file
    if not found.is_file():
        raise UsageError(
            f"{path} has the arm {_toml(arm)}, and there is no file {found}; give one that is there"
        )
    return f"{name}={found}"


def _embedder(path: Path, table: dict[str, Any]) -> tuple[str, Embedder]:
    """Return an embedder and its name in the suite."""
    where = f"[[embedder]] of {path}"
    name = table.get("name", "supervised")
    _check(where, {"name": name}, EMBEDDER)  # its message lists the other keys
    with told(where):
        kind, own = named(name)
    options = {field.name for field in fields(KINDS[kind])} - {"name", "recipe"}
    where = f"[[embedder]] {kind} of {path}"
    _check(where, table, {key: EMBEDDER[key] for key in ("name", "label", *options)})
    given = {key: value for key, value in table.items() if key in options}
    if "weights" in given:
        given["weights"] = path.parent / given["weights"]
    with told(where):
        return table.get("label", name), KINDS[kind](**own, **given)
