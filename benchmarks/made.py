"""Data for the clustering's benchmark: real vectors, more of them, and wider ones; the same bytes from the same seed.

**More of them** (`more_rows`). The k-th new row is x + t (y − x) + e: x a real row (all are taken once before any is
taken twice), y one of its 20 nearest neighbours of the same class, t uniform in [0, 1), and e normal noise in all
directions whose expected length is half the distance from x to its nearest neighbour.

Why so. What the clustering costs follows from two things: how far nearest neighbours are (the radius), and how many
pairs lie within it. In real data both follow from the local dimension, about 11 for these vectors (at a quarter of
the rows the nearest neighbour is 1.3 times as dissimilar, 4^(2/11)). Copies with isotropic noise alone have the
dimension of the space, 64, and are all equally far from each other; a tight ball for every real row is a clustering
that is already given. Here t (y − x) moves a row along directions in which its class extends, to where other rows of
the class would be; the noise fills the gaps between these segments, and its length follows the local scale, so that
tight places stay tight and loose ones loose.

How it was checked, with the truth at hand: make 50,000 rows from a quarter or a sixteenth of the real 50,000, and
compare with all of them. At sixteen times the rows every quantile of the nearest neighbour's dissimilarity from 1% to
99% was 0.91 to 1.07 of the real one, at four times 0.89 to 1.09; the pairs within the cut of keep 90% were 1.36 and
1.14 an image where the real rows have 1.80: real data would cost a little more to walk. `check` prints this anew.

What it can't show: new images. A real set that grows finds new kinds of images as well as more of the same; here the
classes, their extent and the directions within them stay those of 50,000 images. Beyond sixteen times the rows it is
an extrapolation that nothing here can check. Real sets also hold exact copies; the new rows have none.

**Wider ones** (`lifted`). A row of 64 values is multiplied by a 64 × d matrix with orthonormal rows, which keeps every
dissimilarity, and gets normal noise of 2% of its length, in all d directions, which adds 0.0004 to each. So the
clustering's answer stays about the same, and what is measured is the cost of the width. It can't show the many
directions that real wide embeddings have.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from measure import NotMeasured

Rows = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

RECIPE = 1  # in the names of the files made; raise it when what is made changes
SEED = 20190129  # of everything here; the day the paper appeared
NEIGHBOURS = 20
NOISE = 0.5  # of the distance to the nearest neighbour
LIFT_NOISE = 0.02  # of the length of a row
QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


def real(data: Path | None) -> tuple[Rows, Ints]:
    """Return CIFAR-10's vectors and labels from `data`; with None, scikit-learn's 1,797 digits, a pixel a value."""
    if data is None:
        from sklearn.datasets import load_digits

        vectors, labels = load_digits(return_X_y=True)
        return vectors.astype(np.float32), labels.astype(np.int64)
    import pyarrow.parquet as pq

    labels = pq.read_table(data / "train.parquet", columns=["label"])["label"].to_numpy()
    return np.load(data / "resnet32-train.npy"), labels.astype(np.int64)


def near_neighbours(vectors: Rows, labels: Ints) -> Ints:
    """Return for each row its nearest neighbours by cosine within its class, nearest first: int64[n, ≤ 20]."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    fewest = int(np.bincount(labels).min(where=np.bincount(labels) > 0, initial=len(labels)))
    k = min(NEIGHBOURS, fewest - 1)
    found = np.empty((len(vectors), k), dtype=np.int64)
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        for start in range(0, len(own), 2048):
            rows = own[start : start + 2048]
            cosine = units[rows] @ units[own].T
            cosine[np.arange(len(rows)), np.arange(start, start + len(rows))] = -2.0
            best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
            order = np.argsort(-np.take_along_axis(cosine, best, axis=1), axis=1, kind="stable")
            found[rows] = own[np.take_along_axis(best, order, axis=1)]
    return found


def more_rows(vectors: Rows, neighbours: Ints, n: int, seed: int = SEED) -> Iterator[Rows]:
    """Yield `n` new rows in chunks of at most len(vectors); the recipe is in the module's docstring."""
    nearest = np.linalg.norm(vectors[neighbours[:, 0]] - vectors, axis=1)
    for chunk, start in enumerate(range(0, n, len(vectors))):
        random = np.random.default_rng([seed, chunk])
        at = random.permutation(len(vectors))[: n - start]
        other = vectors[neighbours[at, random.integers(0, neighbours.shape[1], len(at))]]
        step = random.random((len(at), 1), dtype=np.float32)
        noise = random.standard_normal((len(at), vectors.shape[1]), dtype=np.float32)
        scale = NOISE * nearest[at, None] / np.sqrt(vectors.shape[1])
        yield vectors[at] + step * (other - vectors[at]) + scale.astype(np.float32) * noise


def lift_matrix(narrow: int, wide: int) -> Rows:
    """Return a random matrix [narrow, wide] with orthonormal rows."""
    random = np.random.default_rng([SEED, narrow, wide])
    return np.linalg.qr(random.standard_normal((wide, narrow)))[0].T.astype(np.float32)


def lifted(vectors: Rows, matrix: Rows, seed: list[int]) -> Rows:
    """Return the rows in as many dimensions as `matrix` has columns, with a little noise; float32."""
    random = np.random.default_rng(seed)
    wide = vectors @ matrix
    noise = random.standard_normal(wide.shape, dtype=np.float32)
    noise *= LIFT_NOISE / np.sqrt(wide.shape[1]) * np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(wide + noise, dtype=np.float32)


# ---- files -----------------------------------------------------------------------------------------------------------


def write_rows(path: Path, shape: tuple[int, int], chunks: Iterator[Rows]) -> None:
    """Write chunks of rows as one .npy file, whole or not at all.

    Raises:
        NotMeasured: the disk has no room for it.
    """
    needed, free = 4 * shape[0] * shape[1], shutil.disk_usage(path.parent).free
    if needed > free - 2**30:
        raise NotMeasured(
            f"{path.parent} has {free / 1e9:.0f} GB free; this data needs {needed / 1e9:.0f} GB"
        )
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        _header(file, shape)
        for chunk in chunks:
            file.write(np.ascontiguousarray(chunk, dtype="<f4").data)
    partial.replace(path)


def _header(file: IO[bytes], shape: tuple[int, int]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})


def make_more(settings: dict[str, Any]) -> Iterator[Any]:
    """Contestant: write `n` new rows made from `vectors` and `labels` to `out`."""
    yield
    vectors, labels, out = np.load(settings["vectors"]), np.load(settings["labels"]), Path(settings["out"])

    def work() -> None:
        neighbours = near_neighbours(vectors, labels)
        write_rows(
            out, (settings["n"], vectors.shape[1]), more_rows(vectors, neighbours, settings["n"], SEED)
        )

    yield work, lambda _: {}


def make_wide(settings: dict[str, Any]) -> Iterator[Any]:
    """Contestant: write all rows of `vectors` in `width` dimensions to `out`."""
    yield
    vectors, width = np.load(settings["vectors"]), settings["width"]
    matrix = lift_matrix(vectors.shape[1], width)

    def work() -> None:
        chunks = (
            lifted(vectors[start : start + 4096], matrix, [SEED, start])
            for start in range(0, len(vectors), 4096)
        )
        write_rows(Path(settings["out"]), (len(vectors), width), chunks)

    yield work, lambda _: {}


def make_classes(settings: dict[str, Any]) -> Iterator[Any]:
    """Contestant: write `classes` classes of `rows` rows each, class after class, `width` wide, to `out`.

    Class c is made of rows of the real class c modulo the number of real ones, with a seed of its own. Folders of
    images come in this order too: one class after the other.
    """
    yield
    vectors, labels, width = np.load(settings["vectors"]), np.load(settings["labels"]), settings["width"]
    each, count = settings["rows"], settings["classes"]
    matrix = lift_matrix(vectors.shape[1], width) if width > vectors.shape[1] else None

    def chunks() -> Iterator[Rows]:
        neighbours = near_neighbours(vectors, labels)
        codes = np.unique(labels)
        for code in range(count):
            own = np.flatnonzero(labels == codes[code % len(codes)])
            inside = np.searchsorted(own, neighbours[own])
            rows = np.concatenate(list(more_rows(vectors[own], inside, each, SEED + 1 + code)))
            yield rows if matrix is None else lifted(rows, matrix, [SEED, code])

    def work() -> None:
        write_rows(Path(settings["out"]), (each * count, width), chunks())

    yield work, lambda _: {}


# ---- the check -------------------------------------------------------------------------------------------------------


def nearest_of_sample(vectors: Rows, radius: float, rows: int = 1000) -> tuple[npt.NDArray[Any], float]:
    """Return the dissimilarity of sampled rows to their nearest neighbours, and the pairs an image within `radius`."""
    at = np.random.default_rng([SEED, 1]).choice(len(vectors), min(rows, len(vectors)), replace=False)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    d = 1.0 - units[at] @ units.T
    d[np.arange(len(at)), at] = np.inf
    return d.min(axis=1), float((d <= radius).sum() / (2 * len(at)))


def check(settings: dict[str, Any]) -> Iterator[Any]:
    """Contestant: compare the real rows with as many made from all, a quarter and a sixteenth of them."""
    yield
    vectors, labels = np.load(settings["vectors"]), np.load(settings["labels"])

    def described(rows: Rows) -> dict[str, Any]:
        nearest, pairs = nearest_of_sample(rows, settings["radius"])
        return {"nearest": [float(q) for q in np.quantile(nearest, QUANTILES)], "pairs an image": pairs}

    def work() -> dict[str, Any]:
        found = {"quantiles": list(QUANTILES), "real": described(vectors)}
        order = np.random.default_rng([SEED, 2]).permutation(len(vectors))
        for times in (1, 4, 16):
            some = np.sort(order[: len(vectors) // times])
            base, codes = vectors[some], labels[some]
            rows = np.concatenate(list(more_rows(base, near_neighbours(base, codes), len(vectors))))
            found[f"made from 1/{times}"] = described(rows)
        return found

    yield work, lambda found: found
