"""A picture of some pairs of images, numbered, to look at beside a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..data.decoding.decode import Unreadable
from ..data.decoding.thumbnails import thumbnail
from ..data.sources.source import ImageSource
from ..data.store.files import replacing
from ..errors import one_line, shown

SIDE = 260  # pixels of a picture
GAP = 14
LINE = 24  # of text
IN_A_ROW = 2  # pairs
LETTERS = 34  # of a name
PAPER, PANEL, INK, MUTED = "#ffffff", "#eeeeec", "#111111", "#555555"


def write_contact_sheet(
    path: Path, source: ImageSource, pairs: Sequence[tuple[str, tuple[int, int], tuple[str, str]]]
) -> None:
    """Write a PNG with two images a pair.

    Args:
        path: the file.
        source: the images.
        pairs: of each its title, the rows and the names of the two images.

    Raises:
        RunFolderError: it can't be written.
    """
    width, height = 2 * SIDE + 3 * GAP, SIDE + 2 * LINE + 2 * GAP
    lines = -(-len(pairs) // IN_A_ROW)
    columns = min(IN_A_ROW, len(pairs))
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, lines * (height + GAP) + GAP), PAPER)
    drawing = ImageDraw.Draw(sheet)
    for number, (title, rows, names) in enumerate(pairs):
        x, y = GAP + number % IN_A_ROW * (width + GAP), GAP + number // IN_A_ROW * (height + GAP)
        drawing.rounded_rectangle((x, y, x + width, y + height), 8, PANEL)
        drawing.text((x + GAP, y + 8), title, INK, _font(20))
        for at, (row, name) in enumerate(zip(rows, names, strict=True)):
            left, top = x + GAP + at * (SIDE + GAP), y + GAP + LINE
            _place(sheet, source, row, (left, top))
            drawing.text((left, top + SIDE + 4), _shortened(name), MUTED, _font(12))
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG")


def _place(sheet: Image.Image, source: ImageSource, row: int, corner: tuple[int, int]) -> None:
    """Draw one image into its square, or the reason why it can't be read."""
    try:
        found = Image.open(io.BytesIO(thumbnail(source, row, SIDE, optimize=False)))
    except (OSError, Unreadable) as error:
        ImageDraw.Draw(sheet).text(corner, one_line(error, LETTERS), MUTED, _font(12))
        return
    picture = ImageOps.contain(found.convert("RGB"), (SIDE, SIDE))
    width, height = picture.size
    sheet.paste(picture, (corner[0] + (SIDE - width) // 2, corner[1] + (SIDE - height) // 2))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of the figures; Pillow's own has no letters beyond ASCII."""
    import matplotlib  # slow to load

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)


def _shortened(name: str) -> str:
    name = shown(name)
    return name if len(name) <= LETTERS else f"…{name[1 - LETTERS :]}"
