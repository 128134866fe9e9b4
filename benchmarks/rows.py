"""The rows of the clustering's benchmark: what runs side by side in each, and with which settings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bench import Bench, compared
from measure import Facts, NotMeasured, duel, forget, ratio

SKLEARN_TOGETHER = 19.2e9  # bytes that scikit-learn took for all 50,000
GROWTH = (10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 640_000, 1_280_000)
WIDTHS = (64, 512, 2048)
CLASSES, EACH, WIDE = 1000, 1280, 2048


# ---- the rows --------------------------------------------------------------------------------------------------------


def first_call(bench: Bench) -> Facts:
    """The first call after installation (nothing compiled yet), the first of a later process, and later calls."""
    fresh, later = [], []
    with tempfile.TemporaryDirectory(dir=bench.scratch) as folder:
        for number in range(1 if bench.quick else 3):
            cache = str(Path(folder) / str(number))
            for found, rounds in ((fresh, 0), (later, bench.rounds)):
                settings = bench.settings(True, keep=0.9)
                with bench.start("engine.selection", settings, NUMBA_CACHE_DIR=cache) as contestant:
                    found.append(duel({"it": contestant}, rounds)["it"])
    middle = sorted(range(len(fresh)), key=lambda k: fresh[k]["first"])[len(fresh) // 2]
    return {
        "contestants": {"after installation": fresh[middle], "in a later process": later[middle]},
        "first calls": [one["first"] for one in fresh],
        "first calls, compiled": [one["first"] for one in later],
        "later calls": [one["seconds"] for one in later],
    }


def classes(keep: float) -> Callable[[Bench], Facts]:
    """Class by class."""

    def row(bench: Bench) -> Facts:
        settings = bench.settings(True, keep=keep)
        entries = {
            "tenpercent": ("engine.selection", settings),
            "tenpercent, engine alone": ("engine.linkage", settings),
            "scikit-learn": ("peers.sklearn", settings),
        }
        if keep == 0.9:  # they build the whole tree whatever is kept
            entries |= {"fastcluster": ("peers.fastcluster", settings), "SciPy": ("peers.scipy", settings)}
        results = bench.run(entries)
        ours, theirs = (
            results[one].get("facts", {}).get("partitions", ()) for one in ("tenpercent", "scikit-learn")
        )
        same = sum(a == b for a, b in zip(ours, theirs, strict=False))
        more = {"classes with scikit-learn's groups": f"{same} of {len(ours)}"}
        return compared(results, "tenpercent", keep=keep, **more)

    return row


def connectivity(bench: Bench) -> Facts:
    """scikit-learn with a graph of the 10 nearest neighbours: another algorithm."""
    settings = bench.settings(True, keep=0.9)
    cuts = bench.once("engine.linkage", settings)["cuts"]
    results = bench.run(
        {
            "tenpercent": ("engine.selection", settings),
            "scikit-learn, k-NN connectivity": (
                "peers.sklearn_connectivity",
                {**settings, "cuts": cuts, "k": 10},
            ),
        }
    )
    return compared(results, "tenpercent", keep=0.9)


def together(keep: float) -> Callable[[Bench], Facts]:
    """All together, without labels."""

    def row(bench: Bench) -> Facts:
        settings = bench.settings(False, keep=keep)
        results = bench.run(
            {
                "tenpercent": ("engine.selection", settings),
                "tenpercent, engine alone": ("engine.linkage", settings),
            }
        )
        return compared(results, "tenpercent", keep=keep)

    return row


def sklearn_together(bench: Bench) -> Facts:
    """scikit-learn on all rows together, once, with the engine before and after it."""
    needed = 1.1 * SKLEARN_TOGETHER * (bench.rows / 50_000) ** 2
    free = psutil.virtual_memory().available
    if free < needed:
        raise NotMeasured(f"{free / 1e9:.1f} GB of memory are free; scikit-learn needs {needed / 1e9:.1f} GB")
    settings = bench.settings(False, keep=0.9)
    before = bench.run({"tenpercent": ("engine.selection", settings)})["tenpercent"]
    theirs = bench.run({"scikit-learn": ("peers.sklearn", settings)}, rounds=0)["scikit-learn"]
    after = bench.run({"tenpercent": ("engine.selection", settings)})["tenpercent"]
    results = {"tenpercent": before, "tenpercent, afterwards": after, "scikit-learn": theirs}
    if "not measured" in theirs:
        return {"contestants": results}
    times = theirs["seconds"] / ((before["seconds"] + after["seconds"]) / 2)
    return {
        "contestants": results,
        "times slower than": "tenpercent",
        "ratios": {"scikit-learn": {"median": round(times, 3), "all": [round(times, 3)]}},
        "same groups": before["facts"]["partitions"] == theirs["facts"]["partitions"],
    }


def join(bench: Bench) -> Facts:
    """The join alone at the radius of the 90% cut of all rows, beside faiss; pairs held against float64."""
    radius = bench.radius(bench.vectors)
    settings = bench.settings(False, radius=radius, truth=bench.truth(radius), count=True)
    results = bench.run(
        {
            "tenpercent": ("engine.join", settings),
            "tenpercent, without cells": ("engine.join", {**settings, "plain": True}),
            "faiss range_search": ("peers.faiss_range", settings),
        }
    )
    return compared(results, "tenpercent", radius=radius)


def threads(bench: Bench) -> Facts:
    """One and two threads: the join, the engine class by class and together, and the whole on one and two cores."""
    radius = bench.radius(bench.vectors)
    works = {
        "join": ("engine.join", bench.settings(False, radius=radius), "threads"),
        "engine, class by class": ("engine.linkage", bench.settings(True, keep=0.9), "threads"),
        "engine, together": ("engine.linkage", bench.settings(False, keep=0.9), "threads"),
        "selection, class by class": ("engine.selection", bench.settings(True, keep=0.9), "cores"),
    }
    results: dict[str, Facts] = {}
    gains: dict[str, Any] = {}
    for label, (what, settings, which) in works.items():
        pair = bench.run({f"{label}, {t}": (what, {**settings, which: t}) for t in (1, 2)})
        one, two = pair.values()
        results |= pair
        gains[label] = ratio(one, two)
        key = "bytes" if what == "engine.join" else "merges"
        if "not measured" not in one and "not measured" not in two:
            assert one["facts"][key] == two["facts"][key], f"{label}: other bytes with two threads"
    return {"contestants": results, "gains": gains}


def growth(n: int) -> Callable[[Bench], Facts]:
    """So many made rows, unlabelled; up to 20,000 beside the others."""

    def row(bench: Bench) -> Facts:
        vectors = bench.file(f"growth-{n}", "made.make_more", n=n)
        settings = {"vectors": vectors, "keep": 0.9}
        rounds = bench.rounds if n <= 160_000 else min(bench.rounds, 2 if n <= 320_000 else 0)
        results = bench.run({"tenpercent": ("engine.selection", settings)}, rounds)
        if n <= 20_000:
            others = {"scikit-learn": ("peers.sklearn", settings)}
            others["fastcluster"] = ("peers.fastcluster", settings)
            results |= bench.run(others, rounds=0)
        return {"contestants": results, "n": n}

    return row


def recipe(bench: Bench) -> Facts:
    """How like the real rows the made ones are."""
    return bench.once("made.check", bench.settings(True, radius=bench.radius(bench.vectors)))


def width(d: int) -> Callable[[Bench], Facts]:
    """The join of all rows in d dimensions, as a share of the machine's peak product rate."""

    def row(bench: Bench) -> Facts:
        vectors = bench.vectors if d == 64 else bench.file(f"width-{d}", "made.make_wide", width=d)
        settings = {"vectors": vectors, "radius": bench.radius(vectors), "count": True}
        entries = {
            "peak products": ("engine.peak_products", {"size": 512 if bench.quick else 4096}),
            "float32": ("engine.join", settings),
            "float32, without cells": ("engine.join", {**settings, "plain": True}),
        }
        bf16 = {"avx512_bf16", "amx_bf16"} & set(bench.flags)
        if bf16:
            entries["bfloat16"] = ("engine.join", {**settings, "product": "bfloat16"})
        results = bench.run(entries, min(bench.rounds, 1) if d > 1000 else bench.rounds)
        if not bf16:
            results["bfloat16"] = {"not measured": "no bf16 units here"}
        best = results["peak products"]
        peak = best["facts"]["operations"] / min(best["first"], *best["later"])
        shares = {
            label: round(result["facts"]["products"] * 2 * d / result["seconds"] / peak, 3)
            for label, result in results.items()
            if "products" in result.get("facts", {})
        }
        return {
            "contestants": results,
            "width": d,
            "peak GFLOP/s": round(peak / 1e9, 1),
            "share of the peak product rate": shares,
        }

    return row


def many_classes(d: int) -> Callable[[Bench], Facts]:
    """1,000 classes of 1,280 rows, mapped from disk: read alone and clustered, cold and from memory."""

    def row(bench: Bench) -> Facts:
        count, each = (10, 60) if bench.quick else (CLASSES, EACH)
        wide = min(d, 256) if bench.quick else d
        vectors = bench.file(f"classes-{wide}", "made.make_classes", classes=count, rows=each, width=wide)
        labels = bench.scratch / f"classes-labels-{count}-{each}.npy"
        if not labels.exists():
            _write_labels(labels, count, each)
        results: dict[str, Facts] = {}
        selecting = {"vectors": vectors, "labels": str(labels), "mapped": True, "keep": 0.9}
        for label, what, settings in (
            ("reading", "engine.read_file", {"vectors": vectors}),
            ("tenpercent", "engine.selection", selecting),
        ):
            with bench.start(what, settings) as contestant:
                forget(Path(vectors))  # so the first call reads from disk, the later ones from memory
                results[label] = duel({label: contestant}, min(bench.rounds, 2))[label]
        body: Facts = {"contestants": results, "rows": count * each, "width": wide, "classes": count}
        if "not measured" not in results["tenpercent"]:
            for which, key in (("cold", "first"), ("from memory", "seconds")):
                body[f"seconds beside reading, {which}"] = round(
                    results["tenpercent"][key] - results["reading"][key], 3
                )
        return body

    return row


def _write_labels(path: Path, classes: int, each: int) -> None:
    np.save(path, np.repeat(np.arange(classes), each))


def cuda(bench: Bench) -> Facts:
    """The engine with a GPU and without: 50,000 together, and 1.28M class by class, 64 and 2,048 wide."""
    count, each = (10, 60) if bench.quick else (CLASSES, EACH)
    works = {"50,000 together": bench.settings(False, keep=0.9)}
    with bench.start("engine.cuda", works["50,000 together"]):
        pass  # says that there is no GPU before anything is made for it
    labels = bench.scratch / f"classes-labels-{count}-{each}.npy"
    if not labels.exists():
        _write_labels(labels, count, each)
    for d in (64, 256 if bench.quick else WIDE):
        vectors = bench.file(f"classes-{d}", "made.make_classes", classes=count, rows=each, width=d)
        works[f"1.28M × {d}"] = {"vectors": vectors, "labels": str(labels), "mapped": True, "keep": 0.9}
    results: dict[str, Facts] = {}
    same: dict[str, bool] = {}
    for label, settings in works.items():
        with (
            bench.start("engine.cuda", settings) as gpu,
            bench.start("engine.linkage", settings, CUDA_VISIBLE_DEVICES="") as cpu,
        ):
            pair = duel({f"{label}, CUDA": gpu, f"{label}, CPU": cpu}, min(bench.rounds, 2))
        results |= pair
        one, two = pair.values()
        if "facts" in one and "facts" in two:
            same[label] = one["facts"]["merges"] == two["facts"]["merges"]
    return {"contestants": results, "same bytes": same}


def approximate(bench: Bench) -> Facts:
    """What approximate methods miss at the radius of the 90% cut of all rows."""
    radius = bench.radius(bench.vectors)
    settings = bench.settings(False, radius=radius, truth=bench.truth(radius))
    results = bench.run(
        {
            "tenpercent": ("engine.threshold", settings),
            "SemHash": ("peers.semhash", settings),
            "SemDeDup, k-means": ("peers.semdedup", settings),
        }
    )
    return compared(results, "tenpercent", radius=radius)


def all_rows(quick: bool) -> dict[str, Callable[[Bench], Facts]]:
    """Return every row by its name, in the order in which they run."""
    sizes = (300, 600, 1200) if quick else GROWTH
    widths = (64, 96) if quick else WIDTHS
    return {
        "first-call": first_call,
        **{f"classes-{keep}": classes(keep) for keep in (0.9, 0.5, 0.1)},
        "connectivity": connectivity,
        **{f"together-{keep}": together(keep) for keep in (0.9, 0.5)},
        "join": join,
        "threads": threads,
        "approximate": approximate,
        "recipe": recipe,
        **{f"growth-{n}": growth(n) for n in sizes},
        **{f"width-{d}": width(d) for d in widths},
        "million-64": many_classes(64),
        "million-2048": many_classes(WIDE),
        "cuda": cuda,
        "sklearn-together": sklearn_together,
    }
