# Everything a contributor runs. `make` alone lists it.
#
# The environment is `.venv`, made from `requirements.lock` (every file checked by its hash) and made
# anew when the lock changes. Another Python: make test PYTHON=python3.12

VENV := .venv
BIN := $(VENV)/bin
CANDIDATES := $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input --quiet
UV_LOCK := pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --quiet

# Most tests wait for disks and processes, so there are more workers than processors. Files stay whole,
# and the slow ones (end to end, faults) come first, as they are named. A worker ends with a test that hangs; its file begins anew.
TEST_WORKERS := 3
PARALLEL := --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 2

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench retries soak collector examples lock venv clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv ## See it work: every example, signed, run and checked on a gateway of its own
	@$(BIN)/stockade demo

test: venv ## Run everything that must pass: lint, types, import contracts, all tests with coverage
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest --cov --cov-report=term-missing:skip-covered $(PARALLEL) $(TEST_ARGS)
	@$(BIN)/coverage report --include='src/stockade/core/*,src/registry/*' --fail-under=100 \
	  >$(VENV)/coverage-of-core.txt 2>&1 || { cat $(VENV)/coverage-of-core.txt; \
	  echo "src/stockade/core and src/registry must be covered whole." >&2; exit 1; }

lint: venv ## Check style, format, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: venv ## Measure speed and cost, each figure against the floor of the same run
	@$(BIN)/python -m bench $(BENCH_ARGS)

retries: venv ## Compare retry policies in simulation (a few minutes)
	@$(BIN)/python -m bench.retry $(BENCH_ARGS)

soak: venv ## Harm a running installation at random for two minutes, then count what was lost (SOAK_ARGS)
	@$(BIN)/python -m tests.faults.soak $(SOAK_ARGS)

collector: ## Build the OpenTelemetry collector that a test sends spans to (needs Go; minutes)
	@cd tests/otelcol && GOFLAGS=-mod=mod go build -o "$${XDG_CACHE_HOME:-$$HOME/.cache}/stockade-otelcol-0.161.0/bin/otelcol" .

examples: venv ## Build the example guests from source (needs Rust and Node.js)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python scripts/build_examples.py

lock: ## Resolve the dependencies anew into the two locks (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs 'uv'; see its manual to install it." >&2; exit 1; }
	@uv $(UV_LOCK) --group dev --output-file requirements.lock
	@uv $(UV_LOCK) --constraint requirements.lock --output-file requirements-runtime.lock

venv: ## Make or refresh the environment
	@cmp -s requirements.lock $(VENV)/requirements.lock || $(MAKE) --no-print-directory new-venv
	@cmp -s pyproject.toml $(VENV)/pyproject.toml || { \
	  $(PIP) install --no-deps --no-build-isolation --editable . && \
	  cp pyproject.toml $(VENV)/pyproject.toml; }

.PHONY: new-venv
new-venv:
	@set -e; found=; \
	for python in $(CANDIDATES); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found=$$python; \
	    if "$$python" -c 'import venv, ensurepip' 2>/dev/null; then break; fi; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "Stockade needs Python 3.11 or newer; none of these is: $(CANDIDATES)." >&2; \
	  echo "Install one, or name it: make test PYTHON=/path/to/python" >&2; \
	  exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$found cannot make virtual environments: its modules 'venv' and 'ensurepip' are missing." >&2; \
	  echo "On Debian and Ubuntu: apt install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$found" --version) ..." >&2; \
	rm -rf $(VENV); \
	"$$found" -m venv $(VENV); \
	$(PIP) install --no-deps --require-hashes --requirement requirements.lock; \
	cp requirements.lock $(VENV)/requirements.lock

clean: ## Remove the environment, caches and build output
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .import_linter_cache \
	  .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find src sdk tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
