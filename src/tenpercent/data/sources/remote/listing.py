"""Finding the objects that an address names: one, several by braces, or those of a folder."""

from __future__ import annotations

from collections.abc import Iterator

from ....errors import SourceError
from ..listing import LEFT_BEHIND, Listing
from ..options import SourceOptions
from ..patterns import before_braces, expanded
from .ahead import every
from .place import RemotePath
from .store import WEB, Entry, Store, scheme_of

HTML = "text/html"  # the type of what a web server answers with for a folder


def find_remote(spec: str) -> tuple[RemotePath, list[RemotePath]]:
    """Return the place that an address names, and the objects that it names one by one: none for a folder.

    Raises:
        SourceError: nothing is there, or it can't be read.
    """
    web = scheme_of(spec) in WEB
    address, mark, query = spec.partition("?") if web else (spec, "", "")
    addresses = expanded(address)
    try:
        if len(addresses) == 1 and (store := _folder_at(spec, web)) is not None:
            store.entries.update(_pages(store) if web else _found(store))
            return RemotePath.at(store), []
        folder = before_braces(address)[0] if len(addresses) > 1 else address.rpartition("/")[0]
        store = Store.at(f"{folder}{mark}{query}")
        names = [one.removeprefix(f"{folder}/") for one in addresses]
        store.entries.update(zip(names, every(lambda name: Entry.of(store.info(name)), names), strict=True))
    except FileNotFoundError as gone:
        raise SourceError(
            f"{gone.filename} is not there; check the address, and the name of its bucket or host"
        ) from None
    place = RemotePath.at(store)
    for name in names:
        if store.entries[name].st_size is None:
            raise SourceError(
                f"{place / name}: its server does not tell its size; fetch it and name the file"
            )
    return place, [place / name for name in names]


def list_remote(folder: RemotePath, options: SourceOptions) -> Listing:
    """Return the objects of a folder as a listing; names that begin with a dot are skipped, as in folders on disk."""
    listing = Listing(folder, rules=options.rules)
    for name in sorted(folder.store.entries):
        parts = name.split("/")
        if any(part.startswith(".") or part.lower() in LEFT_BEHIND for part in parts):
            listing.skipped["hidden files"] += 1
        else:
            listing.add(name)
    return listing


def _folder_at(spec: str, web: bool) -> Store | None:
    """Return the folder at an address; None where an object is."""
    store = Store.at(spec)
    if not web:
        return store if store.info("")["type"] == "directory" else None
    if store.query:
        return None
    is_folder = spec.endswith("/") or store.info("").get("mimetype") == HTML
    return store if is_folder else None


def _found(store: Store) -> Iterator[tuple[str, Entry]]:
    """Yield the objects of a folder by their path in it."""
    for path, info in store.call(store.fs.find, "", detail=True).items():
        name = path.removeprefix(store.root).lstrip("/")
        if name and not name.endswith("/"):  # as consoles of stores mark a folder
            yield name, Entry.of(info)


def _pages(store: Store) -> Iterator[tuple[str, Entry]]:
    """Yield the files that the pages of a folder on the web link to; the size of each is asked for."""
    names, folders, seen = [], [""], {""}
    while folders:
        folder = folders.pop()
        links = store.call(lambda path, **how: store.fs.ls(f"{path}/", **how), folder, detail=False)
        for link in sorted(links):
            name = link.removeprefix(f"{store.root}/")
            if name in seen or "?" in name or ":" in name or ".." in name.split("/"):
                continue
            seen.add(name)
            if name.endswith("/"):
                folders.append(name.rstrip("/"))
            else:
                names.append(name)
    yield from zip(names, every(lambda name: Entry.of(store.info(name)), names), strict=True)
