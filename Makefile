# What there is to do with Mailroom. `make` alone lists it.
#
# demo and test install what they miss with apt-get, if they may: see scripts/need.sh. INSTALL=no forbids it.
# Both build with the dev profile, so that they share one target directory.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Steps come in the order in which they stand; cargo uses all cores by itself.
.NOTPARALLEL:
.PHONY: help demo test test-long bench-sync bench-graphql bench-view mutants mutants-if-there test-e2e conformance conformance-if-there clients clients-if-there hostile-html schemathesis fmt fmt-check lint doc schema schema-check deny deny-if-there suite need-demo need-test need-bench

# cargo takes the versions of Cargo.lock or fails: never a build that nobody has seen.
CARGO := cargo
LOCKED := --locked

# `make demo SECONDS=30`. In bash SECONDS counts time, so it reaches the program as an argument, expanded here.
DEMO_SECONDS := $(if $(SECONDS),--seconds $(SECONDS))
export INSTALL ?= yes

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 20

demo: need-demo ## A made-up company with live mail, on SQLite and a private Dovecot; SECONDS=n ends it after n seconds
	@$(CARGO) run $(LOCKED) --quiet -- demo $(DEMO_SECONDS)

test: need-test fmt-check lint doc schema-check deny-if-there suite conformance-if-there clients-if-there ## All that must pass: format, lints, docs, schema, licences, the suite on both settings

test-long: export MAILROOM_TEST_LONG = 1
test-long: test mutants-if-there ## The same at length: ten thousand letters against the model, a million questions of rights, and every mutant of the rules

mutants: ## Mutation tests of the rules: every small change of src/rules must be noticed (needs cargo-mutants)
	@scripts/mutants.sh

mutants-if-there:
	@if $(CARGO) mutants --version >/dev/null 2>&1; then \
	  $(MAKE) --no-print-directory mutants; \
	else \
	  echo "no mutation tests: cargo install --locked cargo-mutants"; \
	fi

suite: need-test
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  tests/with-servers.sh $(CARGO) nextest run $(LOCKED); \
	else \
	  tests/with-servers.sh $(CARGO) test $(LOCKED); \
	fi

bench-sync: need-bench ## How fast mail is taken in, beside mbsync; RUNS=n repeats it n times (5), the last line is JSON
	@MAILROOM_TEST_DURABLE=1 tests/with-servers.sh $(CARGO) bench $(LOCKED) --bench sync -- --runs $(or $(RUNS),5)

bench-graphql: need-bench ## How fast timelines are read and followed, beside plain JSON and peers in Node (if it is there); RUNS=n repeats it n times (3), the last line is JSON
	@tests/with-servers.sh $(CARGO) bench $(LOCKED) --bench graphql -- --runs $(or $(RUNS),3)

bench-view: ## How fast the HTML of mails is made safe; MAILROOM_TEST_CORPUS=folder adds the mails in it, the last line is JSON
	@$(CARGO) bench $(LOCKED) --bench view

test-e2e: need-test ## Only the tests through the front door (tests/it), with real Dovecot, PostgreSQL and Redis
	@if $(CARGO) nextest --version >/dev/null 2>&1; then \
	  tests/with-servers.sh $(CARGO) nextest run $(LOCKED) --test it; \
	else \
	  tests/with-servers.sh $(CARGO) test $(LOCKED) --test it; \
	fi
	@$(MAKE) --no-print-directory conformance-if-there clients-if-there

conformance: ## The reference suites of GraphQL over HTTP and WebSocket against the built program (needs Node 18 and npm)
	@$(CARGO) build $(LOCKED) --quiet
	@cd tests/e2e && npm install --no-audit --no-fund --silent && node mailroom.mjs $(abspath $(or $(CARGO_TARGET_DIR),target))/debug/mailroom

conformance-if-there:
	@if command -v node >/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory conformance; fi

clients: ## graphql-ws, graphql-sse, Apollo and urql against the built program; the schema by graphql-eslint, graphql-inspector and Relay (needs Node 20 and npm)
	@$(CARGO) build $(LOCKED) --quiet
	@cd tests/e2e/clients && npm install --no-audit --no-fund --silent && npm run --silent types && npm run --silent schema \
	  && MAILROOM_PROGRAM=$(abspath $(or $(CARGO_TARGET_DIR),target))/debug/mailroom npm test --silent

clients-if-there:
	@if command -v node >/dev/null && command -v npm >/dev/null; then $(MAKE) --no-print-directory clients; fi

hostile-html: need-test ## A hundred thousand hostile documents, and what others test their sanitisers with, cleaned and opened in Chromium; MORE=file.json adds a list (needs Node and npm)
	@for program in node npm chromium; do \
	  command -v $$program >/dev/null || { echo "hostile-html needs $$program (Debian: nodejs, npm, chromium)" >&2; exit 1; }; \
	done
	@cd tests/e2e/hostile-html && npm install --no-audit --no-fund --silent && node fixtures.mjs $(if $(MORE),$(abspath $(MORE))) > node_modules/fixtures.json
	@MAILROOM_TEST_LONG=1 MAILROOM_TEST_HTML=$(abspath tests/e2e/hostile-html/node_modules/fixtures.json) \
	  $(CARGO) test $(LOCKED) --test it -- --nocapture hostile_html

schemathesis: ## Whatever the schema allows, asked of the demo by schemathesis as three users; EXAMPLES=n of each root field (20) (needs Python 3)
	@if ! command -v python3 >/dev/null; then echo "no python3: schemathesis is left out"; exit 0; fi; \
	  $(CARGO) build $(LOCKED) --quiet; \
	  folder=$(abspath $(or $(CARGO_TARGET_DIR),target)); \
	  python3 -m venv "$$folder/schemathesis"; \
	  "$$folder/schemathesis/bin/pip" install --quiet --disable-pip-version-check -r tests/e2e/schemathesis/requirements.txt; \
	  "$$folder/schemathesis/bin/python" tests/e2e/schemathesis/mailroom.py "$$folder/debug/mailroom" schema.graphql $(EXAMPLES)

fmt: ## Format the code
	$(CARGO) fmt

fmt-check:
	$(CARGO) fmt --check

lint: ## Clippy, without mercy
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings

doc: ## The code's documentation, in target/doc
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(LOCKED) --no-deps --document-private-items

schema: ## Write schema.graphql anew from the code
	$(CARGO) run $(LOCKED) --quiet -- schema > schema.graphql.new
	mv schema.graphql.new schema.graphql

schema-check:
	@$(CARGO) run $(LOCKED) -- schema | diff -u schema.graphql - \
	  || { echo "schema.graphql is not what the code says: make schema" >&2; exit 1; }

deny: ## Licences, banned crates and sources of the dependencies (needs cargo-deny)
	$(CARGO) deny $(LOCKED) check licenses bans sources

deny-if-there:
	@if $(CARGO) deny --version >/dev/null 2>&1; then $(MAKE) --no-print-directory deny; fi

need-demo:
	@scripts/need.sh demo

need-bench:
	@scripts/need.sh bench

need-test:
	@scripts/need.sh test
