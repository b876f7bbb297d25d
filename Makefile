# The commands of this checkout; `make help` lists them. All they need is Python >= 3.11: everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 4
# What is measured beside us has an environment of its own.
PEERS := .venv-bench

.PHONY: help demo test lint docs simulate crash large chaos bench clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

demo: $(VENV)/.runtime ## Run the main job against the sandbox: no account, nothing spent
	$(BIN)/orchestrator submit jobs/quickstart.yaml --sandbox

test: $(VENV)/.dev lint ## All tests, after lint, types and import contracts
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

lint: $(VENV)/.dev ## Format, lint, types and import contracts
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

docs: $(VENV)/.runtime ## Make the pages anew that are made from the code: states, retries, cli, --help
	for page in states retries cli; do $(BIN)/python scripts/make_$${page}_doc.py > docs/$$page.md || exit; done
	COLUMNS=80 $(BIN)/orchestrator --help > orchestrator/cli/front_page.txt

simulate: $(VENV)/.dev ## Random batches, faults and kills in virtual time: SEEDS=200 FIRST=1 SEED=
	PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),200) --first $(or $(FIRST),1) --workers $(WORKERS) $(if $(SEED),--seed $(SEED))

crash: $(VENV)/.dev ## Kills at every boundary under both drivers, and pairs of kills: CRASH_SEED=
	CRASH=all $(BIN)/pytest -n $(WORKERS) --dist worksteal tests/crash

large: $(VENV)/.dev ## A CSV catalogue of a thousand rows, worked to the end
	$(BIN)/pytest -m large tests/acceptance

chaos: $(VENV)/.dev ## Real processes under random kills and faults: SECONDS=300 SEED=
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),300) $(if $(SEED),--seed $(SEED))

bench: $(VENV)/.runtime $(PEERS)/.ready ## Measure beside what users would pick instead; writes docs/performance.md (two hours)
	for subject in overhead kill makespan flat scale store copy plan startup; do $(BIN)/python -m benchmarks.$$subject --write || exit; done
	$(BIN)/python -m benchmarks.polling --live ours,aiohttp --write

clean: ## Remove the environment and what tools left behind
	rm -rf $(VENV) $(PEERS) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(PEERS)/.ready: benchmarks/requirements.txt | $(VENV)/bin/python
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r benchmarks/requirements.txt
	touch $@

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@
