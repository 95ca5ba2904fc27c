PYTHON ?= python3
BIN := .venv/bin
# As many processes as cores, four at most; a file's tests stay together, since they share what they train.
PYTEST := $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: quickstart test test-quick lint setup results clean

quickstart: setup  ## the main job, end to end, on a generated shop
	$(BIN)/vip5 quickstart

test: lint  ## the gate: lint, types and every test; under 15 minutes on two cores
	$(PYTEST)

test-quick: lint  ## the fast loop: the same without the tests marked slow; under 4 minutes on two cores
	$(PYTEST) -m "not slow"

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/.current

# Made anew when a dependency changes; pip runs against the pinned versions.
.venv/.current: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "vip5 needs Python 3.11 or newer; name one with: make PYTHON=python3.12"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

results: setup  ## the README's tables, from benchmarks/results
	$(BIN)/python benchmarks/readme.py

clean:
	rm -rf .venv runs build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
