"""The line on groups, where one image went, several of one group, and several of many."""

from __future__ import annotations

import numpy as np
import pytest

import tenpercent as tp
from tenpercent.reporting.summary import describe_groups

TURNS = (0.0, 0.01, 0.02, 0.9, 0.91, 2.0)  # angles


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (5, "It is in a group of 2 frames;"),
        (4, "They are in 2 groups, the largest of 2 frames;"),
        (3, "They are in 2 groups, the largest of 3 frames;"),
    ],
)
def test_groups_are_counted_in_plain_english(keep: int, said: str) -> None:
    vectors = np.column_stack([np.cos(TURNS), np.sin(TURNS)])
    assert describe_groups(tp.run(vectors, keep=keep), "frame").startswith(said)


def test_several_images_of_one_group() -> None:
    vectors = np.column_stack([np.cos(TURNS[:3]), np.sin(TURNS[:3])])
    assert describe_groups(tp.run(vectors, keep=1 / 3), "image").startswith(
        "They are in a group of 3 images;"
    )
