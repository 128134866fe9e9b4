"""Next week's images: the same command on a folder that grew, shrank, was rearranged or written over."""

from __future__ import annotations

import os
import shlex
import shutil
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from examples import STRIDE
from tenpercent.cli.dry_run import plan
from tenpercent.cli.main import main
from tenpercent.data.sources.changes import RecordedImages, compare
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.data.store.ids import paired
from tenpercent.data.store.left_out import read_held_out, read_rejected
from tenpercent.data.store.run_folder import RunFolder
from tenpercent.decisions.log import DecisionLog
from tenpercent.embedding.by_run import embed_by_run
from tenpercent.embedding.stage import embed
from tenpercent.errors import RunFolderError, UsageError
from tenpercent.pipeline import run
from tenpercent.selection.stored import load_embeddings, load_selection
from tenpercent.tree.cut import Cut

SAME = ("embeddings/part-00000.parquet", "embeddings/settings.json", "rejected.parquet", "merges.parquet")


def draw(file: Path, seed: int) -> None:
    """A photo of smooth noise, an hour old."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC).save(file)
    os.utime(file, (time.time() - 3600,) * 2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `photos` of 24 images, one of them broken, and the run `run` of it."""
    root = tmp_path_factory.mktemp("made")
    (root / "photos").mkdir()
    for number in range(23):
        draw(root / "photos" / f"{number:02d}.png", number)
    (root / "photos" / "broken.png").write_bytes(b"no image")
    run(root / "photos", out=root / "run", keep=0.75)
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both, in the working directory."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    folder = RunFolder.open(tmp_path / "run")
    with folder.changed() as content:
        content["source"]["spec"] = str(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rearrange(photos: Path) -> None:
    """Two new images, one of them broken, three gone, two moved, one written over."""
    draw(photos / "new.png", 100)
    (photos / "new, broken.png").write_bytes(b"")
    for name in ("03.png", "04.png", "05.png"):
        (photos / name).unlink()
    for name in ("06.png", "07.png"):
        (photos / name).rename(photos / f"moved-{name}")
    draw(photos / "08.png", 101)


def test_an_update_gives_the_bytes_of_a_fresh_run(place: Path) -> None:
    rearrange(place / "photos")
    selection = run("photos", out="run", keep=0.75)
    fresh = run("photos", out="fresh", keep=0.75)
    assert {"new.png", "moved-06.png"} <= {*selection.kept, *selection.removed}
    for name in (*SAME, "selection.parquet"):
        assert (place / "run" / name).read_bytes() == (place / "fresh" / name).read_bytes(), name
    assert selection.kept.tolist() == fresh.kept.tolist()


def test_only_what_is_new_is_embedded_and_the_change_is_said(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tenpercent.embedding.pretrained import PretrainedNetwork

    rearrange(place / "photos")
    shutil.copy(place / "photos" / "10.png", place / "photos" / "copy of 10.png")
    seen, vector = [], PretrainedNetwork.vector

    def counting(self: PretrainedNetwork, image: np.ndarray) -> np.ndarray:
        seen.append(image)
        return vector(self, image)

    monkeypatch.setattr(PretrainedNetwork, "vector", counting)
    assert main(["run", "photos", "--out", "run", "--keep", "0.95"]) == 0
    assert len(seen) == 3  # new.png, 08.png and the copy
    said = capsys.readouterr()
    change = (
        "3 new, 3 gone, 2 moved, 1 with other content; of the new ones 1 is redundant with what was there"
    )
    assert f"The last update: {change}." in said.out
    assert "2 moved (06.png is moved-06.png, 07.png is moved-07.png)" in said.err
    assert "1 image rejected before is tried again\nembedding 5 images of" in said.err
    assert main(["run", "photos", "--out", "run", "--keep", "0.95"]) == 0
    assert "nothing has changed" in capsys.readouterr().err
    assert len(seen) == 3
    assert not (place / "run" / "earlier" / "2").exists()


def test_the_earlier_selection_report_and_training_results_stay_and_so_do_decisions(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from tenpercent.decisions.log import ImageName, Kind

    embeddings = load_embeddings(RunFolder.open(place / "run"))
    earlier = (place / "run" / "selection.parquet").read_bytes()
    hashes = dict(zip(embeddings.ids, embeddings.hashes, strict=True))
    log = DecisionLog(place / "run")
    log.add(Kind.KEEP, [ImageName("06.png", hashes["06.png"])])
    log.add(Kind.REMOVE, [ImageName("09.png", hashes["09.png"])])
    (place / "photos" / "06.png").rename(place / "photos" / "z.png")
    (place / "photos" / "09.png").rename(place / "photos" / "06.png")
    selection = run("photos", out="run", keep=0.75)
    assert "z.png" in selection.kept
    assert "06.png" in selection.removed
    assert (place / "run/earlier/1/selection.parquet").read_bytes() == earlier
    assert (place / "run/earlier/1/report.html").exists()
    assert "training results" not in caplog.text
    (place / "run" / "results.parquet").write_bytes(b"")  # of other images now: nothing reads it
    draw(place / "photos" / "new.png", 100)
    run("photos", out="run", keep=0.75)
    said = "training results are of the images before this update and moved to run/earlier/2; tenpercent evaluate run "
    assert caplog.text.count(said) == 1
    assert (place / "run/earlier/2/results.parquet").exists()
    run("photos", out="run", keep=0.8)
    assert caplog.text.count("training results") == 1


def test_a_selection_grows_over_two_updates_by_the_content_of_its_images(
    place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos, kept = place / "photos", load_selection(RunFolder.open(place / "run")).kept.tolist()
    first, second = kept[:2]
    (photos / first).rename(photos / "once.png")
    embed("photos", out="run")
    (photos / "once.png").rename(photos / "twice.png")
    (photos / second).unlink()
    draw(photos / first, 100)  # another image under the old name
    draw(photos / "new.png", 101)
    assert main(["run", "photos", "--out", "run", "--keep", "0.95", "--grow"]) == 0
    selection = load_selection(RunFolder.open(place / "run"))
    assert selection.locked is not None
    assert {*selection.ids[selection.locked]} == {*kept[2:], "twice.png"} <= {*selection.kept}
    assert f"1 image kept earlier is no longer among the images: '{second}'" in caplog.text
    assert main(["select", "run", "--keep", "0.95", "--grow"]) == 0  # ids are those of now
    assert {*selection.kept} == {*load_selection(RunFolder.open(place / "run")).kept}


def test_a_repaired_file_is_taken(place: Path) -> None:
    draw(place / "photos" / "broken.png", 50)
    assert "broken.png" in embed("photos", out="run").ids
    assert load_embeddings(RunFolder.open(place / "run")).ids.tolist().count("broken.png") == 1


def test_a_folder_that_moved_and_changed_is_brought_up_to_date(place: Path) -> None:
    (place / "photos").rename(place / "album")
    (place / "album" / "03.png").unlink()
    assert "03.png" not in run("album", out="run").ids
    assert RunFolder.open(place / "run").source.spec == str(place / "album")


def test_other_images_are_refused(place: Path) -> None:
    (place / "others" / "photos").mkdir(parents=True)
    draw(place / "others" / "photos" / "00.png", 7)
    before = (place / "run" / "run.json").read_bytes()
    with pytest.raises(
        RunFolderError, match=r"holds a run of .*, which has other images: .* choose another --out"
    ):
        run("others/photos", out="run")
    for file in (place / "photos").iterdir():
        file.unlink()
    draw(place / "photos" / "other.png", 70)
    with pytest.raises(RunFolderError, match="other images"):
        run("photos", out="run")
    assert (place / "run" / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (
            ["--embedder", "supervised"],
            "the embedder was pretrained, now supervised; leave out the embedder",
        ),
        (["--holdout", "0.2"], "holds out 0 of its images, not 0.2; leave out --holdout"),
        (["--max-pixels", "1000000"], "--max-pixels was the default, now 1000000; choose another --out"),
    ],
)
def test_other_settings_are_refused(
    place: Path, flags: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(place / "photos" / "new.png", 100)
    before = (place / "run" / "run.json").read_bytes()
    assert main(["run", "photos", "--out", "run", *flags]) != 0
    assert why in capsys.readouterr().err
    assert (place / "run" / "run.json").read_bytes() == before


class Killed(BaseException):
    """Instead of kill -9."""


def dies_at(last: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Embed, and die at the `last` write, rename or removal; return whether there were as many."""
    count = 0

    def counted(function):  # type: ignore[no-untyped-def]
        def call(*args, **named):  # type: ignore[no-untyped-def]
            nonlocal count
            if (count := count + 1) == last:
                raise Killed
            return function(*args, **named)

        return call

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(Path, "replace", counted(Path.replace))
        patch.setattr(shutil, "rmtree", counted(shutil.rmtree))
        patch.setattr(Path, "unlink", counted(Path.unlink))
        embed("photos", out="run")
    return count >= last


def test_a_kill_at_any_moment_leaves_the_old_or_the_same_command_finishes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rearrange(place / "photos")
    shutil.copytree(place / "run", place / "before")
    run("photos", out="fresh", keep=0.75)
    expected = {name: (place / "fresh" / name).read_bytes() for name in SAME[:3]}
    old = list(load_selection(RunFolder.open(place / "run")).kept)
    last = 1
    while dies_at(last, monkeypatch):
        folder = RunFolder.open(place / "run")
        if folder.read()["stages"].keys() > {"embed"}:  # the old one, whole
            assert list(load_selection(folder).kept) == old, last
            assert len(load_embeddings(folder)) == 23
        embed("photos", out="run")
        assert {name: (place / "run" / name).read_bytes() for name in expected} == expected, last
        assert not (place / "run" / "update").exists()
        assert (place / "run/earlier/1/selection.parquet").exists()
        shutil.rmtree(place / "run")
        shutil.copytree(place / "before", place / "run")
        last += STRIDE
    assert last > 20


def test_an_interrupted_update_of_other_images_begins_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(place / "photos" / "new.png", 100)
    monkeypatch.setattr("tenpercent.embedding.update._write", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        run("photos", out="run")
    monkeypatch.undo()
    monkeypatch.chdir(place)
    draw(place / "photos" / "new.png", 101)  # embedded already, and not yet taken
    draw(place / "photos" / "newer.png", 102)
    run("photos", out="run", keep=0.75)
    run("photos", out="fresh", keep=0.75)
    for name in SAME:
        assert (place / "run" / name).read_bytes() == (place / "fresh" / name).read_bytes(), name


def test_an_image_that_changes_while_its_update_is_killed_is_embedded_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw(place / "photos" / "new.png", 100)
    with monkeypatch.context() as patch:
        patch.setattr("tenpercent.embedding.update._write", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run("photos", out="run")
    draw(place / "photos" / "new.png", 101)
    run("photos", out="run", keep=0.75)
    run("photos", out="fresh", keep=0.75)
    for name in SAME:
        assert (place / "run" / name).read_bytes() == (place / "fresh" / name).read_bytes(), name


def test_a_hold_out_stays_and_new_images_fill_it_up(place: Path) -> None:

    def held() -> set[str]:
        table = read_held_out(RunFolder.open(place / "held"))
        return set() if table is None else set(table["id"].to_pylist())

    run("photos", out="held", holdout=0.25)
    before = held()
    for number in range(24):
        draw(place / "photos" / f"new-{number}.png", 200 + number)
    found = embed("photos", out="held", holdout=0.25)
    assert before < held()
    assert len(before) == 6 and len(held()) == 12
    assert not held() & set(found.ids)
    with pytest.raises(UsageError, match=r"holds out 0\.25 of its images, not 0; give --holdout 0\.25"):
        draw(place / "photos" / "newest.png", 300)
        run("photos", out="held")


def test_a_held_out_image_stays_held_out_under_another_name(place: Path) -> None:

    def held() -> dict[str, str]:
        table = read_held_out(RunFolder.open(place / "held"))
        assert table is not None
        return dict(zip(table["hash"].to_pylist(), table["id"].to_pylist(), strict=True))

    photos = place / "photos"
    used = run("photos", out="held", holdout=0.25).ids.tolist()
    before = held()
    first, second, *_ = sorted(before.values())
    (photos / first).rename(photos / "moved.png")
    (photos / second).rename(photos / "between.png")  # it trades places with one in use
    (photos / used[0]).rename(photos / second)
    (photos / "between.png").rename(photos / used[0])
    draw(photos / "new.png", 100)
    found = run("photos", out="held", holdout=0.25)
    assert before.keys() <= held().keys()
    assert {"moved.png", used[0]} <= set(held().values())
    assert second in found.ids and not set(held().values()) & set(found.ids)
    draw(photos / "newer.png", 101)
    (photos / used[0]).rename(photos / "again.png")
    run("photos", out="held", holdout=0.25)  # by the hashes that the update took along
    assert before.keys() <= held().keys()


def test_options_that_are_left_out_are_those_of_the_run(place: Path) -> None:
    for name in ("a", "b"):
        (place / "photos" / name).mkdir()
        draw(place / "photos" / name / "1.png", 50)
    options = SourceOptions(label_column="none", max_pixels=10**6)
    run("photos", out="albums", options=options)
    draw(place / "photos" / "a" / "2.png", 51)
    run("photos", out="albums")  # as every line on a folder that has changed tells to
    source = RunFolder.open(place / "albums").source
    assert source.n == 27 and not source.class_names and source.options["max_pixels"] == 10**6
    run("photos", out="albums", reread=True)
    assert RunFolder.open(place / "albums").source.class_names == ("a", "b")


def test_a_dry_run_of_an_update_counts_the_memory_of_the_network(place: Path) -> None:
    draw(place / "photos" / "new.png", 100)
    new, update = (plan("photos", out=out).memory_bytes for out in ("other", "run"))
    assert update >= new


def test_commands_in_the_output_can_be_copied_where_names_have_spaces(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(place / "photos", place / "my photos")
    run("my photos", out="my run")
    draw(place / "my photos" / "new.png", 100)
    main(["select", "my run", "--keep", "0.5"])
    main(["report", "my run"])
    main(["decisions", "my run"])
    main(["explain", "my photos", "0"])
    said = "".join(capsys.readouterr())
    commands = [
        shlex.split(line.partition("tenpercent ")[2])[:4]
        for line in said.splitlines()
        if "tenpercent " in line
    ]
    assert ["run", str(place / "my photos"), "--out", "my run"] in commands
    assert ["run", "SOURCE", "--out", "my photos"] in commands
    assert ["report", "my run"] in commands and ["review", "my run"] in commands


def test_a_grown_selection_follows_moved_images(place: Path) -> None:
    kept = run("photos", out="run", keep=0.5).kept.tolist()
    (place / "photos" / kept[0]).rename(place / "photos" / "moved.png")
    draw(place / "photos" / "new.png", 100)
    locked = {"moved.png", *kept[1:]}
    assert locked <= set(run("photos", out="run", cut=Cut(keep=0.6, grow=True)).kept)
    assert locked <= set(run("photos", out="run", cut=Cut(keep=0.7, grow=True)).kept)


def test_no_file_is_read_that_nobody_touched(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known, now = RecordedImages.of(RunFolder.open(place / "run")), open_source(place / "photos")
    assert known is not None and isinstance(now, ImageSource)
    old = replace(known, since=time.time() + 10)
    read = []
    now = replace(now, read=lambda row: read.append(row) or b"")
    assert not compare(old, now, closely=True)
    assert read == []
    assert len(compare(replace(known, since=0.0), now, closely=True).replaced) == 23


@pytest.mark.parametrize(
    ("old", "new", "pairs"),
    [
        (["a/1.jpg"], ["b/7.jpg", "c/1.jpg"], {"a/1.jpg": "c/1.jpg"}),
        (["a/1.jpg", "a/2.jpg"], ["z/2.jpg", "z/1.jpg"], {"a/1.jpg": "z/1.jpg", "a/2.jpg": "z/2.jpg"}),
        (["x/a/1.jpg"], ["y/b/1.jpg", "z/a/1.jpg"], {"x/a/1.jpg": "z/a/1.jpg"}),
        (["a/1.jpg"], ["b/x.jpg", "a/y.jpg"], {"a/1.jpg": "a/y.jpg"}),
        (["b", "a"], ["d", "c", "e"], {"a": "c", "b": "d"}),
        (["a", "b"], ["c"], {"a": "c"}),
        ([], ["c"], {}),
    ],
)
def test_equal_images_are_paired_by_how_alike_their_paths_are(
    old: list[str], new: list[str], pairs: dict[str, str]
) -> None:
    assert paired(old, new) == pairs


def table(place: Path, names: list[str], ids: bool) -> None:
    images = [(place / "photos" / name).read_bytes() for name in names]
    columns = {"image": images, **({"id": names} if ids else {})}
    pq.write_table(pa.table(columns), place / "x.parquet")


@pytest.mark.parametrize("ids", [True, False])
def test_a_table_that_changed_is_brought_up_to_date(
    place: Path, ids: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"{number:02d}.png" for number in range(9)]
    table(place, names, ids)
    run("x.parquet", out="of-table", keep=0.75)
    table(place, names, ids)  # written again, with the same content
    with caplog.at_level("INFO"):
        embed("x.parquet", out="of-table")
    assert "nothing has changed" in caplog.text
    table(place, [*names[3:], "10.png", "11.png", "12.png", "13.png"], ids)
    count = []
    monkeypatch.setattr(
        "tenpercent.embedding.update.embed_by_run",
        lambda run, images, *rest: count.append(len(images)) or embed_by_run(run, images, *rest),
    )
    run("x.parquet", out="of-table", keep=0.75)
    assert count == [4]
    run("x.parquet", out="fresh", keep=0.75)
    for name in (*SAME, "selection.parquet"):
        assert (place / "of-table" / name).read_bytes() == (place / "fresh" / name).read_bytes(), name


def test_a_file_that_goes_while_it_is_read_is_rejected_and_gone_the_next_time(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    draw(place / "photos" / "new.png", 100)
    draw(place / "photos" / "stays.png", 101)

    def goes(*arguments: object) -> RunFolder:
        (place / "photos" / "new.png").unlink()
        return embed_by_run(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("tenpercent.embedding.update.embed_by_run", goes)
    assert "stays.png" in embed("photos", out="run").ids
    rejected = read_rejected(RunFolder.open(place / "run"))
    assert rejected is not None
    assert ("new.png", "No such file or directory") in zip(
        *(rejected[name].to_pylist() for name in ("id", "reason")), strict=True
    )
    monkeypatch.undo()
    monkeypatch.chdir(place)
    with caplog.at_level("INFO"):
        assert len(embed("photos", out="run")) == 24
    assert "photos: 1 gone (new.png)" in caplog.text
