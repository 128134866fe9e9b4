"""The embedding stage: scan the images, train where the embedder is trained, extract part by part; resumable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..errors import TenpercentError, UsageError
from ..images.source import ImageSource
from ..progress import bar
from ..store.embeddings import Part, in_batches, part_files, stored_layers, write_part, zero_or_broken_row
from ..store.files import fingerprint, write_table
from ..store.run import RunFolder
from .encoders import (
    Embedder,
    Encoder,
    Floats,
    TimmEncoder,
    embedder_json,
    is_trained,
    needs_labels,
    ready_encoder,
    side_of,
    trained_encoder,
)
from .networks import SMALL, build
from .origin import Origin, stored_choice
from .pixels import Ints, Rejected, Scan, scan
from .selfsupervised import check_images, check_network
from .settings import SelfSupervised, Supervised, Timm
from .weights import check_name, timm_model

FORMAT = 1
PART = 4096  # images a part file; fixed, so that a resumed run writes the same files


@dataclass(frozen=True)
class _Layout:
    """How the readable images are cut into parts, and the parts into the batches an encoder takes."""

    n: int
    batch: int

    @property
    def parts(self) -> int:
        return -(-self.n // PART)

    def part(self, number: int) -> slice:
        """Return the positions of part `number`."""
        return slice(number * PART, min((number + 1) * PART, self.n))

    def batches(self, number: int) -> list[Ints]:
        """Return the positions of each batch of part `number`: the same whatever was extracted before."""
        part = self.part(number)
        return [
            np.arange(part.start + cut.start, part.start + cut.stop, dtype=np.int64)
            for cut in in_batches(part.stop - part.start, self.batch)
        ]


def embed_source(source: ImageSource, run: RunFolder, embedder: Embedder, rows: Ints) -> dict[str, Any]:
    """Embed the images of `source` at `rows` into a run folder, or go on where that was interrupted.

    Writes ``rejected.parquet`` (id, row, reason), the training's files where the embedder is trained, and
    ``embeddings/part-*.parquet`` of 4,096 images each. Their bytes are the same whether or not it was interrupted.

    Args:
        source: the images.
        run: the folder; its embed stage must be locked by the caller.
        embedder: `Supervised`, `SelfSupervised`, `Timm`, a torch module (`ModuleEncoder`) or a function
            (`FunctionEncoder`). A function is known by its name only: after a change inside it choose another run
            folder.
        rows: int64[n], which images, in the order of the source.

    Returns:
        A summary for ``run.json``: counts, layers with their widths, what was trained, timings.

    Raises:
        UsageError: the embedder needs labels that the source lacks, or its weights don't serve.
        StageError: the folder holds embeddings made with other settings, or of images that have changed.
        TenpercentError: more than half of the images can't be read, or a vector has no direction.
    """
    check_labels(source, embedder, rows)
    asked = Origin.of(source, rows, embedder_json(embedder))
    asked.check(run)
    started = time.perf_counter()
    found = scan(source, rows, large=is_trained(embedder), side=side_of(embedder))
    scanned = time.perf_counter()
    check_labels(source, embedder, found.rows)
    if isinstance(embedder, SelfSupervised):
        check_images(embedder, found.pixels)
    origin = replace(asked, images=fingerprint(list(found.hashes)))
    origin.check(run)
    origin.write(run, stored_choice(run))
    write_rejected(run.rejected, found.rejected)
    encoder, facts = _encoder(embedder, found, source, run, origin)
    trained = time.perf_counter()
    about = {
        "origin": origin.fingerprint,
        "class_names": list(source.class_names),
        "labelled": source.labels is not None,
    }
    extracted, widths = extract(encoder, found, source, run.embeddings, about)
    finished = time.perf_counter()
    return {
        "n": len(found.rows),
        "rejected": len(found.rejected),
        "layers": widths,
        **facts,
        "pixels": found.pixels.describe(),
        "in_memory": found.pixels.in_memory,
        "timings": {
            "scan": round(scanned - started, 3),
            "train": round(trained - scanned, 3),
            "extract": round(finished - trained, 3),
        },
        "extracted": extracted,
        "images_per_second": round(extracted / max(finished - trained, 1e-9), 1),
    }


def check_embedder(embedder: Embedder) -> None:
    """Raise `UsageError` where an embedder names a network or weights that don't serve, before anything is made."""
    if isinstance(embedder, Supervised):
        with torch.device("meta"):  # names and depth are checked, no weights are made
            build(embedder.network, embedder.depth, 2, (SMALL, SMALL))
    elif isinstance(embedder, SelfSupervised):
        check_network(embedder)
    elif isinstance(embedder, Timm) and embedder.weights is not None:
        timm_model(embedder)
    elif isinstance(embedder, Timm):
        check_name(embedder.name)


def check_labels(source: ImageSource, embedder: Embedder, rows: Ints) -> None:
    """Raise `UsageError` where `embedder` is trained on labels and `rows` don't have those of two classes."""
    if not needs_labels(embedder):
        return
    remedy = "embed it without: --embedder selfsupervised, or with weights at hand: --embedder timm:NAME --weights FILE"
    if isinstance(embedder, Timm):
        remedy = "leave out --finetune"
    if source.labels is None:
        raise UsageError(f"{source.spec} has no labels to train an embedding with; {remedy}")
    codes = np.unique(source.labels[rows])
    codes = codes[codes >= 0]
    if len(codes) < 2:
        what = f"one class only ({source.class_names[codes[0]]!r})" if len(codes) else "no labelled images"
        raise UsageError(f"{source.spec} has {what}, and training an embedding takes two or more; {remedy}")


def write_rejected(path: Path, rejected: tuple[Rejected, ...]) -> None:
    """Write the images that can't be read, in id order: id, row, reason; an empty table where there are none."""
    ordered = sorted(rejected, key=lambda one: one.id)
    columns = {
        "id": pa.array([one.id for one in ordered], pa.string()),
        "row": pa.array([one.row for one in ordered], pa.int64()),
        "reason": pa.array([one.reason for one in ordered], pa.string()),
    }
    write_table(path, pa.table(columns), {"format": FORMAT})


def extract(
    encoder: Encoder, found: Scan, source: ImageSource, folder: Path, about: dict[str, Any]
) -> tuple[int, dict[str, int]]:
    """Write the part files that are not there yet.

    Args:
        encoder: what makes the vectors.
        found: the readable images.
        source: where they come from, for ids, paths and labels.
        folder: the run's ``embeddings``.
        about: the parts' metadata, see `store.embeddings.write_part`.

    Returns:
        How many images were extracted now, and the width of each layer.

    Raises:
        TenpercentError: a vector is zero, nan or infinite; the image is named.
    """
    layout = _Layout(len(found.rows), encoder.batch)
    there = {path.name for path in part_files(folder)}
    missing = [number for number in range(layout.parts) if f"part-{number:05d}.parquet" not in there]
    count = sum(layout.part(number).stop - layout.part(number).start for number in missing)
    order = (batch for number in missing for batch in layout.batches(number))
    pixels = found.pixels
    images: Iterator[Any]
    transform = encoder.transform
    images = pixels.batches(order) if transform is None else pixels.originals(order, transform)
    widths: dict[str, int] = {}
    with bar(layout.n, "extracting", "images", initial=layout.n - count) as progress:
        for number in missing:
            vectors: dict[str, list[Floats]] = {layer: [] for layer in encoder.layers}
            for batch in layout.batches(number):
                made = encoder.encode(next(images))
                for layer in encoder.layers:
                    ids = [source.ids[row] for row in found.rows[batch]]
                    check_vectors(made[layer], ids, widths.setdefault(layer, made[layer].shape[1]))
                    vectors[layer].append(made[layer])
                progress.update(len(batch))
            layers = {layer: np.concatenate(arrays) for layer, arrays in vectors.items()}
            write_part(folder, number, _part(found, source, layout.part(number), layers), about)
    return count, widths or stored_widths(folder)


def check_vectors(vectors: Floats, ids: list[str], width: int) -> None:
    """Raise `TenpercentError` where a batch has not one vector of `width` values an image, or one has no direction."""
    if vectors.shape != (len(ids), width):
        raise TenpercentError(
            f"the embedder gave vectors of shape {vectors.shape} for a batch of {len(ids)} images and a width of "
            f"{width}; it must give one vector an image, all of one width"
        )
    broken = zero_or_broken_row(vectors)
    if broken is not None:
        raise TenpercentError(
            f"the vector of {ids[broken[0]]!r} {broken[1]}; leave that image out or choose another embedder"
        )


def stored_widths(folder: Path) -> dict[str, int]:
    """Return the width of each layer of the part files of `folder`."""
    first = part_files(folder)[0]
    schema = pq.read_schema(first)
    return {layer: schema.field(layer).type.list_size for layer in stored_layers(first)}


def _part(found: Scan, source: ImageSource, cut: slice, layers: dict[str, Floats]) -> Part:
    rows = found.rows[cut]
    return Part(
        ids=[source.ids[row] for row in rows],
        rows=rows,
        paths=[source.paths[row] for row in rows],
        labels=np.full(len(rows), -1, dtype=np.int64) if source.labels is None else source.labels[rows],
        hashes=found.hashes[cut],
        layers=layers,
    )


def _encoder(
    embedder: Embedder, found: Scan, source: ImageSource, run: RunFolder, origin: Origin
) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder, trained first where it is to be, and what there is to say about it."""
    if isinstance(embedder, Supervised | SelfSupervised) or (
        isinstance(embedder, Timm) and embedder.finetune
    ):
        return trained_encoder(embedder, found, source, run.training)
    choice = stored_choice(run)
    encoder, facts = ready_encoder(embedder, found.alike, choice)
    if choice is None and isinstance(encoder, TimmEncoder):
        origin.write(run, encoder.choice)
    return encoder, facts
