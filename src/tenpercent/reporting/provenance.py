"""Origin of a result as rows for a page: the settings, seeds, versions and timings of each stage."""

from __future__ import annotations

import math
from typing import Any

from .gallery import clean, number

OTHER = ("fingerprint", "settings", "seconds", "finished", "versions", "machine", "notes")


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
    about = {key: value for key, value in run.get("source", {}).items() if key != "class_names"}
    settings = {"source": _rows(about)} if about else {}
    settings |= {name: _rows(stage.get("settings", {})) for name, stage in stages.items()}
    outcomes = {
        name: _rows({key: value for key, value in stage.items() if key not in OTHER})
        for name, stage in stages.items()
    }
    versions: dict[str, dict[str, None]] = {}
    machines: dict[str, None] = {}
    for stage in stages.values():
        for package, version in stage.get("versions", {}).items():
            versions.setdefault(package, {})[version] = None
        if machine := stage.get("machine"):
            machines[f"{machine.get('processor', 'unknown CPU')}, {machine.get('cores', '?')} cores"] = None
    return {
        "stages": [(name, stage.get("seconds"), stage.get("finished", "")) for name, stage in stages.items()],
        "total": sum(float(stage.get("seconds") or 0) for stage in stages.values()),
        "settings": list(settings.items()),
        "outcomes": [(name, rows) for name, rows in outcomes.items() if rows],
        "seeds": [
            (f"{name}: {key}", value)
            for name, rows in settings.items()
            for key, value in rows
            if key.rpartition(".")[2] == "seed" and name != "source"
        ],
        "versions": [(name, ", ".join(found)) for name, found in sorted(versions.items())],
        "machines": list(machines),
    }


def _rows(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [(key, _words(value)) for key, value in flat(values) if value is not None and value != ""]


def flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested settings as (dotted name, value)."""
    rows: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += flat(value, f"{prefix}{key}{'.' if key != 'skipped' else ': '}")
        else:
            rows.append((f"{prefix}{key}", value))
    return rows


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
