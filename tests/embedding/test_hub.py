"""Weights of timm's models: from a cache in the hub's layout, without a network."""

from __future__ import annotations

import time
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.embedding.encoders import TimmEncoder
from tenpercent.embedding.hub import describe_model
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.settings import SHORT, Precision, named
from tenpercent.embedding.weights import timm_model
from tenpercent.errors import UsageError


@pytest.fixture(autouse=True)
def unreachable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a hub that refuses connections; return the folder of the cache."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def cached(folder: Path, name: str) -> tuple[torch.nn.Module, Path]:
    """Write random weights of a model as a download leaves them; return the model and the file."""
    torch.manual_seed(1)
    model = timm.create_model(name, pretrained=False).eval()
    place = folder / f"models--{timm.get_pretrained_cfg(name).hf_hub_id.replace('/', '--')}"
    file = place / "snapshots" / ("0" * 40) / "model.safetensors"
    file.parent.mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("0" * 40)
    safetensors.torch.save_file(model.state_dict(), file)
    return model, file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folder of six pictures."""
    (tmp_path / "photos").mkdir()
    for number in range(6):
        blots = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(blots).resize((90, 70)).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path / "photos"


def test_cached_weights_are_taken_without_asking_the_hub(unreachable: Path) -> None:
    model, _ = cached(unreachable, "test_resnet")
    expected = model.state_dict()
    found = timm_model(tp.Timm("test_resnet")).state_dict()
    assert found and all(torch.equal(value, expected[key]) for key, value in found.items())


def test_a_side_makes_the_input_smaller(unreachable: Path) -> None:
    cached(unreachable, "test_vit")
    encoder = TimmEncoder(
        timm_model(tp.Timm("test_vit", side=96)), Choice(Precision.FLOAT32), torch.device("cpu")
    )
    image = encoder.transform(np.zeros((200, 150, 3), np.uint8))
    assert image.shape == (3, 96, 96) and encoder.encode([image])["end"].shape == (1, 64)


def test_a_hub_out_of_reach_is_one_line_at_once_that_names_what_is_at_hand(
    unreachable: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached(unreachable, "test_resnet")
    out, began = photos.parent / "run", time.perf_counter()
    assert main(["run", str(photos), "--out", str(out), "--embedder", "dinov2"]) == 2
    assert time.perf_counter() - began < 20 and not out.exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert SHORT["dinov2"]["name"] in line and "127.0.0.1:9" in line and "refused" in line
    assert (
        "available offline: --embedder pretrained, timm:test_resnet.r160_in1k, or a file with --weights FILE"
        in line
    )


def test_a_damaged_file_of_the_cache_is_one_line_that_names_it(unreachable: Path) -> None:
    _, file = cached(unreachable, "test_resnet")
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UsageError, match=r"model.safetensors can't be loaded .*; delete that file") as caught:
        timm_model(tp.Timm("test_resnet"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("resnet18.a1_in1K", "no weights 'resnet18.a1_in1K'; did you mean resnet18.a1_in1k"),
        ("resnet51", "no model 'resnet51'; did you mean"),
        ("resnet200", "no weights for resnet200"),
    ],
)
def test_models_and_weights_that_timm_lacks_are_refused(name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        timm_model(tp.Timm(name))


def test_the_licence_is_said_and_what_it_forbids() -> None:
    assert describe_model(tp.Timm("convnextv2_tiny.fcmae")).endswith(
        "(licence cc-by-nc-4.0, which forbids commercial use)"
    )
    for short in SHORT:
        kind, settings = named(short)
        assert kind == "timm" and describe_model(tp.Timm(**settings)).endswith("(licence apache-2.0)")


def test_a_run_by_a_cached_model_says_so_and_is_not_mixed_with_another(
    unreachable: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cached(unreachable, "test_vit")
    command = ["embed", str(photos), "--out", str(photos.parent / "run"), "--embedder"]
    assert main([*command, "timm:test_vit", "--side", "96"]) == 0
    assert "embedding by test_vit (licence apache-2.0)" in capsys.readouterr().err
    assert main([*command, "timm:test_vit"]) == 1
    assert "side was 96, now not set" in capsys.readouterr().err
    assert main([*command, "pretrained"]) == 1
    assert "the embedder was timm:test_vit, now pretrained; choose another --out" in capsys.readouterr().err
