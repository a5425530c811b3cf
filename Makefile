# Everything a developer or CI does here. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# uv makes and fills the virtual environment; its own version is pinned here because no lock file can hold it.
UV_VERSION := 0.13.8
SETUP := $(VENV)/.ready
# A file's tests stay together: what they share is started once. Four processes keep two processors busy, because tests wait much.
PYTEST := $(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder
LOCKED := operator runtime client cli
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --custom-compile-command 'make lock' $(COMPILE_OPTIONS)

##@ Setting up

.PHONY: setup
setup: $(SETUP) ## make the virtual environment with everything that development needs

$(SETUP): locks/dev.txt pyproject.toml
	@echo "→ virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "the venv module is missing: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@# Compiled once: tests start hundreds of processes, wherever the environment forbids to compile on the way.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --require-hashes --requirement locks/dev.txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: lock
lock: ## write the lock files anew (UPGRADE=1: with the newest versions)
	$(MAKE) lock-files COMPILE_OPTIONS='$(if $(UPGRADE),--upgrade)'

.PHONY: lock-files
lock-files:
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV); $(BIN)/python -m pip install --quiet uv==$(UV_VERSION); }
	@for part in $(LOCKED); do echo "→ locks/$$part.txt"; $(COMPILE) --extra $$part pyproject.toml --output-file locks/$$part.txt; done
	@echo "→ locks/ingestion.txt"; $(COMPILE) --extra runtime --extra ingestion pyproject.toml --output-file locks/ingestion.txt
	@echo "→ locks/dev-models.txt"; $(COMPILE) --group models --output-file locks/dev-models.txt
	@echo "→ locks/bench-litellm.txt"; $(COMPILE) --group litellm --output-file locks/bench-litellm.txt
	@echo "→ locks/dev.txt"; $(COMPILE) --all-extras --group dev pyproject.toml --output-file locks/dev.txt

.PHONY: generate
generate: $(SETUP) ## write everything that is generated from the models: CRDs, the chart's copy, the field reference
	@$(BIN)/python -m syntera_crds.generate

##@ Checking

.PHONY: lint
lint: $(SETUP) ## ruff, mypy, import directions, generated files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports | tail -n +10
	@$(BIN)/mypy
	@$(BIN)/python -m syntera_crds.generate --check

.PHONY: fix
fix: $(SETUP) ## what ruff can mend by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

.PHONY: check
check: lint ## what needs no cluster and does not take long: for each change
	@$(BIN)/python -m syntera_dev.build helm kubeconform promtool versitygw >/dev/null
	@$(PYTEST) -m 'not api and not cluster and not long'

.PHONY: test
test: lint ## everything: `check`, a real API server, and a whole cluster with pods (CLUSTER=current: the one of your kubeconfig)
	@$(BIN)/python -m syntera_dev.build kube-apiserver kube-controller-manager etcd helm kubeconform promtool versitygw >/dev/null
	@$(PYTEST) -m 'not cluster'
	@# Before the clock of a test runs: on a new machine it takes longer than any test may.
	@$(BIN)/python -m syntera_dev.build all >/dev/null
	@$(BIN)/python -m syntera_dev.images build >/dev/null
	@$(BIN)/pytest -m cluster

.PHONY: bench
bench: $(SETUP) ## measure the whole system beside references (about 45 minutes; wants a quiet machine)
	@$(BIN)/python -m syntera_dev.build kube-apiserver kube-controller-manager etcd helm >/dev/null
	@$(BIN)/python -m tests.bench

.PHONY: eval-retrieval
eval-retrieval: $(SETUP) ## measure how well knowledge bases find answers (fetches 60 MB once; half an hour the first time, then a minute)
	@$(BIN)/python -m tests.eval

##@ Running

.PHONY: demo
demo: $(SETUP) ## bring up a cluster, install Syntera, apply the samples and ask the sample agent a question
	@$(BIN)/python -m syntera_dev.demo up

.PHONY: demo-down
demo-down: $(SETUP) ## remove what `make demo` made, the local cluster included
	@$(BIN)/python -m syntera_dev.demo down

##@ Help

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
