"""The report: one file that stands alone, says what the issue of a run is, and breaks on nothing."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from group_picture import FONT, group_picture
from PIL import Image, ImageFont
from sklearn.datasets import load_digits

import tenpercent as tp
from tenpercent.data.decoding.decode import Unreadable
from tenpercent.data.sources.source import ImageSource, Raw
from tenpercent.errors import RunFolderError
from tenpercent.reporting import report
from tenpercent.reporting.report import ReportInput, render, write_report

RUN: dict[str, Any] = {
    "format": 1,
    "source": {"spec": "digits", "kind": "images", "skipped": {"hidden files": 2}},
    "stages": {
        "embed": {
            "settings": {"embedder": {"depth": 32, "seed": 20250}, "holdout": 0.0},
            "seconds": 31.25,
            "finished": "2025-11-21T06:00:00Z",
            "versions": {"numpy": "2.2.1"},
            "machine": {"processor": "Abacus 2", "cores": 2},
            "train_accuracy": 0.9912,
        },
    },
}
VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


class Page(HTMLParser):
    """What a test wants to know of a page: its text, its elements, whether they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        if not (self.open and self.open[-1] == "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for found, attributes in self.elements if found == tag]


def checked(text: str) -> Page:
    """Read a page and hold it against what every report must be."""
    page = Page(text)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in page.elements:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href"):
            address = attributes.get(name)
            assert address is None or address.startswith(("data:image/", "#"))
            if address and address.startswith("#"):
                assert address[1:] in ids
    assert "@import" not in text
    assert "url(http" not in text
    assert all(len(image["alt"] or "") > 10 for image in page.all("img"))
    levels = [int(tag[1]) for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4", "h5"}]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    sections = [attributes["id"] for attributes in page.all("section")]
    order = ["found", "groups", "outside", "sizes", "table1", "curve", "labels", "unreadable", "settings"]
    assert [one for one in sections if one != "how-much"] == [one for one in order if one in sections]
    assert {*order} - {*sections} <= {"labels"}  # which images without labels have none of
    assert "how-much" not in sections or sections[2] == "how-much"
    assert {tag for tag, _ in page.elements} >= {"main", "nav", "header", "footer"}
    return page


def digits(keep: float = 0.9, within: str | None = None, n: int = 400, **changes: Any) -> ReportInput:
    """The first digits, their pixels as vectors."""
    return replace(_digits(keep, within, n), **changes)


@cache
def _digits(keep: float, within: str | None, n: int) -> ReportInput:
    bundle = load_digits()
    names = [str(digit) for digit in range(10)]
    labels = bundle.target[:n].astype(np.int64)
    embeddings = tp.Embeddings.from_numpy(bundle.data[:n], labels=labels, class_names=names)
    pixels = (bundle.images[:n] * 15).astype(np.uint8)
    ids = tuple(embeddings.ids.tolist())
    source = ImageSource("digits", ids, (None,) * n, labels, tuple(names), lambda row: pixels[row])
    return made(embeddings, source, keep, within)


def made(
    embeddings: tp.Embeddings, source: ImageSource | None, keep: float, within: str | None = None
) -> ReportInput:
    merges = tp.cluster(embeddings, keep=keep, within=within)
    return ReportInput(embeddings, merges, tp.select(merges, keep=keep), source, None, RUN)


@cache
def usual() -> str:
    """The page of the first 400 digits."""
    return render(digits())


def from_vectors(vectors: np.ndarray, keep: float = 0.5, **given: Any) -> ReportInput:
    return made(tp.Embeddings.from_numpy(vectors, **given), None, keep)


def test_a_page_says_what_was_found(tmp_path: Path) -> None:
    material = digits()
    write_report(tmp_path / "report.html", material)
    page = checked((tmp_path / "report.html").read_text(encoding="utf-8"))
    selection = material.selection
    assert "40 of 400 images removed" in page.text
    groups = list(selection.groups())
    assert f"redundant groups {len(groups)} of two or more" in page.text
    assert f"largest group {len(groups[0])}" in page.text
    farthest = selection.dissimilarity[~selection.kept_by_id].max()
    assert f"Every removed image lies within {farthest:.4f} of the image kept for it." in page.text
    assert "Skipped in the source: hidden files (2)." in page.text
    assert "No image was rejected." in page.text
    for word in ("Abacus 2", "20250", "2.2.1", "31.2", "0.9912", "embedder.depth"):
        assert word in page.text
    for digit in range(10):
        assert (
            f"showing 3 of {sum(t['label'][0].as_py() == digit for t in groups)} groups." in page.text.lower()
        )


def test_the_kept_image_comes_first_framed_and_marked_in_words() -> None:
    text = usual()
    groups = [part.split("</article>")[0] for part in text.split('<article class="group">')[1:]]
    of_levels = (
        text.partition('id="how-much"')[2].partition('id="outside"')[0].count('<article class="group">')
    )
    assert len(groups) - of_levels == 1 + 6 + 30
    assert of_levels
    for group in groups:
        tiles = group.split('<figure class="tile ')[1:]
        assert tiles[0].startswith("kept")
        assert "<b>kept</b>" in tiles[0]
        assert 'alt="Kept image' in tiles[0]
        assert all(tile.startswith("removed") and 'alt="Removed image' in tile for tile in tiles[1:])
    assert ".kept > .frame, .kept-too > .frame { outline: 4px solid var(--kept)" in text


def test_beside_each_group_stands_the_nearest_image_outside_it() -> None:
    material = digits()
    text = usual()
    trios = text.split('<div class="trio">')[1:]
    assert len(trios) == report.TRIPLES
    unit = material.embeddings.vectors / np.linalg.norm(material.embeddings.vectors, axis=1, keepdims=True)
    selection = material.selection
    for trio in trios:
        kept, _, outside = [part.split('"id">')[1].split("</bdi>")[0] for part in trio.split("<figure")[1:4]]
        at = selection.position(kept)
        d = 1 - unit @ unit[at]
        d[selection.group == selection.group[at]] = np.inf
        assert d[selection.position(outside)] == pytest.approx(d.min(), abs=1e-12)
        assert f"{d.min():.4f}" in trio


def test_a_long_name_stands_whole_under_its_picture_and_breaks_at_its_folders() -> None:
    ids = [
        f"holiday_2019/originals/a rather long folder/n02123045_{i:03d}.left & right.jpg" for i in range(12)
    ]
    text = render(from_vectors(np.repeat(np.eye(4), 3, axis=0), 0.4, ids=ids))
    page = checked(text)
    assert all(name in " ".join("".join(page.words).split()) for name in ids)
    assert "holiday_<wbr>2019/<wbr>originals/<wbr>a <wbr>rather" in text


def test_the_same_run_gives_the_same_page() -> None:
    assert render(digits()) == usual()


def test_ready_vectors_have_a_page_without_pictures() -> None:
    material = digits(source=None, run=RUN | {"source": {"spec": "v.npy", "kind": "vectors"}})
    page = checked(render(material))
    assert not page.all("img")
    assert "This page has no pictures , since the source holds vectors, not images." in page.text
    assert '<body class="bare">' in render(material), "no empty frames"
    assert ".bare .frame { display: none; }" in render(material)


def test_images_that_are_gone_are_said_to_be() -> None:
    page = checked(render(digits(source=None)))
    assert "the images are no longer where they were embedded from" in page.text
    gone = "photos/, which runs/photos was made of, is not there"
    assert f"This page has no pictures : {gone}." in checked(render(digits(source=None, changed=gone))).text


@pytest.mark.parametrize("fault", [Unreadable("truncated"), FileNotFoundError("gone since")])
def test_a_picture_that_can_not_be_read_again_leaves_a_frame_with_the_reason(fault: Exception) -> None:
    material = digits()
    assert material.source is not None
    bad = int(material.selection.source_rows[next(material.selection.group_members())[0]])
    read = material.source.read

    def broken(row: int) -> Raw:
        if row == bad:
            raise fault
        return read(row)

    page = checked(render(replace(material, source=replace(material.source, read=broken))))
    assert "1 picture could not be read again" in page.text
    assert str(fault) in page.text


def test_pictures_beyond_the_pages_budget_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = checked(usual())
    monkeypatch.setattr(report, "PICTURES", 20_000)
    text = render(digits())
    page = checked(text)
    assert sum(len(image["src"] or "") for image in page.all("img")) <= 20_000
    missing = len(whole.all("img")) - len(page.all("img"))
    assert missing > 0
    assert f"{missing} pictures are left out" in page.text


def test_a_page_of_photographs_stays_under_15_megabytes() -> None:
    """Noise is what compresses worst: no photograph makes a larger thumbnail."""
    generator = np.random.default_rng(0)
    n, classes = 2000, 40
    centres = generator.standard_normal((classes * 3, 16))
    which = generator.integers(0, len(centres), n)
    vectors = centres[which] + 0.2 * generator.standard_normal((n, 16))
    noise = generator.integers(0, 256, (8, 200, 300, 3), dtype=np.uint8)
    labels = which % classes
    embeddings = tp.Embeddings.from_numpy(
        vectors, labels=labels, class_names=[f"class {c}" for c in range(classes)]
    )
    source = ImageSource(
        "photos",
        tuple(embeddings.ids),
        (None,) * n,
        labels,
        embeddings.class_names,
        lambda row: noise[row % 8],
    )
    text = render(made(embeddings, source, 0.3))
    page = checked(text)
    assert len(text.encode()) < 15_000_000
    assert "Showing 12 of 40 classes" in page.text


def test_what_was_rejected_is_listed_with_its_reason_and_how_many_of_how_many() -> None:
    rejected = pa.table(
        {
            "id": [f"bad/{i}.jpg" for i in range(230)],
            "row": np.arange(230),
            "reason": ["truncated <b>JPEG</b>"] * 230,
        }
    )
    page = checked(render(digits(rejected=rejected)))
    assert "230 images were rejected" in page.text
    assert "Showing 200 of 230" in page.text
    assert "bad/199.jpg" in page.text
    assert "bad/200.jpg" not in page.text
    assert "truncated <b>JPEG</b>" in page.text


def test_images_of_two_labels_that_are_near_stand_side_by_side() -> None:
    generator = np.random.default_rng(5)
    vectors = generator.standard_normal((40, 6))
    vectors[39] = vectors[0]  # the same image under another label
    vectors[20:30] = vectors[10:20] * 2  # what the cut takes: twins in one class
    labels = np.arange(40) % 10 % 2
    labels[39] = 1 - labels[0]
    page = checked(render(from_vectors(vectors, 0.75, labels=labels, class_names=["cat", "dog"])))
    assert "1 pair of images with different labels lies within" in page.text
    assert "1 near-identical, 0 close for this network" in page.text
    assert "dissimilarity 0" in page.text


def test_groups_over_all_images_show_which_hold_several_labels() -> None:
    material = digits(keep=0.3, within="all")
    table = material.selection.table
    labels: dict[int, set[int]] = {}
    for group, label in zip(table["group"].to_pylist(), table["label"].to_pylist(), strict=True):
        labels.setdefault(group, set()).add(label)
    mixed = sum(len(found) > 1 for found in labels.values())
    assert mixed > 1
    page = checked(render(material))
    assert "grouped over all images together" in page.text
    assert f"{mixed} groups hold images with different labels" in page.text
    assert "A group is listed under the class of its representative." in page.text


def test_without_labels_there_are_no_parts_by_class() -> None:
    page = checked(render(from_vectors(load_digits().data[:200], 0.8)))
    assert "By class" not in page.text
    assert "Groups of the same class" not in page.text
    assert "labels" not in page.text and "class" not in page.text


@pytest.mark.parametrize("keep", [1.0, 0.0001])
def test_nothing_removed_and_one_left_a_class(keep: float) -> None:
    page = checked(render(digits(keep=keep, n=120)))
    if keep == 1.0:
        assert "Nothing is removed at this cut" in page.text
        assert "No group holds two or more images at this cut." in page.text
    else:
        assert "110 of 120 images removed" in page.text


def test_one_image_and_one_group() -> None:
    assert "The only image is kept" in checked(render(from_vectors(np.ones((1, 3)), 0.5))).text
    page = checked(render(from_vectors(np.ones((5, 3)), 0.2)))
    assert "In 1 of 1 group all vectors are equal." in page.text
    assert "All images are in this group." in page.text


def test_a_thousand_classes() -> None:
    generator = np.random.default_rng(7)
    labels = np.repeat(np.arange(1000), 3)
    text = render(from_vectors(generator.standard_normal((3000, 8)), 0.6, labels=labels))
    page = checked(text)
    assert "Showing 12 of 1,000 classes" in page.text
    assert "All 1,000 classes together" in page.text
    assert len(text) < 4_000_000


@pytest.mark.parametrize(
    "name",
    [
        "x" * 5000,
        "صورة/قطة.jpg",
        "👩‍👩‍👧‍👦/🐈.png",
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "\u202egnp.cod",
        "a\x1b[31mb",
        "{{ 7 * 7 }}$x_2$",
    ],
)
def test_odd_names_break_nothing(name: str, tmp_path: Path) -> None:
    vectors = np.repeat(np.eye(4), 3, axis=0)
    ids = [f"{name}{i}" for i in range(12)]
    material = from_vectors(vectors, 0.4, ids=ids, labels=[name] * 6 + ["other"] * 6)
    write_report(
        tmp_path / "report.html",
        replace(material, run={"source": {"spec": f"{name}\x00\ud800"}, "stages": {}}),
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    checked(text)
    assert "\u202e" not in text
    assert len(text) < 400_000


def test_images_kept_because_they_were_asked_for_are_marked() -> None:
    material = digits()
    removed = str(material.selection.removed[0])
    selection = tp.select(material.merges, tp.Cut(0.9, keep_ids=[removed]))
    page = checked(render(replace(material, selection=selection)))
    group = selection.group[selection.position(removed)]
    assert selection.kept_by_id[selection.group == group].sum() == 2
    assert f"kept {len(selection.kept)} " in page.text


def test_a_folder_that_can_not_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunFolderError, match="can't write"):
        write_report(tmp_path / "file" / "report.html", digits(n=50))


def test_one_group_as_a_picture_has_a_green_frame_around_the_kept_one() -> None:
    material = digits()
    assert material.source is not None
    members = next(material.selection.group_members())
    group = int(material.selection.group[members[0]])
    with Image.open(io.BytesIO(group_picture(material.source, material.selection, group, 64))) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    green = np.all(pixels == (0x15, 0x80, 0x3D), axis=-1)
    columns = np.flatnonzero(green[: pixels.shape[0] // 2].any(axis=0))
    assert columns.min() < 12
    assert columns.max() - columns.min() < 64 + 2 * 3  # one frame: around the first image only
    assert pixels.shape[1] > len(members) * 64
    with pytest.raises(ValueError, match="no group 99999"):
        group_picture(material.source, material.selection, 99999)


def test_the_letters_of_a_picture_have_every_sign_of_a_number() -> None:
    font = ImageFont.truetype(FONT, 16)
    missing = bytes(font.getmask("\u0378"))
    assert all(bytes(font.getmask(sign)) != missing for sign in "×⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
