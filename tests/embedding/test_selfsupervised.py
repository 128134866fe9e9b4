"""Learning without labels: the views are what they are said to be, the network learns, resumes, and says what fails."""

from __future__ import annotations

import json
import math
import pickle
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as tv

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.data.store.records import SourceRecord
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.embedding import processes, selfsupervised
from tenpercent.embedding.augment import View
from tenpercent.embedding.choice import SIDE, settled
from tenpercent.embedding.of_run import embed_like
from tenpercent.embedding.origin import Origin
from tenpercent.embedding.processes import Devices
from tenpercent.embedding.selfsupervised import ContrastiveTask, network_for, spread, train_unlabelled
from tenpercent.embedding.training import Trained
from tenpercent.embedding.views import Strength, Variations, blurred, colours, draw, views
from tenpercent.errors import MissingExtraError, StageError, TenpercentError, UsageError

QUICK = tp.SelfSupervised(depth=8, epochs=2, batch=32, precision="float32")
FLAGS = [
    "--embedder",
    "selfsupervised",
    "--depth",
    "8",
    "--steps",
    "2",
    "--batch",
    "16",
    "--precision",
    "float32",
]


class KilledError(Exception):
    """In the place of a kill."""


class Images:
    """Images in memory, in the place of `pixels.Pixels`; `stop_after` batches of training they break off."""

    noun = "image"

    def __init__(self, array: npt.NDArray[np.uint8], stop_after: int | None = None) -> None:
        self.array = array
        self.size = (array.shape[1], array.shape[2])
        self.stop_after = stop_after
        self.asked = 0

    def __len__(self) -> int:
        return len(self.array)

    def batches(self, order: Iterable[npt.NDArray[np.int64]]) -> Iterator[torch.Tensor]:
        for places in order:
            if self.asked == self.stop_after:
                raise KilledError
            self.asked += 1
            yield torch.from_numpy(self.array[places]).permute(0, 3, 1, 2)


def grains(count: int, side: int = 8) -> npt.NDArray[np.uint8]:
    """Images of grains in two colours of their own."""
    random = np.random.default_rng(0)
    colours = random.integers(0, 256, (count, 2, 3), dtype=np.uint8)
    which = random.integers(0, 2, (count, side * side, 1))
    return np.take_along_axis(colours, which, 1).reshape(count, side, side, 3)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """40 images in a folder without subfolders."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for number, pixels in enumerate(grains(40)):
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    return folder


# ---- the views -----------------------------------------------------------------------------------------------------


def plain(count: int) -> Variations:
    """What leaves images as they are."""
    eye = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    return Variations(eye[:, :2], eye, np.zeros(count, np.float32), np.zeros(count, np.float32))


def noise(count: int, side: int = 12) -> torch.Tensor:
    array = np.random.default_rng(1).integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return torch.from_numpy(array)


def test_a_view_without_variation_is_the_image() -> None:
    images = noise(5)
    torch.testing.assert_close(views(images, plain(5), (12, 12)), images.float(), atol=1e-3, rtol=0)


def test_a_crop_shows_its_part_and_a_flip_its_mirror() -> None:
    images, crop = noise(2), plain(2)
    place = crop.place.copy()
    place[0, 0] = (-0.5, 0, 0.5)  # the right half, mirrored ...
    place[0, 1] = (0, 0.5, -0.5)  # ... of the upper half
    found = views(images, replace(crop, place=place), (6, 6))
    torch.testing.assert_close(found[0], images[0, :, :6, 6:].flip(2).float(), atol=1e-3, rtol=0)


@given(st.floats(0.2, 1.8), st.sampled_from(["brightness", "contrast", "saturation"]))
@settings(deadline=None, max_examples=20)
def test_colours_are_changed_as_torchvision_does(factor: float, what: str) -> None:
    images = noise(3).float() / 2 + 60  # far from the ends, where torchvision clips between steps
    expected = getattr(tv, f"adjust_{what}")(images / 255, factor) * 255
    eye, one = np.tile(np.eye(3), (3, 1, 1)), np.ones(3)
    colour = colours(factor * one, 0 * one) if what == "saturation" else factor * eye
    shift = (1 - factor) * one if what == "contrast" else 0 * one
    given_ = replace(plain(3), colour=np.float32(colour), shift=np.float32(shift))
    torch.testing.assert_close(views(images, given_, (12, 12)), expected, atol=0.1, rtol=0)


def test_a_third_of_the_circle_of_hues_exchanges_the_colours_and_greys_stay() -> None:
    (third,) = colours(np.ones(1), np.full(1, 1 / 3))
    np.testing.assert_allclose(third, np.eye(3)[[2, 0, 1]], atol=1e-12)
    some = colours(np.array([0.3, 1.0, 0.0]), np.array([0.1, -0.07, 0.2]))
    np.testing.assert_allclose(some @ np.ones(3), 1, atol=1e-12)


def test_a_blur_is_a_gaussian_of_the_images_own_width() -> None:
    images, sigma = noise(3, 32).float(), torch.tensor([0.5, 0.0, 2.0])
    found = blurred(images, sigma)
    for at in (0, 2):
        expected = tv.gaussian_blur(images[at], 13, float(sigma[at]))
        torch.testing.assert_close(found[at], expected, atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(found[1], images[1])


@given(st.integers(0, 2**31), st.sampled_from([(8, 8), (224, 224)]))
@settings(max_examples=20)
def test_drawn_crops_lie_within_the_image_and_are_large_enough(seed: int, size: tuple[int, int]) -> None:
    strength = Strength.of(size)
    drawn = draw(np.random.default_rng(seed), 100, strength)
    half, middle = np.abs(drawn.place[:, [0, 1], [0, 1]]), drawn.place[:, :, 2]
    assert (np.abs(middle) + half <= 1 + 1e-6).all()
    assert (half.prod(1) >= strength.area * 0.86 - 1e-6).all()  # a side beyond the image is cut off
    assert 20 < (drawn.place[:, 0, 0] < 0).sum() < 80
    assert (drawn.sigma > 0).any() == strength.blur


# ---- the loss ------------------------------------------------------------------------------------------------------


def test_twins_that_lie_together_cost_least_and_are_found() -> None:
    task = ContrastiveTask(View((0.0,) * 3, (1.0,) * 3, (8, 8), 0))
    apart = torch.eye(6)
    together, found = task.loss(torch.cat([apart, apart]), np.arange(6))
    mixed, lost = task.loss(torch.cat([apart, apart.roll(1, 0)]), np.arange(6))
    assert together < mixed
    assert (float(found), float(lost)) == (6, 0)
    half = torch.cat([apart, torch.cat([apart[:3], apart[3:].roll(1, 0)])])
    assert float(task.loss(half, np.arange(6))[1]) == 3


# ---- the training --------------------------------------------------------------------------------------------------


def test_it_learns_to_tell_images_apart_without_labels(tmp_path: Path) -> None:
    found = train_unlabelled(Images(grains(160)), replace(QUICK, epochs=12, dim=16), tmp_path)
    curve = json.loads((tmp_path / "curve.json").read_text())
    guessing = math.log(2 * 32 - 1)  # the loss where each other view is as likely
    assert curve[-1]["loss"] < 0.9 * guessing
    assert curve[-1]["accuracy"] > 5 / 63
    assert found.network.widths == {"start": 16, "middle": 32, "end": 16}
    assert found.facts["dim"] == 16 and found.facts["spread"] > 0.3


@pytest.mark.parametrize("stop_after", [2, 4, 7])
def test_interrupted_it_ends_with_the_same_bytes(tmp_path: Path, stop_after: int) -> None:
    array = grains(90)
    train_unlabelled(Images(array), QUICK, tmp_path / "whole")
    with pytest.raises(KilledError):
        train_unlabelled(Images(array, stop_after), QUICK, tmp_path / "broken")
    train_unlabelled(Images(array), QUICK, tmp_path / "broken")
    whole, broken = (tmp_path / name / "weights.safetensors" for name in ("whole", "broken"))
    assert whole.read_bytes() == broken.read_bytes()
    train_unlabelled(Images(array), replace(QUICK, seed=1), tmp_path / "other")
    assert whole.read_bytes() != (tmp_path / "other" / "weights.safetensors").read_bytes()


def test_another_training_in_the_folder_is_refused(tmp_path: Path) -> None:
    array = grains(20)
    train_unlabelled(Images(array), QUICK, tmp_path)
    with pytest.raises(StageError, match="other images or settings"):
        train_unlabelled(Images(array), replace(QUICK, dim=8), tmp_path)


def test_it_starts_from_the_weights_of_a_model_of_timm(tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = timm.create_model("test_resnet", pretrained=False, num_classes=5)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    asked = replace(
        QUICK,
        network="test_resnet",
        weights=tmp_path / "w.pt",
        dim=8,
        epochs=None,
        steps=1,
        batch=4,
        rate=1e-9,
    )
    found = train_unlabelled(Images(grains(4)), asked, tmp_path / "training")
    assert found.network.widths == {"end": 8} and found.view.resize is not None
    ours = found.network.body.body.state_dict()
    for name, value in model.state_dict().items():
        if name.endswith("weight") and name in ours:
            torch.testing.assert_close(ours[name], value, atol=1e-6, rtol=0)


def constant(trained: Trained) -> Trained:
    """The same, but for a network that gives all images one vector."""
    for name, value in trained.network.named_parameters():
        value.data.fill_(1.0 if name == "body.norm.bias" else 0.0)
    return trained


def test_a_collapse_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = grains(20)
    run_job = selfsupervised.run_job
    monkeypatch.setattr(selfsupervised, "run_job", lambda job: constant(run_job(job)))
    with pytest.raises(TenpercentError, match=r"training collapsed: .*spread .*--epochs") as caught:
        train_unlabelled(Images(array), QUICK, tmp_path / "a")
    assert "\n" not in str(caught.value)
    alike = np.repeat(array[:1], 20, axis=0)
    assert train_unlabelled(Images(alike), QUICK, tmp_path / "b").facts["spread"] == 0


def test_spread_is_that_of_the_unit_vectors(tmp_path: Path) -> None:
    images = Images(grains(50))
    found = train_unlabelled(images, replace(QUICK, epochs=1), tmp_path)
    with torch.inference_mode():
        batch = next(images.batches([np.arange(50)]))
        end = found.network.features(found.view.plain(batch))["end"]
    deviation = torch.nn.functional.normalize(end.double(), dim=1).var(0, correction=0).sum().sqrt()
    assert spread(found, images) == pytest.approx(float(deviation), abs=1e-6)


def test_several_processes_can_share_it() -> None:
    """What they are handed pickles, and no weight is without a gradient, which they would wait for."""
    task = pickle.loads(pickle.dumps(ContrastiveTask(View((127.0,) * 3, (70.0,) * 3, (8, 8), 0))))
    images = torch.from_numpy(grains(6)).permute(0, 3, 1, 2)
    drawn = task.draw(np.random.default_rng(0), np.arange(6), 0, (8, 8))
    part = task.inputs(images[2:4], drawn.part(slice(2, 4)))
    torch.testing.assert_close(part, task.inputs(images, drawn)[[2, 3, 8, 9]])
    first, second = part.chunk(2)
    assert float((first - second).abs().mean()) > 0.1  # two views, not one twice
    network = network_for(replace(QUICK, dim=16), (8, 8))
    task.loss(network(part), np.arange(2))[0].backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


# ---- bad input -----------------------------------------------------------------------------------------------------


def test_one_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"at least 2 images, got 1; give more"):
        train_unlabelled(Images(grains(1)), QUICK, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_dim_beyond_the_network_is_refused_and_a_smaller_one_then_taken(
    flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["embed", str(flat), "--out", str(tmp_path / "run"), *FLAGS]
    assert main([*call, "--dim", "65"]) == 2
    assert "dim is 65; the last layer of resnet-8 has 64 values: use 64 at most" in capsys.readouterr().err
    assert main([*call, "--dim", "64"]) == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"dim": 1}, "dim is 1"),
        ({"batch": 1}, "batch is 1"),
        ({"epochs": 1, "steps": 1}, "give one of them"),
        ({"weights": Path("w.pt")}, "without a network"),
        ({"precision": "bf"}, "precision 'bf'"),
        ({"rate": 0}, "rate is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        tp.SelfSupervised(**wrong)


def test_without_the_library_the_command_that_installs_it_is_named(
    flat: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    with pytest.raises(MissingExtraError, match=r"tenpercent\[selfsupervised\]"):
        tp.embed(flat, out=tmp_path / "run", embedder=tp.SelfSupervised())
    assert not (tmp_path / "run").exists()


def test_flags_of_other_embedders_are_refused(
    flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["embed", str(flat), "--out", str(tmp_path / "run")]
    assert main([*call, "--embedder", "selfsupervised", "--finetune"]) == 2
    assert "--finetune does not apply to --embedder selfsupervised" in capsys.readouterr().err
    assert main([*call, "--embedder", "supervised", "--dim", "8"]) == 2
    assert "use --embedder selfsupervised" in capsys.readouterr().err
    assert main([*call, "--embedder", "selfsupervised", "--network", "no_such"]) == 2
    assert "there is no network 'no_such'" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# ---- the whole flow ------------------------------------------------------------------------------------------------


def test_a_flat_folder_runs_without_weights_at_hand(flat: Path, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    call = ["run", str(flat), "--out", str(run.path), *FLAGS, "--dim", "8"]
    assert main([*call, "--dry-run"]) == 0
    assert not run.path.exists()
    assert main(call) == 0
    embedded = run.read()["stages"]["embed"]
    assert embedded["layers"] == {"start": 16, "middle": 32, "end": 8}
    assert embedded["settings"]["embedder"]["embedder"] == "selfsupervised"
    assert len(tp.select(run.path, keep=0.5).kept) == 20
    assert run.report.exists()


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_photos_are_seen_small_where_there_is_no_gpu(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "devices_for", lambda count: Devices(kind, 1))
    small = replace(QUICK, side=SIDE) if kind == "cpu" else QUICK
    assert settled(QUICK, tmp_path) == small
    for asked in (replace(QUICK, side=100), replace(QUICK, network="resnetv2_50"), tp.Supervised()):
        assert settled(asked, tmp_path) == asked


@pytest.mark.parametrize("side", [None, 256, 48])
def test_what_was_begun_goes_on_at_the_side_it_began_with(
    flat: Path, tmp_path: Path, side: int | None
) -> None:
    """As a run of a machine with a GPU, or of a version that knew no side."""
    source = tp.open_source(flat)
    assert isinstance(source, ImageSource)
    begun = replace(QUICK, side=side)
    run = RunFolder(tmp_path / "run")
    run.embeddings.mkdir(parents=True)
    Origin.of(source, np.arange(len(source)), begun.as_json()).write(run, None)
    assert settled(QUICK, run.path) == begun
    assert settled(replace(QUICK, side=100), run.path).side == 100


def test_the_side_decides_network_and_pixels_and_is_kept(tmp_path: Path) -> None:
    source = tmp_path / "large"
    source.mkdir()
    for number, pixels in enumerate(grains(12, 80)):
        Image.fromarray(pixels).save(source / f"{number:02d}.png")
    asked = replace(QUICK, steps=2, epochs=None, batch=8, side=24)
    tp.embed(source, out=tmp_path / "run", embedder=asked)
    embedded = RunFolder.open(tmp_path / "run").read()["stages"]["embed"]
    assert embedded["pixels"].startswith("12 images of 24×24 pixels")
    assert embedded["network"].startswith("resnet-8")
    assert embedded["settings"]["embedder"]["side"] == 24
    with pytest.raises(StageError, match="side was 24, now 32"):
        tp.embed(source, out=tmp_path / "run", embedder=replace(asked, side=32))


def test_a_runs_network_gives_other_images_the_vectors_it_would_give_its_own(
    flat: Path, tmp_path: Path
) -> None:
    own = tp.embed(flat, out=tmp_path / "run", embedder=replace(QUICK, dim=8, epochs=1))
    run, source = RunFolder.open(tmp_path / "run"), tp.open_source(flat)
    folder = RunFolder.create(tmp_path / "other", SourceRecord("flat", "f"))
    embed_like(run, source, folder, {"embedder": "the network of another run"}, None)  # type: ignore[arg-type]
    np.testing.assert_array_equal(Embeddings.load(folder.embeddings).vectors, own.vectors)


def test_the_random_state_stays(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    network_for(QUICK, (8, 8))
    train_unlabelled(Images(grains(8)), replace(QUICK, epochs=1), tmp_path)
    assert torch.equal(torch.rand(1), expected)
