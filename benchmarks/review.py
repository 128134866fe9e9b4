"""Load and fuzz the review server, and say what it took, as JSON.

    python benchmarks/review.py --requests 20000              requests at random, in one process
    python benchmarks/review.py --load --images 1000000       50 people for two minutes, the server a process of its own

**Fuzz.** Requests drawn by Hypothesis from the OpenAPI description of the server (`tests/support/fuzzing.py`): half of
them as it says, half with values out of range, of other kinds and plain nonsense. Counted are the answers by status; an
answer
of 500 or more is a failure.

**Load.** A Parquet file of small pictures with made vectors beside it (`made.py`), clustered class by class to 80%. The
server is a process of its own, as `tenpercent review` starts it. Each of the people, over a connection of their own and
at random moments: moves the slider to a tenth of a percent between 80% and 100% (the cut in numbers, then the first 30
groups of it), has 20 pictures of those groups drawn, and looks at them for two to four seconds. One move in ten opens
an image, and one in a hundred decides. The time of an answer is from the first byte sent to the last received, and the
load is made on the same processors. Memory is the largest resident set of the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests")]

SEED = 20190129
DISTINCT = 1000  # pictures
KEEP = 0.8
THINKS = (2.0, 4.0)  # seconds
SERVER = "from tenpercent.reviewing.serve import serve; serve({run!r}, 0, browser=False)"


def main() -> None:
    """Measure what was asked for and write it down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=0, help="random requests")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--data", type=Path, help="the folder of CIFAR-10's vectors; the digits without it")
    parser.add_argument("--run", type=Path, help="where the run of the load is made, or lies already")
    parser.add_argument("--out", type=Path, default=Path("review.json"))
    arguments = parser.parse_args()
    found: dict[str, Any] = {"about": about()}
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.requests:
            found["fuzz"] = fuzz(Path(scratch), arguments.requests)
        if arguments.load:
            run = arguments.run or Path(scratch) / "load"
            found["made"] = make_run(run, arguments.images, arguments.data)
            found["load"] = load(run / "run", arguments.people, arguments.seconds)
    arguments.out.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps({key: found[key] for key in ("fuzz", "load") if key in found}, indent=1))


def about() -> dict[str, Any]:
    """Return the machine and the versions."""
    from tenpercent.data.store.environment import machine, versions

    return {**versions(), **machine(), "platform": platform.platform(), "seed": SEED}


# ---- fuzz ----------------------------------------------------------------------------------------------------------


def fuzz(scratch: Path, count: int) -> dict[str, Any]:
    """Send requests at random to a small run with pictures, and count the answers."""
    from hypothesis import HealthCheck, given, seed, settings
    from hypothesis import strategies as st

    import tenpercent as tp
    from fuzzing import requests
    from reviewing import flat, page
    from tenpercent.reviewing.calls import description

    described = description()
    described["paths"].pop("/api/events")
    described["paths"]["/api/map"].pop("post")
    tp.run("digits", out=scratch / "digits", keep=0.9, embedder=flat)
    answers: Counter[int] = Counter()
    calls: Counter[str] = Counter()
    begun = time.perf_counter()
    with page(scratch / "digits") as opened:
        known = {"origin": opened.get("/api/run")["origin"], "seen": 2**40, "class": "1"}

        @seed(SEED)
        @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(data=st.data())
        def ask(data: st.DataObject) -> None:
            asked = data.draw(requests(described, 40, known))
            headers = {"content-type": asked["kind"]} if asked["method"] == "POST" else {}
            answer = opened.client.request(
                asked["method"], asked["path"], content=asked["content"], headers=headers
            )
            answers[answer.status_code] += 1
            calls[asked["call"]] += 1
            assert answer.status_code < 500, (asked, answer.text)
            assert len(answer.content) < 1_000_000 or asked["path"].startswith("/download")

        ask()
    return {
        "requests": answers.total(),
        "answers": dict(sorted(answers.items())),
        "calls": dict(sorted(calls.items())),
        "failures": sum(many for status, many in answers.items() if status >= 500),
        "seconds": time.perf_counter() - begun,
    }


# ---- the run -------------------------------------------------------------------------------------------------------


def pictures() -> list[bytes]:
    """Return small PNG pictures."""
    import io

    from PIL import Image

    made = []
    for number in range(DISTINCT):
        small = np.random.default_rng([SEED, number]).integers(0, 256, (2, 2, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC).quantize(16).save(file, "PNG")
        made.append(file.getvalue())
    return made


def make_run(folder: Path, n: int, data: Path | None) -> dict[str, Any]:
    """Make a Parquet file of pictures and a clustered run of it with made vectors, or find them there."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from made import more_rows, near_neighbours, real

    import tenpercent as tp
    from tenpercent.data.sources.opening import open_source
    from tenpercent.data.sources.options import SourceOptions
    from tenpercent.data.store.part_files import Part, write_part
    from tenpercent.data.store.run_folder import RunFolder, Stage
    from tenpercent.embedding.stage import describe

    run = folder / "run"
    if (run / "merges.parquet").exists():
        return {"images": n, "found": True}
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    drawn = pa.array(pictures(), pa.binary())
    vectors, labels = real(data)
    classes = [f"class {code}" for code in range(int(labels.max()) + 1)]
    order = np.concatenate(
        [
            np.random.default_rng([SEED, chunk]).permutation(len(vectors))[: n - start]
            for chunk, start in enumerate(range(0, n, len(vectors)))
        ]
    )
    named = labels[order]
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.string())]
    )
    file = folder / "images.parquet"
    with pq.ParquetWriter(file, schema) as writer:
        for start in range(0, n, 50_000):
            rows = np.arange(start, min(start + 50_000, n))
            cells = pa.StructArray.from_arrays(
                [drawn.take(pa.array(rows % DISTINCT)), pa.array([f"photos/{row:07d}.png" for row in rows])],
                ["bytes", "path"],
            )
            writer.write_table(
                pa.table([cells, pa.array([classes[code] for code in named[rows]])], schema=schema)
            )
    opened = open_source(file)
    folder_of_run = RunFolder.create(run, describe(str(file), opened, SourceOptions(), 0.0))
    near = near_neighbours(vectors, labels)
    start = 0
    for number, rows in enumerate(more_rows(vectors, near, n)):
        these = np.arange(start, start + len(rows))
        start += len(rows)
        part = Part(
            ids=[opened.ids[row] for row in these],
            rows=these,
            paths=[opened.paths[row] for row in these],
            labels=opened.labels[these],
            hashes=[f"{row:032x}" for row in these],
            layers={"end": rows.astype(np.float32)},
        )
        about = {"origin": f"made {n}", "class_names": list(opened.class_names), "labelled": True}
        write_part(folder_of_run.embeddings, number, part, about)
    settings = {"embedder": {"embedder": "made"}, "holdout": 0.0}
    folder_of_run.record(Stage.EMBED, settings, 0.0, n=n, layers={"end": vectors.shape[1]})
    made = time.perf_counter() - begun
    begun = time.perf_counter()
    merges = tp.cluster(run, KEEP)
    return {"images": n, "seconds": made, "clustering": time.perf_counter() - begun, "merges": len(merges)}


# ---- load ----------------------------------------------------------------------------------------------------------


class Connection:
    """One connection that stays open, with as little work of its own as can be."""

    def __init__(self, port: int, cookie: str, origin: str) -> None:
        self.port, self.cookie, self.origin = port, cookie, origin
        self.reader: asyncio.StreamReader | None = None

    async def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Return status and content of an answer."""
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**22)
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{self.cookie}"
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        self.writer.write(f"{head}\r\n".encode() + (body or b""))
        answer = await self.reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", answer.lower())[1])  # type: ignore[index]
        return int(answer[9:12]), await self.reader.readexactly(length)


class Times:
    """How long each kind of answer took, and what was no good answer."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.errors: Counter[str] = Counter()

    async def ask(self, kind: str, connection: Connection, path: str, body: bytes | None = None) -> bytes:
        """Ask, and note how long it took."""
        begun = time.perf_counter()
        status, content = await connection.ask(path, body)
        self.seconds.setdefault(kind, []).append(time.perf_counter() - begun)
        if status != 200:
            self.errors[f"{kind} {status} {content[:80]!r}"] += 1
        return content

    def told(self) -> dict[str, Any]:
        """Return quantiles in milliseconds, by kind and of all."""
        kinds = {**self.seconds, "all": [one for found in self.seconds.values() for one in found]}
        return {kind: {"answers": len(found), **quantiles(found)} for kind, found in kinds.items()}


def quantiles(seconds: list[float]) -> dict[str, float]:
    """Return the median, the 95th and 99th percentile and the largest, in milliseconds."""
    values = np.quantile(seconds, [0.5, 0.95, 0.99, 1.0]) * 1000
    return dict(zip(("median", "p95", "p99", "largest"), values.round(1).tolist(), strict=True))


async def person(number: int, connection: Connection, end: float, times: Times) -> None:
    """Move the slider, look, and sometimes decide, until the end."""
    rng = random.Random(SEED + number)
    await asyncio.sleep(rng.uniform(0, THINKS[1]))
    while time.perf_counter() < end:
        keep = rng.randrange(int(KEEP * 1000), 1001) / 1000
        cut = json.loads(await times.ask("cut", connection, f"/api/cut?keep={keep}"))
        answer = await times.ask("groups", connection, f"/api/groups?keep={keep}&order=size&limit=30")
        groups = json.loads(answer)["groups"]
        shown = [member["p"] for group in groups for member in group["members"]]
        for position in rng.sample(shown, min(20, len(shown))):
            await times.ask("picture", connection, f"/api/images/{position}/picture?side=160")
        if shown and rng.random() < 0.1:
            await times.ask("image", connection, f"/api/images/{shown[0]}?keep={keep}")
        if shown and rng.random() < 0.01:
            body = {
                "kind": "accept",
                "images": shown[:2],
                "seen": cut["version"],
                "origin": connection.origin,
            }
            await times.ask("decision", connection, "/api/decisions", json.dumps(body).encode())
        await asyncio.sleep(rng.uniform(*THINKS))


async def crowd(address: str, people: int, seconds: float) -> Times:
    """Let people look at one run all at once."""
    port = int(re.search(r":(\d+)/", address)[1])  # type: ignore[index]
    door = Connection(port, "", "")
    door.reader, door.writer = await asyncio.open_connection("127.0.0.1", port)
    door.writer.write(f"GET /?{address.partition('?')[2]} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    answer = (await door.reader.readuntil(b"\r\n\r\n")).decode()
    cookie = f"Cookie: {re.search('set-cookie: ([^;]*)', answer)[1]}\r\n"  # type: ignore[index]
    _, run = await Connection(port, cookie, "").ask("/api/run")
    times, end = Times(), time.perf_counter() + seconds
    origin = json.loads(run)["origin"]
    await asyncio.gather(*(person(k, Connection(port, cookie, origin), end, times) for k in range(people)))
    return times


def load(run: Path, people: int, seconds: float) -> dict[str, Any]:
    """Start the server, let people look, and end it."""
    begun = time.perf_counter()
    command = [sys.executable, "-c", SERVER.format(run=str(run))]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        started = time.perf_counter() - begun
        time.sleep(5)
        times = asyncio.run(crowd(address, people, seconds))
        memory = peak(process.pid)
        spent = sum(processor_time(process.pid))
    finally:
        begun = time.perf_counter()
        process.send_signal(signal.SIGINT)
        status = process.wait(30)
    return {
        "people": people,
        "seconds": seconds,
        "start": started,
        "end": time.perf_counter() - begun,
        "exit status": status,
        "milliseconds": times.told(),
        "errors": dict(times.errors),
        "memory of the server, MB": memory,
        "processor seconds of the server": spent,
        "processor seconds of the load": sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        "moves a second": len(times.seconds["cut"]) / seconds,
    }


def peak(pid: int) -> float:
    """Return the largest resident set of a process in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def processor_time(pid: int) -> Iterator[float]:
    """Yield the user and system time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    for field in fields[11:13]:
        yield int(field) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
