"""Looks of arms: the same colour and sign in every figure, table and file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from ...selection.strategies.strategy import Strategy
from ..figures import ARMS, COLOURS, INK

# Signs differ as well as colours, so that no arm is told apart by colour alone.
SIGNS = ("o", "s", "^", "D", "v", "P", "X")
PLACES = {"semantic": 0, "random": 1, "kcenter": 2, "graph-remove": 3, "graph-add": 4, "semdedup": 5}
SHAPES = {
    "o": '<circle cx="13" cy="6" r="3.6"/>',
    "s": '<rect x="9.6" y="2.6" width="6.8" height="6.8"/>',
    "^": '<path d="M13 1.6 17.2 9.6H8.8z"/>',
    "v": '<path d="M13 10.4 17.2 2.4H8.8z"/>',
    "D": '<path d="M13 1.4 17.6 6 13 10.6 8.4 6z"/>',
    "P": '<path d="M11.6 2h2.8v2.6H17v2.8h-2.6V10h-2.8V7.4H9V4.6h2.6z"/>',
    "X": '<path d="M10.6 2 13 4.4 15.4 2l1.8 1.8L14.8 6l2.4 2.2-1.8 1.8L13 7.6 10.6 10 8.8 8.2 11.2 6 8.8 3.8z"/>',
}


@dataclass(frozen=True)
class Look:
    """The colour and sign of an arm.

    Attributes:
        colour: used in drawing figures (see `figures.COLOURS`).
        sign: matplotlib's letter of the marker.
    """

    colour: str
    sign: str

    @property
    def swatch(self) -> Markup:
        """Line with the sign on it, for a key on the page."""
        colour = COLOURS[self.colour]
        return Markup(
            f'<svg class="swatch" viewBox="0 0 26 12" aria-hidden="true" style="color:{colour}">'
            f'<path d="M0 6H26" stroke="currentColor" stroke-width="2"/>{SHAPES[self.sign]}</svg>'
        )


FULL = Look(INK, "D")


def looks_of(arms: Iterable[str]) -> dict[str, Look]:
    """Return the look of each arm: some have a fixed one; other strategies, then lists, take what is left.

    Beyond seven arms colours repeat, with another sign.
    """
    given = sorted(set(arms) - {"full"}, key=lambda arm: (arm.partition(":")[0] not in set(Strategy), arm))
    taken = {arm: PLACES[arm] for arm in given if arm in PLACES}
    free = [place for place in range(len(ARMS)) if place not in taken.values()]
    found = {"full": FULL}
    for number, arm in enumerate(arm for arm in given if arm not in PLACES):
        place = free[number] if number < len(free) else number - len(free)
        shift = 0 if number < len(free) else 1 + (number - len(free)) // len(ARMS)
        found[arm] = Look(ARMS[place % len(ARMS)], SIGNS[(place + shift) % len(SIGNS)])
    return found | {arm: Look(ARMS[place], SIGNS[place]) for arm, place in taken.items()}
