"""Videos as sources: which frames are taken, that they are the same in any order, and what is said of broken ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from test_sources import labels, opened

import tenpercent as tp
from films import SIZE, film, scene, scene_of
from tenpercent.cli.parser import parse
from tenpercent.cli.values import options_of, within_of
from tenpercent.data.decoding import frames
from tenpercent.data.decoding.decode import Unreadable
from tenpercent.data.sources.first_line import account, describe_taken
from tenpercent.data.sources.options import SourceOptions
from tenpercent.data.sources.source import ImageSource, hash_of
from tenpercent.embedding.reading import in_order
from tenpercent.errors import MissingExtraError, SourceError, UsageError

ALL = 1000  # frames a second, more than any clip has


def shown(source: ImageSource, among: str) -> str:
    return "".join(scene_of(np.asarray(source.read(row)), among) for row in range(len(source)))


def times(source: ImageSource) -> list[str]:
    return [name.rpartition("#")[2] for name in source.ids]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.ts", "clip.webm", "clip.avi"])
def test_every_frame_is_that_of_pyav_in_any_order(tmp_path: Path, name: str) -> None:
    clip = film(tmp_path / name, "ABCDEFGH")
    expected = decoded(clip)
    source = opened(clip, fps=ALL)
    assert len(source) == len(expected) > 78
    for row, pixels in enumerate(expected):
        assert np.array_equal(source.read(row), pixels)
    hashes = [hash_of(source, row) for row in range(len(source))]
    order = np.random.default_rng(0).permutation(len(source)).tolist()
    again = opened(clip, fps=ALL)
    assert [hash_of(again, row) for row in order] == [hashes[row] for row in order]
    with ThreadPoolExecutor(4) as pool:
        both = list(pool.map(lambda row: hash_of(again, row), range(len(source))))
    assert both == hashes and len(set(hashes)) > 60


def test_reading_in_order_decodes_once_and_holds_few_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film(tmp_path / "a.mp4", "ABCD"), film(tmp_path / "b.mp4", "AB")
    source, made = opened(tmp_path, fps=ALL), []
    begin = frames._Decoder._begin
    monkeypatch.setattr(frames._Decoder, "_begin", lambda self: (made.append(self), begin(self))[1])
    list(in_order(source.read, range(len(source)), ahead=8, threads=4))  # so none is 16 frames behind another
    assert len(made) == 2  # one a file: no jump
    reader = source.read.__self__
    assert len(reader._held) == reader._ahead < len(source)
    del made[:]
    for row in (29, 28, 27, 25):  # a group of neighbours, on a page
        source.read(row)
    assert len(made) == 2  # one jump, into the first file: opened and sought


def test_far_frames_are_reached_from_the_key_frame_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = film(tmp_path / "clip.mp4", "ABCDEFGH")
    source, seen = opened(clip, fps=0.2), []
    decode = frames._Decoder._decoded
    monkeypatch.setattr(
        frames._Decoder, "_decoded", lambda self: (seen.append(one) or one for one in decode(self))
    )
    assert shown(source, "ABCDEFGH") == "AF"
    assert len(seen) < 20 < len(decoded(clip))


def test_one_frame_a_second_by_time(tmp_path: Path) -> None:
    source = opened(film(tmp_path / "clip.mp4", "ABCA", each=1.5))
    assert source.ids[1] == "clip.mp4#00:00:01.000" and source.labels is None
    assert times(source) == [f"00:00:{second:02d}.000" for second in range(6)]
    assert shown(source, "ABC") == "AABCCA"
    assert describe_taken(account(source)) == "6 frames from 1 video at 1 frame a second, no labels"
    assert source.fingerprint != opened(tmp_path / "clip.mp4", fps=0.5).fingerprint


def test_uneven_times_count_and_not_numbers(tmp_path: Path) -> None:
    at = [0, 0.1, 0.2, 0.3, 2.5, 2.6, 2.7, 4.25, 4.3, 9.9]
    source = opened(film(tmp_path / "clip.mkv", "ABCDEFGHIJ", each=0.1, times=at))
    assert times(source) == ["00:00:00.000", "00:00:02.500", "00:00:04.250", "00:00:09.900"]
    assert shown(source, "ABCDEFGHIJ") == "AEHJ"
    assert times(opened(tmp_path / "clip.mkv", fps=4))[:4] == [
        f"00:00:0{at}" for at in ("0.000", "0.300", "2.500", "4.250")
    ]


@pytest.mark.parametrize("turned", [90, 180, -90])
def test_videos_of_phones_are_upright(tmp_path: Path, turned: int) -> None:
    plain = np.asarray(opened(film(tmp_path / "plain.mp4", "A")).read(0))
    upright = np.asarray(opened(film(tmp_path / "phone.mp4", "A", turned=turned)).read(0))
    assert plain.shape == (SIZE[1], SIZE[0], 3)
    by = {k: np.abs(np.rot90(upright.astype(float), -k)[:64, :64] - plain[:64, :64]).mean() for k in range(4)}
    assert min(by, key=lambda k: by[k]) == turned // 90 % 4 and upright.shape[0] == (
        96 if turned % 180 else 64
    )


def test_classes_are_folders_of_videos(tmp_path: Path) -> None:
    film(tmp_path / "run" / "1.mp4", "AB"), film(tmp_path / "walk" / "1.mp4", "C")
    scene_file = tmp_path / "poster.png"
    source = opened(tmp_path)
    assert source.ids == ("run/1.mp4#00:00:00.000", "run/1.mp4#00:00:01.000", "walk/1.mp4#00:00:00.000")
    assert source.class_names == ("run", "walk") and labels(source) == [0, 0, 1]
    assert opened(tmp_path, label_column="none").labels is None
    from PIL import Image

    Image.fromarray(scene("Z")).save(scene_file)
    assert opened(tmp_path).ids == ("poster.png",)  # images come first
    both = opened(tmp_path, fps=1)
    assert both.ids == source.ids and both.skipped == {"image files": 1}


def test_what_is_readable_of_a_cut_video_is_taken_and_said(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole" / "clip.mp4", "ABCDEFGH", options={"movflags": "faststart"})
    data = whole.read_bytes()
    cut = tmp_path / "clip.mp4"
    cut.write_bytes(data[: len(data) * 3 // 4])
    source, all_of_it = opened(cut, fps=ALL), opened(whole, fps=ALL)
    n = len(source)
    assert n < len(all_of_it) and source.ids == all_of_it.ids[:n]
    assert [hash_of(source, row) for row in range(n)] == [hash_of(all_of_it, row) for row in range(n)]
    said = describe_taken(account(source))
    assert (
        f"1 video ends early, and is taken up to there: clip.mp4 at {frames.stamp(n * 100)} of 00:00:08.000"
        in said
    )


def test_a_damaged_stretch_loses_its_own_frames_alone(tmp_path: Path) -> None:
    clip = film(tmp_path / "clip.mp4", "ABCDEFGH")
    expected = decoded(clip)
    with av.open(str(clip)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    data = bytearray(clip.read_bytes())
    for packet in packets[20:24]:
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    clip.write_bytes(data)
    source, lost = opened(clip, fps=ALL), []
    for row in range(len(source)):
        try:
            if row < 20 or row >= 40:
                assert np.array_equal(source.read(row), expected[row])
            else:
                source.read(row)
        except Unreadable as error:
            lost.append(str(error))
    assert 4 <= len(lost) <= 20 and set(lost) == {"the frame can't be decoded: the video is damaged there"}


def test_a_file_that_is_no_video_is_one_rejected_image(tmp_path: Path) -> None:
    film(tmp_path / "a.mp4", "AB")
    (tmp_path / "b.mp4").write_bytes(b"not a video" * 100)
    source = opened(tmp_path)
    assert source.ids[2:] == ("b.mp4",)
    assert "1 video can't be read: b.mp4 (broken or not a video: Invalid data" in describe_taken(
        account(source)
    )
    with pytest.raises(Unreadable, match="broken or not a video"):
        source.read(2)
    with pytest.raises(SourceError, match=r"b.mp4 holds no video that can be read \(broken or not a video"):
        opened(tmp_path / "b.mp4")


def test_refusals_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = film(tmp_path / "clip.mp4", "A")
    for fps in (0, -1, 2000):
        with pytest.raises(UsageError, match=rf"fps is {fps}; give a number from 0.001 to 1,000"):
            opened(clip, fps=fps)
    with pytest.raises(UsageError, match=r"--labels .* does not apply to a video \(it takes: --split, "):
        opened(clip, labels=tmp_path / "labels.csv")
    with pytest.raises(UsageError, match=r"--fps 2.0 does not apply to digits"):
        opened("digits", fps=2)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tenpercent\[video\]'"):
        opened(clip)


def test_scenes_that_repeat_go(tmp_path: Path) -> None:
    film(tmp_path / "clips" / "one.mp4", "ABCAB", each=2), film(tmp_path / "clips" / "two.mkv", "CAD", each=2)
    selection = tp.run(tmp_path / "clips", out=tmp_path / "run", keep=4)
    source = opened(tmp_path / "clips")
    assert len(source) == 16
    kept = "".join(scene_of(np.asarray(source.read(row)), "ABCD") for row in selection.rows)
    assert sorted(kept) == list("ABCD")
    again = tp.run(tmp_path / "clips", out=tmp_path / "run", keep=4)
    assert again.rows.tolist() == selection.rows.tolist()
    film(tmp_path / "clips" / "three.mp4", "E", each=2)
    grown = tp.run(tmp_path / "clips", out=tmp_path / "run", keep=5)
    assert len(grown.rows) == 5 and (tmp_path / "run" / "report.html").read_text().count("data:image/") > 10


def test_options_come_back_from_a_run(tmp_path: Path) -> None:
    assert SourceOptions.from_json(SourceOptions(fps=2).as_json()) == SourceOptions(fps=2.0)


def test_videos_one_by_one(tmp_path: Path) -> None:
    film(tmp_path / "b" / "1.mp4", "AA"), film(tmp_path / "a" / "2.mp4", "ABC"), film(tmp_path / "c.mp4", "A")
    source = opened(tmp_path, by="clip")
    assert source.class_names == ("c.mp4", "a/2.mp4", "b/1.mp4") and labels(source) == [0, 1, 1, 1, 2, 2]
    assert not source.has_classes
    said = describe_taken(account(source))
    assert (
        said == "6 frames from 3 videos at 1 frame a second, 3 classes; each video takes the place of a class"
    )
    with pytest.raises(
        UsageError, match="--by camera does not apply to videos; --by clip clusters video by video"
    ):
        opened(tmp_path, by="camera")
    asked = parse(["run", str(tmp_path), "--within", "clip"])
    assert (options_of(asked).by, within_of(asked)) == ("clip", "class")
    with pytest.raises(UsageError, match="--within clip and --by camera exclude each other"):
        options_of(parse(["run", str(tmp_path), "--within", "clip", "--by", "camera"]))
