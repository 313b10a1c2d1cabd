# Two commands need nothing but Python >= 3.11 and make:  make demo   make test
# the first that runs (a pyenv shim may not), is new enough and can make virtual environments
USABLE := import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
            $$p -c '$(USABLE)' >/dev/null 2>&1 && command -v $$p && break; done)
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint types bench formats mutants chaos pages hapi secrets clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/run.stamp ## a synthetic hospital, screened, written back and exported
	$(BIN)/adapter demo

test: .venv/dev.stamp ## every test; with Java 17, Maven and npm also against real servers of three makes
	@echo "looking for FHIR servers (their first download is about 600 MB) ..."
	@$(BIN)/python -m tests.servers.medplum --prefetch || true
	@$(BIN)/python -m tests.servers.openid_provider --prefetch || true
	@$(BIN)/python -m tests.servers.keycloak --prefetch || true
	@$(BIN)/python -m tests.servers.hapi --prefetch || true # what that means, skip or failure, the tests decide
	$(BIN)/python -m pytest -n auto --dist loadgroup

lint: .venv/dev.stamp ## style, format and the walls between the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/dev.stamp ## mypy
	$(BIN)/mypy

bench: .venv/dev.stamp ## a population screened, against wc, DuckDB, Spark, pandas, msgspec: one ratio a line
	$(BIN)/pip install -q -e '.[dev,bench]'
	$(BIN)/python -m benchmarks $(BENCH)

formats: .venv/dev.stamp ## a million rows written in every file format, against pyreadstat and pyarrow
	$(BIN)/python -m benchmarks.formats

mutants: .venv/dev.stamp ## change adapter/protocol line by line: does a test notice? (hours; MUTANTS='--only judge')
	$(BIN)/pip install -q -e '.[dev,mutants]'
	nice -n 19 $(BIN)/python -m benchmarks.mutants $(MUTANTS)

pages: .venv/run.stamp ## write again what is rendered from the protocols: pages and the editors' schema
	@for folder in mappings/protocols/*/; do for lang in en zh; do \
	  $(BIN)/adapter render --protocol $$folder --lang $$lang --out docs; done; done
	$(BIN)/adapter render --as json-schema --out mappings/protocols
	$(BIN)/adapter render --as names --out docs

chaos: .venv/dev.stamp ## the 500 schedules of faults, kills and persons' edits alone (make test runs them too)
	$(BIN)/python -m pytest -n auto --dist loadgroup tests/chaos

hapi: .venv/dev.stamp ## run a HAPI FHIR server and print its base URL (PORT=8080)
	@$(BIN)/python -m tests.servers.hapi --port $(or $(PORT),8080)

secrets: ## random secrets and a certificate for docker-compose.yml; those present stay
	@$(PYTHON) $(dir $(lastword $(MAKEFILE_LIST)))deploy/secrets_for_compose.py secrets
	@echo "who can sign in at http://localhost:8765, with their passwords: secrets/demo_people"

clean: ## remove the environment, caches and the HAPI build (workspace/ stays)
	rm -rf .venv .servers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find adapter tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/pip:
	@test -n "$(PYTHON)" || { \
	  echo "No Python >= 3.11 that can make virtual environments was found (python3 is $$(python3 -V 2>&1))."; \
	  echo "Debian, Ubuntu: apt-get install python3-venv   elsewhere: make PYTHON=/path/to/python3.12 ..."; exit 1; }
	$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml | .venv/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -e .
	@touch $@

.venv/dev.stamp: pyproject.toml | .venv/bin/pip
	$(BIN)/pip install -q --disable-pip-version-check -e '.[dev]'
	@touch $@ .venv/run.stamp
