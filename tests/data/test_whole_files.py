"""A whole image is taken whatever stands behind it; a part of one is refused as far as its format lets one know."""

from __future__ import annotations

import io
import random
import struct
import zlib
from functools import cache

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from tenpercent.data.decoding import jpeg, levels
from tenpercent.data.decoding.decode import Unreadable, decode
from tenpercent.data.decoding.pillow import open_image
from tenpercent.data.sources.options import Decoding

RULES_1, RULES_2 = Decoding(rules=1), Decoding()
EOI = b"\xff\xd9"


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Soft shapes with some noise, as a photograph has them."""
    chance = np.random.default_rng(seed)
    soft = Image.fromarray(chance.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8))
    values = np.asarray(soft.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray(np.clip(values + chance.normal(0, 8, values.shape), 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


WAYS: dict[str, dict[str, object]] = {
    "baseline": {},
    "fine": {"quality": 97, "subsampling": 0, "optimize": True},
    "coarse": {"quality": 10},
    "progressive": {"progressive": True},
    "progressive, fine": {"progressive": True, "quality": 97, "subsampling": 0},
    "restarts": {"restart_marker_rows": 1},
    "restarts within rows": {"restart_marker_blocks": 7},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 5},
    "half across": {"subsampling": 1},
}
MODES = ("RGB", "L", "CMYK")


@cache
def made(way: str, mode: str, width: int = 150, height: int = 90) -> bytes:
    return encoded(photo(width, height).convert(mode), "JPEG", **WAYS[way])


def segments(raw: bytes, marker: int) -> list[tuple[int, int, int]]:
    """First byte, the byte after it, and the next marker's place of each segment of one kind."""
    return [tuple(place) for kind, *place in jpeg._segments(raw) if kind == marker]


def unchecked(raw: bytes) -> np.ndarray:
    """What Pillow alone makes of it."""
    return np.asarray(Image.open(io.BytesIO(raw)).convert("RGB"))


# ---- JPEG: whole ones ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_whole_jpeg_has_the_pixels_that_pillow_gives(way: str, mode: str) -> None:
    raw = made(way, mode)
    assert np.array_equal(decode(raw), unchecked(raw))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_without_its_end_marker_is_whole(way: str, mode: str) -> None:
    raw = made(way, mode)
    assert raw.endswith(EOI)
    for part in (raw[:-2], raw[:-1]):
        assert np.array_equal(decode(part), decode(raw))


@pytest.mark.parametrize("way", WAYS)
def test_what_follows_the_end_marker_does_not_matter(way: str) -> None:
    raw = made(way, "RGB")
    second = made("progressive", "RGB")
    for more in (
        b"\0" * 5000,
        b"\n",
        b"appended: \xff\xd8\xff\xe1\xff\xff",
        second,
        second[:900],
        b"\xff" * 9 + EOI,
    ):
        assert np.array_equal(decode(raw + more), decode(raw))


@pytest.mark.parametrize("seed", range(40))
def test_whole_jpegs_of_every_size_and_kind_are_taken(seed: int) -> None:
    chance = random.Random(seed)
    width, height = chance.choice([(1, 1), (8, 8), (9, 17), (16, 33), (64, 5), (70, 90)])
    image = photo(width, height, seed).convert(chance.choice(MODES))
    if chance.random() < 0.3:
        image = Image.new("RGB", (width, height), chance.choice(["black", "white", "red"]))
    options = {"quality": chance.choice([1, 30, 75, 100])} | WAYS[chance.choice(list(WAYS))]
    raw = encoded(image, "JPEG", **options)
    for whole in (raw, raw[:-2], raw + b"more"):
        assert np.array_equal(decode(whole), unchecked(raw))


def test_a_black_jpeg_of_zeros_without_its_end_marker_is_whole() -> None:
    image = photo(640, 400)
    image.paste("black", (0, 100, 640, 400))
    for options in ({"optimize": True}, {"progressive": True}):
        raw = encoded(image, "JPEG", quality=10, **options)
        assert np.array_equal(decode(raw[:-2]), unchecked(raw))


def test_several_pictures_in_one_jpeg_give_the_first() -> None:
    first, second = photo(120, 80), photo(90, 60, seed=5)
    raw = encoded(first, "MPO", save_all=True, append_images=[second])
    assert np.array_equal(decode(raw), unchecked(encoded(first, "JPEG")))


def test_thumbnails_and_markers_in_headers_are_not_the_picture() -> None:
    raw = made("baseline", "RGB")
    thumbnail = made("progressive", "RGB", 40, 30)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    with_thumbnail = raw[:2] + segment + raw[2:]
    assert np.array_equal(decode(with_thumbnail), decode(raw))
    assert np.array_equal(decode(with_thumbnail[:-2]), decode(raw))


@pytest.mark.parametrize("way", ["baseline", "progressive"])
def test_stray_bytes_between_segments_do_not_matter(way: str) -> None:
    """Like python-pillow/Pillow#9106, 11 bytes before a marker."""
    raw = made(way, "RGB")
    at = segments(raw, 0xDB)[0][0] - 4
    assert np.array_equal(decode(raw[:at] + b"stray bytes" + raw[at:]), decode(raw))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_the_structure_of_plain_jpegs_is_known_without_reading_their_header_again(
    way: str, mode: str
) -> None:
    """The quick way gives what the long one does, or leaves it to that; nothing else than plain goes by it."""
    raw = made(way, mode)
    image = open_image(raw)
    assert image is not None
    quick, long = jpeg._plainest(image, raw), jpeg._structure(raw)
    assert long is not None
    plain = "progressive" not in way and "restarts" not in way
    assert (quick is not None) == plain
    if quick is not None:
        same = ("start", "stop", "interval", "complete", "ended")
        assert [getattr(quick, name) for name in same] == [getattr(long, name) for name in same]
    for other in (raw[:-2], raw[:-1], raw + b"more", raw[:-2] + EOI + EOI, raw[:-20] + EOI + raw[-20:]):
        opened = open_image(other)
        assert opened is not None
        assert jpeg._plainest(opened, other) is None


# ---- JPEG: parts of one --------------------------------------------------------------------------------------------


def scan_of(raw: bytes) -> tuple[int, int]:
    found = jpeg._structure(raw)
    assert found is not None
    return found.start, found.stop


def cuts(raw: bytes, count: int = 25) -> list[int]:
    """Places within the last scan, more than its last two blocks from the end."""
    start, stop = scan_of(raw)
    return sorted(random.Random(1).sample(range(start + 1, stop - 40), count))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", [way for way in WAYS if "progressive" not in way])
def test_a_jpeg_cut_and_closed_with_its_end_marker_is_refused(way: str, mode: str) -> None:
    raw = made(way, mode)
    for cut in cuts(raw):
        with pytest.raises(Unreadable, match="truncated"):
            decode(raw[:cut] + EOI)
        with pytest.raises(Unreadable, match="truncated"):
            decode(raw[:cut])


@pytest.mark.parametrize("way", ["progressive", "progressive, fine", "progressive with restarts"])
def test_a_progressive_jpeg_cut_within_a_scan_is_refused(way: str) -> None:
    raw = made(way, "RGB", 400, 300)
    scans = segments(raw, 0xDA)
    assert len(scans) == 10
    for _, start, end in scans:
        for part in (0.2, 0.5, 0.9):
            cut = start + int((end - start) * part)
            if end - cut > 20:
                with pytest.raises(Unreadable, match="truncated"):
                    decode(raw[:cut] + EOI)
                with pytest.raises(Unreadable, match="truncated"):
                    decode(raw[:cut])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", WAYS)
def test_a_jpeg_cut_near_its_end_with_no_end_marker_is_refused(way: str, mode: str) -> None:
    raw = made(way, mode)
    for cut in range(2, 60):
        try:
            found = decode(raw[: -2 - cut])
        except Unreadable:
            continue
        assert np.array_equal(found, decode(raw)), cut


@pytest.mark.parametrize("mode", MODES)
def test_a_progressive_jpeg_without_its_last_scans_is_refused(mode: str) -> None:
    raw = made("progressive", mode)
    for _, _, end in segments(raw, 0xDA)[:-1]:
        for part in (raw[:end], raw[:end] + EOI):
            with pytest.raises(Unreadable, match="last scan"):
                decode(part)


def test_a_jpeg_cut_between_two_scans_with_no_end_marker_is_refused() -> None:
    raw = made("progressive", "RGB", 400, 300)
    start, _ = scan_of(raw)
    for back in (1, 5, 12, 30):
        with pytest.raises(Unreadable, match="truncated"):
            decode(raw[: start - back])


@pytest.mark.parametrize("way", ["baseline", "fine", "progressive", "restarts"])
@pytest.mark.parametrize("part", [0.1, 0.3, 0.5, 0.8, 0.95])
def test_a_jpeg_whose_end_was_never_written_is_refused(way: str, part: float) -> None:
    raw = made(way, "RGB", 400, 300)
    cut = int(len(raw) * part)
    with pytest.raises(Unreadable, match=r"truncated|broken"):
        decode(raw[:cut] + bytes(len(raw) - cut))


@pytest.mark.parametrize("part", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_filled_with_zeros_and_closed_is_refused(mode: str, part: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    raw = encoded(Image.fromarray(noise).convert(mode), "JPEG", quality=90)
    start, stop = scan_of(raw)
    cut = start + int(part * (stop - start))
    with pytest.raises(Unreadable, match="truncated"):
        decode(raw[:cut] + bytes(stop - cut) + raw[stop:])


@pytest.mark.parametrize("count", [1, 63, 64, 500])
def test_a_jpeg_filled_up_with_zeros_behind_its_picture_is_whole(count: int) -> None:
    raw = made("baseline", "RGB")
    stop = scan_of(raw)[1]
    padded = raw[:stop] + bytes(count) + raw[stop:]
    assert (decode(padded) == unchecked(raw)).all()


def test_the_same_cut_jpeg_is_taken_by_rules_1() -> None:
    raw = made("baseline", "RGB")
    closed = raw[: cuts(raw)[0]] + EOI
    assert decode(closed, RULES_1).shape == (90, 150, 3)
    with pytest.raises(Unreadable):
        decode(closed)


def test_a_jpeg_without_one_of_its_colours_is_refused() -> None:
    """A frame of three colours, but one scan: of brightness alone."""
    grey, colour = made("baseline", "L"), made("fine", "RGB")
    frame, other = segments(grey, 0xC0)[0], segments(colour, 0xC0)[0]
    header = b"\xff\xc0" + struct.pack(">H", other[1] - other[0] + 2) + colour[other[0] : other[1]]
    with pytest.raises(Unreadable, match=r"truncated|broken"):
        decode(grey[: frame[0] - 4] + header + grey[frame[1] :])


def test_a_missing_restart_interval_is_noticed() -> None:
    raw = made("progressive with restarts", "RGB", 400, 300)
    start, stop = scan_of(raw)
    marks = [found.start() for found in jpeg._RESTART.finditer(raw, start, stop)]
    with pytest.raises(Unreadable, match="restart"):
        decode(raw[: marks[5]] + raw[stop:])


# ---- PNG -----------------------------------------------------------------------------------------------------------


def chunks(raw: bytes) -> list[tuple[bytes, int, int]]:
    """Kind, first byte and the byte after each chunk."""
    found, at = [], 8
    while at < len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        found.append((kind, at, at + 12 + size))
        at += 12 + size
    return found


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*more: bytes, mode: str = "RGB") -> bytes:
    """A PNG with further chunks before its pixels and after them."""
    raw = encoded(photo(60, 40).convert(mode), "PNG")
    first = next(at for kind, at, _ in chunks(raw) if kind == b"IDAT")
    return raw[:first] + b"".join(more) + raw[first:-12] + b"".join(more) + raw[-12:]


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tEXt"])
def test_a_png_with_a_wrong_checksum_is_refused(kind: bytes) -> None:
    image = photo(300, 200).quantize(16)
    raw = bytearray(encoded(image, "PNG", pnginfo=_text("note", "x")))
    at = next(end for each, _, end in chunks(bytes(raw)) if each == kind) - 1
    raw[at] ^= 1
    with pytest.raises(Unreadable, match=f"checksum of its {kind.decode()} chunk"):
        decode(bytes(raw))


def _text(key: str, value: str, **options: bool) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text(key, value, **options)
    return info


@pytest.mark.parametrize("place", [0.2, 0.5, 0.9, 0.999])
def test_a_png_with_a_flipped_bit_or_an_end_of_zeros_is_refused(place: float) -> None:
    raw = encoded(photo(300, 200), "PNG")
    at = int((len(raw) - 40) * place)
    flipped = bytearray(raw)
    flipped[at] ^= 16
    for damaged in (bytes(flipped), raw[:at] + bytes(len(raw) - at), raw[:at]):
        with pytest.raises(Unreadable):
            decode(damaged)


def test_a_png_without_its_last_chunk_is_whole() -> None:
    raw = encoded(photo(60, 40), "PNG")
    for part in (raw[:-12], raw[:-4], raw[:-1], raw + b"more"):
        assert np.array_equal(decode(part), decode(raw))


@pytest.mark.parametrize("size", [2**20 + 1, 3 * 2**20])
@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt", "iCCP"])
def test_a_mebibyte_of_text_is_no_reason_to_refuse_pixels(kind: str, size: int) -> None:
    """Like python-pillow/Pillow#8363 (text) and #2445 (profile)."""
    content = {
        "tEXt": b"Comment\0" + b"x" * size,
        "zTXt": b"Comment\0\0" + zlib.compress(b"x" * size),
        "iTXt": b"Comment\0\1\0\0\0" + zlib.compress(b"x" * size),
        "iCCP": b"profile\0\0" + zlib.compress(b"x" * size),
    }[kind]
    assert np.array_equal(decode(png_with(chunk(kind.encode(), content))), decode(png_with()))


def test_a_hundred_texts_are_no_reason_either() -> None:
    """Like libvips/libvips#2803."""
    texts = [chunk(b"tEXt", f"Key {number}".encode() + b"\0value") for number in range(100)]
    assert np.array_equal(decode(png_with(*texts)), decode(png_with()))


def test_seventy_mebibytes_of_texts_are_no_reason_either() -> None:
    """Pillow holds 64 MiB of texts at most."""
    text = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"x" * (2**20 - 10)))
    assert np.array_equal(decode(png_with(*[text] * 35)), decode(png_with()))


def test_exif_that_is_written_as_text_still_turns() -> None:
    block = b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHIHHI", 274, 3, 1, 6, 0, 0)
    text = f"\nexif\n{len(block):8}\n{block.hex()}\n".encode()
    assert decode(png_with(chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)))).shape == (
        60,
        40,
        3,
    )


def test_transparency_and_palettes_survive_what_is_passed_over() -> None:
    image = photo(60, 40).quantize(8)
    plain = encoded(image, "PNG", transparency=bytes([0, 255, 9, 255]))
    raw = encoded(image, "PNG", transparency=bytes([0, 255, 9, 255]), pnginfo=_text("note", "x" * 99))
    assert raw != plain
    assert np.array_equal(decode(raw), decode(plain))


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_bmp_shorter_than_it_declares_is_refused(cut: int) -> None:
    """Like python-pillow/Pillow#1347."""
    raw = encoded(photo(60, 40), "BMP")
    with pytest.raises(Unreadable, match="truncated"):
        decode(raw[:-cut])


# ---- WebP and the others -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lossless", [False, True])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.97])
def test_a_webp_whose_end_was_never_written_is_refused(lossless: bool, part: float) -> None:
    raw = encoded(photo(400, 300), "WEBP", lossless=lossless)
    cut = int(len(raw) * part)
    for damaged in (raw[:cut], raw[:cut] + bytes(len(raw) - cut)):
        with pytest.raises(Unreadable):
            decode(damaged)
    assert decode(raw[:cut] + bytes(len(raw) - cut), RULES_1).shape == (300, 400, 3)


@pytest.mark.parametrize("options", [{"method": 0}, {"method": 4}, {"lossless": True, "method": 0}])
def test_a_whole_webp_may_end_with_zeros(options: dict[str, object]) -> None:
    image = Image.new("RGB", (2000, 2000), "black")
    image.paste(photo(640, 400), (0, 0))
    raw = encoded(image, "WEBP", **options)
    assert np.array_equal(decode(raw), unchecked(raw))


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "JPEG2000"])
def test_compressed_images_whose_end_was_never_written_are_refused(kind: str) -> None:
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    raw = encoded(photo(300, 200), kind, **options)
    for part in (0.3, 0.6, 0.9):
        cut = int(len(raw) * part)
        with pytest.raises(Unreadable):
            decode(raw[:cut] + bytes(len(raw) - cut))


def test_strips_and_feeding_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = made("baseline", "RGB")
    whole = decode(raw)
    monkeypatch.setattr(levels, "STRIP", 999)
    assert np.array_equal(decode(raw), whole)
