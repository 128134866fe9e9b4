"""Tables as other programs lay them out: `NAME=VALUE` folders, links of the hub's cache, configurations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from test_sources import colours, dataset, labels, opened, png, table, write

from tenpercent.data.sources.opening import SourceOptions, open_source, open_split
from tenpercent.data.sources.splits import split_of_file
from tenpercent.data.store.embeddings import Embeddings
from tenpercent.embedding.stage import embed
from tenpercent.errors import SourceError

# ---- folders that are columns --------------------------------------------------------------------------------------


def test_folders_of_spark_are_columns(tmp_path: Path) -> None:
    for number, folder in enumerate(["label=cat", "label=sea%20lion", "label=__HIVE_DEFAULT_PARTITION__"]):
        write(tmp_path / folder / "part-00000-c000.snappy.parquet", table(2, start=2 * number))
        (tmp_path / folder / ".part-00000-c000.snappy.parquet.crc").write_text("")
    (tmp_path / "_SUCCESS").write_text("")
    source = opened(tmp_path)
    assert source.class_names == ("cat", "sea lion") and source.taken["labels"] == "column label"
    found = dict(zip(colours(source), labels(source), strict=True))
    assert found == {0: 0, 1: 0, 2: 1, 3: 1, 4: -1, 5: -1}
    assert source.taken["none"] == "null means no label (2 images)"
    assert opened(tmp_path, rules=1).labels is None


def test_folders_that_pyarrow_writes_are_columns(tmp_path: Path) -> None:
    made = pa.table(
        {"image": [png(row) for row in range(4)], "class": ["b/c", "a=1", "ü", "a=1"], "year": [10, 9, 9, 9]}
    )
    flavour = pads.partitioning(pa.schema([("year", pa.int64()), ("class", pa.string())]), flavor="hive")
    pads.write_dataset(made, tmp_path / "set", format="parquet", partitioning=flavour)
    source = opened(tmp_path / "set")
    assert source.class_names == ("a=1", "b/c", "ü")
    found = {
        colour: source.class_names[code] for colour, code in zip(colours(source), labels(source), strict=True)
    }
    assert found == {0: "b/c", 1: "a=1", 2: "ü", 3: "a=1"}
    assert opened(tmp_path / "set", label_column="year").class_names == ("9", "10")  # numbers, in their order


def test_folders_of_pandas_are_columns(tmp_path: Path) -> None:  # like pola-rs/r-polars#404
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"image": [png(row) for row in range(4)], "label": [5, 12, 5, 12]})
    frame.to_parquet(tmp_path / "set", partition_cols=["label"], index=False)
    source = opened(tmp_path / "set")
    assert source.class_names == ("5", "12")
    assert [source.class_names[code] for code in labels(source)] == [
        ["5", "12"][row % 2] for row in colours(source)
    ]


def test_a_column_in_the_files_comes_before_that_of_the_folders(
    tmp_path: Path,
) -> None:  # like pola-rs/polars#17203
    write(tmp_path / "label=wrong" / "0.parquet", table(2, label=pa.array(["a", "b"])))
    assert opened(tmp_path).class_names == ("a", "b")


def test_folders_can_hold_the_splits(tmp_path: Path) -> None:
    """Nested folders, as in apache/arrow#41779."""
    for split, start in (("train", 0), ("test", 2)):
        for label in ("cat", "my_test"):
            write(tmp_path / f"split={split}" / f"label={label}" / "0.parquet", table(2, start=start))
    source = opened(tmp_path)
    assert (source.split, source.splits, len(source)) == ("train", ("test", "train"), 4)
    assert source.class_names == ("cat", "my_test") and labels(source) == [0, 0, 1, 1]
    test = open_split(tmp_path, SourceOptions(), "test")
    assert test is not None and len(test) == 4 and test.class_names == ("cat", "my_test")
    assert split_of_file("label=train/0.parquet") is None
    assert split_of_file("label=my_test/0.parquet", rules=1) == "test"
    assert split_of_file("split=val/label=a/0.parquet") == "validation"
    assert split_of_file("split=extra/0.parquet") == "extra"


def test_folders_with_vectors_and_export_of_their_columns(tmp_path: Path) -> None:
    for number, label in enumerate(["x", "y"]):
        content = pa.table({"v": pa.array([[1.0, number], [2.0, number]]), "id": [f"{label}0", f"{label}1"]})
        write(tmp_path / "v" / f"label={label}" / "0.parquet", content)
        write(tmp_path / "i" / f"label={label}" / "0.parquet", table(2, start=2 * number))
    found = open_source(tmp_path / "v")
    assert isinstance(found, Embeddings) and found.labels is not None
    assert (found.class_names, found.labels.tolist(), found.ids.tolist()) == (
        ("x", "y"),
        [0, 0, 1, 1],
        ["x0", "x1", "y0", "y1"],
    )
    source = opened(tmp_path / "i")
    assert source.columns is not None
    kept = source.columns(np.array([1, 2])).read_all()
    assert kept["label"].to_pylist() == ["x", "y"] and kept["img"][1].as_py()["path"] == "im/002.png"


def test_types_of_other_writers_can_be_exported(tmp_path: Path) -> None:  # like apache/iceberg-python#1745
    made = pa.table(
        {
            "image": pa.array([png(0), png(1)], pa.binary_view()),
            "label": pa.array(["a", "b"], pa.string_view()),
            "more": pa.array(["x", "x"]).dictionary_encode(),
        }
    )
    source = opened(write(tmp_path / "x.parquet", made))
    assert source.columns is not None
    kept = source.columns(np.array([1])).read_all()
    assert kept.schema.types == [pa.large_binary(), pa.large_string(), pa.string()]
    assert kept["image"].to_pylist() == [png(1)] and kept["more"].to_pylist() == ["x"]


# ---- the hub's cache -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["train.parquet", "data/train-00000-of-00001.PARQUET", "t.pq"])
def test_a_file_is_opened_by_the_name_of_the_link(tmp_path: Path, name: str) -> None:
    write(tmp_path / "blobs" / "b5e12c", table(3, label=pa.array(["a", "b", "a"])))
    link = tmp_path / "snapshots" / "0f3" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "blobs" / "b5e12c")
    source = opened(link)
    assert source.class_names == ("a", "b") and source.spec == str(link)
    assert opened(source.spec).fingerprint == source.fingerprint


def test_arrays_are_opened_by_the_names_of_links(tmp_path: Path) -> None:
    np.save(tmp_path / "blob.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "blob.npy").rename(tmp_path / "blob")
    (tmp_path / "names").write_text("a\nb\na\n")
    (tmp_path / "v.npy").symlink_to("blob")
    (tmp_path / "l.txt").symlink_to("names")
    options = SourceOptions(labels=tmp_path / "l.txt")
    assert SourceOptions.from_json(options.as_json()) == options
    embed(tmp_path / "v.npy", out=tmp_path / "run", options=options)
    from tenpercent.data.store.run_folder import RunFolder
    from tenpercent.selection.stored import load_embeddings

    assert load_embeddings(RunFolder(tmp_path / "run")).class_names == ("a", "b")


def test_a_link_to_a_file_with_an_ending_is_opened_as_before(tmp_path: Path) -> None:
    path = write(tmp_path / "real.parquet", table(2))
    (tmp_path / "link.parquet").symlink_to(path)
    (tmp_path / "bare").symlink_to(path)
    assert opened(tmp_path / "link.parquet").spec == str(path)
    assert opened(tmp_path / "bare").spec == str(path)


# ---- hf: -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    return folder


def with_configurations(root: Path, *names: str) -> Path:
    """A folder as on the hub: each configuration has train and test, of other sizes."""
    lines = ["---", "configs:"]
    for number, name in enumerate(names, 2):
        lines += [f"- config_name: {name}", "  data_files:"]
        for split, n in (("train", 2 * number), ("test", number)):
            (root / name).mkdir(parents=True, exist_ok=True)
            dataset(n).to_parquet(root / name / f"{split}-00000-of-00001.parquet")
            lines += [f"  - split: {split}", f"    path: {name}/{split}-*"]
    (root / "README.md").write_text("\n".join([*lines, "---", ""]))
    return root


def test_configurations_are_listed_and_can_be_named(tmp_path: Path, cache: Path) -> None:
    """Like huggingface/datasets#2976."""
    root = with_configurations(tmp_path / "set", "small", "large-v1.0", "v2")
    with pytest.raises(
        SourceError, match=r"3 configurations \(small, large-v1\.0, v2\); name one, as in hf:.*set:small"
    ):
        opened(f"hf:{root}")
    with pytest.raises(SourceError, match=r"3 configurations .*did you mean small\?"):
        opened(f"hf:{root}:smal:train")
    source = opened(f"hf:{root}:large-v1.0")
    assert (len(source), source.split, source.taken["configuration"]) == (
        6,
        "train",
        "configuration large-v1.0",
    )
    assert len(opened(source.spec)) == 6
    test = open_split(f"hf:{root}:large-v1.0", SourceOptions(), "test")
    assert test is not None and len(test) == 3
    assert len(opened(f"hf:{root}:small:test")) == 2 and len(opened(f"hf:{root}:v2", split="test")) == 4
    train = open_split(f"hf:{root}:small:test", SourceOptions(), "train")
    assert train is not None and len(train) == 4
    with pytest.raises(SourceError, match="different splits"):
        opened(f"hf:{root}:small:test", split="train")
    with pytest.raises(SourceError, match="no split 'extra', only train, test"):
        opened(f"hf:{root}:small:extra")


def test_vectors_of_a_data_set_can_be_opened_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    from tenpercent.pipeline import cluster, report, select

    rng = np.random.default_rng(0)
    made = datasets.Dataset.from_dict(
        {"v": rng.normal(size=(8, 4)).tolist(), "label": [row % 2 for row in range(8)]}
    )
    datasets.DatasetDict({"train": made, "test": made.select(range(3))}).save_to_disk(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    embed("hf:saved:train", out=tmp_path / "run")
    monkeypatch.chdir("/")
    cluster(tmp_path / "run", keep=0.5)
    assert len(select(tmp_path / "run", keep=0.5).kept) == 4
    report(tmp_path / "run")
    test = open_split(f"hf:{tmp_path / 'saved'}", SourceOptions(), "test")
    assert isinstance(test, Embeddings) and len(test) == 3


@pytest.mark.parametrize("kind", ["binary", "large_binary"])
def test_bytes_that_datasets_calls_a_value_are_images(tmp_path: Path, cache: Path, kind: str) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Value(kind), "label": datasets.Value("string")})
    made = datasets.Dataset.from_dict({"image": [png(0), png(1)], "label": ["b", "a"]}, features=features)
    made.save_to_disk(tmp_path / "saved")
    made.to_parquet(tmp_path / "x.parquet")
    for source in (opened(f"hf:{tmp_path / 'saved'}"), opened(tmp_path / "x.parquet")):
        assert colours(source) == [0, 1] and source.class_names == ("a", "b")


def test_label_types_of_datasets(tmp_path: Path, cache: Path) -> None:
    import datasets

    for number, (kind, values, names) in enumerate(
        [
            ("bool", [True, False, None], ("False", "True")),
            ("float32", [3.0, 1.0, None], ("1", "3")),
            ("large_string", ["b", "a", None], ("a", "b")),
            ("uint8", [3, 1, None], ("1", "3")),
        ]
    ):
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value(kind)})
        rows = {"image": [{"bytes": png(row), "path": None} for row in range(3)], "label": values}
        datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / str(number))
        source = opened(f"hf:{tmp_path / str(number)}")
        assert (source.class_names, labels(source)) == (names, [1, 0, -1])


def test_a_file_with_null_features_is_read_by_its_types(tmp_path: Path) -> None:
    made = table(2, label=pa.array([True, False])).replace_schema_metadata(
        {"huggingface": '{"info": {"features": null}}'}
    )
    assert opened(write(tmp_path / "x.parquet", made)).class_names == ("False", "True")
    assert pq.read_schema(tmp_path / "x.parquet").metadata


# ---- vectors with pictures beside them -----------------------------------------------------------------------------


def with_vectors(n: int = 12, **more: object) -> pa.Table:
    vectors = np.random.default_rng(0).normal(size=(n // 2, 4)).repeat(2, axis=0)  # pairs of equal rows
    return pa.table(
        {"image": [png(20 * row, 8) for row in range(n)], "v": pa.array(vectors.tolist()), **more}
    )


@pytest.mark.parametrize("ids", ["row numbers", "column id", "paths"])
@pytest.mark.parametrize("hub", [False, True])
def test_vectors_keep_the_pictures_beside_them(tmp_path: Path, cache: Path, ids: str, hub: bool) -> None:
    from reviewing import page
    from tenpercent.data.store.run_folder import RunFolder
    from tenpercent.pipeline import export, run
    from tenpercent.selection.stored import open_images

    made = with_vectors()
    if ids == "column id":
        made = made.append_column("id", pa.array([f"x{11 - row:02d}" for row in range(12)]))
    if ids == "paths":
        cells = [{"bytes": png(20 * row, 8), "path": f"{11 - row:02d}.png"} for row in range(12)]
        made = made.set_column(0, "image", pa.array(cells))
    path: Path | str = write(tmp_path / "set" / "x.parquet", made)
    if hub:
        path = f"hf:{tmp_path / 'set'}"
    options = SourceOptions(embedding_column="v")
    selection = run(path, out=tmp_path / "run", keep=0.5, options=options)
    assert len(selection.kept) == 6
    images = open_images(RunFolder(tmp_path / "run"))
    embeddings = open_source(path, options)
    assert isinstance(embeddings, Embeddings)
    assert [images.ids[row] for row in embeddings.rows] == embeddings.ids.tolist()
    assert colours(images) == [20 * row for row in range(12)]
    report = RunFolder(tmp_path / "run").report.read_text()
    assert "This page has no pictures" not in report and "data:image" in report
    export(tmp_path / "run", format="folder", to=tmp_path / "kept")
    assert len(list((tmp_path / "kept").rglob("*.png"))) == 6
    with page(tmp_path / "run") as looked:
        assert looked.get("/api/run")["has_images"]


def test_vectors_say_whether_there_are_pictures(tmp_path: Path) -> None:
    path = write(tmp_path / "x.parquet", with_vectors())
    found = open_source(path, SourceOptions(embedding_column="v"))
    assert found.taken == {
        "vectors": "column v",
        "pictures": "pictures from column image",
        "ids": "row numbers",
    }
    assert "pictures" not in open_source(path, SourceOptions(embedding_column="v", image_column="none")).taken
    assert "pictures" not in open_source(path, SourceOptions(embedding_column="v", rules=1)).taken
    made = with_vectors().rename_columns(["left", "v"])
    write(path, made.append_column("right", made["left"]))
    two = open_source(path, SourceOptions(embedding_column="v"))
    assert "pictures" not in two.taken
    assert two.taken["no pictures"] == "no pictures: --image-column takes one of left, right"
    named = open_source(path, SourceOptions(embedding_column="v", image_column="right"))
    assert named.taken["pictures"] == "pictures from column right"


def test_pictures_that_have_changed_are_not_shown(tmp_path: Path) -> None:
    from tenpercent.data.store.run_folder import RunFolder
    from tenpercent.errors import StageError
    from tenpercent.selection.stored import open_images

    path = write(tmp_path / "x.parquet", with_vectors(id=pa.array([f"x{row:02d}" for row in range(12)])))
    embed(path, out=tmp_path / "run", options=SourceOptions(embedding_column="v"))
    write(path, with_vectors(id=pa.array([f"y{row:02d}" for row in range(12)])))
    with pytest.raises(StageError, match="has changed"):
        open_images(RunFolder(tmp_path / "run"))
    np.save(tmp_path / "v.npy", np.eye(3))
    embed(tmp_path / "v.npy", out=tmp_path / "alone")
    with pytest.raises(StageError, match="was made of vectors"):
        open_images(RunFolder(tmp_path / "alone"))


def test_vectors_with_pictures_need_settings_to_train(tmp_path: Path) -> None:
    from tenpercent.cli.main import main

    path = write(tmp_path / "x.parquet", with_vectors(label=pa.array([0, 1] * 6)))
    assert main(["run", str(path), "--embedding-column", "v", "--out", str(tmp_path / "run")]) == 0
    assert main(["evaluate", str(tmp_path / "run"), "--test", str(path)]) == 2
