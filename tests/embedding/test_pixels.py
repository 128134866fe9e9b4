"""Images become pixels of one size, in memory or decoded when needed, with the same values."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tenpercent.data.sources.source import ImageSource, Raw, content_hash
from tenpercent.embedding.pixels import canvas, fit, in_order, scan
from tenpercent.errors import SourceError, TenpercentError

Size = tuple[int, int]


def noise(size: Size, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def png(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def source_of(raws: Sequence[Raw]) -> ImageSource:
    ids = tuple(f"{row:04d}.png" for row in range(len(raws)))
    return ImageSource("made", ids, (None,) * len(raws), None, (), raws.__getitem__)


def everything(source: ImageSource) -> npt.NDArray[np.int64]:
    return np.arange(len(source), dtype=np.int64)


def mixed(sizes: Sequence[Size]) -> ImageSource:
    return source_of([png(noise(size, seed)) for seed, size in enumerate(sizes)])


def test_small_images_alike_stay_as_they_are() -> None:
    images = [noise((8, 12), seed) for seed in range(40)]
    found = scan(source_of([png(image) for image in images]), np.arange(40))
    assert found.pixels.size == (8, 12) and found.pixels.native and found.pixels.in_memory
    batch = found.pixels.batch([3, 1])
    assert tuple(batch.shape) == (2, 3, 8, 12)
    np.testing.assert_array_equal(batch.permute(0, 2, 3, 1).numpy(), [images[3], images[1]])


@pytest.mark.parametrize(
    ("sizes", "size"),
    [
        ([(8, 8)], (8, 8)),
        ([(64, 40), (64, 40)], (64, 40)),
        ([(8, 8), (9, 9), (9, 9)], (9, 9)),
        ([(9, 9), (8, 9), (8, 8)], (8, 8)),  # equally common: the smallest
        ([(8, 8), (8, 8), (65, 8)], (256, 256)),
        ([(96, 96), (96, 96)], (256, 256)),
    ],
)
def test_the_one_size_depends_on_the_sizes_alone(sizes: list[Size], size: Size) -> None:
    assert canvas(sizes, (256, 256)) == canvas(sizes[::-1], (256, 256)) == size
    pixels = scan(mixed(sizes), np.arange(len(sizes))).pixels
    assert pixels.size == size
    assert pixels.native == all(one == size for one in sizes)


@pytest.mark.parametrize("sizes", [[(65, 40)], [(48, 48), (90, 70), (9, 9)], [(90, 70), (48, 48), (48, 48)]])
@pytest.mark.parametrize("side", [16, 48, 64, 100])
def test_large_images_can_be_brought_to_another_side(sizes: list[Size], side: int) -> None:
    """Also to one at which small ones stay as they are, so that the array's size does not say which it is of."""
    source = mixed(sizes)
    kept = scan(source, everything(source), side=side).pixels
    fresh = scan(source, everything(source), memory_limit=0, side=side).pixels
    assert kept.size == fresh.size == (side, side) and kept.in_memory and not fresh.in_memory
    expected = [fit(noise(size, seed), (side, side)) for seed, size in enumerate(sizes)]
    for pixels in (kept, fresh):
        found = pixels.batch(np.arange(len(sizes))).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(found, expected)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([(8, 8), (5, 9), (9, 5), (64, 3), (70, 90), (300, 256)]), min_size=1, max_size=9)
)
def test_decoded_when_needed_is_the_same_bit_for_bit(sizes: list[Size]) -> None:
    source = mixed(sizes)
    rows = everything(source)
    kept = scan(source, rows).pixels
    fresh = scan(source, rows, memory_limit=0).pixels
    assert kept.in_memory and not fresh.in_memory and "decoded when needed" in fresh.describe()
    order = [rows[start : start + 2] for start in range(0, len(rows), 2)]
    for a, b, indices in zip(kept.batches(order), fresh.batches(order), order, strict=True):
        assert a.shape == (len(indices), 3, *kept.size)
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    expected = [fit(np.asarray(Image.open(io.BytesIO(source.read(row)))), kept.size) for row in rows]  # type: ignore[arg-type]
    np.testing.assert_array_equal(kept.batch(rows).permute(0, 2, 3, 1).numpy(), expected)


def test_a_limit_between_small_and_large_gives_up_half_way() -> None:
    source = mixed([(8, 8)] * 20 + [(70, 70)])
    assert not scan(source, everything(source), memory_limit=10_000).pixels.in_memory
    assert scan(source, everything(source), memory_limit=21 * 3 * 256 * 256).pixels.in_memory


def test_encoders_with_transforms_of_their_own_keep_no_large_images() -> None:
    source = mixed([(8, 8), (70, 70), (300, 20)])
    pixels = scan(source, everything(source), large=False).pixels
    assert not pixels.in_memory
    (images,) = pixels.originals([everything(source)], lambda image: image)
    assert [image.shape[:2] for image in images] == [(8, 8), (70, 70), (300, 20)]


def test_broken_images_are_rejected_with_a_reason_and_never_stop_the_run() -> None:
    good = [png(noise((8, 8), seed)) for seed in range(3)]
    source = source_of([good[0], b"not an image", good[1][:60], good[1], good[2]])
    found = scan(source, everything(source))
    assert [(one.id, one.row) for one in found.rejected] == [("0001.png", 1), ("0002.png", 2)]
    assert all(one.reason and "0x" not in one.reason for one in found.rejected)
    assert found.rows.tolist() == [0, 3, 4] and len(found.hashes) == len(found.pixels) == 3
    np.testing.assert_array_equal(found.pixels.batch([1])[0].permute(1, 2, 0).numpy(), noise((8, 8), 1))


def test_a_file_that_can_not_be_opened_is_rejected() -> None:
    def read(row: int) -> Raw:
        if row == 1:
            raise PermissionError(13, "Permission denied", "somewhere/b.png")
        return noise((8, 8), row)

    found = scan(ImageSource("made", ("a", "b", "c"), (None,) * 3, None, (), read), np.arange(3))
    assert [one.reason for one in found.rejected] == ["Permission denied"]


def test_more_than_half_rejected_is_an_error() -> None:
    good = png(noise((8, 8)))
    half = source_of([b"x", good, b"y", good])
    assert len(scan(half, everything(half)).rejected) == 2
    most = source_of([b"x", good, b"y", good, b"z"])
    with pytest.raises(TenpercentError, match=r"3 of 5 images .*'0000.png'.*repair"):
        scan(most, everything(most))


def test_no_images_is_an_error() -> None:
    with pytest.raises(SourceError, match="no images"):
        scan(mixed([(8, 8)]), np.arange(0))


def test_an_image_that_vanishes_after_the_scan_is_named() -> None:
    raws: list[Raw] = [png(noise((8, 8), seed)) for seed in range(3)]
    pixels = scan(source_of(raws), np.arange(3), memory_limit=0).pixels
    raws[2] = b"gone"
    with pytest.raises(TenpercentError, match=r"0002\.png.*could be read before"):
        pixels.batch([0, 2])


def test_hashes_tell_contents_apart() -> None:
    array = np.zeros((2, 3), np.uint8)
    hashes = {content_hash(raw) for raw in (b"a", b"b", array, array.reshape(3, 2), array.astype(np.int8))}
    assert len(hashes) == 5 and {len(found) for found in hashes} == {32}
    assert content_hash(np.asfortranarray(array)) == content_hash(array)


def test_threads_keep_the_order_and_stay_within_the_window() -> None:
    asked: list[int] = []

    def items() -> object:
        for item in range(100):
            asked.append(item)
            yield item

    for done, result in enumerate(in_order(lambda item: item * item, items(), ahead=5)):  # type: ignore[arg-type]
        assert result == done * done
        assert len(asked) <= done + 6
