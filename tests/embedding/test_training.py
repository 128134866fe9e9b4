"""A training learns, ends with the same weights after an interruption, and refuses what it can't do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning_fabric import Fabric
from lightning_fabric.strategies import STRATEGY_REGISTRY
from safetensors.torch import load_file
from torch import nn

from forked import FORKING
from tenpercent.embedding import loop, precision, training
from tenpercent.embedding.loop import MappedPixels
from tenpercent.embedding.precision import Choice, choose
from tenpercent.embedding.processes import devices_for
from tenpercent.embedding.recipe import learning_rate
from tenpercent.embedding.settings import Precision, Supervised, Timm
from tenpercent.embedding.training import default_epochs, train, training_length
from tenpercent.errors import StageError, TenpercentError, UsageError

Ints = npt.NDArray[np.int64]
QUICK = Supervised(depth=8, epochs=4, batch=32, precision="float32")


class KilledError(Exception):
    """In the place of a kill."""


class Images:
    """Images in memory, in the place of `pixels.Pixels`; `stop_after` batches of training they break off."""

    noun = "image"

    def __init__(self, array: npt.NDArray[np.uint8], stop_after: int | None = None) -> None:
        self.array = array
        self.size = (array.shape[1], array.shape[2])
        self.stop_after = stop_after
        self.asked: list[Ints] = []

    def __len__(self) -> int:
        return len(self.array)

    def batches(self, order: Iterable[Ints]) -> Iterator[torch.Tensor]:
        for places in order:
            if len(self.asked) == self.stop_after:
                raise KilledError
            self.asked.append(places)
            yield torch.from_numpy(self.array[places]).permute(0, 3, 1, 2)


def stripes(count: int, side: int = 8) -> tuple[npt.NDArray[np.uint8], Ints]:
    """Return noisy images with stripes along (0), across (1), or none (2)."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    array = random.integers(0, 120, (count, side, side, 3), dtype=np.uint8)
    array[labels == 0, ::2] += 100
    array[labels == 1, :, ::2] += 100
    return array, labels.astype(np.int64)


def test_it_learns_and_keeps_weights_settings_and_curve(tmp_path: Path) -> None:
    array, labels = stripes(240)
    found = train(Images(array), labels, 3, replace(QUICK, epochs=8), tmp_path)
    assert found.facts["train_accuracy"] > 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curve.json",
        "settings.json",
        "weights.safetensors",
    ]
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [epoch["epoch"] for epoch in curve] == list(range(1, 9))
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert set(curve[0]) == {"epoch", "loss", "accuracy", "rate", "seconds"}
    assert not found.network.training
    with torch.inference_mode():
        layers = found.network.features(found.view.plain(torch.from_numpy(array).permute(0, 3, 1, 2)))
        guesses = found.network.classifier(layers["end"]).argmax(1).numpy()
    assert (guesses == labels).mean() > 0.95


@pytest.mark.parametrize("stop_after", [1, 5, 12, 31])  # in statistics, first, second and last epoch
def test_interrupted_it_ends_with_the_same_bytes(tmp_path: Path, stop_after: int) -> None:
    array, labels = stripes(241)
    train(Images(array), labels, 3, QUICK, tmp_path / "whole")
    with pytest.raises(KilledError):
        train(Images(array, stop_after), labels, 3, QUICK, tmp_path / "broken")
    rest = Images(array)
    train(rest, labels, 3, QUICK, tmp_path / "broken")
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1]
    done = max(0, (stop_after - 1) // 8)  # one batch of statistics, eight an epoch
    assert len(rest.asked) == (4 - done) * 8
    assert not (tmp_path / "broken" / "checkpoint.pt").exists()


@pytest.mark.parametrize("broken_off", ["write_text", "replacing"])
def test_a_kill_while_the_last_epoch_is_kept_costs_that_epoch_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken_off: str
) -> None:
    def killed(*_: object) -> None:
        raise KilledError

    array, labels = stripes(64)
    one_epoch = replace(QUICK, epochs=1)
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(loop, broken_off, killed)  # writes the curve, writes the checkpoint
        train(Images(array), labels, 3, one_epoch, tmp_path)
    found = train(Images(array), labels, 3, one_epoch, tmp_path)
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [epoch["epoch"] for epoch in curve] == [1]
    assert found.facts["train_loss"] == curve[0]["loss"]


def test_what_a_kill_left_beside_whole_weights_goes(tmp_path: Path) -> None:
    array, labels = stripes(64)
    train(Images(array), labels, 3, QUICK, tmp_path)
    whole = sorted(tmp_path.iterdir())
    for name in ("checkpoint.pt", "pixels.bin"):
        (tmp_path / name).write_bytes(b"left")
    train(Images(array), labels, 3, QUICK, tmp_path)
    assert sorted(tmp_path.iterdir()) == whole


def test_a_finished_training_is_loaded_and_not_repeated(tmp_path: Path) -> None:
    array, labels = stripes(64)
    first = train(Images(array), labels, 3, QUICK, tmp_path)
    again = Images(array)
    second = train(again, labels, 3, QUICK, tmp_path)
    assert again.asked == []
    assert first.facts == second.facts
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name])


def test_the_measured_choice_is_kept_for_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array, labels = stripes(64)
    settings = replace(QUICK, precision="auto")
    measured = Choice(Precision.BFLOAT16, False, {"bf16, contiguous": 1.0})
    monkeypatch.setattr(training, "choose", lambda *_: measured)
    with pytest.raises(KilledError):
        train(Images(array, 4), labels, 3, settings, tmp_path)
    monkeypatch.delattr(training, "choose")
    assert train(Images(array), labels, 3, settings, tmp_path).choice == measured


def test_seed_and_order_decide_the_weights(tmp_path: Path) -> None:
    array, labels = stripes(64)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(Images(array), labels, 3, replace(QUICK, seed=seed, epochs=1), tmp_path / name)
    a, b, c = ((tmp_path / name / "weights.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_it_leaves_the_random_state_alone(tmp_path: Path) -> None:
    array, labels = stripes(30)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    train(Images(array), labels, 3, replace(QUICK, epochs=1), tmp_path)
    assert torch.equal(torch.rand(1), expected)


def test_images_without_a_label_take_no_part(tmp_path: Path) -> None:
    array, labels = stripes(90)
    labels[10:30] = -1
    images = Images(array)
    train(images, labels, 3, replace(QUICK, epochs=1), tmp_path)
    trained_on = np.sort(np.concatenate(images.asked[1:]))  # the first is for mean and deviation
    np.testing.assert_array_equal(trained_on, np.flatnonzero(labels >= 0))


@pytest.mark.parametrize("count", [2, 3, 5, 33])
def test_fewer_images_than_a_batch_or_hardly_more(tmp_path: Path, count: int) -> None:
    array, labels = stripes(count)
    found = train(Images(array), labels, 3, QUICK, tmp_path)
    assert np.isfinite(found.facts["train_loss"])


def test_steps_may_end_within_an_epoch(tmp_path: Path) -> None:
    array, labels = stripes(96)
    images = Images(array)
    found = train(images, labels, 3, replace(QUICK, epochs=None, steps=5), tmp_path)
    assert (found.facts["epochs"], found.facts["steps"]) == (2, 5)
    assert len(images.asked) == 1 + 5


@pytest.mark.parametrize("labels", [np.zeros(9, np.int64), np.full(9, -1)])
def test_one_class_only_is_refused(tmp_path: Path, labels: Ints) -> None:
    with pytest.raises(UsageError, match=r"at least 2 classes, got [01]; use --embedder pretrained"):
        train(Images(stripes(9)[0]), labels, 3, QUICK, tmp_path)
    assert not any(tmp_path.iterdir())


def test_another_training_in_the_folder_is_refused(tmp_path: Path) -> None:
    array, labels = stripes(30)
    train(Images(array), labels, 3, QUICK, tmp_path)
    with pytest.raises(StageError, match="other images or settings"):
        train(Images(array), labels, 3, replace(QUICK, seed=3), tmp_path)
    (tmp_path / "settings.json").write_text('{"format": 99, "origin": ""}')
    with pytest.raises(StageError, match="format 99"):
        train(Images(array), labels, 3, QUICK, tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(StageError, match="can't be read"):
        train(Images(array), labels, 3, QUICK, tmp_path)


def test_a_loss_that_breaks_down_says_what_to_do(tmp_path: Path) -> None:
    array, labels = stripes(60)
    with pytest.raises(TenpercentError, match=r"the loss became (nan|inf) in epoch \d.*lower rate"):
        train(Images(array), labels, 3, replace(QUICK, rate=1e30), tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_model_is_fine_tuned_from_where_it_is(tmp_path: Path) -> None:
    array, labels = stripes(60)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * 64), nn.Linear(3 * 64, 3))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    view = training.View((127.0,) * 3, (70.0,) * 3, (8, 8), 0)
    settings = Timm("any", finetune=True, epochs=5, rate=0.001, precision="float32")
    found = train(Images(array), labels, 3, settings, tmp_path, start=(model, view))
    moved = found.network.state_dict()["2.weight"] - before["2.weight"]
    assert 0 < float(moved.abs().max()) < 0.1
    assert found.facts["network"] == "any"


def test_one_process_without_fabric_gets_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, labels = stripes(60)
    train(Images(array), labels, 3, QUICK, tmp_path / "alone")
    fabrics = []

    def launch_with_fabric(function: Any, job: Any) -> Any:
        fabrics.append(Fabric(accelerator="cpu", devices=1, precision="32-true"))
        return function(fabrics[0], job)

    monkeypatch.setattr(training, "launch", lambda devices, choice, *rest: launch_with_fabric(*rest))
    train(Images(array), labels, 3, QUICK, tmp_path / "fabric")
    assert len(fabrics) == 1
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("alone", "fabric")]
    assert weights[0] == weights[1]


@pytest.fixture
def loaded_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the processes of a training from one that has loaded torch and Lightning, where each would load them."""
    if FORKING:
        monkeypatch.setitem(STRATEGY_REGISTRY["ddp_spawn"]["init_params"], "start_method", "forkserver")


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path: Path, loaded_processes: None) -> None:
    array, labels = stripes(120)
    found = train(Images(array), labels, 3, replace(QUICK, epochs=8, devices=2), tmp_path)
    assert (found.facts["devices"], found.facts["epochs"]) == (2, 8)
    assert found.facts["train_accuracy"] > 0.8
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "curve.json",
        "settings.json",
        "weights.safetensors",
    ]
    assert all(bool(value.isfinite().all()) for value in load_file(tmp_path / "weights.safetensors").values())


@pytest.mark.slow
def test_a_process_that_fails_is_said_in_one_line(tmp_path: Path, loaded_processes: None) -> None:
    array, labels = stripes(60)
    (tmp_path / "checkpoint.pt").mkdir()
    with pytest.raises(TenpercentError, match=r"one of 2 training processes failed \(.*directory") as caught:
        train(Images(array), labels, 3, replace(QUICK, devices=2), tmp_path)
    assert "\n" not in str(caught.value)


def test_too_few_images_for_the_devices_are_refused(tmp_path: Path) -> None:
    array, labels = stripes(5)
    with pytest.raises(UsageError, match=r"5 images .* too few for 3 devices"):
        train(Images(array), labels, 3, replace(QUICK, devices=3), tmp_path)


def test_mapped_pixels_are_the_pixels(tmp_path: Path) -> None:
    array, _ = stripes(300)
    mapped = MappedPixels.write(Images(array), tmp_path / "pixels.bin")
    places = np.array([299, 0, 7, 7])
    assert torch.equal(next(mapped.batches([places])), next(Images(array).batches([places])))
    assert (len(mapped), mapped.size) == (300, (8, 8))


# ---- lengths and rates ---------------------------------------------------------------------------------------------


def test_default_lengths() -> None:
    assert [default_epochs(n, 128) for n in (1437, 50_000, 1_281_167, 60)] == [20, 10, 10, 200]


@given(st.integers(2, 10_000_000), st.integers(2, 4096))
def test_batches_are_alike_and_none_is_of_one_image(n: int, batch: int) -> None:
    planned = training_length(n, Supervised(batch=batch, epochs=3))
    assert planned.steps == 3 * planned.batches
    assert n // planned.batches >= 2
    assert -(-n // planned.batches) <= max(batch, 3)  # three in batches of two would leave one alone


def test_the_learning_rate_warms_up_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, 1000, 0.1) for step in range(1000)]
    np.testing.assert_allclose(rates[:25], 0.1 * np.arange(1, 26) / 25)
    assert rates[25] == 0.1
    assert all(later < earlier for earlier, later in pairwise(rates[25:]))
    assert rates[512] == pytest.approx(0.05, rel=0.01)
    assert 0 < rates[-1] < 1e-6
    assert learning_rate(0, 1, 0.1) == 0.1


# ---- precision and devices -----------------------------------------------------------------------------------------


def test_a_precision_asked_for_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(precision, "_seconds")
    cpu = torch.device("cpu")
    assert choose(nn.Identity(), (8, 8), cpu, Precision.BFLOAT16) == Choice(Precision.BFLOAT16, True, {})


def test_the_measurement_leaves_the_network_alone() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    found = choose(network, (8, 8), torch.device("cpu"), Precision.AUTO)
    assert set(found.rates) == {
        f"{p}, {layout}" for p in ("float32", "bf16") for layout in ("channels last", "contiguous")
    }
    assert all(rate > 0 for rate in found.rates.values())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
    assert Choice.from_json(json.loads(json.dumps(found.as_json()))) == found


@pytest.mark.parametrize(
    ("fastest", "factor", "chosen"),
    [
        (Choice(Precision.BFLOAT16), 2.0, Choice(Precision.BFLOAT16)),
        (Choice(Precision.BFLOAT16), 1.2, Choice(Precision.FLOAT32)),
        (Choice(Precision.FLOAT32, False), 1.4, Choice(Precision.FLOAT32, False)),
    ],
)
def test_another_combination_must_pay(
    monkeypatch: pytest.MonkeyPatch, fastest: Choice, factor: float, chosen: Choice
) -> None:
    monkeypatch.setattr(
        precision, "_seconds", lambda _n, choice, *_: 1 / factor if choice == fastest else 1.0
    )
    found = choose(nn.Identity(), (8, 8), torch.device("cpu"), Precision.AUTO)
    assert replace(found, rates={}) == chosen


@pytest.mark.skipif(torch.cuda.is_available() or torch.backends.mps.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_process_unless_more_are_asked_for() -> None:
    assert (devices_for(None).kind, devices_for(None).count) == ("cpu", 1)
    assert devices_for(2).count == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"epochs": 2, "steps": 3}, "give one of them"),
        ({"steps": -1}, "steps is -1"),
        ({"batch": 1}, "batch is 1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "at most 4,294,967,295"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"rate": float("nan")}, "rate is nan"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"devices": 0}, "devices is 0"),
        ({"precision": "bf61"}, "did you mean bf16"),
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Supervised(**wrong)  # type: ignore[arg-type]


def test_settings_come_back_from_json(tmp_path: Path) -> None:
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"a")
    for given_settings in (
        Supervised(depth=20, precision="bf16"),
        Timm("vit", weights=weights, finetune=True, batch=32),
    ):
        content = json.loads(json.dumps(given_settings.as_json()))
        assert type(given_settings).from_json(content) == given_settings
    first = Timm("vit", weights=weights).as_json()
    weights.write_bytes(b"b")
    assert Timm("vit", weights=weights).as_json() != first
