"""Time the exact clustering beside what people use instead, on real vectors, all in one run; `rows.py` has the rows.

    .venv/bin/python benchmarks/cluster.py --data FOLDER --peers PYTHON --out benchmarks/cluster.json
    .venv/bin/python benchmarks/cluster.py --data FOLDER --rows 'growth-*' join
    .venv/bin/python tools/make_speed.py

FOLDER holds `resnet32-train.npy` (float32 [50000, 64]) and `train.parquet` with a `label` column. PYTHON is an
interpreter that has `benchmarks/requirements-peers.txt`; without it those contestants say "not measured". Each
contestant of a row runs in a process of its own and they take turns, so that a busy moment of the machine hits all
alike; medians count. A finished row is written at once: a run that was ended goes on where it was, and `--fresh` begins
anew. `--quick` tries every row on a few small vectors within minutes, and measures nothing of interest.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import made
import numpy as np
import psutil
from bench import Bench
from growth import growth_line
from measure import Elsewhere, Facts, NotMeasured
from rows import all_rows

from tenpercent.data.store.files import write_text

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "cifar10"
FORMAT = 2
ROUNDS = 5
PACKAGES = ("tenpercent", "numpy", "scipy", "numba", "scikit-learn", "fastcluster", "torch")
PEERS = ("faiss-cpu", "semhash", "usearch", "vicinity", "numpy")
FLAGS = ("avx", "avx2", "fma", "f16c", "avx512", "amx", "avx_vnni")  # beginnings of names


def flags() -> tuple[str, ...]:
    """Return what the processor says of its vector and matrix units."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    words = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    return tuple(sorted(word for word in words if word.startswith(FLAGS)))


def machine(peers: Path | None) -> dict[str, Any]:
    """Say what runs this: processor, cores, memory, versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line)
    about = {key.strip(): value.strip() for key, value in told.items()}
    return {
        "processor": about.get("model name", platform.processor()),
        "family, model": f"{about.get('cpu family', '?')}, {about.get('model', '?')}",
        "flags": list(flags()),
        "cores": len(os.sched_getaffinity(0)),
        "memory GB": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "peers": _peer_versions(peers),
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _peer_versions(peers: Path | None) -> dict[str, str]:
    if peers is None:
        return {}
    code = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {PEERS!r}}}))"
    found: dict[str, str] = json.loads(subprocess.check_output([str(peers), "-c", code], text=True))
    return found


def engine_version() -> str:
    """Return the commit, with + where files of the package differ from it, and a fingerprint of the package."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "src"], capture_output=True, text=True
    ).stdout
    digest = hashlib.blake2b(digest_size=4)
    for file in sorted((ROOT / "src" / "tenpercent" / "cluster").glob("*.py")):
        digest.update(file.read_bytes())
    return f"{commit.strip()}{'+' if changed else ''} cluster/{digest.hexdigest()}"


def read(path: Path, about: dict[str, Any], quick: bool) -> dict[str, Any]:
    """Return what was measured before, or an empty result.

    Raises:
        ValueError: it comes from another machine, other versions, or the other mode.
    """
    new = {"format": FORMAT, "quick": quick, "machine": about, "rows": {}}
    if not path.exists():
        return new
    old: dict[str, Any] = json.loads(path.read_text())
    if old.get("format") != FORMAT or not old["rows"]:
        return new
    differs = [key for key, value in about.items() if key != "peers" and old["machine"].get(key) != value]
    differs += ["quick"] if old["quick"] != quick else []
    differs += ["peers"] if old["machine"]["peers"] and old["machine"]["peers"] != about["peers"] else []
    if differs:
        raise ValueError(
            f"{path} was measured with another {', '.join(differs)}; --fresh begins anew, or --out names another file"
        )
    return old


def prepare(bench: Bench, data: Path | None) -> Bench:
    """Put the real vectors and labels into the scratch folder; return the bench that knows how many there are."""
    if not Path(bench.labels).exists():
        vectors, labels = made.real(data)
        np.save(bench.vectors, vectors)
        np.save(bench.labels, labels)
    rows = len(np.load(bench.vectors, mmap_mode="r"))
    return Bench(bench.scratch, bench.peers, bench.rounds, bench.quick, rows, bench.flags)


def measure(name: str, row: Any, bench: Bench) -> Facts:
    """Run a row; return what came out, with what else the machine did."""
    with Elsewhere() as elsewhere:
        try:
            body: Facts = row(bench)
        except NotMeasured as why:
            body = {"not measured": str(why)}
    return {
        **body,
        "engine": engine_version(),
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "took": round(elsewhere.took, 1),
        "load before": elsewhere.load,
        "processor time of others": round(elsewhere.share, 3),
    }


def told(name: str, row: Facts) -> str:
    """Return a row for a person to read."""
    if "not measured" in row:
        return f"{name}: not measured: {row['not measured']}"
    lines = [f"{name}  ({row['took']:.0f} s, {row['processor time of others']:.0%} went to others)"]
    for label, result in row.get("contestants", {}).items():
        if "not measured" in result:
            lines.append(f"  {label:36s} not measured: {result['not measured']}")
            continue
        times = row.get("ratios", {}).get(label)
        lines.append(
            f"  {label:36s} {result['seconds']:10.3f} s  first {result['first']:8.3f} s  "
            f"{result['MB above imports']:9.0f} MB" + (f"  {times['median']:7.1f} ×" if times else "")
        )
    rest = {"contestants", "ratios", "times slower than", "engine", "when", "took", "load before"}
    lines += [f"  {key}: {value}" for key, value in row.items() if key not in rest]
    return "\n".join(lines)


def options() -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="resnet32-train.npy and train.parquet")
    parser.add_argument("--scratch", type=Path, help="folder for made data, used again; up to 13 GB")
    parser.add_argument("--peers", type=Path, help="an interpreter with requirements-peers.txt")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="only these; patterns like growth-* too")
    parser.add_argument("--fresh", action="store_true", help="measure the chosen rows again")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="later calls of each contestant")
    parser.add_argument("--quick", action="store_true", help="small vectors, one round: only a trial")
    parser.add_argument("--out", type=Path, help="the JSON; benchmarks/cluster.json")
    return parser, parser.parse_args()


def main() -> None:
    """Run the rows that are asked for and not there yet; write the JSON after each."""
    parser, given = options()
    rows = all_rows(given.quick)
    patterns = given.rows or ["*"]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in rows):
            parser.error(f"there is no row {pattern}; there are: {' '.join(rows)}")
    if not given.quick and not (given.data / "resnet32-train.npy").exists():
        parser.error(f"{given.data} holds no resnet32-train.npy; name its folder with --data")
    if given.peers is not None and shutil.which(given.peers) is None:
        parser.error(f"{given.peers} is no interpreter; make one and install requirements-peers.txt")
    scratch = given.scratch or Path(tempfile.gettempdir()) / "tenpercent-benchmark"
    scratch.mkdir(parents=True, exist_ok=True)
    out = given.out or (scratch / "quick.json" if given.quick else ROOT / "benchmarks" / "cluster.json")
    chosen = [name for name in rows if any(fnmatch(name, pattern) for pattern in patterns)]
    about = machine(given.peers)
    if given.fresh and given.rows is None:
        out.unlink(missing_ok=True)
    try:
        result = read(out, about, given.quick)
    except ValueError as error:
        parser.error(str(error))
    result["machine"] = {**about, "peers": about["peers"] or result["machine"]["peers"]}
    bench = Bench(scratch, given.peers, 1 if given.quick else given.rounds, given.quick, 0, flags())
    bench = prepare(bench, None if given.quick else given.data)
    for name in chosen:
        if not given.fresh and "not measured" not in result["rows"].get(name, {"not measured": ""}):
            print(f"{name}: there already")
            continue
        result["rows"][name] = measure(name, rows[name], bench)
        result["rows"] = {known: result["rows"][known] for known in rows if known in result["rows"]}
        write_text(out, json.dumps(result, indent=1) + "\n")
        print(told(name, result["rows"][name]), flush=True)
    line = growth_line(result["rows"])
    if line is not None:
        print(f"growth: {line}")


if __name__ == "__main__":
    main()
