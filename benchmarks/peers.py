"""Contestants: what people use instead. Exact ones build the whole tree; faiss finds pairs; others approximate."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import groups
import numpy as np

Settings = dict[str, Any]


def _classes(settings: Settings) -> list[Any]:
    labels = np.load(settings["labels"]) if settings.get("labels") else None
    return groups.by_class(np.load(settings["vectors"]), labels)


def _wanted(settings: Settings, rows: Any) -> int:
    return max(1, round(settings["keep"] * len(rows)))


def sklearn(settings: Settings) -> Iterator[Any]:
    """AgglomerativeClustering, class by class or all together; it always computes the whole tree here."""
    from sklearn.cluster import AgglomerativeClustering

    yield
    classes = _classes(settings)

    def work() -> Any:
        return [
            AgglomerativeClustering(_wanted(settings, rows), metric="cosine", linkage="complete")
            .fit(rows)
            .labels_
            for rows in classes
        ]

    yield work, lambda found: {"partitions": [groups.partition(labels) for labels in found]}


def sklearn_connectivity(settings: Settings) -> Iterator[Any]:
    """The same with a graph of the k nearest neighbours as `connectivity`: another algorithm, as its groups show."""
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.neighbors import kneighbors_graph

    yield
    classes, k = _classes(settings), settings["k"]

    def work() -> Any:
        found = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that the graph falls apart, and is completed
            for rows in classes:
                graph = kneighbors_graph(rows, k, metric="cosine")
                model = AgglomerativeClustering(
                    _wanted(settings, rows), metric="cosine", linkage="complete", connectivity=graph
                )
                found.append(model.fit(rows).labels_)
        return found

    def facts(found: Any) -> dict[str, Any]:
        each = [
            groups.against_cut(groups.unit_rows(rows), labels, cut)
            for rows, labels, cut in zip(classes, found, settings["cuts"], strict=True)
        ]
        return {
            "partitions": [groups.partition(labels) for labels in found],
            "groups of two or more": sum(one["groups of two or more"] for one in each),
            "over the cut": sum(one["over the cut"] for one in each),
            "largest diameter in cuts": round(max(one["largest diameter"] / one["cut"] for one in each), 2),
        }

    yield work, facts


def fastcluster(settings: Settings) -> Iterator[Any]:
    """fastcluster.linkage, class by class."""
    import fastcluster as library

    yield
    classes = _classes(settings)

    def work() -> Any:
        return [library.linkage(rows.astype(np.float64), "complete", "cosine") for rows in classes]

    yield work, lambda _: {}


def scipy(settings: Settings) -> Iterator[Any]:
    """scipy.cluster.hierarchy.linkage, class by class."""
    from scipy.cluster.hierarchy import linkage

    yield
    classes = _classes(settings)

    def work() -> Any:
        return [linkage(rows.astype(np.float64), "complete", "cosine") for rows in classes]

    yield work, lambda _: {}


def faiss_range(settings: Settings) -> Iterator[Any]:
    """faiss.IndexFlatIP.range_search on float32 unit vectors; filling the index is not timed."""
    import faiss

    yield
    units = groups.unit_rows(np.load(settings["vectors"])).astype(np.float32)
    index = faiss.IndexFlatIP(units.shape[1])
    index.add(units)

    def work() -> Any:
        return index.range_search(units, 1.0 - settings["radius"])

    def facts(found: Any) -> dict[str, Any]:
        limits, _, other = found
        own = np.repeat(np.arange(len(units)), np.diff(limits).astype(np.int64))
        later = other > own
        codes = own[later] * len(units) + other[later]
        return {
            "version": faiss.__version__,
            "threads": faiss.omp_get_max_threads(),
            "against float64": groups.against_truth(codes, settings["truth"]),
        }

    yield work, facts


# ---- approximate -----------------------------------------------------------------------------------------------------


def semhash(settings: Settings) -> Iterator[Any]:
    """SemHash's self_deduplicate on the given vectors, at the same radius: its index is approximate (usearch)."""
    from semhash import SemHash

    yield
    vectors = np.load(settings["vectors"])
    names = [f"{row}" for row in range(len(vectors))]
    threshold = 1.0 - settings["radius"]
    index: list[Any] = []

    def work() -> Any:
        hashed = SemHash.from_embeddings(vectors, records=names, model=_NoModel(), columns=None)
        index[:] = [hashed.index]
        return hashed.self_deduplicate(threshold=threshold)

    def facts(found: Any) -> dict[str, Any]:
        group = np.arange(len(vectors))
        for record in found.filtered:
            group[int(record.record)] = int(record.duplicate_of)
        codes = []
        for row, (near, _) in enumerate(index[0].query_threshold(vectors, threshold=threshold)):
            near = near[near != row].astype(np.int64)
            codes.append(np.minimum(near, row) * len(vectors) + np.maximum(near, row))
        kept = group == np.arange(len(vectors))
        return {"version": version("semhash")} | groups.missed(
            vectors, group, kept, np.concatenate(codes), settings
        )

    yield work, facts


class _NoModel:
    """SemHash wants a model even where the embeddings are given."""

    def encode(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("the embeddings were given")


def semdedup(settings: Settings) -> Iterator[Any]:
    """SemDeDup (Abbas et al., 2023, arXiv 2303.09540): k-means, then all pairs within each of its cells.

    Rows of a cell are put in order of their cosine to the centroid, the least alike first. A row is removed when an
    earlier one of its cell is within the radius. There are √n cells.
    """
    from sklearn.cluster import KMeans

    yield
    vectors = np.load(settings["vectors"])
    cells = round(len(vectors) ** 0.5)

    def work() -> Any:
        units = groups.unit_rows(vectors).astype(np.float32)
        means = KMeans(cells, n_init=1, random_state=0, algorithm="lloyd").fit(units)
        removed = np.zeros(len(units), dtype=bool)
        pairs = []
        for cell in range(cells):
            own = np.flatnonzero(means.labels_ == cell)
            own = own[np.argsort(units[own] @ means.cluster_centers_[cell], kind="stable")]
            near = np.triu(units[own] @ units[own].T, k=1) >= 1.0 - settings["radius"]
            removed[own[near.any(axis=0)]] = True
            i, j = np.nonzero(near)
            pairs.append(np.stack([own[i], own[j]]))
        return removed, np.concatenate(pairs, axis=1)

    def facts(found: Any) -> dict[str, Any]:
        removed, (i, j) = found
        n = len(vectors)
        codes = np.minimum(i, j) * n + np.maximum(i, j)
        return {"cells": cells} | groups.missed(vectors, groups.connected(n, i, j), ~removed, codes, settings)

    yield work, facts
