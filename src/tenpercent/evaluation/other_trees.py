"""Trees that an evaluation chooses images by: those of the run, of other layers, of other embeddings."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.sources.options import SourceOptions
from ..data.store.embeddings import Embeddings
from ..data.store.run_folder import RunFolder, Stage
from ..embedding.settings import LARGE, SelfSupervised, Supervised
from ..embedding.stage import embed
from ..errors import StageError, UsageError
from ..pipeline import cluster
from ..tree.cut import Cut

if TYPE_CHECKING:
    from ..tree.merges import Merges

log = logging.getLogger("tenpercent")

# Embedders that differ by their seed.
SEEDED: dict[str, type[Supervised] | type[SelfSupervised]] = {
    "supervised": Supervised,
    "selfsupervised": SelfSupervised,
}


class Trees:
    """The trees of a run, each made when it is first needed.

    Attributes:
        cut: arguments of `Cut`, beside the fraction, for the run's own selection.
        within: ``class`` or ``all``, as the run was clustered, or will be.
        layer: the layer that it was clustered by.
    """

    def __init__(self, run: RunFolder, *, ignore_decisions: bool = False) -> None:
        """Read how a run was clustered and cut.

        Args:
            run: an embedded run.
            ignore_decisions: grow the trees as if nothing had been decided about any image.
        """
        clustered, selected = run.stage(Stage.CLUSTER), run.stage(Stage.SELECT)
        cut = None if selected is None else selected.settings
        self.cut: dict[str, Any] = {
            # A threshold cuts all classes at one height, as a budget of the whole does.
            "budget": "class" if cut is None else cut.budget or "global",
            "min_per_class": 1 if cut is None else cut.min_per_class,
        }
        # An evaluation has labels.
        self.within: str = "class" if clustered is None else clustered.settings.within
        self.layer: str = "end" if clustered is None else clustered.settings.layer
        self._run = run
        self._ignore = ignore_decisions
        self._known: dict[tuple[float, int, str], Merges] = {}
        self._others: dict[int, RunFolder] = {}

    def tree(self, least: float, embedding: int, layer: str) -> Merges:
        """Return the tree of an embedding (0: the run's own) and a layer, as deep as the fraction `least` needs."""
        key = (least, embedding, layer)
        if key not in self._known:
            self._known[key] = self._made(*key)
        return self._known[key]

    def _made(self, least: float, embedding: int, layer: str) -> Merges:
        from ..selection.stored import constraints_for, load_decided, load_embeddings

        if embedding == 0 and layer == self.layer:
            if self._run.stage(Stage.CLUSTER) is None:
                cluster(self._run.path, least, within=self.within, layer=layer)
            # Not stored: a deeper tree on disk would make the run's own selection be made again.
            return load_decided(self._run, ignore=self._ignore).deepened(Cut(least, **self.cut))
        run = self._run if embedding == 0 else self._again(embedding)
        embeddings = load_embeddings(run, layer)
        constraints = constraints_for(self._run, embeddings, ignore=self._ignore)
        free = cluster(embeddings, least, within=self.within)
        return free.under(constraints).deepened(Cut(least, **self.cut))

    def _again(self, embedding: int) -> RunFolder:
        """Embed the same images with another seed, in a folder of its own, unless that is done."""
        if embedding not in self._others:
            self._others[embedding] = self._embedded_again(embedding)
        return self._others[embedding]

    def _embedded_again(self, embedding: int) -> RunFolder:
        from ..selection.stored import load_embeddings

        about, settings = self._run.source, self._run.require(Stage.EMBED).settings
        stored = settings.made_by
        kind = SEEDED.get(stored["embedder"])
        if kind is None:
            raise UsageError(
                f"--embeddings {embedding + 1} trains the embedding again, and that of {self._run.path} was not "
                "trained from scratch; leave it out"
            )
        first = kind.from_json(stored)
        if isinstance(first, SelfSupervised) and first.side_open:
            first = replace(first, side=LARGE)  # its meaning where it was set, which may differ here
        folder = self._run.embeddings_again / str(embedding)
        log.info("embedding %d, with seed %d", embedding + 1, first.seed + embedding)
        embed(
            about.spec,
            out=folder,
            embedder=replace(first, seed=first.seed + embedding),
            holdout=settings.holdout or 0.0,
            options=SourceOptions.from_json(about.options),
        )
        found = RunFolder.open(folder)
        _check_same_images(load_embeddings(found), load_embeddings(self._run), found)
        return found


def _check_same_images(found: Embeddings, first: Embeddings, run: RunFolder) -> None:
    if found.ids.tolist() != first.ids.tolist():
        raise StageError(
            f"{run.path} holds {len(found):,} images, and not the same {len(first):,} as the first embedding; delete it"
        )
