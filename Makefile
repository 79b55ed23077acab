# `make run` from a fresh clone to a live conversation; `make test` is what CI runs. Everything lands in .venv and in the
# cache folder (VTB_CACHE, else the user's).

# What the tests and the demo start is many small processes; threads that spin for each other would starve them.
export GOMP_SPINCOUNT ?= 1000
export PIP_DISABLE_PIP_VERSION_CHECK = 1

PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(call new_enough,$(name))))
new_enough = $(shell $(1) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(1))

VENV = .venv/bin
PIP = $(VENV)/python -m pip install -c constraints.txt

.PHONY: run setup test test-slow test-gpu lint bench bench-gpu shots wheel clean
.DEFAULT_GOAL = run

run: setup
	@exec $(VENV)/vtuber-brain run --config configs/demo.toml

setup: .venv/.installed
	@$(VENV)/vtuber-brain models fetch

.venv/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed (Debian: python3-venv);" \
	  "say where it is with: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.installed: .venv/.made pyproject.toml constraints.txt
	$(PIP) -e '.[broker,panel,voice]'
	@touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) -e '.[broker,panel,voice,dev]'
	@touch $@

lint: .venv/.installed-dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy

test: setup lint
	$(VENV)/python -m pytest -n 2 --dist worksteal

test-slow: setup .venv/.installed-dev
	$(VENV)/python -m pytest -m slow

test-gpu: setup .venv/.installed-dev
	$(VENV)/python -m pytest -m gpu

bench: setup .venv/.installed-dev
	$(VENV)/python -m benchmarks

bench-gpu: .venv/.installed-dev
	$(VENV)/python -m benchmarks.gpu

shots: setup .venv/.installed-dev
	$(VENV)/python -m tests.shots

wheel: .venv/.made
	$(VENV)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
