"""Choice of the groups to show, and their pictures within a page's budget of bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from ..data.decoding.decode import Unreadable
from ..data.decoding.thumbnails import data_uri, thumbnail
from ..data.sources.source import ImageSource
from ..errors import counted
from .tables import Columns, Groups, Ints

SIDE = 160  # pixels of a thumbnail; shown at 112, so that it is sharp on a dense screen
TILES = 16  # pictures of one group, the kept one included
IN_A_ROW = 8  # of them, where groups of a class stand one above the other


# ---- which groups --------------------------------------------------------------------------------------------------


def largest(groups: Groups, limit: int) -> list[int]:
    """Return the numbers of the largest groups of two or more; of equals the tighter first."""
    found = groups.redundant
    order = np.lexsort((found, groups.diameter[found], -groups.size[found]))
    return [int(group) for group in found[order][:limit]]


def tightest(groups: Groups, limit: int) -> list[int]:
    """Return the numbers of the groups of two or more with the smallest diameter; of equals the larger first."""
    found = groups.redundant
    order = np.lexsort((found, -groups.size[found], groups.diameter[found]))
    return [int(group) for group in found[order][:limit]]


@dataclass(frozen=True)
class Shelf:
    """Groups shown side by side, under a common title."""

    title: str
    about: str
    groups: list[int]


def shelves(groups: Groups, limit: int) -> list[Shelf]:
    """Choose groups from two ends, none of them twice: the largest and the tightest; of equal sizes the widest last.

    Args:
        groups: all groups.
        limit: how many from either end.
    """
    narrow = tightest(groups, len(groups))
    if len(np.unique(groups.size[groups.redundant])) == 1:
        ends = [
            ("The tightest groups", "Their images are the most alike.", narrow),
            ("The widest groups", "Their images are the least alike: the first to doubt.", narrow[::-1]),
        ]
    else:
        ends = [
            ("The largest groups", "Of equal sizes the tighter first.", largest(groups, len(groups))),
            ("The tightest groups", "Their images are the most alike; of equals the larger first.", narrow),
        ]
    found: list[Shelf] = []
    for title, about, ordered in ends:
        shown = {group for shelf in found for group in shelf.groups}
        found.append(Shelf(title, about, [group for group in ordered if group not in shown][:limit]))
    return [shelf for shelf in found if shelf.groups]


def spread(groups: Groups, limit: int) -> list[int]:
    """Return the numbers of groups of two or more, evenly spread from the tightest to the widest."""
    ordered = tightest(groups, len(groups))
    return [ordered[at] for at in _evenly(len(ordered), limit)]


def class_groups(groups: Groups, limit: int, each: int, shown: set[int]) -> list[tuple[int, list[int]]]:
    """Choose groups of the same class to show one above the other.

    Args:
        limit: how many classes, those with the most removed images first.
        each: how many groups a class, its largest first; those not shown yet come before those that are.
        shown: the numbers of groups that the page shows already.

    Returns:
        For each chosen class, in the order of the codes, its code and the numbers of its groups.
    """
    found = groups.redundant
    codes = np.unique(groups.label[found])
    removed = np.array([groups.removed[found[groups.label[found] == code]].sum() for code in codes])
    chosen = np.sort(codes[np.lexsort((codes, -removed))][:limit]) if len(codes) else codes
    ordered = np.array(largest(groups, len(groups)), dtype=np.int64)
    views = []
    for code in chosen.tolist():
        mine = ordered[groups.label[ordered] == code].tolist()
        fresh = [group for group in mine if group not in shown]
        again = [group for group in mine if group in shown]
        picked = sorted((fresh + again)[:each], key=mine.index)
        views.append((code, picked))
    return views


def _evenly(count: int, limit: int) -> list[int]:
    """Return at most `limit` of 0 … count − 1, evenly spread, first and last included."""
    if count <= limit:
        return list(range(count))
    return [int(at) for at in np.unique(np.linspace(0, count - 1, limit).round())]


# ---- their pictures ------------------------------------------------------------------------------------------------


@dataclass
class Album:
    """Thumbnails as data URIs, each made once, until the page's budget of bytes is spent.

    Attributes:
        source: where the images are, or None.
        columns: the images' ids.
        rows: int64[n], the row of each position in the source.
        budget: how many bytes of pictures the page may carry.
        sizes: int64[n, 3], width, height and bytes of each image; None where they are not known.
    """

    source: ImageSource | None
    columns: Columns
    rows: Ints
    budget: int
    sizes: Ints | None = None
    spent: int = 0
    left_out: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    _pictures: dict[int, str] = field(default_factory=dict)

    def fetch(self, positions: list[int]) -> None:
        """Make the thumbnails of `positions`, in the order of the source, which is the fast one to read."""
        if self.source is None:
            return
        wanted = set(positions) - self._pictures.keys() - self.unreadable.keys()
        for position in sorted(wanted, key=lambda at: int(self.rows[at])):
            try:
                picture = data_uri(thumbnail(self.source, int(self.rows[position]), SIDE))
            except (OSError, Unreadable) as error:
                self.unreadable[position] = clean(str(error))
                continue
            self._pictures[position] = picture

    @cached_property
    def _sizes_differ(self) -> bool:
        return self.sizes is not None and bool((self.sizes[:, :2] != self.sizes[0, :2]).any())

    def size(self, position: int) -> str:
        """Return an image's size in words, "" where all images have the same size or it is not known."""
        if self.sizes is None or not self._sizes_differ:
            return ""
        width, height, count = self.sizes[position].tolist()
        return f"{width:,} × {height:,}, {_file_size(count)}"

    def show(self, position: int) -> str | None:
        """Return the picture of `position`, or None where there is none or the page's budget is spent."""
        self.fetch([position])
        picture = self._pictures.get(position)
        if picture is None:
            return None
        if self.spent + len(picture) > self.budget:
            self.left_out += 1
            return None
        self.spent += len(picture)
        return picture


@dataclass(frozen=True)
class Tile:
    """One picture with its caption.

    Attributes:
        role: ``kept``, ``removed``, ``kept too`` (asked for by id) or ``outside``.
        name: the image's id.
        label: the class where it is to be shown, else "".
        dissimilarity: to the kept image; None for the kept one.
        picture: a data URI, or None.
        crisp: show its pixels as squares.
        alt: text alternative of the picture.
        missing: the reason why there is no picture.
        size: width, height and bytes of the file; "" where that is not informative.
    """

    role: str
    name: str
    label: str
    dissimilarity: float | None
    picture: str | None
    crisp: bool
    alt: str
    missing: str
    size: str = ""


@dataclass(frozen=True)
class GroupView:
    """One group as the page shows it; `size` counts all its images, `tiles` holds those shown."""

    title: str
    size: int
    diameter: float
    tiles: tuple[Tile, ...]


def members_shown(groups: Groups, group: int, limit: int = TILES) -> list[int]:
    """Return the representative and the members to show with it, evenly spread from the nearest to the farthest."""
    members = groups.of(group)
    return [int(members[0]), *(int(members[1 + at]) for at in _evenly(len(members) - 1, limit - 1))]


def _file_size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 999_500 else f"{max(count / 1e3, 0.1):.3g} kB"


def tile(
    album: Album, position: int, role: str, dissimilarity: float | None = None, say_class: bool = False
) -> Tile:
    """Return the picture of one image with its caption."""
    columns = album.columns
    name = clean(str(columns.ids[position]))
    label = columns.class_name(int(columns.labels[position])) if columns.labelled else ""
    words = f"{role.capitalize()} image {shortened(name, 60)}"
    if label:
        words += f", {shortened(clean(label), 60)}"
    if dissimilarity is not None:
        words += f", dissimilarity {number(dissimilarity)} to the kept image"
    picture = album.show(position)
    missing = "" if picture else album.unreadable.get(position, "no picture")
    return Tile(
        role=role,
        name=shortened(name, 300),
        label=shortened(clean(label), 60) if say_class else "",
        dissimilarity=dissimilarity,
        picture=picture,
        crisp=bool(picture and picture.startswith("data:image/png")),
        alt=words,
        missing=missing,
        size=album.size(position),
    )


def view_group(
    album: Album, groups: Groups, group: int, say_class: bool = False, limit: int = TILES
) -> GroupView:
    """Return one group as the page shows it, the kept image first."""
    columns = album.columns
    positions = members_shown(groups, group, limit)
    album.fetch(positions)
    stands = columns.stood_for[positions[0]]  # else all images of the group are removed by decision
    tiles = [tile(album, positions[0], "kept" if stands else "removed", say_class=say_class)]
    for position in positions[1:]:
        role = "kept too" if columns.kept[position] else "removed"
        far = float(columns.dissimilarity[position]) if stands else None
        tiles.append(tile(album, position, role, far, say_class))
    title = columns.class_name(int(groups.label[group])) if columns.labelled and not say_class else ""
    return GroupView(clean(title), int(groups.size[group]), float(groups.diameter[group]), tuple(tiles))


# ---- words ---------------------------------------------------------------------------------------------------------

_STEERING = re.compile("[\u202a-\u202e\u2066-\u2069]")  # would reverse the text around them, too


def clean(text: str) -> str:
    """Return `text` with what can't or mustn't be shown (control characters, lone surrogates) as a replacement sign."""
    text = _STEERING.sub("\ufffd", text)
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in text)


def shortened(text: str, limit: int) -> str:
    """Return `text`, its middle replaced by an ellipsis where it is longer than `limit`: the ends tell ids apart."""
    if len(text) <= limit:
        return text
    tail = limit * 2 // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"


def number(value: float) -> str:
    """Return a dissimilarity with four decimals, or in powers of ten where these would hide it."""
    if value == 0:
        return "0"
    if value >= 0.001:
        return f"{value:.4f}"
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    power = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{power}"


# ---- templates -----------------------------------------------------------------------------------------------------


def page_template(name: str, **filters: Callable[..., object]) -> Template:
    """Return a template of a page, with the filters that all pages share, and `filters` of its own."""
    environment = Environment(
        loader=PackageLoader("tenpercent.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["counted"] = counted
    environment.filters.update(
        number=number, count="{:,}".format, clean=clean, shortened=shortened, breakable=breakable, **filters
    )
    return environment.get_template(name)


def breakable(name: str) -> Markup:
    """Return a name that may break after its folders and words, so that CSS need not break it anywhere."""
    return Markup(re.sub(r"([/_\- ]+)(?=[^/_\- ])", r"\1<wbr>", str(escape(name))))
