# Everything here works from a bare clone: it makes its own environment in .venv, and leaves data and caches nowhere else.
BIN := .venv/bin
BENCH_DIR ?= .bench
WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))  # many tests wait: for processes, or for time to pass
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
BUILD := --build-constraint constraints.txt --editable .

# The Python of .venv. Naming another one (make test PYTHON=python3.12) makes .venv anew.
PYTHON ?= $(firstword $(if $(wildcard .venv/of),$(wildcard $(BIN)/python)) python3)

# Bytecode is kept, whatever the shell says: many tests start processes, and each would compile everything anew.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.venv/cache/bytecode
unexport PYTHONDONTWRITEBYTECODE
FORGET := rm -rf "$(PYTHONPYCACHEPREFIX)$${TMPDIR:-/tmp}"  # bytecode of the suites that tests write, each in a new folder

.PHONY: serve test test-all soak lint types docs names pins bench clean FORCE

serve: .venv/serve
	$(BIN)/kvfake serve

# What a developer needs between two edits: every test but those marked `once`, without coverage.
test: .venv/test
	@$(FORGET)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not once"

# Every test (one runs mypy), with coverage, which must be 100 %. Processes that are started by tests marked `once` are not measured.
test-all: .venv/test .venv/lint
	@$(FORGET)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n $(WORKERS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# For minutes, with a table of figures; its exit code is 1 where one is out of its bound. For less: make soak SOAK="fairness --minutes 2"
soak: .venv/test
	$(BIN)/python -m tests.soak $(SOAK)

lint: .venv/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/test .venv/lint
	$(BIN)/mypy

# The documentation, in .venv/site. A warning is an error: a link to a page that is not there, a name that is not in the code.
docs: .venv/docs
	$(BIN)/sphinx-build --quiet --nitpicky --fail-on-warning --keep-going --doctree-dir .venv/cache/doctrees docs .venv/site
	@echo "The documentation is in $(CURDIR)/.venv/site/index.html"

# After a row, or a test that shows one, has changed: what kvfake explain says of the tests, and docs/fidelity.md.
names: .venv/test
	$(BIN)/python -m tests.rows.names > .venv/names
	mv .venv/names kvfake/services/shown_by.json
	$(BIN)/python -m tests.rows.page > docs/fidelity.md

# Moves the versions of all that is installed here to the newest that go together.
pins: .venv/of
	$(BIN)/python .ci/pins.py

# For a first guess: make bench BENCH=--quick
bench:
	$(PYTHON) bench/install.py "$(BENCH_DIR)"
	"$(BENCH_DIR)/venv/bin/python" -m bench --beside "$(BENCH_DIR)" $(BENCH)

clean:
	rm -rf .venv build dist *.egg-info

# Says which Python .venv is made of. It is written when .venv is made, so that everything is installed again then.
.venv/of: FORCE
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "kvfake needs Python 3.10 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@of=$$($(PYTHON) -c 'import sys; print(sys.base_prefix, sys.version)'); [ "$$of" = "$$(cat $@ 2>/dev/null)" ] || { \
		rm -rf .venv && $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --upgrade --constraint constraints.txt pip && \
		echo "$$of" > $@; }

.venv/serve: pyproject.toml constraints.txt .venv/of
	@echo "Installing kvfake and what it needs in .venv. The command is then $(BIN)/kvfake"
	@rm -rf build *.egg-info  # setuptools packs what it finds there again
	@PYTHONWARNINGS=ignore $(PIP) $(BUILD)  # setuptools warns of every editable install
	@rm -rf build *.egg-info
	@touch $@

.venv/test: .venv/serve
	@echo "Installing what the tests need"
	@$(PIP) --group test
	@touch $@

.venv/lint: pyproject.toml constraints.txt .venv/of
	$(PIP) --group lint
	@touch $@

.venv/docs: .venv/serve
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "the documentation needs Python 3.11 or newer: make docs PYTHON=python3.12"; exit 1; }
	@echo "Installing Sphinx"
	@$(PIP) --group docs
	@touch $@
