# Needs python3 (3.11 or newer) with venv, and make. Everything else goes into .venv.
PYTHON ?= python3
SEEDS ?= 1000
SEED0 ?= 0
ARGS ?=
MINUTES ?= 20
SEED ?= 1
WITNESS ?=
QUIET ?=
DESTDIR ?=
FT_VENV ?= /opt/ft/venv
PY := .venv/bin/python
# Without clusters, so they run beside those: what waits for real time, and what computes.
COMPUTES := tests/sim tests/core tests/integration/web tests/integration/replicate tests/integration/docker
WAITS := tests/integration/adapters tests/integration/celery tests/integration/database tests/integration/health \
  tests/integration/services tests/integration/standby tests/integration/attacks tests/integration/units
# Heartbeats are judged by the clock: as root such tests go before what only computes.
FIRST := $(shell nice -n -10 nice 2>/dev/null | grep -q '^-' && echo nice -n -10)
# A wait that missed its deadline on a shared machine is tried once more, and listed as RERUN; no other failure is.
ONCE_MORE := --reruns 1 --only-rerun 'not within [0-9.]+ s|[Tt]imeout [0-9]+ms' -rR

.DEFAULT_GOAL := help
.PHONY: help run test lint audit bench bench-peers sim soak lab lab-full screenshots messages install-units clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

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

test: lint ## every check and every test (ARGS: only these, as pytest takes them)
ifeq ($(strip $(ARGS)),)
	@mkdir -p instance; \
	$(FIRST) $(PY) -m pytest $(ONCE_MORE) $(WAITS) >instance/waits.log 2>&1 & waits=$$!; \
	nice -n 10 $(PY) -m pytest $(ONCE_MORE) $(COMPUTES) >instance/computes.log 2>&1 & computes=$$!; \
	$(FIRST) $(PY) -m pytest $(ONCE_MORE) $(addprefix --ignore=,$(COMPUTES) $(WAITS)); rest=$$?; \
	wait $$waits; waits=$$?; wait $$computes; computes=$$?; \
	echo "Beside these ran $(WAITS):"; cat instance/waits.log; \
	echo "and $(COMPUTES):"; cat instance/computes.log; exit $$((rest | waits | computes))
else
	$(PY) -m pytest $(ARGS)
endif

# Not asked: B101, since an assert tells the type checker what holds and none is a check; B404, since B603 says it of each process that
# is started; B105 and B106, which guess by names and find empty defaults. Whatever else is found is answered in its line.
lint: .venv/.made ## style, types, direction of imports, security (bandit)
	$(PY) -m flake8 ftplugin workers demo deploy docker tests
	$(PY) -m mypy
	.venv/bin/lint-imports --no-logo
	$(PY) -m bandit --quiet --recursive --skip B101,B105,B106,B404 ftplugin workers demo

# Asks the service of advisories; a package that cannot be looked up is a failure, no success.
audit: .venv/.made ## known holes of the installed packages (pip-audit); needs the internet
	$(PY) -m pip freeze --exclude-editable | $(PY) -m pip_audit --strict --no-deps --disable-pip --requirement /dev/stdin

bench: .venv/.made ## measure, and write docs/benchmarks.md
	$(PY) -m tests.bench $(ARGS)

bench-peers: .venv/.made ## as root: the outage beside HAProxy and keepalived, into docs/benchmarks.md
	$(PY) -m tests.bench.peers $(ARGS)

sim: .venv/.made ## simulate SEEDS=1000 seeds from SEED0=0 on
	$(PY) -m tests.sim --seeds $(SEEDS) --seed0 $(SEED0) $(ARGS)

soak: .venv/.made ## as root: random faults for MINUTES=20 from SEED=1 on; WITNESS=1, QUIET=1, ARGS=--write
	$(PY) -m tests.lab.soak --minutes $(MINUTES) --seed $(SEED) $(if $(WITNESS),--witness) $(if $(QUIET),--quiet) $(ARGS)

lab: .venv/.made ## every test of the fault lab, as root, and what make test leaves out (about 15 minutes)
	$(PY) -m pytest -m "lab or full" $(ARGS) tests/lab tests/integration/cluster tests/integration/database tests/integration/web \
	  tests/integration/units tests/integration/docker

lab-full: .venv/.made ## every fault, crash and race on real hosts, as root: docs/lab.md (ARGS=--help: in parts)
	$(PY) -m tests.lab.full $(ARGS)

screenshots: .venv/.made ## pictures of the main pages into docs/images; needs chromium (ARGS: --only status)
	$(PY) -m tests.browser.shots $(ARGS)

messages: .venv/.made ## find the texts of the pages and compile their translations; says what is left to translate
	$(PY) -m tests.messages

install-units: ## systemd units, user and polkit rule into DESTDIR=/, for the programs in FT_VENV=/opt/ft/venv
	@set -e; root='$(DESTDIR)/etc'; \
	if ! printf %s '$(FT_VENV)' | grep -Eqx '/[A-Za-z0-9._/@+-]+'; then \
	  echo "FT_VENV='$(FT_VENV)': must be an absolute path of letters, digits and ._/@+-, as /opt/ft/venv" >&2; exit 1; fi; \
	for file in $$(cd deploy/systemd && find . -name '*.service' -o -name '*.target' -o -name '*.conf'); do \
	  install -d "$$root/systemd/system/$$(dirname $$file)"; \
	  sed 's|/opt/ft/venv|$(FT_VENV)|g' "deploy/systemd/$$file" >"$$root/systemd/system/$$file"; \
	  chmod 644 "$$root/systemd/system/$$file"; done; \
	install -D -m 644 deploy/sysusers.conf "$$root/sysusers.d/ftplugin.conf"; \
	rule="$$root/polkit-1/rules.d/50-ftplugin.rules"; \
	if [ ! -e "$$rule" ]; then install -D -m 644 deploy/polkit.rules "$$rule"; \
	elif ! cmp -s deploy/polkit.rules "$$rule"; then echo "kept as it is, with your UNITS: $$rule (new: deploy/polkit.rules)"; fi; \
	install -D -m 644 deploy/flowerconfig.py "$$root/ft/flowerconfig.py"; \
	echo "Now: systemd-sysusers; systemctl daemon-reload; systemctl enable ftplugin.target ftplugin@node.target"

clean: ## remove the environment, caches and the demo's files
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .hypothesis .import_linter_cache instance/demo instance/soak
	find . -name __pycache__ -prune -exec rm -rf {} +
