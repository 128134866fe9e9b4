"""The documents say what the program does: commands, names and links in them are real."""

from __future__ import annotations

import argparse
import importlib.util
import json
import re
import shlex
import subprocess
import textwrap
from pathlib import Path
from statistics import mean, median, stdev
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

import tenpercent
from tenpercent.cli.parser import build_parser
from tenpercent.evaluation.presets import preset
from tenpercent.reporting.evidence.formats import difference_text, loss_difference_text, signed
from tenpercent.reporting.evidence.results import BASELINES, ArmResult, gather
from tenpercent.reporting.evidence.section import describe_evidence
from tenpercent.reporting.evidence.statistics import compare, gap
from tenpercent.reporting.evidence.verdicts import WORDS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|<(?:img|source)[^>]+src(?:set)?=\"([^\"]+)\"")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commands() -> dict[str, argparse.ArgumentParser]:
    found = load(ROOT / "tools" / "make_cli.py").commands(build_parser())
    assert isinstance(found, dict)
    return found


def code_lines(page: Path) -> list[str]:
    """The lines of a page that stand in blocks of code."""
    text = page.read_text(encoding="utf-8")
    fenced = [line for block in FENCE.findall(text) for line in block.splitlines()[1:-1]]
    indented = [line[4:] for line in FENCE.sub("", text).splitlines() if line.startswith("    ")]
    return [line.strip().removeprefix("$ ") for line in fenced + indented]


def calls(page: Path) -> list[str]:
    return [line for line in code_lines(page) if line.startswith("tenpercent ")]


def test_scripts_of_the_pages_are_ones_that_a_shell_reads() -> None:
    text = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^    #!/bin/bash\n(?:    .*\n)+", text, re.MULTILINE)
    assert len(script.splitlines()) <= 10
    subprocess.run(["bash", "-n"], input=textwrap.dedent(script), text=True, check=True)


def test_the_page_of_commands_is_current() -> None:
    stored = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert stored == load(ROOT / "tools" / "make_cli.py").render(), "docs/cli.md is old; run: make docs"


def test_every_command_and_argument_has_help() -> None:
    make_cli = load(ROOT / "tools" / "make_cli.py")
    assert set(make_cli.helps(build_parser())) == set(commands())
    assert all(make_cli.helps(build_parser()).values())
    silent = [
        f"{name} {make_cli.spelled(action)}"
        for name, command in commands().items()
        for _, actions in make_cli.options(command)
        for action in actions
        if not action.help
    ]
    assert silent == []


@pytest.mark.parametrize("command", sorted(commands()))
def test_help_of_a_command_is_printed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser().parse_args([command, "--help"])
    assert stop.value.code == 0
    assert f"tenpercent {command}" in capsys.readouterr().out


def test_the_commands_of_the_readme_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    found = calls(ROOT / "README.md")
    assert found, "README.md shows no command"
    for call in found:
        try:
            build_parser().parse_args(shlex.split(call, comments=True)[1:])
        except SystemExit as stop:
            assert not stop.code, f"README.md: {call}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_flags_named_on_a_page_exist(page: Path) -> None:
    known = commands()
    for call in calls(page):
        words = call.split()
        if words[1].startswith("-") or words[1].isupper():
            continue
        assert words[1] in known, f"{page.name}: {call}"
        flags = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", call.partition(" #")[0]))
        there = {flag for action in known[words[1]]._actions for flag in action.option_strings}
        assert flags <= there, f"{page.name}: {call}"


def test_the_names_of_the_library_in_the_readme_exist() -> None:
    code = "\n".join(code_lines(ROOT / "README.md"))
    names = set(re.findall(r"\btp\.(\w+)", code))
    assert names, "README.md shows no Python"
    assert names <= set(tenpercent.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_named_on_a_page_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8")))
    named |= {line.split()[1] for line in code_lines(page) if re.match(r"make [a-z]", line)}
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in (first or second for first, second in LINK.findall(text)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, heading = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT), f"{page.name}: {link} leads out of the project"
        if heading:
            assert heading in headings(target), f"{page.name}: {link}"


def headings(page: Path) -> set[str]:
    """The anchors that a Markdown page offers, made as GitHub makes them."""
    lines = FENCE.sub("", page.read_text(encoding="utf-8")).splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def test_the_citation_and_the_changelog_are_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {tenpercent.__version__}\n" in citation
    assert "1901.11409" in citation
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert tenpercent.__version__ in changelog


@pytest.mark.parametrize(
    "trainings", sorted((ROOT / "docs" / "evidence").glob("*.parquet")), ids=lambda path: path.stem
)
def test_the_tables_of_the_evidence_are_those_of_its_trainings(trainings: Path) -> None:
    page = trainings.with_suffix(".md").read_text(encoding="utf-8")
    said = describe_evidence(pq.read_table(trainings)).splitlines()
    first = next(number for number, line in enumerate(said) if line.startswith("kept "))
    table = said[first : said.index("", first)]
    assert len(table) > 2
    assert "\n".join(f"    {line}".rstrip() for line in table) in page


def test_the_table_of_the_candidates_is_that_of_their_accuracies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "experiments")
    table = pq.read_table(ROOT / "docs" / "data" / "candidates-cifar10.parquet")
    page = (ROOT / "docs" / "evidence" / "candidates.md").read_text(encoding="utf-8")
    lines = load(ROOT / "experiments" / "candidates.py").lines_of(table, 10_000 / 50_000)
    assert "\n".join(f"    {line}" for line in lines) in page
    assert len(set(table["split"].to_pylist())) == 8
    differ = [line.rsplit("  ", 1)[1].split(" ± ") for line in lines if "±" in line]
    assert not any(float(mean) > float(half) for mean, half in differ)


def test_the_figures_of_the_evidence_are_those_of_its_trainings() -> None:
    said = " ".join((ROOT / "docs" / "evidence" / "cifar10.md").read_text(encoding="utf-8").split())
    rows = pq.read_table(ROOT / "docs" / "evidence" / "cifar10.parquet").to_pylist()

    def values(arm: str, column: str) -> list[float]:
        return [row[column] for row in rows if row["arm"] == arm]

    removed, drawn = (values(arm, "removed_accuracy") for arm in ("semantic", "random"))
    assert f"{100 * mean(removed):.1f}% are classified correctly" in said
    assert f"(standard deviation {100 * stdev(removed):.2f} points)" in said
    assert f"of as many random ones {100 * mean(drawn):.1f}%" in said
    kept, random, full = (values(arm, "test_loss") for arm in ("semantic", "random", "full"))
    interval = stats.ttest_ind(random, kept, equal_var=False).confidence_interval()
    assert f"{mean(kept):.4f} against {mean(random):.4f} for random subsets" in said
    assert f"(95% interval of the difference {interval.low:.4f} to {interval.high:.4f}, Welch)" in said
    assert f"and {mean(full):.4f} for the full set" in said
    assert f"{sum(row['seconds'] for row in rows) / 3600:.1f} hours of a thread" in said
    (evidence,) = gather(pa.Table.from_pylist(rows))
    for result, claim in zip(
        evidence.results[1:], ("full set, within 0.2 points**", "90% is as good, too**"), strict=True
    ):
        found = evidence.against_full(result)
        assert found is not None and found.verdict.holds
        assert claim in said and difference_text(found) in said.partition(claim)[2][:100]
    spread = re.search(
        r"Trials vary by ([\d.]+) points, so four per arm show a true difference of ([\d.]+)", said
    )
    assert spread is not None
    assert f"by {spread[1]} points (standard deviation)" in describe_evidence(pa.Table.from_pylist(rows))
    assert f"a true difference of {spread[2]} points" in describe_evidence(pa.Table.from_pylist(rows))


def test_the_table_of_the_evidence_page_is_that_of_its_trainings() -> None:
    page = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    shown = [
        ("fashion", 0.9),
        ("cifar10", 0.9),
        ("fifth", 0.9),
        ("fifth", 0.8),
        ("fifth", 0.5),
        ("fifth", 0.3),
        ("digits", 0.5),
    ]
    for row, (name, fraction) in zip(rows, shown, strict=True):
        (evidence,) = gather(pq.read_table(ROOT / "docs" / "evidence" / f"{name}.parquet"))
        mine, random = evidence.result("semantic", fraction, "end"), evidence.result("random", fraction)
        assert mine is not None and random is not None
        full = evidence.against_full(mine)
        assert full is not None
        against = (full, evidence.against_full(random), evidence.against_random(mine))
        trials = str(len(mine.done)) + f", {len(random.done)} random" * (len(mine.done) != len(random.done))
        cells = [f"{100 * fraction:g}%", *map(difference_text, against), trials, WORDS[full.verdict]]
        assert row.endswith(f" | {' | '.join(cells)} |")


def test_the_figures_of_fashion_are_those_of_its_trainings() -> None:
    page = (ROOT / "docs" / "evidence" / "fashion.md").read_text(encoding="utf-8")
    said = " ".join(page.split())
    table = pq.read_table(ROOT / "docs" / "evidence" / "fashion.parquet")
    (evidence,) = gather(table)
    words = describe_evidence(table)
    for arm in ("semantic", "pretrained-90", "random"):
        result = evidence.result(arm, 0.9, "" if arm == "random" else "end")
        assert result is not None
        found = evidence.against_full(result)
        assert found is not None and found.verdict.holds
        assert f"({difference_text(found)})" in said
        if arm != "random":
            assert f"({difference_text(evidence.against_random(result))})" in said
    removed = re.search(
        r"Of the removed images (.+?%) are classified correctly; of those removed at random (.+?%)", words
    )
    assert removed is not None and f"{removed[1]} of the removed images" in said and removed[2] in said
    losses = re.search(
        r"−(0[\d.]+ ± [\d.]+) against random subsets, −(0[\d.]+ ± [\d.]+) against the full set", words
    )
    assert losses is not None and f"({losses[1]})" in said and f"by {losses[2]};" in said
    seconds = median(row["seconds"] for row in table.to_pylist())
    assert f"a median of {seconds:.0f} s of training" in said
    for summary in (said, (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")):
        assert f"{len(table)} training runs" in summary


def test_the_figures_of_the_fifth_are_those_of_its_trainings() -> None:
    page = (ROOT / "docs" / "evidence" / "fifth.md").read_text(encoding="utf-8")
    said = " ".join(page.split())
    table = pq.read_table(ROOT / "docs" / "evidence" / "fifth.parquet")
    rows, words = table.to_pylist(), describe_evidence(table)

    def values(arm: str, fraction: float, column: str) -> list[float]:
        return [row[column] for row in rows if (row["arm"], row["fraction"]) == (arm, fraction)]

    own = re.search(r"whether the selection loses at 90%\*\*: −([\d.]+ ± [\d.]+) points", said)
    spread = re.search(
        r"Trials vary by ([\d.]+) points, so five per arm show a true difference of ([\d.]+)", said
    )
    assert own is not None and f"(−{own[1]} points, 95% interval, 5 trials per arm)" in words
    assert spread is not None and f"vary by {spread[1]} points" in words
    assert f"a true difference of {spread[2]} points" in words
    needed = re.search(r"about (\d+) per arm would decide whether 0.2 points are lost", said)
    assert needed is not None and f"a 0.2-point loss; about {needed[1]} per arm would decide" in words
    removed, drawn = (mean(values(arm, 0.9, "removed_accuracy")) for arm in ("semantic", "random"))
    assert f"classify {100 * removed:.1f}% of it correctly, of a random tenth {100 * drawn:.1f}%" in said
    full = mean(values("full", 1.0, "accuracy"))
    lost = [full - row["accuracy"] for row in rows if row["fraction"] == 0.5]
    assert f"Half of the images costs {100 * min(lost):.1f} to {100 * max(lost):.1f} points" in said
    behind = mean(values("random", 0.3, "accuracy")) - mean(values("semantic", 0.3, "accuracy"))
    assert f"At 30% it is {100 * behind:.1f} points behind random subsets" in said
    (evidence,) = gather(table)

    def point(arm: str, fraction: float) -> ArmResult:
        found = evidence.result(arm, fraction, "" if arm in BASELINES else "end")
        assert found is not None
        return found

    def beside(arm: str, *fractions: float) -> list[str]:
        return [difference_text(evidence.against_random(point(arm, fraction))) for fraction in fractions]

    gains = beside("spread", 0.3, 0.5, 0.7, 0.9)
    assert "at 30%**: `spread` is {} points from random subsets.".format(*gains) in said
    assert "it is {1} at 50%, {2} at 70% and {3} at 90%".format(*gains) in said
    ours = [beside(arm, 0.5)[0] for arm in ("mixed", "spread", "mixed:0")]
    assert "may: {}, {} and {}.".format(*ours) in said
    cost = {
        (arm, fraction): difference_text(evidence.against_full(point(arm, fraction)))
        for arm, fraction in (("random", 0.9), ("random", 0.8), ("semantic", 0.8))
    }
    assert f"{cost['random', 0.9]} points against the full set" in said
    assert f"and {beside('semantic', 0.9)[0]} beside random subsets." in said
    both = (cost["semantic", 0.8], cost["random", 0.8])
    assert "the selection is at {} and random subsets at {} points against".format(*both) in said
    assert f"the selection is {beside('semantic', 0.8)[0]} from random subsets." in said
    later = [
        [row for row in rows if (row["arm"], row["fraction"], row["layer"]) == (arm, 0.8, "end")][1:]
        for arm in ("semantic", "random")
    ]
    right = [[row["accuracy"] for row in side] for side in later]
    assert f"without the first pair it is {difference_text(compare(*right))}, and the selection at " in said
    assert (
        f"and the selection at {difference_text(compare(right[0], values('full', 1.0, 'accuracy')))}." in said
    )
    between, half = gap(*([row["test_loss"] for row in side] for side in later))
    assert f"without the first pair: {signed(between, 4)} ± {half:.4f}" in said
    for arm in ("kcenter", "graph-add", "semdedup"):
        (lower,) = values(arm, 0.5, "test_loss")
        assert f"`{arm}` {lower:.4f}" in said and lower < mean(values("random", 0.5, "test_loss"))
    other = [
        f"{100 * mean(values(f'unlabelled-{kept}', kept / 100, 'accuracy')):.2f} at {kept}% (supervised "
        f"{100 * mean(values('semantic', kept / 100, 'accuracy')):.2f})"
        for kept in (90, 50)
    ]
    assert " and ".join(other) in said
    for arm, count in (("semantic", "three"), ("mixed:0", "three"), ("farthest-50", "one")):
        accuracy = 100 * mean(values(arm, 0.5, "accuracy"))
        assert re.search(rf"{accuracy:.2f} \(`{arm}`, {count}", said)
    layers = {
        layer: mean(
            100 * row["accuracy"]
            for row in rows
            if (row["arm"], row["fraction"], row["layer"]) == ("semantic", 0.8, layer)
        )
        for layer in ("end", "middle", "start")
    }
    words_of = (
        "at 80% the last has {end:.2f} (4 training runs), the middle one {middle:.2f}, the first {start:.2f}"
    )
    assert words_of.format(**layers) in said
    alone = ("el2n", "ccs", "graph-remove", "forgetting", "semdedup", "kcenter", "graph-add")
    listed = ", ".join(f"`{arm}` {100 * mean(values(arm, 0.5, 'accuracy')):.1f}" for arm in alone)
    assert listed in said
    own, shared = (
        [row for row in rows if (row["arm"], row["fraction"]) == (a, 0.5)] for a in ("semantic", "shares-50")
    )
    (moved,) = shared
    lost = mean(row["accuracy"] for row in own) - moved["accuracy"]
    assert (
        f"`shares-50` has {100 * moved['accuracy']:.2f} (one training run), {100 * lost:.1f} points" in said
    )
    cat, ship = (
        100 * (moved["class_accuracy"][code] - mean(row["class_accuracy"][code] for row in own))
        for code in (3, 8)
    )
    assert f"and gain {cat:.1f} points, ships keep 349 and lose {-ship:.1f}." in said
    losses = load(ROOT / "experiments" / "losses.py").lines(evidence, 2)
    assert "\n".join(f"    {line}".rstrip() for line in losses) in page
    first = " ".join((ROOT / "docs" / "evidence.md").read_text(encoding="utf-8").split())
    first = first.partition("## How it is measured")[0]
    assert f"about {needed[1]} per arm would decide" in first
    for arm, against in (("semantic", "random"), ("random", "full"), ("semantic", "full")):
        reference = point(against, 1.0 if against == "full" else 0.9)
        difference = loss_difference_text(point(arm, 0.9), reference)[1:]  # the sign may be a word
        assert difference in said and difference in first
    for one in (point("semantic", 0.9), point("semantic", 0.8), point("mixed:0", 0.5), point("spread", 0.3)):
        difference, half = gap(
            one.independent("test_loss"), point("random", one.fraction).independent("test_loss")
        )
        assert half is not None and difference + half < 0  # the interval leaves zero out
    assert f"a random 90% loses {cost['random', 0.9].removeprefix('−')} points" in first
    assert f"at 30% the selection is {100 * behind:.1f} points behind a random one" in first
    strategies = " ".join((ROOT / "docs" / "strategies.md").read_text(encoding="utf-8").split())
    ahead = mean(values("spread", 0.3, "accuracy")) - mean(values("random", 0.3, "accuracy"))
    assert f"`semantic` was {100 * behind:.1f} points behind a random one there" in strategies
    assert f"`spread` {100 * ahead:.1f} ahead of it" in strategies
    assert f"{len(rows)} training runs, {sum(row['seconds'] for row in rows) / 3600:.1f} hours" in said


def test_the_accuracy_of_the_fast_preset_is_that_of_its_training() -> None:
    found = json.loads((ROOT / "docs" / "evidence" / "fast.json").read_text(encoding="utf-8"))
    shown = f"{100 * found['test_accuracy_mirrored']:.2f}%"
    for page in ("docs/evidence/cifar10.md", "experiments/LOG.md"):
        assert shown in (ROOT / page).read_text(encoding="utf-8")
    stored = found["embedding"]["settings"]["embedder"]
    asked = preset("fast").protocol.training.as_json()
    assert {**stored, "seed": None, "precision": None} == {**asked, "seed": None, "precision": None}


def test_the_figures_of_the_presets_trainings_are_those_measured() -> None:
    page = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8").partition("## The presets' trainings")[2]
    found = json.loads((ROOT / "benchmarks" / "train.json").read_text(encoding="utf-8"))
    medians, ratios = found["medians"], found["ratios"]
    for name in ("paper-cifar", "fast", "quick"):
        network, ours, plain = (medians[f"{name}, {what}"] for what in ("network", "ours", "plain"))
        pure, gain = ratios[f"{name}, network / {name}, ours"], ratios[f"{name}, ours / {name}, plain"]
        assert f"| `{name}` | {network:.0f} | {ours:.0f} | {pure:.2f} | {plain:.0f} | {gain:.2f} |" in page
    for name in ("ResNet-8, 8 pixels", "ResNet-8, 32 pixels", "paper-cifar", "fast", "quick"):
        after, both = (medians[f"{name}, {how}"] for how in ("one after the other", "at once"))
        ratio = ratios[f"{name}, one after the other / {name}, at once"]
        shown = name if name.startswith("ResNet") else f"`{name}`"
        assert f"| {shown} | {after:.1f} | {both:.1f} | {ratio:.2f} |" in page
    assert f"of {found['images']:,} random images" in page
    assert f"medians of {len(found['rounds'])} interleaved rounds" in " ".join(page.split())


def test_the_figures_of_the_review_page_are_those_measured() -> None:
    page = (ROOT / "docs" / "review.md").read_text(encoding="utf-8").partition("## How fast")[2]
    shown = {}
    for name in ("50000", "1000000"):
        found = json.loads((ROOT / "benchmarks" / f"page-{name}.json").read_text(encoding="utf-8"))
        moves, frames = found["slider, ms until the content"], found["slider, ms until the frame"]
        scroll, laid = found["scroll, ms a frame"], found["map, seconds"]
        shown[name] = [
            f"{moves['median']:.0f}, {moves['p95']:.0f} ms",
            f"{frames['median']:.0f}, {frames['p95']:.0f} ms",
            f"{scroll['median']}, {scroll['p95']} ms; {scroll['own']} ms",
            f"{found['first screen, seconds']:.1f} s",
            f"{laid['laid out']:.0f} s; {laid['drawn']:.1f} s",
        ]
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    for row, few, many in zip(rows, *shown.values(), strict=True):
        assert row.endswith(f"| {few} | {many} |")
    load = json.loads((ROOT / "benchmarks" / "review.json").read_text(encoding="utf-8"))
    all_of_it = load["load"]["milliseconds"]["all"]
    assert f"{all_of_it['answers']:,} responses, none an error; median {all_of_it['median']:.0f} ms" in page
    assert (
        f"95th percentile {all_of_it['p95']:.0f} ms, the longest {all_of_it['largest'] / 1000:.1f} s" in page
    )
    assert f"{load['load']['memory of the server, MB'] / 1000:.2f} GB" in page.replace("\n", " ")
    assert load["load"]["errors"] == {} and load["fuzz"]["failures"] == 0
    assert f"{load['fuzz']['requests']:,} random requests" in page


def test_the_figures_of_the_pretrained_network_are_those_measured() -> None:
    page = " ".join((ROOT / "docs" / "embeddings.md").read_text(encoding="utf-8").split())
    found = json.loads((ROOT / "benchmarks" / "photos.json").read_text(encoding="utf-8"))
    for name, size in (("500x375", "500 × 375"), ("4000x3000", "4000 × 3000")):
        rate, times = found[name]["images_per_second"]["both"], found[name]["times_timm"]
        said = f"photos of {size} pixels, {rate[0]:.0f} ± {rate[1]:.0f} a second, {times[0]:.1f} ± {times[1]:.1f} times"
        assert said in page
        assert (
            times[0] >= 2
            and found[name]["of_bound"][0] >= 0.85
            and found[name]["whole_run_peak_bytes"] < 1.5e9
        )
    whole = found["500x375"]
    assert f"{whole['whole_run_seconds']} s and {whole['whole_run_peak_bytes'] / 1e6:.0f} MB" in page
    neighbours = json.loads((ROOT / "docs" / "data" / "pretrained.json").read_text(encoding="utf-8"))
    assert neighbours["train"] == 10_000
    assert f"in {100 * neighbours['accuracy']:.0f}% of cases" in page
    tuned = json.loads((ROOT / "docs" / "data" / "finetuned.json").read_text(encoding="utf-8"))
    assert tuned["train"] == tuned["test"] == 2000
    for one in tuned["contestants"].values():
        assert f"in {100 * one['knn']:.1f}% " in page and f"{one['cpu_seconds']} CPU seconds" in page
        assert one["knn_high"] - one["knn"] < 0.025


def test_the_figures_of_heads_are_those_of_their_results() -> None:
    pages = {name: ROOT / "docs" / "evidence" / f"heads-{name}.md" for name in ("cifar10", "fashion")}
    seconds = json.loads(pages["cifar10"].with_suffix(".json").read_text("utf-8"))["seconds"]
    assert f"took {sum(seconds.values()):.0f} s" in pages["cifar10"].read_text(encoding="utf-8")
    summary = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    fashion = pages["fashion"].read_text(encoding="utf-8")

    def shown(name: str, arm: str, fraction: float) -> str:
        (evidence,) = gather(pq.read_table(pages[name].with_suffix(".parquet")))
        result = evidence.result(arm, fraction, "" if arm == "random" else "end")
        assert result is not None
        return difference_text(evidence.against_full(result))

    assert f"90% loses {shown('cifar10', 'semantic', 0.9).lstrip('−')} points" in summary
    assert f"points ({shown('fashion', 'semantic', 0.9)}), and 80%" in summary
    for arm, fraction in (("semantic", 0.9), ("semantic", 0.8), ("random", 0.9)):
        assert f"({shown('fashion', arm, fraction)})" in fashion
    (evidence,) = gather(pq.read_table(pages["fashion"].with_suffix(".parquet")))
    result = evidence.result("semantic", 0.8, "end")
    worst = None if result is None else evidence.worst_class(result)
    assert worst is not None and worst.beyond_chance and worst.code == 4  # coats
    assert f"coats, {difference_text(worst.comparison).lstrip('−')} points" in fashion


def test_the_correlation_of_shared_seeds_is_the_one_measured() -> None:
    page = (ROOT / "docs" / "heads.md").read_text(encoding="utf-8")
    found = json.loads((ROOT / "docs" / "data" / "shared_seeds.json").read_text("utf-8"))
    said = f"correlated by {found['correlation']:.2f} ({found['trials']} seeds, 95% interval −{-found['low']:.2f} to"
    assert said in page
    assert f"{found['high']:.2f}; `experiments/shared_seeds.py`" in page
