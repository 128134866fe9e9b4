"""Supervised beside self-supervised embeddings: which of them chooses the images that matter?

    python experiments/embeddings.py --run runs/fifth --data runs/fifth-images [--keep 0.9 0.5] [--trials 1]

RUN is a run folder of the images in DATA, its embedding trained on labels, with a test set (experiments/fifth.py makes
both). The same images are embedded without labels, 64 values wide, and clustered class by class as well, so that only
the embedding differs; RUN-unlabelled holds that. Both embeddings are probed on the test images. What the other tree
keeps is an arm `unlabelled-90`, `unlabelled-50`, ... of RUN, beside `semantic`. Called again it resumes.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from lists import arguments, choices_of, evaluate
from proof import command

import tenpercent as tp


def main() -> None:
    """Embed without labels, probe, write the lists and evaluate them."""
    parser = arguments(__doc__, keep=[0.9, 0.5], trials=1)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--depth", type=int, default=8, help="of the network without labels")
    parser.add_argument("--views", type=int, default=20, help="epochs of the training without labels")
    given = parser.parse_args()
    other = given.run.with_name(given.run.name + "-unlabelled")
    training = f"--embedder selfsupervised --depth {given.depth} --epochs {given.views}"
    command("run", given.data, f"--split train {training} --within class --out {shlex.quote(str(other))}")
    print(tp.probe([given.run, other], out=other / "probe"))
    evaluate(given, choices_of(other, "unlabelled", given.keep))


if __name__ == "__main__":
    main()
