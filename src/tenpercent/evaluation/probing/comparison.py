"""Embeddings side by side: accuracy of nearest neighbours and of a linear classifier on unseen images."""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...data.sources.opening import open_source
from ...data.sources.options import SourceOptions
from ...data.store.checks import check_kind
from ...data.store.embeddings import Embeddings
from ...data.store.environment import machine, versions
from ...data.store.files import own_folder, write_text
from ...embedding.settings import Timm
from ...errors import UsageError, quoted
from ...tree.cut import checked_layer
from .measure import NEIGHBOURS, interval, linear_accuracy, neighbours_accuracy

if TYPE_CHECKING:
    from .candidates import Candidate

log = logging.getLogger("tenpercent")

FORMAT = 1
TABLE, RECORD = "probe.csv", "probe.json"


@dataclass(frozen=True)
class VectorFile:
    """A file of ready vectors.

    Attributes:
        file: ``.npy``.
        labels: one a row, ``.npy`` or ``.txt``.
    """

    file: Path
    labels: Path | None = None

    def open(self) -> Embeddings:
        """Open the vectors.

        Raises:
            UsageError: they can't be opened, or the file holds images.
        """
        opened = open_source(self.file, SourceOptions(labels=self.labels))
        if not isinstance(opened, Embeddings):
            raise UsageError(
                f"--vectors {self.file} holds images; embed them first: tenpercent embed {quoted(self.file)} --out RUN"
            )
        return opened


@dataclass(frozen=True)
class ProbeResult:
    """The results of one embedding.

    Attributes:
        embedding: its name.
        layer: of the network.
        width: values of a vector.
        images: number of training images of the classifiers.
        tested: number of test images.
        classes: of the training images.
        test_set: description of the test images.
        neighbours: number that voted.
        knn: accuracy of the neighbours, 0 to 1, with its 95% interval.
        linear: accuracy of the linear classifier, likewise.
        note: a remark, or "".
    """

    embedding: str
    layer: str
    width: int
    images: int
    tested: int
    classes: int
    test_set: str
    neighbours: int
    knn: float
    knn_low: float
    knn_high: float
    linear: float
    linear_low: float
    linear_high: float
    note: str

    def cells(self) -> tuple[str, ...]:
        """Return the row of a table for a terminal."""
        return (
            self.embedding,
            self.layer,
            f"{self.width:,}",
            f"{self.images:,}",
            f"{self.tested:,} ({self.test_set})",
            _percent(self.knn, self.knn_low, self.knn_high),
            _percent(self.linear, self.linear_low, self.linear_high),
        )


@dataclass(frozen=True)
class Probe:
    """Embeddings side by side, in the order they were given."""

    rows: tuple[ProbeResult, ...]

    def __str__(self) -> str:
        """Return the table for a terminal."""
        head = ("embedding", "layer", "values", "images", "tested on", "kNN", "linear")
        lines = [head, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
        ]
        notes = [f"{row.embedding}, {row.layer}: {row.note}." for row in self.rows if row.note]
        return "\n".join([*(line.rstrip() for line in text), *dict.fromkeys(notes)])

    def as_csv(self) -> str:
        """Return all columns as CSV."""
        file = io.StringIO()
        writer = csv.DictWriter(file, list(ProbeResult.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        return file.getvalue()


def probe(
    what: str | Path | Sequence[str | Path | VectorFile | Embeddings | Timm],
    *,
    layers: Sequence[str] = ("end",),
    out: str | Path = "runs/probe",
    images: str | None = None,
    test: str | None = None,
) -> Probe:
    """Measure how well embeddings separate classes on images that they were not trained on.

    Args:
        what: a run folder, or several, whose own networks embed the test images; ready vectors, of which a fifth is
            tested with the others; models of timm, which embed `images` first.
        layers: of run folders, the layers whose vectors to take.
        out: the folder for the table and the vectors that are made here; the same call resumes there.
        images: the source for models of timm; None for that of the first run, with its hold-out.
        test: labelled images to test the runs on; None for a run's hold-out, or its source's own split.

    Raises:
        UsageError: nothing to compare, no labels, one class, or no test images.
        StageError: a run is not embedded, or its network is missing.
    """
    from .candidates import of_run, of_vectors, timm_run

    what = [what] if isinstance(what, str | Path) else what
    check_kind(what, (list, tuple), "what is probed", "a list of run folders, embeddings or Timm(…)")
    if not what:
        raise UsageError("there is nothing to probe; give run folders, --vectors FILE or --timm NAME")
    _check_layers(layers, what)
    folder = own_folder(Path(out), RECORD, (TABLE,), FORMAT, "probe")
    runs = [Path(one) for one in what if isinstance(one, str | Path)]
    rows: list[ProbeResult] = []
    for one in what:
        if isinstance(one, Timm):
            found = of_run(timm_run(one, images, runs, folder), ("end",), test, folder)
        elif isinstance(one, VectorFile):
            found = [of_vectors(one.file.stem, one.open())]
        elif isinstance(one, Embeddings):
            found = [of_vectors("vectors", one)]
        else:
            found = of_run(Path(one), layers, test, folder)
        rows += [measured(candidate) for candidate in found]
    table = Probe(tuple(rows))
    record = {
        "format": FORMAT,
        "rows": [asdict(row) for row in rows],
        "versions": {**versions(), "scikit-learn": metadata.version("scikit-learn")},
        "machine": machine(),
    }
    write_text(folder / TABLE, table.as_csv())
    write_text(folder / RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
    return table


def _check_layers(layers: Sequence[str], what: Sequence[Any]) -> None:
    """Raise `UsageError` where there are no layers, they are one string, or nothing probed has them."""
    if isinstance(layers, str) or not isinstance(layers, Sequence) or not layers:
        raise UsageError(f"layers is {layers!r}; give a list of names, e.g. ['end']")
    for layer in layers:
        checked_layer(layer)
    if not any(isinstance(one, str | Path) for one in what) and tuple(layers) != ("end",):
        raise UsageError(
            f"layer {', '.join(layers)} applies to run folders, and none is given; ready vectors and models of timm "
            "have a single layer, so leave it out"
        )


def measured(candidate: Candidate) -> ProbeResult:
    """Return the accuracies of one embedding."""
    log.info("probing %s, layer %s", candidate.name, candidate.layer)
    data = (candidate.train, candidate.labels, candidate.test, candidate.test_labels)
    tested, k = len(candidate.test), min(NEIGHBOURS, len(candidate.train))
    knn = neighbours_accuracy(*data, k=k)
    linear, converged = linear_accuracy(*data)
    notes = [candidate.note] if candidate.note else []
    if k < NEIGHBOURS:
        notes.append(f"{k} neighbours vote, as there are no more training images")
    if not converged:
        notes.append("the linear classifier did not converge")
    knn_low, knn_high = interval(knn, tested)
    linear_low, linear_high = interval(linear, tested)
    return ProbeResult(
        embedding=candidate.name,
        layer=candidate.layer,
        width=candidate.train.shape[1],
        images=len(candidate.train),
        tested=tested,
        classes=len(set(candidate.labels.tolist())),
        test_set=candidate.test_set,
        neighbours=k,
        knn=knn,
        knn_low=knn_low,
        knn_high=knn_high,
        linear=linear,
        linear_low=linear_low,
        linear_high=linear_high,
        note="; ".join(notes),
    )


def _percent(value: float, low: float, high: float) -> str:
    """Return an accuracy in percent with the larger side of its interval: sampling of the test images alone."""
    return f"{100 * value:.1f} ± {100 * max(high - value, value - low):.1f}"
