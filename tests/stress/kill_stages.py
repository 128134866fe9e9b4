"""Kills commands with SIGKILL at random moments and compares what they end with to an undisturbed one.

    python tests/stress/kill_stages.py --kills 30 --clusterings 12 --seed 0

Each round takes a fresh folder, kills the same command in it once or twice, and runs it to the end: the whole run on
images, and a longer clustering of vectors, class by class and of all together, in so little memory that pairs spill.
Prints a table of where the kills hit; exit status 1 if any byte differs or any file is left half-written.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import PIL.Image

COMPARED = (
    "embeddings/*",
    "rejected.parquet",
    "merges.parquet",
    "merges.counted.parquet",
    "selection.parquet",
    "training/weights.safetensors",
)
SPILLING = 0.1  # seconds within which the next file of pairs comes while pairs are still found


class Moment(StrEnum):
    """What a command is at, as its folder shows it, in this order."""

    START = "start"
    SCAN = "scan"
    TRAINING = "training"
    EXTRACTION = "extraction"
    CLUSTER = "cluster"
    JOIN = "join"
    SPILL = "spill"
    WALK = "walk"
    CLASSES = "some classes finished"
    SELECT = "select"
    REPORT = "report"
    DONE = "done"


@dataclass(frozen=True)
class Bench:
    """A command to kill.

    Attributes:
        words: the command, without the run folder.
        moment: returns what it is at, from the run folder.
        begun: a run folder to begin with; None for none.
    """

    words: tuple[str, ...]
    moment: Callable[[Path], Moment]
    begun: Path | None = None

    def folder(self, out: Path) -> Path:
        """Make the run folder as it is before the command."""
        if self.begun is not None:
            shutil.copytree(self.begun, out)
        return out

    def start(self, out: Path) -> subprocess.Popen[bytes]:
        """Start the command in a process group of its own, so that a kill takes all of it."""
        command = [sys.executable, "-m", "tenpercent", *self.words, "--quiet"]
        command += ["--out", str(out)] if self.begun is None else [str(out)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )

    def finish(self, out: Path) -> None:
        """Run to the end; exit with what the command said where it fails."""
        process = self.start(out)
        said, _ = process.communicate()
        if process.returncode != 0:
            sys.exit(f"the command in {out} failed with status {process.returncode}: {said.decode()}")

    def measured(self, out: Path) -> dict[Moment, float]:
        """Run to the end and return how long each moment lasted, in seconds."""
        process = self.start(out)
        seconds = dict.fromkeys(Moment, 0.0)
        before = time.perf_counter()
        while process.poll() is None:
            moment = self.moment(out)
            time.sleep(0.0005)
            now = time.perf_counter()
            seconds[moment] += now - before
            before = now
        if process.returncode != 0:
            said = process.stdout.read().decode() if process.stdout else ""
            sys.exit(f"the undisturbed command failed with status {process.returncode}: {said}")
        return seconds

    def kill(self, out: Path, wanted: Moment, delay: float) -> Moment | None:
        """Start the command and kill it `delay` seconds after `wanted` began.

        Returns:
            What it was at; None where it had finished before.
        """
        process = self.start(out)
        order = list(Moment)
        while process.poll() is None and order.index(self.moment(out)) < order.index(wanted):
            time.sleep(0.0005)
        time.sleep(delay)
        moment = self.moment(out)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        if process.returncode not in (0, -signal.SIGKILL):
            sys.exit(f"a command in {out} failed with status {process.returncode}: {said.decode()}")
        return moment if process.returncode else None


def moment_of_run(out: Path) -> Moment:
    """Return what a run of images is at, or was when it was killed, from the files in its folder."""
    if not (out / "run.json").exists():
        return Moment.START
    stages = json.loads((out / "run.json").read_text(encoding="utf-8"))["stages"]
    if "embed" not in stages:
        if not (out / "rejected.parquet").exists():
            return Moment.SCAN
        trained = (out / "training" / "weights.safetensors").exists()
        return Moment.EXTRACTION if trained else Moment.TRAINING
    later = (Moment.CLUSTER, Moment.SELECT, Moment.REPORT)
    return next((moment for moment in later if moment not in stages), Moment.DONE)


def moment_of_clustering(out: Path) -> Moment:
    """Return what a clustering of vectors is at: what lies in its folder of scratch."""
    if (out / "merges.parquet").exists():
        return Moment.DONE
    if any(out.glob("scratch/cluster-*/part-*.parquet")):
        return Moment.CLASSES
    latest = 0.0
    with suppress(FileNotFoundError):  # it was there a moment ago
        for path in out.glob("scratch/cluster-*/class-*/**/*"):
            latest = max(latest, path.stat().st_mtime if path.suffix == ".npy" else 1.0)
    if latest <= 1.0:
        return Moment.JOIN if latest else Moment.START
    return Moment.SPILL if time.time() - latest < SPILLING else Moment.WALK


def make_images(folder: Path, n: int, broken: int, seed: int) -> None:
    """Write n images of 8 × 8 pixels in three classes, some of them equal, and some files that can't be read."""
    values = np.random.default_rng(seed)
    classes = ("lines", "noise", "spots")
    for name in classes:
        (folder / name).mkdir(parents=True)
    base = values.integers(0, 256, (len(classes), 8, 8, 3))
    for number in range(n):
        kind = number % len(classes)
        noise = 0 if number % 10 == 0 else 40
        pixels = np.clip(base[kind] + values.integers(-noise, noise + 1, (8, 8, 3)), 0, 255).astype(np.uint8)
        PIL.Image.fromarray(pixels).save(folder / classes[kind] / f"{number:05d}.png")
    whole = io.BytesIO()
    PIL.Image.fromarray(np.tile(base[0].astype(np.uint8), (8, 8, 1))).save(whole, format="JPEG")
    kinds = {
        "truncated": whole.getvalue()[: len(whole.getvalue()) // 2],
        "empty": b"",
        "text": b"not an image",
    }
    for number in range(broken):
        kind_of, content = list(kinds.items())[number % len(kinds)]
        (folder / classes[number % 3] / f"{kind_of}-{number}.jpg").write_bytes(content)


def make_vectors(folder: Path, n: int, seed: int) -> None:
    """Write n vectors of 16 values as vectors.npy and their classes as labels.npy, some of them equal."""
    values = np.random.default_rng(seed)
    rows = values.standard_normal((n, 16)).astype(np.float32)
    rows[: n // 50] = rows[n // 2 : n // 2 + n // 50]
    folder.mkdir()
    np.save(folder / "vectors.npy", rows)
    np.save(folder / "labels.npy", values.integers(0, 4, n))


def digests(out: Path) -> dict[str, str]:
    """Return a hash of each file that must not depend on what happened to the run."""
    files = sorted(path for pattern in COMPARED for path in out.glob(pattern) if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(undisturbed: Path, killed: Path) -> list[str]:
    """Return the files that differ, are missing, half-written or left behind."""
    expected, found = digests(undisturbed), digests(killed)
    differ = [name for name in sorted(expected | found) if expected.get(name) != found.get(name)]
    left = [*killed.rglob("*.partial*"), *killed.glob("scratch")]
    return differ + [str(path.relative_to(killed)) for path in sorted(left)]


def rounds(bench: Bench, folder: Path, kills: int, seed: int) -> list[str]:
    """Kill `kills` times in all, print a line each and the table, and return what differs."""
    undisturbed = bench.folder(folder / "undisturbed")
    lasted = bench.measured(undisturbed)
    print(f"\n{' '.join(bench.words)}\nundisturbed: {sum(lasted.values()):.1f} s,", end=" ")
    print(", ".join(f"{moment} {seconds:.2f} s" for moment, seconds in lasted.items() if seconds), flush=True)
    dice = random.Random(seed)
    places = [moment for moment in Moment if lasted[moment] and moment is not Moment.DONE]
    hit: Counter[Moment] = Counter()
    differ: list[str] = []
    while hit.total() < kills:
        out = bench.folder(folder / f"killed-{hit.total()}")
        aim = min(places, key=lambda moment: (hit[moment], dice.random()))  # every moment gets its share
        found = [bench.kill(out, aim, dice.uniform(0, lasted[aim]))]
        if dice.random() < 0.5 and hit.total() + 1 < kills:  # and once more, anywhere in the run that goes on
            found.append(bench.kill(out, Moment.START, dice.uniform(0, sum(lasted.values()))))
        here = [moment for moment in found if moment is not None]
        hit.update(here)
        bench.finish(out)
        wrong = differences(undisturbed, out)
        differ += [f"{out.name}: {name}" for name in wrong]
        what = "differs: " + ", ".join(wrong) if wrong else "same bytes"
        print(f"{hit.total():3d} killed at {', '.join(here) or 'no time'}: {what}", flush=True)
        if not wrong:
            shutil.rmtree(out)
    print("\n| killed at | times |\n|---|---|")
    print("\n".join(f"| {moment} | {hit[moment]} |" for moment in places))
    return differ


def benches(folder: Path, arguments: argparse.Namespace) -> Iterator[tuple[Bench, int]]:
    """Make what the commands work on; yield each command and how often to kill it."""
    if arguments.kills:
        make_images(folder / "source", arguments.images, 30, arguments.seed)
        # The precision is given, since the default is measured: two runs may rightly come to different ones.
        words = ["run", str(folder / "source"), "--keep", "0.9"]
        words += ["--epochs", "2", "--depth", "8", "--precision", "float32"]
        yield Bench(tuple(words), moment_of_run), arguments.kills
    if arguments.clusterings:
        made = folder / "vectors"
        make_vectors(made, arguments.vectors, arguments.seed)
        embed = ["embed", str(made / "vectors.npy"), "--labels", str(made / "labels.npy")]
        Bench(tuple(embed), moment_of_run).finish(folder / "embedded")
        for within, keep, memory in (("class", "0.5", "20MiB"), ("all", "0.6", "32MiB")):
            words = ["cluster", "--within", within, "--keep", keep, "--memory", memory]
            yield Bench(tuple(words), moment_of_clustering, folder / "embedded"), arguments.clusterings


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30, help="how many kills of a whole run (30)")
    parser.add_argument("--clusterings", type=int, default=12, help="how many of each clustering (12)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments, the images and the vectors (0)")
    parser.add_argument("--images", type=int, default=4300, help="how many images (4300: two part files)")
    parser.add_argument("--vectors", type=int, default=40_000, help="how many vectors (40000)")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kill-stages-"))
    differ: list[str] = []
    total = 0
    for number, (bench, kills) in enumerate(benches(folder, arguments)):
        (folder / f"bench-{number}").mkdir()
        differ += rounds(bench, folder / f"bench-{number}", kills, arguments.seed)
        total += kills
    if differ:
        print(f"\n{len(differ)} files differ; they are in {folder}")
        return 1
    print(f"\n{total} kills, same bytes every time")
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
