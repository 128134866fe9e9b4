"""Writes docs/cli.md from the parser of the command line: `make docs`, or `python tools/make_cli.py`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from tenpercent.cli.parser import build_parser, filled

TARGET = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """\
# The command line

<!-- Made by tools/make_cli.py from the parser itself; `make docs` writes it again. Don't edit it by hand. -->

{description} An error is one line on standard error that names the
value, the limit and the remedy. Exit status: 0 done, 1 failed, 2 wrong usage, 130 stopped with ctrl-C. The same
command again resumes where it was interrupted.

"""


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command, in the order of the help."""
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found.choices)


def helps(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the one line that ``--help`` says of each command."""
    (found,) = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return {choice.dest: choice.help or "" for choice in found._choices_actions}


def options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    """Yield the groups of a command's arguments with their titles; first, without a title, those of no group."""
    plain = (parser._positionals, parser._optionals)
    yield "", [action for group in plain for action in shown(group)]
    for group in parser._action_groups:
        if group not in plain and shown(group):
            yield str(group.title), shown(group)


def shown(group: argparse._ArgumentGroup) -> list[argparse.Action]:
    """Return the arguments of a group, without ``--help``, which every command has."""
    return [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]


def spelled(action: argparse.Action) -> str:
    """Return an option as it is typed: ``--keep FRACTION``, ``SOURCE``."""
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return value
    flag = ", ".join(action.option_strings)
    return flag if action.nargs == 0 else f"{flag} {value}"


def usage(parser: argparse.ArgumentParser) -> str:
    """Return the shortest call: positional arguments and required options."""
    actions = [action for _, group in options(parser) for action in group]
    needed = [spelled(action) for action in actions if not action.option_strings or action.required]
    more = any(action.option_strings and not action.required for action in actions)
    return " ".join([parser.prog, *needed, *(["[options]"] if more else [])])


def cell(text: str) -> str:
    """Return `text` for a cell of a Markdown table."""
    return " ".join(text.replace("|", "\\|").replace("%%", "%").split())


def table(actions: list[argparse.Action]) -> Iterator[str]:
    """Yield the lines of a table of options."""
    yield "| argument | meaning |"
    yield "|---|---|"
    for action in actions:
        yield f"| `{cell(spelled(action))}` | {cell(filled(action.help or ''))} |"


def render() -> str:
    """Return the whole page."""
    parser = build_parser()
    lines = [HEAD.format(description=parser.description)]
    lines += [
        f"- [`tenpercent {name}`](#tenpercent-{name}) – {text}\n" for name, text in helps(parser).items()
    ]
    lines.append("- `tenpercent --version`, `tenpercent --help`, `tenpercent COMMAND --help`\n")
    for name, command in commands(parser).items():
        lines.append(f"\n## `tenpercent {name}`\n\n{command.description}\n\n    {usage(command)}\n")
        for title, actions in options(command):
            lines.append(f"\n{title.capitalize()}:\n\n" if title else "\n")
            lines += [f"{line}\n" for line in table(actions)]
        if command.epilog:
            lines.append(f"\n```text\n{command.epilog.strip()}\n```\n")
    return "".join(lines)


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    print(f"wrote {TARGET}")
