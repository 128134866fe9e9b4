"""The place where the pieces of a clustering are done as tasks: one call for all shards, groups or shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.store.embeddings import Ints
from ..data.store.files import replacing
from ..linkage.equal_rows import EqualRows
from ..linkage.pieces.arrays import load, save
from ..linkage.pieces.plan import Pieces
from ..linkage.pieces.rows import collapse_found, equal_rows, hash_rows
from ..progress import bar
from ..tasks.task import Runner, Task


@dataclass(frozen=True, eq=False)
class TaskPlace:
    """Place where tasks are done, and the folder for their files.

    Attributes:
        vectors: a .npy file of all rows.
        folder, pieces, runner: see `first_merges_by_tasks`.
        n: number of rows.
    """

    vectors: Path
    folder: Path
    pieces: Pieces
    runner: Runner
    n: int

    @cached_property
    def rows(self) -> npt.NDArray[Any]:
        """All rows, mapped."""
        rows: npt.NDArray[Any] = np.load(self.vectors, mmap_mode="r")
        return rows

    def do(self, said: str, tasks: Sequence[Task]) -> list[Path]:
        """Do tasks, and return their files."""
        with bar(len(tasks), said.capitalize(), "tasks") as shown:
            for finished in self.runner.run(tasks):
                if finished.error is not None:
                    raise finished.error
                shown.update()
        return [task.output for task in tasks]

    def each(
        self,
        name: str,
        said: str,
        function: Callable[..., None],
        inputs: Sequence[tuple[Path, ...]],
        own: Sequence[dict[str, int]],
        gpu: bool = False,
        **settings: Any,
    ) -> list[Path]:
        """Do a task for each of some inputs, with settings of its own and those of all.

        Args:
            name: of the folder for their files.
            said: what they do, in words.
            function, inputs, own, settings: the function, and what it is called with.
            gpu: whether each is worth a GPU.
        """
        folder, called = self.folder / name, partial(function, **settings)
        tasks = [
            Task(f"{said} {number}", partial(called, **its), paths, folder / f"{number:05d}", gpu=gpu)
            for number, (paths, its) in enumerate(zip(inputs, own, strict=True))
        ]
        return self.do(said, tasks)

    def shards(
        self, name: str, said: str, function: Callable[..., None], *inputs: Path | list[Path], **settings: Any
    ) -> list[Path]:
        """Do a task for each shard; of a list of inputs each takes its own."""
        own = self.pieces.shards(self.n)
        columns = [[each] * len(own) if isinstance(each, Path) else each for each in inputs]
        bounds = [{"start": start, "stop": stop} for start, stop in own]
        return self.each(
            name, f"{said} shard", function, list(zip(*columns, strict=True)), bounds, **settings
        )

    def write(self, name: str, *arrays: npt.ArrayLike) -> Path:
        """Write a file of this process."""
        with replacing(self.folder / name) as temporary:
            save(temporary, *arrays)
        return self.folder / name

    def collapsed(self, cannot_link: Ints | None) -> EqualRows:
        """Merge equal rows: see `collapse_found`."""
        count = len(self.pieces.shards(self.n))
        hashes = self.shards("hashes", "hashing", hash_rows, self.vectors, buckets=count)
        inputs, buckets = [(self.vectors, *hashes)] * count, [{"bucket": bucket} for bucket in range(count)]
        found = self.each("equal", "comparing equal rows", equal_rows, inputs, buckets)
        none = np.empty(0, dtype=np.int64)
        others, heads = (
            np.concatenate(column) for column in zip((none, none), *map(load, found), strict=True)
        )
        return collapse_found(self.n, others, heads, cannot_link)
