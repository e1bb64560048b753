# Needs python3 (3.11 or newer) with venv, and make. Everything else goes into .venv.
PYTHON ?= python3
SEEDS ?= 1000
SEED0 ?= 0
ARGS ?=
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help run test lint bench sim clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

.venv/.made: setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed; $(PYTHON) is older. Try: make PYTHON=python3.12 run" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv. On Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --editable '.[demo,test,lint]'
	@touch $@

run: .venv/.made ## start the two-node demo; Ctrl-C ends it (ARGS=--help for its options)
	@exec $(PY) -m demo.cluster $(ARGS)

test: lint ## every check and every test
	$(PY) -m pytest $(ARGS)

lint: .venv/.made ## style, types, direction of imports
	$(PY) -m flake8 ftplugin workers demo tests
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo

bench: .venv/.made ## measure, and write docs/benchmarks.md
	$(PY) -m tests.bench $(ARGS)

sim: .venv/.made ## simulate SEEDS=1000 seeds from SEED0=0 on
	$(PY) -m tests.sim --seeds $(SEEDS) --seed0 $(SEED0) $(ARGS)

clean: ## remove the environment, caches and the demo's files
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .hypothesis .import_linter_cache instance/demo
	find . -name __pycache__ -prune -exec rm -rf {} +
