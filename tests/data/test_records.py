"""Records of `run.json`: typed when read, the same JSON when written, those of older versions converted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tenpercent as tp
from stored_runs import unpack
from tenpercent.data.store.records import SEMANTIC, Stage
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.errors import RunFolderError


@pytest.mark.parametrize("images", [False, True])
def test_a_source_is_written_as_it_is_read(vectors: Path, tmp_path: Path, images: bool) -> None:
    tp.embed("digits" if images else vectors, out=tmp_path / "run", embedder=blind if images else None)
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["source"]
    record = RunFolder.open(tmp_path / "run").source
    assert list(record.as_json().items()) == list(stored.items())
    assert record.has_vectors != images and record.n == stored["n"]


def blind(images: object) -> object:
    return images.reshape(len(images), -1)[:, ::7]  # type: ignore[attr-defined]


def test_records_of_the_first_version_are_read(tmp_path: Path) -> None:
    folder = RunFolder.open(unpack(tmp_path) / "runs" / "photos")
    content = json.loads(folder.json_path.read_text())
    assert "image_size" not in content["stages"]["embed"]
    embedded = folder.require(Stage.EMBED)
    height, width = embedded.image_size or (0, 0)
    assert f" of {width}×{height} pixels" in embedded.pixels
    assert embedded.settings.made_by["embedder"] == "supervised"
    assert folder.require(Stage.CLUSTER).settings.layer == "end"
    selected = folder.require(Stage.SELECT)
    assert selected.settings.strategy == SEMANTIC
    assert selected.kept + selected.removed == embedded.n
    assert folder.source.classes_used is None and folder.source.n == content["source"]["n"]


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("source", "taken"), 5, "source.taken is 5, not an object"),
        (("source", "class_names"), "cat", "source.class_names is 'cat', not a list"),
        (("stages", "embed", "image_size"), [1], "stages.embed.image_size has 1 values, not 2"),
        (("stages", "embed", "n"), None, "stages.embed.n is None, not a whole number"),
    ],
)
def test_a_record_of_another_type_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: object, said: str
) -> None:
    folder = RunFolder.open(unpack(tmp_path) / "runs" / "photos")
    content = json.loads(folder.json_path.read_text())
    inner = content
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    folder.json_path.write_text(json.dumps(content))
    with pytest.raises(RunFolderError) as refused:
        RunFolder.open(folder.path)
    assert said in str(refused.value)
