"""Evaluation of a run by heads on its frozen vectors: trials are re-splits, and all arms of one are fitted together."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pyarrow.compute as pc
from filelock import FileLock

from ...data.store.files import fingerprint, remove_temporaries, write_text
from ...data.store.run_folder import RunFolder, Stage
from ...data.store.tables import damaged
from ...data.store.typed import parsed
from ...decisions.log import ANSWERS, DecisionLog
from ...errors import LockedError, UsageError, counted
from ...progress import bar
from ...selection.stored import load_embeddings
from ...tree.cut import Rule
from ..arms import check_arms
from ..claims import Claims
from ..experiment import missing, progress_of
from ..other_trees import Trees
from ..preparation import EvaluationRequest
from ..results import Results
from ..stage import Evaluation, checked_margin, searched_arm, warn_of_ignored
from ..trials import FULL, Trial, plan_trials
from .pool import Pool, pool_of
from .trial import GRID, VALIDATED, chosen_weight_decay, run_trial

if TYPE_CHECKING:
    from ..find import SearchResult

log = logging.getLogger("tenpercent")

VERSION = 1  # of the heads: results of others are not compared with them
HEAD = "head"  # the name of this proof, for --network


class WeightDecayRecord(TypedDict):
    """The file in which the choice of the weight decay is stored."""

    weight_decay: float
    tried: dict[str, float]


def saw_labels(run: RunFolder) -> bool:
    """Return whether a run's vectors come from a network trained on its labels: a head on them proves nothing."""
    stored = run.require(Stage.EMBED).settings.made_by
    return stored["embedder"] == "supervised" or bool(stored["embedder"] == "timm" and stored["finetune"])


@dataclass(frozen=True, eq=False)
class HeadEvaluation:
    """An evaluation by heads, opened and checked.

    Attributes:
        pool: all images.
        trees: how the run is cut.
        results: the heads that are done.
        key: of results that may be compared.
    """

    pool: Pool
    trees: Trees
    results: Results
    key: str

    @classmethod
    def of(cls, what: str | Path, request: EvaluationRequest) -> HeadEvaluation:
        """Open a run folder and check the comparison asked for.

        Raises:
            UsageError: the embedding was trained on the labels, an arm that heads don't have, or see `pool_of`.
        """
        run = RunFolder.open(what)
        check_heads(run, request)
        _warn(run)
        embeddings, trees = load_embeddings(run), Trees(run, ignore_decisions=True)
        own = embeddings if trees.layer == embeddings.layer else load_embeddings(run, trees.layer)
        pool = pool_of(run, own, request)
        origin = fingerprint([run.source.fingerprint, pool.about])
        results = Results(run, f"{run.source.fingerprint}-{embeddings.origin}")
        key = fingerprint([HEAD, VERSION, list(GRID), VALIDATED, origin, trees.within, trees.cut])
        return cls(pool, trees, results, key)

    def planned(self, request: EvaluationRequest) -> list[Trial]:
        """Return the heads asked for, trial by trial."""
        return plan_trials(request.arms, request.keep, request.trials, (self.trees.layer,))

    def run(self, trials: Sequence[Trial]) -> None:
        """Fit the missing heads of trials, number by number; another process may take some of the numbers."""
        numbers = sorted({one.trial for one in trials if not self.results.done(one, self.key)})
        if not numbers:
            return
        weight_decay = self._weight_decay()
        claims = Claims(self.results.folder)
        with bar(len(numbers), "heads", "re-split") as shown:
            for number in numbers:
                with claims.claim(f"heads-{number:03d}-{self.key}") as ours:
                    own = [
                        one for one in trials if one.trial == number and not self.results.done(one, self.key)
                    ]
                    if ours and own:
                        self._run_one(own, weight_decay)
                shown.update()

    def _run_one(self, own: Sequence[Trial], weight_decay: float) -> None:
        """Fit and store the heads of one trial number."""
        for one in own:
            remove_temporaries(self.results.path(one, self.key))
        done = run_trial(self.pool, own, weight_decay, (self.trees.cut, self.trees.within))
        self.results.add_all(done, self.key)

    def _weight_decay(self) -> float:
        """Return the weight decay of all heads, chosen once and stored."""
        path = self.results.folder / f"head-{self.key}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.exists():
                chosen = chosen_weight_decay(self.pool)
                write_text(path, json.dumps(chosen, indent=2) + "\n")
                log.info(
                    "weight decay of all heads: %.2g, by a fifth of the training %ss of the first re-split",
                    chosen["weight_decay"],
                    self.pool.embeddings.noun,
                )
        try:
            return float(parsed(path.read_bytes(), WeightDecayRecord)["weight_decay"])
        except (OSError, ValueError) as error:
            raise damaged(path, error) from None


def check_heads(run: RunFolder, request: EvaluationRequest) -> None:
    """Raise `UsageError` for what heads can't compare."""
    if saw_labels(run):
        raise UsageError(
            f"the vectors of {run.path} were trained on its labels, so a head on them proves nothing; train networks: "
            "--network fast or --preset NAME"
        )
    lists = [arm for arm in request.arms if "=" in arm]
    if lists:
        raise UsageError(
            f"--arms {lists[0]} names {run.source.noun}s, and every trial of heads splits all of them again; "
            "train networks on it with --preset NAME"
        )
    if request.layers or request.embeddings > 1:
        raise UsageError(
            "--layer and --embeddings are for networks trained from scratch; heads take the vectors that the run was "
            "clustered by: leave them out, or name --preset NAME"
        )
    check_arms(request.arms)


def evaluate_by_heads(what: str | Path, request: EvaluationRequest) -> Evaluation:
    """Fit a head for each arm, fraction and re-split, and store the results.

    Args:
        what: a run folder of labelled images or vectors, whose network was not trained on the labels.
        request: the comparison; `trials` are re-splits.

    Raises:
        UsageError: see `HeadEvaluation.of`.
        StageError: the folder holds results of other images or of a newer version.
    """
    ready = HeadEvaluation.of(what, request)
    trials = ready.planned(request)
    _report(ready, missing(trials, ready.results, ready.key))
    ready.run(trials)
    return Evaluation(ready.results.rebuild(), progress_of(trials, ready.results, ready.key), ready.key)


def find_by_heads(
    what: str | Path, request: EvaluationRequest, margin: float | None = None
) -> tuple[Evaluation, SearchResult]:
    """Search for the smallest fraction whose loss stays within a margin, as `stage.find` does, by heads.

    A re-split fits the heads of all fractions at once.

    Args:
        what, request: as for `evaluate_by_heads`; the one arm besides ``full`` is searched.
        margin: in points of accuracy, above 0; None for the default.

    Raises:
        UsageError: see `HeadEvaluation.of`; or not one arm to search.
    """
    from ..find import SearchResult, find_step

    arm, margin = searched_arm(request), checked_margin(margin)
    ready = HeadEvaluation.of(what, request)
    trials = plan_trials((FULL, arm), request.keep, request.trials, (ready.trees.layer,))
    _report(ready, 0)
    tried: list[Trial] = []
    while True:
        table = ready.results.rebuild()
        searched = table.filter(pc.field("protocol") == ready.key)
        step = find_step(searched, margin, request.keep, request.trials, arm)
        if isinstance(step, SearchResult):
            return Evaluation(table, progress_of(tried, ready.results, ready.key), ready.key), step
        own = [one for one in trials if one.trial == step.trial]
        ready.run(own)
        if missing(own, ready.results, ready.key):
            raise LockedError(
                f"another process is fitting the heads of trial {step.trial + 1} in {what}; wait for it"
            )
        tried += own


def _warn(run: RunFolder) -> None:
    """Warn of what the run's own selection has that heads ignore, as each trial selects from other images."""
    warn_of_ignored(run)
    noun = run.source.noun
    if any(one.kind not in ANSWERS for one in DecisionLog(run.path).active()):
        log.warning(
            "decisions about %ss are ignored by heads: every trial selects again by the tree alone", noun
        )
    selected = run.stage(Stage.SELECT)
    if selected is not None and selected.settings.representative != Rule.CENTRE:
        log.warning(
            "--representative %s is ignored by heads: the %s nearest to the centre of its group is kept",
            selected.settings.representative,
            noun,
        )


def _report(ready: HeadEvaluation, left: int) -> None:
    """Say what is fitted on what."""
    pool = ready.pool
    log.info(
        "%sheads on frozen vectors: every trial splits %s again, %s of them to test on (as many of each class as in: "
        "%s)",
        f"{left:,} " if left else "",
        counted(len(pool.embeddings), pool.embeddings.noun),
        f"{pool.n_tested:,}",
        pool.test_set,
    )
