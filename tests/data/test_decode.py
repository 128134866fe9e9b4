"""Images of every kind come out as a person sees them; broken ones come with a reason."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from examples import some
from tenpercent.data.decoding.decode import Unreadable, decode, extensions
from tenpercent.data.decoding.thumbnails import data_uri, thumbnail
from tenpercent.data.sources.source import ImageSource


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def photo(width: int = 40, height: int = 24, seed: int = 0) -> Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


PHOTO = photo()
JPEG = encoded(PHOTO, "JPEG", quality=90)


def test_rgb_as_stored() -> None:
    assert np.array_equal(decode(encoded(PHOTO)), np.asarray(PHOTO))
    assert np.array_equal(decode(JPEG), np.asarray(Image.open(io.BytesIO(JPEG))))
    assert decode(JPEG).flags.writeable


def test_grey_gets_three_equal_channels() -> None:
    grey = PHOTO.convert("L")
    found = decode(encoded(grey))
    assert np.array_equal(found, np.repeat(np.asarray(grey)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_cut(kind: str) -> None:
    values = np.array([[0, 128, 257, 32768, 65535]], dtype=np.uint16)
    expected = [0, 0, 1, 128, 255]
    assert decode(encoded(Image.fromarray(values), kind))[0, :, 1].tolist() == expected


def test_thirty_two_bits_and_floats() -> None:
    wide = Image.fromarray(np.array([[-1000, 0, 1000]], dtype=np.int32))
    assert decode(encoded(wide, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    unit = Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32))
    assert decode(encoded(unit, "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    bytes_as_floats = Image.fromarray(np.array([[0.0, 7.0, 255.0]], dtype=np.float32))
    assert decode(encoded(bytes_as_floats, "TIFF"))[0, :, 0].tolist() == [0, 7, 255]
    broken = Image.fromarray(np.array([[0.0, np.nan]], dtype=np.float32))
    with pytest.raises(Unreadable, match="nan"):
        decode(encoded(broken, "TIFF"))


def test_palette_and_bilevel() -> None:
    palette = PHOTO.quantize(16)
    assert np.array_equal(decode(encoded(palette)), np.asarray(palette.convert("RGB")))
    bilevel = PHOTO.convert("1")
    assert set(np.unique(decode(encoded(bilevel)))) == {0, 255}


def test_transparency_is_laid_on_white() -> None:
    rgba = Image.new("RGBA", (3, 1))
    for x, alpha in enumerate((0, 128, 255)):
        rgba.putpixel((x, 0), (255, 0, 0, alpha))
    assert decode(encoded(rgba))[0].tolist() == [[255, 255, 255], [255, 127, 127], [255, 0, 0]]
    la = Image.new("LA", (2, 1), (0, 0))
    la.putpixel((1, 0), (0, 255))
    assert decode(encoded(la))[0, :, 0].tolist() == [255, 0]


def test_palette_and_grey_with_a_transparent_colour() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putpixel((1, 0), 1)
    assert decode(encoded(palette, transparency=0))[0].tolist() == [[255, 255, 255], [200, 100, 50]]
    grey = Image.new("L", (2, 1), 7)
    grey.putpixel((1, 0), 9)
    assert decode(encoded(grey, transparency=7))[0, :, 0].tolist() == [255, 9]


def test_cmyk_looks_like_the_picture_it_was_made_from() -> None:
    found = decode(encoded(PHOTO.convert("CMYK"), "JPEG", quality=95))
    assert np.abs(found.astype(int) - np.asarray(PHOTO)).mean() < 8
    adobe = Image.open(io.BytesIO(encoded(PHOTO.convert("CMYK"), "JPEG", quality=95)))
    assert adobe.mode == "CMYK"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    values = np.zeros((16, 32, 3), dtype=np.uint8)
    values[:8, :16] = 255  # bright top left as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(Image.fromarray(values), kind, exif=exif))
    assert found.shape == ((16, 32, 3) if orientation <= 4 else (32, 16, 3))
    height, width = found.shape[:2]
    quarters = {
        (y, x): found[y * height // 2 : (y + 1) * height // 2, x * width // 2 : (x + 1) * width // 2].mean()
        for y in (0, 1)
        for x in (0, 1)
    }
    bright = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}
    assert max(quarters, key=quarters.__getitem__) == bright[orientation]


def test_broken_exif_does_not_reject_a_picture() -> None:
    raw = encoded(PHOTO, "JPEG", exif=b"Exif\x00\x00XX*\x00garbage")
    assert decode(raw).shape == (24, 40, 3)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    raw = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
    assert decode(raw)[0, 0].tolist()[0] > 240 and decode(raw)[0, 0].tolist()[2] < 15


@pytest.mark.parametrize("raw", [b"", b"not an image at all", b"\xff\xd8\xff", b"GIF89a"])
def test_what_is_no_image_has_a_reason(raw: bytes) -> None:
    with pytest.raises(Unreadable) as caught:
        decode(raw)
    assert str(caught.value) and "\n" not in str(caught.value)


@settings(max_examples=some(30), deadline=None)
@given(st.sampled_from(["JPEG", "PROGRESSIVE", "PNG", "WEBP", "TIFF", "BMP", "GIF"]), st.floats(0, 0.999))
def test_a_truncated_file_is_rejected_never_half_read(kind: str, part: float) -> None:
    options: dict[str, object] = {"progressive": True} if kind == "PROGRESSIVE" else {}
    raw = encoded(PHOTO, "JPEG" if kind == "PROGRESSIVE" else kind, **options)
    whole = decode(raw)
    try:
        found = decode(raw[: int(len(raw) * part)])
    except Unreadable as error:
        assert str(error)
    else:  # only a trailer was cut off: every pixel is there
        assert np.array_equal(found, whole)


def test_half_a_jpeg_is_rejected() -> None:
    with pytest.raises(Unreadable, match="truncated"):
        decode(JPEG[: len(JPEG) // 2])


@settings(max_examples=some(40), deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP"]), st.data())
def test_damaged_bytes_give_pixels_or_a_reason(kind: str, data: st.DataObject) -> None:
    raw = bytearray(encoded(PHOTO, kind))
    for _ in range(3):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(raw)).dtype == np.uint8
    except Unreadable as error:
        assert str(error)


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG whose header claims width × height pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_000, 9_000), (30_000, 30_000)])
def test_decompression_bombs_are_refused_from_their_header(size: tuple[int, int]) -> None:
    with pytest.raises(Unreadable, match="too many pixels"):
        decode(bomb(*size))


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_bombs_are_refused_where_warnings_are_errors() -> None:
    with pytest.raises(Unreadable, match="too many pixels"):
        decode(bomb(10_000, 9_000))


def test_arrays() -> None:
    grey = np.array([[0, 7, 255]], dtype=np.uint8)
    assert decode(grey).tolist() == decode(grey[:, :, None]).tolist() == [[[v] * 3 for v in (0, 7, 255)]]
    assert decode(np.array([[False, True]]))[0, :, 2].tolist() == [0, 255]
    assert decode(np.array([[0, 257, 65535]], dtype=np.uint16))[0, :, 0].tolist() == [0, 1, 255]
    assert decode(np.array([[0, 65535]], dtype=">u2"))[0, :, 0].tolist() == [0, 255]
    assert decode(np.array([[0.0, 0.5, 1.0]], dtype=np.float16))[0, :, 0].tolist() == [0, 128, 255]
    rgba = np.array([[[10, 20, 30, 0], [10, 20, 30, 255]]], dtype=np.uint8)
    assert decode(rgba)[0].tolist() == [[255, 255, 255], [10, 20, 30]]


def test_an_array_is_not_changed_and_not_shared() -> None:
    array = np.zeros((2, 2, 3), dtype=np.uint8)
    decode(array)[:] = 9
    assert array.sum() == 0


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2, 2), np.uint8), r"\(2, 2, 2\)"),
        (np.zeros(4, np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.zeros((2, 2), np.int64), "int64"),
        (np.full((2, 2), 1.5), "1.5"),
        (np.full((2, 2), np.nan), "nan"),
        (np.full((2, 2), None, dtype=object), "object"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        decode(array)


def test_programs_and_documents_are_no_images() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"} <= extensions()
    assert not {".eps", ".ps", ".pdf", ".mpg", ".mpeg", ".h5", ".txt", ".npy"} & extensions()
    with pytest.raises(Unreadable, match="not an image"):
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")


def one(raw: object) -> ImageSource:
    return ImageSource("x", ("0",), (None,), None, (), read=lambda row: raw)  # type: ignore[arg-type, return-value]


def test_thumbnails_enlarge_small_images_by_whole_factors_with_hard_pixels() -> None:
    digit = np.arange(64, dtype=np.uint8).reshape(8, 8)
    picture = thumbnail(one(digit), 0, 100)
    shown = np.asarray(Image.open(io.BytesIO(picture)))
    assert shown.shape == (96, 96, 3)
    assert np.array_equal(shown[::12, ::12, 0], digit)
    assert data_uri(picture).startswith("data:image/png;base64,iVBOR")


def test_thumbnails_reduce_large_images_and_keep_their_aspect() -> None:
    picture = thumbnail(one(encoded(photo(640, 320))), 0, 96)
    assert Image.open(io.BytesIO(picture)).size == (96, 48)
    assert data_uri(picture).startswith("data:image/jpeg;base64,")
    with pytest.raises(Unreadable):
        thumbnail(one(b""), 0, 96)
