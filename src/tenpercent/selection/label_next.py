"""Images to label next: those that add most to the labelled ones, in order, by a strategy that starts from these."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.store.checks import as_path
from ..data.store.embeddings import Embeddings, Ints
from ..data.store.files import write_text
from ..data.store.ids import as_given, positions_of
from ..data.store.run_folder import Stage
from ..errors import UsageError, counted, nearest, shown
from ..linkage.distances import dissimilarities, unit_vectors
from ..tree.cut import Cut
from ..tree.gap import precise_height
from ..tree.merges import Merges, cluster
from ..tree.steps import Floats
from .by_strategy import TREE_DEPTH
from .nearest import nearest_among
from .stored import OpenRun
from .strategies.along_tree import halved, leaf_order
from .strategies.graph_add import graph_add
from .strategies.kcenter import CHOSEN, kcenter
from .strategies.strategy import CheckedStrategy, Strategy

FROM_LABELLED = (Strategy.KCENTER, Strategy.GRAPH_ADD, Strategy.SPREAD)
SHOWN = 10  # images that the text lists; it says how many more there are


@dataclass(frozen=True, eq=False)
class NextImages:
    """Images to label next, the first first.

    Attributes:
        ids: their ids: text, or int64 where they were given as whole numbers.
        dissimilarity: float64[k], to the nearest image before it: a labelled one, or one earlier in the list.
        nearest: the id of that image.
        locked: number of images labelled already.
        strategy: the name of the strategy.
        noun: what one of the images is called.
    """

    ids: npt.NDArray[Any]
    dissimilarity: Floats
    nearest: npt.NDArray[Any]
    locked: int
    strategy: str
    noun: str = "image"

    def __len__(self) -> int:
        return len(self.ids)

    def __str__(self) -> str:
        lines = [
            f"{counted(len(self), self.noun)} to label next, by {self.strategy} from {self.locked:,} labelled, each "
            f"with the dissimilarity to the nearest {self.noun} before it:"
        ]
        rows = zip(self.ids.tolist(), self.dissimilarity.tolist(), self.nearest.tolist(), strict=True)
        for (image, far, near), _ in zip(rows, range(SHOWN), strict=False):
            lines.append(f"  {precise_height(far):>8}  {shown(image)} (nearest: {shown(near)})")
        if len(self) > SHOWN:
            lines.append(f"  … and {len(self) - SHOWN:,} more")
        return "\n".join(lines)

    __repr__ = __str__

    def save(self, path: str | Path) -> None:
        """Write a .csv file, whole or not at all: id, dissimilarity, nearest, in order."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("id", "dissimilarity", "nearest"))
        writer.writerows(
            zip(self.ids.tolist(), self.dissimilarity.tolist(), self.nearest.tolist(), strict=True)
        )
        write_text(as_path(path, "the file for the next images"), text.getvalue())


def next_images(
    what: str | Path | Embeddings,
    n: int,
    *,
    locked: Iterable[str | int],
    strategy: Strategy | str = Strategy.KCENTER,
) -> NextImages:
    """Choose the images that add most to those labelled already, in the order to label them; labels play no part.

    Args:
        what: a run folder, or embeddings.
        n: how many.
        locked: ids of the images that are labelled already, at least one.
        strategy: ``kcenter``: the image farthest from its nearest one; ``graph-add``: that which most raises the sum of
            similarities of all images to their nearest one; ``spread``: the middle of the longest stretch of the tree's
            leaves without one. Ties go to the smallest id, in a row of leaves to the first.

    Raises:
        UsageError: no locked image or an unknown one, fewer images left than `n`, or a strategy that can't start from
            some.
        StageError: the run folder holds no embeddings.
    """
    chosen = _checked(strategy)
    embeddings, merges = _opened(what)
    there = positions_of(embeddings.ids, locked, "locked", embeddings.rows)
    _check(n, len(there), embeddings)
    others = np.setdiff1d(np.arange(len(embeddings)), there, assume_unique=True)
    nearest, near = np.arange(len(embeddings)), np.full(len(embeddings), CHOSEN)
    nearest[others], near[others] = nearest_among(embeddings.vectors, others, there)
    if chosen is Strategy.SPREAD:
        images = halved(_row(embeddings, merges, len(there) + n), near == CHOSEN, n)
    else:
        add = kcenter if chosen is Strategy.KCENTER else graph_add
        images = add(unit_vectors(embeddings.vectors), n, near=near)
    return _next_images(embeddings, images, nearest[images], near[images], len(there), chosen)


def _checked(strategy: Strategy | str) -> Strategy:
    name, known = str(strategy).partition(":")[0], [str(one) for one in FROM_LABELLED]
    if name not in known:
        why = "does not start from labelled images" if name in [*Strategy] else "is unknown"
        raise UsageError(f"strategy {strategy} {why}; give one of {', '.join(known)}{nearest(name, known)}")
    return CheckedStrategy.of(strategy).name


def _opened(what: str | Path | Embeddings) -> tuple[Embeddings, Merges | None]:
    """Return the embeddings, and the merges of a run folder that has some."""
    if isinstance(what, Embeddings):
        what.check_unchanged()
        return what, None
    run = OpenRun.open(what)
    run.folder.require(Stage.EMBED)
    merges = run.merges() if run.folder.stage(Stage.CLUSTER) is not None else None
    return (run.embeddings(), None) if merges is None else (merges.embeddings, merges)


def _check(n: object, locked: int, embeddings: Embeddings) -> None:
    images, noun = len(embeddings), embeddings.noun
    if isinstance(n, bool) or not isinstance(n, Integral) or int(n) < 1:
        raise UsageError(f"n is {n!r}; it must be a whole number of at least 1")
    if not locked:
        raise UsageError(
            f"locked names no {noun}; give at least one that is labelled, or begin with: "
            "tenpercent select RUN --strategy kcenter"
        )
    if int(n) > images - locked:
        raise UsageError(
            f"n is {n:,}, but {locked:,} of {counted(images, noun)} {'is' if locked == 1 else 'are'} locked; "
            f"ask for at most {images - locked:,}"
        )


def _row(embeddings: Embeddings, merges: Merges | None, images: int) -> Ints:
    """Return the images in the order of the tree's leaves, of a tree whose groups could keep a few images each."""
    within = None if merges is None else merges.within
    cut = Cut(keep=images / len(embeddings) / TREE_DEPTH, within=within)
    deep = cluster(embeddings, cut) if merges is None else merges.deepened(cut)
    taken = deep.steps.taken(cut)  # whatever is stored beyond
    return leaf_order(len(embeddings), deep.a[taken], deep.b[taken])


def _next_images(
    embeddings: Embeddings, images: Ints, nearest: Ints, near: Floats, locked: int, strategy: Strategy
) -> NextImages:
    """Return the images with the nearest one before each, of which `nearest` are the locked ones."""
    units, nearest, near = unit_vectors(embeddings.vectors[images]), nearest.copy(), near.copy()
    for k in range(1, len(images)):
        far = dissimilarities(units, np.full(k, k), np.arange(k))
        at = int(far.argmin())
        if far[at] < near[k]:
            nearest[k], near[k] = images[at], far[at]
    ids, by = (as_given(embeddings.ids[positions], embeddings.number_ids) for positions in (images, nearest))
    return NextImages(ids, near, by, locked, str(strategy), embeddings.noun)
