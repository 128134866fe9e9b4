"""Files of several arrays, which are mapped when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..pairs import RECORD

Array = npt.NDArray[Any]


def save(path: Path, *arrays: npt.ArrayLike) -> None:
    """Write arrays one after the other, each as numpy's .npy format has it."""
    with path.open("wb") as file:
        for array in arrays:
            np.save(file, np.asarray(array))


def write_header(file: IO[bytes], count: int) -> None:
    """Write the beginning of a .npy file of so many pairs."""
    header = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)


def load(path: Path) -> list[Array]:
    """Return the arrays of a file, mapped."""
    arrays: list[Array] = []
    with path.open("rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        while (start := file.tell()) < end:
            np.lib.format.read_magic(file)
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            at = file.tell()
            assert not fortran and start < at
            # An empty part of a file can't be mapped.
            arrays.append(
                np.asarray(np.memmap(path, dtype, "r", at, shape)) if size else np.empty(shape, dtype)
            )
            file.seek(at + size)
    return arrays
