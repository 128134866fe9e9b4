"""Pairs of images to ask about, their answers in the log of decisions, and the threshold these suggest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.store.embeddings import Ints
from ..decisions.log import ANSWERS, Decision, DecisionLog, ImageName, Kind
from ..decisions.meaning import places
from ..errors import UsageError, quoted
from ..linkage.distances import dissimilarities, unit_vectors
from ..selection.stored import OpenRun
from ..tree.cut import Cut
from ..tree.gap import LOWEST, without_exact
from ..tree.merges import Merges
from ..tree.merges_file import complete_heights
from ..tree.steps import Floats
from .estimate import FEWEST, ThresholdEstimate
from .posterior import Answer, ThresholdPosterior

MOST = 60  # answers
NARROW = 1.25  # ratio of the interval's ends from which on further answers change little
CLOSE = 0.01  # share of the images: ends that remove so nearly the same need no further answers


class PairQuestion(NamedTuple):
    """Two images, as positions in id order, whose merge is at the height of their dissimilarity."""

    first: int
    second: int
    dissimilarity: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """A person's answers about pairs of images, and the threshold they suggest.

        calibration = tp.Calibration.open("runs/photos")
        for pair in calibration.questions(6):
            calibration = calibration.answer(pair, same=looks_the_same(*calibration.ids(pair)))
        calibration.estimate.threshold

    Every pair shown is the one that closed a merge: the two images of a group that are farthest apart, at the height
    at which a cut puts them into one group.

    Attributes:
        merges: the tree under the decisions of the run.
        log: the decisions of the run; answers are those of the kinds ``same`` and ``different``, and change no cut.
    """

    merges: Merges
    log: DecisionLog

    @classmethod
    def open(cls, run: str | Path) -> Calibration:
        """Open the answers of a clustered run folder.

        Raises:
            RunFolderError, StageError: there is none, or it has not been clustered.
        """
        opened = OpenRun.open(run)
        return cls(opened.decided(), DecisionLog(opened.folder.path))

    def __post_init__(self) -> None:
        if not len(self.heights):
            folder, noun = self.log.path.parent, self.merges.embeddings.noun
            raise UsageError(
                f"the tree of {folder} has no merges of unequal {noun}s to ask about; cluster deeper: "
                f"tenpercent cluster {quoted(folder)} --keep 0.3"
            )

    @cached_property
    def heights(self) -> Floats:
        """Heights of the merges, without those of exact duplicates, as far as the tree is complete; float64[k]."""
        return without_exact(complete_heights(self.merges.height, self.merges.complete_to))

    @cached_property
    def answered(self) -> dict[tuple[int, int], bool]:
        """Answer about each pair, the smaller position first; of several the last."""
        place = places(self._given, self.merges.embeddings)
        found = {}
        for one in self._given:
            first, second = sorted(place.get(image, -1) for image in one.images)
            if 0 <= first < second:
                found[first, second] = one.kind is Kind.SAME
        return found

    @property
    def last(self) -> int | None:
        """Number of the last answer in the log; None for none."""
        return self._given[-1].number if self._given else None

    @cached_property
    def posterior(self) -> ThresholdPosterior:
        """Distribution of the threshold after the answers."""
        units = unit_vectors(self.merges.embeddings.vectors[self._pairs.ravel()])
        first = np.arange(0, len(units), 2)
        apart = dissimilarities(units, first, first + 1).tolist()
        answers = [
            Answer(d, same) for d, same in zip(apart, self.answered.values(), strict=True) if d > LOWEST
        ]
        return ThresholdPosterior(float(self.heights[0]), float(self.heights[-1]), answers)

    def questions(self, count: int = 1) -> list[PairQuestion]:
        """Return the next pairs to ask about, at most `count`; the same ones until something is answered.

        Half of them lie near the current estimate, the others anywhere in the tree.
        """
        merges, known = self.merges, len(self.answered)
        n = len(merges.embeddings)
        new = ~np.isin(merges.a * n + merges.b, self._pairs @ [n, 1])
        left = np.flatnonzero(new & (merges.height >= self.heights[0]) & (merges.height <= self.heights[-1]))
        random = np.random.default_rng(known)
        ends = np.log(self.heights[[0, -1]])
        found = []
        for number in range(known, known + min(count, len(left))):
            wanted = random.uniform(*ends) if number % 2 else np.log(self.posterior.draw(random))
            nearest = int(np.abs(np.log(merges.height[left]) - wanted).argmin())
            at, left = int(left[nearest]), np.delete(left, nearest)
            found.append(PairQuestion(int(merges.a[at]), int(merges.b[at]), float(merges.height[at])))
        return found

    def ids(self, question: PairQuestion) -> tuple[str, str]:
        """Return the ids of the two images of a question."""
        first, second = self.merges.embeddings.ids[[question.first, question.second]]
        return str(first), str(second)

    def answer(self, question: PairQuestion, *, same: bool) -> Calibration:
        """Store an answer, and return the calibration with it.

        Raises:
            RunFolderError: it can't be written.
        """
        hashes = self.merges.embeddings.hashes
        positions = (question.first, question.second)
        codes = [None if hashes is None else str(hashes[position]) for position in positions]
        images = [ImageName(name, code) for name, code in zip(self.ids(question), codes, strict=True)]
        self.log.add(Kind.SAME if same else Kind.DIFFERENT, images)
        return Calibration(self.merges, self.log)

    def undo(self) -> Calibration:
        """Undo the last answer, if there is one, and return the calibration without it."""
        if self.last is not None:
            self.log.undo(self.last)
        return Calibration(self.merges, self.log)

    @cached_property
    def estimate(self) -> ThresholdEstimate:
        """Threshold that the answers suggest, with what it removes."""
        low, middle, high = self.posterior.quantiles(0.05, 0.5, 0.95).tolist()
        rounded = float(f"{middle:.2g}")
        threshold = rounded if low <= rounded <= high else middle
        lowest, highest = float(self.heights[0]), float(self.heights[-1])
        removed, fewest, most = (self._removed(min(height, highest)) for height in (threshold, low, high))
        n = len(self.merges.embeddings)
        return ThresholdEstimate(
            len(self.answered),
            threshold,
            low,
            high,
            n,
            removed,
            fewest,
            most,
            lowest,
            highest,
            bool(np.isinf(self.merges.complete_to).all()),
            self.log.path.parent,
            self.merges.embeddings.noun,
        )

    @property
    def done(self) -> bool:
        """True where further answers would change little, or there are enough, or no pair is left."""
        found = self.estimate
        narrow = found.high <= NARROW * found.low or found.most - found.fewest <= CLOSE * found.images
        return found.answers >= MOST or (found.answers >= FEWEST and narrow) or not self.questions()

    @cached_property
    def _given(self) -> tuple[Decision, ...]:
        return tuple(one for one in self.log.active() if one.kind in ANSWERS)

    @cached_property
    def _pairs(self) -> Ints:
        return np.array([*self.answered], dtype=np.int64).reshape(-1, 2)

    def _removed(self, height: float) -> int:
        part = self.merges.partition(Cut(threshold=height))
        return len(part.group) - part.n_kept
