"""The README's command and its lines of Python, run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenpercent as tp
from tenpercent.cli.main import main
from tenpercent.errors import UsageError

README = Path(__file__).parents[1] / "README.md"
CLASSES, EACH = ("ant", "bee", "cat"), 20  # 90% of them are a whole number

torch = pytest.importorskip("torch")
vision = pytest.importorskip("torchvision.datasets")


def lines_of_readme(block: int = 0) -> str:
    found: list[str] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2
    return found[block]


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The README's ``photos/``, embedded already by something that takes no training."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (tmp_path / "photos" / name).mkdir(parents=True)
        for place in range(EACH):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{place:02d}.png")
    monkeypatch.chdir(tmp_path)
    tp.embed("photos/", embedder=pixels_as_vectors)
    return tmp_path / "photos"


def pixels_as_vectors(images: Any) -> Any:
    return images.reshape(len(images), -1).astype(np.float32) + 1


def run_readme(torch_dataset: Any) -> dict[str, Any]:
    names: dict[str, Any] = {"torch_dataset": torch_dataset}
    exec(compile(lines_of_readme(), str(README), "exec"), names)
    return names


def test_the_lines_give_the_kept_images(photos: Path) -> None:
    dataset = vision.ImageFolder(photos)
    made = run_readme(dataset)
    files = [Path(dataset.samples[row][0]).relative_to(photos).as_posix() for row in made["subset"].indices]
    assert files == sorted(made["selection"].kept) and len(files) == round(0.9 * len(dataset))


def test_a_hidden_file_is_an_error_and_not_another_image(photos: Path) -> None:
    Image.new("RGB", (8, 8)).save(photos / "ant" / "._00.png")
    dataset = vision.ImageFolder(photos)
    assert len(dataset) == len(CLASSES) * EACH + 1
    with pytest.raises(UsageError, match="has 61 images, the source of this selection 60"):
        run_readme(dataset)


def test_a_hidden_file_in_place_of_another_is_an_error(photos: Path) -> None:
    Image.new("RGB", (8, 8)).save(photos / "ant" / "._00.png")
    dataset = vision.ImageFolder(photos)
    shown = torch.utils.data.Subset(dataset, range(len(CLASSES) * EACH))
    with pytest.raises(
        UsageError, match=r"row 0 is .*\._00\.png in the dataset and ant/00\.png in the selection"
    ):
        run_readme(shown)


def test_a_shuffled_data_set_is_an_error(photos: Path) -> None:
    dataset = vision.ImageFolder(photos)
    order = np.random.default_rng(1).permutation(len(dataset))
    with pytest.raises(UsageError, match=r"in the dataset and .* in the selection \(\d+ rows differ\)"):
        run_readme(torch.utils.data.Subset(dataset, order))


def test_the_second_way_of_the_first_line(photos: Path) -> None:
    """``tp.Embeddings.from_numpy(vectors, labels=labels)``, as the comment has it."""
    first = re.search(r"# or (tp\.Embeddings\.from_numpy\(.*\))", lines_of_readme())
    assert first is not None
    dataset = vision.ImageFolder(photos)
    names = {
        "tp": tp,
        "vectors": np.random.default_rng(2).normal(size=(len(CLASSES) * EACH, 4)),
        "labels": dataset.targets,
    }
    embeddings = eval(first[1], names)
    selection = tp.select(tp.cluster(embeddings, keep=0.5), keep=0.9)
    assert selection.subset(dataset).indices == selection.rows.tolist()
    order = np.random.default_rng(1).permutation(len(dataset))
    with pytest.raises(UsageError, match="rows differ"):
        selection.subset(torch.utils.data.Subset(dataset, order))


def test_the_line_for_own_vectors() -> None:
    pandas = pytest.importorskip("pandas")
    vectors, names = np.random.default_rng(2).normal(size=(60, 4)), [f"{row}.jpg" for row in range(60)]
    known = {"tp": tp, "vectors": vectors, "y": list(CLASSES) * EACH, "names": names}
    exec(
        compile(lines_of_readme(1), str(README), "exec"),
        made := {**known, "frame": pandas.DataFrame({"n": names})},
    )
    assert sorted(made["frame"]["n"]) == made["selection"].kept.tolist() and len(made["frame"]) == 54


# ---- what the command prints -----------------------------------------------------------------------------------------

TRAINING = "training for "  # the one line of a run whose images are not embedded yet


def printed_in_readme() -> list[str]:
    """The lines that README shows below its first command."""
    text = README.read_text(encoding="utf-8")
    (block,) = re.findall(r"this prints:\n\n((?:    .*\n|\n(?=    ))+)", text)
    return [line[4:] for line in block.splitlines() if line.strip()]


def shape(line: str) -> str:
    """A line without its numbers, and with one plural for all."""
    return re.sub(r"\b(image|group)s?\b", r"\1s", re.sub(r"\d[\d,.]*\d|\d", "#", line))


def test_the_command_prints_what_the_readme_shows(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "    tenpercent run photos/\n" in README.read_text(encoding="utf-8")
    assert main(["run", "photos/"]) == 0
    said = capsys.readouterr()
    again = "nothing has changed since it was embedded"  # the images were embedded above
    lines = [line for line in (said.err + said.out).splitlines() if line.strip() and line != again]
    shown = [line for line in printed_in_readme() if not line.startswith(TRAINING)]
    assert [shape(line) for line in lines] == [shape(line) for line in shown]


# ---- the commands after it -------------------------------------------------------------------------------------------

SERVES = "review"  # until somebody stops it: tests/reviewing
FAILS = "check"  # with status 1 where more images are redundant than its limit


def commands_in_readme() -> list[list[str]]:
    """The commands that README names after its first one, without `tenpercent`."""
    text = README.read_text(encoding="utf-8")
    (block,) = re.findall(r"same command. Then:\n\n((?:    .*\n)+)", text)
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


def test_each_command_of_the_readme_works_after_its_first(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(tmp_path / "runs")
    shutil.copytree(photos, tmp_path / "photos-test")
    for path in sorted((tmp_path / "photos-test").rglob("*.png")):
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    assert main(["run", "photos/", "--embedder", "pretrained"]) == 0
    typed = commands_in_readme()
    assert len(typed) == 7
    for words in typed:
        if words[0] == SERVES:
            continue
        given = [word.replace("0/0130.png", "ant/00.png") for word in words]
        assert main(given) in ((0, 1) if words[0] == FAILS else (0,)), (given, capsys.readouterr().err)
