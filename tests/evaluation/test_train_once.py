"""One training from scratch on some of the images: by its seed alone, resumed to the same bytes, honestly tested."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import avg_pool2d, cross_entropy

from tenpercent.embedding import loop
from tenpercent.embedding.augment import IMAGENET, View
from tenpercent.embedding.encoders import NetworkEncoder
from tenpercent.embedding.fast import FastNetwork
from tenpercent.embedding.loop import TrainingJob, make_optimizer
from tenpercent.embedding.networks import build, check_fit
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.predictions import EvaluationPixels, predict
from tenpercent.embedding.recipe import Flip, Recipe, Schedule, Statistics, learning_rate, shown_share
from tenpercent.embedding.settings import Precision, Supervised
from tenpercent.embedding.training import class_weights, train
from tenpercent.errors import TrainingFailedError, UsageError
from tenpercent.evaluation import training
from tenpercent.evaluation.presets import Protocol, SharedLength
from tenpercent.evaluation.training import TrainingData, TrainingResult, course, train_once

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
CPU = torch.device("cpu")
QUICK = Protocol(Supervised(depth=8, epochs=3, batch=32, precision="float32"), evaluations=4)


class KilledError(Exception):
    """In the place of a kill."""


class Images:
    """Images in memory, in the place of `pixels.Pixels`; before the batch `stop_after` they break off."""

    noun = "image"

    def __init__(self, array: Bytes, stop_after: int | None = None) -> None:
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


def stripes(count: int, seed: int, side: int = 8) -> tuple[Bytes, Ints]:
    """Return noisy images with stripes along (0), across (1), or none (2)."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    array = random.integers(0, 120, (count, side, side, 3), dtype=np.uint8)
    array[labels == 0, ::2] += 100
    array[labels == 1, :, ::2] += 100
    return array, labels.astype(np.int64)


def data_of(count: int = 120, n_classes: int = 3, stop_after: int | None = None) -> TrainingData:
    array, labels = stripes(count, seed=0)
    test, test_labels = stripes(45, seed=1)
    return TrainingData(Images(array, stop_after), labels, Images(test), test_labels, n_classes)


def once(
    folder: Path, data: TrainingData | None = None, protocol: Protocol = QUICK, seed: int = 0
) -> TrainingResult:
    data = data or data_of()
    return train_once(data, protocol, np.arange(0, 120), seed, folder)


def weights(folder: Path) -> bytes:
    return (folder / "weights.safetensors").read_bytes()


# ---- what comes out ------------------------------------------------------------------------------------------------


def test_it_learns_and_says_how_well(tmp_path: Path) -> None:
    data = data_of()
    places = np.flatnonzero(np.arange(120) % 5 > 0)
    protocol = replace(QUICK, training=replace(QUICK.training, epochs=8))
    found = train_once(data, protocol, places, 3, tmp_path)
    assert found.accuracy > 0.9
    assert found.removed_accuracy is not None and found.removed_accuracy > 0.9
    assert found.top5 is None
    assert len(found.class_accuracy) == 3
    assert np.mean(found.class_accuracy) == pytest.approx(found.accuracy)  # 15 test images of each class
    assert found.best_accuracy == max(entry["test_accuracy"] for entry in found.curve)
    assert (found.accuracy, found.test_loss, found.loss) == tuple(
        found.curve[-1][name] for name in ("test_accuracy", "test_loss", "loss")
    )
    assert found.curve[-1]["loss"] < found.curve[0]["loss"]
    assert found.seconds == pytest.approx(sum(entry["seconds"] for entry in found.curve), abs=1e-3)


def test_the_outcome_is_what_the_stored_network_says(tmp_path: Path) -> None:
    data = data_of()
    places = np.arange(0, 90)
    found = train_once(data, QUICK, places, 0, tmp_path)
    labels = np.where(np.arange(120) < 90, data.labels, -1)
    evaluation = EvaluationPixels(data.test_pixels, data.test_labels, np.arange(45))
    planned = course(QUICK, 90, 120)
    trained = train(
        data.pixels,
        labels,
        3,
        replace(QUICK.training, seed=0),
        tmp_path,
        length=planned,
        evaluation=evaluation,
    )
    with torch.inference_mode():
        for pixels, answers, accuracy in (
            (data.test_pixels, data.test_labels, found.accuracy),
            (Images(data.pixels.array[90:]), data.labels[90:], found.removed_accuracy),  # type: ignore[attr-defined]
        ):
            images = next(iter(pixels.batches([np.arange(len(answers))])))
            logits = trained.network(trained.view.plain(images))
            assert (logits.argmax(1).numpy() == answers).mean() == pytest.approx(accuracy)


def test_without_removed_images_there_is_no_accuracy_on_them(tmp_path: Path) -> None:
    assert once(tmp_path).removed_accuracy is None


def test_a_class_without_test_images_has_no_accuracy(tmp_path: Path) -> None:
    full = data_of()
    some = full.test_labels != 1
    assert isinstance(full.test_pixels, Images)
    data = replace(full, test_pixels=Images(full.test_pixels.array[some]), test_labels=full.test_labels[some])
    found = once(tmp_path, data).class_accuracy
    assert np.isnan(found).tolist() == [False, True, False]


def test_above_ten_classes_the_five_best_guesses_count(tmp_path: Path) -> None:
    found = once(tmp_path, data_of(n_classes=11))
    assert found.top5 is not None and found.accuracy <= found.top5 <= 1
    assert once(tmp_path / "ten", data_of(n_classes=10)).top5 is None


class Fixed(nn.Module):
    """Gives for an image of grey value v the logits of row v of a table; of mirrored images those of row v + 1."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__()
        self.table = table

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        turned = (x[:, 0, 0, 0] != x[:, 0].amax((1, 2))).long()
        return self.table[x[:, 0].amax((1, 2)).long() + turned]


def predictions_on(
    table: torch.Tensor, labels: list[int], mirrored: bool = False
) -> tuple[float, float | None, float]:
    array = np.zeros((len(labels), 2, 2, 3), np.uint8)
    array[:, :, 0] = np.arange(len(labels))[:, None, None]  # so the mirror image is another one
    view = View((0.0,) * 3, (1.0,) * 3, (2, 2), 0)
    evaluation = EvaluationPixels(Images(array), np.array(labels), np.arange(len(labels)), mirrored)
    found = predict(Fixed(table), view, Choice(Precision.FLOAT32), CPU, evaluation)
    return found.accuracy, None if found.among_top is None else float(found.among_top.mean()), found.loss


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 13), st.lists(st.integers(0, 10**6), min_size=1, max_size=9), st.booleans())
def test_what_is_asked_is_counted_as_by_hand(n_classes: int, draws: list[int], mirrored: bool) -> None:
    labels = [draw % n_classes for draw in draws]
    table = torch.from_numpy(
        np.random.default_rng(draws[0]).normal(size=(len(labels) + 1, n_classes))
    ).float()
    rows = table[: len(labels)].clone()
    if mirrored:
        rows[1:] = (rows[1:] + table[2:]) / 2  # image 0 is black all over: its mirror image is itself
    accuracy, among, loss = predictions_on(table, labels, mirrored)
    order = rows.argsort(1, descending=True).tolist()
    assert accuracy == pytest.approx(
        np.mean([label == row[0] for label, row in zip(labels, order, strict=True)])
    )
    five = np.mean([label in row[:5] for label, row in zip(labels, order, strict=True)])
    assert among == (None if n_classes <= 10 else pytest.approx(five))
    assert loss == pytest.approx(float(cross_entropy(rows, torch.tensor(labels))), rel=1e-5)


# ---- by the seed alone, and resumed --------------------------------------------------------------------------------


def test_the_seed_alone_decides_the_weights(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(list(tmp_path.iterdir())))  # what the process has drawn before doesn't matter
        once(tmp_path / name, seed=seed)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_the_order_of_the_positions_does_not_matter(tmp_path: Path) -> None:
    train_once(data_of(), QUICK, np.arange(60), 0, tmp_path / "up")
    train_once(data_of(), QUICK, np.arange(60)[::-1], 0, tmp_path / "down")
    assert weights(tmp_path / "up") == weights(tmp_path / "down")


@pytest.mark.parametrize("save_after", [30.0, 0.0])  # at marks alone, and after every step
@pytest.mark.parametrize(
    "stop_after", [1, 2, 4, 7, 12]
)  # before the first step, in each epoch, before the last
def test_killed_at_any_step_it_ends_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int, save_after: float
) -> None:
    whole = once(tmp_path / "whole")
    monkeypatch.setattr(loop, "SAVE_AFTER", save_after)
    with pytest.raises(KilledError):
        once(tmp_path / "broken", data_of(stop_after=stop_after))
    rest = data_of()
    again = once(tmp_path / "broken", rest)
    assert weights(tmp_path / "whole") == weights(tmp_path / "broken")
    for name in ("accuracy", "loss", "test_loss", "class_accuracy", "steps"):
        assert getattr(again, name) == getattr(whole, name)
    for one, other in zip(whole.curve, again.curve, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert isinstance(rest.pixels, Images)
    repeated_from = 12 - len(rest.pixels.asked)
    done = stop_after - 1  # the first batch is of statistics
    assert repeated_from == (done if save_after == 0 else done // 3 * 3)


def test_a_finished_training_is_tested_again_not_repeated(tmp_path: Path) -> None:
    first = once(tmp_path)
    data = data_of()
    assert once(tmp_path, data) == first
    assert isinstance(data.pixels, Images) and data.pixels.asked == []


def test_a_loss_that_breaks_down_fails_in_one_line(tmp_path: Path) -> None:
    protocol = replace(QUICK, training=replace(QUICK.training, rate=1e30))
    with pytest.raises(TrainingFailedError, match=r"the loss became (nan|inf) .* lower rate") as caught:
        once(tmp_path, protocol=protocol)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_loss_that_breaks_down_between_marks_stops_at_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "SAVE_AFTER", 0.0)
    data = data_of()
    protocol = replace(QUICK, training=replace(QUICK.training, rate=1e30), evaluations=1)
    with pytest.raises(TrainingFailedError):
        once(tmp_path, data, protocol)
    assert isinstance(data.pixels, Images) and len(data.pixels.asked) < 12


# ---- how long ------------------------------------------------------------------------------------------------------


@given(
    st.integers(20, 5000),
    st.floats(0.05, 1.0),
    st.integers(2, 200),
    st.sampled_from(SharedLength),
    st.one_of(
        st.tuples(st.just("steps"), st.integers(1, 500)), st.tuples(st.just("epochs"), st.integers(1, 9))
    ),
    st.integers(1, 30),
)
def test_steps_or_epochs_are_the_same_for_every_size(
    n_full: int, fraction: float, batch: int, length: SharedLength, amount: tuple[str, int], evaluations: int
) -> None:
    n = max(4, round(fraction * n_full))
    protocol = Protocol(Supervised(batch=batch, **{amount[0]: amount[1]}), length, evaluations)  # type: ignore[arg-type]
    full, part = course(protocol, n_full, n_full), course(protocol, n, n_full)
    expected = amount[1] if amount[0] == "steps" else amount[1] * full.batches
    assert full.steps == expected
    if length is SharedLength.STEPS:
        assert part.steps == full.steps
    else:
        assert (
            abs(part.steps / part.batches - full.steps / full.batches) <= 0.5 / part.batches + 1e-9
            or part.steps == 1
        )
    for planned in (full, part):
        assert planned.marks[-1] == planned.steps
        assert len(planned.marks) == min(evaluations, planned.steps)
        gaps = np.diff([0, *planned.marks])
        assert gaps.min() >= 1 and gaps.max() - gaps.min() <= 1


def test_the_test_set_is_looked_at_where_it_was_planned(tmp_path: Path) -> None:
    data = data_of()
    protocol = replace(QUICK, training=replace(QUICK.training, epochs=None, steps=10), evaluations=3)
    found = once(tmp_path, data, protocol)
    assert [entry["step"] for entry in found.curve] == [4, 7, 10]
    assert [entry["epoch"] for entry in found.curve] == [1.0, 1.75, 2.5]
    assert (found.steps, found.epochs) == (10, 2.5)
    assert isinstance(data.test_pixels, Images) and len(data.test_pixels.asked) == 3


def test_evaluations_change_no_weights(tmp_path: Path) -> None:
    once(tmp_path / "few", protocol=replace(QUICK, evaluations=1))
    once(tmp_path / "many", protocol=replace(QUICK, evaluations=12))
    assert weights(tmp_path / "few") == weights(tmp_path / "many")


# ---- recipes -------------------------------------------------------------------------------------------------------


def test_schedules_at_known_points() -> None:
    drops = Recipe(schedule=Schedule.DROPS, warm_up=0.0, drops=(0.6, 0.8), drop_factor=0.1)
    rates = [learning_rate(step, 100, 1.0, drops) for step in (0, 59, 60, 79, 80, 99)]
    np.testing.assert_allclose(rates, [1, 1, 0.1, 0.1, 0.01, 0.01])
    line = Recipe(schedule=Schedule.LINEAR, warm_up=0.2)
    rates = [learning_rate(step, 100, 2.0, line) for step in (0, 9, 19, 20, 60, 99)]
    np.testing.assert_allclose(rates, [0.1, 1.0, 2.0, 2.0, 1.0, 0.025])
    paper = Recipe(warm_up=5_000 / 120_000)
    assert learning_rate(0, 120_000, 0.4, paper) == 0.4 / 5_000
    assert learning_rate(4_999, 120_000, 0.4, paper) == learning_rate(5_000, 120_000, 0.4, paper) == 0.4
    assert learning_rate(62_500, 120_000, 0.4, paper) == pytest.approx(0.2)


def test_images_are_smaller_in_the_first_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []

    def watched(inputs: torch.Tensor, step: int, job: TrainingJob) -> torch.Tensor:
        assert step == len(seen)
        out = shown(inputs, step, job)
        assert out.mean().item() == pytest.approx(inputs.mean().item(), abs=0.05)
        seen.append((out.shape[2], out.shape[3]))
        return out

    shown = loop._shown
    monkeypatch.setattr(loop, "_shown", watched)
    training = replace(QUICK.training, recipe=Recipe(small_steps=0.5, small_side=0.75))
    once(tmp_path, protocol=replace(QUICK, training=training))
    assert seen == [(6, 6)] * 6 + [(8, 8)] * 6
    assert shown_share(training.recipe) == (0.5 * 36 + 0.5 * 64) / 64
    assert shown_share(Recipe()) == 1


def test_class_weights_are_those_of_the_article() -> None:
    np.testing.assert_allclose(class_weights(np.array([0, 0, 0, 1, 3, 3]), 4), [6 / 12, 6 / 4, 0, 6 / 8])


@pytest.mark.parametrize(
    ("recipe", "weight"),
    [
        (Recipe(), None),
        (Recipe(smoothing=0.2), None),
        (Recipe(class_weights=True), [30 / (3 * 20), 30 / (3 * 5), 30 / (3 * 5)]),
    ],
)
def test_the_first_loss_is_the_one_of_the_recipe(
    tmp_path: Path, recipe: Recipe, weight: list[float] | None
) -> None:
    """With a rate of next to nothing and all images in one batch, the loss is that of the first weights."""
    array, _ = stripes(30, seed=0)
    labels = np.repeat([0, 1, 2], [20, 5, 5])
    data = TrainingData(Images(array), labels, Images(array), labels, 3)
    recipe = replace(recipe, flip=Flip.NONE, pad=0)
    training = Supervised(depth=8, steps=1, batch=30, rate=1e-30, precision="float32", recipe=recipe)
    found = train_once(data, Protocol(training), np.arange(30), 5, tmp_path)
    torch.manual_seed(5)
    network = build(None, 8, 3, (8, 8)).train()
    images = View.of(data.pixels).plain(next(data.pixels.batches([np.arange(30)])))
    given_weight = None if weight is None else torch.tensor(weight)
    smoothing = recipe.smoothing
    expected = cross_entropy(
        network(images), torch.from_numpy(labels), given_weight, label_smoothing=smoothing
    )
    assert found.loss == pytest.approx(expected.item(), rel=1e-4)


def seen_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flip: Flip
) -> list[tuple[Ints, npt.NDArray[np.bool_]]]:
    """Return for each step which images were trained on and which of them were mirrored."""
    seen: list[npt.NDArray[np.bool_]] = []
    varied = View.varied

    def noted(view: View, images: torch.Tensor, crops: loop.Crops) -> torch.Tensor:
        seen.append(crops.flip)
        return varied(view, images, crops)

    monkeypatch.setattr(View, "varied", noted)
    data = data_of()
    recipe = Recipe(flip=flip)
    once(tmp_path, data, replace(QUICK, training=replace(QUICK.training, recipe=recipe)))
    assert isinstance(data.pixels, Images)
    return list(zip(data.pixels.asked[1:], seen, strict=True))  # the first batch is of statistics


def test_flips_alternate_from_epoch_to_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = seen_by(tmp_path, monkeypatch, Flip.ALTERNATE)
    epochs = []
    for first in range(0, 12, 4):
        mirrored = np.zeros(120, np.bool_)
        for places, flips in steps[first : first + 4]:
            mirrored[places] = flips
        epochs.append(mirrored)
    np.testing.assert_array_equal(epochs[0], ~epochs[1])
    np.testing.assert_array_equal(epochs[0], epochs[2])
    assert 30 < epochs[0].sum() < 90


def test_no_image_is_mirrored_where_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(flips.any() for _, flips in seen_by(tmp_path, monkeypatch, Flip.NONE))


def test_statistics_are_of_the_images_trained_on_or_imagenets(tmp_path: Path) -> None:
    data = data_of()
    assert isinstance(data.pixels, Images)
    train_once(data, QUICK, np.arange(60), 0, tmp_path / "own")
    np.testing.assert_array_equal(data.pixels.asked[0], np.arange(60))
    recipe = Recipe(statistics=Statistics.IMAGENET, pad=3)
    view = View.of(data.pixels, recipe)
    assert ((view.mean, view.std), view.pad) == (IMAGENET, 3)
    np.testing.assert_allclose(np.array(IMAGENET[0]) / 255, [0.485, 0.456, 0.406])
    np.testing.assert_allclose(np.array(IMAGENET[1]) / 255, [0.229, 0.224, 0.225])


def test_biases_take_a_rate_of_their_own_and_no_decay() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    network[0].bias.requires_grad_(False)
    recipe = Recipe(bias_rate=64.0, bias_decay=False, nesterov=True)
    optimizer, factors = make_optimizer(network, Supervised(recipe=recipe, weight_decay=0.3))
    decays = [
        (group["weight_decay"], group["nesterov"], len(group["params"])) for group in optimizer.param_groups
    ]
    assert decays == [(0.3, True, 1), (0.0, True, 2)]
    assert factors == [1.0, 64.0]


# ---- networks ------------------------------------------------------------------------------------------------------


def test_the_first_layer_of_fast_whitens_the_images_it_is_given() -> None:
    random = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.8, 0.6], [0.0, 0.7, 0.5], [0.0, 0.0, 0.3]])
    images = torch.einsum("khwc,cd->kdhw", torch.randn(40, 17, 16, 3, generator=random), mixing)
    network = FastNetwork(4)
    network.whiten(images)
    with torch.no_grad():
        out = network.whitening(images)
    flat = out[:, :12].permute(0, 2, 3, 1).reshape(-1, 12)
    np.testing.assert_allclose((flat.T @ flat / len(flat)).numpy(), np.eye(12), atol=0.1)
    torch.testing.assert_close(out[:, 12:], -out[:, :12])
    assert {name: found.shape[1] for name, found in network.features(images).items()} == network.widths


@pytest.mark.parametrize("tint", [0.0, 1e-4, 1e-3, 1e-2, 0.1])
def test_whitened_grey_images_have_no_output_of_rounding_errors(tint: float) -> None:
    random = torch.Generator().manual_seed(0)
    grey = avg_pool2d(torch.randn(40, 1, 34, 32, generator=random), 2).expand(-1, 3, -1, -1)
    images = grey + tint * torch.randn(40, 3, 17, 16, generator=random)
    network = FastNetwork(4)
    network.whiten(images)
    with torch.no_grad():
        out = network.whitening(images)
    assert float(out.square().mean((0, 2, 3)).min()) > 0.05
    torch.testing.assert_close(out[:, 12:], -out[:, :12])


def test_whitened_images_of_one_colour_are_finite() -> None:
    network = FastNetwork(4)
    network.whiten(torch.zeros(40, 3, 17, 16))
    assert network.whitening.weight.isfinite().all()


def test_fast_is_trained_all_but_its_first_layer_and_embeds(tmp_path: Path) -> None:
    array, labels = stripes(48, seed=0, side=16)
    data = TrainingData(Images(array), labels, Images(array), labels, 3)
    training = Supervised(
        network="fast", steps=12, batch=16, precision="float32", recipe=Recipe(smoothing=0.1)
    )
    found = train_once(data, Protocol(training, evaluations=2), np.arange(48), 0, tmp_path / "once")
    assert found.accuracy > 0.8
    trained = train(data.pixels, labels, 3, training, tmp_path / "embedding")
    fresh = FastNetwork(3)
    fresh.whiten(trained.view.plain(next(data.pixels.batches([np.arange(48)]))))
    assert isinstance(trained.network, FastNetwork)
    torch.testing.assert_close(trained.network.whitening.weight, fresh.whitening.weight)
    vectors = NetworkEncoder(trained).encode(next(data.pixels.batches([np.arange(48)])))
    assert {layer: found.shape for layer, found in vectors.items()} == {
        "start": (48, 24),
        "middle": (48, 128),
        "end": (48, 256),
    }


@pytest.mark.parametrize(("side", "memory", "count"), [(8, 64, 5), (8, 5, 2), (8, 1, 1), (40, 64, 1)])
def test_as_many_at_once_as_processors_and_memory_hold(
    side: int, memory: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    array, labels = stripes(12, 0, side)
    data = TrainingData(Images(array), labels, Images(array), labels, 3)
    monkeypatch.setattr(training.os, "sched_getaffinity", lambda _: set(range(5)), raising=False)
    monkeypatch.setattr(training.psutil, "virtual_memory", lambda: SimpleNamespace(total=memory << 30))
    assert training.at_once(data.pixels.size, len(data.pixels), QUICK) == count


def linear(n_classes: int) -> nn.Module:
    """A network of a module's own, found by its name."""
    return nn.Sequential(nn.Flatten(), nn.Linear(8 * 8 * 3, n_classes))


def nothing(n_classes: int) -> int:
    """No network."""
    return n_classes


def test_a_function_makes_the_network(tmp_path: Path) -> None:
    training = replace(QUICK.training, network=linear)
    assert training.network == f"{__name__}:linear"
    assert once(tmp_path, protocol=replace(QUICK, training=training)).accuracy > 0.5


def test_a_function_may_lie_in_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_network.py").write_text("from torch import nn\nmade = lambda n: nn.Linear(4, n)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    before = list(sys.path)
    assert build("own_network:made", 32, 3, (8, 8)).out_features == 3
    (tmp_path / "broken_network.py").write_text("def made(n):\n    return torch.nn.Linear(4, n\n")
    with pytest.raises(UsageError, match=r"broken_network:made\(3\) failed \(SyntaxError"):
        build("broken_network:made", 32, 3, (8, 8))
    assert sys.path == before


def test_networks_that_do_not_serve() -> None:
    with pytest.raises(UsageError, match=r"8 × 8 pixels and the network fast takes 16 to 64"):
        build("fast", 32, 3, (8, 8))
    with pytest.raises(UsageError, match="there is no function 'os:no_such'"):
        build("os:no_such", 32, 3, (8, 8))
    with pytest.raises(UsageError, match=r"os:path\(3\) failed \(TypeError: 'module' object is not callable"):
        build("os:path", 32, 3, (8, 8))
    with pytest.raises(UsageError, match="returned int for 3 classes"):
        build(f"{__name__}:nothing", 32, 3, (8, 8))
    with pytest.raises(UsageError, match=r"network linear fails .* 9 × 9 pixels, not \(2, 3\) logits"):
        check_fit(linear(3), "linear", 3, (9, 9))
    with pytest.raises(UsageError, match=r"network linear returns \(2, 4\)"):
        check_fit(linear(4), "linear", 3, (8, 8))


def test_a_plain_resnet_of_timm_has_the_three_layers() -> None:
    network = build("resnet18", 32, 4, (28, 28)).eval()
    images = torch.randn(1, 3, 28, 28)
    with torch.no_grad():
        layers = network.features(images)  # type: ignore[operator]
        torch.testing.assert_close(network.body.get_classifier()(layers["end"]), network(images))  # type: ignore[union-attr, operator]
    assert {name: found.shape[1] for name, found in layers.items()} == network.widths


# ---- what is refused -----------------------------------------------------------------------------------------------


def test_test_sets_that_do_not_fit() -> None:
    array, labels = stripes(30, seed=0)
    larger, _ = stripes(30, seed=0, side=10)
    cases = {
        r"test images are 10 × 10 pixels and the training images 8 × 8": (larger, labels, 3),
        r"test set has class code 2 and the training data 2 classes": (array, labels, 2),
        r"10 test images have no label": (array, np.where(labels == 2, -1, labels), 3),
        r"30 test images and 29 labels": (array, labels[:29], 3),
        r"there are no test images": (array[:0], labels[:0], 3),
    }
    for said, (test, test_labels, n_classes) in cases.items():
        train_labels = np.minimum(labels, n_classes - 1)
        with pytest.raises(UsageError, match=said):
            TrainingData(Images(array), train_labels, Images(test), test_labels, n_classes)


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ([0, 1, 120], "a position is 120"),
        ([-1, 1], "below 0"),
        ([4, 4, 5], "1 positions are there twice"),
        ([0, 3, 6], "3 images to train on have 1 class;"),
        ([], "0 images to train on have 0 classes"),
        ([0, 1, 2, 119], "1 of the images to train on have no label"),
    ],
)
def test_positions_that_do_not_serve(tmp_path: Path, places: list[int], said: str) -> None:
    data = data_of()
    data.labels[119] = -1
    with pytest.raises(UsageError, match=said):
        train_once(data, QUICK, np.array(places, np.int64), 0, tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_curve_of_an_embedding_is_what_it_was(tmp_path: Path) -> None:
    data = data_of()
    train(data.pixels, data.labels, 3, QUICK.training, tmp_path)
    curve = json.loads((tmp_path / "curve.json").read_text())
    assert [list(entry) for entry in curve] == [["epoch", "loss", "accuracy", "rate", "seconds"]] * 3
    assert [entry["epoch"] for entry in curve] == [1, 2, 3]
