"""Names of the files in a run folder, and the stage that writes each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .records import Stage


@dataclass(frozen=True)
class RunPaths:
    """Paths of the files of one run."""

    path: Path

    @property
    def json_path(self) -> Path:
        """File of settings, versions, seeds and timings."""
        return self.path / "run.json"

    @property
    def embeddings(self) -> Path:
        """Folder of the embeddings' part files."""
        return self.path / "embeddings"

    @property
    def rejected(self) -> Path:
        """Table of images and vectors that are left out: id, row, reason."""
        return self.path / "rejected.parquet"

    @property
    def given(self) -> Path:
        """Table of the vectors that a program passed, where the run is made of such."""
        return self.path / "given.parquet"

    @property
    def holdout(self) -> Path:
        """Table of images held out before embedding: id, row, label."""
        return self.path / "holdout.parquet"

    @property
    def added(self) -> Path:
        """Table of the images that the last update added: id."""
        return self.path / "added.parquet"

    @property
    def stamps(self) -> Path:
        """Table of what a store said of each image: id, stamp. Without it the images are read again."""
        return self.path / "stamps.parquet"

    @property
    def update(self) -> Path:
        """Folder of what an update has prepared, until it takes the place of what was there."""
        return self.path / "update"

    @property
    def embeddings_again(self) -> Path:
        """Folder of the runs whose embeddings an evaluation has trained with other seeds, one a number from 1."""
        return self.path / "embeddings-again"

    @property
    def training(self) -> Path:
        """Folder of the embedding network's weights, checkpoint, settings and curve."""
        return self.path / "training"

    @property
    def merges(self) -> Path:
        """Table of the first merges of the complete-linkage tree."""
        return self.path / "merges.parquet"

    @property
    def counts(self) -> Path:
        """State beside the merges from which a deeper cut resumes."""
        return self.path / "merges.counted.parquet"

    @property
    def decided(self) -> Path:
        """Table of the merges under the decisions of `decisions.sqlite`, where these change the tree."""
        return self.path / "decided.parquet"

    @property
    def decided_counts(self) -> Path:
        """State from which a deeper cut of the decided merges resumes."""
        return self.path / "decided.counted.parquet"

    @property
    def scratch(self) -> Path:
        """Folder of files needed only until a stage is done: finished classes, pairs that exceed the memory."""
        return self.path / "scratch"

    @property
    def selection(self) -> Path:
        """Table of one row per image: kept or removed, and its representative."""
        return self.path / "selection.parquet"

    @property
    def sharpness(self) -> Path:
        """Table of the sharpness of images, by their content, for representatives that are the sharpest."""
        return self.path / "sharpness.parquet"

    @property
    def next_images(self) -> Path:
        """List of the images to label next."""
        return self.path / "next.csv"

    @property
    def report(self) -> Path:
        """HTML page of the results."""
        return self.path / "report.html"

    @property
    def results(self) -> Path:
        """Table of one row per training run of the evaluation."""
        return self.path / "results.parquet"

    @property
    def evidence(self) -> Path:
        """Folder of tables and figures of the evaluation's results."""
        return self.path / "evidence"

    def outputs(self, stage: Stage) -> list[Path]:
        """Return the outputs of `stage`: files, or folders of files."""
        return {
            Stage.EMBED: [self.rejected, self.holdout, self.added, self.embeddings, self.training],
            Stage.CLUSTER: [self.merges, self.counts, self.decided, self.decided_counts],
            Stage.SELECT: [self.selection],
            Stage.REPORT: [self.report, self.evidence],
        }[stage]
