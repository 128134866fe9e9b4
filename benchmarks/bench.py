"""What each row of the clustering's benchmark has at hand: data, made once, and contestants to run side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from made import RECIPE
from measure import Contestant, Facts, NotMeasured, duel, ratio

FOREIGN = ("peers.faiss_range", "peers.semhash")  # contestants that run in the peers' interpreter


@dataclass(frozen=True)
class Bench:
    """Where the data is, and how much of everything is done.

    Attributes:
        scratch: a folder for what is made; it is used again if it is there.
        peers: an interpreter that has faiss and SemHash, or None.
        rounds: later calls of each contestant.
        quick: tiny sizes, to try the script.
        rows: how many real vectors there are.
        flags: of the processor.
    """

    scratch: Path
    peers: Path | None
    rounds: int
    quick: bool
    rows: int
    flags: tuple[str, ...]

    @property
    def vectors(self) -> str:
        return str(self.scratch / f"real-{'digits' if self.quick else 'cifar10'}.npy")

    @property
    def labels(self) -> str:
        return self.vectors.replace("real-", "labels-")

    def settings(self, labelled: bool, **more: Any) -> Facts:
        """Return settings for the real vectors."""
        return {"vectors": self.vectors, "labels": self.labels if labelled else None, **more}

    def start(self, what: str, settings: Facts, **variables: str) -> Contestant:
        """Start a contestant, `module.function`, with some variables in its environment.

        Raises:
            NotMeasured: it can't be started here.
        """
        module, function = what.split(".")
        if what not in FOREIGN:
            return Contestant((module, function), settings, environment=variables)
        if self.peers is None:
            raise NotMeasured("not installed: --peers names an interpreter that has requirements-peers.txt")
        return Contestant((module, function), settings, python=self.peers, environment=variables)

    def run(self, entries: dict[str, tuple[str, Facts]], rounds: int | None = None) -> dict[str, Facts]:
        """Let contestants run side by side; those that can't be started say why."""
        started: dict[str, Contestant] = {}
        results: dict[str, Facts] = {}
        try:
            for label, (what, settings) in entries.items():
                try:
                    started[label] = self.start(what, settings)
                except NotMeasured as why:
                    results[label] = {"not measured": str(why)}
            results |= duel(started, self.rounds if rounds is None else rounds)
        finally:
            for contestant in started.values():
                contestant.close()
        return {label: results[label] for label in entries}

    def once(self, what: str, settings: Facts) -> Facts:
        """Run something once; return its facts.

        Raises:
            NotMeasured: it failed.
        """
        with self.start(what, settings) as contestant:
            facts: Facts = contestant.call()["facts"]
            return facts

    def file(self, name: str, what: str, **more: Any) -> str:
        """Return a file of made data, making it where it is not there.

        Raises:
            NotMeasured: the disk has no room.
        """
        source = "digits" if self.quick else "cifar10"
        path = self.scratch / f"{name}-{source}-{RECIPE}.npy"
        if not path.exists():
            self.once(what, self.settings(True, out=str(path), **more))
        return str(path)

    def radius(self, vectors: str) -> float:
        """Return a radius just above the height of the 90% cut of all rows together: no pair lies at it."""
        notes = Path(vectors).with_suffix(".radius.json")
        if not notes.exists():
            cut = self.once("engine.linkage", {"vectors": vectors, "keep": 0.9})["cuts"][0]
            notes.write_text(json.dumps(cut * (1 + 1e-9)))
        return float(json.loads(notes.read_text()))

    def truth(self, radius: float) -> str:
        """Return the file of all pairs of the real rows within `radius`."""
        path = Path(self.vectors).with_name(f"pairs-{radius!r}-{'digits' if self.quick else 'cifar10'}.npy")
        if not path.exists():
            self.once("groups.all_pairs", self.settings(False, radius=radius, out=str(path)))
        return str(path)


def compared(results: dict[str, Facts], base: str, **more: Any) -> Facts:
    """Return the body of a row: the results, and how many times slower than `base` each is."""
    ratios = {label: ratio(result, results[base]) for label, result in results.items() if label != base}
    known = {label: found for label, found in ratios.items() if found is not None}
    return {"contestants": results, "times slower than": base, "ratios": known, **more}
