"""The data card of what is kept: method, fractions, guarantee and command, in Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ..data.store.run_folder import PLACES, RunFolder, Stage
from ..errors import counted
from ..selection.selection import Selection
from .summary import describe_groups, describe_request

NOT_FLAGS = frozenset({"rules", *PLACES})


def data_card(folder: RunFolder, selection: Selection, title: str) -> str:
    """Return the text of ``README.md`` for a data set of the kept images.

    Paths of this machine are not in it: a folder or file is named by its last part.

    Args:
        folder: the run.
        selection: its selection.
        title: the name of the data set.
    """
    source, noun, n, removed = folder.source, folder.source.noun, len(selection), len(selection.removed)
    gone = ~selection.kept_by_id & (selection.representative >= 0)
    # Every digit, since rounding may go below it.
    farthest = float(selection.dissimilarity[gone].max(initial=0.0))
    embedded = folder.stage(Stage.EMBED)
    made_by = {} if embedded is None else embedded.settings.made_by
    vectors = ", ".join(
        f"{key.replace('_', ' ')} {value}" for key, value in made_by.items() if key != "weights_hash"
    )
    scope = "within each class" if selection.settings.get("within") == "class" else "all together"
    method = (
        f"exact complete-linkage clustering of the {noun}s, {scope}; one {noun} is kept of each group"
        if selection.strategy == "semantic"
        else f"strategy {selection.strategy}"
    )
    version = "" if embedded is None else f" {embedded.versions.get('tenpercent', '')}"
    more = [name for name in ("decisions", "locked images") if selection.settings.get(name.split()[0])]
    beside = f", and what a person gave beside it: {' and '.join(more)}" if more else ""
    guarantee = (
        f"every removed {noun} that has a representative is no farther than {farthest} (1 − cosine) from it"
    )
    words = ["tenpercent", "run", public_name(source.spec), *_flags(selection.settings, source.options)]
    return f"""---
tags:
- tenpercent
---

# {title}

What tenpercent{version} kept of {public_name(source.spec)}. {describe_request(selection, noun)}: removed {removed:,} of
{counted(n, noun)} ({removed / n:.1%}), kept {n - removed:,}. {describe_groups(selection, noun) if removed else ""}

- Method: {method}. Vectors: {vectors}.
- Fractions: {(n - removed) / n:.2%} kept, {removed / n:.2%} removed.
- Guarantee: {guarantee}.
- Command: `{shlex.join(words)}`{beside}
"""


def public_name(spec: str) -> str:
    """Return the name of a source without the folders above it, and of an address without its query."""
    prefix, colon, rest = spec.partition(":")
    if not colon or "/" in prefix or rest.startswith("//"):
        prefix, rest = "", spec
    if prefix == "hf" and not rest.startswith("/"):
        return spec
    last = rest.partition("?")[0].rstrip("/").rpartition("/")[2]
    return f"{prefix}:{last}" if prefix else last


def _flags(settings: Mapping[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Return the flags of a cut and of the options by which its source was read."""
    asked = ("threshold", "strategy", "seed", "within", "representative")
    cut = {"keep": settings.get("count") or settings.get("keep")} | {
        name: settings.get(name) for name in asked
    }
    given = {**cut, **{name: value for name, value in options.items() if name not in NOT_FLAGS}}
    flags = []
    for name, value in given.items():
        if value not in (None, False):
            flags += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return flags
