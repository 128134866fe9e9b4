"""A strategy for every fraction: candidates by heads on frozen vectors, paired by re-split with a random draw.

    python experiments/candidates.py RUN [--splits 10] [--first 100] [--out runs/candidates] [--to docs/data]

RUN is a run folder with vectors that never saw the labels (experiments/heads.py makes one). Wanted is a strategy that
is no worse than a random draw by 0.2 points at 95 and 90%, and better from 70% down. Beside `semantic` and `spread`:

- `knee`: `semantic` up to the knee of the report's curve of removed images, and `spread` among what that keeps;
- `weighted`, `weighted-half`: what `semantic` keeps, weighted in the loss by the size of its group, or by its root;
- `balanced`: k-means in each class (√n clusters), from which equal numbers are drawn;
- `typical`: `semantic` without the tenth of each class whose ten nearest images are farthest (or as many as go).

The splits of `--first` 100 are not those of `tenpercent evaluate`, which begin at 0: a winner is confirmed on others.
Each split is stored when it is done; called again, it resumes. With `--to` and `--name` all accuracies go to
`candidates-NAME.parquet` there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.files import write_table, write_text
from tenpercent.evaluation.heads.pool import Pool
from tenpercent.evaluation.heads.regression import Features, Start, fit
from tenpercent.evaluation.heads.stage import HeadEvaluation
from tenpercent.evaluation.preparation import EvaluationRequest
from tenpercent.linkage.distances import unit_vectors
from tenpercent.reporting.evidence.statistics import compare
from tenpercent.reporting.removal import removal_curve
from tenpercent.selection.by_strategy import kept_by
from tenpercent.selection.strategies.along_tree import leaf_order, systematic
from tenpercent.selection.strategies.semdedup import spherical_kmeans
from tenpercent.selection.strategies.strategy import CheckedStrategy

Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
KEEP = (0.95, 0.9, 0.7, 0.5, 0.3)
NEIGHBOURS, OUTLIERS = 10, 0.1
FULL = "full"


def main() -> None:
    """Fit the heads of each split, then print and store the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("runs/candidates"))
    parser.add_argument("--to", type=Path)
    parser.add_argument("--name", default="cifar10", help="of the data, for the file of --to")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    ready = HeadEvaluation.of(given.run, EvaluationRequest())
    rows = []
    for number in range(given.first, given.first + given.splits):
        done = given.out / f"{number}.json"
        if not done.exists():
            write_text(done, json.dumps(accuracies(ready, number), indent=1) + "\n")
        rows += json.loads(done.read_text("utf-8"))
        print(f"split {number} is done", flush=True)
    table = pa.Table.from_pylist(rows)
    print("\n".join(lines_of(table, overlap(ready.pool))))
    if given.to is not None:
        write_table(given.to / f"candidates-{given.name}.parquet", table, {"overlap": overlap(ready.pool)})


def accuracies(ready: HeadEvaluation, number: int) -> list[dict[str, object]]:
    """Return the accuracy of each arm and fraction in one split."""
    pool = ready.pool
    train, test = pool.split(number)
    own = pool.part(train)
    arms = [(FULL, 1.0, np.ones(len(own))), *weights_of_arms(own, number)]
    decay = ready._weight_decay()
    features, n_classes = Features.of(own.vectors, decay), len(pool.tested)
    tested, truth = features.of_others(pool.embeddings.vectors[test]), pool.labels[test]
    weights = np.array([each for _, _, each in arms])
    start = Start.of_all(features, pool.labels[train], n_classes, decay)
    heads = fit(features, pool.labels[train], n_classes, weights, [decay] * len(arms), start)
    return [
        {
            "split": number,
            "arm": arm,
            "keep": keep,
            "kept": int((each > 0).sum()),
            "accuracy": float(((tested @ heads.weights[:, at]).argmax(axis=1) == truth).mean()),
        }
        for at, (arm, keep, each) in enumerate(arms)
    ]


def weights_of_arms(own: Embeddings, seed: int) -> Iterator[tuple[str, float, Doubles]]:
    """Yield arm, fraction and the weight of each image, float64[n], 0 for those that go."""
    tree = tp.cluster(own, keep=min(KEEP) / 4)
    curve = removal_curve(tree)
    at_knee = tp.select(tree, tp.Cut(threshold=float(curve.threshold[curve.knee or 0])))
    typical = typical_first(own)
    for keep in KEEP:
        semantic = tp.select(tree, keep=keep)
        kept = semantic.kept_by_id
        counts = np.bincount(own.labels[kept], minlength=len(own.class_names))
        yield "semantic", keep, kept.astype(float)
        yield "weighted", keep, kept * semantic.group_size[semantic.group].astype(float)
        yield "weighted-half", keep, kept * np.sqrt(semantic.group_size[semantic.group])
        for name in ("random", "spread"):
            cut = tp.Cut(keep, within="class")
            yield name, keep, kept_by(tree, cut, CheckedStrategy.of(name), seed).astype(float)
        left = at_knee.kept_by_id
        deep = kept if left.sum() <= kept.sum() else spread_among(tree, left, counts, seed)
        yield "knee", keep, deep.astype(float)
        yield "balanced", keep, balanced(own, counts, seed).astype(float)
        yield "typical", keep, semantic_of_typical(own, typical, counts).astype(float)


def by_class(own: Embeddings) -> Iterator[tuple[int, Ints]]:
    """Yield the code of each class and the positions of its images."""
    for code in np.unique(own.labels):
        yield int(code), np.flatnonzero(own.labels == code)


def spread_among(
    tree: tp.Merges, left: npt.NDArray[np.bool_], counts: Ints, seed: int
) -> npt.NDArray[np.bool_]:
    """Draw along the tree among images that are left, class by class."""
    order = leaf_order(len(left), tree.a, tree.b)
    chosen = np.zeros(len(left), dtype=bool)
    for code, _ in by_class(tree.embeddings):
        row = order[left[order] & (tree.embeddings.labels[order] == code)]
        start = np.random.default_rng([seed, code]).random()
        count = min(int(counts[code]), len(row))
        chosen[row[systematic(np.ones(len(row), dtype=np.int64), count, start)]] = True
    return chosen


def balanced(own: Embeddings, counts: Ints, seed: int) -> npt.NDArray[np.bool_]:
    """Draw equal numbers from clusters of k-means, class by class."""
    chosen = np.zeros(len(own), dtype=bool)
    for code, members in by_class(own):
        rng = np.random.default_rng([seed, code])
        units = unit_vectors(own.vectors[members])
        first = rng.permutation(len(members))[: round(len(members) ** 0.5)]
        of, _ = spherical_kmeans(units, units[first])
        sizes = np.bincount(of, minlength=len(first))
        most = level(sizes, int(counts[code]))
        for cluster, many in enumerate(most.tolist()):
            chosen[members[rng.permutation(np.flatnonzero(of == cluster))[:many]]] = True
    return chosen


def level(sizes: Ints, count: int) -> Ints:
    """Return how many to take of each cluster: equal numbers, but no more than it has."""
    taken = np.zeros_like(sizes)
    while (rest := count - int(taken.sum())) > 0:
        open_ones = np.flatnonzero(taken < sizes)
        more = np.zeros_like(sizes)
        more[open_ones] = rest // len(open_ones)
        more[open_ones[: rest % len(open_ones)]] += 1
        taken = np.minimum(taken + more, sizes)
    return taken


def typical_first(own: Embeddings) -> Ints:
    """Return the images class by class, those with near neighbours first, int64[n]."""
    rows = []
    for _, members in by_class(own):
        units = unit_vectors(own.vectors[members]).astype(np.float32)
        near = np.partition(1 - units @ units.T, NEIGHBOURS, axis=1)[:, : NEIGHBOURS + 1]
        rows.append(members[np.argsort(near.mean(axis=1), kind="stable")])
    return np.concatenate(rows)


def semantic_of_typical(own: Embeddings, order: Ints, counts: Ints) -> npt.NDArray[np.bool_]:
    """Leave out the images with the farthest neighbours, then keep by the tree of the others."""
    chosen = np.zeros(len(own), dtype=bool)
    for code, members in by_class(own):
        ranked = order[own.labels[order] == code]
        least = max(int(counts[code]), round((1 - OUTLIERS) * len(members)))
        part = np.sort(ranked[:least])
        pool = Pool(own, np.zeros(1, dtype=np.int64), "", "").part(part)
        kept = tp.select(
            tp.cluster(pool, keep=int(counts[code]) / len(part)), keep=int(counts[code]) / len(part)
        )
        chosen[part[kept.kept_by_id]] = True
    return chosen


def overlap(pool: Pool) -> float:
    """Return test images per training image, which the intervals of re-splits take into account."""
    return pool.n_tested / (len(pool.embeddings) - pool.n_tested)


def lines_of(table: pa.Table, overlap: float) -> list[str]:
    """Return each arm's mean accuracy, and its difference from a random draw with its 95% interval, in points."""
    found: dict[tuple[str, float], list[float]] = {}
    for row in table.to_pylist():
        found.setdefault((row["arm"], row["keep"]), []).append(row["accuracy"])
    lines = ["kept  arm            accuracy  vs. random"]
    for (arm, keep), values in sorted(found.items(), key=lambda one: (-one[0][1], one[0][0])):
        said = ""
        if arm not in (FULL, "random"):
            tested = compare(values, found["random", keep], overlap=overlap)
            half = (
                (tested.high - tested.low) / 2 if tested.high is not None and tested.low is not None else 0.0
            )
            said = f"{tested.difference:+.2f} ± {half:.2f}"
        lines.append(f"{100 * keep:3.0f}%  {arm:13}  {100 * np.mean(values):8.2f}  {said}".rstrip())
    return lines


if __name__ == "__main__":
    main()
