"""What turns images into vectors: a trained network, a model of timm, any torch module or any function."""

from __future__ import annotations

import hashlib
import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from ..errors import TenpercentError, UsageError, nearest, require
from ..images.source import ImageSource
from .pixels import Scan
from .settings import Supervised, Timm

timm = require("timm", "images")
log = logging.getLogger("tenpercent")

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Embedder = Supervised | Timm | nn.Module | Callable[[Any], Any]


class Encoder(Protocol):
    """Vectors from a batch of images.

    Attributes:
        layers: the names of the layers `encode` gives.
        batch: how many images at a time; part of the result, as the last bits may depend on it.
        transform: image uint8[h, w, 3] at its own size -> what `encode` takes a list of; None for an encoder that
            takes the pixels at one size (`pixels.scan`), uint8[k, 3, h, w], channels last in memory.
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


class TimmEncoder:
    """A model of timm without its classifier, fed through the model's own evaluation transforms.

    The vectors are what the model gives with ``num_classes=0``: the pooled features before the classifier.
    """

    layers = ("end",)
    batch = 64

    def __init__(self, model: nn.Module, device: torch.device, bfloat16: bool = False) -> None:
        config = timm.data.resolve_data_config({}, model=model)
        self._transform = timm.data.create_transform(**config, is_training=False)
        self._model = model.to(device).to(memory_format=torch.channels_last).eval()
        self._device, self._bfloat16 = device, bfloat16

    def transform(self, image: Bytes) -> torch.Tensor:
        """Return float32[3, h, w], resized, cut and normalised as the model was trained for."""
        tensor: torch.Tensor = self._transform(Image.fromarray(image))
        return tensor

    def encode(self, images: list[torch.Tensor]) -> dict[str, Floats]:
        """Return ``end``, float32[k, d], of transformed images."""
        batch = torch.stack(images).to(self._device, memory_format=torch.channels_last)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, torch.bfloat16, enabled=self._bfloat16),
        ):
            return {"end": as_vectors(self._model(batch))}


class ModuleEncoder:
    """Any torch module, on the device where it lies and in evaluation mode.

    It gets float32[k, 3, h, w] with values from 0 to 1, RGB, all images at one size (`pixels.scan`), without any
    normalisation; what it returns, [k, d] or [k, d, 1, 1], are the vectors.
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
    """Any function from a batch of images to vectors.

    It gets uint8[k, h, w, 3] where all images of the source have one size, else a list of k arrays uint8[h, w, 3];
    what it returns, an array or tensor [k, d], are the vectors.
    """

    layers = ("end",)
    batch = 64

    def __init__(self, function: Callable[[Any], Any], alike: bool) -> None:
        self._function, self._alike = function, alike

    def transform(self, image: Bytes) -> Bytes:
        """Return the image as it is."""
        return image

    def encode(self, images: list[Bytes]) -> dict[str, Floats]:
        """Return ``end``, float32[k, d]."""
        return {"end": as_vectors(self._function(np.stack(images) if self._alike else images))}


def as_vectors(found: Any) -> Floats:
    """Return what an encoder gave as float32[k, d].

    Raises:
        TenpercentError: it is no matrix of real numbers.
    """
    array = found.detach().float().cpu().numpy() if isinstance(found, torch.Tensor) else np.asarray(found)
    if array.ndim > 2 and array.size == array.shape[0] * array.shape[1]:
        array = array.reshape(array.shape[:2])  # [k, d, 1, 1], as an average pooling leaves it
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise TenpercentError(
            f"the embedder gave an array of shape {array.shape} and dtype {array.dtype}; "
            "it must give real vectors [k, d], one row an image"
        )
    return array.astype(np.float32, copy=False)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Hold `module` in evaluation mode, and leave every part of it as it was."""
    before = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def is_trained(embedder: Embedder) -> bool:
    """Return whether an embedder is trained on the images' labels before it gives vectors."""
    return isinstance(embedder, Supervised) or (isinstance(embedder, Timm) and embedder.finetune)


def encoder_for(
    embedder: Embedder, found: Scan, source: ImageSource, folder: Path
) -> tuple[Encoder, dict[str, Any]]:
    """Return the encoder of an embedder, trained first where it is to be trained.

    Args:
        embedder: what the caller asked for.
        found: the images.
        source: where they come from, for their labels.
        folder: of the training.

    Returns:
        The encoder, and what there is to say about it for ``run.json``.
    """
    if isinstance(embedder, Timm):
        return TimmEncoder(timm_model(embedder), torch.device("cpu")), {"network": embedder.name}
    if isinstance(embedder, nn.Module):
        return ModuleEncoder(embedder), {"network": type(embedder).__qualname__}
    if callable(embedder):
        return FunctionEncoder(embedder, found.alike), {
            "network": getattr(embedder, "__qualname__", "function")
        }
    raise NotImplementedError


def embedder_json(embedder: Embedder) -> dict[str, Any]:
    """Return what tells one embedder from another, as a run folder keeps it.

    A module is known by its class and a hash of its weights. A function is known by its qualified name only: what it
    closes over can't be seen, so choose another run folder after changing that.

    Raises:
        UsageError: it is no embedder, or the file of its weights can't be read.
    """
    if isinstance(embedder, Supervised | Timm):
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
        f"the embedder is {embedder!r}; it must be Supervised(…), Timm(…), a torch module or a function"
    )


def state_hash(module: nn.Module) -> str:
    """Return 16 hexadecimal digits that stand for a module's parameters and buffers."""
    digest = hashlib.blake2b(digest_size=8)
    for name, value in module.state_dict().items():
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(flat.tobytes())
    return digest.hexdigest()


def timm_model(settings: Timm, n_classes: int = 0) -> nn.Module:
    """Build a model of timm with its weights.

    Args:
        settings: its name and, if local, the file of its weights.
        n_classes: outputs of a new classifier for fine-tuning; 0 for none.

    Raises:
        UsageError: timm knows no such model, its weights can't be fetched, or the file doesn't fit the model.
    """
    name = settings.name
    if not timm.is_model(name):
        raise UsageError(f"timm has no model {name!r}{nearest(name, timm.list_models())}")
    if settings.weights is not None:
        model: nn.Module = timm.create_model(name, pretrained=False, num_classes=n_classes)
        load_weights(model, settings.weights)
        return model
    try:
        model = timm.create_model(name, pretrained=True, num_classes=n_classes)
    except Exception as error:  # the hub raises many kinds: no such weights, no network, no access
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"the weights of {name} can't be fetched ({first}); name a local file with --weights FILE"
        ) from error
    return model


def load_weights(model: nn.Module, path: Path) -> None:
    """Load the weights of a local file, safetensors or a state dict, into a model of timm.

    Only the classifier may differ: the file's is left out, and said so, where the model has none or another.

    Raises:
        UsageError: the file can't be read, or its weights are not those of this model.
    """
    state = read_weights(path)
    wanted = model.state_dict()
    head = _head(model)
    fits = {key: value for key, value in state.items() if key in wanted and wanted[key].shape == value.shape}
    other = [key for key in state if key not in fits]
    missing = [key for key in wanted if key not in fits]
    strange = [key for key in (*other, *missing) if not key.startswith(head)]
    if strange or not fits:
        raise UsageError(
            f"{path} doesn't hold the weights of this model: {len(strange)} of its {len(wanted)} keys are missing, "
            f"unexpected or of another shape ({', '.join(strange[:3])}); name the model it was saved from"
        )
    if other:
        log.info("%s: left out its classifier (%s)", path, ", ".join(other))
    model.load_state_dict(fits, strict=False)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Return the state dict of a local file; nothing in it is ever executed (``weights_only``).

    Raises:
        UsageError: it can't be read or holds something else.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError
            from safetensors.torch import load_file

            try:
                return load_file(path)
            except SafetensorError as error:
                raise ValueError(str(error)) from None
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageError(
            f"can't read the weights {path} ({first}); name a safetensors or state-dict file"
        ) from None
    for key in ("state_dict", "model"):  # as training scripts wrap it
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise UsageError(
            f"{path} holds no state dict (names and tensors); save one with torch.save(model.state_dict())"
        )
    return {str(key).removeprefix("module."): value for key, value in found.items()}


def _head(model: nn.Module) -> tuple[str, ...]:
    """Return how the names of a timm model's classifier begin."""
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return tuple(f"{name}." for name in ([names] if isinstance(names, str) else names))
