"""The report of a run: one self-contained HTML file, from the results down to settings and timings."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from ..data.sources.source import ImageSource
from ..data.store.embeddings import Embeddings
from ..data.store.files import write_text
from ..errors import worded
from ..selection.nearest import nearest_outside
from ..selection.selection import Selection
from ..tree.gap import describe_gap, find_gap, mean_dissimilarity
from ..tree.merges import Merges
from ..tree.merges_file import complete_heights
from . import gallery
from .curves import curves_of, extremes, height_at
from .figures import curve_figure, removal_figure, sizes_figure
from .gallery import GroupCard, Thumbnails, clean, page_template
from .provenance import provenance, training_accuracy
from .removal import levels, removal_curve
from .summary import describe_images_of, describe_request, describe_scale
from .tables import Floats, Ints, class_words, group_sizes, groups_of, redundancy_table
from .unlike import UnlikePairs, each_once, find_unlike_pairs, near_identical

LARGEST = 6  # groups shown of either end
CLASSES = 12  # classes with a gallery and a panel of their own
GROUPS_A_CLASS = 3
AT_A_LEVEL = 4  # groups shown of each of the heights of the curve
TRIPLES = 12
PAIRS = 24
MIXED = 6
REJECTED = 200
PICTURES = 10_500_000  # bytes of pictures as text; tables and figures need far less than the rest of 15 MB


@dataclass(frozen=True, eq=False)
class ReportInput:
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


def write_report(path: Path, given: ReportInput) -> None:
    """Write the report of a run, whole or not at all.

    Args:
        path: the HTML file.
        given: its input.

    Raises:
        RunFolderError: it can't be written.
    """
    write_text(path, render(given).encode("utf-8", "replace").decode("utf-8"))


def render(given: ReportInput) -> str:
    """Return the report as HTML."""
    page = _Page(given)
    return page_template("report.html.j2", page.noun).render(page=page, **page.sections())


class _Page:
    """The sections of one page, made in its order, so that the budget of pictures goes to the first of them."""

    def __init__(self, given: ReportInput) -> None:
        self.given = given
        self.selection = selection = given.selection
        self.groups = groups_of(selection)
        self.noun = str(given.run.get("source", {}).get("noun", "image"))
        self.thumbnails = Thumbnails(given.source, given.embeddings, PICTURES, self.noun)
        self.labelled = bool(np.any(selection.codes >= 0))
        self.mixed_groups = selection.settings["within"] == "all" and self.labelled
        self.semantic = selection.strategy == "semantic"

    @cached_property
    def heights(self) -> Floats:
        """Heights of the merges, ascending, as far as all classes have theirs."""
        return complete_heights(self.given.merges.height, self.given.merges.complete_to)

    def _figure(self, svg: str) -> Markup:
        return Markup(worded(svg, self.noun))

    def sections(self) -> dict[str, Any]:
        """Return the template's data, by name."""
        return {
            "found": self.found(),
            "evidence": self.evidence(),
            "galleries": self.galleries(),
            "how_much": self.how_much(),
            "triples": self.triples(),
            "sizes": self.sizes(),
            "table": self.table(),
            "curve": self.curve(),
            "unlike": self.unlike(),
            "mixed": self.mixed(),
            "rejected": self.rejected(),
            "provenance": provenance(self.given.run),
            "pictures": self.pictures(),
        }

    def found(self) -> dict[str, Any]:
        """Return the counts and the guarantee."""
        selection, groups, gone = self.selection, self.groups, ~self.selection.kept_by_id
        source, noun = self.given.run.get("source", {}), self.noun
        mean = mean_dissimilarity(self.given.embeddings.vectors) if self.semantic else None
        return {
            "spec": clean(str(source.get("spec", "these vectors"))),
            "folder": clean(shlex.quote(str(self.given.path))),
            "n": len(selection),
            "kept": len(selection) - int(gone.sum()),
            "removed": int(gone.sum()),
            "redundant": len(groups.redundant),
            "largest": int(groups.size.max(initial=0)),
            "classes": len(np.unique(selection.codes[selection.codes >= 0])),
            "rejected": 0 if self.given.rejected is None else len(self.given.rejected),
            "skipped": sorted(dict(source.get("skipped") or {}).items()),
            "farthest": float(selection.dissimilarity[gone & selection.represented].max(initial=0.0)),
            "outside": int((~selection.represented).sum()),
            "widest": float(groups.diameter.max(initial=0.0)),
            "notes": [clean(worded(note, noun)) for note in selection.notes],
            "within": selection.settings["within"],
            "images_of": describe_images_of(selection) if noun == "object" else "",
            "asked": clean(describe_request(selection, noun)),
            "scale": describe_scale(selection, mean, noun) if self.semantic else "",
        }

    def evidence(self) -> dict[str, Any] | None:
        """Return the results of training runs on the selection; None where there are none."""
        if self.given.results is None:
            return None
        from .evidence.section import section  # imports SciPy's statistics, which other pages do not need

        return section(self.given.results, self.given.run, self.selection.class_names, self.given.margin)

    def galleries(self) -> dict[str, Any]:
        """Return groups of either end, none twice, then groups of one class one above the other."""
        groups, shelves = self.groups, gallery.shelves(self.groups, LARGEST)
        shown = {group for shelf in shelves for group in shelf.groups}
        labels = groups.label[groups.redundant]
        views: dict[str, Any] = {
            "shelves": [
                (shelf.title, worded(shelf.about, self.noun), self._cards(shelf.groups)) for shelf in shelves
            ],
            "equal": int(np.count_nonzero(groups.diameter[groups.redundant] == 0)),
            "with_groups": len(np.unique(labels)),
        }
        chosen = gallery.class_groups(groups, CLASSES, GROUPS_A_CLASS, shown) if self.labelled else []
        views["classes"] = [
            (
                self._class(code),
                int(np.count_nonzero(labels == code)),
                self._cards(picked, gallery.IN_A_ROW),
            )
            for code, picked in chosen
        ]
        return views

    def _class(self, code: int) -> str:
        return clean(class_words(self.selection.class_names, code))

    def _cards(self, chosen: Iterable[int], limit: int = gallery.CARDS) -> list[GroupCard]:
        group = self.thumbnails.group
        return [group(self.selection, self.groups, one, self.mixed_groups, limit) for one in chosen]

    def how_much(self) -> dict[str, Any] | None:
        """Return what any threshold removes, with groups merged near four heights; None for other strategies."""
        merges, n = self.given.merges, len(self.selection)
        if not self.semantic:
            return None
        curve = removal_curve(merges)
        if len(curve.threshold) < 2:
            return None
        removed = int((~self.selection.kept_by_id).sum()) / n
        knee = curve.knee
        return {
            "wide": self._figure(removal_figure(curve, "removal", removed, knee, width=760)),
            "narrow": self._figure(removal_figure(curve, "removal-s", removed, knee, width=340)),
            "knee": None if knee is None else (float(curve.threshold[knee]), float(curve.fraction[knee])),
            # One at a time: each has arrays of all images.
            "levels": list(starmap(self._level, levels(merges))),
        }

    def _level(self, threshold: float, cut: Selection) -> tuple[float, int, float, list[GroupCard]]:
        """Return a cut's threshold, what it removes, and cards of the groups merged last."""
        groups, removed = groups_of(cut), int((~cut.kept_by_id).sum())
        last = gallery.tightest(groups)[: -AT_A_LEVEL - 1 : -1]
        cards = [self.thumbnails.group(cut, groups, one, self.labelled, gallery.IN_A_ROW) for one in last]
        return threshold, removed, removed / len(cut), cards

    def triples(self) -> list[dict[str, Any]]:
        """Return a kept image, a removed one, and the image nearest to the kept one outside (the paper, Fig. 12)."""
        selection, groups = self.selection, self.groups
        chosen = [
            group
            for group in gallery.spread(groups, TRIPLES)
            if groups.removed[group] and selection.kept_by_id[groups.representative[group]]
        ]
        kept = groups.representative[chosen]
        outside, distance = nearest_outside(self.given.embeddings.vectors, selection.group, kept)
        members = [groups.of(group) for group in chosen]
        removed = [int(each[~selection.kept_by_id[each]][-1]) for each in members]
        self.thumbnails.fetch([*kept.tolist(), *removed, *outside[outside >= 0].tolist()])
        card, said = self.thumbnails.card, self.labelled
        return [
            {
                "kept": card(one, "kept", with_class=said),
                "removed": card(other, "removed", float(selection.dissimilarity[other]), said),
                "outside": card(beyond, "outside", far, said) if beyond >= 0 else None,
            }
            for one, other, beyond, far in zip(
                kept.tolist(), removed, outside.tolist(), distance.tolist(), strict=True
            )
        ]

    def sizes(self) -> dict[str, Any]:
        """Return the number of groups by size: a panel a class where there are few, one for all otherwise."""
        groups = self.groups
        sizes, counts = group_sizes(groups.size)
        if not len(sizes):
            return {"overall": "", "panels": [], "rows": [], "too_many": 0}
        ends = {"largest": int(sizes[-1]), "most": int(counts.max())}
        overall = [
            self._figure(sizes_figure(sizes, counts, name, width=width, **ends))
            for name, width in (("sizes", 560), ("sizes-s", 320))
        ]
        codes = np.unique(groups.label[groups.redundant]).tolist() if self.labelled else []
        panels: list[tuple[str, int, Markup]] = []
        if 1 < len(codes) <= CLASSES:
            each = {code: group_sizes(groups.size[groups.label == code]) for code in codes}
            ends["most"] = max(int(count.max()) for _, count in each.values())
            panels = [
                (
                    self._class(code),
                    int(count.sum()),
                    self._figure(sizes_figure(found, count, f"sizes{code}", **ends)),
                )
                for code, (found, count) in each.items()
            ]
        rows = list(zip(sizes.tolist(), counts.tolist(), strict=True))
        too_many = len(codes) if len(codes) > CLASSES else 0
        return {"overall": overall, "panels": panels, "rows": rows, "too_many": too_many}

    def table(self) -> dict[str, Any]:
        """Return Table 1, with as many decimals as its smallest value needs."""
        rows, overall = redundancy_table(self.selection, self.groups)
        values = [row.mean for row in (*rows, overall) if row.mean]
        decimals = int(np.clip(1 - np.floor(np.log10(min(values))), 4, 9)) if values else 4
        return {"rows": rows, "overall": overall, "decimals": decimals}

    def curve(self) -> dict[str, Any]:
        """Return the height of the merges against the fraction removed, with the cut."""
        codes, curves = curves_of(self.given.merges, self.selection, self.groups)
        if not self.semantic or not any(len(curve.height) for curve in curves):
            return {"curves": 0, "strategy": clean(self.selection.strategy)}
        high, low = extremes(codes, curves)
        marked = {
            name: "" if at is None else (self._class(codes[at]), float(curves[at].height[curves[at].cut - 1]))
            for name, at in (("high", high), ("low", low))
        }
        return {
            "wide": self._figure(curve_figure(curves, "curve", high=high, low=low, width=760)),
            "narrow": self._figure(curve_figure(curves, "curve-s", high=high, low=low, width=340)),
            "curves": len(curves),
            "gap": clean(worded(describe_gap(self.heights, len(self.selection)), self.noun))
            if len(self.heights)
            else "",
            **marked,
        }

    def unlike(self) -> dict[str, Any] | None:
        """Return close images with different labels, the near-identical ones apart; None without two labels."""
        codes, given = self.selection.codes, self.given
        if len(np.unique(codes[codes >= 0])) < 2:
            return None
        radius = float(self.groups.diameter.max(initial=0.0))
        tenth = height_at(given.merges, round(0.1 * len(codes)))
        found = find_unlike_pairs(given.embeddings.vectors, codes, min(radius, tenth))
        if isinstance(found, str):
            return {"refused": worded(found, self.noun), "pairs": []}
        gap = find_gap(self.heights) if self.semantic else None
        threshold = None if gap is None else gap.threshold
        near, looked_at = near_identical(found, threshold, given.source, given.embeddings.rows)
        return {
            "refused": "",
            "search": found,
            "gap": gap,
            "looked_at": looked_at,
            "near": self._pairs(found, np.flatnonzero(near)),
            "close": self._pairs(found, np.flatnonzero(~near)),
            "accuracy": training_accuracy(given.run),
        }

    def _pairs(self, found: UnlikePairs, which: Ints) -> dict[str, Any]:
        """Return pairs of images with different labels: their number, and the nearest to look at."""
        i, j, d = found.i[which], found.j[which], found.d[which]
        chosen = each_once(i, j, PAIRS)
        self.thumbnails.fetch([*i[chosen].tolist(), *j[chosen].tolist()])
        shown = [(self._labelled_card(i[at]), self._labelled_card(j[at]), float(d[at])) for at in chosen]
        return {"shown": shown, "count": len(d), "images": len(np.unique(np.concatenate([i, j])))}

    def _labelled_card(self, position: Any) -> gallery.ImageCard:
        role = "kept" if self.selection.kept_by_id[position] else "removed"
        return self.thumbnails.card(int(position), role, with_class=True)

    def mixed(self) -> dict[str, Any] | None:
        """Return groups whose images carry more than one label; None where grouping was class by class."""
        if not self.mixed_groups:
            return None
        groups, labelled = self.groups, self.selection.codes >= 0
        of = np.stack([self.selection.group[labelled], self.selection.codes[labelled]])
        labels = np.bincount(np.unique(of, axis=1)[0], minlength=len(groups))
        found = np.flatnonzero(labels > 1)
        ordered = found[np.lexsort((found, groups.diameter[found]))]
        return {"count": len(found), "groups": self._cards(ordered[:MIXED].tolist())}

    def rejected(self) -> dict[str, Any]:
        """Return the rejected images with their reasons."""
        table = self.given.rejected
        if table is None or not len(table):
            return {"count": 0, "rows": []}
        rows = table.slice(0, REJECTED).to_pylist()
        cleaned = [(clean(str(row["id"])), row["row"], clean(str(row["reason"]))) for row in rows]
        return {"count": len(table), "rows": cleaned}

    def pictures(self) -> dict[str, Any]:
        """Return why pictures are missing, if any are; called last."""
        about = self.given.run.get("source", {})
        return {
            "none": self.given.source is None,
            "changed": clean(self.given.changed),
            "vectors": about.get("kind", "vectors") == "vectors" and "pictures" not in about,
            "left_out": self.thumbnails.left_out,
            "unreadable": len(self.thumbnails.unreadable),
        }
