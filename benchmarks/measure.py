"""Time contestants side by side, each in a process of its own: seconds, processor time and peak memory, nothing shared.

A contestant is a generator function of one argument, its settings (a dict that JSON can hold):

    def sklearn_by_class(settings):
        from sklearn.cluster import AgglomerativeClustering     # 1. import what is needed; memory counts from here on
        yield
        classes = ...                                           # 2. load the data
        yield work, facts                                       # 3. work() is timed; facts(its result) is not

It runs in `python measure.py MODULE FUNCTION`, talks in lines of JSON and waits without using the processor while the
others have their turn. So A B A B … compares two on a machine that is busier at one moment than at another, and the
memory of one is not that of the other. The interpreter may be another one, with other packages. Linux only.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY = 0.01  # seconds between two looks at the memory
MB = 1e6  # as in "500 MB": not MiB

Facts = dict[str, Any]


class NotMeasured(Exception):  # noqa: N818 – no error: what a row says instead of a figure
    """Something that can't be measured here, and why."""


def forget(path: Path) -> None:
    """Drop a file from the system's memory. (Where the machine is a virtual one, its host may still hold it.)"""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


# ---- the contestant's side -----------------------------------------------------------------------------------------


def resident() -> tuple[int, int]:
    """Return the bytes in memory and how many of them are anonymous, RssAnon: what no file can bring back."""
    pages = Path("/proc/self/statm").read_bytes().split()
    return int(pages[1]) * PAGE, (int(pages[1]) - int(pages[2])) * PAGE


class Peak:
    """The peak of the memory while the context lasts: VmHWM is exact, RssAnon is looked at every 10 ms."""

    def __enter__(self) -> Peak:
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM begins anew
        self.anonymous = resident()[1]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        self.resident = int(status["VmHWM"].split()[0]) * 1024

    def _watch(self) -> None:
        while not self._over.wait(EVERY):
            self.anonymous = max(self.anonymous, resident()[1])


def serve(module: str, function: str) -> None:
    """Be a contestant: read settings, then one line a call, from standard input; answer in lines of JSON."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not get among the answers
    Path("/proc/self/oom_score_adj").write_text("1000")  # should memory run out, this process goes first
    settings = json.loads(sys.stdin.readline())
    if settings.get("cores"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: settings["cores"]])
    begun = time.perf_counter()
    stages = getattr(importlib.import_module(module), function)(settings)
    next(stages)
    imports = time.perf_counter() - begun
    before = resident()
    work, facts = next(stages)
    print(json.dumps({"imports": imports, "before": before}), file=answers)
    for line in sys.stdin:
        used = time.process_time()
        with Peak() as peak:
            begun = time.perf_counter()
            result = work()
            seconds = time.perf_counter() - begun
        answer = {
            "seconds": seconds,
            "processor": time.process_time() - used,
            "resident": peak.resident - before[0],
            "anonymous": peak.anonymous - before[1],
            "facts": facts(result) if line.strip() == "describe" else None,
        }
        del result
        print(json.dumps(answer), file=answers)


# ---- the other side ------------------------------------------------------------------------------------------------


class Contestant:
    """A process that waits for its turn."""

    def __init__(
        self,
        what: tuple[str, str],
        settings: Facts,
        *,
        python: str | Path = sys.executable,
        environment: dict[str, str] | None = None,
    ) -> None:
        """Start it, and wait until its data is loaded.

        Args:
            what: module and function.
            settings: what the function gets; with `cores`, it may use so many processors only.
            python: the interpreter.
            environment: variables beside those of this process.

        Raises:
            NotMeasured: it raised that, or died.
        """
        self.what = f"{what[0]}.{what[1]}"
        self._process = subprocess.Popen(
            [str(python), str(HERE / "measure.py"), *what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, **(environment or {})},
        )
        self._errors: list[str] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        try:
            self.started = self._ask(json.dumps(settings))
        except BaseException:
            self.close()
            raise
        self.calls: list[Facts] = []

    def __enter__(self) -> Contestant:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self) -> Facts:
        """Let it work once; the first call says its facts too."""
        self.calls.append(self._ask("time" if self.calls else "describe"))
        return self.calls[-1]

    def close(self) -> None:
        """End it."""
        with suppress(BrokenPipeError):  # it may have ended by itself
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def result(self) -> Facts:
        """The first call, the later ones with their median, the peak memory of all, and the facts."""
        seconds = [call["seconds"] for call in self.calls]
        later = seconds[1:]
        return {
            "imports": round(self.started["imports"], 3),
            "first": round(seconds[0], 4),
            "later": [round(s, 4) for s in later],
            "seconds": round(statistics.median(later or seconds), 4),
            "first, processor": round(self.calls[0]["processor"], 4),
            "processor": round(statistics.median([c["processor"] for c in self.calls[1:] or self.calls]), 4),
            "MB above imports": round(max(call["resident"] for call in self.calls) / MB, 1),
            "anonymous MB above imports": round(max(call["anonymous"] for call in self.calls) / MB, 1),
            "facts": self.calls[0]["facts"],
        }

    def _ask(self, line: str) -> Facts:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise NotMeasured(self._why_it_ended())
        found: Facts = json.loads(answer)
        return found

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._errors.append(line.rstrip())
            del self._errors[:-30]

    def _why_it_ended(self) -> str:
        status = self._process.wait()
        self._reader.join(timeout=5)
        last = self._errors[-1] if self._errors else ""
        if status < 0:
            return f"{self.what} was ended by {signal.Signals(-status).name}"
        if last.startswith(("measure.NotMeasured: ", "NotMeasured: ")):
            return last.split(": ", 1)[1]
        print("\n".join(self._errors), file=sys.stderr)
        return f"{self.what} failed: {last}"


def duel(contestants: dict[str, Contestant], rounds: int) -> dict[str, Facts]:
    """Let each work once, then all in turn, `rounds` times.

    Returns:
        The result of each. One that fails has `not measured` in it, and the others go on.
    """
    failed: dict[str, str] = {}
    for _ in range(1 + rounds):
        for label, contestant in contestants.items():
            if label in failed:
                continue
            try:
                contestant.call()
            except NotMeasured as why:
                failed[label] = str(why)
    return {
        label: {"not measured": failed[label]} if label in failed else contestant.result
        for label, contestant in contestants.items()
    }


def ratio(slower: Facts, faster: Facts) -> dict[str, Any] | None:
    """Return how many times slower one is: the median of the ratios round by round, and all of them.

    Where a later round is missing, the first calls are compared.
    """
    if "not measured" in slower or "not measured" in faster:
        return None
    rounds = [s / f for s, f in zip(slower["later"], faster["later"], strict=False)]
    if not rounds:
        rounds = [slower["seconds"] / faster["seconds"]]
    return {"median": round(statistics.median(rounds), 3), "all": [round(r, 3) for r in rounds]}


class Elsewhere:
    """How much of the machine's processor time went to others while the context lasted: others and the hypervisor."""

    def __enter__(self) -> Elsewhere:
        self._begun = time.perf_counter()
        self._busy, self._own = self._now()
        self.load = [round(value, 2) for value in os.getloadavg()]
        return self

    def __exit__(self, *_: object) -> None:
        busy, own = self._now()
        self.took = time.perf_counter() - self._begun
        cores = os.cpu_count() or 1
        self.share = max(0.0, (busy - self._busy) - (own - self._own)) / (self.took * cores)

    @staticmethod
    def _now() -> tuple[float, float]:
        fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        busy = (sum(fields) - fields[3] - fields[4]) / os.sysconf(
            "SC_CLK_TCK"
        )  # all but idle and waiting for disk
        own = 0.0
        for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(whose)
            own += usage.ru_utime + usage.ru_stime
        return busy, own


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
