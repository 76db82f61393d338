# make demo | test | test-browser | test-slow | test-bindings | check | wheel. The environment is
# made once, and again only when what it is made from has changed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test test-browser test-slow test-bindings check format wheel

help:
	@echo "make demo       handwritten digits, the whole job: train, prune, distil, export, measure, gate"
	@echo "make test       the fast tests (about 10 minutes on 2 cores)"
	@echo "make test-browser  the reports in chromium, with axe-core from npm"
	@echo "make test-slow  every test that this machine can run"
	@echo "make test-bindings  stand-ins and calls against NVIDIA's bindings (downloads 30 MB)"
	@echo "make check      lint, formatting and types"
	@echo "make wheel      build the wheel, install it alone and start it"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: edgekd needs Python 3.11 or later; name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@if command -v uv >/dev/null; then \
	  uv venv --quiet --seed --allow-existing --python $(PYTHON) $(VENV) && \
	  uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

demo: $(STAMP)
	$(BIN)/edgekd run digits

# One process a core, each with one thread: small networks gain nothing from more.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

test-browser: $(STAMP)
	$(BIN)/python -m pytest -m slow tests/report/test_browser.py

test-slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not bindings"

test-bindings: $(STAMP)
	$(BIN)/python -m pytest -m bindings tests/bindings

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

wheel: $(STAMP)
	.ci/check-wheel $(BIN)/python
