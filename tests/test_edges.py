"""What lies at the edges of a run: forks and threads, places that can't be written, numbers that are too large."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reviewing import Page, page, run_of_vectors
from tenpercent.linkage.threads import _blas, one_blas_thread

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def python(code: str, timeout: float = 240, **environment: str | None) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own; a variable of the environment that is None is taken out."""
    known = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        env={name: value for name, value in known.items() if value is not None},
    )


# ---- forks and threads ---------------------------------------------------------------------------------------------


def blas_threads() -> list[int]:
    return [library.num_threads for library in _blas().lib_controllers if library.user_api == "blas"]


@pytest.fixture
def two_blas_threads() -> Iterator[None]:
    with _blas().limit(limits=2, user_api="blas"):
        if min(blas_threads(), default=1) < 2:
            pytest.skip("the BLAS has a single thread")
        yield


def in_thread(work: Any) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()


def test_the_limit_holds_in_a_second_thread_as_in_the_first(two_blas_threads: None) -> None:
    seen = []

    def work() -> None:
        with one_blas_thread():
            seen.append(blas_threads())

    with one_blas_thread():
        pass  # the main thread has set limits once
    in_thread(work)
    assert seen and set(seen[0]) == {1}
    assert set(blas_threads()) == {2}


def test_the_last_thread_takes_the_limit_back_that_another_set(two_blas_threads: None) -> None:
    first, leave = threading.Event(), threading.Event()

    def work() -> None:
        with one_blas_thread():
            first.set()
            leave.wait(60)

    thread = threading.Thread(target=work)
    thread.start()
    assert first.wait(60)
    with one_blas_thread():
        leave.set()
        thread.join(60)
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {2}


@needs_fork
@pytest.mark.parametrize("inside", [False, True])
def test_a_child_forked_while_another_thread_holds_the_limit_begins_anew(
    inside: bool, two_blas_threads: None
) -> None:
    held, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with one_blas_thread():
            held.set()
            leave.wait(120)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(60)
    reader, writer = os.pipe()
    outer = one_blas_thread()
    if inside:
        outer.__enter__()
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        try:
            before = blas_threads()
            with one_blas_thread():
                during = blas_threads()
            if inside:
                outer.__exit__(None, None, None)
            os.write(writer, json.dumps([before, during, blas_threads()]).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    if inside:
        outer.__exit__(None, None, None)
    leave.set()
    thread.join(60)
    before, during, after = json.loads(os.read(reader, 10_000))
    os.close(reader)
    os.close(writer)
    assert (set(before), set(during), set(after)) == ({2}, {1}, {2})
    assert set(blas_threads()) == {2}


# Clusters in one thread and, meanwhile, in children made in several ways; prints the heights of each.
MEANWHILE = """
    import multiprocessing.pool, threading, time
    import numpy as np
    import tenpercent as tp
    if "KIND" == "joblib":
        import joblib

    def embeddings(n, seed):
        rows = np.random.default_rng(seed).standard_normal((n, 32)).astype(np.float32)
        return tp.Embeddings.from_numpy(rows)

    def heights(seed):
        return float(np.sum(tp.cluster(embeddings(900, seed), 0.5).height))

    if __name__ == "__main__":
        tp.cluster(embeddings(50, 9), 0.5)
        wanted = [heights(seed) for seed in range(2)]
        done = threading.Event()
        def work():
            large = embeddings(5000, 5)
            while not done.is_set():
                tp.cluster(large, 0.8)
        thread = threading.Thread(target=work)
        thread.start()
        for round in range(ROUNDS):
            time.sleep(0.05 + 0.07 * round)
            found = MAP(heights, range(2))
            assert list(found) == wanted, (found, wanted)
        done.set()
        thread.join()
        print("equal")
"""
POOLS = {
    "fork": 'multiprocessing.get_context("fork").Pool(2).map',
    "spawn": 'multiprocessing.get_context("spawn").Pool(1).map',
    "threads": "multiprocessing.pool.ThreadPool(2).map",
    "joblib": "(lambda work, these: joblib.Parallel(2)(joblib.delayed(work)(one) for one in these))",
}


@pytest.mark.parametrize("kind", POOLS)
def test_clustering_elsewhere_while_a_thread_clusters(kind: str, tmp_path: Path) -> None:
    # Like joblib/threadpoolctl#176 (limits in a sub-process hang) and OpenMathLib/OpenBLAS#240.
    if kind == "fork" and "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("there is no fork here")
    if kind == "joblib":
        pytest.importorskip("joblib")
    script = tmp_path / "meanwhile.py"
    rounds = "4" if kind in ("fork", "threads") else "1"
    script.write_text(
        textwrap.dedent(MEANWHILE).replace("ROUNDS", rounds).replace("MAP", POOLS[kind]).replace("KIND", kind)
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.stdout == "equal\n", done.stderr[-2000:]


def test_clustering_in_the_workers_of_a_data_loader() -> None:
    pytest.importorskip("torch")
    done = python(
        """
        import threading
        import numpy as np, tenpercent as tp
        from torch.utils.data import DataLoader, Dataset

        def embeddings(n):
            return tp.Embeddings.from_numpy(np.random.default_rng(n).standard_normal((n, 16)).astype(np.float32))

        class Sizes(Dataset):
            def __len__(self): return 4
            def __getitem__(self, place): return float(np.sum(tp.cluster(embeddings(300 + place), 0.5).height))

        wanted = [Sizes()[place] for place in range(4)]
        done = threading.Event()
        def work():
            large = embeddings(5000)
            while not done.is_set(): tp.cluster(large, 0.8)
        thread = threading.Thread(target=work)
        thread.start()
        loader = DataLoader(Sizes(), batch_size=None, num_workers=2, multiprocessing_context="fork")
        found = [float(height) for height in loader]
        done.set()
        thread.join()
        assert np.allclose(found, wanted, rtol=0, atol=0), (found, wanted)
        print("equal")
        """
    )
    assert done.stdout == "equal\n", done.stderr[-2000:]


@needs_fork
def test_a_child_forked_while_a_kernel_is_compiled_can_compile() -> None:
    done = python(
        """
        import os, threading, time
        from numba import njit
        from numba.core.compiler_lock import global_compiler_lock
        import tenpercent.linkage.kernels
        compiling = threading.Event()
        def compile():
            with global_compiler_lock:
                compiling.set()
                time.sleep(1)
        thread = threading.Thread(target=compile)
        thread.start()
        compiling.wait()
        child = os.fork()
        if child == 0:
            os._exit(njit(lambda number: number + 1)(6))
        thread.join()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
        timeout=120,
    )
    assert done.stdout == "7\n", done.stderr[-2000:]


# ---- nothing can be written ----------------------------------------------------------------------------------------

UNWRITABLE = """
    import logging, os, sys, tempfile
    temporary = {temporary!r}
    if not temporary:
        tempfile._candidate_tempdir_list = lambda: []
    really = tempfile.TemporaryFile
    def only_there(*words, dir=None, **more):
        if dir is not None and not (temporary and os.path.realpath(dir).startswith(temporary)):
            raise PermissionError(13, "Permission denied", str(dir))
        return really(*words, dir=dir, **more)
    tempfile.TemporaryFile = only_there  # what numba tries a folder with
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    import numpy as np, tenpercent as tp
    rows = np.eye(12, 5, dtype=np.float32) + 1
    print(len(tp.cluster(tp.Embeddings.from_numpy(rows), 0.5)))
    import numba
    print(numba.config.CACHE_DIR)
"""


def test_an_installation_that_cannot_be_written_and_no_home(tmp_path: Path) -> None:
    # Like numba/numba#5566: a read-only store and HOME unset or pointing nowhere.
    place = {"TMPDIR": str(tmp_path), "HOME": None, "NUMBA_CACHE_DIR": None, "XDG_CACHE_HOME": None}
    code = textwrap.dedent(UNWRITABLE).format(temporary=str(tmp_path.resolve()))
    done = python(code, **place)
    assert done.returncode == 0, done.stderr[-2000:]
    merges, folder = done.stdout.split()
    assert int(merges) > 0 and Path(folder).parent == tmp_path
    assert done.stderr.count("compiled kernels are stored in") == 1
    stored = {path.name for path in Path(folder).rglob("*.nbi")}
    assert stored and Path(folder).stat().st_mode & 0o777 == 0o700
    again = python(code, **place)  # stored once, read by the next process
    assert again.stdout == done.stdout and {path.name for path in Path(folder).rglob("*.nbi")} == stored


def test_a_folder_of_somebody_elses_is_not_trusted(tmp_path: Path) -> None:
    user = os.getuid() if hasattr(os, "getuid") else 0
    (tmp_path / f"tenpercent-kernels-{user}").mkdir()
    (tmp_path / f"tenpercent-kernels-{user}").chmod(0o777)
    code = textwrap.dedent(UNWRITABLE).format(temporary=str(tmp_path.resolve()))
    done = python(code, TMPDIR=str(tmp_path), HOME=None, NUMBA_CACHE_DIR=None)
    folder = Path(done.stdout.split()[1])
    assert folder.parent == tmp_path and folder.name != f"tenpercent-kernels-{user}", done.stderr
    assert not folder.exists()  # it was of use to that process alone
    assert not any((tmp_path / f"tenpercent-kernels-{user}").iterdir())


def test_nothing_at_all_can_be_written(tmp_path: Path) -> None:
    code = textwrap.dedent(UNWRITABLE).format(temporary="")
    done = python(code, HOME=None, NUMBA_CACHE_DIR=None)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 0
    assert done.stderr.count("compiled kernels can't be stored") == 1 and "Traceback" not in done.stderr


# ---- numbers that fit into no C integer -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    rows = np.random.default_rng(0).integers(-1, 2, (30, 4)).astype(np.float32) + 0.25
    with page(run_of_vectors(tmp_path_factory.mktemp("large"), rows, np.arange(30) % 3)) as found:
        found.run = found.get("/api/run")
        yield found


LARGE = [
    "1" + "0" * 200,
    "-1" + "0" * 4000,
    "1" + "0" * 5000,
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "true",
    "[[]]",
]
LARGE += [
    "[" * 700 + "]" * 700,
    "[" * 990 + "]" * 990,
    '{"a":' * 900 + "1" + "}" * 900,
    str(2**63),
    str(2**64 + 1),
]
BODIES = {
    "/api/select": {"keep": 0.9},
    "/api/deepen": {"keep": 0.9},
    "/api/undo": {"number": 1},
    "/api/decisions": {"kind": "keep", "images": [0], "note": "", "seen": 0, "origin": "", "keep": 0.9},
}


@pytest.mark.parametrize("number", LARGE, ids=lambda text: text[:12])
@pytest.mark.parametrize(("path", "name"), [(path, name) for path, body in BODIES.items() for name in body])
def test_a_number_of_a_body_that_fits_nowhere_is_refused(
    path: str, name: str, number: str, opened: Page
) -> None:
    rest = {key: value for key, value in BODIES[path].items() if key != name}
    for value in (number, f"[{number}]") if name == "images" else (number,):
        text = json.dumps(rest)[:-1] + (", " if rest else "") + f'"{name}": {value}}}'
        answer = opened.client.post(path, content=text, headers={"content-type": "application/json"})
        assert answer.status_code == 400, (answer.status_code, answer.text[:200])
        assert len(answer.json()["error"]) < 300


@pytest.mark.parametrize(
    "number", ["1" + "0" * 200, "1e400", "nan", "inf", "-1", str(2**63), "9" * 5000, "true"]
)
@pytest.mark.parametrize("name", ["keep", "threshold", "offset", "limit", "min_size", "max_size", "around"])
def test_a_number_of_an_address_that_fits_nowhere_is_refused(name: str, number: str, opened: Page) -> None:
    assert opened.get("/api/groups", 400, **{name: number})["error"].startswith(name)
