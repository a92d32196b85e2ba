# One command a chore; the same locally and in CI. `make setup` is done by those that need it.
PYTHON ?= python3
UV = uv==0.13.9
BIN = .venv/bin
# Test processes: one more than the two processors of CI, since many a test waits for a server. Each has a PostgreSQL of
# its own; one that is done takes over half of what another has left.
WORKERS ?= 3
PARALLEL = -n $(WORKERS) --dist worksteal

.PHONY: setup demo up down check test test-all test-long histories lint format types bench lock clean

setup: .venv/.ready

# uv installs in a fraction of pip's time; where it cannot, pip does. Bytecode is compiled now: Airflow's first start would
# otherwise take minutes.
.venv/.ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Dynamo needs Python 3.11 or newer; set PYTHON=…")'
	@$(PYTHON) -c 'import venv, ensurepip' || { echo "Python has no venv module: on Debian, apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-cache-dir "$(UV)" || true
	UV_LINK_MODE=copy $(BIN)/python -m uv pip install --quiet --no-cache --compile-bytecode --python $(BIN)/python -r requirements.txt \
	  || $(BIN)/python -m pip install --quiet --no-cache-dir -r requirements.txt
	$(BIN)/python -m uv pip install --quiet --no-cache --python $(BIN)/python --no-deps --editable . \
	  || $(BIN)/python -m pip install --quiet --no-cache-dir --no-deps --editable .
	@touch $@

demo: setup
	@$(BIN)/python -m demo run

up: setup
	@$(BIN)/python -m demo up

down:
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo down; else echo "nothing was ever started here"; fi

# What a change can be tried by in two minutes: nothing that needs PostgreSQL, Airflow or XRootD, and few random cases.
check: lint
	$(BIN)/python -m pytest $(PARALLEL) -m "not server and not slow and not thorough" --hypothesis-profile=short

test: setup
	$(BIN)/python -m pytest $(PARALLEL)

test-all: setup
	$(BIN)/python -m pytest $(PARALLEL) -m "slow or not slow" --hypothesis-profile=full

# Properties of Detox on some 100,000 random inventories × policies: hours of CPU.
test-long: setup
	$(BIN)/python -m pytest tests/detox/engine/test_properties.py --hypothesis-profile=long --hypothesis-show-statistics --timeout=0

# Random histories of a small installation: what goes wrong is shrunk and shown. FIRST: the first seed.
FIRST ?= 1
HISTORIES ?= 5000
histories: setup
	$(BIN)/python -m tests.histories --first $(FIRST) --number $(HISTORIES)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup
	$(BIN)/python -m benchmarks.detox
	$(BIN)/python -m benchmarks.dealer
	$(BIN)/python -m benchmarks.transfers
	$(BIN)/python -m benchmarks.deletions
	$(BIN)/python -m benchmarks.consistency

# requirements.txt has all; what the image runs is a part of it: Airflow with Dynamo, S3, the pocket grid, and no tools.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/python -m uv pip compile --quiet --universal \
  --python-version 3.11 --no-annotate pyproject.toml
lock:
	$(COMPILE) --upgrade --all-extras -o requirements.txt
	$(COMPILE) --extra airflow --extra s3 --extra simgrid --constraint requirements.txt -o requirements-image.txt

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
