# Everything a newcomer types; `make` alone lists it. Nothing here needs more than make and Python.

CONFIG ?= walk
PYTEST_ARGS ?= -n 2
SOAK_S ?= 60
CHAOS_ARGS ?= -v
CLOUD_ARGS ?= -v
DASHBOARD_ARGS ?=
BENCH_ARGS ?=

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
OMNIBOARD := sacred/node_modules/.ready
EVOTORCH := .venv-evotorch/.ready
PINS := requirements.txt requirements-dev.txt requirements-no-deps.txt pyproject.toml

# A .venv whose Python has left (a system upgrade, a copied folder) is as good as none.
$(shell $(PY) -c '' 2>/dev/null || rm -f $(READY))

.DEFAULT_GOAL := help
.PHONY: help setup train dashboard test test-chaos test-cloud test-dashboards bench lint doctor clean

help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Build .venv with every package at its pin (train and test do it themselves)

train: $(READY) ## Train, watch and film: make train CONFIG="lander lr=0.1" (default: walk)
	@exec $(PY) es/experiment.py with $(CONFIG)

dashboard: $(READY) $(OMNIBOARD) ## MongoDB and Omniboard on this machine, without Docker, until Ctrl-C; needs Node and npm
	@exec $(PY) -m tracking.dashboard $(DASHBOARD_ARGS)

test: lint ## The whole gate: lint, then every test
	@$(PY) -m pytest $(PYTEST_ARGS)

test-chaos: $(READY) ## Break a fleet a hundred times over; SOAK_S=1800 watches its memory for half an hour
	@CHAOS=full SOAK_S=$(SOAK_S) $(PY) -m pytest tests/chaos $(CHAOS_ARGS)

test-cloud: $(READY) ## Launch clusters on machines that really boot, and see what they survive
	@CLOUD=full $(PY) -m pytest tests/cloud $(CLOUD_ARGS)

test-dashboards: $(READY) ## Look at real runs in a real Omniboard with a real browser; needs npm and chromium
	@sh sacred/install.sh || echo "the tests that need Omniboard are skipped"
	@DASHBOARDS=full $(PY) -m pytest tests/dashboards

bench: $(READY) $(EVOTORCH) ## Measure speed, in ratios, for an hour and a half; BENCH_ARGS=--list says what
	@$(PY) -m benchmarks $(BENCH_ARGS)

lint: $(READY) ## Style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m mypy benchmarks

doctor: ## Say what works on this machine and what to do about the rest
	@if [ -x $(PY) ]; then exec $(PY) doctor.py; else exec python3 doctor.py; fi

clean: ## Remove .venv and caches; runs/ stays
	@rm -rf $(VENV) .venv-evotorch sacred/node_modules build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(PINS)
	@PYTHON='$(PYTHON)' sh setup.sh

$(OMNIBOARD): sacred/package.json sacred/package-lock.json
	@sh sacred/install.sh

# EvoTorch, which some benchmarks compare with, has a Python of its own.
$(EVOTORCH): benchmarks/rivals/requirements-evotorch.txt
	@$(PY) -m venv .venv-evotorch
	@.venv-evotorch/bin/python -m pip install --disable-pip-version-check -qq -r $<
	@touch $@
