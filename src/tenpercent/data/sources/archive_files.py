"""Zip and tar files, read in place: their members, and the bytes of one."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from ...errors import SourceError, one_line
from .source import Unreadable

ZIP = ".zip"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


class ArchiveFile(Protocol):
    """An archive.

    Attributes:
        path: its file.
        names: paths of the files in it, in its order.
        remark: what is wrong with it, in words; "" for nothing.
    """

    path: Path
    names: list[str]
    remark: str

    def read(self, name: str) -> bytes:
        """Return a file in it.

        Raises:
            Unreadable: the archive is damaged or ends there, or it is encrypted.
            OSError: the archive can't be read.
        """
        ...


def open_archive(path: Path) -> ArchiveFile:
    """Open a zip or tar file.

    Raises:
        SourceError: it is neither, or can't be read.
    """
    try:
        return _Zip(path) if path.suffix.lower() == ZIP else _Tar(path)
    except (zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceError(
            f"{path} is no whole {path.suffix[1:]} file ({one_line(error)}); fetch it again, or unpack what can be read"
        ) from None
    except OSError as error:
        raise SourceError(f"{path} can't be read ({error.strerror}); make it readable") from None


class _Zip:
    def __init__(self, path: Path) -> None:
        self.path, self.remark = path, ""
        self._zip = zipfile.ZipFile(path)  # its reads wait for each other
        self._infos = {_plain(info.filename): info for info in self._zip.infolist() if not info.is_dir()}
        self.names = list(self._infos)

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(self._infos[name])
        except _DAMAGE as error:
            raise Unreadable(f"it can't be read from {self.path.name}: {one_line(error)}") from None


class _Tar:
    def __init__(self, path: Path) -> None:
        self.path, self.remark, last = path, "", ""
        self._places: dict[str, tuple[int, int]] = {}
        size = path.stat().st_size
        with tarfile.open(path, "r:") as tar:
            try:
                for info in tar:
                    if info.isreg():
                        last = _plain(info.name)
                        self._places[last] = (info.offset_data, info.size)
            except tarfile.ReadError:
                self.remark = f"{path.name} ends in the middle of {last}"
            else:
                if tar.offset >= size:  # a whole one ends in empty blocks
                    self.remark = f"{path.name} has no end mark, and may lack files after {last}"
        self.names = list(self._places)

    def read(self, name: str) -> bytes:
        start, size = self._places[name]
        with self.path.open("rb") as file:
            file.seek(start)
            found = file.read(size)
        if len(found) < size:
            raise Unreadable(
                f"{self.path.name} ends in the middle of it, after {len(found):,} of {size:,} bytes"
            )
        return found


def _plain(name: str) -> str:
    """Return the path of a member without ``./`` at its begin."""
    return name.removeprefix("./").lstrip("/")
