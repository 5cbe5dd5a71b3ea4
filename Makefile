# geoetl. `make` lists what there is; every target does its own set-up, and a second call is quick.
#
# Needed on the machine: Python 3.12 or newer, make and git. Everything else goes into .venv.
#   make setup PYTHON=/path/to/python3.12     another Python than the first one found
#   make test ARGS="-k catalog -x"            more arguments for what is run

SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory
# What one process compiles the next need not: hundreds start in the tests, and half of their start is compiling.
export PYTHONDONTWRITEBYTECODE :=

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

# In this order; a pyenv shim may be on PATH and fail, so each one is asked.
PYTHONS := $(or $(PYTHON),python3.12 python3.13 python3.14 python3)
IS_RIGHT := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 12))
WHAT_IT_IS := import importlib.util, platform; print("Python", platform.python_version() + ("" if importlib.util.find_spec("ensurepip") else " without venv"))
IS_LOCKED := import sys; sys.exit(not (sys.platform == "linux" and sys.version_info[:2] == (3, 12)))
# Tried from 0.13 on: honours exclude-dependencies, see pyproject.toml.
UV := uv>=0.13
LOCK_OPTIONS := --extra all --generate-hashes --python-version 3.12 --python-platform linux
MODELS = $(wildcard dashboards/*/model.py)
BENCHMARKS = $(sort $(wildcard benchmarks/*.py))

# uv reads none of pip's settings: hand it the index and the certificates that this machine's pip is set to, if any.
# They stay in the environment of the one command; nothing is printed or written.
PIP_SETTING = $(BIN)/python -m pip config list 2>/dev/null | sed -nE "s/^(global|install)\.$(1)='(.*)'$$/\2/p" | sed '$$!d'
UV_SETTINGS = \
	index=$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(call PIP_SETTING,index-url))}}; \
	certificates=$${SSL_CERT_FILE:-$${PIP_CERT:-$$($(call PIP_SETTING,cert))}}; \
	if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
	if [ -n "$$certificates" ]; then export SSL_CERT_FILE="$$certificates"; fi

.PHONY: help setup demo serve lab test chaos check format bench notebooks lock clean

help: ## List the targets
	@echo "geoetl: rasters, vectors and climate cubes from file to map, in notebooks"
	@echo
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-18s %s\n' "$$name" "$$text"; \
	done

setup: $(READY) ## Make the environment in .venv

demo: $(READY) ## Take real rasters, vectors and climate files from file to catalogue
	@$(BIN)/geoetl demo $(ARGS)

serve: $(READY) ## Open the dashboard and the API
	@$(BIN)/geoetl serve $(ARGS)

# Root may only start Jupyter when it says so. Dask fills {port} in: its own dashboard, through jupyter-server-proxy.
lab: $(READY) ## Open JupyterLab on the notebooks
	@PATH="$(CURDIR)/$(BIN):$$PATH" DASK_DISTRIBUTED__DASHBOARD__LINK='/proxy/{port}/status' \
		$(BIN)/jupyter lab --ServerApp.root_dir=notebooks $$(if [ "$$(id -u)" = 0 ]; then echo --allow-root; fi) $(ARGS)

# One process for each processor, the longest files first (tests/conftest.py), not those of most tests; ARGS="-n 0" runs
# them in one, for a debugger.
test: $(READY) ## Run the tests (GEOETL_TEST_REQUIRE=all: a missing browser or server fails instead of skipping)
	@$(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder $(ARGS)

# Ten minutes of questions to the API, ten times as many broken files, 20,000 runs whose workers are killed 500 times, 50
# reductions whose Dask workers are killed or stopped, 300 times 100 steps of publishing, a kill or a full disk at each
# of the 1,200 system calls by which it changes the world, and 20,000 ways to tamper with its log.
chaos: $(READY) ## Run the long form of the fault tests
	@GEOETL_TEST_FUZZ_S=600 GEOETL_TEST_MUTATIONS=20000 GEOETL_TEST_RUNS=20000 GEOETL_TEST_KILLS=500 GEOETL_TEST_SLOTS=10000 \
		GEOETL_TEST_UPDATE_STEP=1 GEOETL_TEST_REDUCTIONS=50 GEOETL_TEST_PUBLISH_POINTS=0 \
		GEOETL_TEST_RELEASE_EXAMPLES=300 GEOETL_TEST_RELEASE_STEPS=100 GEOETL_TEST_TAMPERINGS=20000 \
		$(BIN)/python -m pytest -n logical --dist loadfile tests/faults tests/publish $(ARGS)

notebooks: $(READY) ## Run every notebook through the production runner
	@$(BIN)/python -m pytest tests/notebooks -q $(ARGS)

check: $(READY) ## Check style, format, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy geoetl $(MODELS)
	@$(BIN)/lint-imports --no-logo

format: $(READY) ## Format the code, and mend what can be mended
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format

bench: $(READY) ## Measure what is promised, in quick mode
	@set -e; for script in $(BENCHMARKS); do echo "== $$script"; $(BIN)/python "$$script" --quick $(ARGS); done

# What is pinned stays pinned while it fits: uv takes the file it is to write as its preference.
lock: $(READY) ## Resolve requirements.lock anew (ARGS=--upgrade: to the newest releases)
	@set -e; $(UV_SETTINGS); \
	cp requirements.lock $(VENV)/pins; \
	$(BIN)/uv pip compile pyproject.toml $(LOCK_OPTIONS) --quiet --no-header --output-file $(VENV)/pins $(ARGS) >/dev/null; \
	{ echo '# Written by `make lock` from pyproject.toml; `make setup` installs it on Linux with Python 3.12.'; \
	  cat $(VENV)/pins; } > requirements.lock; \
	rm $(VENV)/pins

clean: ## Remove the environment and what the tools left behind
	@rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@find . -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
	@echo "Removed the environment and build products. State is kept in .geoetl; remove that folder to start from nothing."

# The lock is for Linux on Python 3.12; elsewhere the packages are resolved from pyproject.toml.
$(READY): requirements.lock pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c '$(IS_RIGHT)' 2>/dev/null; then \
		right=; found=; \
		for name in $(PYTHONS); do \
			if "$$name" -c '$(IS_RIGHT)' 2>/dev/null; then right=$$name; break; fi; \
			what=$$("$$name" -c '$(WHAT_IT_IS)' 2>/dev/null) || continue; \
			found="$$found$${found:+, }$$what as $$name"; \
		done; \
		if [ -z "$$right" ]; then \
			echo "geoetl needs Python 3.12 or newer with its venv module and found $${found:-no Python}: install one" \
				"(apt-get install python3.12-venv where the distribution has it, anywhere pyenv install 3.12)" \
				"and run make again, or name one with make setup PYTHON=/path/to/python3.12." >&2; \
			exit 1; \
		fi; \
		rm -rf $(VENV); \
		"$$right" -m venv $(VENV); \
	fi; \
	rm -f $(READY); \
	echo "Installing the packages of geoetl into $(VENV) (once, a few minutes)."; \
	quiet=; if [ ! -t 2 ]; then quiet=--quiet; fi; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV)' || echo "uv is not to be had; pip does its work, slower."; \
	$(UV_SETTINGS); \
	install() { \
		if [ -x $(BIN)/uv ] && $(BIN)/uv pip install $$quiet --python $(BIN)/python "$$@"; then return; fi; \
		echo "Installing with pip instead of uv."; \
		$(BIN)/python -m pip install --disable-pip-version-check $$quiet "$$@"; \
	}; \
	if $(BIN)/python -c '$(IS_LOCKED)'; then \
		install --no-deps --require-hashes --requirement requirements.lock; \
		install --no-deps --no-build-isolation --editable .; \
	else \
		install --editable '.[all]'; \
	fi; \
	touch $(READY)
