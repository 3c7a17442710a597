# Every target works alone on a fresh machine: what it needs, it makes. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.installed-run
DEV := $(VENV)/.installed-dev
ARGS ?=

.PHONY: help
help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ printf "  %-14s %s\n", $$1, $$2 }'

.PHONY: setup
setup: $(DEV)  ## build .venv from the pinned requirements (needs Python 3.11 or newer only)

# Two steps, so that `make demo` waits for what runs (half a minute) and not for what checks it.
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(RUN): pyproject.toml requirements/base.txt requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed; name one: make setup PYTHON=python3.11' >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) --require-hashes -r requirements/build.txt -r requirements/base.txt
	$(INSTALL) --no-build-isolation --no-deps --editable .
	@touch $(RUN)

$(DEV): $(RUN) requirements/dev.txt
	$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $(DEV)

.PHONY: demo
demo: $(RUN)  ## a year of complaints through the real flow, and a living console (ARGS="--port 8080")
	$(BIN)/lazo demo $(ARGS)

# Each worker has its own engines, so more than a few of them would only be in each other's way. ARGS="-n 0" takes none.
WORKERS := --numprocesses logical --maxprocesses 4 --dist worksteal

# Standard library only, so that engines are installed while the environment is built and the code is checked.
.PHONY: engines
engines:  ## obtain PostgreSQL, Apache Kafka and Chromium for the tests
	$(PYTHON) tests/engines/obtain.py $(if $(filter engines,$(MAKECMDGOALS)),$(ARGS))

.PHONY: test
test:  ## everything: lint, types, import rules, schemas, all tests (ARGS="-k relay")
	@$(MAKE) --no-print-directory --jobs=2 lint engines ARGS=
	$(BIN)/python -m pytest $(WORKERS) $(ARGS)

.PHONY: quick
quick: setup  ## the tests that need no engine and no patience
	$(BIN)/python -m pytest -m 'not slow and not postgres and not kafka and not browser and not faults' $(ARGS)

.PHONY: lint
lint: setup  ## ruff, formatting, mypy --strict, import rules, schemas up to date
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m libs.events.catalogue.schemas --check

.PHONY: format
format: setup  ## put the code in order
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

.PHONY: schemas
schemas: setup  ## write schemas/ (JSON Schemas, AsyncAPI) again from the catalogue, and golden files of new types
	$(BIN)/python -m libs.events.catalogue.schemas $(ARGS)
	$(BIN)/python -m tests.contracts.golden_files

.PHONY: docs
docs: setup  ## execute the code blocks of docs/
	$(BIN)/python -m pytest tests/docs $(ARGS)

.PHONY: pictures
pictures: setup  ## take the pictures of docs/images again from a generated year (minutes; ARGS="ADDRESS KEY" of one that runs)
	$(BIN)/python -m tests.browser.pictures $(ARGS)

.PHONY: bench
bench: setup  ## measure; ONLY=M1,M2 runs some; writes bench/results.json
	$(BIN)/python tests/engines/obtain.py postgres kafka
	@$(MAKE) --no-print-directory $(PEERS) || echo 'peers could not be installed; what is measured beside them says so'
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(ARGS)

PEERS := .bench/peers/.installed
$(PEERS): requirements/peers.txt
	$(PYTHON) -m venv .bench/peers
	.bench/peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.txt
	@touch $@

.PHONY: faults
faults: setup engines  ## kill services, broker and database again and again (minutes)
	$(BIN)/python -m pytest -m faults $(ARGS)

.PHONY: kafka
kafka:  ## a local Apache Kafka on port 9092, in the foreground (needs Java 17 and Maven)
	$(PYTHON) deploy/kafka-local/kafka_local.py start --data .cache/kafka-data $(ARGS)

.PHONY: requirements
requirements: setup  ## pin again what pyproject.toml allows (ARGS=--upgrade takes the newest)
	$(call compile,pyproject.toml --extra dev,dev)
	$(call compile,pyproject.toml --extra all --constraints requirements/dev.txt,base)
	$(call compile,pyproject.toml --extra bench --constraints requirements/dev.txt,bench)
	$(call compile,requirements/build.in,build)
	$(call compile,requirements/peers.in,peers)
	@! grep -nE 'https?://' requirements/*.txt || { echo 'requirements must carry no address' >&2; exit 1; }

# Hashes, every platform and Python from 3.11 on, and no address: where packages come from is the reader's own setting.
define compile
	$(BIN)/uv pip compile $(1) --python-version 3.11 --universal --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet --output-file requirements/$(2).txt $(ARGS)
endef

.PHONY: clean
clean:  ## remove .venv, caches and what a run left behind
	rm -rf $(VENV) .bench .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info bench/results.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
