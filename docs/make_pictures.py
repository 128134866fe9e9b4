"""Draw the README's picture: the largest groups that ``make demo`` finds.

make demo && python docs/make_pictures.py
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from tenpercent.select.stored import load_selection, open_images
from tenpercent.show.gallery import largest
from tenpercent.show.picture import group_picture
from tenpercent.show.tables import columns_of, groups_of
from tenpercent.store.run import RunFolder

ROOT = Path(__file__).resolve().parent.parent
ROWS = 3


def main() -> None:
    """Draw the largest groups of the demo, each of another class, one above the other."""
    run = RunFolder.open(ROOT / "runs" / "demo")
    selection, source = load_selection(run), open_images(run)
    groups = groups_of(columns_of(selection))
    chosen: dict[int, int] = {}
    for group in largest(groups, len(groups)):
        chosen.setdefault(int(groups.label[group]), group)
    rows = [
        Image.open(BytesIO(group_picture(source, selection, group, side=96)))
        for group in list(chosen.values())[:ROWS]
    ]
    page = Image.new("RGB", (max(row.width for row in rows), sum(row.height for row in rows)), "white")
    top = 0
    for row in rows:
        page.paste(row, (0, top))
        top += row.height
    path = ROOT / "docs" / "pictures" / "digits-groups.png"
    path.parent.mkdir(exist_ok=True)
    page.save(path, optimize=True)


if __name__ == "__main__":
    main()
