"""Update of an embedded run to its source as it is now: only new images are embedded, by the run's own network."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..data.sources.changes import Change, RecordedImages, compare
from ..data.sources.holdout import split_again, write_holdout
from ..data.sources.opening import place_of
from ..data.sources.options import SourceOptions
from ..data.sources.source import ImageSource
from ..data.store.added import moved_twice, read_added, write_added
from ..data.store.embeddings import Ints, in_batches
from ..data.store.exchange import exchange, is_prepared
from ..data.store.files import fingerprint
from ..data.store.left_out import read_rejected
from ..data.store.part_files import (
    Part,
    part_files,
    read_parts,
    sizes_of,
    stored_layers,
    write_part,
)
from ..data.store.records import EmbedRecord, SourceRecord, StageRecord
from ..data.store.rejected import REJECTED, Rejected, write_rejected
from ..data.store.remains import remove_tree
from ..data.store.run_folder import RunFolder, Stage
from ..errors import RunFolderError, UsageError, counted, quoted
from .by_run import embed_by_run
from .identity import is_trained
from .one_by_one import PART
from .origin import Origin, OtherOriginError, differences, stored_choice, stored_origin

if TYPE_CHECKING:  # torch is loaded where it is needed
    from collections.abc import Callable

    from .by_labels import ByLabels
    from .encoders import Embedder

log = logging.getLogger("tenpercent")


@dataclass(frozen=True, eq=False, repr=False)
class Update:
    """Update that a run needs, as its source has changed.

    Attributes:
        known: the images of the run.
        change: the changes.
    """

    known: RecordedImages
    change: Change


def needed_update(run: RunFolder, source: ImageSource) -> Update | None:
    """Return the update that an embedded run needs to hold the images of a source as they are now; None for nothing.

    Raises:
        RunFolderError: these are other images than those of the run, not the same ones changed.
    """
    known = RecordedImages.of(run)
    if known is None:
        return None
    change, n = compare(known, source, closely=True), len(known.ids)
    if not change:
        return None
    was, gone = run.source.spec, len(change.gone)
    other_place = was != source.spec
    if gone == n or (other_place and (2 * gone >= n or place_of(was).exists())):
        raise RunFolderError(
            f"{run.path} holds a run of {was}, not of {source.spec}, which has other images: {change}; choose another "
            "--out"
        )
    return Update(known, change)


def finish_update(run: RunFolder) -> None:
    """Finish an update that was killed while what it had prepared took the place of what was there."""
    if not run.json_path.exists() or not run.update.exists():
        return
    if is_prepared(run):
        with run.lock(*Stage):
            _take_place(run)
        log.info("%s: an interrupted update was finished", run.path)


def _take_place(run: RunFolder) -> None:
    """Put what an update has prepared in its place; say where results of training runs went."""
    exchange(run)
    results = run.path / "earlier" / str(run.last_earlier()) / run.results.name
    if results.exists():
        log.warning(
            "the training results are of the images before this update and moved to %s; tenpercent evaluate %s trains "
            "on the images as they are now",
            results.parent,
            quoted(run.path),
        )


def update(
    run: RunFolder,
    source: ImageSource,
    about: SourceRecord,
    needed: Update,
    embedder: Embedder | ByLabels | None,
    seconds: Callable[[], float],
) -> None:
    """Bring an embedded run up to date: everything is prepared beside what is there, and then takes its place.

    Known images keep their vectors, by their content; new ones are embedded by the network of the run. The part files
    are those of a run of the source as it is now, where the network is not trained on the images.

    Args:
        run: the run folder.
        source: the source as it is now.
        about: its description.
        needed: from `needed_update`.
        embedder: that of the run, needed where it is a module or a function, which no folder can store.
        seconds: the time since the source was compared.

    Raises:
        RunFolderError: images of a class that the network was not trained on, or other settings than the run's.
    """
    done, change = run.require(Stage.EMBED), needed.change
    check_update(run, source, about)
    log.info("%s: %s", source.spec, change)
    with run.lock(Stage.EMBED):
        row_of = _rows_of(source, needed)
        rows, held_out = _split(source, about.holdout, needed, row_of)
        place = np.full(len(source), -1, np.int64)
        place[list(change.content)] = list(change.content.values())
        fresh = rows[place[rows] < 0]
        prepared = _prepared(run, about)
        made = None
        again = sum(row_of[row] >= 0 and source.ids[row] not in change.replaced for row in fresh.tolist())
        if again:
            log.info(
                "%s rejected before %s tried again", counted(again, "image"), "is" if again == 1 else "are"
            )
        if len(fresh):
            images = replace(source.part(fresh), among=len(rows))
            made = _embedded(run, images, about, embedder)
        facts = _write(run, prepared, source, _Vectors(run, made, place, fresh), rows)
        same = [place for place in held_out.tolist() if source.ids[place] not in change.replaced]
        hashes = {place: code for place in same if (code := needed.known.held_out.get(row_of[place]))}
        write_holdout(prepared, source, held_out, hashes)
        earlier = {} if run.stage(Stage.SELECT) is not None else read_added(run.added)[1]
        write_added(prepared.added, change.new, moved_twice(earlier, change.renamed))
        prepared.record(
            Stage.EMBED,
            {"embedder": done.settings.embedder, "holdout": about.holdout},
            seconds(),
            **_facts(run),
            **facts,
            change=change.counts,
            network_classes=_classes(run, done),
        )
        with run.lock(Stage.CLUSTER, Stage.SELECT, Stage.REPORT):
            _take_place(run)


def check_same_embedder(run: RunFolder, asked: dict[str, Any]) -> None:
    """Raise `UsageError` where an embedder, as JSON, is not the one that a run was made by."""
    stored = run.require(Stage.EMBED).settings.made_by
    unlike = differences(*({k: v for k, v in one.items() if k != "weights"} for one in (stored, asked)))
    if unlike:
        raise UsageError(
            f"{run.path} was embedded with other settings: {'; '.join(unlike)}; leave out the embedder to use that of "
            "the run, or choose another --out"
        )


def check_update(run: RunFolder, source: ImageSource, about: SourceRecord) -> None:
    """Check that a run can be brought up to date with a source.

    Raises:
        RunFolderError, UsageError: see `update`.
    """
    done = run.require(Stage.EMBED)
    if differ := replace(run.source, fingerprint=about.fingerprint).differences(about):
        raise RunFolderError(
            f"{run.path} was made with other settings: {differ}; choose another --out, or start over with --reread"
        )
    if (done.settings.holdout or 0.0) != about.holdout:
        held = done.settings.holdout
        flag = f"give --holdout {held:g}" if held else "leave out --holdout"
        raise UsageError(f"{run.path} holds out {held or 0:g} of its images, not {about.holdout:g}; {flag}")
    by_labels = done.settings.made_by["embedder"] != "selfsupervised"
    if by_labels and (
        new := sorted(set(source.class_names) - set(_classes(run, done) or source.class_names))
    ):
        raise RunFolderError(
            f"{source.spec} has a class that the network of {run.path} was not trained on ({new[0]!r}); embed it into "
            "another run folder: --out OTHER, with --embedder pretrained or with a new training"
        )


def _classes(run: RunFolder, done: EmbedRecord) -> list[str] | None:
    """Return the classes of a run when its network was trained; None for one that was not trained on its images."""
    if not is_trained(done.settings.made_by):
        return None
    return list(run.source.class_names if done.network_classes is None else done.network_classes)


def _rows_of(source: ImageSource, needed: Update) -> list[int]:
    """Return the row in the run of each image of the source as it is now, by content and id; −1 for new ones."""
    row_of = {name: row for row, name in needed.known.ids.items()}
    row_of |= {new: row_of[old] for old, new in needed.change.renamed.items()}
    return [row_of.get(name, -1) for name in source.ids]


def _split(source: ImageSource, fraction: float, needed: Update, rows: list[int]) -> tuple[Ints, Ints]:
    """Return the rows to use and those held out; known images stay where they are, under whatever id (`_rows_of`)."""
    known = needed.known
    held = [place for place, row in enumerate(rows) if row >= 0 and known.is_held_out(row)]
    used = {place for place, row in enumerate(rows) if row in known.hashes} | needed.change.content.keys()
    return split_again(source, fraction, *(np.array(sorted(one), np.int64) for one in (used, held)))


def _prepared(run: RunFolder, about: SourceRecord) -> RunFolder:
    """Return the folder of an update, empty or as an interrupted one of the same source left it."""
    begun = RunFolder(run.update)
    if not begun.json_path.exists() or begun.source.as_json() != about.as_json():
        remove_tree(run.update)
    return RunFolder.create(run.update, about)


def _embedded(
    run: RunFolder, images: ImageSource, about: SourceRecord, embedder: Embedder | ByLabels | None
) -> RunFolder:
    """Embed new images, or resume that where an interrupted update has embedded some of the same content."""
    begun, options = RunFolder(run.update / "new"), SourceOptions.from_json(about.options)
    if begun.json_path.exists():
        known = RecordedImages.of(begun)
        changed = known is not None and compare(known, images, closely=True)
        if begun.source.fingerprint != images.fingerprint or changed:
            remove_tree(begun.path)
    try:
        return embed_by_run(run, images, options, begun.path, embedder)
    except OtherOriginError:
        remove_tree(begun.path)  # what was there is of other content, or of another network
    return embed_by_run(run, images, options, begun.path, embedder)


class _Vectors:
    """Vectors of known and of new images, by row of the source as it is now."""

    def __init__(self, run: RunFolder, made: RunFolder | None, place: Ints, fresh: Ints) -> None:
        """Read the vectors of a run, and those that were made of new images.

        Args:
            run: the run.
            made: a run folder of the new images; None where there are none.
            place: int64[n], the row in the run of each known image, −1 for others.
            fresh: int64[k], the rows of the new images.
        """
        sets = [_StoredVectors(run.embeddings)]
        at = {row: (0, sets[0].place[old]) for row, old in enumerate(place.tolist()) if old >= 0}
        self.rejected: dict[int, str] = {}
        if made is not None:
            if part_files(made.embeddings):  # else none of them could be read
                sets.append(_StoredVectors(made.embeddings))
                at |= {int(fresh[own]): (1, place) for own, place in sets[1].place.items()}
            table = read_rejected(made)
            for one in [] if table is None else table.to_pylist():
                self.rejected[int(fresh[one["row"]])] = one["reason"]
        self._sets, self._at = sets, at
        self.widths = {layer: found.shape[1] for layer, found in sets[0].layers.items()}

    def part(self, source: ImageSource, rows: Ints) -> Part:
        """Return a part of those of some rows that have a vector."""
        rows = np.array([row for row in rows.tolist() if row in self._at], np.int64)
        found = [(self._sets[which], place) for which, place in (self._at[row] for row in rows.tolist())]
        sizes = [one.sizes[place] for one, place in found if one.sizes is not None]
        return Part(
            ids=[source.ids[row] for row in rows],
            rows=rows,
            paths=[source.paths[row] for row in rows],
            labels=np.full(len(rows), -1, np.int64) if source.labels is None else source.labels[rows],
            hashes=[one.hashes[place] for one, place in found],
            layers={
                layer: np.array([one.layers[layer][place] for one, place in found], np.float32).reshape(
                    -1, width
                )
                for layer, width in self.widths.items()
            },
            sizes=np.array(sizes, np.int64).reshape(-1, 3) if len(sizes) == len(rows) else None,
        )


class _StoredVectors:
    """Vectors of a run folder with hashes and sizes; `place` is the position of each row of its source."""

    def __init__(self, folder: Path) -> None:
        parts = part_files(folder)
        self.layers: dict[str, npt.NDArray[np.float32]] = {}
        for layer in stored_layers(parts[0]):
            table, _ = read_parts(parts, layer)
            flat = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in table[layer].chunks]
            width = table.schema.field(layer).type.list_size
            self.layers[layer] = np.concatenate(flat).reshape(-1, width)
        self.place = {row: place for place, row in enumerate(table["row"].to_pylist())}
        self.hashes: list[str] = table["hash"].to_pylist()
        self.sizes = sizes_of(table)


def _write(
    run: RunFolder, prepared: RunFolder, source: ImageSource, vectors: _Vectors, rows: Ints
) -> dict[str, Any]:
    """Write the part files, their origin and the rejected images; return a summary for `run.json`."""
    stored = stored_origin(run)
    origin = Origin.of(source, rows, stored["embedder"])
    cuts = [rows[cut] for cut in in_batches(len(rows), PART)]
    if stored["images"]:
        hashes = [code for cut in cuts for code in vectors.part(source, cut).hashes]
        origin = replace(origin, images=fingerprint(hashes))
    origin.write(prepared, stored_choice(run))
    about = origin.about(source)
    count = 0
    for number, cut in enumerate(cuts):
        part = vectors.part(source, cut)
        gone = list(_rejected(source, cut, vectors.rejected))
        own = {**about, REJECTED: list(map(astuple, gone))} if gone else about
        write_part(prepared.embeddings, number, part, own)
        count += len(part.ids)
    rejected = list(_rejected(source, rows, vectors.rejected))
    write_rejected(prepared.rejected, rejected)
    return {"n": count, "rejected": len(rejected), "layers": vectors.widths}


def _rejected(source: ImageSource, rows: Ints, reasons: dict[int, str]) -> Iterator[Rejected]:
    for row in rows.tolist():
        if row in reasons:
            yield Rejected(source.ids[row], row, reasons[row])


def _facts(run: RunFolder) -> dict[str, Any]:
    """Return what `run.json` says of the network and its images, beside what an update writes again."""
    own = {*StageRecord.__dataclass_fields__, "n", "rejected", "layers", "change", "network_classes"}
    return {key: value for key, value in run.read()["stages"][Stage.EMBED].items() if key not in own}
