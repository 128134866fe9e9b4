"""A selection: which images stay, which go, and which image stands for each that goes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import UsageError, nearest
from ..store.embeddings import Embeddings, Ints, Strings
from ..store.files import write_table
from .cut import Bools, Floats
from .explain import Explanation, explain
from .files import read_stage
from .notebook import selection_html
from .subset import checked_subset

if TYPE_CHECKING:
    from torch.utils.data import Dataset, Subset

FORMAT = 1
NEAREST_AMONG = 20_000  # ids that a suggestion is looked for among; beyond, those nearest in order


@dataclass(frozen=True)
class ClassCut:
    """How one class was cut.

    Attributes:
        code: the class; −1 holds the images without a label, −2 all images (``within="all"``).
        name: its name, None for −1 and −2.
        images: how many it has.
        groups: how many groups they make: the images kept, but for `keep_ids`.
        kept: how many stay.
        height: the height of the last merge taken, 0 where none was; of a strategy without merges the radius: the
            largest dissimilarity of a removed image to its keeper.
    """

    code: int
    name: str | None
    images: int
    groups: int
    kept: int
    height: float


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """One entry an image, in id order.

    Attributes:
        ids: str[n].
        source_rows: int64[n], position in the source.
        paths: str[n], or None.
        labels: int64[n], −1 for none; None where the source has no labels.
        class_names: the name of each code.
        kept_mask: bool[n].
        group: int64[n], numbered by smallest member.
        group_size: int64[n].
        representative: int64[n], the position in id order of the image that stands for the group; −1 where all of
            its images are removed by decision: they stand outside the guarantee.
        dissimilarity: float64[n], to the representative; nan where there is none.
        group_diameter: float64[n], the largest dissimilarity within the group.
        classes: how each class was cut.
        settings: what was asked for.
        notes: what a person should know about the outcome, in sentences.
        origin: the fingerprint of the embeddings.
        source: ``spec``, ``options`` and ``length`` of the source where known (`with_source`); not stored.
    """

    ids: Strings
    source_rows: Ints
    paths: Strings | None
    labels: Ints | None
    class_names: tuple[str, ...]
    kept_mask: Bools
    group: Ints
    group_size: Ints
    representative: Ints
    dissimilarity: Floats
    group_diameter: Floats
    classes: tuple[ClassCut, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()
    origin: str = ""
    source: dict[str, Any] | None = field(default=None)

    def __post_init__(self) -> None:
        for name in ("kept_mask", "group", "group_size", "representative", "dissimilarity", "group_diameter"):
            getattr(self, name).flags.writeable = False

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def kept(self) -> Strings:
        """The ids of the images that stay, in id order."""
        return self.ids[self.kept_mask]

    @property
    def removed(self) -> Strings:
        """The ids of the images that go, in id order."""
        return self.ids[~self.kept_mask]

    @property
    def rows(self) -> Ints:
        """Row numbers in the source of the images that stay, ascending; int64[k]."""
        return np.sort(self.source_rows[self.kept_mask])

    @cached_property
    def table(self) -> pa.Table:
        """One row an image: id, row, path, label, class_name, kept, group, group_size, representative (id),
        dissimilarity, group_diameter. The representative and the dissimilarity to it are null where there is none."""
        ids = pa.array(self.ids, pa.string())
        n = len(self)
        labels = np.full(n, -1, dtype=np.int64) if self.labels is None else self.labels
        names = pa.array([*self.class_names, None], pa.string())  # the last for −1
        return pa.table(
            {
                "id": ids,
                "row": pa.array(self.source_rows, pa.int64()),
                "path": pa.nulls(n, pa.string()) if self.paths is None else pa.array(self.paths, pa.string()),
                "label": pa.array(labels, pa.int64()),
                "class_name": names.take(pa.array(np.where(labels < 0, len(self.class_names), labels))),
                "kept": pa.array(self.kept_mask),
                "group": pa.array(self.group, pa.int64()),
                "group_size": pa.array(self.group_size, pa.int64()),
                "representative": ids.take(pa.array(self.representative, mask=self.representative < 0)),
                "dissimilarity": pa.array(self.dissimilarity, mask=self.representative < 0),
                "group_diameter": pa.array(self.group_diameter),
            }
        )

    def groups(self, min_size: int = 2) -> Iterator[pa.Table]:
        """Yield the rows of `table` group by group: largest group first, equal sizes in order of their number.

        Within a group the representative comes first, the others by dissimilarity to it.
        """
        for positions in self.group_members(min_size):
            yield self.table.take(pa.array(positions))

    def group_members(self, min_size: int = 2) -> Iterator[Ints]:
        """Yield the positions of the members, group by group, in the order of `groups`."""
        others = self.representative != np.arange(len(self))
        order = np.lexsort((np.arange(len(self)), self.dissimilarity, others, self.group))
        sizes = np.bincount(self.group)
        starts = np.cumsum(sizes) - sizes
        for g in np.argsort(-sizes, kind="stable"):
            if sizes[g] < min_size:
                return
            yield order[starts[g] : starts[g] + sizes[g]]

    @property
    def strategy(self) -> str:
        """How the images were chosen: ``semantic`` by the tree, else the name of the strategy with its value."""
        return str(self.settings.get("strategy", "semantic"))

    def position(self, image: str) -> int:
        """Return the position in id order of an id.

        Raises:
            UsageError: there is no such image.
        """
        return int(positions_of(self.ids, [image], "the id")[0])

    def class_name(self, position: int) -> str | None:
        """Return the name of the class of the image at `position`, or None where it has none."""
        code = -1 if self.labels is None else int(self.labels[position])
        return None if code < 0 else self.class_names[code]

    def class_cut(self, position: int) -> ClassCut:
        """Return how the class of the image at `position` was cut."""
        code = -1 if self.labels is None else int(self.labels[position])
        return self._cut_of.get(code, self.classes[0])

    @cached_property
    def _cut_of(self) -> dict[int, ClassCut]:
        return {cut.code: cut for cut in self.classes}

    def explain(self, image: str, embeddings: Embeddings | None = None) -> Explanation:
        """Say why an image was kept or removed: its group, its keeper, the dissimilarities.

        Args:
            image: its id.
            embeddings: where given, the nearest image outside the group is named as well.

        Raises:
            UsageError: there is no such image.
        """
        return explain(self, self.position(image), embeddings)

    def subset(self, dataset: Dataset[Any]) -> Subset[Any]:
        """Return the kept images of a PyTorch dataset whose order is the source's.

        Raises:
            UsageError: the dataset has another length, or other labels.
        """
        return checked_subset(self, dataset)

    def with_source(self, spec: str, options: dict[str, Any], length: int) -> Selection:
        """Return the same selection knowing its source: pictures in a notebook, and the length for `subset`."""
        return replace(self, source={"spec": spec, "options": options, "length": length})

    def __repr__(self) -> str:
        kept, n = int(self.kept_mask.sum()), len(self)
        several = len(np.unique(self.group[~self.kept_mask]))
        largest = f" (largest {int(self.group_size.max()):,})" if several else ""
        return f"Selection({kept:,} of {n:,} images kept, {n - kept:,} removed, redundant groups: {several:,}{largest})"

    def _repr_html_(self) -> str:
        return selection_html(self)

    # ---- on disk -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write ``selection.parquet``: `table`, with the settings; equal selections give equal bytes."""
        about = {
            "format": FORMAT,
            "origin": self.origin,
            "n": len(self),
            "settings": self.settings,
            "notes": list(self.notes),
            "labelled": self.labels is not None,
            "class_names": list(self.class_names),
            "classes": [asdict(cut) for cut in self.classes],
        }
        write_table(Path(path), self.table, about)

    @classmethod
    def load(cls, path: str | Path, embeddings: Embeddings | None = None) -> Selection:
        """Read ``selection.parquet`` back.

        Args:
            path: the file.
            embeddings: where given, the selection must have been made from them.

        Raises:
            StageError: there is none, it is damaged, of a newer format, or made from other embeddings.
        """
        path = Path(path)
        table, about = read_stage(path, FORMAT, embeddings, f"tenpercent select {path.parent} --keep 0.9")
        paths = np.asarray(table["path"].to_pylist(), dtype=object)
        return cls(
            ids=np.asarray(table["id"].to_pylist(), dtype=object),
            source_rows=table["row"].to_numpy(),
            paths=None if table["path"].null_count == len(table) else paths,
            labels=table["label"].to_numpy() if about["labelled"] else None,
            class_names=tuple(about["class_names"]),
            kept_mask=table["kept"].to_numpy(),
            group=table["group"].to_numpy(),
            group_size=table["group_size"].to_numpy(),
            representative=pc.index_in(table["representative"], table["id"].combine_chunks())
            .fill_null(-1)
            .to_numpy()
            .astype(np.int64),
            dissimilarity=table["dissimilarity"].to_numpy(),
            group_diameter=table["group_diameter"].to_numpy(),
            classes=tuple(ClassCut(**cut) for cut in about["classes"]),
            settings=about["settings"],
            notes=tuple(about["notes"]),
            origin=about["origin"],
        )


def positions_of(ids: Strings, wanted: Iterable[str], name: str) -> Ints:
    """Return the positions in id order of `wanted`, each once and ascending; int64[k].

    Raises:
        UsageError: one text instead of several, or ids that are not there; the nearest are offered.
    """
    if isinstance(wanted, str | bytes):
        raise UsageError(f"{name} is one text, {wanted!r}; give a list of ids")
    asked = sorted({str(image) for image in wanted})
    found = np.minimum(np.searchsorted(ids, np.asarray(asked, dtype=object)), len(ids) - 1)
    unknown = [image for image, position in zip(asked, found.tolist(), strict=True) if ids[position] != image]
    if unknown:
        place = int(np.searchsorted(ids, np.asarray([unknown[0]], dtype=object))[0])
        near = (
            ids
            if len(ids) <= NEAREST_AMONG
            else ids[max(0, place - NEAREST_AMONG // 2) : place + NEAREST_AMONG // 2]
        )
        first = ", ".join(repr(image) for image in unknown[:3])
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        raise UsageError(
            f"{name} {first}{more}: no such image among {len(ids):,}{nearest(unknown[0], near.tolist())}"
        )
    return np.asarray(found, dtype=np.int64)
