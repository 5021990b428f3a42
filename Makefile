# One line for each thing a person does here. `make demo` and `make test` need nothing but Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := .venv-peers
AUTOBAHN := .venv-autobahn
PYTHON2 ?= python2.7
CHART := web/vendor/.ready

.DEFAULT_GOAL := help
.PHONY: help demo run test check format peers live faults page screenshots first bench fanout soak autobahn lock clean

help: ## what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(READY): requirements-dev.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "Python is not installed (looked for '$(PYTHON)'); install Python 3.11 or newer"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed, '$(PYTHON)' is $$($(PYTHON) --version); set PYTHON=python3.12 or the like"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing; on Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# The page's chart comes from npm. Where it cannot be had the page works without it, and says how to get it.
$(CHART): web/package-lock.json
	@if ! command -v npm >/dev/null 2>&1; then \
	  echo "npm is not installed: the page at / will have no chart; install Node.js 20 or newer, then make again"; \
	elif npm ci --silent --no-audit --no-fund --prefix web && npm run --silent --prefix web vendor; then touch $@; \
	else echo "npm could not get what web/package-lock.json names: the page at / will have no chart"; fi

demo: $(READY) $(CHART) ## simulated exchanges and the gateway on http://127.0.0.1:8787, offline
	@$(BIN)/market-gateway demo

run: $(READY) $(CHART) ## the same gateway against the real exchanges
	@$(BIN)/market-gateway serve

test: $(READY) $(CHART) ## the whole test suite
	$(BIN)/python -m pytest -q -n 2 --no-loadscope-reorder

check: $(READY) ## format, lint, types, then the tests: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(MAKE) test

format: $(READY) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(PEERS)/.ready: scripts/peers-requirements.txt
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r scripts/peers-requirements.txt
	@touch $@

peers: $(READY) $(PEERS)/.ready ## ccxt.pro against the simulator, and its validators on what we send
	$(PEERS)/bin/python scripts/peers.py
	$(PEERS)/bin/python scripts/check_shapes.py

live: $(READY) ## the live tests, against the real exchanges: the drift check
	$(BIN)/python -m pytest -q -m live tests/live

faults: $(READY) ## ten minutes of everything that can go wrong at the venues, and whether clients were told the truth
	$(BIN)/python scripts/fault_run.py --minutes 10

page: $(READY) $(CHART) ## ten minutes of faults with a browser on the page, and whether what it showed was true
	$(BIN)/python scripts/page_run.py --minutes 10

screenshots: $(READY) $(CHART) ## the pictures in docs/screenshots, taken anew
	$(BIN)/python scripts/screenshots.py

first: $(READY) ## how long it takes from a fresh clone to the first candle on the screen
	$(BIN)/python scripts/first_candle.py

bench: $(READY) $(PEERS)/.ready ## parse throughput, beside ccxt's in the same run
	$(BIN)/python scripts/bench_ingest.py

$(PEERS)/node/.ready:
	@if command -v npm >/dev/null 2>&1; then npm install --silent --no-audit --no-fund --prefix $(PEERS)/node ws@8; else mkdir -p $(@D); fi
	@touch $@

fanout: $(READY) $(PEERS)/.ready $(PEERS)/node/.ready ## what a delivered message costs, beside peers in the same run (needs a C compiler)
	$(BIN)/python scripts/bench_fanout.py --preset paced
	$(BIN)/python scripts/bench_fanout.py --preset load

soak: $(READY) ## half an hour of clients that come, vanish, stall and misbehave
	$(BIN)/python scripts/soak.py --minutes 30

$(AUTOBAHN)/.ready: scripts/autobahn-requirements.txt
	@command -v $(PYTHON2) >/dev/null 2>&1 || { echo "the Autobahn suite runs on Python 2.7 alone; set PYTHON2 to one"; exit 1; }
	@test -x $(AUTOBAHN)/maker/bin/python || $(PYTHON) -m venv $(AUTOBAHN)/maker
	$(AUTOBAHN)/maker/bin/python -m pip install --quiet --disable-pip-version-check virtualenv==20.21.1
	$(AUTOBAHN)/maker/bin/virtualenv --quiet --python $(PYTHON2) $(AUTOBAHN)
	$(AUTOBAHN)/bin/python -m pip install --quiet --disable-pip-version-check -r scripts/autobahn-requirements.txt
	@touch $@

autobahn: $(READY) $(AUTOBAHN)/.ready ## our websocket server against the Autobahn suite
	$(BIN)/python scripts/autobahn.py

lock: $(BIN)/pip-compile ## write the lock files anew from pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --extra dev --output-file requirements-dev.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --build-deps-for wheel --only-build-deps --constraint requirements-dev.lock --output-file requirements-build.lock pyproject.toml

$(BIN)/pip-compile:
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip-tools>=7.5,<8"

clean: ## remove what the other targets made
	rm -rf $(VENV) $(PEERS) $(AUTOBAHN) .pytest_cache .mypy_cache .ruff_cache .hypothesis
