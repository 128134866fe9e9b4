"""Summaries of a run in a few lines for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..data.sources.first_line import describe_taken
from ..data.store.added import read_added
from ..data.store.left_out import read_held_out, read_rejected
from ..data.store.results import read_results
from ..data.store.run_folder import RunFolder, Stage
from ..errors import counted, quoted, shown, worded
from ..selection.selection import Selection
from ..selection.whole_images import redundant_images
from ..tree.gap import describe_gap, said_height
from ..tree.merges_file import read_heights

SHOWN = 5  # rejected images


def describe_selection(run: str | Path, selection: Selection) -> str:
    """Return what was asked for, what is removed, how it is grouped, and the selection's notes.

    Args:
        run: the run folder that holds the selection.
        selection: the selection.
    """
    folder = RunFolder.open(run)
    n, removed, noun = len(selection), len(selection.removed), folder.source.noun
    lines = [
        f"{describe_request(selection, noun)}: removed {removed:,} of {counted(n, noun)} ({removed / n:.1%}), "
        f"kept {n - removed:,}{_describe_rounding(selection)}."
    ]
    if removed:
        lines.append(describe_groups(selection, noun))
    if noun == "object":
        lines.append(describe_images_of(selection))
    if selection.strategy == "semantic":
        selected = folder.stage(Stage.SELECT)
        scale = describe_scale(selection, None if selected is None else selected.mean_dissimilarity, noun)
        lines += [f"{scale}."] if scale else []
        if folder.stage(Stage.CLUSTER) and folder.merges.exists():
            heights = read_heights(folder.merges)
            lines += [worded(describe_gap(heights, n), noun)] if len(heights) else []
    return "\n".join([*lines, *(worded(note, noun) for note in selection.notes)])


def describe_images_of(selection: Selection) -> str:
    """Return what a selection of objects means for their images."""
    n, redundant = len(set(selection.table["path"].to_pylist())), len(redundant_images(selection))
    said = f"{redundant:,} ({redundant / n:.1%}) keep none of them and {'is' if redundant == 1 else 'are'} redundant"
    return f"Of {counted(n, 'image')} with objects, {said}; {n - redundant:,} stay."


def describe_request(selection: Selection, noun: str = "image") -> str:
    """Return what was asked for: a fraction is a quota, not a finding."""
    settings = selection.settings
    by = "" if selection.strategy == "semantic" else f" by {selection.strategy}"
    if settings.get("threshold") is not None:
        return f"Asked to group {noun}s up to {settings['threshold']:g} apart{by}"
    if settings.get("count") is not None:
        return f"Asked to keep {counted(settings['count'], noun)}{by}"
    return f"Asked to keep {100 * settings['keep']:.4g}%{by}"


def _describe_rounding(selection: Selection) -> str:
    """Return why the fraction removed is not quite as asked, where only whole images make the difference; else ""."""
    n, kept, keep = len(selection), len(selection.kept), selection.settings.get("keep")
    if keep is None or f"{kept / n:.1%}" == f"{keep:.1%}" or abs(kept - keep * n) >= 1:
        return ""
    return f" ({100 * keep:.4g}% of {n:,} is {keep * n:.4g})"


def describe_scale(selection: Selection, mean: float | None, noun: str = "image") -> str:
    """Return the height of the last merge beside the mean dissimilarity of two images, in two digits each.

    Args:
        selection: one that was cut from a tree.
        mean: see `mean_dissimilarity`; None where it is not known.
        noun: what the selection is of.
    """
    said = []
    if not selection.kept_by_id.all():
        height = max(cut.height for cut in selection.classes)
        said.append(f"the last merge is at {said_height(height)} (1 − cosine)")
    if mean is not None:
        said.append(f"two {noun}s of this set are {said_height(mean)} apart on average")
    words = "; ".join(said)
    return words[:1].upper() + words[1:]


def describe_groups(selection: Selection, noun: str) -> str:
    """Return how removed images are grouped, and the greatest dissimilarity of one to its representative."""
    gone = ~selection.kept_by_id
    groups = len(np.unique(selection.group[gone]))
    largest = counted(int(selection.group_size[gone].max(initial=1)), noun)
    where = f"{counted(groups, 'group')}, the largest of {largest}" if groups > 1 else f"a group of {largest}"
    they = "It is" if gone.sum() == 1 else "They are"
    represented = gone & (selection.representative >= 0)
    farthest = float(selection.dissimilarity[represented].max(initial=0.0))
    without = int(gone.sum()) - int(represented.sum())
    but = f", except {without:,} removed by decision with nothing kept in their place" if without else ""
    return f"{they} in {where}; every removed {noun} is within {said_height(farthest)} of the one kept for it{but}."


def describe_run(run: str | Path) -> str:
    """Return the result of a finished run and the path of its report."""
    folder = RunFolder.open(run)
    selection = Selection.load(folder.selection)
    lines = [*describe_update(folder, selection), describe_selection(run, selection), *describe_rejected(run)]
    return "\n".join([*lines, f"Report: {folder.report}"])


def describe_update(folder: RunFolder, selection: Selection) -> list[str]:
    """Return a line on what the last update of a run found changed, and how much of the new is redundant; none before.

    Args:
        folder: the run.
        selection: its selection. A new image is redundant if an image that was there shows the same: is in its group.
    """
    done = folder.stage(Stage.EMBED)
    if done is None or done.change is None:
        return []
    said = ", ".join(f"{count:,} {what}" for what, count in done.change.items() if count)
    new = np.isin(selection.ids.astype(str), np.asarray(read_added(folder.added)[0], dtype=str))
    if new.any():
        count = np.count_nonzero(np.isin(selection.group[new], selection.group[~new]))
        said += f"; of the new ones {count:,} {'is' if count == 1 else 'are'} redundant with what was there"
    return [f"The last update: {said}."]


def describe_rejected(run: str | Path) -> list[str]:
    """Return lines on the rejected images of a run, the first with their reasons; none where there are none."""
    folder = RunFolder.open(run)
    table = read_rejected(folder)
    if table is None or not len(table):
        return []
    first = [f"  {shown(one['id'])}: {shown(one['reason'])}" for one in table.slice(0, SHOWN).to_pylist()]
    more = len(table) - len(first)
    rest = [f"  … and {more:,} more, with the reasons: {folder.rejected}"] if more else []
    return [f"{counted(len(table), folder.source.noun)} rejected:", *first, *rest]


def describe_left_out(run: str | Path) -> list[str]:
    """Return a line each on images that an export leaves out beside the removed ones: unreadable, and held out."""
    folder = RunFolder.open(run)
    held_out = _count(read_held_out(folder))
    said = (
        [f"{counted(held_out, folder.source.noun)} held out for evaluation, and not exported."]
        if held_out
        else []
    )
    return [*describe_rejected(run), *said]


def _count(table: pa.Table | None) -> int:
    return 0 if table is None else len(table)


def describe_trainings(run: str | Path, margin: float | None = None) -> str:
    """Return a summary of the training runs of a run folder, one a protocol; empty where there are none.

    Args:
        run: a run folder.
        margin: the loss in points that is still accepted; None for the default.
    """
    from .evidence.section import (
        describe_evidence,  # imports SciPy's statistics, which other summaries do not need
    )

    folder = RunFolder.open(run)
    table = read_results(folder)
    if not table:
        return ""
    content = folder.read()
    return describe_evidence(table, margin, folder.source.class_names, content)


def describe_folder(run: str | Path) -> str:
    """Return the content of a run folder and what made it, a line a stage."""
    folder = RunFolder.open(run)
    content = folder.read()
    lines = [f"source   {folder.source.spec}: {describe_taken(folder.source)}"]
    for stage in Stage:
        found = content["stages"].get(stage)
        if found is None:
            outdated = stage is Stage.REPORT and folder.report.exists()
            update = f"not of this selection; update it with: tenpercent report {quoted(folder.path)}"
            lines.append(f"{stage:<8} {update if outdated else 'not done yet'}")
            continue
        settings = ", ".join(
            f"{key} {value}" for key, value in sorted(_flat(found["settings"]).items()) if value is not None
        )
        counts = [
            f"{found[name]:,} {name}" for name in ("rejected", "merges", "kept", "removed") if name in found
        ]
        said = ", ".join([*counts, settings] if settings else counts)
        lines.append(f"{stage:<8} {found['finished']}, {found['seconds']:.1f} s{': ' if said else ''}{said}")
    return "\n".join(lines)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Return nested settings flattened to one level, under the inner names alone."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found.update(_flat(value) if isinstance(value, dict) else {key: value})
    return found
