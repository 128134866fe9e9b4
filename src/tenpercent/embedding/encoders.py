"""Encoders, which turn images into vectors: a trained network, a model of timm, any torch module or any function."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeGuard

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from ..data.sources.source import ImageSource
from ..errors import TenpercentError, UsageError, one_line, require
from .networks import Layered, Unlabelled
from .pixels import Scan
from .precision import Choice, float32_unless_set
from .processes import devices_for
from .selfsupervised import train_unlabelled
from .settings import SMALL, Pretrained, SelfSupervised, Settings, Supervised, Timm
from .training import Trained, train
from .weights import data_config, model_view, timm_model

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
TorchEmbedder = Supervised | SelfSupervised | Timm | nn.Module | Callable[[Any], Any]
Embedder = Pretrained | TorchEmbedder


class Encoder(Protocol):
    """Encoder of batches of images.

    Attributes:
        layers: the names of the layers that `encode` returns.
        batch: images per call; part of the result, as the last bits may depend on it.
        transform: image uint8[h, w, 3] at its own size -> an item of the list that `encode` takes; None for an encoder
            that takes the pixels at one size (`pixels.scan`), uint8[k, 3, h, w], channels last in memory.
    """

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def batch(self) -> int: ...

    @property
    def transform(self) -> Callable[[Bytes], Any] | None: ...

    def encode(self, images: Any) -> dict[str, Floats]:
        """Return the vectors of each layer, float32[k, d]."""
        ...


class NetworkEncoder:
    """Encoder by a network trained on the images.

    It gets the same input as in training, without random augmentation: the centre of the pixels, normalised. A network
    trained from scratch gives its three layers, each pooled over space; a fine-tuned model of timm its pooled features;
    one trained without labels a last layer of the requested width.
    """

    transform = None

    def __init__(self, trained: Trained) -> None:
        network = trained.network.to(trained.device).to(memory_format=trained.choice.layout).eval()
        self._trained = trained
        self._features: Callable[[torch.Tensor], dict[str, torch.Tensor]]
        if isinstance(network, Layered | Unlabelled):
            self._features = network.features
            self.layers: tuple[str, ...] = tuple(network.widths)
        else:
            self._features, self.layers = partial(_before_classifier, network), ("end",)
        seen = trained.view.resize or trained.view.crop
        self.batch = 256 if max(seen) <= SMALL else 32

    def encode(self, images: torch.Tensor) -> dict[str, Floats]:
        """Return the vectors of each layer, float32[k, d], of uint8[k, 3, h, w]."""
        trained = self._trained
        with torch.inference_mode():
            plain = trained.view.plain(images.to(trained.device))
            with trained.choice.autocast(trained.device):
                found = self._features(plain.contiguous(memory_format=trained.choice.layout))
            return {layer: as_vectors(found[layer]) for layer in self.layers}


class TimmEncoder:
    """Encoder by a model of timm without its classifier, with the model's own evaluation transforms.

    The vectors are the model's output with ``num_classes=0``: the pooled features before the classifier.
    """

    layers = ("end",)
    batch = 64

    def __init__(self, model: nn.Module, choice: Choice, device: torch.device) -> None:
        transforms = require("timm.data", "images")
        self._transform = transforms.create_transform(**data_config(model), is_training=False)
        self._model = model.to(device).to(memory_format=choice.layout).eval()
        self.choice, self._device = choice, device

    def transform(self, image: Bytes) -> torch.Tensor:
        """Return float32[3, h, w], resized, cropped and normalised as in the model's training."""
        tensor: torch.Tensor = self._transform(Image.fromarray(image))
        return tensor

    def encode(self, images: list[torch.Tensor]) -> dict[str, Floats]:
        """Return ``end``, float32[k, d], of transformed images."""
        batch = torch.stack(images).to(self._device, memory_format=self.choice.layout)
        with torch.inference_mode(), self.choice.autocast(self._device):
            return {"end": as_vectors(self._model(batch))}


class ModuleEncoder:
    """Encoder by any torch module, on its own device and in evaluation mode.

    It gets float32[k, 3, h, w] with values from 0 to 1, RGB, all images at one size (`pixels.scan`), not normalised;
    its output, [k, d] or [k, d, 1, 1], are the vectors.
    """

    layers = ("end",)
    batch = 64
    transform = None

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        weights = next(module.parameters(), None)
        self._device = torch.device("cpu") if weights is None else weights.device

    def encode(self, images: torch.Tensor) -> dict[str, Floats]:
        """Return ``end``, float32[k, d], of uint8[k, 3, h, w]."""
        with evaluating(self._module), torch.inference_mode():
            return {"end": as_vectors(self._module(images.to(self._device).float() / 255))}


class FunctionEncoder:
    """Encoder by any function from a batch of images to vectors.

    It gets uint8[k, h, w, 3] where all images of the source have one size, else a list of k arrays uint8[h, w, 3];
    its result, an array or tensor [k, d], are the vectors.
    """

    layers = ("end",)
    batch = 64

    def __init__(self, function: Callable[[Any], Any], alike: bool) -> None:
        self._function, self._alike = function, alike

    def transform(self, image: Bytes) -> Bytes:
        """Return the image unchanged."""
        return image

    def encode(self, images: list[Bytes]) -> dict[str, Floats]:
        """Return ``end``, float32[k, d]."""
        return {"end": as_vectors(self._function(np.stack(images) if self._alike else images))}


def as_vectors(found: Any) -> Floats:
    """Return the result of an encoder as float32[k, d].

    Raises:
        TenpercentError: it is not a matrix of real numbers.
    """
    try:
        array = found.detach().float().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    except (TypeError, ValueError, RuntimeError) as error:  # ragged rows, tensors on a GPU
        raise TenpercentError(
            f"the embedder's output is not an array ({one_line(error, 200)}); it must return real "
            "vectors [k, d], one row per image"
        ) from error
    if array.ndim > 2 and array.size == array.shape[0] * array.shape[1]:
        array = array.reshape(array.shape[:2])  # [k, d, 1, 1], as returned by average pooling
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise TenpercentError(
            f"the embedder returned an array of shape {array.shape} and dtype {array.dtype}; "
            "it must return real vectors [k, d], one row per image"
        )
    return array.astype(np.float32, copy=False)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Hold `module` in evaluation mode, and restore the mode of every part of it."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def is_trained(embedder: Embedder) -> TypeGuard[Settings]:
    """Return whether an embedder is trained on the images before it gives vectors."""
    return isinstance(embedder, SelfSupervised) or needs_labels(embedder)


def needs_labels(embedder: Embedder) -> bool:
    """Return whether an embedder is trained on the images' labels before it gives vectors."""
    return isinstance(embedder, Supervised) or (isinstance(embedder, Timm) and embedder.finetune)


def side_of(embedder: Embedder) -> int | None:
    """Return the shorter side in pixels that large images are scaled to; None for that of `pixels.scan`."""
    return embedder.side if isinstance(embedder, Supervised | SelfSupervised) else None


def trained_encoder(
    embedder: Settings, found: Scan, source: ImageSource, folder: Path
) -> tuple[Encoder, dict[str, Any]]:
    """Train an embedder on the images, or resume that, and return its encoder.

    Args:
        embedder: the network, from scratch or from a model of timm.
        found: the readable images.
        source: the source of the images; it has labels, unless `embedder` does without.
        folder: the folder of the training run.

    Returns:
        The encoder, and the facts of the training run for ``run.json``.
    """
    if isinstance(embedder, SelfSupervised):
        trained = train_unlabelled(found.pixels, embedder, folder)
        return NetworkEncoder(trained), trained.facts
    assert source.labels is not None
    classes = len(source.class_names)
    start = None
    if isinstance(embedder, Timm):
        model = timm_model(embedder, classes)
        start = model, model_view(model, found.pixels)
    trained = train(found.pixels, source.labels[found.rows], classes, embedder, folder, start)
    return NetworkEncoder(trained), trained.facts


def ready_encoder(embedder: Embedder, alike: bool, choice: Choice | None) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder of an embedder that needs no training.

    Args:
        embedder: the requested embedder.
        alike: whether all images have one size.
        choice: the precision of the run that is resumed; None for that of the embedder, float32 for ``auto``.

    Returns:
        The encoder, and its facts for ``run.json``.
    """
    if isinstance(embedder, Timm):
        choice = choice or float32_unless_set(embedder.precision)
        facts = {
            "network": embedder.name,
            "precision": str(choice.precision),
            "channels_last": choice.channels_last,
        }
        return TimmEncoder(timm_model(embedder), choice, devices_for(1).first), facts
    if isinstance(embedder, nn.Module):
        return ModuleEncoder(embedder), {"network": type(embedder).__qualname__}
    assert callable(embedder)
    name = getattr(embedder, "__qualname__", type(embedder).__qualname__)
    return FunctionEncoder(embedder, alike), {"network": name}


def embedder_json(embedder: Embedder) -> dict[str, Any]:
    """Return the identity of an embedder, as a run folder stores it.

    A module is identified by its class and a hash of its weights. A function is identified by its qualified name only:
    its closure can't be seen, so choose another run folder after changing that.

    Raises:
        UsageError: it is not an embedder, or the file of its weights can't be read.
    """
    if isinstance(embedder, Settings):
        return embedder.as_json()
    kind = type(embedder)
    if isinstance(embedder, nn.Module):
        name = f"{kind.__module__}.{kind.__qualname__}"
        return {"embedder": "module", "class": name, "weights_hash": state_hash(embedder)}
    if callable(embedder):
        name = getattr(embedder, "__qualname__", kind.__qualname__)
        return {
            "embedder": "function",
            "function": f"{getattr(embedder, '__module__', kind.__module__)}.{name}",
        }
    raise UsageError(
        f"the embedder is {embedder!r}; it must be Pretrained(), Supervised(…), SelfSupervised(…), Timm(…), the "
        "name of one, a torch module or a function"
    )


def state_hash(module: nn.Module) -> str:
    """Return a hash of a module's parameters and buffers, 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(flat.tobytes())
    return digest.hexdigest()


def _before_classifier(model: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"end": model.forward_head(model.forward_features(images), pre_logits=True)}
