"""Values for the library, made from the flags of a command."""

from __future__ import annotations

import inspect
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, reason_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..data.sources.options import SourceOptions
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder
    from ..evaluation.stage import EvaluationRequest
    from ..tasks.task import Engine
    from ..tree.cut import Cut

CLIP = "clip"  # --within clip is --by clip


def given(arguments: Namespace, function: Callable[..., Any], *without: str) -> dict[str, Any]:
    """Return the flags given that a function or class takes, by name; its own defaults hold for the others."""
    takes = inspect.signature(function).parameters.keys() - {*without}
    return {name: value for name, value in vars(arguments).items() if value is not None and name in takes}


def options_of(arguments: Namespace, side: str = "") -> SourceOptions:
    """Return the options of a source; `side` is the prefix of flags that TRAIN and TEST have each."""
    from ..data.sources.options import SourceOptions

    own = {name: getattr(arguments, f"{side}{name}", None) for name in ("split", "labels", "ids")}
    if getattr(arguments, "within", None) == CLIP:
        if arguments.by not in (None, CLIP):
            raise UsageError(f"--within {CLIP} and --by {arguments.by} exclude each other; give one of them")
        own["by"] = CLIP
    return SourceOptions(**{**given(arguments, SourceOptions), **own})


def options_of_both(arguments: Namespace) -> tuple[SourceOptions, SourceOptions]:
    """Return the options of TRAIN and of TEST; the names of columns apply to those that are sources of their own."""
    from ..data.sources.options import SourceOptions

    train, test = options_of(arguments, "train_"), options_of(arguments, "test_")
    made = [
        name is not None and (Path(name) / "run.json").is_file() for name in (arguments.train, arguments.test)
    ]
    if made[0] and arguments.test is not None and not made[1]:
        train = SourceOptions(train.split, labels=train.labels, ids=train.ids)
    if arguments.test is None or (made[1] and not made[0]):
        test = SourceOptions(test.split, labels=test.labels, ids=test.ids)
    return train, test


def embedder_of(arguments: Namespace) -> Embedder | ByLabels | None:
    """Return the embedder that the flags ask for, None where none do; without a name the labels decide its kind."""
    from ..embedding.by_labels import ByLabels, no_meaning
    from ..embedding.hub import MODEL, package_file
    from ..embedding.settings import KINDS, named
    from ..evaluation.presets import preset

    finetune = arguments.finetune and arguments.preset is None
    kind, own = named(arguments.embedder or ("pretrained" if finetune else "supervised"))
    if kind == "pretrained" and finetune:
        kind, own = "timm", {"name": MODEL, "weights": package_file()}
    flags: dict[str, Any] = {}
    for known in KINDS.values():
        flags |= given(arguments, known)
    if arguments.embedder is None and arguments.preset is None and not finetune:
        return ByLabels(tuple(sorted(flags.items()))) if flags else None
    takes = {field.name for field in fields(KINDS[kind])}
    for flag in flags:
        if flag not in takes:
            raise no_meaning(flag, kind)
    if arguments.preset is None:
        return KINDS[kind](**{**own, **flags})
    if kind != "supervised":
        raise UsageError(
            f"--preset {arguments.preset} trains from scratch on labels, --embedder {arguments.embedder} does not; "
            "leave out one of them"
        )
    lengths = {"steps": None, "epochs": None} if {"steps", "epochs"} & {*flags} else {}
    return replace(preset(arguments.preset).training, **{**lengths, **flags})


ENGINES = ("workers", "ray")  # the flags that ask for one


def engine_of(arguments: Namespace) -> Engine | None:
    """Return the place that the flags ask for; None for this process."""
    if arguments.workers is not None:
        from ..tasks.processes import Processes

        return Processes(arguments.workers)
    if arguments.ray is not None:
        from ..tasks.on_ray import Ray

        return Ray(arguments.ray)
    return None


def cut_of(arguments: Namespace) -> Cut:
    """Return the cut that the flags ask for."""
    from ..tree.cut import Cut

    return Cut(
        **{
            **given(arguments, Cut),
            "keep_ids": read_ids(arguments.keep_ids, "--keep-ids"),
            "locked": read_ids(arguments.locked, "--locked"),
            "within": within_of(arguments),
        }
    )


def within_of(arguments: Namespace) -> str | None:
    """Return ``within``: as asked, else ``all`` where a preset groups all images together."""
    asked: str | None = getattr(arguments, "within", None)
    asked = "class" if asked == CLIP else asked
    name = getattr(arguments, "preset", None)
    if asked is not None or name is None:
        return asked
    from ..evaluation.presets import preset

    return "all" if preset(name).within == "all" else None


def read_ids(path: Path | None, flag: str) -> tuple[str, ...]:
    """Return the ids in a file: one a line, or the column ``id`` of a table; none for no file.

    Raises:
        UsageError: it can't be read, or names no image.
    """
    if path is None:
        return ()
    table = path.suffix.lower() in (".csv", ".parquet")
    found = _ids_of_table(path, flag) if table else _ids_of_lines(path, flag)
    if not found:
        raise UsageError(f"{flag} {path} names no images; give one id per line, or leave out {flag}")
    return found


def _ids_of_lines(path: Path, flag: str) -> tuple[str, ...]:
    try:  # split at newlines alone: ids are paths, which may hold the rarer separators of `splitlines`
        lines = path.read_text(encoding="utf-8-sig").split("\n")
        return tuple(line.removesuffix("\r") for line in lines if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"can't read {flag} {path}: {reason_of(error)}; give a text file with one id per line"
        ) from None


def _ids_of_table(path: Path, flag: str) -> tuple[str, ...]:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix.lower() == ".csv":
            text = csv.ConvertOptions(column_types={"id": pa.string()}, include_columns=["id"])
            table = csv.read_csv(path, convert_options=text)
        else:
            table = parquet.read_table(path, columns=["id"])
        return tuple(map(str, table["id"].to_pylist()))
    except (OSError, KeyError, pa.ArrowException) as error:
        reason = "it has no column id" if isinstance(error, KeyError) else reason_of(error)
        raise UsageError(
            f"can't read {flag} {path}: {reason}; give a table with a column id, or a text file with one id "
            "per line"
        ) from None


def request_of(arguments: Namespace, trials: int) -> EvaluationRequest:
    """Return the comparison that the flags ask for; defaults are those of the run's own selection."""
    from ..evaluation.preparation import sized_by_lists
    from ..evaluation.stage import SEARCHED, EvaluationRequest, own_choice

    keep, strategy = own_choice(arguments.run)
    arms = tuple(arguments.arms or dict.fromkeys(("full", "random", strategy)))
    usual = () if sized_by_lists(arms) else SEARCHED if arguments.find else (keep,)
    found = {
        "trials": trials,
        **given(arguments, EvaluationRequest),
        "keep": tuple(arguments.keep or usual),
        "arms": arms,
        "layers": tuple(arguments.layer or ()),
        "test_options": options_of(arguments, "test_"),
    }
    return EvaluationRequest(**found)


def by_heads(arguments: Namespace) -> bool:
    """Return whether an evaluation is by heads on frozen vectors: as asked, or where the vectors never saw the labels.

    Raises:
        UsageError: heads and settings of networks are both given.
    """
    from ..data.store.run_folder import RunFolder
    from ..evaluation.heads.stage import HEAD, saw_labels

    others = ("preset", "length", "steps", "epochs", "depth", "side", "batch", "precision", "weights")
    if arguments.network == HEAD:
        refuse(arguments, [*others, "layer", "embeddings"], "--network head")
        if arguments.finetune:
            raise UsageError("--finetune has no meaning for --network head; leave it out")
        return True
    if arguments.finetune or any(getattr(arguments, one) is not None for one in (*others, "network")):
        return False
    return not saw_labels(RunFolder.open(arguments.run))


def refuse(arguments: Namespace, names: Sequence[str], beside: str) -> None:
    """Raise `UsageError` where a flag is given that another excludes."""
    for name in names:
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} has no meaning for {beside}; leave it out")


def read_scores(path: Path) -> npt.NDArray[Any]:
    """Return the scores of a .npy file."""
    import numpy as np

    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"can't read --scores {path}: {reason_of(error)}; give an array of numbers as .npy"
        ) from None
