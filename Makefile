# Everything here works from a bare clone: it makes its own environment in .venv.
PYTHON ?= python3
BIN := .venv/bin
BENCH_DIR ?= .bench
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))  # many tests wait: for processes, or for time to pass

.PHONY: serve test lint types names bench clean

serve: .venv/serve
	$(BIN)/kvfake serve

test: .venv/test
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test .venv/lint
	$(BIN)/mypy

# After a row, or a test that shows one, has changed: what kvfake explain says of the tests, and docs/fidelity.md.
names: .venv/test
	$(BIN)/python -m tests.rows.names > .venv/names
	mv .venv/names kvfake/services/shown_by.json
	$(BIN)/python -m tests.rows.page > docs/fidelity.md

# For a first guess: make bench BENCH=--quick
bench:
	$(PYTHON) bench/install.py "$(BENCH_DIR)"
	"$(BENCH_DIR)/venv/bin/python" -m bench --beside "$(BENCH_DIR)" $(BENCH)

clean:
	rm -rf .venv build dist *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "kvfake needs Python 3.10 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip

.venv/serve: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

.venv/test: pyproject.toml .venv/serve
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

.venv/lint: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --group lint
	@touch $@
