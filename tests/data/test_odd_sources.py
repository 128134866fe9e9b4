"""What a stranger gives as a source by mistake ends in one line: the value, the limit, and what to do instead."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tenpercent.cli.main import main
from tenpercent.data.decoding.decode import Unreadable, decode
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.errors import UsageError


def png(side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3)).astype(np.uint8)).save(
        file, "PNG"
    )
    return file.getvalue()


def files(*names: str, content: bytes = b"x") -> Callable[[Path], Path]:
    """A folder of files; those with an image's extension are images."""

    def make(root: Path) -> Path:
        for name in names:
            (root / "it" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "it" / name).write_bytes(png() if name.endswith(".png") else content)
        return root / "it"

    return make


def table(**columns: Any) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        pq.write_table(pa.table(columns), root / "it.parquet")
        return root / "it.parquet"

    return make


def array(values: Any) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        np.save(root / "it.npy", values)
        return root / "it.npy"

    return make


def named(text: str) -> Callable[[Path], str]:
    return lambda root: text.replace("ROOT", str(root))


IMAGES = {"image": [png(), png()], "label": ["a", "b"], "score": [0.5, 0.2], "boxes": [[1], [2]]}
CASES: list[tuple[str, Callable[[Path], Path | str], dict[str, Any], str]] = [
    (
        "no folder",
        named("ROOT/photos"),
        {},
        "no such file or folder: '.*photos'; give a folder, a video, an archive, a .parquet or .npy",
    ),
    ("no name", named(""), {}, "no such file or folder: ''; give a folder"),
    ("a word near a name", named("digit"), {}, "did you mean digits"),
    ("an unknown prefix", named("htf:x"), {}, "'htf:', which is not a kind of source .*; did you mean hf:"),
    (
        "an empty folder",
        lambda root: root,
        {},
        "holds no images; give a folder that holds image files, directly or in",
    ),
    (
        "folders of nothing",
        files("a/b/c/.hidden"),
        {},
        "holds no images; skipped: 1 hidden file; give a folder",
    ),
    (
        "texts",
        files("a.txt", "b.md"),
        {},
        "holds no images; skipped: 2 files that are not images; give a folder",
    ),
    (
        "raw photos",
        files("a.cr2"),
        {},
        "1 .cr2 image that can't be read here; convert the images to JPEG or PNG",
    ),
    (
        "archives",
        files("a.zip", "b.zip"),
        {},
        r"a.zip is no whole zip file \(File is not a zip file\); fetch it again",
    ),
    ("packed archives", files("a.rar", "b.rar"), {}, "skipped: 2 .rar archives; unpack the archives"),
    ("videos", files("a.mp4"), {}, r"holds no video that can be read \(broken or not a video"),
    ("no extensions", files("a", "b"), {}, "2 files without an extension; add the extension of their format"),
    ("not fetched", files("a.png.dvc"), {}, "1 file in DVC that is not here; fetch the files with dvc pull"),
    (
        "a file",
        lambda root: files("a.png")(root) / "a.png",
        {},
        "is a file, not a folder; give the folder of the images",
    ),
    (
        "an array that is text",
        lambda root: files("a.npy")(root) / "a.npy",
        {},
        "is not a .npy file; write it with numpy",
    ),
    ("an array of one axis", array(np.ones(3)), {}, r"vectors have shape \(3,\); they must be a matrix"),
    ("a zero vector", array(np.eye(3)[[0, 1, 1]] * [[1], [0], [1]]), {}, r"no direction \(row 1\); "),
    (
        "no table",
        lambda root: files("a.parquet")(root) / "a.parquet",
        {},
        "can't be read as Parquet .*; give a whole",
    ),
    (
        "no image column",
        table(x=[1], label=[0]),
        {},
        r"no column of images or vectors, only x \(int64\), label .*; give",
    ),
    (
        "two image columns",
        table(left=[png()], right=[png()]),
        {},
        "2 columns that could be images: left, right; choose",
    ),
    (
        "no rows",
        table(image=pa.array([], pa.binary())),
        {},
        "holds no rows; give a file with at least one image",
    ),
    (
        "a misspelt column",
        table(**IMAGES),
        {"image_column": "imge"},
        r"only the columns image .*; did you mean image\?",
    ),
    (
        "a column of another type",
        table(**IMAGES),
        {"image_column": "label"},
        "holds string, not images; columns of images",
    ),
    (
        "a list for labels",
        table(**IMAGES),
        {"label_column": "boxes"},
        "not labels; columns of labels: label, score",
    ),
    (
        "fractions for labels",
        table(**IMAGES),
        {"label_column": "score"},
        "0.5 .* not a whole number; name the labels",
    ),
    (
        "ids that repeat",
        table(**{**IMAGES, "id": [1, 1]}),
        {"id_column": "id"},
        "'1' occurs more than once .*; give another",
    ),
    (
        "a misspelt split",
        files("train/a/1.png", "test/a/1.png"),
        {"split": "vald"},
        "no split 'vald', only train, test",
    ),
    (
        "no splits",
        files("a/1.png"),
        {"split": "test"},
        "has no splits, so there is no 'test'; leave out --split",
    ),
    (
        "train beside a class",
        files("train/1.png", "car/1.png"),
        {},
        "beside car: a split or a class.* --split none",
    ),
    (
        "classes by case",
        files("Cat/1.png", "cat/1.png"),
        {},
        "'Cat' and 'cat', which differ by case only; rename",
    ),
    (
        "an option of tables",
        files("a/1.png"),
        {"embedding_column": "v"},
        "does not apply to a folder of images .*leave it",
    ),
    (
        "labels of others",
        files("1.png", "l.txt"),
        {"labels": "ROOT/it/l.txt"},
        "names no image .*, such as 1.png; give",
    ),
    (
        "labels that are gone",
        files("1.png"),
        {"labels": "ROOT/l.csv"},
        "l.csv can't be read: No such file.*; give another",
    ),
    ("no limit", files("1.png"), {"max_pixels": 0}, "max_pixels is 0; give a whole number of pixels above 0"),
    ("a hub without a name", named("hf:"), {}, "hf: names no data set; give hf:NAME"),
    (
        "no set of torchvision",
        named("torchvision:cifar11"),
        {},
        "cifar11 is not one of .*; did you mean CIFAR10",
    ),
    (
        "torchvision without data",
        named("torchvision:MNIST"),
        {},
        "needs the folder its data lies in; name it with --data",
    ),
]


@pytest.mark.parametrize(
    ("make", "options", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_one_line_names_the_value_the_limit_and_the_remedy(
    tmp_path: Path, make: Callable[[Path], Path | str], options: dict[str, Any], words: str
) -> None:
    given = {
        name: value.replace("ROOT", str(tmp_path)) if isinstance(value, str) else value
        for name, value in options.items()
    }
    spec = make(tmp_path)
    with pytest.raises(UsageError, match=words) as refused:
        open_source(spec, SourceOptions(**given))
    said = str(refused.value)
    assert "\n" not in said and "Traceback" not in said
    assert "; " in said or "?" in said


def test_images_beside_tables_of_images_are_asked_about(tmp_path: Path) -> None:
    folder = files("1.png")(tmp_path)
    pq.write_table(pa.table({"image": [png()]}), folder / "t.parquet")
    with pytest.raises(UsageError) as refused:
        open_source(folder)
    said = str(refused.value)
    for way in (
        "--image-column none for the image files",
        "--image-column image for the Parquet files",
        "t.parquet as",
    ):
        assert way in said


def test_a_hub_that_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def offline(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'nobody/nothing' on the Hub (OfflineModeIsEnabled)")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(
        UsageError, match=r"Couldn't reach.*; check the name and the network, or give a local folder"
    ):
        open_source("hf:nobody/nothing")


@pytest.mark.parametrize(
    ("content", "limit", "words"),
    [
        (b"", None, "the file is empty"),
        (b"no image", None, r"not an image that Pillow can read \(8 bytes\)"),
        (png()[:100], None, "truncated"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            None,
            "a Git LFS pointer .*; git lfs pull fetches it",
        ),
        (png(40), 1000, "40 × 40 is above the limit of 1,000; --max-pixels 1600 --reread takes it"),
    ],
)
def test_a_bad_image_is_rejected_with_its_reason(
    tmp_path: Path, content: bytes, limit: int | None, words: str
) -> None:
    (tmp_path / "1.png").write_bytes(content)
    source = open_source(tmp_path, SourceOptions(max_pixels=limit))
    assert isinstance(source, ImageSource)
    with pytest.raises(Unreadable, match=words):
        decode(source.read(0), source.decoding)


def test_the_command_ends_with_that_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(files("a.txt")(tmp_path))
    assert main(["run", ".", "--out", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(
        "skipped: 1 file that is not an image; give a folder that holds image files, directly or in subfolders"
    )
