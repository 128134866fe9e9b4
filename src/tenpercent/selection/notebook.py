"""HTML of a selection for notebooks: counts, and groups by a slider of their diameter, readable in any theme."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from secrets import token_hex

import numpy as np

from ..data.store.embeddings import Embeddings
from ..errors import TenpercentError
from .arrays import SelectionArrays

GROUPS = 12  # at most, evenly from the tightest to the widest
MEMBERS = 6
SHOWN = 3  # groups at a time
SIDE = 96

Picture = Callable[[int], str]

# Colours are those of the notebook, light or dark. Without scripts the widest groups stay.
_STYLE = """
#ID .group {margin: .9em 0} #ID .bar {margin: .8em 0 .2em} #ID input {width: min(24em, 100%); vertical-align: middle}
#ID figure {display: inline-block; margin: 6px 10px 0 3px; vertical-align: top; text-align: center}
#ID img {display: block; height: 96px; max-width: 160px; object-fit: cover; border-radius: 4px}
#ID .kept img, #ID .kept code {outline: 3px solid #2e9e4f; outline-offset: -1px}
#ID code {display: block; padding: .2em .4em; border-radius: 4px; max-width: 16em; overflow-wrap: anywhere}
#ID figcaption {margin-top: 4px}
#ID figcaption, #ID small {font-size: 85%; opacity: .8; font-variant-numeric: tabular-nums}
"""
_SCRIPT = """
(() => {
  const root = document.getElementById("ID"), groups = [...root.querySelectorAll(".group")];
  const slider = root.querySelector("input"), said = root.querySelector("output");
  const show = () => {
    const from = Number(slider.value), shown = groups.slice(from, from + SHOWN);
    for (const group of groups) group.hidden = !shown.includes(group);
    said.textContent = `diameter ${shown[0].dataset.diameter} to ${shown.at(-1).dataset.diameter}`;
  };
  slider.addEventListener("input", show);
  root.querySelector(".bar").hidden = false;
  show();
})();
"""


def selection_html(selection: SelectionArrays) -> str:
    """Return a piece of HTML: the counts, and redundant groups by a slider of their diameter, the kept image first."""
    name = f"tenpercent-{token_hex(4)}"  # several may be on one page
    found = escape(repr(selection).removeprefix("Selection(").removesuffix(")"))
    groups, all_groups = _sampled(selection)
    picture, why = _pictures(selection)
    shown = "".join(
        _group(selection, positions, picture, hidden=at < len(groups) - SHOWN)
        for at, positions in enumerate(groups)
    )
    few = f"{len(groups)} of {all_groups:,} groups, evenly by their diameter"
    notes = (*((few,) if len(groups) < all_groups else ()), *selection.notes, *why)
    slider, script = "", ""
    if len(groups) > SHOWN:
        slider = _slider(len(groups) - SHOWN)
        script = f"<script>{_SCRIPT.replace('ID', name).replace('SHOWN', str(SHOWN))}</script>"
    return (
        f"<div id='{name}'><style>{_STYLE.replace('ID', name)}</style><b>Selection</b>: {found}{slider}{shown}"
        f"{''.join(f'<div><small>{escape(note)}</small></div>' for note in notes)}{script}</div>"
    )


def _sampled(selection: SelectionArrays) -> tuple[list[list[int]], int]:
    """Return some groups by ascending diameter, each as positions with the kept image first, and how many there are."""
    groups = [positions.tolist() for positions in selection.group_members()]
    groups.sort(key=lambda positions: float(selection.group_diameter[positions[0]]))
    taken = np.unique(np.linspace(0, len(groups) - 1, min(GROUPS, len(groups))).round().astype(int))
    return [groups[at] for at in taken], len(groups)


def _slider(last: int) -> str:
    """Return the slider, hidden until the script that moves it runs."""
    return (
        f"<div class='bar' hidden><label>tightest <input type='range' min='0' max='{last}' value='{last}' "
        "aria-label='groups by their diameter'> widest</label> &nbsp;<output></output></div>"
    )


def _group(selection: SelectionArrays, positions: list[int], picture: Picture | None, *, hidden: bool) -> str:
    cells = "".join(_cell(selection, position, picture) for position in positions[:MEMBERS])
    more = f"<small>and {len(positions) - MEMBERS:,} more</small>" if len(positions) > MEMBERS else ""
    diameter = f"{float(selection.group_diameter[positions[0]]):.3g}"
    what = f"group {int(selection.group[positions[0]])}: {len(positions):,} images, diameter {diameter}"
    return (
        f"<div class='group' data-diameter='{diameter}'{' hidden' if hidden else ''}><small>{what}</small><br>"
        f"{cells}{more}</div>"
    )


def _cell(selection: SelectionArrays, position: int, picture: Picture | None) -> str:
    image, kept = str(selection.ids[position]), bool(selection.kept_by_id[position])
    far = selection.dissimilarity[position]
    under = "kept" if kept else "removed" if np.isnan(far) else f"{far:.3g}"
    said = escape(f"{image}: {'kept' if kept else 'removed'}", quote=True)
    shown = f"<code title='{said}'>{escape(image)}</code>"
    if picture is not None:
        uri = escape(picture(int(selection.source_rows[position])), quote=True)
        shown = f"<img src='{uri}' alt='{said}' title='{said}'>"
    return f"<figure{' class=kept' if kept else ''}>{shown}<figcaption>{under}</figcaption></figure>"


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
