"""Contestants: tenpercent itself, through its public face, its engine alone, and its join alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import groups
import numpy as np
from measure import NotMeasured

Settings = dict[str, Any]
READ = 8 * 2**20  # bytes read at once where a file is only read


def _data(settings: Settings) -> tuple[Any, Any]:
    """Return the vectors, mapped from their file where the settings say so, and the labels or None."""
    vectors = np.load(settings["vectors"], mmap_mode="r" if settings.get("mapped") else None)
    return vectors, np.load(settings["labels"]) if settings.get("labels") else None


def _fingerprint(*arrays: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def selection(settings: Settings) -> Iterator[Any]:
    """From array to selection: what a user calls."""
    import tenpercent as tp
    import tenpercent.tree.merges  # loaded by the first call otherwise

    yield
    vectors, labels = _data(settings)
    parts: dict[str, float] = {}

    def work() -> Any:
        begun = time.perf_counter()
        embeddings = tp.Embeddings.from_numpy(vectors, labels=labels)
        taken = time.perf_counter()
        merges = tp.cluster(embeddings, settings["keep"])
        clustered = time.perf_counter()
        found = tp.select(merges, keep=settings["keep"])
        parts.update(
            from_numpy=taken - begun, cluster=clustered - taken, select=time.perf_counter() - clustered
        )
        return merges, found

    def facts(result: Any) -> dict[str, Any]:
        merges, found = result
        codes = [np.arange(len(vectors))] if labels is None else groups.by_class(found.group, labels)
        return {
            "parts": {name: round(seconds, 4) for name, seconds in parts.items()},
            "kept": int(found.kept_by_id.sum()),
            "groups": int(found.group.max()) + 1,
            "merges": _fingerprint(merges.a, merges.b, merges.height),
            "partitions": [groups.partition(found.group if labels is None else code) for code in codes],
        }

    yield work, facts


def threshold(settings: Settings) -> Iterator[Any]:
    """From array to selection at a height, as others take a threshold."""
    import tenpercent as tp
    import tenpercent.tree.merges

    yield
    vectors, _ = _data(settings)

    def work() -> Any:
        merges = tp.cluster(tp.Embeddings.from_numpy(vectors), threshold=settings["radius"])
        return tp.select(merges, tp.Cut(threshold=settings["radius"]))

    def facts(found: Any) -> dict[str, Any]:
        return groups.missed(vectors, found.group, found.kept_by_id, None, settings)

    yield work, facts


def linkage(settings: Settings) -> Iterator[Any]:
    """The engine alone: the first merges of each class, or of all rows."""
    from tenpercent.linkage.linkage import first_merges
    from tenpercent.linkage.memory import Resources

    yield
    classes = groups.by_class(*_data(settings))
    resources = Resources(threads=settings.get("threads"))

    def work() -> Any:
        return [
            first_merges(rows, merges=len(rows) - round(settings["keep"] * len(rows)), resources=resources)
            for rows in classes
        ]

    def facts(found: Any) -> dict[str, Any]:
        return {
            "cuts": [float(one.complete_to) for one in found],
            "merges": _fingerprint(*(array for one in found for array in (one.a, one.b, one.height))),
        }

    yield work, facts


def join(settings: Settings) -> Iterator[Any]:
    """Every pair within a radius. `plain` compares everything with everything; `product` names another filter."""
    from tenpercent.linkage.cells import one_cell
    from tenpercent.linkage.neighbors import neighbor_graph
    from tenpercent.linkage.points import Points

    multiply = _filter(settings.get("product", "float32"))  # may import torch
    yield
    points = Points.of(np.load(settings["vectors"]))
    cells = one_cell(points) if settings.get("plain") else None

    def work(chosen: Any = multiply) -> Any:
        return neighbor_graph(
            points, settings["radius"], threads=settings.get("threads"), cells=cells, multiply=chosen
        )

    def facts(graph: Any) -> dict[str, Any]:
        found: dict[str, Any] = {
            "pairs": len(graph),
            "bytes": _fingerprint(graph.i, graph.j, graph.d),
        }
        if settings.get("truth"):
            codes = graph.i.astype(np.int64) * len(points) + graph.j
            found["against float64"] = groups.against_truth(codes, settings["truth"])
        if settings.get("plain"):
            found["products"] = len(points) * (len(points) - 1) // 2
        elif settings.get("count"):  # once more, and not timed
            counting = Counting(multiply)
            work(counting)
            found["products"] = counting.products
        return found

    yield work, facts


class Counting:
    """A filter that counts the pairs it multiplies."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.rows, self.columns, self.product = inner.rows, inner.columns, inner.product
        self._counts: list[int] = []  # appended to by several threads, which is safe; adding would not be

    @property
    def products(self) -> int:
        return sum(self._counts)

    def near(self, left: Any, right: Any, radius: float, first: int) -> Any:
        self._counts.append(len(left.halves) * len(right.halves))
        return self.inner.near(left, right, radius, first)


def _filter(product: str) -> Any:
    """Return the engine's filter that multiplies in this format on the processor."""
    if product == "float32":
        from tenpercent.linkage.filters import SinglesFilter

        return SinglesFilter()
    from tenpercent.linkage.accelerators import TorchFilter

    found = TorchFilter("cpu")
    assert found.product.name == product
    return found


def cuda(settings: Settings) -> Iterator[Any]:
    """The engine where there is a GPU; says whether it really used it."""
    import torch

    from tenpercent.linkage.linkage import first_merges

    if not torch.cuda.is_available():
        raise NotMeasured("no CUDA here")
    yield
    classes = groups.by_class(*_data(settings))
    torch.cuda.reset_peak_memory_stats()

    def work() -> Any:
        return [
            first_merges(rows, merges=len(rows) - round(settings["keep"] * len(rows))) for rows in classes
        ]

    def facts(found: Any) -> dict[str, Any]:
        used = torch.cuda.max_memory_allocated()
        if not used:
            raise NotMeasured("there is a GPU, but the engine did not use it")
        return {
            "device": torch.cuda.get_device_name(),
            "device MB": round(used / 1e6, 1),
            "merges": _fingerprint(*(array for one in found for array in (one.a, one.b, one.height))),
        }

    yield work, facts


# ---- what the figures are held against -------------------------------------------------------------------------------


def peak_products(settings: Settings) -> Iterator[Any]:
    """The machine's peak product rate: three float32 products of matrices [size, size], with all threads."""
    yield
    size, random = settings["size"], np.random.default_rng(0)
    one, other = (random.standard_normal((size, size), dtype=np.float32) for _ in range(2))
    out = np.empty_like(one)

    def work() -> None:
        for _ in range(3):
            np.matmul(one, other, out=out)

    yield work, lambda _: {"operations": 3 * 2 * size**3}


def read_file(settings: Settings) -> Iterator[Any]:
    """Only read the file, from first to last byte."""
    yield
    path = Path(settings["vectors"])
    buffer = bytearray(READ)

    def work() -> int:
        count = 0
        with path.open("rb", buffering=0) as file:
            while got := file.readinto(buffer):
                count += got
        return count

    yield work, lambda count: {"bytes": count}
