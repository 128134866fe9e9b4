"""Does it help to count what is kept as often as what it stands for? Trainings with the size of the group in the loss.

    python experiments/group_weights.py --run runs/fifth [--keep 0.5 0.3] [--power 0.5] [--trials 3]

RUN is a run folder that is clustered, with a test set (experiments/fifth.py makes one). Each image that `semantic`
keeps weighs size^power in the loss, where size is that of the group it stands for; 0 would be `semantic` itself.
Everything else, the seeds too, is as in `tenpercent evaluate RUN --arms semantic`. What each training came to is a file
in RUN/group-weights; called again it goes on, and two processes may share the folder.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from lists import arguments
from torch.nn.functional import cross_entropy

import tenpercent as tp
from tenpercent.data.store.files import fingerprint
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding.loop import threads
from tenpercent.embedding.measure import Exam, ask
from tenpercent.embedding.networks import build
from tenpercent.embedding.settings import Supervised
from tenpercent.embedding.training import Classes, Lesson, carry_out, seeded
from tenpercent.evaluation.claims import Claims
from tenpercent.evaluation.preparation import Asked, Ready
from tenpercent.evaluation.presets import Protocol, preset
from tenpercent.evaluation.training import TrainingData, course
from tenpercent.evaluation.trials import SEMANTIC
from tenpercent.selection.selection import Selection


@dataclass(frozen=True, eq=False)
class Weighted(Classes):
    """To guess the class of each image, where an image counts as much as `counts` says, float32[m]."""

    counts: torch.Tensor = field(kw_only=True)

    def loss(self, outputs: torch.Tensor, places: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weighted mean of the cross-entropy, and how many guesses are right."""
        labels, counts = torch.from_numpy(self.labels[places]), self.counts[places]
        each = cross_entropy(
            outputs, labels, reduction="none", label_smoothing=self.settings.recipe.smoothing
        )
        return (each * counts).sum() / counts.sum(), (outputs.argmax(1) == labels).sum()


def main() -> None:
    """Train what is not there yet, and print what there is."""
    parser = arguments(__doc__, keep=[0.5, 0.3], trials=3)
    parser.add_argument("--power", type=float, default=0.5)
    given = parser.parse_args()
    protocol = preset(given.preset).protocol.override(epochs=given.epochs, precision="float32")
    run = RunFolder.open(given.run)
    ready = Ready.of(run, Asked(tuple(given.keep), (SEMANTIC,), given.trials))
    data, folder = ready.data(None), given.run / "group-weights"
    with threads(1):
        for trial in ready.plan.all():
            selection = tp.select(
                ready.trees.tree(min(given.keep), 0, trial.layer), tp.Cut(trial.fraction, **ready.trees.cut)
            )
            path = folder / f"{trial.name}-power-{given.power:g}-{given.epochs}-epochs.json"
            with Claims(folder).claim(path.stem) as ours:
                if ours and not path.exists():
                    seed = trial.seed(ready.results.about)
                    found = trained(data, protocol, selection, given.power, seed, path.with_suffix(""))
                    path.write_text(json.dumps(found) + "\n")
    for path in sorted(folder.glob("*.json")):
        print(f"{path.stem}: {100 * json.loads(path.read_text())['accuracy']:.2f}%")


def trained(
    data: TrainingData, protocol: Protocol, selection: Selection, power: float, seed: int, folder: Path
) -> dict[str, float]:
    """Train on what a selection keeps, by weight, and return what the network gets right of the test images."""
    places = np.flatnonzero(selection.kept_by_id)
    labels = np.full(len(data.labels), -1)
    labels[places] = data.labels[places]
    settings = replace(protocol.training, seed=seed)
    assert isinstance(settings, Supervised)
    counts = torch.from_numpy(selection.group_size.astype(np.float32) ** power)
    with seeded(seed):
        network = build(settings.network, settings.depth, data.n_classes, data.pixels.size)
    lesson = Lesson(
        pixels=data.pixels,
        places=places,
        network=network,
        task=lambda view: Weighted(labels, view, settings, counts=counts),
        settings=settings,
        origin=fingerprint([settings.as_json(), labels.tolist(), power]),
        folder=folder,
        view=None,
        planned=course(protocol, len(places), len(labels)),
        n_classes=data.n_classes,
    )
    done = carry_out(lesson)
    exam = Exam(data.test_pixels, data.test_labels, np.arange(len(data.test_labels)), protocol.mirrored)
    answers = ask(done.network, done.view, done.choice, done.device, exam)
    return {"accuracy": answers.accuracy, "test_loss": answers.loss, "n": len(places)}


if __name__ == "__main__":
    main()
