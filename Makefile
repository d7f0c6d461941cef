# Two commands for a newcomer: `make demo` and `make test`. `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
PY := $(VENV)/bin/python
# Prefer a uv that is installed; else the one that pip brings into the environment.
UV := $(shell command -v uv || echo $(VENV)/bin/uv)
DEVELOP := VIRTUAL_ENV=$(abspath $(VENV)) $(VENV)/bin/maturin develop --quiet --uv
RUST_TEST := $(if $(shell command -v cargo-nextest),cargo nextest run --cargo-quiet,cargo test --quiet)

.PHONY: help demo test bench setup build build-release lint types rust python wheel clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: build-release ## Simulate, train, run the pipeline, print what was found (demo/)
	$(VENV)/bin/saers demo -o demo

test: setup rust build lint types python ## Rust and Python tests, doctests, lint, types

bench: build-release ## Compare speed with peers, write docs/benchmarks.md; NAMES="tomtom sae": these alone
	$(UV) pip install --quiet --python $(PY) --group bench
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 RAYON_NUM_THREADS=1 $(PY) -m benches $(NAMES) --out docs/benchmarks.md

setup: $(VENV)/.ready ## Make .venv with everything that is needed

$(VENV)/.ready: pyproject.toml
	@command -v cargo >/dev/null || { echo "saers is built with Rust: install it from https://rustup.rs, then run make again" >&2; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "saers needs Python 3.11 or newer; python3 is $$(python3 --version 2>&1)" >&2; exit 1; }
	test -x $(PY) || python3 -m venv $(VENV)
	command -v uv >/dev/null || $(VENV)/bin/pip install --quiet uv
	$(UV) pip install --quiet --python $(PY) --group dev --requirements pyproject.toml
	touch $@

build: setup ## Build the extension for development
	$(DEVELOP)

build-release: setup
	$(DEVELOP) --release

rust: setup ## Rust format, clippy, tests, doc tests
	cargo fmt --check
	cargo clippy --quiet --workspace --all-targets -- -D warnings
	$(RUST_TEST) --workspace
	cargo test --quiet --doc -p saers-core

lint: setup ## Python format and lint
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check

types: build ## mypy --strict, and the stub against the extension
	$(VENV)/bin/mypy
	$(PY) -m mypy.stubtest saers._core

python: build ## Python tests and doctests
	$(PY) -m pytest -q -n 2 --dist loadfile

wheel: setup ## A wheel for other machines, in dist/
	$(VENV)/bin/maturin build --release --out dist

clean: ## Remove what make made
	rm -rf $(VENV) target dist demo
