"""The paper's question on Fashion-MNIST, by three embeddings: what is first is worth most when somebody stops.

    python experiments/fashion.py [--data FOLDER] [--out runs/fashion] [--until 1] [--to docs/evidence]

FOLDER holds the four idx files of Fashion-MNIST (apt-get install dataset-fashion-mnist). Training runs are those of the
preset `fashion-fast`, in the folder OUT/supervised, whose embedding is trained by the same settings, as in the paper.
OUT/pretrained and OUT/unlabelled hold two other embeddings, of ImageNet and without labels (64 values, as in the
article), clustered class by class as well, so that only the embedding differs. What they keep are the arms
`pretrained-90`, `unlabelled-90`, ...; full set and random subsets are shared. Every command is printed; called again,
each resumes, also from the table `fashion.parquet` in the folder of `--to`.
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from lists import choices_of, write_lists
from proof import arguments, carry_out, command

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
TRAINING = "--preset fashion-fast"
EMBEDDINGS = {
    "supervised": TRAINING,
    "pretrained": "--embedder pretrained",
    "unlabelled": "--embedder selfsupervised --dim 64 --depth 8 --epochs 5",
}
STEPS = [  # fractions, trials, arms; an embedding stands for what its tree keeps
    ((0.9,), 10, "full semantic random pretrained"),
    ((0.9,), 3, "spread graph-remove graph-add unlabelled"),
    ((0.7, 0.5, 0.3), 3, "full semantic random spread pretrained"),
    ((0.95, 0.8), 3, "full semantic random spread pretrained"),
    ((0.95, 0.8, 0.7, 0.5, 0.3), 3, "graph-remove graph-add unlabelled"),
]


def main() -> None:
    """Embed, write what the embeddings keep, evaluate step by step, report."""
    given = arguments(__doc__, Path("runs/fashion"), len(STEPS), DEBIAN).parse_args()
    steps = (words_of(given, *step) for step in STEPS[: given.until])
    table = None if given.to is None else given.to / "fashion.parquet"
    carry_out(embedded(given, "supervised"), steps, table)


def words_of(given: argparse.Namespace, keep: tuple[float, ...], trials: int, arms: str) -> str:
    """Return the flags of a step; the embeddings that it names choose first."""
    words = [arm for arm in arms.split() if arm not in EMBEDDINGS]
    for other in (arm for arm in arms.split() if arm in EMBEDDINGS):
        words += write_lists(given.out / "supervised", choices_of(embedded(given, other), other, keep))
    return f"{TRAINING} --trials {trials} --keep {' '.join(map(str, keep))} --arms {' '.join(words)}"


def embedded(given: argparse.Namespace, name: str) -> Path:
    """Return the run folder of an embedding, with its tree."""
    run: Path = given.out / name
    command("run", given.data, f"{EMBEDDINGS[name]} --within class --out {shlex.quote(str(run))}")
    return run


if __name__ == "__main__":
    main()
