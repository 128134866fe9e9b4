"""Objects of a store, read through fsspec: calls are repeated with growing pauses, and each failure is one line."""

from __future__ import annotations

import errno
import logging
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ....errors import SourceError, counted, duration_text, one_line, require, without_secrets

_AZURE = (
    "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, _SAS_TOKEN or "
    "az login; AZURE_STORAGE_ANON=true reads a public container"
)
PACKAGES = {  # by scheme: the package that reads it, beside fsspec, and where its credentials come from
    "s3": (
        "s3fs",
        "the environment, ~/.aws or the machine's role; FSSPEC_S3_ANON=true reads a public bucket",
    ),
    "gs": ("gcsfs", "gcloud auth application-default login; FSSPEC_GS_TOKEN=anon reads a public bucket"),
    "az": ("adlfs", _AZURE),
    "abfs": ("adlfs", _AZURE),
    "https": ("aiohttp", "the address itself or ~/.netrc"),
    "http": ("aiohttp", "the address itself or ~/.netrc"),
    "memory": ("fsspec", "nowhere"),
}
WEB = ("http", "https")
TRIES, FIRST_PAUSE = 6, 0.25  # the pauses between add up to 8 s
LIBRARY_TRIES = 3  # of s3fs, gcsfs and adlfs, which try several times themselves
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_RAISED_BY = ("aiohttp", "aiobotocore", "botocore", "gcsfs", "google", "adlfs", "azure", "fsspec", "asyncio")
# By address without secrets: as it was given to this process, for opening it again.
_given: dict[str, str] = {}


def is_remote(spec: object) -> bool:
    """Return whether the name of a source is an address, such as ``s3://bucket/photos``."""
    return isinstance(spec, str) and _SCHEME.match(spec) is not None


@dataclass(frozen=True)
class Entry:
    """What a store says of an object.

    Attributes:
        st_size: bytes; None where it does not say.
        stamp: changes when the content does: size with ETag, or with time; "" where neither is known.
    """

    st_size: int | None
    stamp: str

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Entry:
        """Return what is known by fsspec's description of an object, whose names differ by the store."""
        size = info.get("size")
        names = ("etag", "last-modified", "lastmodified", "last_modified", "mtime", "modified", "created")
        known = {key.lower(): value for key, value in info.items()}
        mark = next((known[name] for name in names if known.get(name)), "")
        return cls(size, f"{size} {mark}" if mark else "")


@dataclass(frozen=True, eq=False)
class Store:
    """A place in a store.

    Attributes:
        fs: the filesystem of fsspec.
        root: its path there, with whatever gives access.
        url: its address without secrets, for people and for run.json.
        query: what follows each object's address, for web addresses only.
        entries: the objects in it, by their path from the root.
    """

    fs: Any
    root: str
    url: str
    query: str = ""
    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def at(cls, address: str) -> Store:
        """Open the place at an address; nothing is read.

        Raises:
            SourceError: the scheme is not known, or the address can't be used.
            MissingExtraError: its package is not installed.
        """
        known = without_secrets(address)
        if not known.partition("://")[2].strip("/") and scheme_of(address) != "memory":
            raise SourceError(f"{known} names no bucket or host; give {scheme_of(address)}://NAME/FOLDER")
        if known == address:
            address = _given.get(known, address)
        else:
            _given[known] = address
        fs = filesystem(address)
        path, mark, query = address.partition("?") if scheme_of(address) in WEB else (address, "", "")
        return cls(fs, fs._strip_protocol(path).rstrip("/"), known.rstrip("/"), mark + query)

    def named(self, name: str) -> str:
        """Return the address of an object without secrets."""
        return f"{self.url}/{name}" if name else self.url

    def path(self, name: str) -> str:
        """Return the path of an object for fsspec."""
        return f"{self.root}/{name}{self.query}" if name else f"{self.root}{self.query}"

    def info(self, name: str) -> dict[str, Any]:
        """Return what the store says of an object or folder."""
        return dict(self.call(self.fs.info, name))

    def get(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return an object, or a part of it.

        Raises:
            FileNotFoundError: it is not there.
            SourceError: it can't be read now.
        """
        found: bytes = self.call(self.fs.cat_file, name, start=start, end=end)
        if start is not None and end is not None and len(found) != end - start:
            raise SourceError(
                f"{self.named(name)} gave {counted(len(found), 'byte')} where {end - start:,} were asked for: it has "
                "changed, or its server gives no parts of files (HTTP ranges); run again, or fetch it and name the file"
            )
        return found

    def call(self, function: Callable[..., Any], name: str, **options: Any) -> Any:
        """Return ``function(path of name)``, called again while the store is busy, broken or out of reach.

        Raises:
            FileNotFoundError: there is no such object.
            SourceError: no permission, or no answer after all tries.
        """
        began, pause = time.monotonic(), FIRST_PAUSE
        tries = TRIES if PACKAGES[scheme_of(self.url)][0] in ("aiohttp", "fsspec") else LIBRARY_TRIES
        for left in reversed(range(tries)):
            try:
                found = function(self.path(name), **options)
            except Exception as error:
                if not _is_of_store(error):
                    raise
                failed, again = self._failure(error, name), left and _may_pass(error)
            else:
                return found
            if not again:
                break
            time.sleep(pause * random.uniform(0.75, 1.25))
            pause *= 2
        if isinstance(failed, SourceError) and left < tries - 1:
            times, waited = counted(tries - left, "attempt"), duration_text(time.monotonic() - began)
            raise SourceError(f"{failed} ({times} in {waited})")
        raise failed

    def _failure(self, error: Exception, name: str) -> Exception:
        """Return the error for what a library raised: a line without secrets."""
        error = _cause(error)
        reason, status = without_secrets(one_line(error, 300)).rstrip(". "), _status(error)
        where = self.named(name)
        if isinstance(error, FileNotFoundError) or status == 404:
            return FileNotFoundError(errno.ENOENT, "the object is not there any more", where)
        if isinstance(error, PermissionError) or status in (401, 403) or _is_of_credentials(error):
            package, whence = PACKAGES[scheme_of(self.url)]
            reason = reason.partition(". ")[0]
            return SourceError(
                f"{where}: no permission to read it ({reason}); {package} takes credentials from {whence}; the same "
                "command resumes"
            )
        return SourceError(f"{where} can't be read ({reason}); the same command resumes once it can")


def filesystem(address: str) -> Any:
    """Return fsspec's filesystem for an address.

    Raises:
        SourceError: its scheme is not known, or it needs credentials to begin with.
        MissingExtraError: its package is not installed.
    """
    scheme = scheme_of(address)
    if scheme not in PACKAGES:
        known = ", ".join(f"{name}://" for name in PACKAGES)
        raise SourceError(f"{address} begins with {scheme}://, which is not read (known: {known})")
    fsspec: Any = require("fsspec", "remote")
    package = PACKAGES[scheme][0]
    require(package, "remote" if package == "aiohttp" else "")
    for name in (
        package,
        "azure",
        "google",
    ):  # these log warnings and tracebacks of each call; what fails is said here
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        fs = fsspec.filesystem(scheme)
    except Exception as error:
        if not _is_of_store(error):
            raise
        raise SourceError(
            f"{address} can't be opened ({one_line(error, 300).rstrip('. ')}); {package} takes credentials from "
            f"{PACKAGES[scheme][1]}"
        ) from None
    fs.invalidate_cache()
    return fs


def scheme_of(address: str) -> str:
    """Return the scheme of an address, in lower case."""
    return address.partition(":")[0].lower()


def _is_of_store(error: Exception) -> bool:
    """Return whether an error is one of the store or the way to it, not of a program."""
    plain = OSError | EOFError | ValueError | RuntimeError  # the last two of gcsfs, for a bad request
    return isinstance(error, plain) or type(error).__module__.partition(".")[0] in _RAISED_BY


def _cause(error: Exception) -> Exception:
    """Return the error behind one: for fsspec's HTTP whatever is not reached is not found."""
    cause = error.__cause__
    behind = isinstance(error, FileNotFoundError) and isinstance(cause, Exception) and _is_of_store(cause)
    return cause if behind and isinstance(cause, Exception) else error


def _may_pass(error: Exception) -> bool:
    """Return whether an error may be gone when the call is repeated."""
    error = _cause(error)
    status = _status(error)
    if status is not None:
        return status in (408, 425, 429) or status >= 500
    lasting = FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | ValueError
    words = ("Validation", "InvalidURL", "Certificate")
    named = any(word in type(error).__name__ for word in words)
    return not (isinstance(error, lasting) or named or _is_of_credentials(error))


def _is_of_credentials(error: Exception) -> bool:
    """Return whether a library has found no credentials that it can use."""
    return any(word in type(error).__name__ for word in ("redential", "Authentication"))


def _status(error: BaseException) -> int | None:
    """Return the status of HTTP that an error tells, as the libraries of the stores do in their own ways."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore
        status: int | None = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        return status
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()):
            return int(value)
    if str(error).startswith("Forbidden"):  # gcsfs
        return 403
    return None if error.__cause__ is None else _status(error.__cause__)
