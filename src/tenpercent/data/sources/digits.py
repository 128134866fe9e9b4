"""Bundled digits: 1,797 real handwritten digits of 8×8 pixels that come with scikit-learn."""

from __future__ import annotations

import numpy as np

from ...errors import require
from ..store.embeddings import row_ids
from .source import ImageSource, Raw
from .splits import choose_split

N_TRAIN = 1437  # the first rows are the training set, the other 360 the test set


def open_digits(split: str | None) -> ImageSource:
    """Open a split of the digits; ids are row numbers in the whole set, so no id is in both splits.

    The 17 levels of grey (0 to 16) are spread over 0 to 255.
    """
    loaded = require("sklearn.datasets", "images").load_digits()
    images = np.rint(loaded.images * (255 / 16)).astype(np.uint8)
    images.setflags(write=False)
    chosen = choose_split(split, ("train", "test"), "digits")
    rows = slice(0, N_TRAIN) if chosen == "train" else slice(N_TRAIN, None)
    ids = tuple(row_ids(len(images))[rows].tolist())
    part = images[rows]

    def read(row: int) -> Raw:
        pixels: Raw = part[row]
        return pixels

    return ImageSource(
        spec="digits",
        ids=ids,
        paths=(None,) * len(ids),
        labels=loaded.target[rows].astype(np.int64),
        class_names=tuple(str(name) for name in loaded.target_names),
        read=read,
        split=chosen,
        splits=("train", "test"),
    )
