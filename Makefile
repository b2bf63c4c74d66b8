# Each target does its own set-up: on a fresh Debian or Ubuntu, `make demo` needs nothing before it.

SHELL := /bin/bash
PYTHON := .venv/bin/python
WORKERS ?= auto
WITH ?=
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test lint bench docs site clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s  %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: Debian packages by apt, Python packages into .venv
	@scripts/setup

setup-dev:
	@scripts/setup dev $(WITH)

demo: setup ## run all scenarios of the catalogue, and write a report of them
	@.venv/bin/port25lab run --html report.html

test: lint ## lint, then run all tests, with real labs (WORKERS=4: four at a time; WITH=real: also those of Postfix)
	$(PYTHON) -m pytest -n $(WORKERS)

lint: setup-dev ## check style, formatting, types, and which folder imports which
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

bench: setup-dev ## run the benchmarks, each beside its baseline
	@for bench in bench/[a-z]*.py; do $(PYTHON) "$$bench" || exit; done

docs: ## make the pictures of the report in docs/pictures, from real runs (takes Chromium)
	@scripts/setup dev real
	@scripts/screenshots

site: setup-dev ## build the manual as a site with search into build/site, and check its links
	$(PYTHON) scripts/site

clean: ## remove .venv, builds and caches
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
