"""Zip and tar files, read in place: their members, and the bytes of one."""

from __future__ import annotations

import lzma
import posixpath
import tarfile
import zipfile
import zlib
from typing import Protocol

from ...errors import SourceError, counted, one_line
from .remote.place import Place, RemotePath
from .source import Unreadable
from .tar_lists import Member, read_members, write_members

ZIP = ".zip"
BESIDE = (".cls", ".json")  # labels beside images, kept with the list of a remote tar file
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

    path: Place
    names: list[str]
    remark: str

    def read(self, name: str) -> bytes:
        """Return a file in it.

        Raises:
            Unreadable: the archive is damaged or ends there, or it is encrypted.
            OSError: the archive can't be read.
        """
        ...


def open_archive(path: Place) -> ArchiveFile:
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
    def __init__(self, path: Place) -> None:
        self.path, self.remark = path, ""
        self._zip = zipfile.ZipFile(path.open("rb"))  # its reads wait for each other
        self._infos = {_plain(info.filename): info for info in self._zip.infolist() if not info.is_dir()}
        self.names = list(self._infos)

    def read(self, name: str) -> bytes:
        try:
            return self._zip.read(self._infos[name])
        except _DAMAGE as error:
            raise Unreadable(f"it can't be read from {self.path.name}: {one_line(error)}") from None


class _Tar:
    def __init__(self, path: Place) -> None:
        self.path = path
        known = read_members(path) if isinstance(path, RemotePath) else None
        if known is None:
            known = _members(path)
            if isinstance(path, RemotePath):
                write_members(path, *known)
        self.remark, self._members = known[1], {one.name: one for one in known[0]}
        self.names = list(self._members)

    def read(self, name: str) -> bytes:
        one = self._members[name]
        if one.content is not None:
            return one.content
        with self.path.open("rb") as file:
            file.seek(one.start)
            found: bytes = file.read(one.size)
        if len(found) < one.size:
            raise Unreadable(
                f"{self.path.name} ends in the middle of it, after {len(found):,} of {one.size:,} bytes"
            )
        return found


def _members(path: Place) -> tuple[list[Member], str]:
    """Return the files in a tar file, of a remote one with the labels among them, and what is wrong with it."""
    found: list[Member] = []
    links: dict[str, str] = {}  # of hard and symbolic ones, the path that they lead to
    remote, remark, size = isinstance(path, RemotePath), "", path.stat().st_size or 0
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        try:
            for info in tar:
                if info.isreg():
                    whole = remote and info.name.endswith(BESIDE) and info.offset_data + info.size <= size
                    held = tar.extractfile(info) if whole else None
                    content = None if held is None else held.read()
                    found.append(Member(_plain(info.name), info.offset_data, info.size, content))
                elif info.islnk() or info.issym():
                    begin = posixpath.dirname(info.name) if info.issym() else ""
                    target = posixpath.normpath(posixpath.join(begin, info.linkname))
                    links[_plain(info.name)] = _plain(target)
        except tarfile.ReadError:
            remark = f"{path.name} ends in the middle of {found[-1].name if found else 'its first file'}"
        else:
            if tar.offset >= size:  # a whole one ends in empty blocks
                remark = f"{path.name} has no end mark, and may lack files after {found[-1].name if found else 'none'}"
    known = {one.name: one for one in found}
    inside = [known[target]._replace(name=name) for name, target in links.items() if target in known]
    if lost := len(links) - len(inside):
        said = f"{counted(lost, 'link')} of {path.name} left out: not to a file in it"
        remark = f"{remark}; {said}" if remark else said
    return found + inside, remark


def _plain(name: str) -> str:
    """Return the path of a member without ``./`` at its begin."""
    return name.removeprefix("./").lstrip("/")
