"""Choice of the groups to show, and their pictures within a page's budget of bytes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from jinja2 import Environment, FunctionLoader, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from ..data.decoding.decode import Unreadable
from ..data.decoding.thumbnails import data_uri, thumbnail
from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings
from ..embedding.reading import in_order
from ..errors import counted, worded
from ..selection.arrays import SelectionArrays
from .tables import SelectionGroups, class_words

FETCHES = 16  # images of a store fetched at a time
SIDE = 160  # pixels of a thumbnail; shown at 112, so that it is sharp on a dense screen
CARDS = 16  # pictures of one group, the kept one included
IN_A_ROW = 8  # of them, where groups of a class stand one above the other


# ---- which groups --------------------------------------------------------------------------------------------------


def largest(groups: SelectionGroups, limit: int | None = None) -> list[int]:
    """Return the numbers of the largest groups of two or more; of equals the tighter first."""
    found = groups.redundant
    order = np.lexsort((found, groups.diameter[found], -groups.size[found]))
    return list(map(int, found[order][:limit]))


def tightest(groups: SelectionGroups, limit: int | None = None) -> list[int]:
    """Return the numbers of the groups of two or more with the smallest diameter; of equals the larger first."""
    found = groups.redundant
    order = np.lexsort((found, -groups.size[found], groups.diameter[found]))
    return list(map(int, found[order][:limit]))


class Shelf(NamedTuple):
    """Groups shown below one another, under a common title."""

    title: str
    about: str
    groups: list[int]


def shelves(groups: SelectionGroups, limit: int) -> list[Shelf]:
    """Choose groups from two ends: the largest and the tightest; the tightest and the widest where all are of one size.

    The largest are larger than the smallest size: of that, the tightest tell more. A group may be among both.

    Args:
        groups: all groups.
        limit: how many from either end.
    """
    narrow, sizes = tightest(groups), groups.size[groups.redundant]
    if len(np.unique(sizes)) == 1:
        widest = [group for group in narrow[::-1] if group not in narrow[:limit]][:limit]
        found = [
            Shelf("The tightest groups", "Their images are the most alike.", narrow[:limit]),
            Shelf("The widest groups", "Their images are the least alike: review these first.", widest),
        ]
    else:
        above = [group for group in largest(groups, limit) if groups.size[group] > sizes.min()]
        about = "Their images are the most alike; equally tight ones by size, the largest first."
        found = [
            Shelf("The largest groups", "Groups of equal size by diameter, the smallest first.", above),
            Shelf("The tightest groups", about, narrow[:limit]),
        ]
    return [shelf for shelf in found if shelf.groups]


def spread(groups: SelectionGroups, limit: int) -> list[int]:
    """Return the numbers of groups of two or more, evenly spread from the tightest to the widest."""
    ordered = tightest(groups)
    return [ordered[at] for at in _evenly(len(ordered), limit)]


def class_groups(
    groups: SelectionGroups, limit: int, each: int, shown: set[int]
) -> list[tuple[int, list[int]]]:
    """Choose groups of the same class to show one above the other.

    Args:
        limit: how many classes, those with the most removed images first.
        each: how many groups a class, its largest first; those not shown yet come before those that are.
        shown: the numbers of groups that the page shows already.

    Returns:
        For each chosen class, in the order of the codes, its code and the numbers of its groups.
    """
    found = groups.redundant
    codes, index = np.unique(groups.label[found], return_inverse=True)
    removed = np.bincount(index, groups.removed[found], minlength=len(codes))
    ordered = np.array(largest(groups), dtype=np.int64)
    views = []
    for code in np.sort(codes[np.lexsort((codes, -removed))][:limit]).tolist():
        mine: list[int] = ordered[groups.label[ordered] == code].tolist()
        picked = sorted(mine, key=lambda group: group in shown)[:each]
        views.append((code, [group for group in mine if group in picked]))
    return views


def members_shown(groups: SelectionGroups, group: int, limit: int = CARDS) -> list[int]:
    """Return the representative and the members to show with it, evenly spread from the nearest to the farthest."""
    members = groups.of(group)
    return [int(members[0]), *(int(members[1 + at]) for at in _evenly(len(members) - 1, limit - 1))]


def _evenly(count: int, limit: int) -> list[int]:
    """Return at most `limit` of 0 … count − 1, evenly spread, first and last included."""
    return list(map(int, np.linspace(0, count - 1, min(count, limit)).round()))


# ---- their pictures ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImageCard:
    """One picture with its caption.

    Attributes:
        role: ``kept``, ``locked``, ``removed``, ``kept too`` (asked for by id) or ``outside``; on a page of leaks
            others.
        name: the image's id.
        label: the class where it is to be shown, else "".
        dissimilarity: to the kept image; None for the kept one.
        picture: a data URI, or None.
        alt: text alternative of the picture.
        missing: the reason why there is no picture.
        size: width, height and bytes of the file; "" where that is not informative.
    """

    role: str
    name: str
    label: str
    dissimilarity: float | None
    picture: str | None
    alt: str
    missing: str
    size: str


@dataclass(frozen=True)
class GroupCard:
    """One group as the page shows it; `size` counts all its images, `cards` holds those shown."""

    title: str
    size: int
    diameter: float
    cards: tuple[ImageCard, ...]


@dataclass
class Thumbnails:
    """Thumbnails as data URIs, each made once, until the page's budget of bytes is spent.

    Attributes:
        source: where the images are, or None.
        embeddings: the images' ids, labels, rows and sizes.
        budget: how many bytes of pictures the page may carry.
        noun: what one image is called.
        spent: how many it carries.
        left_out: how many pictures found no room.
        unreadable: why a picture can't be made, by position.
    """

    source: ImageSource | None
    embeddings: Embeddings
    budget: int
    noun: str = "image"
    spent: int = 0
    left_out: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)
    _made: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sizes = self.embeddings.sizes
        self._sizes = None if sizes is None or (sizes[:, :2] == sizes[0, :2]).all() else sizes

    def fetch(self, positions: Iterable[int]) -> None:
        """Make the thumbnails of `positions`, in the order of the source, which is the fast one to read."""
        if self.source is None:
            return
        rows = self.embeddings.rows
        wanted = sorted({*positions} - self._made.keys() - self.unreadable.keys(), key=rows.__getitem__)
        threads = FETCHES if self.source.stamps is not None else 1
        for position, made in zip(
            wanted, in_order(self._thumbnail, wanted, 2 * threads, threads), strict=True
        ):
            if isinstance(made, str):
                self._made[position] = made
            else:
                self.unreadable[position] = clean(str(made))

    def _thumbnail(self, position: int) -> str | Exception:
        """Return a thumbnail as data URI, or the error of an image that can't be read."""
        assert self.source is not None
        try:
            return data_uri(thumbnail(self.source, int(self.embeddings.rows[position]), SIDE))
        except (OSError, Unreadable) as error:
            return error

    def card(
        self, position: int, role: str, dissimilarity: float | None = None, with_class: bool = False
    ) -> ImageCard:
        """Return the picture of one image with its caption; without a picture where the page's budget is spent."""
        label = "" if self.embeddings.labels is None else clean(self.class_of(position))
        name = clean(str(self.embeddings.ids[position]))
        alt = f"{role.capitalize()} {self.noun} {shortened(name, 60)}" + (
            f", {shortened(label, 60)}" if label else ""
        )
        if dissimilarity is not None:
            alt += f", dissimilarity {number(dissimilarity)} to the kept {self.noun}"
        self.fetch([position])
        picture = self._made.get(position)
        if picture is not None and self.spent + len(picture) > self.budget:
            self.left_out += 1
            picture = None
        self.spent += len(picture or "")
        return ImageCard(
            role=role,
            name=shortened(name, 300),
            label=shortened(label, 60) if with_class else "",
            dissimilarity=dissimilarity,
            picture=picture,
            alt=alt,
            missing="" if picture else self.unreadable.get(position, "no picture"),
            size="" if self._sizes is None else _size_words(*self._sizes[position].tolist()),
        )

    def class_of(self, position: int) -> str:
        """Return the class of an image in words."""
        labels = self.embeddings.labels
        return class_words(self.embeddings.class_names, -1 if labels is None else int(labels[position]))

    def group(
        self,
        selection: SelectionArrays,
        groups: SelectionGroups,
        group: int,
        with_class: bool = False,
        limit: int = CARDS,
    ) -> GroupCard:
        """Return one group as the page shows it, the kept image first."""
        first, *others = members_shown(groups, group, limit)
        self.fetch([first, *others])
        represented = selection.represented[first]  # else all images of the group are removed by decision
        locked = selection.locked is not None and bool(selection.locked[first])
        became = "locked" if locked else "kept" if represented else "removed"
        cards = [self.card(first, became, with_class=with_class)]
        for position in others:
            role = "kept too" if selection.kept_by_id[position] else "removed"
            far = float(selection.dissimilarity[position]) if represented else None
            cards.append(self.card(position, role, far, with_class))
        numbered = with_class or self.embeddings.labels is None
        title = f"Group {group}" if numbered else clean(self.class_of(first))
        return GroupCard(title, int(groups.size[group]), float(groups.diameter[group]), tuple(cards))


def _size_words(width: int, height: int, count: int) -> str:
    file_size = f"{count / 1e6:.1f}\u00a0MB" if count >= 999_500 else f"{max(count / 1e3, 0.1):.3g}\u00a0kB"
    return f"{width:,} × {height:,}, {file_size}"


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


def breakable(name: str) -> Markup:
    """Return a name that may break after its folders and words, so that CSS need not break it anywhere."""
    return Markup(re.sub(r"([/_\-# ]+)(?=[^/_\-# ])", r"\1<wbr>", str(escape(name))))


@cache
def page_template(name: str, noun: str = "image", **filters: Callable[..., object]) -> Template:
    """Return a template of a page, compiled once, with the filters that all pages share, and `filters` of its own.

    Where it says "image" it says `noun`: what one image of its run is called.
    """

    def load(part: str) -> str:
        source, _, _ = files.get_source(environment, part)
        return source if part.endswith(".css") else worded(source, noun)

    files = PackageLoader("tenpercent.reporting")
    environment = Environment(
        loader=FunctionLoader(load),
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
