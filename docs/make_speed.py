"""Writes the clustering part of docs/speed.md, with its plot, from benchmarks/cluster.json; takes no arguments."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "cluster.json"
PAGE = ROOT / "docs" / "speed.md"
PLOT = ROOT / "docs" / "pictures" / "speed.svg"
PLOTTING = ROOT / "docs" / "speed_plot.py"
GROWTH = ROOT / "benchmarks" / "growth.py"
BEGIN = "<!-- From benchmarks/cluster.json by docs/make_speed.py; change it there. -->\n"
END = "<!-- End of what docs/make_speed.py writes. -->\n"

SKLEARN = (
    16.6  # seconds that scikit-learn takes class by class on the machine that the targets in seconds are for
)
Rows = dict[str, Any]
Value = float | None


@dataclass(frozen=True)
class Target:
    """One thing to reach.

    Attributes:
        work: what is done.
        unit: of the value: ``s``, ``×``, ``MB`` or ``pairs``.
        limit: the largest value allowed; with ``×``, the smallest.
        value: takes the rows; None where it was not measured.
    """

    work: str
    unit: str
    limit: float
    value: Callable[[Rows], Value]


def of(row: str, *keys: str) -> Callable[[Rows], Value]:
    """Return a function that looks a value up in the rows."""

    def value(rows: Rows) -> Value:
        found: Any = rows.get(row, {})
        for key in keys:
            found = found.get(key, {}) if isinstance(found, dict) else {}
        return None if isinstance(found, dict) else float(found)

    return value


def times(row: str, label: str) -> Callable[[Rows], Value]:
    return of(row, "ratios", label, "median")


def ours(row: str, key: str) -> Callable[[Rows], Value]:
    return of(row, "contestants", "tenpercent", key)


def compiling(rows: Rows) -> Value:
    """Return how much longer the first call after installation takes than later calls."""
    row = rows.get("first-call", {})
    if "first calls" not in row:
        return None
    first, later = sorted(row["first calls"]), sorted(row["later calls"])
    return float(first[len(first) // 2] - later[len(later) // 2])


def wrong_pairs(rows: Rows) -> Value:
    """Return the pairs that the join misses or adds, held against float64."""
    found = rows.get("join", {}).get("contestants", {}).get("tenpercent", {}).get("facts", {})
    return None if not found else float(sum(found["against float64"][key] for key in ("missed", "added")))


RSS, ANONYMOUS = "MB above imports", "anonymous MB above imports"
BY_CLASS = "class by class, keep 90%"
TARGETS = (
    Target(f"{BY_CLASS}, from array to selection", "s", 0.6, ours("classes-0.9", "seconds")),
    Target(f"{BY_CLASS}: scikit-learn takes", "×", 25, times("classes-0.9", "scikit-learn")),
    Target(f"{BY_CLASS}: fastcluster takes", "×", 15, times("classes-0.9", "fastcluster")),
    Target("class by class, keep 50%: scikit-learn takes", "×", 10, times("classes-0.5", "scikit-learn")),
    Target("class by class, keep 10%: scikit-learn takes", "×", 5, times("classes-0.1", "scikit-learn")),
    Target("all together, keep 90%, from array to selection", "s", 1.7, ours("together-0.9", "seconds")),
    Target("all together, keep 90%: memory above the imports", "MB", 500, ours("together-0.9", RSS)),
    Target("all together, keep 90%: scikit-learn takes", "×", 250, times("sklearn-together", "scikit-learn")),
    Target("all together, keep 50%, from array to selection", "s", 6, ours("together-0.5", "seconds")),
    Target("all together, keep 50%: memory above the imports", "MB", 1000, ours("together-0.5", RSS)),
    Target("the join alone: faiss range search takes", "×", 8, times("join", "faiss range_search")),
    Target("the join alone: pairs missed or added", "pairs", 0, wrong_pairs),
    Target("1.28M × 64 together, keep 90% (to reach: 1M)", "s", 300, ours("growth-1280000", "seconds")),
    Target("1.28M × 64 together: memory above the imports", "MB", 6000, ours("growth-1280000", RSS)),
    Target(
        "1.28M × 2,048 in 1,000 classes, beside reading the file",
        "s",
        120,
        of("million-2048", "seconds beside reading, cold"),
    ),
    Target(
        "1.28M × 2,048 in 1,000 classes: anonymous memory above the imports",
        "MB",
        3000,
        ours("million-2048", ANONYMOUS),
    ),
    Target("two threads instead of one, the join", "×", 1.7, of("threads", "gains", "join", "median")),
    Target(
        "two cores instead of one, class by class, from array to selection",
        "×",
        1.7,
        of("threads", "gains", "selection, class by class", "median"),
    ),
    Target("first call after installation, beside later calls", "s", 3, compiling),
)


# ---- words -----------------------------------------------------------------------------------------------------------


def number(value: float, unit: str = "") -> str:
    """Return a value with three digits or so: 0.412 s, 1,240 MB, 26 ×."""
    text = f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
    return f"{text} {unit}".strip()


def scale(rows: Rows) -> float | None:
    """Return how much slower this machine was than the one that the targets in seconds are for."""
    seconds = of("classes-0.9", "contestants", "scikit-learn", "seconds")(rows)
    return None if seconds is None else seconds / SKLEARN


def limit(target: Target, rows: Rows) -> float:
    """Return what is to be reached on this machine."""
    scaled = target.unit == "s" and not target.work.startswith("first call")
    return target.limit * (scale(rows) or 1.0) if scaled else target.limit


def verdict(target: Target, rows: Rows) -> tuple[str, str, str]:
    """Return the value, what was to be reached, and whether it was."""
    most, value = limit(target, rows), target.value(rows)
    sign = "≥" if target.unit == "×" else "≤"
    asked = number(most, target.unit) if target.limit else "none"
    asked = asked if not target.limit else f"{sign} {asked}"
    if most != target.limit:
        asked += f" (there {number(target.limit)})"
    if value is None:
        return "not measured", asked, "–"
    reached = value >= most if sign == "≥" else value <= most
    return number(value, target.unit), asked, "reached" if reached else "**missed**"


def table(head: tuple[str, ...], lines: Iterator[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    found = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    return "\n".join(found + [f"| {' | '.join(line)} |" for line in lines]) + "\n"


def contestants(rows: Rows, names: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """Yield who took part in some rows: seconds, how many times ours, memory."""
    for name, title in names.items():
        row = rows.get(name)
        if row is None or "not measured" in row:
            yield title, "", f"not measured{_why(row)}", "", ""
            continue
        for label, result in row["contestants"].items():
            if "not measured" in result:
                yield title, label, f"not measured: {result['not measured']}", "", ""
            else:
                factor = row.get("ratios", {}).get(label)
                yield (
                    title,
                    label,
                    number(result["seconds"]),
                    number(factor["median"], "×") if factor else "",
                    number(result[RSS]),
                )
            title = ""


def _why(row: Any) -> str:
    return f": {row['not measured']}" if row else ""


# ---- the page --------------------------------------------------------------------------------------------------------


def render(result: Rows, plotted: bool) -> str:
    """Return the clustering part of the page.

    Args:
        result: the JSON.
        plotted: whether there is a plot to show.
    """
    rows = result["rows"]
    parts = [_machine(result)]
    parts.append(
        table(
            ("work on CIFAR-10's 50,000 vectors of 64 values", "measured", "to reach", ""),
            ((t.work, *verdict(t, rows)) for t in TARGETS),
        )
    )
    gpu = rows.get("cuda", {}).get("contestants")
    parts.append(
        f"CUDA: {'in the JSON' if gpu else 'not measured'}{'' if gpu else _why(rows.get('cuda'))}.\n"
    )
    parts.append("### Side by side\n")
    named = {f"classes-{k}": f"class by class, keep {k:.0%}" for k in (0.9, 0.5, 0.1)}
    named |= {"connectivity": "class by class, keep 90%, another algorithm"}
    named |= {f"together-{k}": f"all together, keep {k:.0%}" for k in (0.9, 0.5)}
    named |= {"sklearn-together": "all together, keep 90%", "join": "join", "approximate": "approximate"}
    head = ("work", "", "seconds", "against tenpercent", "MB above the imports")
    parts.append(table(head, contestants(rows, named)))
    parts += [_differences(rows), _growth(rows, plotted), _widths(rows), _classes(rows), _first(rows)]
    return "\n".join(part for part in parts if part)


def _machine(result: Rows) -> str:
    about, rows = result.get("machine"), result["rows"]
    if not rows or not about:
        return "Not measured yet.\n"
    units = ", ".join(f for f in about["flags"] if f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16"))
    versions = ", ".join(
        f"{name} {about['versions'][name]}"
        for name in ("numpy", "scipy", "numba", "scikit-learn", "fastcluster")
    )
    peers = "".join(f", {n} {v}" for n, v in about["peers"].items() if n in ("faiss-cpu", "semhash"))
    most = max(row["processor time of others"] for row in rows.values())
    factor = scale(rows)
    scaled = (
        ""
        if factor is None
        else f" The targets in seconds are for a machine where scikit-learn takes {SKLEARN} s class by class; here it "
        f"took {number(SKLEARN * factor)} s, and they are scaled with that."
    )
    return (
        f"{about['cores']} cores of an {about['processor']} ({about['memory GB']:.0f} GB, {units}), Python "
        f"{about['python']}, {versions}{peers}. Medians; other processes took at most {most:.0%} of the processor time "
        f"during a row.{scaled}\n"
    )


def _facts(rows: Rows, row: str, label: str) -> Rows:
    found: Rows = rows.get(row, {}).get("contestants", {}).get(label, {}).get("facts") or {}
    return found


def _differences(rows: Rows) -> str:
    """What the others' answers lack."""
    found = []
    for keep in (0.9, 0.5, 0.1):
        same = rows.get(f"classes-{keep}", {}).get("classes with scikit-learn's groups")
        if same:
            found.append(f"- Keep {keep:.0%}: the same groups as scikit-learn in {same} classes.")
    near = _facts(rows, "connectivity", "scikit-learn, k-NN connectivity")
    if near:
        found.append(
            f"- scikit-learn with a `connectivity` of 10 nearest neighbours is another algorithm: of its "
            f"{near['groups of two or more']:,} groups {near['over the cut']:,} have a diameter above the cut of their "
            f"class, the largest {near['largest diameter in cuts']:g} times the cut."
        )
    faiss = _facts(rows, "join", "faiss range_search").get("against float64")
    if faiss:
        found.append(
            f"- faiss compares in float32: of {faiss['pairs'] - faiss['added'] + faiss['missed']:,} pairs it misses "
            f"{faiss['missed']:,} and adds {faiss['added']:,} near the radius. It lists each pair twice."
        )
    for label in ("tenpercent", "SemHash", "SemDeDup, k-means"):
        one = _facts(rows, "approximate", label)
        if one:
            pairs = one["pairs"]
            total = "" if pairs is None else pairs["pairs"] - pairs["added"] + pairs["missed"]
            missed = "" if pairs is None else f" misses {pairs['missed']:,} of {total:,} pairs,"
            found.append(
                f"- {label}, everything within the cut of keep 90%: keeps {one['kept']:,} images,{missed} has "
                f"{one['over the cut']:,} of {one['groups of two or more']:,} groups wider than the cut (the widest "
                f"{one['largest diameter'] / one['cut']:.3g} times), and removes "
                f"{one['removed, none kept within the radius']:,} images without a kept one within it."
            )
    return "\n".join(found) + "\n" if found else ""


def _growth(rows: Rows, plotted: bool) -> str:
    sizes = [row for name, row in rows.items() if name.startswith("growth-") and "contestants" in row]
    lines = [
        (f"{row['n']:,}", number(one["seconds"]), number(one[RSS]), str(max(1, len(one["later"]))))
        for row in sizes
        if "seconds" in (one := row["contestants"]["tenpercent"])
    ]
    if not lines:
        return ""
    text = (
        "### Growth\n\nMade from the real vectors, unlabelled, keep 90%; the recipe, why it is so and what it can't "
        "show are in [made.py](../benchmarks/made.py).\n\n"
    )
    text += table(("vectors", "seconds", "MB above the imports", "calls"), iter(lines))
    line = _load(GROWTH).growth_line(rows)
    if line:
        text += (
            f"\nBy least squares over {line['sizes']} sizes the seconds grow as n^{line['exponent']:.2f}; the line "
            f"gives {number(line['seconds for 1M on the line'])} s for 1M.\n"
        )
    if plotted:
        text += "\n![Seconds and memory against the number of vectors, both axes logarithmic](pictures/speed.svg)\n"
    check = rows.get("recipe", {})
    if "real" in check:
        head = ("", *(f"{q:.0%}" for q in check["quantiles"]), "pairs an image")
        made = [(n, one) for n, one in check.items() if n == "real" or n.startswith("made")]
        text += "\nDissimilarity to the nearest neighbour (quantiles over the images), and pairs within the cut:\n\n"
        text += table(
            head,
            ((n, *(f"{x:.4f}" for x in one["nearest"]), f"{one['pairs an image']:.2f}") for n, one in made),
        )
    return text


def _widths(rows: Rows) -> str:
    lines = []
    for name, row in rows.items():
        if not name.startswith("width-") or "contestants" not in row:
            continue
        for label, one in row["contestants"].items():
            share = row["share of the peak product rate"].get(label)
            if label == "peak products":
                continue
            if "not measured" in one:
                lines.append((f"{row['width']:,}", label, f"not measured: {one['not measured']}", ""))
            else:
                lines.append((f"{row['width']:,}", label, number(one["seconds"]), f"{share:.0%}"))
    if not lines:
        return ""
    head = ("values", "filter", "seconds", "share of the peak product rate")
    return "### Width: the join of 50,000 rows\n\n" + table(head, iter(lines))


def _classes(rows: Rows) -> str:
    lines = []
    for name in ("million-64", "million-2048"):
        row = rows.get(name, {})
        for label, one in row.get("contestants", {}).items():
            if "not measured" in one:
                lines.append((f"{row['width']:,}", label, f"not measured: {one['not measured']}", "", ""))
            else:
                memory = number(one[ANONYMOUS])
                lines.append(
                    (f"{row['width']:,}", label, number(one["first"]), number(one["seconds"]), memory)
                )
    if not lines:
        return ""
    head = ("values", "", "seconds, cold file", "seconds, file in memory", "anonymous MB above the imports")
    return "### 1,280,000 rows in 1,000 classes, mapped from disk\n\n" + table(head, iter(lines))


def _first(rows: Rows) -> str:
    row = rows.get("first-call", {})
    if "first calls" not in row:
        return ""

    def middle(values: list[float]) -> str:
        return number(sorted(values)[len(values) // 2], "s")

    return (
        "### The first call\n\nClass by class, keep 90%: "
        f"{middle(row['first calls'])} after installation, when everything is compiled; "
        f"{middle(row['first calls, compiled'])} in a later process; {middle(row['later calls'])} from then on.\n"
    )


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def put(page: str, part: str) -> str:
    """Return the page with what stands between the two markers replaced."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def main() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    if result["quick"]:
        raise SystemExit(f"{RESULT} comes from --quick, which measures nothing of interest")
    plotted = bool(_load(PLOTTING).draw(result["rows"], PLOT))
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), render(result, plotted)), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
