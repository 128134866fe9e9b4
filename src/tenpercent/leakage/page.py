"""Page of the leaks: one self-contained HTML file with test images beside their near-duplicates."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.store.embeddings import Ints
from ..data.store.files import write_text
from ..reporting.gallery import ImageCard, Thumbnails, clean, number, page_template
from ..reporting.provenance import flat
from .pairs import ImagePairs, MatchKind
from .result import Leaks

SHOWN = 200  # leaking test images with pictures, the surest
NEAR_DUPLICATES = 5  # shown of each
SIMILAR = 60  # test images whose vector is merely similar
OTHER_LABEL = 24
REJECTED = 100
PICTURES = {"test": 3_500_000, "train": 7_000_000}  # bytes of pictures as text


@dataclass(frozen=True)
class LeakCard:
    """A leaking test image beside its surest near-duplicates.

    Attributes:
        test: the test image.
        near_duplicates: training images, the surest first.
        total: number of all its near-duplicates.
        other_label: True where its label differs from its surest near-duplicate's.
    """

    test: ImageCard
    near_duplicates: tuple[ImageCard, ...]
    total: int
    other_label: bool


def write_page(path: Path, found: Leaks, record: dict[str, Any]) -> None:
    """Write the page, whole or not at all.

    Args:
        path: the HTML file.
        found: the leaks.
        record: settings, versions and machine, see `find`.

    Raises:
        RunFolderError: it can't be written.
    """
    write_text(path, render(found, record).encode("utf-8", "replace").decode("utf-8"))


def render(found: Leaks, record: dict[str, Any]) -> str:
    """Return the page as HTML."""
    return page_template("leaks.html.j2", found.noun, percent="{:.2%}".format).render(
        **_sections(found, record)
    )


def _sections(found: Leaks, record: dict[str, Any]) -> dict[str, Any]:
    """Return the template's data, made in the page's order, so that the budget of pictures goes to its beginning."""
    cards = _Cards(found)
    similar, surest = found.similar, found.surest
    differ = surest[found.same_label[surest] == False]  # noqa: E712 – None is neither
    return {
        "found": found,
        "test": {"spec": clean(found.test.spec), "images": len(found.test)},
        "train": {"spec": clean(found.train.spec), "images": len(found.train)},
        "cards": cards.of(found.pairs, surest[:SHOWN]),
        "similar": similar
        and {
            "threshold": similar.threshold,
            "images": similar.images,
            "cards": cards.of(similar.pairs, similar.pairs.first[:SIMILAR]),
        },
        "other_label": cards.of(found.pairs, differ[:OTHER_LABEL]),
        "classes": _classes(found),
        "rejected": _rejected(found),
        "settings": [
            (name, [(key, _words(value)) for key, value in flat(record[name]) if value is not None])
            for name in ("train", "test", "settings", "versions", "machine")
        ],
        "pictures": {
            "none": [one.spec for one in (found.train, found.test) if one.source is None],
            "left_out": cards.test.left_out + cards.train.left_out,
            "unreadable": len(cards.test.unreadable) + len(cards.train.unreadable),
        },
    }


class _Cards:
    """The cards of the page, and the pictures on them."""

    def __init__(self, found: Leaks) -> None:
        self.found = found
        self.test, self.train = (
            Thumbnails(one.source, one.embeddings, PICTURES[name], found.noun)
            for one, name in ((found.test, "test"), (found.train, "train"))
        )

    def of(self, pairs: ImagePairs, chosen: Ints) -> list[LeakCard]:
        """Return a card for each of some pairs: its test image, with all its near-duplicates."""
        images = pairs.i[chosen].tolist()
        order = np.argsort(pairs.i, kind="stable")  # within a test image the surest stays first
        start, end = (np.searchsorted(pairs.i[order], images, side) for side in ("left", "right"))
        places = [order[a:b] for a, b in zip(start, end, strict=True)]
        self.test.fetch(images)
        self.train.fetch([int(j) for some in places for j in pairs.j[some[:NEAR_DUPLICATES]]])
        return [self._card(pairs, image, some) for image, some in zip(images, places, strict=True)]

    def _card(self, pairs: ImagePairs, image: int, places: Ints) -> LeakCard:
        names = self.found.test.label_names[image], self.found.train.label_names[pairs.j[places[0]]]
        return LeakCard(
            self.test.card(image, "test", with_class=True),
            tuple(self._near_duplicate(pairs, at) for at in places[:NEAR_DUPLICATES].tolist()),
            len(places),
            self.found.other_label is not None and None not in names and names[0] != names[1],
        )

    def _near_duplicate(self, pairs: ImagePairs, at: int) -> ImageCard:
        d, kind = float(pairs.dissimilarity[at]), MatchKind(int(pairs.kind[at]))
        said = f"dissimilarity {number(d)} to the test {self.found.noun}"
        if kind is MatchKind.FILE:
            said += ", the same file"
        elif kind is MatchKind.PICTURE and pairs.bits is not None:
            said += f", the same picture, {pairs.bits[at]} of 256 bits apart"
        role = {MatchKind.FILE: "same file", MatchKind.PICTURE: "same picture", MatchKind.VECTOR: "similar"}[
            kind
        ]
        shown = self.train.card(int(pairs.j[at]), "training", with_class=True)
        return replace(shown, role=role, dissimilarity=d, alt=f"{shown.alt}, {said}")


def _classes(found: Leaks) -> list[dict[str, Any]]:
    """Return counts for each class of the test set."""
    if found.test.embeddings.labels is None:
        return []
    names = np.asarray([name or "no label" for name in found.test.label_names.tolist()])
    leaking = names[found.pairs.i[found.surest]]
    differ = found.same_label[found.surest] == False  # noqa: E712 – None is neither
    leaks, unlike = Counter(leaking.tolist()), Counter(leaking[differ.astype(bool)].tolist())
    return [
        {"name": clean(name), "images": images, "leaking": leaks[name], "other_label": unlike[name]}
        for name, images in sorted(Counter(names.tolist()).items())
    ]


def _rejected(found: Leaks) -> list[tuple[str, int, list[tuple[str, str]]]]:
    """Return the rejected images of each set."""
    rows = []
    for name, one in (("training", found.train), ("test", found.test)):
        if one.rejected is not None and len(one.rejected):
            listed = one.rejected.slice(0, REJECTED).to_pylist()
            said = [(clean(str(row["id"])), clean(str(row["reason"]))) for row in listed]
            rows.append((name, len(one.rejected), said))
    return rows


def _words(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else clean(str(value))
