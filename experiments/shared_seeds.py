"""Do networks trained with the same seed on all images and on 90% of them have correlated accuracies?

    python experiments/shared_seeds.py [--trials 40] [--out runs/shared-seeds] [--to docs/data/shared_seeds.json]

If they had, trials of networks trained from scratch should be compared as pairs, as heads are. The digits, preset
`digits`; seeds 0, 1, …; a random 90% drawn by the seed. Called again, it resumes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats

import tenpercent as tp
from tenpercent.data.store.environment import machine, versions
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.evaluation.preparation import EvaluationRequest, Preparation
from tenpercent.evaluation.presets import preset

KEEP = 0.9


def main() -> None:
    """Train what is not done yet; print and store the correlation with its 95% interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("runs/shared-seeds"))
    parser.add_argument("--to", type=Path)
    given = parser.parse_args()
    tp.embed("digits", out=given.out, embedder=preset("digits").training)
    ready = Preparation.of(RunFolder.open(given.out), EvaluationRequest())
    train, _ = ready.trainer(preset("digits").protocol)
    done = given.out / "accuracies.json"
    found: list[list[float]] = json.loads(done.read_text("utf-8")) if done.exists() else []
    everything = np.arange(len(ready.embeddings))
    for seed in range(len(found), given.trials):
        some = np.sort(np.random.default_rng(seed).permutation(everything)[: round(KEEP * len(everything))])
        with tempfile.TemporaryDirectory() as scratch:
            pair = [
                train(places, seed, Path(scratch) / str(at)).accuracy
                for at, places in enumerate((everything, some))
            ]
        found.append(pair)
        done.write_text(json.dumps(found), encoding="utf-8")
    full, part = np.array(found[: given.trials]).T
    tested = stats.pearsonr(full, part)
    low, high = tested.confidence_interval(0.95)
    said = {"trials": given.trials, "correlation": tested.statistic, "low": low, "high": high}
    print(
        f"{given.trials} seeds: correlation {tested.statistic:+.2f}, 95% interval {low:+.2f} to {high:+.2f}"
    )
    if given.to is not None:
        about = {**said, "machine": machine(), "versions": versions()}
        given.to.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
