"""Networks of the paper: pre-activation ResNets, with the three layers that embeddings are taken from.

He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks", ECCV 2016: the 6n+2-layer network of its CIFAR
experiments for small images, timm's ``resnetv2_*`` for larger ones. Both are trained from random weights, as is any
other network that `build` is given by name.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn
from torch.nn.functional import relu

from ..errors import UsageError, nearest, one_line, require
from .fast import LEAST, FastNetwork
from .settings import FAST_WIDTHS, SMALL

LARGE_NETWORK = "resnetv2_50"
WIDTHS = (16, 32, 64)
HIDDEN = 256  # values between the vectors of an unlabelled network and the input of its loss

Size = tuple[int, int]  # height, width


class Block(nn.Module):
    """Two 3×3 convolutions, each after batch normalisation and ReLU; the skip connection stays untouched."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(width_in, width, 1, stride, bias=False) if width_in != width else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return float[k, width, h/stride, w/stride] for float[k, width_in, h, w]."""
        active = relu(self.norm1(x), inplace=True)
        short = x if self.shortcut is None else self.shortcut(active)
        out: torch.Tensor = self.conv2(relu(self.norm2(self.conv1(active)), inplace=True))
        return out + short


class ResNet(nn.Module):
    """6n+2-layer pre-activation network, widths 16-32-64.

    Attributes:
        depth: number of layers.
        widths: the number of values of each layer of `features`.
    """

    def __init__(self, depth: int, n_classes: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.depth = depth
        self.widths = {"start": WIDTHS[0], "middle": WIDTHS[1], "end": WIDTHS[2]}
        self.stem = nn.Conv2d(3, WIDTHS[0], 3, 1, 1, bias=False)
        self.stages = nn.ModuleList(
            nn.Sequential(
                Block(WIDTHS[max(stage - 1, 0)], width, 2 if stage else 1),
                *(Block(width, width, 1) for _ in range(blocks - 1)),
            )
            for stage, width in enumerate(WIDTHS)
        )
        self.norm = nn.BatchNorm2d(WIDTHS[2])
        self.classifier = nn.Linear(WIDTHS[2], n_classes) if n_classes else nn.Identity()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(self.classifier, nn.Linear):
            nn.init.zeros_(self.classifier.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, float[k, n_classes], of normalised images float[k, 3, h, w]."""
        logits: torch.Tensor = self.classifier(self.features(x)["end"])
        return logits

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the pooled layers of normalised images float[k, 3, h, w].

        ``start`` float[k, 16] after the first convolution, ``middle`` float[k, 32] after the second stage, ``end``
        float[k, 64] the last average pooling. The paper, section 4.2, names the layers; pooling the first two over
        space is our interpretation.
        """
        start = self.stem(x)
        middle = self.stages[1](self.stages[0](start))
        end = relu(self.norm(self.stages[2](middle)), inplace=True)
        return {"start": pooled(start), "middle": pooled(middle), "end": pooled(end)}


class TimmResNet(nn.Module):
    """ResNet of timm, pre-activation or plain, from random weights, with the same layers.

    Attributes:
        name: its name in timm.
        widths: the number of values of each layer of `features`.
    """

    def __init__(self, name: str, n_classes: int) -> None:
        super().__init__()
        timm = require("timm", "images")
        self.name = name
        self.body = timm.create_model(name, pretrained=False, num_classes=n_classes)
        reductions = {found["module"]: int(found["num_chs"]) for found in self.body.feature_info}
        self.plain = "layer2" in reductions
        self.widths = {
            "start": reductions["act1"] if self.plain else _stem_width(self.body.stem),
            "middle": reductions["layer2" if self.plain else "stages.1"],
            "end": int(self.body.num_features),
        }

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, float[k, n_classes], of normalised images float[k, 3, h, w]."""
        logits: torch.Tensor = self.body(x)
        return logits

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the pooled layers of normalised images float[k, 3, h, w].

        ``start`` after the stem (the first convolution and its pooling), ``middle`` after the second of four stages,
        ``end`` the last average pooling (2,048 values for depth 50 and 101).
        """
        body = self.body
        if self.plain:
            start = body.maxpool(body.act1(body.bn1(body.conv1(x))))
            middle = body.layer2(body.layer1(start))
            end = body.layer4(body.layer3(middle))
        else:
            start = body.stem(x)
            middle = body.stages[1](body.stages[0](start))
            end = body.norm(body.stages[3](body.stages[2](middle)))
        return {
            "start": pooled(start),
            "middle": pooled(middle),
            "end": body.forward_head(end, pre_logits=True).flatten(1),
        }


class TimmBody(nn.Module):
    """Model of timm without its classifier, as a network with one layer.

    Attributes:
        name: its name in timm.
        widths: the number of values of its layer.
    """

    def __init__(self, name: str, model: Any) -> None:
        super().__init__()
        self.name = name
        self.body = model
        self.widths = {"end": int(getattr(model, "head_hidden_size", None) or model.num_features)}

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the pooled features of normalised images float[k, 3, h, w]."""
        return {"end": self.body(x)}


class Unlabelled(nn.Module):
    """Network whose last layer has the requested width: its output are the vectors, and the loss sees them projected.

    Attributes:
        name: name of the network before its last layer.
        widths: the number of values of each layer of `features`.
        pretrained: whether the body starts from weights: its batch norms then stay as they are, since those of strongly
            altered views would replace what the weights were trained with.
    """

    def __init__(self, body: Layered | TimmBody, dim: int, *, pretrained: bool = False) -> None:
        super().__init__()
        self.pretrained = pretrained
        width = body.widths["end"]
        self.name = f"resnet-{body.depth}" if isinstance(body, ResNet) else body.name
        if dim > width:
            raise UsageError(
                f"dim is {dim}; the last layer of {self.name} has {width} values: use {width} at most"
            )
        self.widths = {**body.widths, "end": dim}
        self.body = body
        self.last = nn.Identity() if dim == width else nn.Linear(width, dim)
        self.projection = nn.Sequential(
            nn.Linear(dim, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, dim)
        )

    def train(self, mode: bool = True) -> Self:
        """Set the mode of training, but for the batch norms of a pretrained body."""
        super().train(mode)
        if self.pretrained:
            for module in self.body.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def begin(self, batches: Iterable[torch.Tensor]) -> None:
        """Let the last layer start with the principal components of what pretrained weights see, not at random.

        Args:
            batches: normalised images, float[k, 3, h, w] each.
        """
        if not isinstance(self.last, nn.Linear):
            return
        self.body.eval()
        with torch.inference_mode():
            seen = torch.cat([self.body.features(batch)["end"] for batch in batches])
        self.body.train()
        mean = seen.mean(0)
        found = torch.linalg.svd(seen - mean, full_matrices=True)
        weight = found.Vh[: self.last.out_features]
        with torch.no_grad():
            self.last.weight.copy_(weight)
            self.last.bias.copy_(-weight @ mean)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the input of the loss, float[k, dim], for normalised images float[k, 3, h, w]."""
        projected: torch.Tensor = self.projection(self.features(x)["end"])
        return projected

    def features(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the layers of the network, the last one float[k, dim]."""
        found = self.body.features(x)
        return {**found, "end": self.last(found["end"])}


Layered = ResNet | TimmResNet | FastNetwork  # those with the three layers


def build(network: str | None, depth: int, n_classes: int, size: Size) -> nn.Module:
    """Return an untrained network; its weights come from torch's random state.

    Args:
        network: a timm name, ``fast``, ``fast-narrow`` or ``fast-wide``, a function as ``module:name`` that makes a
            network for a number of classes, or None: the 6n+2-layer network up to 64 pixels, else ``resnetv2_50``.
        depth: layers of the 6n+2-layer network; not used with a name.
        n_classes: outputs of the classifier; 0 for none.
        size: height and width of its images.

    Returns:
        A `Layered` network, or another one that returns logits.

    Raises:
        UsageError: the depth is not 6n+2, there is no such network (the message suggests the nearest), or it takes
            images of another size.
    """
    if network is None and max(size) <= SMALL:
        return ResNet(checked_depth(depth), n_classes)
    name = LARGE_NETWORK if network is None else network
    if name in FAST_WIDTHS:
        if min(size) < LEAST or max(size) > SMALL:
            raise UsageError(
                f"the images are {size[0]} × {size[1]} pixels and the network {name} takes {LEAST} to {SMALL}; "
                "leave out the network for the default one"
            )
        return FastNetwork(n_classes, name)
    if ":" in name:
        return _of_function(name, n_classes)
    timm = require("timm", "images")
    known = timm.list_models()
    if name not in known:
        raise UsageError(
            f"there is no network {name!r}{nearest(name, known)}; "
            f"leave it out for the default, or choose {', '.join(FAST_WIDTHS)}, a name of timm, "
            "or a function as module:name"
        )
    if name.startswith("resnetv2_") or name in timm.list_models(module="resnet"):
        return TimmResNet(name, n_classes)
    model: nn.Module = timm.create_model(name, pretrained=False, num_classes=n_classes)
    return model


def check_fit(network: nn.Module, name: str, n_classes: int, size: Size) -> None:
    """Raise `UsageError` where a network doesn't return logits for images of a size; it is left as it was.

    Args:
        network: on the CPU.
        name: its name as given.
        n_classes: the required number of logits.
        size: height and width of the images.
    """
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            found = network(torch.zeros(2, 3, *size))
        right = isinstance(found, torch.Tensor) and found.shape == (2, n_classes)
        said = f"returns {tuple(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__}"
    except (RuntimeError, ValueError, AssertionError, TypeError) as error:
        said, right = f"fails ({one_line(error, 200)})", False
    finally:
        network.train(was_training)
    if not right:
        raise UsageError(
            f"the network {name} {said} for two images of {size[0]} × {size[1]} pixels, not (2, {n_classes}) logits; "
            "choose another network, or leave it out for the default"
        )


def _of_function(name: str, n_classes: int) -> nn.Module:
    """Return the network that the function ``module:name`` makes; the module may lie in the working folder.

    Raises:
        UsageError: there is no such function, it fails, or it makes something else.
    """
    here = str(Path.cwd())
    sys.path.insert(0, here)  # an installed command does not look there
    try:
        network = _imported(name)(n_classes)
    except UsageError:
        raise
    except Exception as error:  # user code: it may raise anything, and the cause is kept
        raise UsageError(
            f"{name}({n_classes}) failed ({type(error).__name__}: {error}); it must be a function that returns "
            "a network for a number of classes"
        ) from error
    finally:
        sys.path.remove(here)
    if not isinstance(network, nn.Module):
        raise UsageError(
            f"{name} returned {type(network).__name__} for {n_classes} classes; it must return a torch module"
        )
    return network


def _imported(name: str) -> Any:
    module, _, inside = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in inside.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"there is no function {name!r} ({error}); name one that can be imported, as module:name"
        ) from None
    return found


def checked_depth(depth: int) -> int:
    """Return `depth` if it is 6n+2 with n ≥ 1.

    Raises:
        UsageError: it is not; the message names the nearest.
    """
    if depth < 8 or depth % 6 != 2:
        lower = max(8, 2 + 6 * ((depth - 2) // 6))
        near = f"{lower}" if depth < 8 else f"{lower} or {lower + 6}"
        raise UsageError(f"depth is {depth}; this network has 6n+2 layers (8, 14, 20, ...): use {near}")
    return depth


def pooled(x: torch.Tensor) -> torch.Tensor:
    """Return the mean over space, float[k, c] of float[k, c, h, w]."""
    return x.mean((2, 3))


def _stem_width(stem: nn.Module) -> int:
    convolutions = [module for module in stem.modules() if isinstance(module, nn.Conv2d)]
    return convolutions[-1].out_channels
