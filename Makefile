# The two commands to begin with: `make demo`, then `make ui`.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help install dev demo ui psql stop clean test e2e bench check format lint audit lock docs

help: ## List the targets
	@grep -hE '^[a-z0-9]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

.venv/installer:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/installer.lock
	@touch $@

.venv/runtime: .venv/installer requirements/runtime.lock pyproject.toml
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements/runtime.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.venv/dev: .venv/runtime requirements/dev.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@

install: .venv/runtime ## Virtual environment from the lock file

dev: .venv/dev ## The same with the tools for development

demo: install ## Simulate 60 days, train, score 7 nights, print what came of it
	@$(BIN)/fraud-pipeline demo

ui: install ## Dagster webserver and daemon in the background
	@$(BIN)/fraud-pipeline ui

psql: install ## The alert database in psql
	@$(BIN)/fraud-pipeline psql

stop: ## End what was started
	@test ! -x $(BIN)/fraud-pipeline || $(BIN)/fraud-pipeline stop

clean: stop ## Remove all state of the demo
	@rm -rf "$${FRAUD_PIPELINE_HOME:-.fraud_pipeline}"

test: dev ## The whole test suite
	$(BIN)/pytest -n auto --dist loadfile --cov --cov-report=term --cov-fail-under=90
	@$(BIN)/coverage report --include='fraud_pipeline/core/*' --fail-under=95 --format=total >/dev/null \
		|| { echo "core is covered by less than 95 %"; exit 1; }

e2e: dev ## Slower proofs against real servers, processes and a browser
	$(BIN)/pytest -m e2e

bench: dev ## Comparisons with what one would otherwise do, into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks

format: dev ## Format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: dev ## Format check, ruff (its S rules are bandit's), mypy --strict, layering contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: .venv/installer ## Known vulnerabilities of what is locked (needs the network)
	$(BIN)/uv tool run --from 'pip-audit>=2.9,<3' pip-audit --strict --require-hashes --disable-pip -r requirements/runtime.lock

check: lint test ## Everything that has to be green before a commit

lock: .venv/installer ## Resolve the lock files anew
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--custom-compile-command "make lock" --quiet --output-file requirements/runtime.lock
	$(BIN)/uv pip compile pyproject.toml --group dev --constraint requirements/runtime.lock --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
		--quiet --output-file requirements/dev.lock

docs: dev ## Screenshots of the running UI for README and docs
	$(BIN)/python -m docs.screenshots
