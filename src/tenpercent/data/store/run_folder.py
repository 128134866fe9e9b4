"""Run folder: `run.json` with the settings, versions, seeds and timings of each stage, and a lock per stage."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, overload

from ...errors import RunFolderError, StageError, one_line, quoted
from .checks import as_path
from .checksums import of_file
from .environment import machine, versions
from .files import fingerprint, remove_temporaries, write_text
from .locks import record_lock, stage_lock
from .records import (
    USED,
    ClusterRecord,
    EmbedRecord,
    RunRecord,
    SelectRecord,
    SourceRecord,
    StageRecord,
    stage_record,
)
from .records import Stage as Stage
from .run_paths import RunPaths
from .tables import CHANGED, damaged, whole
from .typed import built, parsed_format

FORMAT = 1
PLACES = ("data_dir", "labels", "ids", "images")  # options of sources that are paths
STAY = ("run.json", "given.parquet", "decisions.sqlite", "locks", "earlier")  # not moved by `set_aside`


def is_run_folder(folder: Path) -> bool:
    """Return whether a folder holds a run; its empty folder of locks may have been lost on the way here."""
    record = folder / "run.json"
    if not record.is_file() or (folder / "locks").is_dir():
        return record.is_file()
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and {"format", "source", "stages"} <= content.keys()


@dataclass(frozen=True)
class RunFolder(RunPaths):
    """Files of one run. Opening a run folder writes nothing; `create` makes it."""

    @classmethod
    def create(cls, path: str | Path, source: SourceRecord) -> RunFolder:
        """Create the folder for `source`, or resume one that was created for the same source.

        Args:
            path: the folder.
            source: its description.

        Raises:
            RunFolderError: the folder belongs to another source or a newer format, or can't be written.
        """
        run = cls.at(path)
        if not run.json_path.exists():
            with run._short_lock():
                if not run.json_path.exists():  # else another process was quicker
                    run._write({"format": FORMAT, "source": source.as_json(), "stages": {}})
        run.check_source(source)
        run.follow(source)
        return run

    def check_source(self, source: SourceRecord) -> None:
        """Raise `RunFolderError` where a source is not that of the run, or read with another limit of pixels."""
        known = self.source
        if differ := known.differences(source):
            raise RunFolderError(
                f"{self.path} holds a run of {known.spec}, made from other input: {differ}; choose another --out, "
                f"or start over with --reread{known.decisions_by}"
            )

    def command(self, source: str = "") -> str:
        """Return the command that makes this run again, or brings it up to date, of its source or of another place."""
        about = self.source
        held_out = f" --holdout {about.holdout:g}" if about.holdout else ""
        return f"tenpercent run {quoted(source or about.spec)} --out {quoted(self.path)}{held_out}"

    @property
    def nothing_finished(self) -> bool:
        """True if no stage has finished, so that the run may start again."""
        content = self.read()
        return not content["stages"] and not content.get("checksums")

    @classmethod
    def at(cls, path: str | Path) -> RunFolder:
        """Return the run folder at `path`, which holds a run or can hold one; nothing is written.

        Raises:
            UsageError: the path is empty, or no path.
            RunFolderError: it is a file, or a folder of something else.
        """
        run = cls(as_path(path, "a run folder"))
        if run.path.exists() and not run.path.is_dir():
            raise RunFolderError(f"{run.path} is a file, not a folder; choose another --out")
        # A process killed while creating the folder leaves its folder of locks, which is created first.
        begun = run.json_path.exists() or (run.path / "locks").exists()
        if not begun and run.path.is_dir() and any(run.path.iterdir()):
            raise RunFolderError(f"{run.path} is not empty and holds no run; choose another --out")
        return run

    def follow(self, source: SourceRecord) -> None:
        """Record the current location of the same source, and of the files beside it."""
        known = self.read()["source"]
        old = known.get("options", {})
        places = {name: source.options[name] for name in PLACES if name in old and name in source.options}
        moved = {**known, "spec": source.spec} | ({"options": {**old, **places}} if places else {})
        if moved != known:  # else take no lock: the folder may be read-only
            with self.changed() as content:
                content["source"] = moved

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder.

        Raises:
            RunFolderError: there is none, or its format is newer than this version reads.
        """
        run = cls(as_path(path, "a run folder"))
        if run.path.is_file():
            raise RunFolderError(f"{run.path} is a file, not a run folder; {_folder_of(run.path)}")
        if not run.json_path.is_file():
            raise RunFolderError(
                f"{run.path} is not a run folder (no run.json); make one with: tenpercent run SOURCE "
                f"--out {quoted(run.path)}"
            )
        content = run.read()
        with run._told():
            missing = USED - content["source"].keys() if content["stages"] else None
            if missing:
                raise ValueError(f"{min(missing)} is missing in source")
            for name, found in content["stages"].items():
                stage_record(name, found)
        return run

    @property
    def source(self) -> SourceRecord:
        """Description of the source.

        Raises:
            RunFolderError: see `read`.
        """
        found: SourceRecord = built(SourceRecord, self.read()["source"])
        if Path(found.spec).name == self.given.name and self.given.exists():  # it moves with the folder
            return replace(found, spec=str(self.given.resolve()))
        return found

    def read(self) -> dict[str, Any]:
        """Return `run.json` as it is, to show it or to write it again; `source` and `stage` are typed.

        Raises:
            RunFolderError: it is not JSON, or of a newer format.
        """
        with self._told():
            text = self.json_path.read_bytes()
            content = parsed_format(self.json_path, text, RunRecord, FORMAT)
            if b"\\u0000" in text:  # JSON encodes it in this way only, and no path may contain it
                raise ValueError("it holds a null character")
        return content

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            what = one_line(error, 200)
            raise RunFolderError(
                f"{self.json_path} can't be read ({what}); restore a backup, or choose another --out"
            ) from None

    @overload
    def stage(self, stage: Literal[Stage.EMBED]) -> EmbedRecord | None: ...
    @overload
    def stage(self, stage: Literal[Stage.CLUSTER]) -> ClusterRecord | None: ...
    @overload
    def stage(self, stage: Literal[Stage.SELECT]) -> SelectRecord | None: ...
    @overload
    def stage(self, stage: Stage) -> StageRecord | None: ...
    def stage(self, stage: Stage) -> StageRecord | None:
        """Return what `record` stored for `stage`, or None where it has not finished.

        Raises:
            RunFolderError: the record is not valid for the stage.
        """
        found = self.read()["stages"].get(stage)
        if found is None:
            return None
        with self._told():
            record: StageRecord = stage_record(stage, found)
        return record

    @overload
    def require(self, stage: Literal[Stage.EMBED]) -> EmbedRecord: ...
    @overload
    def require(self, stage: Literal[Stage.CLUSTER]) -> ClusterRecord: ...
    @overload
    def require(self, stage: Literal[Stage.SELECT]) -> SelectRecord: ...
    @overload
    def require(self, stage: Stage) -> StageRecord: ...
    def require(self, stage: Stage) -> StageRecord:
        """Return what `record` stored for `stage`.

        Raises:
            StageError: it has not finished; the message names the command to call.
        """
        found = self.stage(stage)
        if found is None:
            source = "SOURCE --out " if stage is Stage.EMBED else ""
            raise StageError(
                f"{self.path} has no finished {stage} stage yet; make it with: tenpercent {stage} "
                f"{source}{quoted(self.path)}"
            )
        return found

    def record(self, stage: Stage, settings: dict[str, Any], seconds: float, **more: Any) -> None:
        """Record that `stage` finished with `settings`, in `seconds`; `more` is stored beside them.

        The checksums of its files are stored too, and readers compare them (`data/store/tables.py`).
        """
        checksums = self._checksums(stage)
        with self.changed() as content:
            self._replace_checksums(content, stage, checksums)
            content["stages"][str(stage)] = {
                "fingerprint": fingerprint(settings),
                "settings": settings,
                "seconds": round(seconds, 3),
                "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "versions": versions(),
                "machine": machine(),
                **more,
            }

    def forget(self, stage: Stage) -> None:
        """Remove `stage` and every later one from `run.json`: they are about to be made again."""
        with self.changed() as content:
            later = list(Stage)[list(Stage).index(stage) :]
            content["stages"] = {
                name: found for name, found in content["stages"].items() if name not in later
            }
            for one in later:
                self._replace_checksums(content, one, {})

    def store_checksums(self, stage: Stage) -> None:
        """Store the checksums of the files of `stage` in its record."""
        checksums = self._checksums(stage)
        with self.changed() as content:
            self._replace_checksums(content, stage, checksums)

    def drop_checksums(self, stage: Stage) -> None:
        """Drop the checksums of files that `stage` is about to rewrite; a kill must not leave those of other files."""
        with self.changed() as content:
            self._replace_checksums(content, stage, {})

    def drop_missing_checksums(self, stage: Stage) -> None:
        """Drop the checksums of missing files of `stage`, after checking that its other files are unchanged.

        When files are made again, the JSON files beside them are rewritten too.

        Raises:
            StageError: an existing file has changed.
        """
        with self.changed() as content:
            names = {output.name for output in self.outputs(stage)}
            kept = {
                self.path / file: value
                for file, value in content.get("checksums", {}).items()
                if file.partition("/")[0] in names
            }
            folders = {path.parent for path in kept if not path.exists()}
            if not folders:
                return
            for path in filter(Path.exists, kept):
                with whole(path):
                    if of_file(path) != kept[path]:
                        raise damaged(path, CHANGED)
            found = {
                path.relative_to(self.path).as_posix(): value
                for path, value in kept.items()
                if path.exists() and not (path.parent in folders and path.suffix == ".json")
            }
            self._replace_checksums(content, stage, found)

    def _checksums(self, stage: Stage) -> dict[str, str]:
        kept = ("*.parquet", "*.json", "*.safetensors")
        files = [
            path
            for output in self.outputs(stage)
            for path in ([one for kind in kept for one in output.glob(kind)] if output.is_dir() else [output])
            if path.is_file() and any(path.match(kind) for kind in kept)
        ]
        return {path.relative_to(self.path).as_posix(): of_file(path) for path in sorted(files)}

    def _replace_checksums(self, content: dict[str, Any], stage: Stage, found: dict[str, str]) -> None:
        """Put the checksums of a stage into the content of `run.json`."""
        names = {output.name for output in self.outputs(stage)}
        old = content.get("checksums", {})
        new = {file: value for file, value in old.items() if file.partition("/")[0] not in names} | found
        content["checksums"] = dict(sorted(new.items()))

    def set_aside(self, source: SourceRecord) -> Path | None:
        """Move everything made from the source as it was read, and start over with another description of it.

        Decisions stay in place. If a call is killed, the next one sets the rest aside.

        Args:
            source: the new description, as for `create`.

        Returns:
            The folder that holds the earlier files, ``earlier/N``; None where nothing had been made.

        Raises:
            LockedError: another process works on the run.
        """
        with self.lock(*Stage), self._short_lock():
            last = self.last_earlier()
            to = self.path / "earlier" / str(last)
            whole = not last or (to / self.json_path.name).exists()  # else the last call was killed
            if whole:
                to = to.with_name(str(last + 1))
            self.clear_scratch()
            made = [entry for entry in sorted(self.path.iterdir()) if not entry.name.startswith(STAY)]
            if made or not whole:
                to.mkdir(parents=True, exist_ok=True)
                for entry in made:
                    entry.replace(to / entry.name)
                write_text(to / self.json_path.name, self.json_path.read_text(encoding="utf-8"))
            self._write({"format": FORMAT, "source": source.as_json(), "stages": {}})
            return to if made or not whole else None

    def last_earlier(self) -> int:
        """Return the number N of the last ``earlier/N``, 0 where there is none."""
        numbers = [int(each.name) for each in self.path.glob("earlier/*") if each.name.isdigit()]
        return max(numbers, default=0)

    def clear_scratch(self) -> None:
        """Remove files needed only until the stage was done; the caller holds its lock."""
        shutil.rmtree(
            self.scratch, ignore_errors=True
        )  # anything that can't be removed now is tried again next time

    @contextmanager
    def lock(self, *stages: Stage) -> Iterator[None]:
        """Hold stages against other processes, and remove half-written files of a killed one.

        Hold a stage to write it, and later stages too if their files depend on what is written.
        The kernel owns the lock: it ends with the process, however that ends.

        Raises:
            LockedError: another process holds one of them; the message names it.
        """
        with ExitStack() as held:
            for stage in stages:
                held.enter_context(stage_lock(self.path, stage))
                for output in self.outputs(stage):
                    remove_temporaries(output)
            yield

    @contextmanager
    def _short_lock(self) -> Iterator[None]:
        """Hold `run.json`, and remove the temporaries that a killed process left of it."""
        with record_lock(self.json_path):
            remove_temporaries(self.json_path)
            yield

    @contextmanager
    def changed(self) -> Iterator[dict[str, Any]]:
        """Yield the content of `run.json` to be changed, and write it where it was."""
        with self._short_lock():
            content = self.read()
            before = json.dumps(content)
            yield content
            if json.dumps(content) != before:
                self._write(content)

    def _write(self, content: dict[str, Any]) -> None:
        write_text(self.json_path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _folder_of(path: Path) -> str:
    """Return what to pass instead of a file, which may lie in a run folder."""
    found = next((str(folder) for folder in path.parents if (folder / "run.json").is_file()), None)
    if found is not None:
        return f"pass {found}"
    return f"make a run folder of a source with: tenpercent run {quoted(path)} --out RUN"
