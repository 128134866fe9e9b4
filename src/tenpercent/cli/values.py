"""Values for the library, made from the flags of a command."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, reason_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from ..data.sources.options import SourceOptions
    from ..embedding.by_labels import ByLabels
    from ..embedding.encoders import Embedder
    from ..evaluation.stage import Asked
    from ..tree.cut import Cut

FLAGS = (  # of embedders
    "batch",
    "depth",
    "devices",
    "dim",
    "epochs",
    "finetune",
    "network",
    "precision",
    "seed",
    "side",
    "steps",
    "weights",
)


SHARED = (  # options of sources that all commands take
    "image_column",
    "label_column",
    "embedding_column",
    "id_column",
    "data_dir",
    "follow_links",
    "max_pixels",
    "drop_bad_rows",
)


def options_of(arguments: argparse.Namespace, side: str = "") -> SourceOptions:
    """Return the options of a source; `side` is the prefix of flags that TRAIN and TEST have each."""
    from ..data.sources.options import SourceOptions

    return SourceOptions(
        split=getattr(arguments, f"{side}split"),
        labels=getattr(arguments, f"{side}labels"),
        ids=getattr(arguments, f"{side}ids"),
        **{name: getattr(arguments, name) for name in SHARED},
    )


def options_of_both(arguments: argparse.Namespace) -> tuple[SourceOptions, SourceOptions]:
    """Return the options of TRAIN and of TEST; the names of columns apply to those that are sources of their own."""
    train, test = options_of(arguments, "train_"), options_of(arguments, "test_")
    no_columns: dict[str, Any] = dict.fromkeys(SHARED) | {"follow_links": False, "drop_bad_rows": False}
    done = [
        name is not None and (Path(name) / "run.json").is_file() for name in (arguments.train, arguments.test)
    ]
    if done[0] and arguments.test is not None and not done[1]:
        train = replace(train, **no_columns)
    if arguments.test is None or (done[1] and not done[0]):
        test = replace(test, **no_columns)
    return train, test


def embedder_of(arguments: argparse.Namespace) -> Embedder | ByLabels | None:
    """Return the embedder that the flags ask for, None where none do; without a name the labels decide its kind."""
    from ..embedding.by_labels import ByLabels, no_meaning
    from ..embedding.settings import KINDS, named

    kind, own = named(arguments.embedder or "supervised")
    given = {flag: getattr(arguments, flag) for flag in FLAGS if getattr(arguments, flag) is not None}
    if arguments.embedder is None and arguments.preset is None:
        return ByLabels(tuple(given.items())) if given else None
    takes = {field.name for field in fields(KINDS[kind])}
    for flag in given:
        if flag not in takes:
            raise no_meaning(flag, kind)
    if arguments.preset is None:
        return KINDS[kind](**own, **given)
    if kind != "supervised":
        raise UsageError(
            f"--preset {arguments.preset} trains from scratch on labels and --embedder is {arguments.embedder}; "
            "leave out one"
        )
    return _of_preset(arguments.preset, given)


def _of_preset(name: str, given: dict[str, Any]) -> Embedder:
    """Return the training of a preset, its settings overridden by the flags given."""
    from ..evaluation.presets import preset

    lengths = {"steps": None, "epochs": None} if {"steps", "epochs"} & set(given) else {}
    return replace(preset(name).training, **{**lengths, **given})


def cut_of(arguments: argparse.Namespace) -> Cut:
    """Return the cut that the flags ask for."""
    from ..tree.cut import Cut

    return Cut(
        keep=arguments.keep,
        threshold=arguments.threshold,
        budget=arguments.budget,
        keep_ids=_read_ids(arguments.keep_ids),
        min_per_class=arguments.min_per_class,
        hold=arguments.hold,
        within=within_of(arguments),
        layer=getattr(arguments, "layer", None),
    )


def within_of(arguments: argparse.Namespace) -> str | None:
    """Return ``within``: as asked, else ``all`` where a preset groups all images together."""
    asked: str | None = getattr(arguments, "within", None)
    name = getattr(arguments, "preset", None)
    if asked is not None or name is None:
        return asked
    from ..evaluation.presets import preset

    return "all" if preset(name).within == "all" else None


def _read_ids(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:  # split at newlines alone: ids are paths, which may hold the rarer separators of `splitlines`
        return tuple(line for line in path.read_text(encoding="utf-8-sig").split("\n") if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"can't read --keep-ids {path}: {reason_of(error)}; give a text file with one id a line"
        ) from None


def asked_of(arguments: argparse.Namespace, trials: int) -> Asked:
    """Return the comparison that the flags ask for; defaults are those of the run's own selection."""
    from ..data.sources.options import SourceOptions
    from ..evaluation.preparation import sized_by_lists
    from ..evaluation.stage import LADDER, Asked, own_choice

    options = SourceOptions(
        split=arguments.test_split,
        labels=arguments.test_labels,
        **{name: getattr(arguments, name) for name in SHARED},
    )
    keep, strategy = own_choice(arguments.run)
    arms = tuple(arguments.arms or dict.fromkeys(("full", "random", strategy)))
    usual = () if sized_by_lists(arms) else LADDER if arguments.find else (keep,)
    return Asked(
        keep=tuple(arguments.keep or usual),
        arms=arms,
        trials=trials if arguments.trials is None else arguments.trials,
        layers=tuple(arguments.layer),
        embeddings=arguments.embeddings,
        test=arguments.test,
        test_options=options,
        ignore_decisions=arguments.ignore_decisions,
    )


def refuse(arguments: argparse.Namespace, names: Sequence[str], beside: str) -> None:
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
