# Two commands: `make nightly` and `make test`. Each does the set-up it needs, once.
SHELL := /bin/bash
PYTHON ?= python3
SHOP ?= demo
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
MIN_FREE_MB := 6000

.PHONY: nightly up down test lint bench java test-tools requirements help

help: ## What can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

nightly: $(READY) ## Run one night: [SHOP=demo] [DATE=YYYY-MM-DD] [ENGINE=spark] [LANDING=dir]
	@$(BIN)/nightmarket night --shop "$(SHOP)" $(if $(DATE),--date "$(DATE)") $(if $(ENGINE),--engine "$(ENGINE)") $(if $(LANDING),--landing "$(LANDING)")

up: $(READY) ## Airflow and MLflow on this machine: [AIRFLOW_PORT=8080] [MLFLOW_PORT=5000]
	@$(BIN)/nightmarket up $(if $(AIRFLOW_PORT),--airflow-port "$(AIRFLOW_PORT)") $(if $(MLFLOW_PORT),--mlflow-port "$(MLFLOW_PORT)")

down: $(READY) ## Stop them
	@$(BIN)/nightmarket down

test: $(DEV_READY) ## All tests, on both engines where Java is there
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(DEV_READY) ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/mypy dags

bench: $(DEV_READY) ## All benchmarks, JSON each
	@for file in benchmarks/*.py; do $(BIN)/python $$file --json || exit 1; done

java: ## Java 17 for ENGINE=spark, where apt is there
	@command -v apt-get >/dev/null || { echo "make java: no apt-get here; install a JDK 17 or newer by hand and set JAVA_HOME" >&2; exit 1; }
	@apt-get update -qq && apt-get install -y --no-install-recommends openjdk-17-jre-headless

test-tools: ## A browser and PostgreSQL for the tests of the servers, where apt is there
	@command -v apt-get >/dev/null || { echo "make test-tools: no apt-get here; install chromium and PostgreSQL by hand" >&2; exit 1; }
	@apt-get update -qq && apt-get install -y --no-install-recommends chromium postgresql

requirements: $(DEV_READY) ## Pin all dependencies again after a change of pyproject.toml
	@$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --annotation-style=line -o requirements.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --annotation-style=line --extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	@for image in spark airflow training; do (cd docker/requirements && ../../$(BIN)/pip-compile --quiet --strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header --annotation-style=line -c ../../requirements.txt -o $$image.txt $$image.in) || exit 1; done
	@sed -i -E 's/\+cpu\b//' requirements.txt requirements-dev.txt docker/requirements/*.txt

$(READY): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "nightmarket: no $(PYTHON): install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "nightmarket: $$($(PYTHON) --version) is too old: install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@free=$$(df -Pm . | awk 'NR == 2 {print $$4}'); [ -d $(VENV) ] || [ "$$free" -ge $(MIN_FREE_MB) ] || { echo "nightmarket: $$free MB free here, $(MIN_FREE_MB) MB needed for the set-up: free some space" >&2; exit 1; }
	@echo "nightmarket: setting up $(VENV) (once, some minutes)"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . 2>/dev/null || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(DEV_READY): $(READY) requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
