"""Options that a message names and its command lacks: where they are found."""

from __future__ import annotations

from functools import cache

from ..errors import flags_named
from .parser import build_parser


def placed(message: str, command: str) -> str:
    """Return a message with where each option that it names is found, if the command lacks it.

    Messages of the library name options that not all commands have which call it: ``--split`` is ``--test-split`` at
    ``leaks``, and ``--out`` belongs to ``run``.
    """
    named = flags_named(message)
    if not named:
        return message
    known = options()
    said = []
    for name in named:
        owners = [one for one, has in known.items() if f"--{name}" in has]
        here = sorted(own for own in known[command] if own.endswith(f"-{name}"))
        if owners and command not in owners:
            of = "run" if "run" in owners else " and ".join(owners)
            said.append(
                f"here --{name} is {' or '.join(here)}" if here else f"--{name} belongs to tenpercent {of}"
            )
    return "; ".join([message, *said])


@cache
def options() -> dict[str, frozenset[str]]:
    """Return the options of each command."""
    (commands,) = (one.choices for one in build_parser()._actions if one.dest == "command")
    return {name: frozenset(parser._option_string_actions) for name, parser in dict(commands or {}).items()}
