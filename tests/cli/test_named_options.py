"""Every option that a message names exists, and the command that prints it says where."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tenpercent
from tenpercent.cli.main import main
from tenpercent.cli.named_options import options, placed
from tenpercent.errors import flags_named

SOURCE = Path(tenpercent.__file__).parent
NOT_OURS = {"--head", "--address"}  # of Ray, in sentences about it


def messages() -> dict[str, list[str]]:
    """The options that texts with values in them name, by place, as most messages of errors are."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                text = "".join(
                    str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values
                )
                if named := flags_named(text.replace("var(--", "")):
                    found[f"{path.relative_to(SOURCE)}:{node.lineno}"] = named
    return found


def test_every_option_that_a_message_names_exists() -> None:
    known, named = frozenset().union(*options().values()) | NOT_OURS, messages()
    assert len(named) > 100
    wrong = {place: [one for one in names if f"--{one}" not in known] for place, names in named.items()}
    assert {place: names for place, names in wrong.items() if names} == {}


@pytest.mark.parametrize("command", sorted(options()))
def test_each_command_says_where_the_options_are_that_it_lacks(command: str) -> None:
    known = options()
    for names in {tuple(names) for names in messages().values()}:
        line = "x is wrong; give " + " or ".join(f"--{name}" for name in names)
        said = placed(line, command).removeprefix(line)
        for name in names:
            if f"--{name}" in known[command] or f"--{name}" in NOT_OURS:
                assert f"--{name} " not in said
            else:
                assert f"; here --{name} is --" in said or f"; --{name} belongs to tenpercent " in said


def test_an_option_is_called_as_the_command_has_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert placed("choose one with --split", "leaks").endswith(
        "; here --split is --test-split or --train-split"
    )
    assert placed("start over with --reread", "select").endswith("; --reread belongs to tenpercent run")
    assert placed("start over with --reread", "leaks") == "start over with --reread"
    assert placed("make it with: tenpercent run X --out Y --reread", "select").endswith("--reread")
    for split in ("left", "right"):
        (tmp_path / "set" / split / "a").mkdir(parents=True)
    assert main(["report", str(tmp_path)]) == 1
    assert "belongs" not in capsys.readouterr().err
