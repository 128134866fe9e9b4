"""The threshold that answers suggest, and its words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import counted, quoted
from ..tree.gap import said_height

FEWEST = 30  # answers before a threshold counts as found


@dataclass(frozen=True)
class ThresholdEstimate:
    """Threshold that answers suggest.

    Attributes:
        answers: the number of answers.
        threshold: the median of its distribution, in two digits.
        low, high: the ends of its 90% interval.
        images: the number of images.
        removed, fewest, most: the images that a cut at the threshold and at the ends of the interval removes.
        lowest, highest: the heights of the first merge of unequal images, and of the last one up to which the tree is
            complete.
        whole: whether the tree ends there because it is complete.
        folder: the run folder.
        noun: what one of the images is called.
    """

    answers: int
    threshold: float
    low: float
    high: float
    images: int
    removed: int
    fewest: int
    most: int
    lowest: float
    highest: float
    whole: bool
    folder: Path
    noun: str = "image"

    @property
    def beyond(self) -> bool:
        """True where the threshold lies beyond the end of a tree that could be clustered deeper."""
        return self.threshold > self.highest and not self.whole

    @property
    def below(self) -> bool:
        """True where it lies below all merges of unequal images."""
        return self.threshold < self.lowest

    def __str__(self) -> str:
        if not self.answers:
            return "No pair is answered yet, so there is no threshold."
        between = f"90% interval: {said_height(self.low)} to {said_height(self.high)}"
        after = f"After {counted(self.answers, 'answer')}"
        if self.beyond:
            return (
                f"{after}: pairs are the same for you up to {said_height(self.highest)}, where the tree ends. "
                "Cluster deeper, then answer more: "
                f"tenpercent cluster {quoted(self.folder)} --threshold {min(2 * self.highest, 2):.2g}"
            )
        if self.below:
            return (
                f"{after}: no pair is the same for you, not even the most alike ({said_height(self.lowest)} apart). "
                f"Only {self.noun}s with equal vectors would go."
            )
        n = self.images
        ends = f"{self.fewest:,} to {self.most:,}" if self.fewest < self.most else "as many"
        if self.answers < FEWEST:
            remedy = (
                f"{FEWEST - self.answers} more make it reliable: tenpercent calibrate {quoted(self.folder)}"
            )
        else:
            remedy = f"Take it: tenpercent select {quoted(self.folder)} --threshold {self.threshold:g}"
        return (
            f"{after}: the same up to {said_height(self.threshold)} ({between}).\n"
            f"That removes {self.removed:,} of {counted(n, self.noun)} ({self.removed / n:.1%}); at the ends of the "
            f"interval {ends}. {remedy}"
        )
