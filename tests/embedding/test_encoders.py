"""Every kind of embedder gets what its documentation says and gives float32 vectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn

from tenpercent.embedding.encoders import (
    FunctionEncoder,
    ModuleEncoder,
    TimmEncoder,
    as_vectors,
    embedder_json,
    evaluating,
    state_hash,
)
from tenpercent.embedding.precision import Choice
from tenpercent.embedding.settings import Precision, Supervised, Timm
from tenpercent.embedding.weights import timm_model
from tenpercent.errors import TenpercentError, UsageError

MODEL = "test_resnet"
CPU = torch.device("cpu")


def noise(size: tuple[int, int], seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(1)
    made: nn.Module = timm.create_model(MODEL, pretrained=False)
    return made.eval()


@pytest.fixture(params=["model.safetensors", "model.pt", "wrapped.pth"])
def weights(request: pytest.FixtureRequest, tmp_path: Path, model: nn.Module) -> Path:
    path = tmp_path / request.param
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(model.state_dict(), path)
    elif path.stem == "wrapped":
        torch.save(
            {"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}, "epoch": 3}, path
        )
    else:
        torch.save(model.state_dict(), path)
    return path


def test_timm_gives_the_models_features_through_its_own_transforms(weights: Path, model: nn.Module) -> None:
    encoder = TimmEncoder(timm_model(Timm(MODEL, weights)), Choice(Precision.FLOAT32), CPU)
    images = [noise((200, 170), 1), noise((50, 60), 2)]
    found = encoder.encode([encoder.transform(image) for image in images])["end"]
    config = timm.data.resolve_data_config({}, model=model)
    transform = timm.data.create_transform(**config)
    batch = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.inference_mode():
        expected = model.forward_head(model.forward_features(batch), pre_logits=True)  # type: ignore[operator]
    assert found.dtype == np.float32 and found.shape == (2, model.num_features)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-6)


def test_timm_is_loaded_for_its_models_only() -> None:
    code = "import sys, tenpercent.embedding.extract, tenpercent.embedding.estimate; print('timm' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "False"


def test_the_classifier_left_out_is_said(
    tmp_path: Path, model: nn.Module, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(model.state_dict(), tmp_path / "model.pt")
    with caplog.at_level("INFO", "tenpercent"):
        timm_model(Timm(MODEL, tmp_path / "model.pt"))
    assert "fc.weight" in caplog.text


def test_a_new_classifier_takes_the_place_of_the_files(tmp_path: Path, model: nn.Module) -> None:
    torch.save(model.state_dict(), tmp_path / "model.pt")
    made = timm_model(Timm(MODEL, tmp_path / "model.pt"), n_classes=3)
    assert made.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


@pytest.mark.parametrize("change", ["missing", "unexpected", "shape", "other"])
def test_weights_of_another_model_are_refused(tmp_path: Path, model: nn.Module, change: str) -> None:
    state: dict[str, Any] = dict(model.state_dict())
    first = next(iter(state))
    if change == "missing":
        del state[first]
    elif change == "unexpected":
        first = "extra.weight"
        state[first] = torch.zeros(2)
    elif change == "shape":
        state[first] = torch.zeros(2)
    else:
        state, first = {"some.weight": torch.zeros(2)}, "some.weight"
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(UsageError, match=first):
        timm_model(Timm(MODEL, tmp_path / "model.pt"))


def test_files_that_are_no_weights_are_refused_and_never_executed(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "executed",)

    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "bytes.pt").write_bytes(bytes(range(256)))
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("evil.pt", "text.pt", "bytes.pt", "empty.pt", "text.safetensors", "list.pt", "absent.pt"):
        with pytest.raises(UsageError, match=name) as caught:
            timm_model(Timm(MODEL, tmp_path / name))
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_an_unknown_model_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"no model 'resnet51'.*did you mean.*resnet50"):
        timm_model(Timm("resnet51"))


def test_a_module_gets_floats_from_0_to_1_in_evaluation_mode_and_stays_as_it_was() -> None:
    class Watch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training and not self.norm.training
            assert x.dtype == torch.float32 and 0 <= float(x.min()) < 0.1 and 0.9 < float(x.max()) <= 1
            return self.norm(x).mean((2, 3), keepdim=True)  # type: ignore[no-any-return]

    module = Watch().train()
    module.norm.eval()
    before = state_hash(module)
    images = torch.from_numpy(np.stack([noise((9, 7), seed) for seed in range(4)])).permute(0, 3, 1, 2)
    found = ModuleEncoder(module).encode(images)["end"]
    assert found.shape == (4, 3) and found.dtype == np.float32
    assert module.training and not module.norm.training and state_hash(module) == before


def test_a_failing_module_stays_as_it_was() -> None:
    module = nn.Sequential(nn.BatchNorm2d(3)).train()
    with pytest.raises(KeyError), evaluating(module):
        raise KeyError
    assert module.training and module[0].training


def test_a_function_gets_one_array_or_a_list() -> None:
    seen: list[Any] = []

    def function(images: Any) -> list[list[int]]:
        seen.append(images)
        return [[1, 2] for _ in images]

    images = [noise((4, 5), seed) for seed in range(3)]
    assert FunctionEncoder(function, alike=True).encode(images)["end"].dtype == np.float32
    assert seen[0].shape == (3, 4, 5, 3) and seen[0].dtype == np.uint8
    FunctionEncoder(function, alike=False).encode(images)
    assert isinstance(seen[1], list) and seen[1][0].shape == (4, 5, 3)


@pytest.mark.parametrize(
    "found",
    [np.ones(3), np.ones((3, 2, 2)), np.array([["a"]]), np.ones((2, 2), complex), None, [[1.0], [1.0, 2.0]]],
)
def test_what_is_no_matrix_of_real_numbers_is_refused(found: Any) -> None:
    with pytest.raises(TenpercentError, match="real vectors"):
        as_vectors(found)


def test_as_vectors_takes_tensors_of_any_precision() -> None:
    np.testing.assert_array_equal(as_vectors(torch.ones(2, 3, 1, 1, dtype=torch.bfloat16)), np.ones((2, 3)))


def test_embedders_are_told_apart() -> None:
    def function(images: Any) -> Any:
        return images

    torch.manual_seed(0)
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    known = [embedder_json(one) for one in (Supervised(), Supervised(seed=1), Timm("a"), a, b, function, len)]
    assert all(one != other for i, one in enumerate(known) for other in known[:i])
    assert embedder_json(a) == embedder_json(a) and "function" in known[5]["function"]
