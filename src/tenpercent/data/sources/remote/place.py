"""Paths of objects in a store, with the part of the interface of `Path` that readers of sources use."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .ahead import Blocks, ReadAhead
from .store import Entry, Store


@dataclass(frozen=True, order=True)
class RemotePath:
    """An object of a store, or the folder of some.

    Attributes:
        inside: its path in the store's place; "" for this place.
        store: the place.
        blocks: parts of its objects.
    """

    inside: str
    store: Store = field(compare=False, repr=False)
    blocks: Blocks = field(compare=False, repr=False)

    @classmethod
    def at(cls, store: Store) -> RemotePath:
        """Return the path of a place itself."""
        return cls("", store, Blocks(store))

    def __str__(self) -> str:
        return self.store.named(self.inside)

    def __truediv__(self, name: str | PurePosixPath) -> RemotePath:
        path = PurePosixPath(self.inside, name)
        return RemotePath("" if path == PurePosixPath() else str(path), self.store, self.blocks)

    @property
    def name(self) -> str:
        return str(self).rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.inside.rpartition("/")[0], self.store, self.blocks)

    def is_file(self) -> bool:
        return self.inside in self.store.entries

    def is_dir(self) -> bool:
        return not self.is_file() and (not self.inside or any(True for _ in self.below()))

    def below(self) -> Iterator[str]:
        """Yield the paths of the objects in a folder, within it."""
        begin = f"{self.inside}/" if self.inside else ""
        return (name.removeprefix(begin) for name in self.store.entries if name.startswith(begin))

    def entries(self, names: Sequence[str]) -> list[Entry | None]:
        """Return what the store said of objects below, by plain paths; None of those that are not there."""
        begin = f"{self.inside}/" if self.inside else ""  # no path is made of each: there may be millions
        return [self.store.entries.get(f"{begin}{name}") for name in names]

    def stat(self) -> Entry:
        """Return what the store said of an object when it was listed."""
        return self.store.entries[self.inside]

    def read_bytes(self) -> bytes:
        """Return an object: see `Store.get`."""
        return self.store.get(self.inside)

    def open(self, mode: str = "r", **text: Any) -> Any:
        """Open an object: as text it is read whole, as bytes where it is wanted."""
        if "b" not in mode:
            return io.TextIOWrapper(io.BytesIO(self.read_bytes()), **text)
        return RemoteFile(self)

    def ahead(self, names: Sequence[str]) -> Callable[[int], bytes]:
        """Return the function that reads one of some objects, and fetches those after it before they are wanted."""
        begin = f"{self.inside}/" if self.inside else ""
        inside = [f"{begin}{name}" for name in names]
        sizes = [self.store.entries[name].st_size or 0 for name in inside]
        return ReadAhead(lambda at: self.store.get(inside[at]), sizes)

    def stamps(self, names: Sequence[str]) -> tuple[str, ...]:
        """Return the stamp of each of some objects."""
        return tuple((self / name).stat().stamp for name in names)


Place = Path | RemotePath


def inside(path: Place, folder: Place) -> str:
    """Return the path of a file in a folder, with `/` between names."""
    if isinstance(path, RemotePath):
        return str(path).removeprefix(f"{folder}/")
    return path.relative_to(str(folder)).as_posix()


class RemoteFile(io.RawIOBase):
    """An object as a file; what is read in order is fetched ahead."""

    def __init__(self, path: RemotePath) -> None:
        self._path, self._at, self._size = path, 0, path.stat().st_size or 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(self._size - self._at, 0)
        size = left if size is None or size < 0 else min(size, left)
        found = self._path.blocks.read(self._path.inside, self._at, size)
        self._at += size
        return found

    def readinto(self, buffer: Any) -> int:
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)


def opened(path: Place) -> Any:
    """Return what libraries read a file from: its path where it is local, else a file object."""
    return path if isinstance(path, Path) else RemoteFile(path)
