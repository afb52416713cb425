# advice-ledger: everything a developer runs. `make` alone lists the targets.

PYTHON ?= python3
BENCH ?=
DEMO ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CODE := schema ledger projections api tests
# pip-tools writes the lock and is no dependency of anything in it.
PIP_TOOLS := pip-tools==7.6.2

.DEFAULT_GOAL := help
.PHONY: help install lock run demo test check format bench vectors

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(STAMP) ## virtual environment with everything in requirements.lock

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "advice-ledger needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Order-only on the interpreter: pip touches $(BIN), which must not make the stamp look old.
$(STAMP): pyproject.toml requirements.lock | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lock: | $(BIN)/python ## pin every dependency, with hashes, in requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(PIP_TOOLS)'
	CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/python -m piptools compile --quiet --all-extras --all-build-deps \
		--strip-extras --generate-hashes --allow-unsafe --resolver=backtracking \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
		--output-file requirements.lock pyproject.toml

run: install ## the API on 127.0.0.1:8000 with an embedded PostgreSQL and a worker
	$(BIN)/advice-ledger serve

demo: install ## years of reviews on real prices, and what can be asked of them; options in DEMO="..."
	$(BIN)/advice-ledger demo $(DEMO)

test: install ## the suite, without the slow tests
	$(BIN)/python -m pytest -n auto --dist worksteal

check: install ## lint, formatting, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## rewrite what `make check` would complain about, where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## measure beside peers and limits; options in BENCH="..."
	$(BIN)/python -m tests.bench $(BENCH)

vectors: install ## write docs/vectors again: examples of every format, good and broken
	$(BIN)/python -m tests.vectors
