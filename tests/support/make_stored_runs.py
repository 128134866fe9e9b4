"""Make the run folders of `stored_runs.zip`: what the version of commit 410dddd left on disk. Not run again.

    python make_stored_runs.py FOLDER ZIP

Sources and runs lie side by side in FOLDER; where FOLDER is, is in `run.json` alone, as `@FOLDER@` once zipped.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HERE = "@FOLDER@"


def tenpercent(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "tenpercent", *map(str, arguments)], check=True)


def pictures(seed: int, n: int) -> list[np.ndarray]:
    """n pictures of 16 × 12 pixels, the second half close to the first."""
    generator = np.random.default_rng(seed)
    base = generator.integers(0, 256, (n // 2, 12, 16, 3))
    noise = generator.integers(-6, 7, (n, 12, 16, 3))
    return list(np.clip(np.concatenate([base, base]) + noise, 0, 255).astype(np.uint8))


def save(path: Path, pixels: np.ndarray, **how: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **how)


def make_photos(folder: Path) -> None:
    """Two classes; a JPEG that EXIF turns, one that XMP alone turns, a TIFF of 12 bits, a hidden and a broken file."""
    for code, name in enumerate(("cat", "dog")):
        for number, pixels in enumerate(pictures(code, 16)):
            save(folder / name / f"{number:02d}.png", pixels)
    turned = Image.Exif()
    turned[274] = 6
    save(folder / "cat" / "exif.jpg", pictures(2, 2)[0], exif=turned)
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
    )
    save(folder / "dog" / "xmp.jpg", pictures(3, 2)[0], xmp=xmp)
    twelve = np.random.default_rng(4).integers(0, 4096, (12, 16)).astype(np.uint16)
    Image.fromarray(twelve).save(folder / "dog" / "twelve.tif")
    (folder / "dog" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photo")
    (folder / "cat" / ".hidden.png").write_bytes((folder / "cat" / "00.png").read_bytes())


def make_splits(folder: Path) -> None:
    """Training and Testing, as many downloads have them, an empty level in between, and a folder of thumbnails."""
    for code, name in enumerate(("cat", "dog")):
        for number, pixels in enumerate(pictures(10 + code, 8)):
            save(folder / "Training" / name / "images" / f"{number}.png", pixels)
            if number < 3:
                save(folder / "Testing" / name / "images" / f"{number}.png", pixels[::-1])
    save(folder / "Training" / "cat" / "@eaDir" / "0.png", pictures(9, 2)[0])


def make_table(path: Path) -> None:
    """Images with a label that is a bool, which was passed over."""
    rows = []
    for number, pixels in enumerate(pictures(20, 20)):
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "PNG")
        rows.append(
            {"image": {"bytes": out.getvalue(), "path": f"{number:02d}.png"}, "label": number % 2 == 0}
        )
    pq.write_table(pa.Table.from_pylist(rows), path)


def make_vectors(folder: Path) -> None:
    generator = np.random.default_rng(5)
    rows = generator.standard_normal((40, 8)).astype(np.float32)
    rows[20:] = rows[:20] + 0.01 * generator.standard_normal((20, 8)).astype(np.float32)
    np.save(folder / "vectors.npy", rows)
    np.save(folder / "labels.npy", np.arange(40) % 20 % 3)
    (folder / "ids.txt").write_text("".join(f"image {number}\n" for number in range(40)))


def decide(run: Path) -> None:
    """An image goes, two never share a group, one decision is taken back; then the tree is cut under them."""
    from tenpercent.decisions.log import DecisionLog, ImageName, Kind

    table = pq.read_table(run / "selection.parquet").to_pylist()
    gone = next(row for row in table if not row["kept"])
    hashes = {
        row["id"]: row["hash"]
        for part in (run / "embeddings").glob("*.parquet")
        for row in pq.read_table(part, columns=["id", "hash"]).to_pylist()
    }
    pair = [ImageName(name, hashes[name]) for name in (gone["id"], gone["representative"])]
    log = DecisionLog(run)
    log.add(Kind.APART, pair, "not the same")
    alone = next(row["id"] for row in table if row["group_size"] == 1)
    log.add(Kind.REMOVE, [ImageName(alone, hashes[alone])])
    log.add(Kind.KEEP, [pair[0]])
    log.undo()
    tenpercent("select", run, "--keep", 0.8)


def make_runs(at: Path) -> None:
    few = ("--depth", 8, "--epochs", 4, "--batch", 8, "--precision", "float32")
    tenpercent("run", at / "photos", "--out", at / "runs/photos", "--keep", 0.8, "--holdout", 0.2, *few)
    decide(at / "runs/photos")
    tenpercent(
        "evaluate", at / "runs/photos", "--keep", 0.8, "--trials", 2, "--depth", 8, "--steps", 4, "--batch", 8
    )
    tenpercent("run", at / "splits", "--out", at / "runs/splits", "--keep", 0.8, *few)
    tenpercent("select", at / "runs/splits", "--strategy", "el2n", "--keep", 0.7)
    tenpercent("report", at / "runs/splits")
    tenpercent(
        "run",
        at / "table.parquet",
        "--out",
        at / "runs/table",
        "--keep",
        0.8,
        "--embedder",
        "selfsupervised",
        *few,
    )
    vectors = (at / "vectors.npy", "--labels", at / "labels.npy", "--ids", at / "ids.txt")
    tenpercent("run", *vectors, "--out", at / "runs/vectors", "--keep", 0.8)


def left_out(path: Path) -> bool:
    large = path.name in ("report.html", "weights.safetensors") and "photos" not in path.parts
    return (
        large
        or "locks" in path.parts
        or ("evidence" in path.parts and path.suffix in (".png", ".svg", ".pdf"))
    )


def pack(at: Path, to: Path) -> None:
    """Zip FOLDER without what is large and only looked at, and without saying where it lay."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(each for each in at.rglob("*") if each.is_file() and not left_out(each)):
            content = path.read_bytes()
            if path.suffix in (".json", ".html", ".csv", ".tex", ".md"):
                content = content.replace(str(at).encode(), HERE.encode())
            assert str(at).encode() not in content, path
            packed.writestr(zipfile.ZipInfo(path.relative_to(at).as_posix()), content, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    at = Path(sys.argv[1]).resolve()
    at.mkdir(parents=True)
    make_photos(at / "photos")
    make_splits(at / "splits")
    make_table(at / "table.parquet")
    make_vectors(at)
    make_runs(at)
    pack(at, Path(sys.argv[2]))
