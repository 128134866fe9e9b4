"""The house: names that never clash, layers that the documents list as they are checked, no circle of files."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import tenpercent as tp

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "tenpercent"


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports(name: str, path: Path) -> set[str]:
    """The modules of this package that a file imports, at its top, in a function or for types alone."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            whole = ".".join([*base, *([node.module] if node.module else [])])
            found |= {
                f"{whole}.{alias.name}" if f"{whole}.{alias.name}" in MODULES else whole
                for alias in node.names
            }
    return found & MODULES.keys() - {name}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of a graph, empty where there is none."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return path[path.index(node) :]
        if node in done:
            return []
        for other in sorted(graph.get(node, ())):
            if found := walk(other, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, []))), [])


def test_no_module_has_the_name_of_a_public_function() -> None:
    below = {name.split(".")[1] for name in MODULES if name.count(".") >= 1}
    assert not below & set(tp.__all__)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_the_layers_are_listed_as_they_are_checked(page: str) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = [c["layers"] for c in settings["tool"]["importlinter"]["contracts"] if c["type"] == "layers"]
    listed = "\n".join("    " + layer.replace("tenpercent.", "") for layer in layers)
    assert f"\n{listed}\n" in (ROOT / page).read_text(encoding="utf-8")


def test_every_module_is_in_a_layer() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    known = {name for layer in layers for name in layer.replace("tenpercent.", "").split(" | ")}
    below = {name.split(".")[1] for name in MODULES if name.count(".") >= 1}
    assert below - {"__main__"} == known


def test_no_file_imports_itself_by_others_not_even_for_types() -> None:
    assert circle({name: imports(name, path) for name, path in MODULES.items()}) == []


def script_imports(text: str) -> set[str]:
    """The scripts beside it that a script of the page imports."""
    return set(re.findall(r"""\b(?:from|import)[\s(]*["']\./([\w-]+\.js)["']""", text))


def test_no_script_of_the_page_imports_itself_by_others() -> None:
    files = (SOURCE / "reviewing" / "page").glob("*.js")
    graph = {path.name: script_imports(path.read_text(encoding="utf-8")) for path in files}
    assert graph["main.js"] > {"cut.js", "feed.js"} and circle(graph) == []


def test_the_search_for_circles_finds_one() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    text = 'import { a } from "./a.js";\nimport "./b.js";\nconst { c } = await import("./c.js");'
    assert script_imports(text) == {"a.js", "b.js", "c.js"}


def test_documents_name_files_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[a-z_0-9]+/)*[a-z_0-9]+\.py)`", text))
    places = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("[stbed]*/**/*.py")]
    assert not [name for name in named if not any(f"/{place}".endswith(f"/{name}") for place in places)]


def test_the_walk_in_the_documents_names_functions_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    hops = set(re.findall(r"`([a-z_0-9/]+\.py)::(\w+)`", text))
    assert len(hops) > 20
    defined = {
        (path.relative_to(SOURCE).as_posix(), node.name)
        for path in MODULES.values()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    lost = [
        hop
        for hop in hops
        if not any(f"/{file}".endswith(f"/{hop[0]}") and name == hop[1] for file, name in defined)
    ]
    assert not lost


def test_commands_in_messages_quote_their_paths() -> None:
    """A run folder may be called "my pics": whoever copies the command from a message must get one argument."""
    bare = re.compile(r"(?:tenpercent [a-z]+|--out) \{(?!quoted\(|shlex\.quote\(|run\}|stage)([^}]*)\}")
    found = {path.name: bare.findall(path.read_text(encoding="utf-8")) for path in MODULES.values()}
    assert {name: paths for name, paths in found.items() if paths} == {}
