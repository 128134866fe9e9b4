"""HTML of a selection for notebooks: counts and a few groups, small, readable in any theme."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import islice

import numpy as np

from ..data.store.embeddings import Embeddings
from ..errors import TenpercentError
from .arrays import SelectionArrays

GROUPS = 6
MEMBERS = 8
SIDE = 64

Picture = Callable[[int], str]


def selection_html(selection: SelectionArrays) -> str:
    """Return a small piece of HTML: the counts, and the largest groups with the kept image first."""
    found = escape(repr(selection).removeprefix("Selection(").removesuffix(")"))
    picture, why = _pictures(selection)
    groups = [positions.tolist() for positions in islice(selection.group_members(), GROUPS)]
    shown = "".join(_group(selection, positions, picture) for positions in groups)
    notes = "".join(f"<div><small>{escape(note)}</small></div>" for note in (*selection.notes, *why))
    return f"<div><b>Selection</b>: {found}{shown}{notes}</div>"


def _group(selection: SelectionArrays, positions: list[int], picture: Picture | None) -> str:
    cells = "".join(_cell(selection, position, picture) for position in positions[:MEMBERS])
    more = f" <small>and {len(positions) - MEMBERS:,} more</small>" if len(positions) > MEMBERS else ""
    diameter = float(selection.group_diameter[positions[0]])
    return (
        f"<div style='margin-top:.5em'><small>group {int(selection.group[positions[0]])}: {len(positions):,} images, "
        f"diameter {diameter:.4g}</small><br>{cells}{more}</div>"
    )


def _cell(selection: SelectionArrays, position: int, picture: Picture | None) -> str:
    image = str(selection.ids[position])
    kept = bool(selection.kept_by_id[position])
    far = selection.dissimilarity[position]
    said = escape(
        f"{image}: {'kept' if kept else 'removed'}" + ("" if np.isnan(far) else f", dissimilarity {far:.4g}"),
        quote=True,
    )
    border = f"border:3px solid {'#2e9e4f' if kept else 'transparent'};padding:1px;margin-right:2px"
    if picture is None:
        name = f"<b>{escape(image)}</b>" if kept else escape(image)
        return f"<code title='{said}' style='{border}'>{name}</code> "
    uri = escape(picture(int(selection.source_rows[position])), quote=True)
    return f"<img src='{uri}' alt='{said}' title='{said}' style='{border};height:{SIDE}px'>"


def _pictures(selection: SelectionArrays) -> tuple[Picture | None, tuple[str, ...]]:
    """Return row -> data URI where the source can be opened again, else None, and the reason."""
    if selection.source is None:
        return None, ()
    from ..data.decoding.decode import Unreadable
    from ..data.decoding.thumbnails import data_uri, thumbnail
    from ..data.sources.opening import SourceOptions, open_source

    try:
        source = open_source(selection.source["spec"], SourceOptions.from_json(selection.source["options"]))
    except (TenpercentError, OSError) as error:
        return None, (f"no pictures: {error}",)
    if isinstance(source, Embeddings):
        return None, ()
    there = zip(selection.source_rows.tolist(), selection.ids.tolist(), strict=True)
    if any(row >= len(source) or source.ids[row] != name for row, name in there):
        return None, (
            f"no pictures: {source.spec} has changed since; tenpercent report shows what is still there",
        )

    def picture(row: int) -> str:
        try:
            return data_uri(thumbnail(source, row, SIDE))
        except (Unreadable, OSError):
            return "data:,"  # the text alternative shows instead

    return picture, ()
