"""Sizes of memory as people write them."""

from __future__ import annotations

import pytest

from tenpercent.errors import UsageError, bytes_text
from tenpercent.tree.memory_limit import checked_memory


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("4GiB", 4 << 30),
        ("4GB", 4_000_000_000),
        ("500MiB", 500 << 20),
        (" 500 mb ", 500_000_000),
        ("1.5GiB", 3 << 29),
        ("1tib", 1 << 40),
        ("2KB", 2000),
        ("64B", 64),
        ("4G", 4 << 30),
        ("4g", 4 << 30),
        ("4 GiB", 4 << 30),
        ("4Gi", 4 << 30),
        ("500m", 500 << 20),
        ("0.5T", 1 << 39),
        (".5k", 512),
        (".9GB", 900_000_000),  # like dask/dask#6310
        ("100k", 100 << 10),  # like klbostee/dumbo#10
        ("8192.", 8192),
        ("123456", 123_456),
        (123_456, 123_456),
        (None, None),
    ],
)
def test_a_size_is_read(written: int | str | None, size: int | None) -> None:
    assert checked_memory(written) == size


@pytest.mark.parametrize(
    "written",
    ["4GG", "", "GiB", "-3", "nan", "1e9", "4,5GiB", "4.G.", ".", "50%", "4 G B", True, 4.0, b"4GiB"],
)
def test_what_is_no_size_is_refused_with_one_that_is(written: object) -> None:
    with pytest.raises(UsageError, match=r"memory is .*; it must be a number of bytes .* e\.g\. 4GiB"):
        checked_memory(written)  # type: ignore[arg-type]


@pytest.mark.parametrize("written", ["0", 0, -1, "0.0GiB", "0.1B"])
def test_no_memory_at_all_is_refused(written: int | str) -> None:
    with pytest.raises(UsageError, match=r"memory is .*; it must be above 0"):
        checked_memory(written)


@pytest.mark.parametrize("size", [1, 1023, 1024, 5000, 300 << 20, (9 << 30) + 1, 12 << 30, 10**13])
def test_what_is_said_to_be_needed_is_enough_and_can_be_given(size: int) -> None:
    assert size <= (checked_memory(bytes_text(size).replace(" ", "")) or 0) <= 1.1 * size + 1
