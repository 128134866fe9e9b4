"""CIFAR-10's test images with a near-duplicate in its training set, by the vectors of a network and by plain pixels.

    python experiments/leaks.py --data FOLDER --out runs/leaks-cifar10

FOLDER holds ``train.parquet`` and ``test.parquet`` in the layout of the Hugging Face data set, and beside them
``resnet32-train.npy`` and ``resnet32-test.npy``, the vectors of a network trained on the labels. The pixels are those
of each image minus their own mean, 3,072 values. Nothing is drawn at random.

For both it counts the test images with a near-duplicate at several thresholds and lists the 100 with the closest one in
``docs/data/leaks-pairs.csv``, one pair a line. Its last two columns, verdict and reason, are written by hand after a
look at the sheets ``OUT/*.png``; they are kept when it runs again. Counts, verdicts, versions and machine go to
``docs/data/leaks.json``, pictures to ``docs/pictures``. The text of ``docs/leaks.md`` is written by hand from them.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import tenpercent as tp
from tenpercent.data.decoding.decode import decode
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.environment import machine, versions
from tenpercent.leakage.join import DistinctVectors, nearest_other, nearest_within, rank

FONT = str(
    Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
)  # it has ×, ≠ and raised digits
DOCS = Path(__file__).resolve().parent.parent / "docs"
PAIRS = DOCS / "data" / "leaks-pairs.csv"
LOOKED_AT = 100
SHARES = (0.001, 0.003, 0.01, 0.03, 0.1)  # of the training images: their thresholds are the rows of the table
SIGNS = {"duplicate": ("=", "#15803d"), "other": ("≠", "#b3400e"), "unsure": ("?", "#444444")}
FIELDS = (
    "vectors",
    "rank",
    "test_id",
    "train_id",
    "dissimilarity",
    "test_label",
    "train_label",
    "verdict",
    "reason",
)


def pixels(images: Any) -> Any:
    """Return each image minus its own mean, float32[k, 3072]."""
    flat = np.stack(images).reshape(len(images), -1).astype(np.float32)
    return flat - flat.mean(axis=1, keepdims=True)


def main() -> None:
    """Find, draw, count, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="holds the images and the vectors")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/leaks-cifar10"), help="for sheets, vectors and page"
    )
    arguments = parser.parse_args()
    sources = {split: opened(arguments.data / f"{split}.parquet") for split in ("train", "test")}
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {"network": by_network(arguments.data, sources), "pixels": by_pixels(arguments)}
    rows = [row for name, leaks in found.items() for row in nearest(name, leaks)]
    verdicts = known_verdicts()
    for row in rows:
        row["verdict"], row["reason"] = verdicts.get(
            (row["vectors"], row["test_id"], row["train_id"]), ("", "")
        )
    with PAIRS.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    for name in found:
        mine = [row for row in rows if row["vectors"] == name]
        for start in range(0, len(mine), 20):
            sheet(sources, mine[start : start + 20], 4, 5).save(arguments.out / f"{name}-{start + 1:03d}.png")
        small = sheet(sources, mine[:24], 6, 2).quantize(256)
        small.save(DOCS / "pictures" / f"leaks-{name}.png", optimize=True)
    content: dict[str, Any] = {name: counts(leaks, rows, name) for name, leaks in found.items()}
    content |= {"duplicates": duplicates(rows), "versions": versions(), "machine": machine()}
    (DOCS / "data" / "leaks.json").write_text(
        json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(
        f"wrote {PAIRS}, {DOCS / 'data' / 'leaks.json'} and two pictures; the sheets are in {arguments.out}"
    )


def opened(path: Path) -> ImageSource:
    """Open a source of images."""
    source = tp.open_source(path)
    if not isinstance(source, ImageSource):
        raise SystemExit(f"{path} holds no images")
    return source


def by_network(data: Path, sources: dict[str, ImageSource]) -> tp.Leaks:
    """Compare the vectors of the network."""
    sets = {
        split: tp.Embeddings.from_numpy(
            np.load(data / f"resnet32-{split}.npy"),
            ids=source.ids,
            labels=source.labels,
            class_names=source.class_names,
        )
        for split, source in sources.items()
    }
    return tp.leaks(sets["train"], sets["test"])


def by_pixels(arguments: argparse.Namespace) -> tp.Leaks:
    """Compare the pixels as vectors alone, without perceptual hashes."""
    found = tp.leaks(
        arguments.data / "train.parquet",
        arguments.data / "test.parquet",
        embedder=pixels,
        out=arguments.out / "pixels",
    )
    return tp.leaks(found.train.embeddings, found.test.embeddings)


def nearest(name: str, leaks: tp.Leaks) -> list[dict[str, Any]]:
    """Return the test images with the closest training image, one row each."""
    at = leaks.surest[:LOOKED_AT]
    if len(at) < LOOKED_AT:
        raise SystemExit(
            f"only {len(at)} test images have a near-duplicate by {name}; use a larger threshold"
        )
    return [
        {
            "vectors": name,
            "rank": rank,
            "test_id": row["test_id"],
            "train_id": row["train_id"],
            "dissimilarity": f"{row['dissimilarity']:.6f}",
            "test_label": row["test_label"],
            "train_label": row["train_label"],
        }
        for rank, row in enumerate(leaks.table.take(at).to_pylist(), 1)
    ]


def known_verdicts() -> dict[tuple[str, str, str], tuple[str, str]]:
    """Return the verdicts given so far, by pair."""
    if not PAIRS.exists():
        return {}
    with PAIRS.open(newline="", encoding="utf-8") as file:
        return {
            (row["vectors"], row["test_id"], row["train_id"]): (row["verdict"], row["reason"])
            for row in csv.DictReader(file)
        }


def counts(leaks: tp.Leaks, rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Return the figures of the docs page."""
    return {
        "threshold": leaks.threshold,
        "leaking": len(leaks),
        "pairs": len(leaks.pairs),
        "equal_files": leaks.equal_files,
        "other_label": leaks.other_label,
        "thresholds": thresholds(leaks),
        "looked_at": dict(Counter(row["verdict"] or "not yet" for row in rows if row["vectors"] == name)),
    }


def thresholds(leaks: tp.Leaks) -> list[dict[str, float]]:
    """Return the images with a near-duplicate within 0 and the threshold of each of SHARES, in both sets."""
    test, train = (DistinctVectors.among(one.embeddings.vectors) for one in (leaks.test, leaks.train))
    others = nearest_other(train, np.arange(len(train), dtype=np.int64), SHARES[-1])[train.of]
    others[train.count[train.of] > 1] = 0.0
    heights = [0.0, *(float(np.sort(others)[rank(share, len(others)) - 1]) for share in SHARES)]
    across = nearest_within(test.points, train.points, heights[-1])[test.of]
    return [
        {
            "threshold": height,
            "test_images": int(np.count_nonzero(across <= height)),
            "test_share": float(np.mean(across <= height)),
            "train_share": float(np.mean(others <= height)),
        }
        for height in heights
    ]


def duplicates(rows: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many test images have a near-duplicate that was judged a duplicate, by which vectors it was found."""
    network, by_pixel = (
        {row["test_id"] for row in rows if row["vectors"] == name and row["verdict"] == "duplicate"}
        for name in ("network", "pixels")
    )
    return {
        "network": len(network),
        "pixels": len(by_pixel),
        "both": len(network & by_pixel),
        "either": len(network | by_pixel),
    }


def sheet(
    sources: dict[str, ImageSource], rows: list[dict[str, Any]], across: int, scale: int
) -> Image.Image:
    """Draw pairs, the test image left, with their rank, dissimilarity and verdict (= duplicate, ≠ other, ? unsure)."""
    at = {split: {name: row for row, name in enumerate(source.ids)} for split, source in sources.items()}
    letters = 13 if scale > 2 else 11
    font = ImageFont.truetype(FONT, letters)
    side, gap = 32 * scale, 4 * scale
    wide, high = 2 * side + 2 + gap, side + letters + 4 + gap
    page = Image.new("RGB", (across * wide, -(-len(rows) // across) * high), "white")
    draw = ImageDraw.Draw(page)
    for number, row in enumerate(rows):
        x, y = (number % across) * wide + gap // 2, (number // across) * high
        sign, colour = SIGNS.get(row["verdict"], ("", "#444444"))
        words = f"{row['rank']}: {float(row['dissimilarity']):.4f} {sign}"
        draw.text((x, y + 1), words, fill=colour, font=font)
        for place, split in enumerate(("test", "train")):
            image = Image.fromarray(decode(sources[split].read(at[split][row[f"{split}_id"]])))
            enlarged = image.resize((side, side), Image.Resampling.BICUBIC)
            page.paste(enlarged, (x + place * (side + 2), y + letters + 4))
    return page


if __name__ == "__main__":
    main()
