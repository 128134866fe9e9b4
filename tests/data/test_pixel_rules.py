"""Which way up, how bright and how large: what decides it, and what must not."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin, TiffImagePlugin

from tenpercent.data.decoding.decode import Unreadable, decode
from tenpercent.data.decoding.levels import on_white
from tenpercent.data.sources.opening import open_source
from tenpercent.data.sources.options import Decoding, SourceOptions
from tenpercent.data.sources.source import ImageSource
from tenpercent.embedding.pixels import scan

RULES_1, RULES_2 = Decoding(rules=1), Decoding()
BRIGHT = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}


def stored(width: int = 32, height: int = 16) -> Image.Image:
    """A picture with its bright quarter at the top left as stored."""
    values = np.zeros((height, width, 3), dtype=np.uint8)
    values[: height // 2, : width // 2] = 255
    return Image.fromarray(values)


def bright_quarter(found: np.ndarray) -> tuple[int, int]:
    height, width = found.shape[:2]
    quarters = {
        (y, x): found[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2].mean()
        for y in (0, 1)
        for x in (0, 1)
    }
    return max(quarters, key=quarters.__getitem__)


def exif(*entries: tuple[int, int, int, bytes], order: str = "<", prefix: bytes = b"Exif\0\0") -> bytes:
    """An EXIF block of (tag, type, count, four bytes)."""
    head = b"II*\0" if order == "<" else b"MM\0*"
    body = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    directory = struct.pack(order + "H", len(entries)) + body + b"\0\0\0\0"
    return prefix + head + struct.pack(order + "I", 8) + directory


def short(tag: int, value: int, order: str = "<") -> tuple[int, int, int, bytes]:
    return tag, 3, 1, struct.pack(order + "HH", value, 0)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


ODD = {
    "ResolutionUnit as BYTE": (296, 1, 1, b"\2\0\0\0"),
    "ResolutionUnit as text": (296, 2, 1, b"x\0\0\0"),
    "Copyright beyond the end": (33432, 2, 900, struct.pack("<I", 60_000)),
    "unknown type": (305, 77, 3, b"\1\2\3\4"),
    "rational by zero, beyond the end": (282, 5, 1, struct.pack("<I", 1_000_000)),
    "no value at all": (271, 2, 0, b"\0\0\0\0"),  # like python-pillow/Pillow#4215
    "text in no encoding": (33432, 2, 4, b"\xff\xfe\x81\x90"),  # like huggingface/datasets#7668
    "GPS directory that is none": (34853, 4, 1, struct.pack("<I", 3)),
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_an_odd_tag_beside_the_orientation_changes_nothing(kind: str, odd: str) -> None:
    block = exif(short(274, 6), ODD[odd])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # and no warning of Pillow's reaches the screen
        found = decode(encoded(stored(), kind, exif=block))
    assert found.shape == (32, 16, 3)
    assert bright_quarter(found) == BRIGHT[6]


def tiff(*more: tuple[int, int, int, bytes], width: int = 4, height: int = 2, **odd: object) -> bytes:
    """A grey TIFF of 8 bits, uncompressed, with further tags."""
    data = bytes(range(width * height)) if "data" not in odd else odd["data"]
    assert isinstance(data, bytes)
    entries = {
        256: short(256, width),
        257: short(257, height),
        258: short(258, 8),
        259: short(259, 1),
        262: short(262, 1),
        277: short(277, 1),
        278: short(278, height),
        279: (279, 4, 1, struct.pack("<I", len(data))),
    }
    entries |= {entry[0]: entry for entry in more}
    entries[273] = (273, 4, 1, struct.pack("<I", 8 + 2 + 12 * (len(entries) + 1) + 4))
    return exif(*(entries[tag] for tag in sorted(entries)), prefix=b"") + data


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_tiff_with_an_odd_tag_is_turned_all_the_same(turn: int) -> None:
    values = np.arange(8, dtype=np.uint8).reshape(2, 4)
    expected = decode(encoded(Image.fromarray(values), "PNG", exif=exif(short(274, turn))))
    found = decode(tiff(short(274, turn), ODD["ResolutionUnit as BYTE"]))
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("turn", range(1, 9))
def test_a_large_image_is_turned_strip_by_strip(turn: int, order: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    raw = encoded(
        Image.fromarray(values), "PNG", compress_level=0, exif=exif(short(274, turn, order), order=order)
    )
    assert np.array_equal(decode(raw), decode(raw, RULES_1))


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def with_xmp(kind: str) -> bytes:
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        return encoded(stored(), kind, pnginfo=info)
    if kind == "TIFF":
        tags = TiffImagePlugin.ImageFileDirectory_v2()
        tags[700] = XMP
        return encoded(stored(), kind, tiffinfo=tags)
    return encoded(stored(), kind, xmp=XMP)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_xmp_alone_turns_nothing(kind: str) -> None:
    assert decode(with_xmp(kind)).shape == (16, 32, 3)
    assert decode(with_xmp(kind), RULES_1).shape == (32, 16, 3)  # runs of 0.1 keep the pixels they have


def test_exif_goes_before_xmp_that_says_otherwise() -> None:
    raw = encoded(stored(), "JPEG", xmp=XMP, exif=exif(short(274, 3)))
    assert bright_quarter(decode(raw)) == BRIGHT[3]


@pytest.mark.parametrize("value", [0, 9, 255, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(value: int) -> None:
    assert bright_quarter(decode(encoded(stored(), "JPEG", exif=exif(short(274, value))))) == (0, 0)


@pytest.mark.parametrize("block", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"])
def test_an_exif_block_cut_short_turns_nothing(block: bytes) -> None:
    raw = encoded(stored(), "PNG", exif=block) if block else encoded(stored())
    assert bright_quarter(decode(raw)) == (0, 0)


# ---- levels --------------------------------------------------------------------------------------------------------


def numbers(
    values: np.ndarray, bits: int, *, white_is_zero: bool = False, sample_format: int = 1, more: tuple = ()
) -> bytes:
    """An uncompressed grey TIFF of one row."""
    return tiff(
        short(258, bits),
        short(262, 0 if white_is_zero else 1),
        short(339, sample_format),
        *more,
        width=len(values),
        height=1,
        data=values.tobytes(),
    )


def levels(raw: bytes, how: Decoding = RULES_2) -> list[int]:
    return decode(raw, how)[0, :, 1].tolist()


def test_white_is_zero_in_every_depth() -> None:
    assert levels(numbers(np.array([0, 1, 255], np.uint8), 8, white_is_zero=True)) == [255, 254, 0]
    sixteen = numbers(np.array([0, 257, 65535], np.uint16), 16, white_is_zero=True)
    assert levels(sixteen) == [255, 254, 0]
    floats = numbers(np.array([0, 0.5, 1], np.float32), 32, white_is_zero=True, sample_format=3)
    assert levels(floats)[::2] == [255, 0]
    wide = numbers(np.array([0, 7, 255], np.float32), 32, white_is_zero=True, sample_format=3)
    assert levels(wide) == [255, 248, 0]
    far = numbers(np.array([-1000, 1000], np.float32), 32, white_is_zero=True, sample_format=3)
    assert levels(far) == [255, 0]
    assert levels(sixteen, RULES_1) == [0, 1, 255]


@pytest.mark.parametrize("most", [1023, 4095, 16383, 1000])
def test_the_maximum_that_a_file_states_is_white(most: int) -> None:
    values = np.array([0, most // 2, most], np.uint16)
    raw = numbers(values, 16, more=(short(281, most),))
    assert levels(raw) == [0, round(most // 2 * 255 / most), 255]
    assert levels(raw, RULES_1)[2] == round(most / 257)


def test_a_maximum_that_values_exceed_is_not_true() -> None:
    assert levels(numbers(np.array([0, 65535], np.uint16), 16, more=(short(281, 255),))) == [0, 255]


def test_twelve_bits_packed_are_not_black() -> None:
    packed = np.array([0x00, 0x08, 0x00, 0xFF, 0xF0, 0x01], np.uint8)  # 0, 2048, 4095, 1
    raw = tiff(short(258, 12), width=4, height=1, data=packed.tobytes())
    assert levels(raw) == [0, 128, 255, 0]
    assert max(levels(raw, RULES_1)) == 16


def test_a_pgm_says_its_maximum() -> None:
    raw = b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes()
    assert levels(raw) == [0, 128, 255]


def test_int8_and_uint32_do_not_wrap() -> None:
    assert levels(numbers(np.array([-128, 0, 127], np.int8), 8, sample_format=2)) == [0, 128, 255]
    assert levels(numbers(np.array([0, 5, 127], np.int8), 8, sample_format=2)) == [0, 5, 127]
    wide = np.array([0, 2**31, 2**32 - 1], np.uint32)
    assert levels(numbers(wide, 32)) == [0, 128, 255]
    assert levels(numbers(np.array([0, 65535], np.uint32), 32)) == [0, 255]
    assert levels(numbers(wide, 32), RULES_1) != [0, 128, 255]
    signed = np.array([-(2**31), 0, 2**31 - 1], np.int32)
    assert levels(numbers(signed, 32, sample_format=2)) == [0, 128, 255]


def test_sixteen_bit_grey_with_a_transparent_level() -> None:
    values = np.array([[0, 300, 65535]], np.uint16)
    raw = encoded(Image.fromarray(values), "PNG", transparency=300)
    assert levels(raw) == [0, 255, 255]


def test_white_below_every_colour_and_alpha() -> None:
    colour, alpha = np.meshgrid(np.arange(256), np.arange(256))
    rgba = np.stack([colour, colour, colour, alpha], axis=2).astype(np.uint8)
    expected = np.floor((colour * alpha + 255 * (255 - alpha)) / 255 + 0.5)
    assert np.array_equal(on_white(rgba)[:, :, 0], expected)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I;16", "F", "I"])
def test_strips_give_the_pixels_of_the_whole(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 70, 4), dtype=np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.arange(4200, dtype=np.uint16).reshape(60, 70) * 15)
    elif mode in ("F", "I"):
        image = Image.fromarray(
            (np.arange(4200).reshape(60, 70) - 99).astype(np.float32 if mode == "F" else np.int32)
        )
    else:
        image = rgba.convert(mode) if mode != "P" else rgba.quantize(32)
    raw = encoded(image, "TIFF")
    whole = decode(raw)
    monkeypatch.setattr("tenpercent.data.decoding.levels.STRIP", 333)
    assert np.array_equal(decode(raw), whole)


# ---- limits and warnings -------------------------------------------------------------------------------------------


def test_the_limit_of_pixels_is_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = encoded(stored(100, 100))
    with pytest.raises(Unreadable, match=r"100 × 100 is above the limit of 9,999; --max-pixels 10000"):
        decode(raw, Decoding(max_pixels=9_999))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)  # Pillow would raise from 2,000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "ICO"):
            options = {"sizes": [(100, 100)]} if kind == "ICO" else {}
            assert decode(encoded(stored(100, 100), kind, **options)).shape == (100, 100, 3), kind
    assert Image.MAX_IMAGE_PIXELS == 1_000


def test_palettes_with_transparency_warn_of_nothing() -> None:
    palette = stored().quantize(4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(encoded(palette, "PNG", transparency=bytes([0, 128, 255, 255]))).shape == (16, 32, 3)


def test_a_tiff_cut_in_its_directory_warns_of_nothing() -> None:
    raw = tiff((305, 2, 4000, struct.pack("<I", 60_000)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(raw).shape == (2, 4, 3)


def test_decoding_leaves_filters_of_warnings_and_limits_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    before = list(warnings.filters)
    raws = [encoded(stored(), kind) for kind in ("PNG", "JPEG", "TIFF", "WEBP")] + [b"broken"]

    def work() -> None:
        for _ in range(50):
            for raw in raws:
                try:
                    decode(raw)
                except Unreadable:
                    assert raw == b"broken"

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before
    assert Image.MAX_IMAGE_PIXELS == 10


def test_a_higher_limit_of_ours_lifts_those_within_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like scalableminds/webknossos-libs#892: the limit is one for all libraries of a process."""
    limits: list[int | None] = []
    before = Image.Image.convert

    def spied(image: Image.Image, *arguments: object, **options: object) -> Image.Image:
        limits.append(Image.MAX_IMAGE_PIXELS)
        return before(image, *arguments, **options)

    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000)
    monkeypatch.setattr(Image.Image, "convert", spied)
    raw = encoded(stored(20, 20).quantize(4))
    decode(raw, Decoding(max_pixels=900))
    decode(raw, Decoding(max_pixels=2_000))
    assert limits == [1_000, None]
    assert Image.MAX_IMAGE_PIXELS == 1_000


@pytest.mark.parametrize("length", range(1, 20))
def test_the_first_bytes_of_any_file_are_no_image(length: int) -> None:
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM", "TGA"):
        with pytest.raises(Unreadable, match=r"not an image|broken|truncated") as caught:
            decode(encoded(stored(), kind)[:length])
        assert "unpack_from" not in str(caught.value)


def test_a_run_takes_images_up_to_its_limit_and_warns_of_none(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(4):
            values = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
            raw = encoded(
                Image.fromarray(values), "JPEG", exif=exif(short(274, 6), ODD["Copyright beyond the end"])
            )
            (tmp_path / "photos" / name / f"{number}.jpg").write_bytes(raw)
    large = encoded(Image.fromarray(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)))
    (tmp_path / "photos" / "a" / "large.png").write_bytes(large)
    source = open_source(tmp_path / "photos", SourceOptions(max_pixels=2_000))
    assert isinstance(source, ImageSource)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = scan(source, np.arange(len(source)))
    assert [(each.id, "limit of 2,000" in each.reason) for each in found.rejected] == [("a/large.png", True)]
    assert found.sizes.tolist() == [[30, 20]] * 8
    more = open_source(tmp_path / "photos", SourceOptions(max_pixels=2_500))
    assert isinstance(more, ImageSource) and not scan(more, np.arange(len(more))).rejected
