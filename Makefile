# Everything one does in this project. `make` alone lists it, from the `##` sentences below.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

BIN := .venv/bin
# Touched when the environment holds what the lock says; older than one of these files, it is renewed.
READY := .venv/.ready
# The newest interpreter that runs; `make setup PYTHON=...` overrides it. Evaluated only when used.
PYTHON ?= $(firstword $(foreach name,python3.14 python3.13 python3.12 python3.11 python3,\
	$(shell $(name) -c 'import sys; sys.version_info >= (3, 11) and print("$(name)")' 2>/dev/null)))
# Limits `make test` to a path or adds options: make test ARGS="tests/domain -x"
ARGS ?=

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.* ## ' $(MAKEFILE_LIST) | awk -F ':.* ## ' '{printf "  make %-11s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) ## Make .venv with everything the project needs, pinned by requirements.lock
	@echo "ready: $(BIN)/runyard"

$(READY): requirements.lock tools/oldest.lock pyproject.toml client/pyproject.toml tools/setup.py
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: install one, or name it with PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) tools/setup.py
	@touch $@

.PHONY: demo
demo: $(READY) ## Start a server and drive real background runs through it (KEEP=1 leaves it up)
	@$(BIN)/runyard demo

.PHONY: serve
serve: $(READY) ## Serve the example agents on http://127.0.0.1:8000
	@$(BIN)/runyard serve examples/

.PHONY: test
test: $(READY) ## Run the tests and report their time against the budget (ARGS="tests/domain -x")
	@$(BIN)/pytest $(or $(ARGS),--numprocesses 2 --dist worksteal)

.PHONY: test-postgres
test-postgres: $(READY) ## Run the tests of API, engine and graphs on PostgreSQL (ARGS="tests/api")
	@$(BIN)/pytest --storage postgres -rs $(or $(ARGS),tests/api tests/engine tests/langgraph)

.PHONY: check
check: $(READY) ## Check format, lint, types, the direction of imports and the documents
	@tools/check

.PHONY: bench
bench: $(READY) ## Measure the server against its own baselines
	@$(BIN)/python -m bench $(ARGS)

.PHONY: bench-graphs
bench-graphs: $(READY) ## Measure graphs that are served beside the same graphs called directly
	@$(BIN)/python -m bench.graphs $(ARGS)

.PHONY: bench-threads
bench-threads: $(READY) ## Measure the streaming protocol, over SSE and over WebSockets, beside bare streams
	@$(BIN)/python -m bench.threads $(ARGS)

.PHONY: bench-large
bench-large: $(READY) ## Measure what operations cost on a file with a million finished runs
	@$(BIN)/python -m bench.large $(ARGS)

.PHONY: bench-peers
bench-peers: $(READY) ## Measure LangGraph's dialect beside other servers of it, on the same graphs
	@$(BIN)/python -m bench.peers $(ARGS)

.PHONY: chaos
chaos: $(READY) ## Kill servers, break disks, crowd, soak, upset clusters, for 40 minutes (ARGS="kill --minutes 1")
	@$(BIN)/python -m chaos $(ARGS)

.PHONY: fuzz
fuzz: $(READY) ## Send a server bad, odd and broken requests, read broken rows, for minutes (ARGS="--seed 7" repeats)
	@$(BIN)/python -m fuzz $(ARGS)

.PHONY: oracle
oracle: $(READY) ## Compare with documents of the protocol and clients (ARGS="dialect", "streaming.cddl"; with Java "a.json b.json")
	@$(BIN)/python -m tools.oracle $(ARGS)

.PHONY: client-pages
client-pages: $(READY) ## Write the client's reference pages (docs/client) from its code
	@$(BIN)/python tools/client_pages.py

.PHONY: format
format: $(READY) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .

.PHONY: lock
lock: $(READY) ## Renew requirements.lock from the dependencies that the projects declare
	@tools/lock

.PHONY: clean
clean: ## Remove caches and build results; the environment and the data stay
	@rm -rf build dist client/dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
