"""Origin of a result as rows for a page: the settings, seeds, versions and timings of each stage."""

from __future__ import annotations

import math
from typing import Any

from .gallery import clean, number

OTHER = ("fingerprint", "settings", "seconds", "finished", "versions", "machine")


def provenance(run: dict[str, Any]) -> dict[str, Any]:
    """Return rows of ``run.json`` for the page.

    Args:
        run: its content.

    Returns:
        ``stages``: name, seconds, when finished; ``settings``: stage, rows of (name, value); ``seeds``: (stage
        and name, value); ``versions``: (package, versions in the order of the stages); ``machines``: in words.
    """
    stages: dict[str, dict[str, Any]] = {
        name: stage for name, stage in run.get("stages", {}).items() if name != "report"
    }
    source = [
        (key, _words(value))
        for key, value in flat(run.get("source", {}))
        if _worth(value) and key != "class_names"
    ]
    settings = [("source", source)] if source else []
    outcomes: list[tuple[str, list[tuple[str, str]]]] = []
    seeds: list[tuple[str, str]] = []
    versions: dict[str, list[str]] = {}
    machines: list[str] = []
    for name, stage in stages.items():
        chosen = [(key, _words(value)) for key, value in flat(stage.get("settings", {})) if value is not None]
        settings.append((name, chosen))
        more = {key: value for key, value in stage.items() if key not in (*OTHER, "notes")}
        outcomes.append((name, [(key, _words(value)) for key, value in flat(more) if value is not None]))
        seeds += [(f"{name}: {key}", value) for key, value in chosen if key.rpartition(".")[2] == "seed"]
        for package, version in stage.get("versions", {}).items():
            known = versions.setdefault(package, [])
            if version not in known:
                known.append(version)
        machine = stage.get("machine", {})
        said = f"{machine.get('processor', 'unknown processor')}, {machine.get('cores', '?')} cores"
        if machine and said not in machines:
            machines.append(said)
    return {
        "stages": [(name, stage.get("seconds"), stage.get("finished", "")) for name, stage in stages.items()],
        "total": sum(float(stage.get("seconds") or 0) for stage in stages.values()),
        "settings": settings,
        "outcomes": [(name, rows) for name, rows in outcomes if rows],
        "seeds": seeds,
        "versions": [(name, ", ".join(found)) for name, found in sorted(versions.items())],
        "machines": machines,
    }


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested settings as (dotted name, value)."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}{'.' if key != 'skipped' else ': '}")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


def _worth(value: Any) -> bool:
    return value is not None and value != "" and value != [] and value != {}


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value) if 0 < abs(value) < 0.001 else f"{value:,.4f}".rstrip("0").rstrip(".")
    if isinstance(value, list):
        return ", ".join(_words(item) for item in value) or "none"
    return clean(str(value))


def training_accuracy(run: dict[str, Any]) -> str | None:
    """Return the training accuracy of the embedding's network in its last epoch, in words.

    Args:
        run: the content of ``run.json``.

    Returns:
        None where the network was not trained on labels, or the run does not record it.
    """
    stage = run.get("stages", {}).get("embed", {})
    embedder = stage.get("settings", {}).get("embedder", {})
    right = stage.get("train_accuracy")
    if right is None or not (embedder.get("embedder") == "supervised" or embedder.get("finetune")):
        return None
    return f"{right:.0%}" if round(right, 2) < 1 else f"{math.floor(1000 * right) / 10:.1f}%"
