"""The clustering's benchmark measures what it says: its data, its checks, its processes, and the page made from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tools")]

import groups  # noqa: E402
import made  # noqa: E402
import make_speed  # noqa: E402
import measure  # noqa: E402
import overhead  # noqa: E402
import paper  # noqa: E402
import pieces  # noqa: E402
import speed_plot  # noqa: E402
import speed_targets  # noqa: E402
import spread  # noqa: E402
import stages  # noqa: E402
from growth import growth_line  # noqa: E402

from tenpercent.linkage.neighbors import neighbor_graph  # noqa: E402
from tenpercent.linkage.points import Points  # noqa: E402
from tenpercent.linkage.radii import first_radius  # noqa: E402
from tenpercent.linkage.sample import sample_pairs  # noqa: E402

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    return made.real(None)


# ---- data ------------------------------------------------------------------------------------------------------------


def test_made_rows_are_the_same_for_a_seed_and_as_many_as_asked(digits: tuple[Any, Any]) -> None:
    vectors, labels = digits
    near = made.near_neighbours(vectors, labels)

    def rows(n: int, seed: int) -> Any:
        return np.concatenate(list(made.more_rows(vectors, near, n, seed)))

    assert rows(4000, 1).shape == (4000, 64)
    assert rows(4000, 1).tobytes() == rows(4000, 1).tobytes()
    assert rows(4000, 1).tobytes() != rows(4000, 2).tobytes()
    assert len(np.unique(rows(4000, 1), axis=0)) == 4000


def test_near_neighbours_are_of_the_class_and_nearest_first(digits: tuple[Any, Any]) -> None:
    vectors, labels = digits
    near = made.near_neighbours(vectors, labels)
    units = groups.unit_rows(vectors)
    assert (labels[near] == labels[:, None]).all()
    assert (near != np.arange(len(near))[:, None]).all()
    for row in range(0, len(near), 211):
        cosine = np.where(labels == labels[row], units @ units[row], -2)
        cosine[row] = -2
        np.testing.assert_allclose(cosine[near[row]], np.sort(cosine)[::-1][:20], atol=1e-6)


def test_made_rows_lie_about_as_densely_as_real_ones(digits: tuple[Any, Any]) -> None:
    vectors, labels = digits
    real = np.median(made.nearest_of_sample(vectors, 0.02)[0])
    for times in (1, 4):
        base, codes = vectors[::times], labels[::times]
        rows = np.concatenate(list(made.more_rows(base, made.near_neighbours(base, codes), len(vectors))))
        assert 0.6 < np.median(made.nearest_of_sample(rows, 0.02)[0]) / real < 1.4


def test_wide_rows_keep_the_dissimilarities(digits: tuple[Any, Any]) -> None:
    vectors, _ = digits
    matrix = made.lift_matrix(64, 300)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(64), atol=1e-5)
    wide = made.lifted(vectors, matrix, [1])
    assert wide.tobytes() == made.lifted(vectors, matrix, [1]).tobytes()
    narrow, lifted = groups.unit_rows(vectors), groups.unit_rows(wide)
    difference = narrow[:200] @ narrow[200:].T - lifted[:200] @ lifted[200:].T
    assert np.abs(difference).max() < 0.01
    assert abs(difference.mean() / (narrow[:200] @ narrow[200:].T).mean() - 0.0004) < 2e-4


def test_files_of_rows_are_written_whole(tmp_path: Path) -> None:
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    made.write_rows(tmp_path / "rows.npy", (6, 2), iter([rows[:4], rows[4:]]))
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy", mmap_mode="r"), rows)
    with pytest.raises(measure.NotMeasured, match="GB free"):
        made.write_rows(tmp_path / "huge.npy", (10**12, 1000), iter([]))


# ---- checks ----------------------------------------------------------------------------------------------------------


def test_diameters_are_those_of_the_definition() -> None:
    random = np.random.default_rng(0)
    units = groups.unit_rows(random.standard_normal((60, 3)))
    which = random.integers(0, 12, 60)
    d = 0.5 * ((units[:, None] - units[None]) ** 2).sum(axis=2)
    expected = [d[np.ix_(which == g, which == g)].max() for g in np.unique(which) if (which == g).sum() > 1]
    np.testing.assert_allclose(groups.diameters(units, which), expected)
    cut = float(np.median(expected))
    assert groups.against_cut(units, which, cut)["over the cut"] == sum(e > cut for e in expected)


def test_a_partition_is_known_by_its_groups_alone() -> None:
    assert groups.partition(np.asarray([3, 3, 1, 7])) == groups.partition(np.asarray([0, 0, 9, 2]))
    assert groups.partition(np.asarray([3, 3, 1, 7])) != groups.partition(np.asarray([3, 1, 3, 7]))


@pytest.mark.parametrize("labels", [[0, 0, 1, 1, 1, 4], [1, 0, 4, 1, 0, 1]])
def test_classes_are_the_rows_of_a_label(labels: list[int]) -> None:
    rows, codes = np.arange(6), np.asarray(labels)
    for found, code in zip(groups.by_class(rows, codes), (0, 1, 4), strict=True):
        np.testing.assert_array_equal(found, rows[codes == code])


def test_all_pairs_and_what_is_missed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((80, 4)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    truth = tmp_path / "pairs.npy"
    stages = groups.all_pairs({"vectors": tmp_path / "vectors.npy", "radius": 0.1, "out": truth})
    next(stages)
    work, facts = next(stages)
    facts(work())
    units = groups.unit_rows(vectors)
    d = 0.5 * ((units[:, None] - units[None]) ** 2).sum(axis=2)
    i, j = np.nonzero(np.triu(d <= 0.1, k=1))
    np.testing.assert_array_equal(np.load(truth), i * 80 + j)

    codes = np.append(np.load(truth)[3:], [78 * 80 + 79] * 2)  # three are gone, one far pair is there twice
    assert groups.against_truth(codes, truth) == {"pairs": len(i) - 2, "missed": 3, "added": 1}
    kept = random.random(80) < 0.5
    near_kept = [kept[row] or bool((kept & (d[row] <= 0.1)).any()) for row in range(80)]
    found = groups.missed(vectors, np.arange(80), kept, None, {"radius": 0.1, "truth": truth})
    assert found["kept"] == kept.sum()
    assert found["removed, none kept within the radius"] == near_kept.count(False) > 0


# ---- processes -------------------------------------------------------------------------------------------------------

TOY = """
import os, signal, time
from measure import NotMeasured
def allocate(settings):
    kept = bytearray(30_000_000)                    # before the data is loaded: imports
    yield
    calls = []
    def work():
        calls.append(1)
        block = bytearray(b"x") * settings["bytes"]
        time.sleep(0.05)
        return len(calls)
    yield work, lambda result: {"call": result}
def die(settings):
    yield
    yield lambda: os.kill(os.getpid(), signal.SIGKILL), None
def refuse(settings):
    raise NotMeasured("no such thing here")
    yield
"""


@linux
def test_contestants_take_turns_and_report_time_and_memory(tmp_path: Path) -> None:
    (tmp_path / "toy.py").write_text(TOY)
    path = {"PYTHONPATH": str(tmp_path)}
    with (
        measure.Contestant(("toy", "allocate"), {"bytes": 80_000_000}, environment=path) as big,
        measure.Contestant(("toy", "allocate"), {"bytes": 1_000_000}, environment=path) as small,
        measure.Contestant(("toy", "die"), {}, environment=path) as dead,
    ):
        found = measure.duel({"big": big, "dead": dead, "small": small}, rounds=3)
    assert found["big"]["facts"] == {"call": 1}
    assert len(found["big"]["later"]) == len(found["small"]["later"]) == 3
    assert min(found["small"]["later"]) >= 0.05
    for key in ("MB above imports", "anonymous MB above imports"):
        assert 78 < found["big"][key] < 90
        assert found["small"][key] < 10
    assert found["dead"] == {"not measured": "toy.die was ended by SIGKILL"}
    assert measure.ratio(found["dead"], found["big"]) is None
    with pytest.raises(measure.NotMeasured, match="no such thing here"):
        measure.Contestant(("toy", "refuse"), {}, environment=path)


def test_a_ratio_is_the_median_over_the_rounds() -> None:
    slow = {"later": [3.0, 30.0, 8.0], "seconds": 8.0}
    assert measure.ratio(slow, {"later": [1.0, 2.0, 4.0], "seconds": 2.0}) == {
        "median": 3.0,
        "all": [3.0, 15.0, 2.0],
    }
    assert measure.ratio({"later": [], "seconds": 8.0}, {"later": [1.0], "seconds": 2.0}) == {
        "median": 4.0,
        "all": [4.0],
    }


@linux
def test_a_quick_row_is_measured_written_and_not_measured_twice(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "cluster.py"), "--quick", "--rows", "join"]
    command += ["--scratch", str(tmp_path), "--out", str(tmp_path / "out.json")]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    row = result["rows"]["join"]
    ours = row["contestants"]["tenpercent"]["facts"]
    assert ours["against float64"]["missed"] == ours["against float64"]["added"] == 0
    assert ours["pairs"] == ours["against float64"]["pairs"] > 100
    assert "--peers" in row["contestants"]["faiss range_search"]["not measured"]
    assert result["quick"] and "not measured" in first.stdout
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith("join: there already")
    assert json.loads((tmp_path / "out.json").read_text()) == result
    result["machine"]["cores"] = 64
    (tmp_path / "out.json").write_text(json.dumps(result))
    other = subprocess.run(command, capture_output=True, text=True)
    assert other.returncode == 2 and "another cores" in other.stderr


# ---- the page --------------------------------------------------------------------------------------------------------


def test_the_page_is_made_from_the_json() -> None:
    page = make_speed.PAGE.read_text(encoding="utf-8")
    result = json.loads(make_speed.RESULT.read_text(encoding="utf-8"))
    assert page == make_speed.put(page, make_speed.render(result, make_speed.PLOT.exists())), (
        "docs/speed.md is old; run: python tools/make_speed.py"
    )


def test_the_table_of_stages_is_made_from_the_json() -> None:
    measured = json.loads((ROOT / "benchmarks" / "stages.json").read_text(encoding="utf-8"))
    assert stages.page_table(measured) in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_the_plan_of_pieces_is_within_a_factor_of_two_of_what_was_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "pieces.json").read_text(encoding="utf-8"))
    assert len(measured["rungs"]) >= 3
    assert pieces.worst(measured) < 2
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert f"within a factor of {pieces.worst(measured):.1f} of what was measured" in page


def test_the_search_of_a_plan_is_that_of_the_engine(digits: tuple[Any, Any]) -> None:
    vectors = np.concatenate(list(made.more_rows(digits[0], made.near_neighbours(*digits), 9_000)))
    found = pieces.NearPairs.of(vectors, 900)
    true = neighbor_graph(Points.of(vectors), first_radius(sample_pairs(Points.of(vectors)), 900))
    assert len(true) / 2 < found.pairs < 2 * len(true)
    assert found.centres == 128 and 0 < found.left < 0.2
    assert pieces.NearPairs.of(digits[0], 100)[1:] == (1.0, 1)  # too few for cells to pay


def test_the_tables_of_what_is_left_and_of_large_sizes_are_made_from_the_json() -> None:
    measured = json.loads((ROOT / "benchmarks" / "spread.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert spread.page_table(measured["sets"]) in page
    assert paper.page_table(measured) in page


def test_what_is_left_and_visited_is_measured_on_any_vectors(digits: tuple[Any, Any]) -> None:
    found = spread.measured(digits[0].astype(np.float32), 0.9, 4)
    assert found["n"] == len(digits[0]) and 0 < found["left"] <= 1 and 1 <= found["visits"] <= 4


def test_what_ray_adds_is_said_from_the_json_and_at_most_three_seconds() -> None:
    measured = json.loads((ROOT / "benchmarks" / "overhead.json").read_text(encoding="utf-8"))
    assert overhead.sentence(measured) in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert all(through - without <= 3 for without, through in measured["pairs"])


def test_the_table_of_pieces_is_made_from_the_json() -> None:
    measured = json.loads((ROOT / "benchmarks" / "pieces.json").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert pieces.page_table(measured) in page
    assert measured["machine"] in page
    growth = measured["exponents"]
    assert f"n^{growth['memory']:.2f} in memory and n^{growth['pieces']:.2f} in pieces" in page
    assert all(row["memory"]["sha256"] == row["pieces"]["sha256"] for row in measured["rungs"])
    largest = measured["rungs"][-1]
    by_clock = [f"{largest[engine]['seconds']:.0f} s" for engine in ("memory", "pieces")]
    assert f"{largest['n']:,} vectors took {by_clock[0]} in memory and\n{by_clock[1]} in pieces" in page


def rows_with(seconds: float, sklearn: float) -> dict[str, Any]:
    entry = {"MB above imports": 100.0, "later": [], "facts": {}}
    return {
        "classes-0.9": {
            "contestants": {
                "tenpercent": {**entry, "seconds": seconds},
                "scikit-learn": {**entry, "seconds": sklearn},
            },
            "ratios": {"scikit-learn": {"median": sklearn / seconds}},
        }
    }


def test_a_target_in_seconds_scales_with_scikit_learn_and_a_missed_one_is_called_so() -> None:
    seconds, ratio = speed_targets.TARGETS[:2]
    assert speed_targets.verdict(seconds, rows_with(0.5, 16.6)) == ("0.5 s", "≤ 0.6 s", "reached")
    assert speed_targets.verdict(seconds, rows_with(0.5, 8.3)) == (
        "0.5 s",
        "≤ 0.3 s (there 0.6)",
        "**missed**",
    )
    assert speed_targets.verdict(ratio, rows_with(0.5, 8.3)) == ("16.6 ×", "≥ 25 ×", "**missed**")
    assert speed_targets.verdict(ratio, rows_with(0.3, 8.3))[2] == "reached"
    assert speed_targets.verdict(ratio, {}) == ("not measured", "≥ 25 ×", "–")


def growth_rows(power: float) -> dict[str, Any]:
    return {
        f"growth-{n}": {
            "n": n,
            "contestants": {
                "tenpercent": {"seconds": 1e-6 * n**power, "MB above imports": n / 1000, "later": []}
            },
        }
        for n in (10_000, 20_000, 40_000)
    }


def test_the_growth_exponent_is_the_slope_of_the_line() -> None:
    line = growth_line(growth_rows(1.5))
    assert line == {"exponent": 1.5, "sizes": 3, "seconds for 1M on the line": 1000.0}
    assert growth_line({}) is None


def test_the_plot_needs_two_sizes_and_comes_out_the_same_twice(tmp_path: Path) -> None:
    assert not speed_plot.draw({}, tmp_path / "none.svg")
    assert not (tmp_path / "none.svg").exists()
    for name in ("one.svg", "two.svg"):
        assert speed_plot.draw(growth_rows(1.4), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
