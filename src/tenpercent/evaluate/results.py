"""The results of an experiment: a file a training, and one table of all of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from ..errors import StageError
from ..store.files import read_metadata, remove_temporaries, write_table
from ..store.run import RunFolder, machine, versions
from .trials import Trial

FORMAT = 1
DONE, FAILED = "done", "failed"

CURVE = pa.struct(
    [
        ("step", pa.int64()),
        ("epoch", pa.float64()),
        ("loss", pa.float64()),
        ("test_accuracy", pa.float64()),
        ("test_loss", pa.float64()),
        ("seconds", pa.float64()),
    ]
)
SCHEMA = pa.schema(
    [
        ("arm", pa.string()),
        ("fraction", pa.float64()),
        ("trial", pa.int64()),
        ("embedding", pa.int64()),
        ("layer", pa.string()),
        ("seed", pa.int64()),
        ("n", pa.int64()),
        ("accuracy", pa.float64()),
        ("top5", pa.float64()),
        ("best_accuracy", pa.float64()),
        ("loss", pa.float64()),
        ("test_loss", pa.float64()),
        ("class_accuracy", pa.list_(pa.float64())),
        ("removed_accuracy", pa.float64()),
        ("curve", pa.list_(CURVE)),
        ("steps", pa.int64()),
        ("epochs", pa.float64()),
        ("seconds", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("protocol", pa.string()),
        ("kept", pa.binary()),  # packed bits, one a row of the source
        ("versions", pa.string()),
        ("machine", pa.string()),
    ]
)


class Results:
    """The trainings of one run folder that are done.

    Every training writes ``trainings/NAME.parquet``, whole or not at all, so that several processes can share a folder;
    ``results.parquet`` is made from all of them.
    """

    def __init__(self, run: RunFolder, about: str) -> None:
        """Look at what is there.

        Args:
            run: the run folder.
            about: the fingerprint of the images; results of others are refused.
        """
        self.run, self.about = run, about
        self.folder = run.path / "trainings"

    def path(self, trial: Trial, protocol: str) -> Path:
        """Return the file of a training under a protocol, given by its fingerprint."""
        return self.folder / f"{trial.name}-{protocol}.parquet"

    def done(self, trial: Trial, protocol: str) -> bool:
        """Whether a training is there already, done or failed."""
        return self.path(trial, protocol).exists()

    def failure(self, trial: Trial, protocol: str) -> str | None:
        """Return why a training that is there failed, or None where it did not."""
        row = pq.read_table(self.path(trial, protocol), columns=["status", "reason"]).to_pylist()[0]
        return str(row["reason"]) if row["status"] == FAILED else None

    def add(self, trial: Trial, protocol: str, row: dict[str, Any]) -> None:
        """Write one training, and the table of all anew.

        Args:
            trial: what was trained.
            protocol: the fingerprint of how.
            row: the other columns of `SCHEMA`; those left out are null.
        """
        whole = {
            **dict.fromkeys(SCHEMA.names),
            **{name: getattr(trial, name) for name in ("arm", "fraction", "trial", "embedding", "layer")},
            "protocol": protocol,
            "versions": json.dumps(versions()),
            "machine": json.dumps(machine()),
            **row,
        }
        table = pa.Table.from_pylist([whole], SCHEMA)
        write_table(self.path(trial, protocol), table, {"format": FORMAT, "images": self.about})
        self.rebuild()

    def rebuild(self) -> pa.Table:
        """Make ``results.parquet`` from the files of all trainings, and return it.

        Raises:
            StageError: a file is damaged, of a newer format, or of other images.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "results.lock"):
            remove_temporaries(self.run.results)
            parts = [self._read(path) for path in sorted(self.folder.glob("*.parquet"))]
            table = pa.concat_tables(parts) if parts else SCHEMA.empty_table()
            keys = ("protocol", "arm", "layer", "embedding", "fraction", "trial")
            table = table.sort_by([(key, "ascending") for key in keys])
            write_table(self.run.results, table, {"format": FORMAT, "images": self.about})
        return table

    def _read(self, path: Path) -> pa.Table:
        check_format(path, self.about)
        return pq.read_table(path).replace_schema_metadata(None)


def check_format(path: Path, about: str | None) -> None:
    """Raise `StageError` where a file of results is damaged, of a newer format, or of other images than `about`."""
    found = read_metadata(path)
    if found.get("format", FORMAT + 1) > FORMAT:
        raise StageError(
            f"{path} has format {found.get('format')}, this version reads up to {FORMAT}; update tenpercent"
        )
    if about is not None and found.get("images") != about:
        raise StageError(
            f"{path} is of other images ({found.get('images')}) than this run ({about}); move it out of {path.parent}"
        )


def packed(rows: npt.NDArray[np.int64], n: int) -> bytes:
    """Return rows of a source of n images as bits: what `unpacked` takes back."""
    mask = np.zeros(n, dtype=np.bool_)
    mask[rows] = True
    return np.packbits(mask).tobytes()


def unpacked(bits: bytes, n: int) -> npt.NDArray[np.int64]:
    """Return the rows, int64[k] ascending, that `packed` packed."""
    return np.flatnonzero(np.unpackbits(np.frombuffer(bits, dtype=np.uint8), count=n))
