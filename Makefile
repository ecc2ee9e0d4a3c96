# Every target makes its environment first: the demo one with what it needs itself, the others one with all tools.
# ARGS goes to the command: make test ARGS="tests/server/test_urls.py -x"
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# An environment with all tools serves the demo too.
DEMO   := $(or $(wildcard $(READY)),$(VENV)/.ready-demo)
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3 python,\
            $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(name))))
ARGS   ?=
# Processes that run tests: many tests wait rather than work, so more than there are cores. WORKERS=0 runs them in one.
WORKERS ?= 10
FAULT_WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Hundreds of processes start during the tests: each would compile every module it imports where this is set.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-faults soak soak-console check format screenshots tour bench bench-gate clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

demo: $(DEMO)  ## open the console on an embedded server with a live workload
	@$(BIN)/glidemq demo $(ARGS)

test: $(READY) tests/__pycache__  ## run the tests that a change is checked with, against a real Valkey
	$(PYTEST) -m "not thorough" $(ARGS)

test-all: $(READY) tests/__pycache__  ## run every test: also the same on each screen, programs of the pages, processes, the demo, packages
	$(PYTEST) $(ARGS)

# In a new clone one process compiles the tests, not each of those that run them.
tests/__pycache__: $(READY)
	@test -d $@ || $(BIN)/python -m pytest -q --collect-only >/dev/null

test-faults: $(READY)  ## run the workload through every fault schedule, briefly
	$(BIN)/python -m pytest -n $(FAULT_WORKERS) tests/faults $(ARGS)

soak: $(READY)  ## run fault schedules for an hour, or as ARGS="--for 5m --seed N" says
	@cd tests && ../$(BIN)/python -m faults.soak $(ARGS)

soak-console: $(READY)  ## run the console for eight simulated hours and see that its memory stays flat
	@cd tests && ../$(BIN)/python -m console.soak $(ARGS)

check: $(READY)  ## lint, formatting, types (of the programs in the pages too), layers of imports, generated pages
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/check_types.py
	$(BIN)/python docs/generate.py --check

format: $(READY)  ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

screenshots: $(READY)  ## draw every screen from the demo data into screenshots/
	$(BIN)/python screenshots/make.py $(ARGS)

tour: $(READY)  ## film a tour of the console on the demo data into screenshots/tour.gif
	$(BIN)/python screenshots/tour.py

bench: $(VENV)/.ready-bench  ## measure beside other task queues and write docs/performance.md
	$(BIN)/python -m benchmarks $(ARGS)

bench-gate: $(VENV)/.ready-bench  ## fail if a job costs 15 % more than in benchmarks/baseline.json (ARGS=--write to make it)
	$(BIN)/python -m benchmarks.gate $(ARGS)

clean:  ## remove the environment, caches and builds
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .import_linter_cache .pytest_cache .hypothesis snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# uv when it is there, else venv and pip. The environment is remade from pins, never resolved anew.
ifneq ($(shell command -v uv 2>/dev/null),)
MAKE_VENV := uv venv --quiet --allow-existing --python '>=3.11' $(VENV)
INSTALL   := uv pip install --quiet --python $(BIN)/python
else
MAKE_VENV := $(PYTHON) -m venv $(VENV)
INSTALL   := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

PYTHON_FOUND = $(if $(PYTHON)$(findstring uv,$(MAKE_VENV)),,$(error glidemq needs CPython 3.11 or newer; name it with PYTHON=...))
# The package itself: what it needs is there.
INSTALL_GLIDEMQ = $(INSTALL) --no-build-isolation --no-deps --editable .

$(VENV)/.ready-demo: requirements.txt requirements-build.txt pyproject.toml
	@$(PYTHON_FOUND)
	@echo "Setting up $(VENV) for the demo: once, 30 MB to download, 140 MB on disk."
	@$(MAKE_VENV)
	@echo "Installing the console, the client and a Valkey server of its own ..."
	@$(INSTALL) -r requirements.txt -r requirements-build.txt
	@$(INSTALL_GLIDEMQ)
	@touch $@
	@echo "Starting the demo: q ends it, ? shows the keys."

$(READY): requirements.txt requirements-build.txt requirements-dev.txt pyproject.toml
	@$(PYTHON_FOUND)
	@echo "Setting up $(VENV) with all tools for tests and checks: once, 480 MB on disk."
	$(MAKE_VENV)
	$(INSTALL) -r requirements-dev.txt
	$(INSTALL_GLIDEMQ)
	@touch $@

$(VENV)/.ready-bench: requirements-bench.txt $(READY)
	$(INSTALL) -r requirements-bench.txt
	@touch $@
