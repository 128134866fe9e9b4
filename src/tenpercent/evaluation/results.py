"""Results of an experiment: a file per training run, and one table of all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from filelock import FileLock

from ..data.store.environment import machine, versions
from ..data.store.files import remove_temporaries, write_table
from ..data.store.results import FAILED, FORMAT, SCHEMA, read_training, read_trainings
from ..data.store.run_folder import RunFolder
from ..data.store.tables import has_checksums
from .trials import Trial


class Results:
    """The completed training runs of one run folder.

    Every training run writes ``trainings/NAME.parquet``, whole or not at all, so that several processes can share a
    folder; ``results.parquet`` is made from all of them.
    """

    def __init__(self, run: RunFolder, about: str) -> None:
        """Read the stored results.

        Args:
            run: the run folder.
            about: the fingerprint of the images; results of others are an error.
        """
        self.run, self.about = run, about
        self.folder = run.path / "trainings"
        self._parts: dict[Path, tuple[tuple[int, int, int], pa.Table]] = {}

    def path(self, trial: Trial, protocol: str) -> Path:
        """Return the file of a trial under a protocol, given by its fingerprint."""
        return self.folder / f"{trial.name}-{protocol}.parquet"

    def done(self, trial: Trial, protocol: str) -> bool:
        """Return whether a training run is stored, done or failed."""
        return self.path(trial, protocol).exists()

    def failure(self, trial: Trial, protocol: str) -> str | None:
        """Return why a stored training run failed, or None where it did not."""
        row = read_training(self.path(trial, protocol), self.about)
        return str(row["reason"]) if row["status"] == FAILED else None

    def add(self, trial: Trial, protocol: str, row: dict[str, Any]) -> None:
        """Write one training run, and rewrite the table of all: see `add_all`."""
        self.add_all([(trial, row)], protocol)

    def add_all(self, trained: Sequence[tuple[Trial, dict[str, Any]]], protocol: str) -> None:
        """Write training runs, and rewrite the table of all.

        Args:
            trained: trials, each with the other columns of `SCHEMA`; those left out are null.
            protocol: the fingerprint of their settings.
        """
        for trial, row in trained:
            self._write(trial, protocol, row)
        self.rebuild()

    def _write(self, trial: Trial, protocol: str, row: dict[str, Any]) -> None:
        whole = {
            **dict.fromkeys(SCHEMA.names),
            **{name: getattr(trial, name) for name in ("arm", "fraction", "trial", "embedding", "layer")},
            "protocol": protocol,
            "versions": json.dumps(versions()),
            "machine": json.dumps(machine()),
            **row,
        }
        table = pa.Table.from_pylist([whole], SCHEMA)
        write_table(
            self.path(trial, protocol), table, {"format": FORMAT, "images": self.about}, checksums=True
        )

    def read(self) -> pa.Table:
        """Return all training runs from their files, a row each; nothing is written.

        Raises:
            StageError: a file is damaged, of a newer format, or of other images.
        """
        parts = [self._part(path) for path in sorted(self.folder.glob("*.parquet"))]
        keys = ("protocol", "arm", "layer", "embedding", "fraction", "trial")
        if not parts:
            return SCHEMA.empty_table()
        table = pa.concat_tables(parts, promote_options="default")  # earlier versions wrote fewer columns
        ordered = [name for name in SCHEMA.names if name in table.column_names]
        return table.select(ordered).sort_by([(key, "ascending") for key in keys])

    def _part(self, path: Path) -> pa.Table:
        """Return the rows of a file, read again only where it has changed: each training run added asks for all."""
        found = path.stat()
        state = found.st_ino, found.st_mtime_ns, found.st_size
        if path not in self._parts or self._parts[path][0] != state:
            self._parts[path] = state, read_trainings(path, self.about)
        return self._parts[path][1]

    def rebuild(self) -> pa.Table:
        """Make ``results.parquet`` from the files of all training runs; return the table.

        Raises:
            StageError: a file is damaged, of a newer format, or of other images.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "results.lock"):
            remove_temporaries(self.run.results)
            table = self.read()
            # Those of version 0.1 have none.
            vouched = any(has_checksums(path) for path in self.folder.glob("*.parquet"))
            write_table(self.run.results, table, {"format": FORMAT, "images": self.about}, checksums=vouched)
        return table


def packed(rows: npt.NDArray[np.int64], n: int) -> bytes:
    """Return rows of a source of n images as bits, which `unpacked` reverses."""
    mask = np.zeros(n, dtype=np.bool_)
    mask[rows] = True
    return np.packbits(mask).tobytes()


def unpacked(bits: bytes, n: int) -> npt.NDArray[np.int64]:
    """Return the rows, int64[k] ascending, that `packed` packed."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=n))
