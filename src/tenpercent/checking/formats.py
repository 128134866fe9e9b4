"""Results of limits as JUnit XML, which CI servers show as tests, and as a summary in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from ..data.store.files import write_text
from ..errors import shown
from .limits import Outcome

_MARKED = re.compile(r"([\\`*_\[\]<>|#])")
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_junit(path: Path, run: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Write JUnit XML: a test a limit, which has failed where that is exceeded; an older file is replaced."""
    failed = sum(not one.kept for one in outcomes)
    suite = ElementTree.Element(
        "testsuite",
        name="tenpercent",
        tests=str(len(outcomes)),
        failures=str(failed),
        errors="0",
        skipped="0",
    )
    for one in outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(f"tenpercent.{run}"), name=one.name)
        if not one.kept:
            ElementTree.SubElement(case, "failure", message=_xml(f"{one.found}; {one.limit}")).text = _xml(
                "\n".join(one.examples)
            )
        else:
            ElementTree.SubElement(case, "system-out").text = _xml(str(one))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    write_text(path, ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n")


def write_markdown(path: Path, run: str | Path, outcomes: Sequence[Outcome]) -> None:
    """Write a summary with some examples; an older file is replaced."""
    lines = [f"## tenpercent check: {_plain(run)}", "", "| | found | limit |", "|---|---|---|"]
    for one in outcomes:
        lines.append(
            f"| {'✅' if one.kept else '❌'} {one.name} | {_plain(one.found)} | {_plain(one.limit)} |"
        )
    for one in outcomes:
        if one.examples:
            lines += ["", f"{one.name.capitalize()}, the first {len(one.examples)}:", ""]
            lines += [f"- {_plain(example)}" for example in one.examples]
    write_text(path, "\n".join(lines) + "\n")


def _plain(text: object) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return _MARKED.sub(r"\\\1", shown(text))


def _xml(text: str) -> str:
    """Return text without the characters that no XML may hold."""
    return _NO_XML.sub("�", text)
