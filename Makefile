# Everything a newcomer types; `make` alone lists it. Nothing here needs more than make and Python.

CONFIG ?= walk
PYTEST_ARGS ?= -n 2
SOAK_S ?= 60
CHAOS_ARGS ?= -v
CLOUD_ARGS ?= -v

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
PINS := requirements.txt requirements-dev.txt requirements-no-deps.txt pyproject.toml

# A .venv whose Python has left (a system upgrade, a copied folder) is as good as none.
$(shell $(PY) -c '' 2>/dev/null || rm -f $(READY))

.DEFAULT_GOAL := help
.PHONY: help setup train test test-chaos test-cloud lint doctor clean

help: ## List these targets
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## Build .venv with every package at its pin (train and test do it themselves)

train: $(READY) ## Train, watch and film: make train CONFIG="lander lr=0.1" (default: walk)
	@exec $(PY) es/experiment.py with $(CONFIG)

test: lint ## The whole gate: lint, then every test
	@$(PY) -m pytest $(PYTEST_ARGS)

test-chaos: $(READY) ## Break a fleet a hundred times over; SOAK_S=1800 watches its memory for half an hour
	@CHAOS=full SOAK_S=$(SOAK_S) $(PY) -m pytest tests/chaos $(CHAOS_ARGS)

test-cloud: $(READY) ## Launch clusters on machines that really boot, and see what they survive
	@CLOUD=full $(PY) -m pytest tests/cloud $(CLOUD_ARGS)

lint: $(READY) ## Style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

doctor: ## Say what works on this machine and what to do about the rest
	@if [ -x $(PY) ]; then exec $(PY) doctor.py; else exec python3 doctor.py; fi

clean: ## Remove .venv and caches; runs/ stays
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): $(PINS)
	@PYTHON='$(PYTHON)' sh setup.sh
