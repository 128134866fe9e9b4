"""Exchange of what a run holds for what an update has prepared; where it is killed, the next command finishes it."""

from __future__ import annotations

import shutil

from .files import write_text
from .remains import remove_tree
from .run_folder import STAY, RunFolder, Stage

CACHES = ("scratch", "pictures", "review", "stamps.parquet")  # made again when they are needed


def is_prepared(run: RunFolder) -> bool:
    """Return whether an update is prepared, and has not yet taken the place of what was there."""
    prepared = RunFolder(run.update)
    return prepared.json_path.exists() and prepared.stage(Stage.EMBED) is not None


def exchange(run: RunFolder) -> None:
    """Put what an update has prepared in its place; the caller holds all stages.

    The report, the results of training runs and the like move to ``earlier/N``, with a copy of the selection, which
    stays until the next one (``--grow``); vectors and trees are removed. In between the run has no stages, so that
    every command says how to finish.
    """
    prepared = RunFolder(run.update)
    new = prepared.read()
    if run.stage(Stage.EMBED) is None or prepared.embeddings.exists():
        names = {file.partition("/")[0] for file in new["checksums"]}
        _set_aside(run, new["source"], names)
        for name in names:
            if (prepared.path / name).exists():
                remove_tree(run.path / name)
                (prepared.path / name).replace(run.path / name)
        with run.changed() as content:
            content["stages"] = new["stages"]
            content["checksums"] = dict(sorted({**content["checksums"], **new["checksums"]}.items()))
    remove_tree(prepared.path)


def _set_aside(run: RunFolder, source: dict[str, object], names: set[str]) -> None:
    """Begin with a run without stages, and clear it of everything but what stays and what is replaced (`names`)."""
    if run.read()["stages"]:
        record = run.json_path.read_text(encoding="utf-8")
        last = run.last_earlier()
        copy = run.path / "earlier" / str(last) / run.json_path.name
        if not last or (
            copy.exists() and copy.read_text(encoding="utf-8") != record
        ):  # else a killed call began it
            copy = run.path / "earlier" / str(last + 1) / copy.name
        write_text(copy, record)
        with run.changed() as content:
            kept = {
                file: value
                for file, value in content.get("checksums", {}).items()
                if file.startswith(f"{run.training.name}/")
            }
            content.update(source=source, stages={}, checksums=kept)
    to = run.path / "earlier" / str(run.last_earlier())
    stay = {run.training.name, run.update.name, *names}
    made_again = {*CACHES, *(path.name for path in run.outputs(Stage.CLUSTER))}
    for entry in sorted(run.path.iterdir()):
        if entry.name in made_again:
            remove_tree(entry)
        elif entry == run.selection:
            shutil.copyfile(entry, to / entry.name)
        elif entry.name not in stay and not entry.name.startswith(STAY):
            entry.replace(to / entry.name)
