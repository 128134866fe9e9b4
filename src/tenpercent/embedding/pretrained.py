"""Pretrained network that comes with the package: EfficientNet-Lite0 of ImageNet-1k, by ONNX Runtime and without torch.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019; the Lite variants drop
squeeze-and-excitation and use ReLU6. `efficientnet_lite0/origin.json` says what the file was made from.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import UsageError, one_line, require
from .settings import NETWORK

ORIGIN = NETWORK.with_name("origin.json")
SIDE = 224  # pixels, as in its training
REDUCING = 3.0  # large images are first reduced by whole factors, to no less than three times the side

Floats = npt.NDArray[np.float32]


class PretrainedNetwork:
    """The pretrained network: 1,280 values before the classifier.

    Images are scaled to 224 × 224 pixels whatever their shape, so that no edge is lost. Each is encoded by itself, in
    the thread that has decoded it: its vector depends on nothing but its pixels, to the last bit.
    """

    width = 1280
    least = 2 * SIDE

    def __init__(self) -> None:
        """Load the network.

        Raises:
            UsageError: its file is missing or damaged.
            MissingExtraError: ONNX Runtime is not installed.
        """
        onnxruntime = require("onnxruntime", "photos")
        onnxruntime.disable_telemetry_events()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a thread an image; several on one image wait for each other
        try:
            content = NETWORK.read_bytes()
            if hashlib.sha256(content).hexdigest() != json.loads(ORIGIN.read_bytes())[NETWORK.name]["sha256"]:
                raise ValueError(f"its checksum is not the one in {ORIGIN.name}")
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has a kind for each fault
            raise UsageError(
                f"the pretrained network {NETWORK} is missing or damaged ({one_line(error, 200)}); bring it back with: "
                "pip install --force-reinstall --no-deps tenpercent"
            ) from error

    def vector(self, image: npt.NDArray[np.uint8]) -> Floats:
        """Return the vector of an image, float32[1280], of uint8[h, w, 3]."""
        small = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=REDUCING)
        pixels = np.asarray(small, dtype=np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
        found: Floats = self._session.run(None, {"pixels": np.ascontiguousarray(pixels)})[0][0]
        return found
