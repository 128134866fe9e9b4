"""Draw the pictures of the README and of docs/sklearn.md.

make demo && python tools/make_pictures.py
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from group_picture import GREEN, GREY, group_picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import tenpercent as tp
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.reporting.gallery import largest
from tenpercent.reporting.tables import groups_of
from tenpercent.selection.dendrogram import group_linkage, plot_linkage
from tenpercent.selection.stored import load_selection, open_images
from tenpercent.tree.merges import cluster

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
ROWS = 3
PALE = "#9ca3af"


def main() -> None:
    """Draw both pictures."""
    PICTURES.mkdir(exist_ok=True)
    draw_groups(PICTURES / "digits-groups.png")
    draw_dendrogram(PICTURES / "digits-dendrogram.png")


def draw_groups(path: Path) -> None:
    """Draw the largest groups of the demo, each of another class, one above the other."""
    run = RunFolder.open(ROOT / "runs" / "demo")
    selection, source = load_selection(run), open_images(run)
    groups = groups_of(selection)
    chosen: dict[int, int] = {}
    for group in largest(groups):
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
    page.save(path, optimize=True)


def draw_dendrogram(path: Path, image: str = "1437", deep: float = 0.1, cut: float = 0.04) -> None:
    """Draw the tree of one group of digits, the digits as its leaves; those that a lower cut keeps are framed.

    Args:
        path: where to.
        image: the id of one member, here its row in scikit-learn's digits.
        deep: the height of the cut that makes the group.
        cut: the height of the line.
    """
    digits = load_digits()
    merges = cluster(Embeddings.from_numpy(digits.data, labels=digits.target), tp.Cut(threshold=deep))
    selection = tp.select(merges, tp.Cut(threshold=cut))
    Z, ids = group_linkage(merges, image)
    k = len(ids)
    colours = {k + t: GREEN if height <= cut else PALE for t, height in enumerate(Z[:, 2])}
    style: Any = {"font.size": 10, "lines.linewidth": 1.6, "axes.edgecolor": PALE}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(0.56 * k + 2.0, 4.2), dpi=200)
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.085, 0.185, 0.79, 0.785))
        drawn = plot_linkage(Z, ids, axes, link_color_func=colours.__getitem__, no_labels=True)
        kept = selection.kept_by_id[np.searchsorted(merges.embeddings.ids, ids)]
        axes.axhline(cut, color=GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=0)
        words = f"cut at {cut:g}:\n{kept.sum()} of {k} kept"
        axes.text(1.01, cut, words, color=GREY, va="center", transform=axes.get_yaxis_transform())
        axes.spines[["top", "right", "bottom"]].set_visible(False)
        axes.tick_params(axis="y", color=PALE, labelcolor=GREY)
        axes.yaxis.label.set_color(GREY)
        box, shape = axes.get_position(), figure.get_figwidth() / figure.get_figheight()
        wide = box.width / k
        for at, leaf in enumerate(drawn["leaves"]):
            for part, shown in ((0.92, kept[leaf]), (0.78, True)):  # the frame, then the digit
                if shown:
                    left, bottom = (
                        box.x0 + (at + (1 - part) / 2) * wide,
                        box.y0 - (0.65 + part / 2) * wide * shape,
                    )
                    inset = figure.add_axes((left, bottom, part * wide, part * wide * shape), facecolor=GREEN)
                    inset.set(xticks=[], yticks=[])
                    inset.spines[:].set_visible(False)
            inset.imshow(digits.images[int(ids[leaf])], cmap="gray", interpolation="nearest")
        figure.savefig(path, dpi=200, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
