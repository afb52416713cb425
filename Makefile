# advice-ledger: everything a developer runs. `make` alone lists the targets.

PYTHON ?= python3
BENCH ?=
DEMO ?=
RUN ?=
SOAK ?=

VENV := .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Instrumentors of other projects have their own environment, because no other target needs their packages.
FOREIGN := tests/api/otlp/instrumentors
FOREIGN_VENV := .venv-instrumentors
# pip-tools writes the locks. No package in them depends on it.
PIP_TOOLS := pip-tools==7.6.2
COMPILE = CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/python -m piptools compile --quiet \
	--strip-extras --generate-hashes --allow-unsafe --resolver=backtracking \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options
# Each target installs what it needs once, and leaves a stamp: `run` the server and PostgreSQL, others everything.
SERVER := $(VENV)/.server-installed
EVERYTHING := $(VENV)/.everything-installed

# The suite starts hundreds of processes. Without byte code, each of them would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run test test-instrumentors demo check format bench soak vectors install lock

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "advice-ledger needs Python 3.11 or newer; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Order-only on the interpreter: pip touches $(BIN), which must not make the stamp look old.
$(SERVER): pyproject.toml requirements.lock | $(BIN)/python
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# After the server, because two pips must not write to one environment at the same time.
$(EVERYTHING): requirements-dev.lock client/pyproject.toml $(SERVER)
	$(PIP) --require-hashes -r requirements-dev.lock
	$(PIP) --no-deps --no-build-isolation -e ./client
	@touch $@

run: $(SERVER) ## the API on 127.0.0.1:8000 with an embedded PostgreSQL and a worker; options in RUN="..."
	$(BIN)/advice-ledger serve $(RUN)

demo: $(EVERYTHING) ## years of reviews on real prices, then questions to the ledger; options in DEMO="..."
	$(BIN)/advice-ledger demo $(DEMO)

test: $(EVERYTHING) ## the suite, without the slow tests
	$(BIN)/python -m pytest -n auto --dist worksteal

test-instrumentors: $(EVERYTHING) $(FOREIGN_VENV)/.installed ## run instrumentors of other projects against a server
	$(BIN)/python -m pytest -n auto -m instrumentors

$(FOREIGN_VENV)/.installed: $(FOREIGN)/requirements.lock $(FOREIGN)/package-lock.json
	rm -rf $(FOREIGN_VENV)
	$(PYTHON) -m venv $(FOREIGN_VENV)
	$(FOREIGN_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r $(FOREIGN)/requirements.lock
	cp $(FOREIGN)/package.json $(FOREIGN)/package-lock.json $(FOREIGN_VENV)
	cd $(FOREIGN_VENV) && PATH="$$PWD/bin:$$PATH" npm ci --silent --ignore-scripts --no-audit --no-fund
	@touch $@

check: $(EVERYTHING) ## lint, formatting, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(EVERYTHING) ## fix what `make check` reports, where that is safe
	$(BIN)/python client/generate_sync.py
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(EVERYTHING) ## measure speed and memory, beside peers; options in BENCH="..."
	$(BIN)/python -m tests.bench $(BENCH)

soak: $(EVERYTHING) ## 1,000 kill rounds and an hour of mixed load; options in SOAK="--rounds 50 --minutes 0"
	$(BIN)/python -m tests.soak $(SOAK)

vectors: $(EVERYTHING) ## write docs/vectors again: examples of every format, good and broken
	$(BIN)/python -m tests.vectors

install: $(EVERYTHING) ## install what the targets above need, without running any

# Everything first, because the server's lock is a subset with the same versions.
lock: | $(BIN)/python ## pin dependencies with hashes: the server's in requirements.lock, all in requirements-dev.lock
	$(PIP) '$(PIP_TOOLS)'
	$(COMPILE) --all-build-deps --all-extras --output-file requirements-dev.lock pyproject.toml
	$(COMPILE) --all-build-deps --extra embedded --constraint requirements-dev.lock --output-file requirements.lock pyproject.toml
	$(COMPILE) --output-file $(FOREIGN)/requirements.lock $(FOREIGN)/requirements.in
	cd $(FOREIGN) && PATH="$(CURDIR)/$(FOREIGN_VENV)/bin:$$PATH" npm install --package-lock-only --omit-lockfile-registry-resolved --no-audit --no-fund
