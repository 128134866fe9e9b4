"""Writes the clustering part of docs/speed.md, with its plot, from benchmarks/cluster.json; takes no arguments."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import speed_plot
from speed_targets import ANONYMOUS, RSS, SKLEARN, TARGETS, number, scale, verdict

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benchmarks"))

from growth import growth_line  # noqa: E402

RESULT = ROOT / "benchmarks" / "cluster.json"
PAGE = ROOT / "docs" / "speed.md"
PLOT = ROOT / "docs" / "pictures" / "speed.svg"
BEGIN = "<!-- From benchmarks/cluster.json by tools/make_speed.py; change it there. -->\n"
END = "<!-- End of what tools/make_speed.py writes. -->\n"

Rows = dict[str, Any]


# ---- words -----------------------------------------------------------------------------------------------------------


def calls(result: Rows) -> str:
    """Return how many calls the seconds of a contestant are the median of."""
    return str(max(1, len(result["later"])))


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
        f"{about['python']}, {versions}{peers}. Medians; other processes took at most {most:.0%} of the CPU time "
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
        (f"{row['n']:,}", number(one["seconds"]), number(one[RSS]), calls(one))
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
    line = growth_line(rows)
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
                lines.append((f"{row['width']:,}", label, f"not measured: {one['not measured']}", "", ""))
            else:
                lines.append((f"{row['width']:,}", label, number(one["seconds"]), f"{share:.0%}", calls(one)))
    if not lines:
        return ""
    head = ("values", "filter", "seconds", "share of the peak product rate", "calls")
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
                seconds = number(one["first"]), number(one["seconds"])
                lines.append((f"{row['width']:,}", label, *seconds, memory, calls(one)))
    if not lines:
        return ""
    head = (
        "values",
        "",
        "seconds, cold file",
        "seconds, file in memory",
        "anonymous MB above the imports",
        "calls",
    )
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


def put(page: str, part: str) -> str:
    """Return the page with what stands between the two markers replaced."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{part}\n{END}{after}"


def main() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    if result["quick"]:
        raise SystemExit(f"{RESULT} comes from --quick, which measures nothing of interest")
    plotted = bool(speed_plot.draw(result["rows"], PLOT))
    PAGE.write_text(put(PAGE.read_text(encoding="utf-8"), render(result, plotted)), encoding="utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
