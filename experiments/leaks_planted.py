"""Copies planted in a test set: how many `leaks` finds of each kind, and how many other images it counts.

    python experiments/leaks_planted.py --photos FOLDER --cifar FOLDER --fashion FOLDER --out runs/leaks-planted

``--photos`` is a folder of photographs, here those that scikit-image, scikit-learn and matplotlib bundle; each is taken
whole and in pieces of 128 × 128 pixels that don't overlap, 20 of a photograph at most, without those of one colour.
``--cifar`` holds CIFAR-10's ``train.parquet`` and ``test.parquet``, ``--fashion`` the four files of Fashion-MNIST.

Of each set some images are the training set and some others the test set. Into the test set go 20 altered copies of
training images, four of each of the five KINDS, drawn anew for each of SEEDS. They are compared with a function that
returns pixels, with a small network trained on the labels (the first seed), and as vectors alone (the same vectors).
Then 100 images of each set are altered in each of the kinds of MORE, and compared each with its original.

The counts, versions and machine go to ``docs/data/leaks-planted.json``, and the pairs that were found and not
planted, to be looked at, to ``OUT/SET.png``. The table of ``docs/leaks.md`` is written by hand from them.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps, ImageStat

import tenpercent as tp
from tenpercent.data.sources.perceptual import SAME, SmallPictures, bits_apart, small_grey
from tenpercent.data.store.environment import machine, versions

DOCS = Path(__file__).resolve().parent.parent / "docs"
SEEDS = (0, 1, 2)
PIECE, PIECES = 128, 20
BARE = 4  # grey levels of deviation below which a piece shows nothing, as the black around a retina
TRAIN, TEST = 5000, 1000  # images of the large sets
EACH = 4  # copies of a kind
NETWORK = tp.Supervised(depth=8, steps=60, batch=64, side=32, precision="float32")

Picture = Image.Image


def encoded(picture: Picture, kind: str = "JPEG", **options: Any) -> Picture:
    """Encode and decode."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return Image.open(io.BytesIO(file.getvalue())).convert("RGB")


def scaled(picture: Picture, share: float) -> Picture:
    """Scale both sides."""
    return picture.resize(
        (round(share * picture.width), round(share * picture.height)), Image.Resampling.LANCZOS
    )


def cut(picture: Picture, left: float, top: float, right: float, bottom: float) -> Picture:
    """Take shares of the sides away."""
    w, h = picture.size
    return picture.crop((round(left * w), round(top * h), round((1 - right) * w), round((1 - bottom) * h)))


def brighter(picture: Picture) -> Picture:
    """Raise brightness and contrast."""
    return ImageEnhance.Contrast(ImageEnhance.Brightness(picture).enhance(1.25)).enhance(1.2)


def written(picture: Picture) -> Picture:
    """Write a word across."""
    picture = picture.copy()
    size = max(6, picture.height // 7)
    ImageDraw.Draw(picture).text(
        (0.05 * picture.width, 0.75 * picture.height), "SAMPLE", "white", font_size=size
    )
    return picture


KINDS: dict[str, Callable[[Picture], Picture]] = {
    "JPEG, quality 50": lambda one: encoded(one, quality=50),
    "half the size": lambda one: encoded(scaled(one, 0.5), quality=85),
    "5% cut at each edge": lambda one: encoded(cut(one, 0.05, 0.05, 0.05, 0.05), quality=90),
    "brighter, more contrast": lambda one: encoded(brighter(one), quality=90),
    "mirrored, JPEG 80": lambda one: encoded(ImageOps.mirror(one), quality=80),
}
MORE: dict[str, Callable[[Picture], Picture]] = {
    **KINDS,
    "JPEG, quality 20": lambda one: encoded(one, quality=20),
    "WebP, quality 60": lambda one: encoded(one, "WEBP", quality=60),
    "a quarter of the size": lambda one: encoded(scaled(one, 0.25), quality=85),
    "grey": lambda one: one.convert("L").convert("RGB"),
    "stretched by a quarter": lambda one: one.resize((round(1.25 * one.width), one.height)),
    "blurred": lambda one: one.filter(ImageFilter.GaussianBlur(max(1, one.width / 128))),
    "8% cut at two edges": lambda one: cut(one, 0.08, 0.08, 0, 0),
    "10% cut at each edge": lambda one: cut(one, 0.1, 0.1, 0.1, 0.1),
    "20% cut at each edge": lambda one: cut(one, 0.2, 0.2, 0.2, 0.2),
    "a frame of 4%": lambda one: ImageOps.expand(one, max(1, round(0.04 * one.width))),
    "a word across": written,
    "turned by 2°": lambda one: cut(one.rotate(2, Image.Resampling.BICUBIC), 0.04, 0.04, 0.04, 0.04),
    "turned by 90°": lambda one: one.transpose(Image.Transpose.ROTATE_90),
}


def photographs(folder: Path) -> list[tuple[Picture, str]]:
    """Return photographs and their pieces, with the name of the photograph as the label."""
    found = []
    for path in sorted(folder.iterdir()):
        whole = Image.open(path).convert("RGB")
        places = [
            (x, y)
            for y in range(0, whole.height - PIECE + 1, PIECE)
            for x in range(0, whole.width - PIECE + 1, PIECE)
        ]
        pieces = [whole, *(whole.crop((x, y, x + PIECE, y + PIECE)) for x, y in places[:PIECES])]
        found += [
            (piece, path.stem) for piece in pieces if ImageStat.Stat(piece.convert("L")).stddev[0] >= BARE
        ]
    return found


def cifar(folder: Path, split: str, count: int) -> list[tuple[Picture, str]]:
    """Return the first images of a split."""
    rows = pq.read_table(folder / f"{split}.parquet").slice(0, count).to_pylist()
    image, label = (next(name for name in rows[0] if name.startswith(word)) for word in ("im", "l"))
    return [(Image.open(io.BytesIO(row[image]["bytes"])).convert("RGB"), str(row[label])) for row in rows]


def fashion(folder: Path, split: str, count: int) -> list[tuple[Picture, str]]:
    """Return the first images of a split."""
    name = {"train": "train", "test": "t10k"}[split]
    images, labels = (
        np.frombuffer(gzip.decompress((folder / f"{name}-{what}-ubyte.gz").read_bytes()), np.uint8)
        for what in ("images-idx3", "labels-idx1")
    )
    greys = images[16:].reshape(-1, 28, 28)[:count]
    return [
        (Image.fromarray(grey).convert("RGB"), str(label))
        for grey, label in zip(greys, labels[8:], strict=False)
    ]


def pixels(images: Any) -> Any:
    """Return each image at 16 × 16 pixels minus its own mean, float32[k, 768]."""
    small = [np.asarray(Image.fromarray(np.asarray(image)).resize((16, 16)), np.float32) for image in images]
    flat = np.stack(small).reshape(len(small), -1)
    return flat - flat.mean(axis=1, keepdims=True) + 1e-3


def planted(
    to: Path, train: list[tuple[Picture, str]], test: list[tuple[Picture, str]], seed: int
) -> dict[str, tuple[str, int]]:
    """Write both sets as folders, and return the kind and the original of each copy by its id."""
    shutil.rmtree(to, ignore_errors=True)
    for split, images in (("train", train), ("test", test)):
        for number, (picture, label) in enumerate(images):
            path = to / split / label / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
    chosen = np.random.default_rng(seed).permutation(len(train))[: EACH * len(KINDS)].tolist()
    copies = {}
    for number, original in enumerate(chosen):
        kind = list(KINDS)[number % len(KINDS)]
        picture, label = train[original]
        path = to / "test" / label / f"copy-{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[kind](picture).save(path)
        copies[f"test/{label}/{path.name}"] = (kind, original)
    return copies


def score(found: tp.Leaks, copies: dict[str, tuple[str, int]]) -> dict[str, Any]:
    """Count the copies that are found beside their original, of each kind, and the other test images counted."""
    right = {
        row["test_id"]
        for row in found.table.to_pylist()
        if row["test_id"] in copies and int(row["train_id"][-9:-4]) == copies[row["test_id"]][1]
    }
    return {
        "found": len(right),
        "by_kind": {kind: sum(copies[one][0] == kind for one in right) for kind in KINDS},
        "other_images": len(set(found.ids) - set(copies)),
    }


def of_set(name: str, train: list[Any], test: list[Any], out: Path) -> dict[str, Any]:
    """Plant, compare and count."""
    rows: dict[str, list[dict[str, Any]]] = {"pixels": [], "network": [], "network, vectors alone": []}
    for seed in SEEDS:
        copies = planted(out / name / "images", train, test, seed)
        shutil.rmtree(out / name / "pixels", ignore_errors=True)
        started = time.perf_counter()
        found = tp.leaks(out / name / "images", embedder=pixels, out=out / name / "pixels")
        rows["pixels"].append(score(found, copies) | {"seconds": round(time.perf_counter() - started, 1)})
        if seed == SEEDS[0]:
            others(out, found, copies).save(out / f"{name}.png")
            shutil.rmtree(out / name / "network", ignore_errors=True)
            found = tp.leaks(out / name / "images", embedder=NETWORK, out=out / name / "network")
            rows["network"].append(score(found, copies))
            alone = tp.leaks(found.train.embeddings, found.test.embeddings)
            rows["network, vectors alone"].append(score(alone, copies))
    some = [picture for picture, _ in train[:: max(1, len(train) // 100)]][:100]
    originals = smalls(some)
    shares = {
        kind: round(float(np.mean(bits_apart(smalls([alter(one) for one in some]), originals) <= SAME)), 2)
        for kind, alter in MORE.items()
    }
    return {"train": len(train), "test": len(test) + EACH * len(KINDS), "planted": rows, "pairs": shares}


def smalls(pictures: list[Picture]) -> SmallPictures:
    """Return pictures as they are compared."""
    return SmallPictures.of(np.stack([small_grey(np.asarray(one)) for one in pictures]))


def others(out: Path, found: tp.Leaks, copies: dict[str, tuple[str, int]]) -> Picture:
    """Draw the pairs that were found and not planted."""
    pairs = [row for row in found.table.to_pylist() if row["test_id"] not in copies]
    sheet = Image.new("RGB", (8 * 150, 90 * max(1, -(-len(pairs) // 8))), "white")
    folder = Path(found.test.spec.split(", split")[0])
    for number, row in enumerate(pairs):
        for column, one in enumerate((row["test_id"], row["train_id"])):
            place = (number % 8 * 150 + 72 * column, number // 8 * 90)
            sheet.paste(Image.open(folder / one).convert("RGB").resize((70, 70)), place)
    return sheet


def main() -> None:
    """Run every set that is given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("photos", "cifar", "fashion"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--out", type=Path, default=Path("runs/leaks-planted"))
    asked = parser.parse_args()
    pieces = photographs(asked.photos)
    order = np.random.default_rng(0).permutation(len(pieces)).tolist()
    at = round(0.75 * len(pieces))
    content = {
        "photographs": of_set(
            "photos", [pieces[k] for k in order[:at]], [pieces[k] for k in order[at:]], asked.out
        ),
        "CIFAR-10": of_set(
            "cifar", cifar(asked.cifar, "train", TRAIN), cifar(asked.cifar, "test", TEST), asked.out
        ),
        "Fashion-MNIST": of_set(
            "fashion", fashion(asked.fashion, "train", TRAIN), fashion(asked.fashion, "test", TEST), asked.out
        ),
        "seeds": SEEDS,
        "same": SAME,
        "versions": versions(),
        "machine": machine(),
    }
    (DOCS / "data" / "leaks-planted.json").write_text(
        json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    )
    print(json.dumps(content, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
