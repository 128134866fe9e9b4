"""The embedding stage: scan the images, train where the embedder is trained, extract part by part; resumable."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from ..data.sources.source import ImageSource
from ..data.store.embeddings import in_batches
from ..data.store.files import fingerprint, read_metadata
from ..data.store.part_files import Part, part_files, stored_layers, without_flaws, write_part
from ..data.store.rejected import REJECTED, Rejected, write_rejected
from ..data.store.run_folder import RunFolder
from ..data.store.unfinished_part import UnfinishedPart
from ..errors import TenpercentError, UsageError, counted
from ..progress import bar
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
from .networks import build
from .origin import Origin, stored_choice
from .pixels import Ints, Scan, scan
from .reading import check_most
from .selfsupervised import check_images, check_network
from .settings import SMALL, SelfSupervised, Supervised, Timm
from .weights import timm_model

BEGUN = "begun"  # the folder from which an interrupted extraction resumes
PART = 4096  # images per part file; fixed, so that a resumed run writes the same files

log = logging.getLogger("tenpercent")


@dataclass(frozen=True)
class Extracted:
    """Result of an extraction.

    Attributes:
        count: images extracted now, not by an earlier run.
        widths: width of each layer.
        rejected: images without a usable vector, of all parts.
    """

    count: int
    widths: dict[str, int]
    rejected: tuple[Rejected, ...]


def embed_source(source: ImageSource, run: RunFolder, embedder: Embedder, rows: Ints) -> dict[str, Any]:
    """Embed the images of `source` at `rows` into a run folder, or resume that.

    Writes ``rejected.parquet`` (id, row, reason), the files of the training run where the embedder is trained, and
    ``embeddings/part-*.parquet`` of 4,096 images each. Interruptions do not change their bytes.

    Args:
        source: the images.
        run: the run folder, whose embed stage the caller has locked.
        embedder: `Supervised`, `SelfSupervised`, `Timm`, a torch module (`ModuleEncoder`) or a function
            (`FunctionEncoder`). A function is identified by its name only: after a change to it choose another run
            folder.
        rows: int64[n], rows of the images, in the order of the source.

    Returns:
        A summary for ``run.json``: counts, layers with their widths, what was trained, timings.

    Raises:
        UsageError: the embedder needs labels that the source lacks, or its weights are unsuitable.
        StageError: the folder holds embeddings made with other settings, or of images that have changed.
        TenpercentError: more than half of the images can't be read, or have a vector without a direction.
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
    origin = begin(run, asked, found)
    encoder, facts = _encoder(embedder, found, source, run, origin)
    trained = time.perf_counter()
    done = extract_into(run, encoder, found, source, origin)
    finished = time.perf_counter()
    return {
        **done,
        **facts,
        "in_memory": found.pixels.in_memory,
        "timings": {
            "scan": round(scanned - started, 3),
            "train": round(trained - scanned, 3),
            "extract": round(finished - trained, 3),
        },
        "images_per_second": round(done["extracted"] / max(finished - trained, 1e-9), 1),
    }


def begin(run: RunFolder, asked: Origin, found: Scan) -> Origin:
    """Record what the vectors of a run are made of; return it.

    Args:
        run: the run folder, whose embed stage the caller has locked.
        asked: the origin of the vectors, as far as it is known without the images.
        found: the readable images.

    Raises:
        StageError: the folder holds embeddings of another origin.
    """
    origin = replace(asked, images=fingerprint(list(found.hashes)))
    origin.check(run)
    origin.write(run, stored_choice(run))
    write_rejected(run.rejected, found.rejected)  # extended by what extraction rejects
    return origin


def extract_into(
    run: RunFolder, encoder: Encoder, found: Scan, source: ImageSource, origin: Origin
) -> dict[str, Any]:
    """Write the missing part files of a run and its rejected images: see `extract`; return a summary for `run.json`."""
    done = extract(encoder, found, source, run.embeddings, origin.about(source))
    rejected = (*found.rejected, *done.rejected)
    write_rejected(run.rejected, rejected)
    return {
        "n": len(found.rows) - len(done.rejected),
        "rejected": len(rejected),
        "layers": done.widths,
        "pixels": found.pixels.describe(),
        "image_size": list(found.pixels.size),
        "extracted": done.count,
    }


def check_embedder(embedder: Embedder) -> None:
    """Raise `UsageError` for an unsuitable network or unsuitable weights, before anything is made."""
    if isinstance(embedder, Supervised):
        with torch.device("meta"):  # names and depth are checked, no weights are made
            build(embedder.network, embedder.depth, 2, (SMALL, SMALL))
    elif isinstance(embedder, SelfSupervised):
        check_network(embedder)
    elif isinstance(embedder, Timm):
        timm_model(embedder)


def check_labels(source: ImageSource, embedder: Embedder, rows: Ints) -> None:
    """Raise `UsageError` where `embedder` is trained on labels and `rows` don't have labels of two classes."""
    if not needs_labels(embedder):
        return
    remedy = "use --embedder pretrained or selfsupervised"
    if isinstance(embedder, Timm):
        remedy = "leave out --finetune"
    if source.labels is None or not source.has_classes:
        raise UsageError(
            f"{source.spec} has no labels to train on{'' if source.labels is None else ' (they are groups)'}; {remedy}"
        )
    codes = np.unique(source.labels[rows])
    codes = codes[codes >= 0]
    if len(codes) < 2:
        what = f"one class ({source.class_names[codes[0]]!r})" if len(codes) else "no labelled images"
        raise UsageError(f"{source.spec} has {what}; training on labels needs at least two; {remedy}")


def extract(
    encoder: Encoder, found: Scan, source: ImageSource, folder: Path, about: dict[str, Any]
) -> Extracted:
    """Write the missing part files. An image whose vector has no direction is rejected.

    Args:
        encoder: the encoder of the images.
        found: the readable images.
        source: the source of their ids, paths and labels.
        folder: the run's ``embeddings`` folder.
        about: the parts' metadata, see `part_files.write_part`; a part also names the images it rejects.

    Raises:
        TenpercentError: not one vector of one width per image, or more than half of them have no direction.
    """
    n, there = len(found.rows), {path.name: path for path in part_files(folder)}
    rejected = [Rejected(*one) for path in there.values() for one in read_metadata(path).get(REJECTED, [])]
    parts = {number: cut for number, cut in enumerate(in_batches(n, PART)) if _name(number) not in there}
    begun = UnfinishedPart(folder / BEGUN, about["origin"], encoder.batch)
    kept = {number: begun.read(number) for number in parts}
    left = {
        number: _batches(cut, encoder.batch)[-(-_count(kept[number]) // encoder.batch) :]
        for number, cut in parts.items()
    }
    count = sum(len(batch) for batches in left.values() for batch in batches)
    order = (batch for batches in left.values() for batch in batches)
    transform = encoder.transform
    images: Iterator[Any]
    images = found.pixels.batches(order) if transform is None else found.pixels.originals(order, transform)
    widths: dict[str, int] = {
        layer: array.shape[1] for vectors in kept.values() for layer, array in vectors.items()
    }
    done = n - count
    if done and count:
        log.info("extraction resumed: %s of %s are on disk", f"{done:,}", counted(n, source.noun))
    words = f"extracting, {done:,} resumed" if done else "extracting"
    with bar(n, words, f"{source.noun}s", initial=done) as progress:
        for number, cut in parts.items():
            vectors = {layer: [kept[number][layer]] if kept[number] else [] for layer in encoder.layers}
            begun.begin(_count(kept[number]))
            for batch in left[number]:
                made = encoder.encode(next(images))
                for layer in encoder.layers:
                    check_shape(made[layer], len(batch), widths.setdefault(layer, made[layer].shape[1]))
                    vectors[layer].append(made[layer])
                begun.add(number, made)
                progress.update(len(batch))
            layers = {layer: np.concatenate(arrays) for layer, arrays in vectors.items()}
            part, gone = without_flaws(_part(found, source, cut, layers))
            rejected += gone
            check_most(rejected, n, source, "have no usable vector")
            write_part(folder, number, part, {**about, REJECTED: list(map(astuple, gone))} if gone else about)
            begun.end(number)
    begun.remove()
    if not widths and n:
        widths = stored_widths(folder)
    return Extracted(count, widths, tuple(rejected))


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"


def _batches(part: slice, size: int) -> list[Ints]:
    """Return the positions of each batch of a part: the same whatever was extracted before."""
    cuts = in_batches(part.stop - part.start, size)
    return [np.arange(part.start + cut.start, part.start + cut.stop, dtype=np.int64) for cut in cuts]


def _count(vectors: dict[str, Floats]) -> int:
    return len(next(iter(vectors.values()), ()))


def check_shape(vectors: Floats, count: int, width: int) -> None:
    """Raise `TenpercentError` unless a batch of `count` images has one vector of `width` values each."""
    if vectors.shape != (count, width):
        raise TenpercentError(
            f"the embedder returned vectors of shape {vectors.shape} for a batch of {count} images and a width of "
            f"{width}; it must return one vector per image, all of one width"
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
        sizes=None if source.decoding.rules == 1 else _sizes(found, cut),
    )


def _sizes(found: Scan, cut: slice) -> Ints:
    """Return width, height and bytes of some images; none for runs of version 0.1, to keep their representatives."""
    return np.column_stack([found.sizes[cut, ::-1], found.file_bytes[cut]])


def _encoder(
    embedder: Embedder, found: Scan, source: ImageSource, run: RunFolder, origin: Origin
) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder, trained first where necessary, and its facts."""
    if is_trained(embedder):
        return trained_encoder(embedder, found, source, run.training)
    choice = stored_choice(run)
    encoder, facts = ready_encoder(embedder, found.alike, choice)
    if choice is None and isinstance(encoder, TimmEncoder):
        origin.write(run, encoder.choice)
    return encoder, facts
