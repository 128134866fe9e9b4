"""Page of the leaks: one self-contained HTML file with test images beside their near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..data.store.embeddings import Ints
from ..data.store.files import write_text
from ..reporting.gallery import Album, Tile, clean, number, shortened, tile
from ..reporting.provenance import flat
from ..reporting.tables import Columns
from .growth import growth_figure, threshold_rows
from .result import By, Leaks, Pairs, Side

SHOWN = 200  # leaking test images with pictures, the nearest
TWINS = 5  # near-duplicates shown of each
NEAR = 60  # … of those that are near by vector alone
UNLIKE = 24
REJECTED = 100
PICTURES = {"test": 3_500_000, "train": 7_000_000}  # bytes of pictures as text


@dataclass(frozen=True)
class Card:
    """A leaking test image beside its surest near-duplicates.

    Attributes:
        test: the test image.
        twins: training images, the surest first.
        total: number of all its near-duplicates.
        unlike: True where its label differs from its surest near-duplicate's.
    """

    test: Tile
    twins: tuple[Tile, ...]
    total: int
    unlike: bool


def write_page(path: Path, found: Leaks, record: dict[str, Any]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the HTML file.
        found: the leaks.
        record: settings, versions and machine, see `find`.

    Raises:
        RunFolderError: it can't be written.
    """
    write_text(path, render(found, record).encode("utf-8", "replace").decode("utf-8"))


def render(found: Leaks, record: dict[str, Any]) -> str:
    """Return the page as HTML."""
    environment = Environment(
        loader=PackageLoader("tenpercent.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number, count=_count, clean=clean, shortened=shortened, percent=_percent
    )
    return environment.get_template("leaks.html.j2").render(**_Page(found, record).sections())


class _Page:
    """The sections of the page, made in its order, so that the budget of pictures goes to the first of them."""

    def __init__(self, found: Leaks, record: dict[str, Any]) -> None:
        self.found, self.record = found, record
        self.test, self.train = _album(found.test, "test"), _album(found.train, "train")

    def sections(self) -> dict[str, Any]:
        """Return the template's data, by name."""
        found = self.found
        return {
            "found": found,
            "test": _about(found.test),
            "train": _about(found.train),
            "cards": self.cards(found.pairs, found.nearest[:SHOWN]),
            "near": self.near(),
            "unlike": self.unlike(),
            "rows": threshold_rows(found),
            "chart": self.chart(),
            "classes": self.classes(),
            "rejected": self.rejected(),
            "settings": self.settings(),
            "pictures": self.pictures(),
        }

    def cards(self, pairs: Pairs, chosen: Ints) -> list[Card]:
        """Return a card for each of some pairs: its test image, with all its near-duplicates."""
        # Pairs are sorted, the surest first; within a test image they stay so.
        order = np.argsort(pairs.i, kind="stable")
        images, start, count = np.unique(pairs.i[order], return_index=True, return_counts=True)
        places = {
            int(image): order[at : at + many] for image, at, many in zip(images, start, count, strict=True)
        }
        shown = pairs.i[chosen].tolist()
        self.test.fetch(shown)
        self.train.fetch([int(j) for image in shown for j in pairs.j[places[image][:TWINS]]])
        return [self._card(pairs, image, places[image]) for image in shown]

    def _card(self, pairs: Pairs, image: int, places: Ints) -> Card:
        twins = tuple(self._twin(pairs, at) for at in places[:TWINS].tolist())
        shown = tile(self.test, image, "test", say_class=True)
        names = self.found.test.label_names[image], self.found.train.label_names[pairs.j[places[0]]]
        unlike = self.found.other_label is not None and None not in names and names[0] != names[1]
        return Card(shown, twins, len(places), unlike)

    def _twin(self, pairs: Pairs, at: int) -> Tile:
        d, by = float(pairs.dissimilarity[at]), By(int(pairs.by[at]))
        twin = tile(self.train, int(pairs.j[at]), "training", say_class=True)
        how = {
            By.FILE: "the same file",
            By.PICTURE: f"the same picture, {0 if pairs.bits is None else pairs.bits[at]} of 256 bits apart",
            By.VECTOR: "",
        }[by]
        said = f"dissimilarity {number(d)} to the test image{', ' * bool(how)}{how}"
        return replace(twin, role=by.name.lower(), dissimilarity=d, alt=f"{twin.alt}, {said}")

    def near(self) -> dict[str, Any] | None:
        """Return the pairs near by vector alone; None where those count, or there are no others."""
        near = self.found.near
        if near is None:
            return None
        return {
            "threshold": near.asked,
            "count": near.images,
            "cards": self.cards(near.pairs, near.pairs.first[:NEAR]),
        }

    def unlike(self) -> dict[str, Any] | None:
        """Return near-duplicates with another label; None where labels don't compare."""
        if self.found.other_label is None:
            return None
        nearest = self.found.nearest
        differ = [int(pair) for pair in nearest if self.found.same_label[pair] is False]
        shown = np.asarray(differ[:UNLIKE], dtype=np.int64)
        return {"count": len(differ), "cards": self.cards(self.found.pairs, shown)}

    def chart(self) -> dict[str, Any]:
        """Return the number of images with a near-duplicate within each radius."""
        growth = self.found.growth
        if growth.radius <= 0:
            return {"wide": "", "narrow": ""}
        wide = growth_figure(growth, self.found.threshold, "growth", width=760)
        narrow = growth_figure(growth, self.found.threshold, "growth-s", width=340)
        return {"wide": Markup(wide), "narrow": Markup(narrow)}

    def classes(self) -> list[dict[str, Any]]:
        """Return counts for each class of the test set."""
        names = np.asarray([name or "no label" for name in self.found.test.label_names], dtype=object)
        if self.found.test.embeddings.labels is None:
            return []
        of = names[self.found.i[self.found.nearest]]
        differ = np.asarray([self.found.same_label[pair] is False for pair in self.found.nearest], dtype=bool)
        return [
            {
                "name": clean(str(name)),
                "images": int(images),
                "leaking": int(np.count_nonzero(of == name)),
                "unlike": int(np.count_nonzero(differ & (of == name))),
            }
            for name, images in zip(*np.unique(names.astype(str), return_counts=True), strict=True)
        ]

    def rejected(self) -> list[tuple[str, int, list[tuple[str, str]]]]:
        """Return the rejected images of each set."""
        rows = []
        for name, side in (("training", self.found.train), ("test", self.found.test)):
            if side.rejected is not None and len(side.rejected):
                listed = side.rejected.slice(0, REJECTED).to_pylist()
                said = [(clean(str(row["id"])), clean(str(row["reason"]))) for row in listed]
                rows.append((name, len(side.rejected), said))
        return rows

    def settings(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return what made the page, as tables."""
        tables = [(name, self.record[name]) for name in ("train", "test", "settings", "versions", "machine")]
        return [
            (name, [(key, _words(value)) for key, value in flat(table) if value is not None])
            for name, table in tables
        ]

    def pictures(self) -> dict[str, Any]:
        """Return why pictures are missing, if any are; called last."""
        return {
            "none": [side.spec for side in (self.found.train, self.found.test) if side.source is None],
            "left_out": self.test.left_out + self.train.left_out,
            "unreadable": len(self.test.unreadable) + len(self.train.unreadable),
        }


def _album(side: Side, name: str) -> Album:
    """Return the pictures of one set; its columns are those of a selection that keeps everything."""
    n = len(side)
    embeddings = side.embeddings
    nothing: Ints = np.arange(n, dtype=np.int64)
    columns = Columns(
        ids=embeddings.ids,
        kept=np.ones(n, dtype=np.bool_),
        group=nothing,
        representative=nothing,
        dissimilarity=np.zeros(n),
        diameter=np.zeros(n),
        labels=np.full(n, -1, dtype=np.int64) if embeddings.labels is None else embeddings.labels,
        class_names=embeddings.class_names,
    )
    return Album(side.source, columns, embeddings.rows, PICTURES[name])


def _about(side: Side) -> dict[str, Any]:
    return {"spec": clean(side.spec), "images": len(side)}


def _count(value: int) -> str:
    return f"{value:,}"


def _percent(value: float) -> str:
    return f"{value:.2%}"


def _words(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else clean(str(value))
