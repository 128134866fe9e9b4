"""What the page shows of a run, as JSON: the run itself, a cut in numbers, its groups and their members."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..decisions.log import Decision, ImageName, Kind
from ..select.cut import CheckedCut
from ..store.embeddings import Ints
from .accuracy import accuracy
from .asked import MOST_IMAGES, RefusedError
from .groups import Decided, Filter, Groups, Order
from .state import State

if TYPE_CHECKING:
    from ..select.partition import Standing

SHOWN = 16  # members of a group in a list of groups
MOST_CLASSES = 2000
MOST_NAMED = 20  # images of a decision in a list of decisions
BYTES = 700_000  # of an answer, before JSON's own signs


def run_view(state: State) -> dict[str, Any]:
    """Return what the page needs to know first."""
    embeddings, how = state.embeddings, state.how
    notes = [*how.notes, *(line for line in (state.originals.note, state.damaged) if line)]
    if state.unmatched:
        notes.append(f"Decisions name {state.unmatched:,} images that are not in this run; they are kept.")
    prefix = f"tenpercent select {shlex.quote(str(state.run.path))}"
    return {
        "name": state.run.path.resolve().name,
        "origin": embeddings.origin,
        "n": len(embeddings),
        "has_images": state.originals.source is not None,
        "images_note": state.originals.note,
        "labelled": embeddings.labels is not None,
        "classes": _classes(state),
        "n_classes": len(embeddings.class_names),
        "within": str(state.merges.within),
        "layer": embeddings.layer,
        "budget": how.budget,
        "min_per_class": how.min_per_class,
        "keep": max(how.keep, state.deepest),
        "shallowest": {"keep": 1.0},
        "deepest_keep": state.deepest,
        "version": state.version,
        "undo": state.undo,
        "redo": state.redo,
        "counts_by_kind": dict(Counter(str(decision.kind) for decision in state.decisions)),
        "decisions_unmatched": state.unmatched,
        "decisions_error": state.damaged or None,
        "strategy": how.strategy,
        "command": commands(state, state.checked(how.keep, None)),
        "commands_prefix": prefix,
        "accuracy": accuracy(state.run),
        "notes": notes,
    }


def commands(state: State, cut: CheckedCut) -> dict[str, str]:
    """Return the command and the lines of Python that make the same cut."""
    path = str(state.run.path)
    asked = f"threshold={cut.threshold!r}" if cut.keep is None else f"keep={_short(cut.keep)}"
    flag = f"--threshold {cut.threshold!r}" if cut.keep is None else f"--keep {_short(cut.keep)}"
    flags, named = [flag], [asked]
    if cut.keep is not None and cut.budget != "class":
        flags.append(f"--budget {cut.budget}")
        named.append(f'budget="{cut.budget}"')
    if cut.min_per_class != 1:
        flags.append(f"--min-per-class {cut.min_per_class}")
        named.append(f"min_per_class={cut.min_per_class}")
    python = f"import tenpercent as tp\nselection = tp.select({path!r}, tp.Cut({', '.join(named)}))"
    return {"cli": f"tenpercent select {shlex.quote(path)} {' '.join(flags)}", "python": python}


def cut_view(state: State, cut: CheckedCut) -> dict[str, Any]:
    """Return a cut in numbers."""
    groups = state.groups(cut)
    partition, n = groups.partition, len(state.embeddings)
    return {
        "keep": partition.n_kept / n if cut.keep is None else cut.keep,
        "threshold": cut.threshold,
        "kept": partition.n_kept,
        "removed": n - partition.n_kept,
        "redundant_groups": len(groups.redundant),
        "largest": int(partition.size.max()),
        "height": partition.height,
        "covered": True,
        "notes": list(partition.notes),
        "version": state.version,
        "classes": _kept_by_class(state, groups),
        **commands(state, cut),
    }


def _classes(state: State) -> list[dict[str, Any]]:
    labels = state.embeddings.labels
    if labels is None:
        return []
    images = np.bincount(labels[labels >= 0], minlength=len(state.embeddings.class_names)).tolist()
    named = enumerate(zip(state.embeddings.class_names, images, strict=True))
    return [{"code": code, "name": name, "images": many} for code, (name, many) in named][:MOST_CLASSES]


def _kept_by_class(state: State, groups: Groups) -> list[dict[str, Any]]:
    """Return the classes with what each keeps: one image a group, unless decisions or unlike labels say other."""
    labels = state.embeddings.labels
    if labels is None:
        return []
    special = groups.decided | groups.mixed
    plain = groups.code(np.flatnonzero(~special))
    width = len(state.embeddings.class_names)
    kept = np.bincount(plain[plain >= 0], minlength=width)
    asked = np.flatnonzero(special)
    if len(asked):
        standing = groups.partition.standing(asked)
        codes = labels[standing.members[standing.kept]]
        kept = kept + np.bincount(codes[codes >= 0], minlength=width)
    return [
        {**one, "kept": many} for one, many in zip(_classes(state), kept.tolist()[:MOST_CLASSES], strict=True)
    ]


# ---- groups --------------------------------------------------------------------------------------------------------


def groups_view(
    state: State, cut: CheckedCut, wanted: Filter, text: str, around: int | None, page: tuple[int, int]
) -> dict[str, Any]:
    """Return a page of the list of groups.

    Args:
        state: the run.
        cut: where it is cut.
        wanted: order and filter.
        text: what the id of an image of each group holds, "" for anything.
        around: the position whose group the page is to hold; None for the page as asked.
        page: the offset, and how many groups.
    """
    groups = state.groups(cut)
    listed = groups.listed(wanted, state.matching(text) if text else None)
    offset, limit = page
    found = True
    if around is not None:
        at = np.flatnonzero(listed == groups.partition.group[around])
        found = bool(len(at))
        offset = int(at[0]) // limit * limit if found else offset
    shown = group_views(state, groups, listed[offset : offset + limit])
    answer = {"total": len(listed), "offset": offset, "groups": shown, "version": state.version}
    return answer if around is None else {**answer, "found": found}


def group_views(state: State, groups: Groups, asked: Ints) -> list[dict[str, Any]]:
    """Return groups with their first members; fewer than asked where ids are so long that the answer would be large."""
    if not len(asked):
        return []
    standing = groups.partition.standing(asked)
    views: list[dict[str, Any]] = []
    spent = 0
    for number, group in enumerate(asked.tolist()):
        part = slice(int(standing.starts[number]), int(standing.starts[number + 1]))
        view = group_view(state, groups, group, standing, number)
        view["members"] = members_view(state, standing, number, range(part.start, part.stop)[:SHOWN])
        spent += sum(len(member["id"]) for member in view["members"])
        if views and spent > BYTES // 2:
            break
        views.append(view)
    return views


def group_view(state: State, groups: Groups, group: int, standing: Standing, number: int) -> dict[str, Any]:
    """Return what is said of a group without its members; it is the `number`-th of those in `standing`."""
    part = slice(int(standing.starts[number]), int(standing.starts[number + 1]))
    representative = int(standing.representative[number])
    size = part.stop - part.start
    code = int(groups.code(np.asarray([group]))[0])
    seen = (
        sum(str(Kind.ACCEPT) in state.marks.get(p, ()) for p in standing.members[part].tolist())
        if (groups.decided[group])
        else 0
    )
    return {
        "key": int(groups.first[group]),
        "size": size,
        "diameter": float(groups.partition.diameter[group]),
        "class_name": state.embeddings.class_name(code),
        "conflict": bool(groups.conflict[group]),
        "decided": bool(groups.decided[group]),
        "accepted": 0 < min(size, MOST_IMAGES) <= seen,
        "representative": None if representative < 0 else representative,
        "kept": int(standing.kept[part].sum()),
    }


def members_view(
    state: State, standing: Standing, number: int, entries: Sequence[int]
) -> list[dict[str, Any]]:
    """Return members of the `number`-th group in `standing`, as far as one answer holds."""
    representative = int(standing.representative[number])
    found: list[dict[str, Any]] = []
    spent = 0
    for entry in entries:
        position = int(standing.members[entry])
        view = image_name(state, position) | {
            "role": role(bool(standing.kept[entry]), position == representative),
            "d": distance(float(standing.dissimilarity[entry]), representative),
            "marks": list(state.marks.get(position, ())),
            "missing": state.originals.source is not None and state.originals.missing(position) is not None,
        }
        spent += len(view["id"])
        if found and spent > BYTES:
            break
        found.append(view)
    return found


def image_name(state: State, position: int) -> dict[str, Any]:
    """Return how an image is called: position, id and class."""
    labels = state.embeddings.labels
    code = -1 if labels is None else int(labels[position])
    name = state.embeddings.class_name(code)
    return {"p": position, "id": str(state.embeddings.ids[position]), "class_name": name}


def role(kept: bool, stands: bool) -> str:
    """Return what becomes of an image, in a word or two."""
    if not kept:
        return "removed"
    return "kept" if stands else "kept too"


def distance(dissimilarity: float, representative: int) -> float | None:
    """Return a dissimilarity to the keeper, None where there is no keeper."""
    return dissimilarity if representative >= 0 and math.isfinite(dissimilarity) else None


# ---- images and decisions ------------------------------------------------------------------------------------------


def search_view(state: State, text: str, limit: int) -> dict[str, Any]:
    """Return the first images whose id holds a text."""
    found = state.matching(text) if text else np.empty(0, dtype=np.int64)
    return {"images": [image_name(state, int(p)) for p in found[:limit]], "total": len(found)}


def decision_view(
    state: State, decision: Decision, place: Mapping[ImageName, int] | None = None
) -> dict[str, Any]:
    """Return a decision with its first images; `place` is where they are, the state's own where None."""
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


def checked_position(state: State, position: int) -> int:
    """Return a position that there is.

    Raises:
        RefusedError: there is no such image.
    """
    if not 0 <= position < len(state.embeddings):
        raise RefusedError(
            404, f"there is no image {position:,}; positions go from 0 to {len(state.embeddings) - 1:,}"
        )
    return position


def checked_filter(state: State, asked: Any) -> Filter:
    """Return the filter that a request names.

    Raises:
        RefusedError: no class has that name or code.
    """
    return Filter(
        order=Order(asked["order"]),
        code=_code(state, asked["class"]),
        smallest=asked["min_size"],
        largest=asked["max_size"],
        decided=Decided(asked["decided"]),
    )


def _code(state: State, name: str | None) -> int | None:
    """Return the code of a class given by its code, or by its name where that is no code."""
    if not name:
        return None
    names = state.embeddings.class_names
    if name.isdecimal() and len(name) < 9 and int(name) < len(names):
        return int(name)
    if name in names:
        return names.index(name)
    raise RefusedError(400, f"class is {name[:60]!r}; give one of the {len(names):,} classes' codes")


def _short(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".")
