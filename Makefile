# Everything a fresh machine needs is installed by the first target that needs it (scripts/setup.sh).
BIN := .venv/bin

.PHONY: demo serve test lint conformance bench setup setup-test lock clean

demo: setup           ## A guided tour: a real client, a real server, a real model
	@$(BIN)/aios-mcp demo

serve: setup          ## Serve MCP over HTTP and SSE on http://127.0.0.1:8765
	@$(BIN)/aios-mcp serve --http 127.0.0.1:8765

test: setup-test      ## All checks and all tests
	@sh scripts/check.sh

lint: setup-test      ## Style, types and layers only
	@sh scripts/check.sh lint

conformance: setup-test ## The official MCP conformance suite, both protocol eras
	@$(BIN)/python -m pytest -q tests/conformance

bench: setup          ## The figures of the README; `make bench NAME=llm` runs one
	@$(BIN)/python -m benchmarks $(or $(NAME),--all)

setup:
	@sh scripts/setup.sh

setup-test:
	@sh scripts/setup.sh test

lock:                 ## Renew the lock files (needs uv)
	@sh requirements/lock.sh

clean:
	rm -rf .venv tests/node/node_modules
