"""Transfer: does a subset that another embedding chooses train a network as well as the choice of its own kind?

    python experiments/transfer.py --data FOLDER --out runs/transfer [--keep 0.9 0.7] [--trials 5] [--to docs/data]

The images are the fifth of CIFAR-10 of experiments/fifth.py, where an image left out is missed; unlike there, all
training runs must be made on one machine, whose precision they share. The network that is trained is the one that
embeds for `semantic`, by the same settings. Beside it, `pretrained-90`, ... are chosen by the network of ImageNet
that comes with the package, which never saw these images, and `resnet-90`, ... by the paper's network (ResNet-32),
trained on the same labels for 20 epochs. Called again it resumes, also from the table `transfer.parquet` in the
folder of `--to`.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from fifth import TRAINING, take
from lists import choices_of, write_lists
from proof import arguments, carry_out, command

OTHERS = {"pretrained": "--embedder pretrained", "resnet": "--embedder supervised --epochs 20"}


def main() -> None:
    """Take the fifth, embed it three times, train on what each embedding keeps, and report."""
    parser = arguments(__doc__, Path("runs/transfer"), 1)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.9, 0.7])
    parser.add_argument("--trials", type=int, default=5)
    given = parser.parse_args()
    data = given.out.with_name(given.out.name + "-images")
    take(given.data, data)
    command("run", data, f"--split train {TRAINING} --out {shlex.quote(str(given.out))}")
    arms = ["full", "random", "semantic"]
    for name, flags in OTHERS.items():
        other = given.out.with_name(f"{given.out.name}-{name}")
        command("run", data, f"--split train {flags} --within class --out {shlex.quote(str(other))}")
        arms += write_lists(given.out, choices_of(other, name, given.keep))
    step = (
        f"{TRAINING} --keep {' '.join(map(str, given.keep))} --trials {given.trials} --arms {' '.join(arms)}"
    )
    carry_out(given.out, [step], None if given.to is None else given.to / "transfer.parquet")


if __name__ == "__main__":
    main()
