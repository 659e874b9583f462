# Two commands for users (demo, test), the rest for contributors. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The GPU file is for CUDA machines and Spaces; everywhere else the CPU file is what can be installed.
REQUIREMENTS ?= $(if $(shell command -v nvidia-smi 2>/dev/null),requirements.txt,requirements-cpu.txt)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-test demo test test-long check fix docs bench record figures

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# A stamp per requirements file and content: nothing is installed again until a file changes.
STAMP := $(VENV)/.installed-$(shell cat $(REQUIREMENTS) 2>/dev/null | sha256sum | cut -c1-12)
TEST_STAMP := $(VENV)/.installed-dev-$(shell cat requirements-dev.txt requirements-cluster.txt 2>/dev/null | sha256sum | cut -c1-12)

$(STAMP): | $(BIN)/python
	@scripts/install.sh $(BIN)/python $(REQUIREMENTS)
	@touch $@

$(TEST_STAMP): $(STAMP)
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	@touch $@

setup: $(STAMP) ## make the environment and fetch the embedded base model
	@$(BIN)/python -m studio doctor --fetch

setup-test: $(TEST_STAMP) setup ## setup plus what the tests need (Chromium among it)
	@scripts/chromium.sh

demo: setup ## launch the app on http://127.0.0.1:7860 with the embedded pool
	$(BIN)/python app.py

# Three processes for two cores, as one of them mostly waits for a browser; tests that share a costly
# start stay together (tests/conftest.py).
WORKERS ?= -n 3 --dist loadfile

test: setup-test ## run the tests (under 10 minutes on 2 cores)
	$(BIN)/python -m pytest $(WORKERS) -m "not slow"

test-long: setup-test ## run the storms and the slow tests too; pictures in test-artifacts
	STUDIO_PICTURES=1 HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest

check: $(TEST_STAMP) ## ruff, mypy, and that the documentation is up to date
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && \
		$(BIN)/python -m studio.docs --check

fix: $(TEST_STAMP) ## format and mend what can be mended automatically
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .

docs: $(TEST_STAMP) ## write the generated parts of README.md
	$(BIN)/python -m studio.docs

bench: setup-test ## measure the studio on this machine
	$(BIN)/python -m tests.bench

# FROM=stored reads the results that ship with the studio (minutes at most); FROM=nothing measures
# everything first by assets/plans/figures.yaml. It says how long; interrupted, it goes on.
FROM ?= stored
FIGURES ?= .studio/figures

figures: setup ## all figures and tables from stored runs; FROM=nothing measures everything first
	$(BIN)/python -m studio figures --out $(FIGURES) $(if $(filter nothing,$(FROM)),--from-nothing)

record: setup ## record the example runs in assets/traces again
	$(BIN)/python -m studio.record
