"""A push to a hub of our own on this machine: one commit, private unless said, nothing overwritten, no token told."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.errors import TenpercentError, UsageError
from tenpercent.reporting.card import public_name

hub = pytest.importorskip("huggingface_hub")
TOKEN = "hf_secret"


@dataclass
class Hub:
    """What the hub holds, by the name of a data set, and how it answers."""

    sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    status: int = 200
    endpoint: str = ""
    tokens: set[str] = field(default_factory=set)

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        if self.status != 200:
            return self.status, {"error": "no such right"}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'ann'}/{asked['name']}"
            known = name in self.sets
            self.sets.setdefault(
                name,
                {
                    "private": bool(asked.get("private")) or asked.get("visibility") == "private",
                    "files": {".gitattributes": b""},
                },
            )
            return (409 if known else 200), {"url": f"{self.endpoint}/datasets/{name}"}
        if path.startswith("/api/validate-yaml"):
            return 200, {"errors": [], "warnings": []}
        _, known, name = path.partition("/api/datasets/")
        if not known:
            return 404, {"error": f"no {path}"}
        name, action = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
        if action == "preupload/main":
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return 200, {"files": files}
        if action == "commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.sets[name]["files"][line["value"]["path"]] = base64.b64decode(
                        line["value"]["content"]
                    )
            return 200, {
                "success": True,
                "commitOid": "0" * 40,
                "commitUrl": f"{self.endpoint}/datasets/{name}/commit/0",
            }
        here = self.sets[name]
        return 200, {
            "id": name,
            "private": here["private"],
            "siblings": [{"rfilename": one} for one in here["files"]],
        }


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.tokens.add(self.headers.get("Authorization", ""))
            status, content = state.answer(self.path.partition("?")[0], body)
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    # As HF_ENDPOINT sets it before the import.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    state.endpoint = address
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def run(photos: Path, tmp_path: Path) -> Path:
    (photos / "cat" / "broken.jpg").unlink()
    tp.run(
        photos,
        out=tmp_path / "run",
        keep=0.5,
        embedder=lambda images: [one.mean((0, 1)) + 1.0 for one in images],
    )
    return tmp_path / "run"


def test_what_is_kept_is_pushed_with_a_card(
    served: Hub, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--format", "hf", "--push", "ann/pets"]) == 0
    said = capsys.readouterr()
    assert "hf:ann/pets" in said.out and "private: http://127.0.0.1" in said.out
    assert TOKEN not in said.out + said.err and served.tokens - {""} == {f"Bearer {TOKEN}"}
    here = served.sets["ann/pets"]
    assert here["private"] is True
    files = here["files"]
    assert files.keys() == {".gitattributes", "README.md", "data/train-00000-of-00001.parquet"}
    selection = tp.Selection.load(run / "selection.parquet")
    table = pq.read_table(io.BytesIO(files["data/train-00000-of-00001.parquet"]))
    assert set(table["id"].to_pylist()) == set(selection.kept)
    card = files["README.md"].decode()
    for words in (
        f"kept {len(selection.kept)}",
        "- Method: exact complete-linkage clustering",
        f"- Fractions: {len(selection.kept) / len(selection):.2%} kept, ",
        "- Command: `tenpercent run photos --keep 0.5",
    ):
        assert words in card
    gone = ~selection.kept_by_id
    farthest = float(card.partition("no farther than ")[2].split()[0])
    assert farthest == selection.dissimilarity[gone].max()
    assert str(tmp_path) not in card
    assert not [path.name for path in run.iterdir() if "push" in path.name]
    assert all(TOKEN.encode() not in path.read_bytes() for path in run.rglob("*") if path.is_file())


def test_a_data_set_that_holds_something_is_left_alone(served: Hub, run: Path) -> None:
    tp.export(run, "hf", push="pets", public=True)
    assert served.sets["ann/pets"]["private"] is False
    before = dict(served.sets["ann/pets"]["files"])
    with pytest.raises(UsageError, match=r"ann/pets holds README\.md already, and a push never overwrites"):
        tp.export(run, "hf", push="ann/pets", public=True)
    served.sets["ann/pets"]["files"] = {".gitattributes": b""}  # as a push that was killed leaves it
    with pytest.raises(UsageError, match=r"ann/pets is public; add --public, or choose another --push"):
        tp.export(run, "hf", push="ann/pets")
    tp.export(run, "hf", push="pets", public=True)
    assert served.sets["ann/pets"]["files"] == before


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "refuses ann/pets \\(401: .*; log in with: hf auth login"), (500, "500: .*; try again later")],
)
def test_a_refusal_is_one_line(status: int, words: str, served: Hub, run: Path) -> None:
    served.status = status
    with pytest.raises(TenpercentError, match=words) as refused:
        tp.export(run, "hf", push="ann/pets")
    assert "\n" not in str(refused.value).partition("\nIn Python")[0] and TOKEN not in str(refused.value)


def test_a_hub_out_of_reach(run: Path, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TenpercentError, match=r"the hub can't be reached to push ann/pets \(.*\); try again"):
        tp.export(run, "hf", push="ann/pets")


def test_choices_that_do_not_go_together(run: Path, served: Hub, tmp_path: Path) -> None:
    for given in ({}, {"push": "a", "to": tmp_path / "x"}, {"to": tmp_path / "x", "public": True}):
        with pytest.raises(UsageError, match=r"give --to PATH, or --format hf --push NAME"):
            tp.export(run, "hf", **given)
    with pytest.raises(UsageError, match=r"give --to PATH, or --format hf --push NAME"):
        tp.export(run, "folder", push="pets")
    with pytest.raises(UsageError, match=r"--push is 'a/b/c', which is no name on the hub"):
        tp.export(run, "hf", push="a/b/c")


def test_a_folder_has_the_card_too(run: Path, tmp_path: Path) -> None:
    tp.export(run, "hf", tmp_path / "kept")
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["README.md", "data"]
    assert (
        (tmp_path / "kept" / "README.md").read_text().startswith("---\ntags:\n- tenpercent\n---\n\n# kept\n")
    )


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("/home/ann/photos", "photos"),
        ("/home/ann/a:b/photos/", "photos"),
        ("coco:/home/ann/boxes.json", "coco:boxes.json"),
        ("hf:/home/ann/set", "hf:set"),
        ("hf:ann/pets:train", "hf:ann/pets:train"),
        ("https://host/x/pets.zip?sig=secret", "pets.zip"),
        ("s3://bucket/pets/", "pets"),
        ("digits", "digits"),
    ],
)
def test_a_card_names_a_source_without_the_folders_above(spec: str, told: str) -> None:
    assert public_name(spec) == told
