"""Representatives by id become positions, and ids of a stored selection those of its embeddings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import tenpercent as tp
from tenpercent.selection.selection import _places


@pytest.mark.parametrize("seed", range(20))
def test_places_are_those_that_a_table_of_all_ids_gives(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = int(random.integers(1, 30))
    ids = [f"{one:02d}" for one in range(n)]
    own = random.random(n) < 0.5
    other = random.choice(np.array([*ids, None, "absent"], dtype=object), n)
    names = [name if stays else given for name, stays, given in zip(ids, own, other, strict=True)]
    column = pa.chunked_array([pa.array(ids[: n // 2], pa.string()), pa.array(ids[n // 2 :], pa.string())])
    said = pa.chunked_array([pa.array(names, pa.string())])
    want = pc.index_in(said, pa.array(ids)).fill_null(-1).to_pylist()
    assert _places(said, column).tolist() == want


def test_a_stored_selection_holds_the_ids_of_its_embeddings_once(tmp_path: Path) -> None:
    embeddings = tp.Embeddings.from_numpy(np.random.default_rng(0).normal(size=(30, 4)))
    tp.select(tp.cluster(embeddings, keep=0.5), keep=0.5).save(tmp_path / "selection.parquet")
    with_them = tp.Selection.load(tmp_path / "selection.parquet", embeddings)
    assert with_them.ids is embeddings.ids
    assert tp.Selection.load(tmp_path / "selection.parquet").ids.tolist() == embeddings.ids.tolist()
