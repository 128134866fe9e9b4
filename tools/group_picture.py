"""Picture of one group as a file of its own, for a README or a slide."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tenpercent.data.decoding.thumbnails import thumbnail
from tenpercent.data.sources.source import ImageSource
from tenpercent.reporting.gallery import number
from tenpercent.selection.selection import Selection

GREEN = "#15803d"
GREY = "#444444"
ACROSS = 8  # pictures in a row
FONT = str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))  # it has × and raised digits


def group_picture(source: ImageSource, selection: Selection, group: int, side: int = 96) -> bytes:
    """Draw one group as a PNG on white: the kept image first, framed in green; under each its dissimilarity to it.

    Args:
        source: the images.
        selection: the groups.
        group: its number in the selection.
        side: pixels of each image's longer side.

    Raises:
        ValueError: there is no such group.
        Unreadable, OSError: one of its images can't be read.
    """
    members = np.flatnonzero(selection.group == group)
    if not len(members):
        raise ValueError(f"there is no group {group}; the largest number is {int(selection.group.max())}")
    follows = selection.representative[members] != members
    members = members[np.lexsort((members, selection.dissimilarity[members], follows))]
    frame, gap, letters = max(side // 24, 3), max(side // 8, 8), max(side // 6, 11)
    across, down = min(len(members), ACROSS), -(-len(members) // ACROSS)
    wide, high = side + 2 * frame + gap, side + 2 * frame + letters + gap
    canvas = Image.new("RGB", (across * wide + gap, down * high + gap), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.truetype(FONT, letters)
    for at, position in enumerate(members.tolist()):
        kept = bool(selection.kept_by_id[position])
        with Image.open(io.BytesIO(thumbnail(source, int(selection.source_rows[position]), side))) as opened:
            picture = opened.convert("RGB")
        x, y = gap + (at % ACROSS) * wide, gap + (at // ACROSS) * high
        left, top = x + frame + (side - picture.width) // 2, y + frame + (side - picture.height) // 2
        if kept:
            right, bottom = left + picture.width, top + picture.height
            draw.rectangle((left - frame, top - frame, right + frame - 1, bottom + frame - 1), fill=GREEN)
        canvas.paste(picture, (left, top))
        words = "kept" if kept else number(float(selection.dissimilarity[position]))
        middle, below = x + frame + side / 2, y + side + 2 * frame + 1
        draw.text((middle, below), words, fill=GREEN if kept else GREY, font=font, anchor="ma")
    file = io.BytesIO()
    canvas.save(file, format="PNG", optimize=True)
    return file.getvalue()
