# `make demo`, `make test`, and for hours without anybody `make stress`. Each makes what it needs and is quick the second time.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test checks lint types layers unit stress docs lock recompile clean
.DEFAULT_GOAL := demo
# Where the environment forbids compiled modules, each of hundreds of processes would compile torch again: 3 s.
unexport PYTHONDONTWRITEBYTECODE

demo: .venv/.installed
	@$(BIN)/tenpercent demo --out runs/demo

# The checks beside each other, and the first time beside what the tests import, then the tests.
test: .venv/.installed
	@$(MAKE) --no-print-directory -j 2 checks .venv/.imported
	@$(MAKE) --no-print-directory unit

checks: lint types layers

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed
	$(BIN)/mypy

layers: .venv/.installed
	$(BIN)/lint-imports

# Workers of one thread each: threads of two workers that wait for each other on two cores cost ten times. Three, for one often waits
# for a process or a page. Each begins with a third of the files, so that what a file makes for its tests is made once; who is done
# first takes of the rest.
unit: .venv/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist worksteal

# Ten times as many random examples, kills at random moments, and every kind of damage.
stress: .venv/.installed
	TENPERCENT_EXAMPLES=10 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $$(grep -rl 'from examples import' tests --include='test_*.py')
	$(BIN)/python tests/stress/damage_runs.py --share 1
	set -e; for script in kill_stages kill_trainings kill_walk kill_pieces fault_ray; do $(BIN)/python tests/stress/$$script.py; done

docs: .venv/.installed
	$(BIN)/python tools/make_cli.py

# uv comes from the package index by hash, and installs the locked set by hash.
.venv/.installed: requirements.lock requirements-uv.lock pyproject.toml
	@echo "Installing what is locked into .venv (some 6 GB, most of it torch) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --link-mode hardlink requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@echo "Compiling the clustering, once ..."
	@$(BIN)/python -c "import numpy, tenpercent as tp; \
	  few = numpy.random.default_rng(0).normal(size=(300, 8)).astype('f4'); \
	  tp.select(tp.cluster(tp.Embeddings.from_numpy(few), keep=0.1), keep=0.5)"
	@touch $@

# What the tests import, compiled once, or each of their three workers would compile all of it: 27 s of CPU.
.venv/.imported: .venv/.installed
	@$(BIN)/python -m pytest --collect-only -qq >$@ || { cat $@; rm $@; exit 1; }

lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --extra all --group dev pyproject.toml -o requirements.lock
	echo "uv" | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --no-header --no-annotate - -o requirements-uv.lock

# numba knows a stored kernel by its own file: one that a kernel of another file calls may have changed since.
recompile:
	find src -name '*.nb[ci]' -delete

clean: recompile
	rm -rf .venv runs .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
