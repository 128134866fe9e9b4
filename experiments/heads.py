"""Heads on frozen vectors: CIFAR-10 or Fashion-MNIST by a pretrained network, all fractions, in minutes.

    python experiments/heads.py --data FOLDER --out runs/heads [--name cifar10] [--until 1] [--to docs/evidence]

FOLDER holds CIFAR-10 as Parquet, or Fashion-MNIST as idx files, with the splits train and test. The images are embedded
by the network that comes with the package; each step is a command that is printed, with the seconds that it took. With
`--to` the results are copied there as `heads-NAME.parquet`, times and machine as `heads-NAME.json`. Called again, it
resumes.
"""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path

from proof import arguments, carry_out, command

from tenpercent.data.store.environment import machine, versions

FRACTIONS = "--keep 0.95 0.9 0.8 0.7 0.5 0.3 0.1"
STEPS = [
    f"--network head {FRACTIONS} --trials 10 --arms full random semantic spread",
    f"--network head {FRACTIONS} --trials 10 --arms mixed kcenter semdedup",
    f"--network head {FRACTIONS} --trials 10 --arms graph-add graph-remove",
]


def main() -> None:
    """Embed, evaluate step by step, report."""
    parser = arguments(__doc__, Path("runs/heads"), len(STEPS))
    parser.add_argument("--name", default="cifar10", help="of the data, for the files of --to")
    given = parser.parse_args()
    command("run", given.data, f"--split train --embedder pretrained --out {shlex.quote(str(given.out))}")
    table = None if given.to is None else given.to / f"heads-{given.name}.parquet"
    seconds = {}
    for step in STEPS[: given.until]:
        begun = time.perf_counter()
        carry_out(given.out, [step], table)
        seconds[step] = round(time.perf_counter() - begun, 1)
        print(f"{seconds[step]:,} s", flush=True)
    if table is not None:
        about = {"seconds": seconds, "machine": machine(), "versions": versions()}
        table.with_suffix(".json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
