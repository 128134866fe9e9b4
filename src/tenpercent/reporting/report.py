"""The report of a run: one self-contained HTML file, from the results down to settings and timings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings
from ..data.store.files import write_text
from ..selection.nearest import nearest_outside
from ..selection.selection import Selection
from ..tree.gap import describe_gap, find_gap, mean_dissimilarity
from ..tree.merges import Merges
from ..tree.merges_file import complete_heights
from . import gallery
from .curves import curves_of, extremes, height_at
from .figures import curve_figure, sizes_figure
from .gallery import Album, GroupView, Tile, clean, page_template, tile, view_group
from .provenance import provenance, training_accuracy
from .summary import describe_request, describe_scale
from .tables import Columns, Floats, Groups, Ints, columns_of, group_sizes, groups_of, redundancy_table
from .unlike import UnlikePairs, each_once, find_unlike_pairs, near_identical

LARGEST = 6  # groups shown of either end
CLASSES = 12  # classes with a gallery and a panel of their own
GROUPS_A_CLASS = 3
TRIPLES = 12
PAIRS = 24
MIXED = 6
REJECTED = 200
PICTURES = 10_500_000  # bytes of pictures as text; tables and figures need far less than the rest of 15 MB


@dataclass(frozen=True, eq=False)
class Material:
    """The input of a report.

    Attributes:
        embeddings: the vectors.
        merges: the tree, at least as deep as the selection.
        selection: the images kept and removed.
        source: the images; None for ready vectors, or where the images are gone (the page says so).
        rejected: id, row and reason of the rejected images, or None for none.
        run: the content of ``run.json``.
        results: the training runs that test the selection, or None for none.
        margin: the loss in points of accuracy that is still accepted; None for the default.
        changed: the changes in the source since it was embedded, in words, or the reason why it can't be opened.
        path: the run folder, for the commands that the page names.
    """

    embeddings: Embeddings
    merges: Merges
    selection: Selection
    source: ImageSource | None
    rejected: pa.Table | None
    run: dict[str, Any]
    results: pa.Table | None = None
    margin: float | None = None
    changed: str = ""
    path: Path = Path("RUN")


def write_report(path: Path, material: Material) -> None:
    """Write the report of a run, whole or not at all.

    Args:
        path: the HTML file.
        material: its input.

    Raises:
        RunFolderError: it can't be written.
    """
    text = render(material)
    write_text(path, text.encode("utf-8", "replace").decode("utf-8"))


def render(material: Material) -> str:
    """Return the report as HTML."""
    page = _Page(material)
    return page_template("report.html.j2").render(page=page, **page.sections())


@dataclass(frozen=True)
class Triple:
    """Two images of a group beside the nearest one outside it (the paper, Fig. 12)."""

    kept: Tile
    removed: Tile
    outside: Tile | None


@dataclass(frozen=True)
class Pair:
    """Two near images with different labels."""

    one: Tile
    other: Tile
    dissimilarity: float


class _Page:
    """The sections of one page, made in its order, so that the budget of pictures goes to the first of them."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.columns: Columns = columns_of(material.selection)
        self.groups: Groups = groups_of(self.columns)
        self.album = Album(
            material.source,
            self.columns,
            material.embeddings.rows,
            PICTURES,
            material.embeddings.sizes,
        )
        self.mixed_groups = material.selection.settings["within"] == "all" and self.columns.labelled

    @cached_property
    def redundant(self) -> int:
        """Number of groups with two or more images."""
        return len(self.groups.redundant)

    def sections(self) -> dict[str, Any]:
        """Return the template's data, by name."""
        return {
            "found": self.found(),
            "evidence": self.evidence(),
            "galleries": self.galleries(),
            "triples": self.triples(),
            "sizes": self.sizes(),
            "table": self.table(),
            "curve": self.curve(),
            "unlike": self.unlike(),
            "mixed": self.mixed(),
            "rejected": self.rejected(),
            "provenance": provenance(self.material.run),
            "pictures": self.pictures(),
        }

    def found(self) -> dict[str, Any]:
        """Return the counts and the guarantee."""
        columns, groups = self.columns, self.groups
        run, gone = self.material.run, ~columns.kept
        source = run.get("source", {})
        rejected = self.material.rejected
        return {
            "spec": clean(str(source.get("spec", "these vectors"))),
            "folder": clean(shlex.quote(str(self.material.path))),
            "n": len(columns),
            "kept": int(columns.kept.sum()),
            "removed": int(gone.sum()),
            "redundant": self.redundant,
            "largest": int(groups.size.max(initial=0)),
            "classes": len(np.unique(columns.labels[columns.labels >= 0])),
            "rejected": 0 if rejected is None else len(rejected),
            "skipped": sorted(dict(source.get("skipped") or {}).items()),
            "farthest": float(columns.dissimilarity[gone & columns.stood_for].max(initial=0.0)),
            "outside": int((~columns.stood_for).sum()),
            "widest": float(groups.diameter.max(initial=0.0)),
            "notes": [clean(note) for note in self.material.selection.notes],
            "within": self.material.selection.settings["within"],
            "asked": clean(describe_request(self.material.selection)),
            "scale": self._scale() if self.material.selection.strategy == "semantic" else "",
        }

    def _scale(self) -> str:
        return describe_scale(self.material.selection, mean_dissimilarity(self.material.embeddings.vectors))

    def evidence(self) -> dict[str, Any] | None:
        """Return the results of training runs on the selection; None where there are none."""
        if self.material.results is None:
            return None
        from .evidence.section import (
            section,  # imports SciPy's statistics, which a page without training runs does not need
        )

        material = self.material
        return section(material.results, material.run, self.columns.class_names, material.margin)

    def galleries(self) -> dict[str, Any]:
        """Return groups of either end, none twice, then groups of one class one above the other."""
        groups = self.groups
        shelves = gallery.shelves(groups, LARGEST)
        shown = {group for shelf in shelves for group in shelf.groups}
        views: dict[str, Any] = {
            "shelves": [(shelf.title, shelf.about, self._views(shelf.groups)) for shelf in shelves],
            "equal": int(np.count_nonzero(groups.diameter[groups.redundant] == 0)),
            "classes": [],
            "with_groups": 0,
        }
        if self.columns.labelled:
            views["with_groups"] = len(np.unique(groups.label[groups.redundant]))
            for code, chosen in gallery.class_groups(groups, CLASSES, GROUPS_A_CLASS, shown):
                total = int(np.count_nonzero(groups.label[groups.redundant] == code))
                views["classes"].append(
                    (clean(self.columns.class_name(code)), total, self._views(chosen, gallery.IN_A_ROW))
                )
        return views

    def _views(self, chosen: Iterable[int], limit: int = gallery.TILES) -> list[GroupView]:
        return [view_group(self.album, self.groups, group, self.mixed_groups, limit) for group in chosen]

    def triples(self) -> list[Triple]:
        """Return triples: a kept image, a removed one, and the image nearest to the kept one outside the group."""
        columns, groups = self.columns, self.groups
        chosen = [group for group in gallery.spread(groups, TRIPLES) if self._has_pair(group)]
        kept = groups.representative[chosen]
        nearest, distance = nearest_outside(self.material.embeddings.vectors, columns.group, kept)
        found = []
        for at, group in enumerate(chosen):
            members = groups.of(group)
            removed = int(members[~columns.kept[members]][-1])
            outside = int(nearest[at])
            self.album.fetch([int(kept[at]), removed] + [outside] * (outside >= 0))
            said = columns.labelled
            found.append(
                Triple(
                    tile(self.album, int(kept[at]), "kept", say_class=said),
                    tile(self.album, removed, "removed", float(columns.dissimilarity[removed]), said),
                    tile(self.album, outside, "outside", float(distance[at]), said) if outside >= 0 else None,
                )
            )
        return found

    def _has_pair(self, group: int) -> bool:
        """Return whether a group has a kept image, and another that it represents."""
        return bool(self.groups.removed[group] and self.columns.kept[self.groups.representative[group]])

    def sizes(self) -> dict[str, Any]:
        """Return the number of groups by size: a panel a class where there are few, one for all otherwise."""
        groups = self.groups
        sizes, counts = group_sizes(groups.size)
        if not len(sizes):
            return {"overall": "", "panels": [], "rows": [], "too_many": 0}
        overall = sizes_figure(
            sizes, counts, "sizes", largest=int(sizes[-1]), most=int(counts.max()), width=560
        )
        small = sizes_figure(
            sizes, counts, "sizes-s", largest=int(sizes[-1]), most=int(counts.max()), width=320
        )
        codes = np.unique(groups.label[groups.redundant]).tolist() if self.columns.labelled else []
        panels: list[tuple[str, int, Markup]] = []
        if 1 < len(codes) <= CLASSES:
            each = [group_sizes(groups.size[groups.label == code]) for code in codes]
            most = max(int(count.max()) for _, count in each)
            for code, (found, count) in zip(codes, each, strict=True):
                panel = sizes_figure(found, count, f"sizes{code}", largest=int(sizes[-1]), most=most)
                panels.append((clean(self.columns.class_name(code)), int(count.sum()), Markup(panel)))
        rows = list(zip(sizes.tolist(), counts.tolist(), strict=True))
        too_many = len(codes) if len(codes) > CLASSES else 0
        return {
            "overall": (Markup(overall), Markup(small)),
            "panels": panels,
            "rows": rows,
            "too_many": too_many,
        }

    def table(self) -> dict[str, Any]:
        """Return Table 1, with as many decimals as its smallest value needs."""
        rows, overall = redundancy_table(self.columns, self.groups)
        values = [row.mean for row in (*rows, overall) if row.mean]
        decimals = int(np.clip(1 - np.floor(np.log10(min(values))), 4, 9)) if values else 4
        return {"rows": rows, "overall": overall, "decimals": decimals}

    def curve(self) -> dict[str, Any]:
        """Return the height of the merges against the fraction removed, with the cut."""
        strategy = self.material.selection.strategy
        codes, curves = curves_of(self.material.merges, self.columns, self.groups)
        if strategy != "semantic" or not any(len(curve.height) for curve in curves):
            return {"wide": "", "narrow": "", "curves": 0, "high": "", "low": "", "strategy": clean(strategy)}
        high, low = extremes(codes, curves)
        heights = self._heights
        wide = curve_figure(curves, "curve", high=high, low=low, width=760)
        narrow = curve_figure(curves, "curve-s", high=high, low=low, width=340)
        names = [clean(self.columns.class_name(code)) for code in codes]
        return {
            "wide": Markup(wide),
            "narrow": Markup(narrow),
            "curves": len(curves),
            "gap": clean(describe_gap(heights, len(self.columns))) if len(heights) else "",
            "high": "" if high is None else (names[high], float(curves[high].height[curves[high].cut - 1])),
            "low": "" if low is None else (names[low], float(curves[low].height[curves[low].cut - 1])),
        }

    def unlike(self) -> dict[str, Any] | None:
        """Return close images with different labels, the near-identical ones apart; None where all have one label."""
        columns = self.columns
        if len(np.unique(columns.labels[columns.labels >= 0])) < 2:
            return None if columns.labelled else {"refused": "The images have no labels.", "pairs": []}
        radius = float(self.groups.diameter.max(initial=0.0))
        tenth = height_at(self.material.merges, round(0.1 * len(columns)))
        found = find_unlike_pairs(self.material.embeddings.vectors, columns, min(radius, tenth))
        if isinstance(found, str):
            return {"refused": found, "pairs": []}
        gap = find_gap(self._heights) if self.material.selection.strategy == "semantic" else None
        near, looked_at = near_identical(
            found,
            None if gap is None else gap.threshold,
            self.material.source,
            self.material.embeddings.rows,
        )
        return {
            "refused": "",
            "search": found,
            "gap": gap,
            "looked_at": looked_at,
            "near": self._pairs(found, np.flatnonzero(near)),
            "close": self._pairs(found, np.flatnonzero(~near)),
            "accuracy": training_accuracy(self.material.run),
        }

    def _pairs(self, found: UnlikePairs, which: Ints) -> dict[str, Any]:
        """Return pairs of images with different labels: their number, and the nearest to look at."""
        i, j, d = found.i[which], found.j[which], found.d[which]
        chosen = each_once(i, j, PAIRS)
        self.album.fetch([int(at) for pair in chosen for at in (i[pair], j[pair])])
        shown = [
            Pair(self._labelled_tile(int(i[pair])), self._labelled_tile(int(j[pair])), float(d[pair]))
            for pair in chosen
        ]
        return {"shown": shown, "count": len(d), "images": len(np.unique(np.concatenate([i, j])))}

    @cached_property
    def _heights(self) -> Floats:
        """Heights of the merges, ascending, as far as all classes have theirs."""
        return complete_heights(self.material.merges.height, self.material.merges.complete_to)

    def _labelled_tile(self, position: int) -> Tile:
        role = "kept" if self.columns.kept[position] else "removed"
        return tile(self.album, position, role, say_class=True)

    def mixed(self) -> dict[str, Any] | None:
        """Return groups whose images carry more than one label; None where grouping was class by class."""
        if not self.mixed_groups:
            return None
        columns, groups = self.columns, self.groups
        labelled = columns.labels >= 0
        pairs = np.unique(np.stack([columns.group[labelled], columns.labels[labelled]]), axis=1)
        labels = np.bincount(pairs[0], minlength=len(groups))
        found = np.flatnonzero(labels > 1)
        ordered = found[np.lexsort((found, groups.diameter[found]))]
        return {"count": len(found), "views": self._views(ordered[:MIXED].tolist())}

    def rejected(self) -> dict[str, Any]:
        """Return the rejected images with their reasons."""
        table = self.material.rejected
        if table is None or not len(table):
            return {"count": 0, "rows": []}
        rows = table.slice(0, REJECTED).to_pylist()
        cleaned = [(clean(str(row["id"])), row["row"], clean(str(row["reason"]))) for row in rows]
        return {"count": len(table), "rows": cleaned}

    def pictures(self) -> dict[str, Any]:
        """Return why pictures are missing, if any are; called last."""
        about = self.material.run.get("source", {})
        kind = about.get("kind", "vectors")
        return {
            "none": self.material.source is None,
            "changed": clean(self.material.changed),
            "vectors": kind == "vectors" and "pictures" not in about,
            "left_out": self.album.left_out,
            "unreadable": len(self.album.unreadable),
        }
