"""Other choices than the member nearest to the centre of each group: training runs say which are worth having.

    python experiments/choices.py --run runs/fifth [--keep 0.5 0.3] [--trials 3] [--preset quick] [--epochs 12]

RUN is a run folder that is clustered, its embedding trained on labels (experiments/fifth.py makes one). The choices:

- `farthest`, `any`: of each group of the cut of `semantic` the member farthest from the centre, or one that is drawn;
- `shares`: `semantic`, where classes give up images by how redundant they are, not all the same share;
- `spread-less10`, `spread-less30`: without the hardest tenth, or three tenths, of each class, which hold outliers and
  wrong labels, then as `spread` draws.

The lists are written to RUN/lists as row numbers of the source, and are arms of `tenpercent evaluate` beside `semantic`
under the names `farthest-50`, `any-50`, and so on; called again it resumes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from lists import arguments, evaluate

import tenpercent as tp
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.linkage.distances import unit_vectors
from tenpercent.selection.stored import load_merges

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
HARDEST = (0.1, 0.3)  # shares of each class that are left out before `spread` draws


def main() -> None:
    """Write the lists and evaluate them."""
    parser = arguments(__doc__, keep=[0.5, 0.3], trials=3)
    parser.add_argument("--scores", required=True, help=".npy: difficulty of each row of the source")
    given = parser.parse_args()
    run = RunFolder.open(given.run)
    merges = load_merges(run).deepened(tp.Cut(min(given.keep)))
    scores = np.load(given.scores)
    lists = {}
    for keep in given.keep:
        selection = tp.select(merges, keep=keep)
        chosen = {
            **members(selection, merges.embeddings),
            "shares": np.flatnonzero(tp.select(merges, tp.Cut(keep, budget="global")).kept_by_id),
            **{
                f"spread-less{100 * share:g}": typical(
                    merges.embeddings, scores[merges.embeddings.rows], keep, share
                )
                for share in HARDEST
            },
        }
        for name, positions in chosen.items():
            lists[f"{name}-{100 * keep:g}"] = selection.source_rows[positions]
    evaluate(given, lists)


def members(selection: tp.Selection, embeddings: tp.Embeddings) -> dict[str, Ints]:
    """Return one position of each group, by two choices: the farthest from the group's centre, and any (seed 0)."""
    units, group = unit_vectors(embeddings.vectors), selection.group
    centres = np.zeros((group.max() + 1, units.shape[1]))
    np.add.at(centres, group, units)
    off = -np.einsum("ij,ij->i", units, unit_vectors(centres)[group])
    return {
        "farthest": first_of_each(group, np.lexsort((selection.ids, -off))),
        "any": first_of_each(group, np.random.default_rng(0).permutation(len(group))),
    }


def first_of_each(group: Ints, order: Ints) -> Ints:
    """Return the position of each group that comes first in an order, ascending."""
    _, first = np.unique(group[order], return_index=True)
    return np.sort(order[first])


def typical(embeddings: tp.Embeddings, scores: Floats, keep: float, share: float) -> Ints:
    """Return the positions that `spread` draws (seed 0) where the hardest of each class are left out.

    Args:
        embeddings: n images with labels.
        scores: float64[n], larger is harder.
        keep: the fraction of all images to keep.
        share: of each class that is left out first, as far as so much is to go.
    """
    labels = embeddings.labels
    assert labels is not None
    order = np.lexsort((-scores, labels))  # class by class, the hardest first
    place = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    hardest = place < min(share, 1 - keep) * np.bincount(labels)[labels[order]]
    rest = np.sort(order[~hardest])
    left = tp.Embeddings.from_numpy(embeddings.vectors[rest], labels=labels[rest], ids=embeddings.ids[rest])
    drawn = tp.select_by(left, keep * len(embeddings) / len(rest), strategy="spread")
    return rest[drawn.kept_by_id]


if __name__ == "__main__":
    main()
