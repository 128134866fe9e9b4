"""Views of a run, as JSON: the run itself, a cut in numbers, its groups and their members."""

from __future__ import annotations

import logging
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..data.store.results import read_results
from ..data.store.run_folder import RunFolder
from ..decisions.log import Decision, ImageName
from ..errors import TenpercentError, worded
from ..tree.cut import Cut
from ..tree.gap import FEWEST, describe_exact, exact_duplicates, find_gap
from ..tree.merges_file import complete_heights
from .groups import CutGroups
from .requests import RequestError
from .state import RunState

log = logging.getLogger("tenpercent")

MOST_CLASSES = 2000
MOST_NAMED = 20  # images of a decision in a list of decisions


def run_view(state: RunState) -> dict[str, Any]:
    """Return the data that the page needs first."""
    embeddings, stored = state.embeddings, state.stored_cut
    noun = state.run.source.noun
    notes = [*stored.notes, *(line for line in (state.originals.note, state.damaged) if line)]
    if state.unmatched:
        notes.append(f"Decisions name {state.unmatched:,} images that are not in this run; they are kept.")
    prefix = f"tenpercent select {shlex.quote(str(state.run.path))}"
    return {
        "name": state.run.path.resolve().name,
        "origin": embeddings.origin,
        "n": len(embeddings),
        "noun": noun,
        "has_images": state.originals.source is not None,
        "images_note": state.originals.note,
        "labelled": embeddings.labels is not None,
        "classes": _classes(state),
        "n_classes": len(embeddings.class_names),
        "within": str(state.merges.within),
        "layer": embeddings.layer,
        "budget": stored.budget,
        "min_per_class": stored.min_per_class,
        "keep": max(stored.keep, state.deepest_held),
        "shallowest": {"keep": 1.0},
        "deepest_keep": state.deepest,
        "deepest_held": state.deepest_held,
        "gap": gap_view(state),
        "typical": state.nearby.typical,
        "version": state.version,
        "undo": state.undo,
        "redo": state.redo,
        "counts_by_kind": dict(Counter(str(decision.kind) for decision in state.decisions)),
        "decisions_unmatched": state.unmatched,
        "decisions_error": state.damaged or None,
        "strategy": stored.strategy,
        "command": commands(state, state.checked(stored.keep, None)),
        "commands_prefix": prefix,
        "accuracy": accuracy(state.run),
        "notes": [worded(note, noun) for note in notes],
    }


def gap_view(state: RunState) -> dict[str, Any]:
    """Return the gap between copies and the rest, or up to which height there is none; independent of decisions."""
    heights = complete_heights(state.bare.height, state.bare.complete_to)
    found, exact = find_gap(heights), exact_duplicates(heights)
    return {
        "exact": worded(f"{describe_exact(exact)}.", state.run.source.noun) if exact else "",
        "found": None if found is None else {**asdict(found), "threshold": found.threshold},
        "looked_to": float(heights[-1 - FEWEST]) if len(heights) - exact > FEWEST + 1 else None,
        "whole": bool(np.isinf(state.bare.complete_to).all()),
    }


def commands(state: RunState, cut: Cut) -> dict[str, str]:
    """Return the command and the lines of Python that make the same cut."""
    path = str(state.run.path)
    asked = {"threshold": repr(cut.threshold)} if cut.keep is None else {"keep": _short(cut.keep)}
    if cut.keep is not None and cut.budget != "class":
        asked["budget"] = f'"{cut.budget}"'
    if cut.holds_height and len(state.merges.constraints):
        asked["hold"] = '"height"'
    if cut.representative != "centre":
        asked["representative"] = f'"{cut.representative}"'
    if cut.min_per_class != 1:
        asked["min_per_class"] = str(cut.min_per_class)
    named = ", ".join(f"{name}={value}" for name, value in asked.items())
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in asked.items())
    return {
        "cli": f"tenpercent select {shlex.quote(path)} " + flags.replace('"', ""),
        "python": f"import tenpercent as tp\nselection = tp.select({path!r}, tp.Cut({named}))",
    }


def cut_view(state: RunState, cut: Cut) -> dict[str, Any]:
    """Return a cut in numbers."""
    found: dict[str, Any] = state.answers.get(("cut", cut), lambda: _cut_view(state, cut))
    return found


def _cut_view(state: RunState, cut: Cut) -> dict[str, Any]:
    groups, n = state.groups(cut), len(state.embeddings)
    stay = n - int(groups.taken.sum())
    notes: tuple[str, ...] = ()
    if len(state.merges.constraints) or (cut.keep is not None and stay > cut.wanted(n)):
        # The effect of decisions and small classes on a cut is left to the library.
        partition = state.partition(cut)
        stay, notes = partition.n_kept, partition.notes
    return {
        "keep": stay / n if cut.keep is None else cut.keep,
        "threshold": cut.threshold,
        "wanted": None if cut.keep is None else cut.wanted(n),
        "kept": stay,
        "removed": n - stay,
        "redundant_groups": len(groups.redundant),
        "decided_groups": int((groups.size(groups.decided) > 1).sum()),
        "parted": _parted(state, groups),
        "largest": int(groups.size(groups.redundant).max(initial=1)),
        "height": groups.height,
        "covered": True,
        "notes": [worded(note, state.run.source.noun) for note in notes],
        "version": state.version,
        "classes": _kept_by_class(state, groups),
        **commands(state, cut),
    }


def _parted(state: RunState, groups: CutGroups) -> int:
    """Return how many decisions left all of their images in no group, so that the list no longer shows them."""
    held = state.merges.constraints
    both = groups.size(groups.of(held.apart.flatten()).reshape(-1, 2)) == 1
    return int(both.all(axis=1).sum()) + len(np.setdiff1d(held.alone, held.apart))


def _classes(state: RunState) -> list[dict[str, Any]]:
    named = zip(state.embeddings.class_names[:MOST_CLASSES], state.class_sizes, strict=False)
    return [{"code": code, "name": name, "images": many} for code, (name, many) in enumerate(named)]


def _kept_by_class(state: RunState, groups: CutGroups) -> list[dict[str, Any]]:
    """Return the classes with what each keeps: one image a group, unless decisions or unlike labels change that."""
    labels = state.embeddings.labels
    if labels is None:
        return []
    forest, width = groups.forest, len(state.embeddings.class_names)
    special = groups.redundant[forest.mixed[groups.redundant]]
    special = np.union1d(special, np.unique(groups.of(state.merges.constraints.standing)))
    plain = np.setdiff1d(groups.redundant, special, assume_unique=True)
    code, fewer = groups.code(plain), groups.size(plain) - 1
    gone = np.bincount(code[code >= 0], weights=fewer[code >= 0], minlength=width)
    if len(special):
        standing = groups.with_representatives(special)
        codes = labels[standing.members[~standing.kept]]
        gone = gone + np.bincount(codes[codes >= 0], minlength=width)
    return [
        {**one, "kept": one["images"] - int(many)}
        for one, many in zip(_classes(state), gone.tolist()[:MOST_CLASSES], strict=True)
    ]


def accuracy(run: RunFolder) -> list[dict[str, Any]]:
    """Return mean accuracy and its interval by arm and fraction, of the protocol with the most training runs."""
    from ..reporting.evidence.results import gather  # loads SciPy's statistics, which takes seconds

    try:
        table = read_results(run)
        found = () if table is None else gather(table)
    except TenpercentError as error:
        log.warning("the page shows no accuracies: %s", error)
        return []
    return [
        {
            "arm": result.arm,
            "layer": result.layer,
            "fraction": result.fraction,
            "trials": len(result.done),
            "mean": summary.mean,
            "low": summary.low,
            "high": summary.high,
        }
        for evidence in found[:1]
        for result in evidence.results
        if (summary := result.summary("accuracy")) is not None
    ]


# ---- images and decisions ------------------------------------------------------------------------------------------


def with_representative(state: RunState, position: int, other: int, dissimilarity: float) -> dict[str, Any]:
    """Return a removed image with its representative and the dissimilarity to it; both null where `other` is −1."""
    known = other >= 0
    return image_name(state, position) | {
        "representative": image_name(state, other) if known else None,
        "d": dissimilarity if known else None,
    }


def image_name(state: RunState, position: int) -> dict[str, Any]:
    """Return the name of an image: position, id and class."""
    name = state.class_names(np.asarray([position]))[0]
    return {"p": position, "id": str(state.embeddings.ids[position]), "class_name": name}


def search_view(state: RunState, text: str, limit: int) -> dict[str, Any]:
    """Return the first images whose id contains a text."""
    found = state.matching(text) if text else np.empty(0, dtype=np.int64)
    return {"images": [image_name(state, int(p)) for p in found[:limit]], "total": len(found)}


def decision_view(
    state: RunState, decision: Decision, place: Mapping[ImageName, int] | None = None
) -> dict[str, Any]:
    """Return a decision with its first images; `place` maps them to positions, the state's own where None."""
    known = state.place if place is None else place
    images = [{"id": image.id, "p": known.get(image)} for image in decision.images[:MOST_NAMED]]
    return {
        "number": decision.number,
        "time": decision.time,
        "kind": str(decision.kind),
        "images": images,
        "n_images": len(decision.images),
        "note": decision.note,
        "undone": decision.undone,
    }


def checked_position(state: RunState, position: int) -> int:
    """Return an existing position.

    Raises:
        RequestError: there is no such image.
    """
    if not 0 <= position < len(state.embeddings):
        raise RequestError(
            404, f"there is no image {position:,}; positions go from 0 to {len(state.embeddings) - 1:,}"
        )
    return position


def _short(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
