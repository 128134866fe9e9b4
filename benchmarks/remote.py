"""Rate at which images are read from a store that takes 20 ms for each request, beside the same files on disk.

    python benchmarks/remote.py [IMAGES] [PIXELS]

Makes that many photo-like JPEGs (600, of 1,024 × 768 pixels), as a folder, as shards of WebDataset of 100 and as a
Parquet file, and reads each in order by the threads that embedding uses: the bytes alone, decoded to what the network
needs, and embedded by it. The store is a stub: fsspec's interface over the same files, with a pause before each answer.
Disk and store take turns, five rounds; prints images a second, mean and standard deviation, and the ratio.
"""

from __future__ import annotations

import io
import os
import platform
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.spec import AbstractFileSystem
from PIL import Image

from tenpercent.data.decoding.decode import decode_for
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.source import ImageSource
from tenpercent.embedding.one_by_one import AHEAD, encoded
from tenpercent.embedding.pretrained import PretrainedNetwork
from tenpercent.embedding.reading import in_order
from tenpercent.linkage.threads import cpus

LATENCY, ROUNDS, SHARD = 0.02, 5, 100


class LateStore(AbstractFileSystem):
    """Files of this machine, each answer late."""

    protocol, cachable = "memory", False

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("memory:/")

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        time.sleep(LATENCY)
        found = Path(path).stat()
        kind = "directory" if Path(path).is_dir() else "file"
        return {"name": path, "size": found.st_size, "type": kind, "mtime": found.st_mtime_ns}

    def find(self, path: str, **_: Any) -> dict[str, dict[str, Any]]:
        files = [file for file in sorted(Path(path).rglob("*")) if file.is_file()]
        time.sleep(LATENCY * (1 + len(files) // 1000))
        return {str(file): {"size": file.stat().st_size, "mtime": file.stat().st_mtime_ns} for file in files}

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        time.sleep(LATENCY)
        with Path(path).open("rb") as file:
            file.seek(start or 0)
            return file.read(-1 if end is None else end - (start or 0))


def made(root: Path, count: int, width: int) -> dict[str, Path]:
    """Write the images in each form; return its place."""
    rng = np.random.default_rng(0)
    size = (width, 3 * width // 4)
    photos = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        noise = rng.normal(0, 6, (size[1], size[0], 1))
        out = io.BytesIO()
        Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(
            out, "JPEG", quality=85
        )
        photos.append(out.getvalue())
    places = {"folder": root / "folder", "shards": root / "shards", "Parquet": root / "photos.parquet"}
    places["folder"].mkdir(), places["shards"].mkdir()
    for number, data in enumerate(photos):
        (places["folder"] / f"{number:05d}.jpg").write_bytes(data)
        with tarfile.open(places["shards"] / f"{number // SHARD:03d}.tar", "a") as shard:
            for name, content in ((f"{number:05d}.cls", b"0"), (f"{number:05d}.jpg", data)):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))
    cells = [{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(photos)]
    pq.write_table(pa.table({"image": cells}), places["Parquet"], row_group_size=100, compression="none")
    print(
        f"{count} images of {size[0]} × {size[1]} pixels, {sum(map(len, photos)) / count / 1000:.0f} kB each, seed 0"
    )
    return places


def rate(spec: str, make: Callable[[ImageSource], Callable[[int], object]]) -> float:
    """Return the images a second of reading a source in order, opened before."""
    source = open_source(spec)
    assert isinstance(source, ImageSource)
    rows = np.arange(len(source))
    source = source.reading(rows)
    one, began = make(source), time.perf_counter()
    for _ in in_order(one, rows.tolist(), AHEAD * cpus()):
        pass
    return len(rows) / (time.perf_counter() - began)


def main() -> None:
    """Print the table."""
    count, width = (int(word) for word in [*sys.argv[1:], *("600", "1024")[len(sys.argv) - 1 :]])
    fsspec.register_implementation("memory", LateStore, clobber=True)
    network = PretrainedNetwork()

    def decoded(source: ImageSource) -> Callable[[int], object]:
        return lambda row: decode_for(source.read(row), source.decoding, np.mean, network.least)

    works: dict[str, Callable[[ImageSource], Callable[[int], object]]] = {
        "read": lambda source: lambda row: len(source.read(row)),
        "decoded": decoded,
        "embedded": lambda source: lambda row: encoded(source, row, network),
    }
    cores = len(os.sched_getaffinity(0))
    print(
        f"{cores} CPUs, Python {platform.python_version()}, fsspec {fsspec.__version__}, "
        f"{1000 * LATENCY:.0f} ms a request"
    )
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        for form, place in made(Path(folder), count, width).items():
            for work, make in works.items():
                pairs = [(rate(str(place), make), rate(f"memory:/{place}", make)) for _ in range(ROUNDS)]
                disk, store = np.array(pairs).T
                print(
                    f"{form:8s} {work:9s} disk {disk.mean():8.1f} ± {disk.std():6.1f} /s   store {store.mean():8.1f} ± "
                    f"{store.std():6.1f} /s   ratio {(store / disk).mean():.2f} ± {(store / disk).std():.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
