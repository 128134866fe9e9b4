"""Arms: the images a training run gets, be it all, a random draw, those of a strategy, or a list of one's own."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..data.store.embeddings import Embeddings
from ..errors import UsageError, counted, nearest, reason_of
from ..selection.by_strategy import depth_for, kept_by
from ..selection.by_tree import select
from ..selection.strategies.strategy import REMOVED, CheckedStrategy, Strategy
from ..tree.cut import Cut
from ..tree.merges import Merges, uncut
from .results import packed
from .trials import FULL, RANDOM, SEMANTIC, Trial

Ints = npt.NDArray[np.int64]
CHOOSING = (FULL, *(str(one) for one in Strategy if one is not Strategy.CCS))  # ccs needs scores


class ArmTrees(Protocol):
    """The trees that arms are chosen by.

    Attributes:
        cut: arguments of `Cut`, beside the fraction.
        within: ``class`` or ``all``.
        layer: the layer of the first embedding whose tree `random` takes the shares of classes from.
    """

    @property
    def cut(self) -> dict[str, Any]: ...
    @property
    def within(self) -> str: ...
    @property
    def layer(self) -> str: ...

    def tree(self, least: float, embedding: int, layer: str) -> Merges:
        """Return the tree of an embedding and a layer, as deep as the fraction `least` needs."""
        ...


@dataclass(frozen=True, eq=False)
class Arms:
    """Everything that images can be chosen by.

    Attributes:
        embeddings: the training images, in id order; every position below refers to them.
        trees: the trees that ``semantic`` cuts; ``random`` draws the shares of classes of the run's own.
        least: the smallest fraction that they are cut to.
        lists: arms given as lists: positions, int64[k] ascending.
    """

    embeddings: Embeddings
    trees: ArmTrees
    least: float
    lists: dict[str, Ints]
    _cuts: dict[tuple[float, int, str], npt.NDArray[np.bool_]] = field(default_factory=dict, init=False)
    _orders: dict[tuple[str, int, str], dict[int, Ints]] = field(default_factory=dict, init=False)

    def positions(self, trial: Trial, seed: int) -> Ints:
        """Return the images that a trial trains on: int64[k], ascending, those with a label.

        Raises:
            UsageError: there is no such arm.
        """
        return self._labelled(self._chosen(trial, seed))

    def check_lists(self, table: pa.Table) -> None:
        """Raise `UsageError` where a list is not the one that earlier training runs of its name used.

        Args:
            table: the stored training runs, a row each, with the columns ``arm`` and ``kept``.
        """
        for name, positions in self.lists.items():
            kept = self.as_bits(self._labelled(positions))
            others = table.filter((pc.field("arm") == name) & (pc.field("kept") != kept)).num_rows
            if others:
                raise UsageError(
                    f"--arms {name}: {others} training runs of this name used other images; give the list another name"
                )

    def as_bits(self, positions: Ints) -> bytes:
        """Return positions as `packed` rows of the source."""
        rows = self.embeddings.rows
        return packed(rows[positions], int(rows.max()) + 1)

    def _labelled(self, positions: Ints) -> Ints:
        labels = self.embeddings.labels
        return positions if labels is None else positions[labels[positions] >= 0]

    def chosen_by(self, trial: Trial) -> tuple[int, str] | None:
        """Return embedding and layer of the tree that a trial's images are chosen by; None where there is none."""
        if trial.arm == FULL or trial.arm in self.lists:
            return None
        return (0, self.trees.layer) if trial.arm == RANDOM else (trial.embedding, trial.layer)

    def merges(self, embedding: int, layer: str) -> Merges:
        """Return the tree of an embedding and layer."""
        return self.trees.tree(self.least, embedding, layer)

    def _chosen(self, trial: Trial, seed: int) -> Ints:
        if trial.arm in self.lists:
            return self.lists[trial.arm]
        if trial.arm == FULL:
            return np.arange(len(self.embeddings), dtype=np.int64)
        if trial.arm == RANDOM:
            return self._random(trial.fraction, seed)
        if trial.arm == SEMANTIC:
            return np.flatnonzero(self._kept(trial.fraction, trial.embedding, trial.layer))
        tree, strategy = self.merges(trial.embedding, trial.layer), CheckedStrategy.of(trial.arm)
        if len(tree.constraints):  # decisions about images apply to `semantic` alone
            tree = uncut(tree.embeddings, tree.within)
        depth, cut = depth_for(trial.fraction, strategy), Cut(trial.fraction, within=tree.within)
        tree = tree.deepened(Cut(depth, within=tree.within))
        known = self._orders.setdefault((trial.arm, trial.embedding, trial.layer), {})
        return np.flatnonzero(kept_by(tree, cut, strategy, seed, known))

    def _kept(self, fraction: float, embedding: int, layer: str) -> npt.NDArray[np.bool_]:
        """Return which images a tree keeps; each cut is made once, for `semantic` and for the shares of `random`."""
        key = (fraction, embedding, layer)
        if key not in self._cuts:
            tree = self.merges(embedding, layer)
            self._cuts[key] = select(tree, Cut(fraction, **self.trees.cut)).kept_by_id
        return self._cuts[key]

    def _random(self, fraction: float, seed: int) -> Ints:
        """Draw as many images of each class as the selection keeps; over all images where it has no classes."""
        kept, tree = self._kept(fraction, 0, self.trees.layer), self.merges(0, self.trees.layer)
        index = tree.class_index
        counts = np.bincount(index[kept], minlength=len(tree.classes))
        draw = np.random.default_rng(seed).permutation(len(index))  # a rank for each image
        order = np.lexsort((draw, index))  # class by class, in random order
        place = np.arange(len(order)) - np.searchsorted(index[order], index[order])
        return np.sort(order[place < counts[index[order]]])


def is_known(name: str) -> bool:
    """Return whether a name is that of a known arm, so that no list may have it."""
    return name.partition(":")[0] in CHOOSING


def check_arms(arms: Sequence[str]) -> None:
    """Raise `UsageError` for an unknown arm.

    Args:
        arms: names, without those of lists.
    """
    for arm in arms:
        name = arm.partition(":")[0]
        if name == Strategy.CCS:
            raise UsageError(
                f"--arms {arm} needs difficulty scores, which evaluate does not take; select by them "
                f"(--strategy {arm} --scores FILE), export --format indices, and give --arms {name}=EXPORTED"
            )
        if name not in (*CHOOSING, *REMOVED):
            raise UsageError(
                f"--arms names {arm!r}; known are {', '.join(CHOOSING)}, or NAME=FILE with row numbers or ids"
                f"{nearest(arm, CHOOSING)}"
            )
        if arm != FULL:
            CheckedStrategy.of(arm)


def read_list(path: Path, embeddings: Embeddings) -> Ints:
    """Read a list of images: row numbers of the source, or ids.

    Args:
        path: ``.npy`` (integers, or strings), ``.txt`` (one a line), or ``.csv`` with a column ``row`` or ``id``.
        embeddings: the training images.

    Returns:
        Their positions in id order, int64[k], ascending.

    Raises:
        UsageError: it can't be read, is empty, or names an image twice or one that does not exist.
    """
    try:
        found = _entries(path)
    except (OSError, ValueError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"can't read {path} ({reason_of(error)}); give .npy, .txt with a row number or id a line, or "
            ".csv with a column row or id"
        ) from None
    if not len(found):
        raise UsageError(f"{path} names no images; name at least two of each class")
    ids = {name: position for position, name in enumerate(embeddings.ids.tolist())}
    if all(str(one).isdecimal() for one in found) and not all(one in ids for one in found):
        found = [int(one) for one in found]
    by = ids if isinstance(found[0], str) else {row: p for p, row in enumerate(embeddings.rows.tolist())}
    unknown = [one for one in found if one not in by]
    if unknown:
        raise UsageError(
            f"{path} names {unknown[0]!r}, which is not an image of this run ({len(unknown):,} of {len(found):,} are "
            "not); give row numbers of the source, or ids"
        )
    positions = np.unique(np.asarray([by[one] for one in found], dtype=np.int64))
    if len(positions) < len(found):
        raise UsageError(f"{path} names {len(found) - len(positions):,} images twice; name each once")
    if embeddings.labels is not None:
        classes = np.unique(embeddings.labels[positions])
        count = int((classes >= 0).sum())
        if count < 2:
            raise UsageError(f"{path} names images of {counted(count, 'class')}; training takes two or more")
    return positions


def _entries(path: Path) -> list[Any]:
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        if array.ndim != 1 or array.dtype.kind not in "iuUS":
            raise ValueError(f"it has shape {array.shape} and dtype {array.dtype}")
        return [one.decode() if isinstance(one, bytes) else one for one in array.tolist()]
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
        column = next((name for name in ("row", "id") if rows and name in rows[0]), None)
        if rows and column is None:
            raise ValueError(f"its columns are {', '.join(rows[0])}")
        for number, one in enumerate(rows, start=1):
            if one[column] is None:
                raise ValueError(f"line {number} below the names of the columns has no {column}")
        return [int(one[column]) if column == "row" else one[column] for one in rows]
    return [line for line in text.split("\n") if line.strip()]
