# Everything runs in a virtual environment, .venv, that is built on first use. Recipes use relative paths
# and `python -m`, so that the checkout may live at a path with spaces and may be moved.
SHELL := /bin/bash
.SHELLFLAGS := -c
MAKEFLAGS += --no-print-directory

# Interpreter for a new .venv; empty: keep the one of .venv, else the first of python3.11 and python3.12.
PYTHON ?=
# The export that make test-arm compares; empty: a small model.
EXPORT_DIR ?=
# Passed on to the program: make run ARGS="--help", make test ARGS="-k selection".
ARGS ?=

PY := .venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# Exit status of a Python that can serve: a supported version that can also make virtual environments.
CHECK := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
# What .venv was made from. It follows content, not file times, which a checkout or a copy changes.
IDENTITY := import sys; print(sys.version, sys.base_prefix)
# One line for each direct dependency while pip works; errors and warnings pass through.
PROGRESS := sed -un -e 's/^Collecting \([^ ]*\) (from -r .*/  \1/p' -e 's/^Installing collected.*/  unpacking/p'

.PHONY: help run test test-slow test-arm lint clean .base .dev
.DEFAULT_GOAL := help

help:
	@echo 'make run       install what is needed (first time: some minutes), then run the quick start'
	@echo 'make test      the tests, without those of many seconds'
	@echo 'make test-slow the others: several processes, kills and resumes, whole commands'
	@echo 'make test-arm  compares .tflite files on arm64, under emulation, with x86-64'
	@echo 'make lint      ruff and mypy'
	@echo 'make clean     remove the virtual environment and caches'
	@echo 'Variables: PYTHON=python3.12 (3.11 and 3.12 are supported), ARGS="options for the program",'
	@echo '           EXPORT_DIR=folder of your export for test-arm, instead of a small model'

run: .base
	@$(PY) -m export.quickstart $(ARGS)

# Two processes, each with files of its own, whose fixtures are made once; ARGS="-n 0" for one process.
test: .dev
	@$(PY) -m pytest tests -rs -m 'not slow' -n 2 --dist loadfile $(ARGS)

test-slow: .dev
	@$(PY) -m pytest tests -rs -m slow $(ARGS)

test-arm: .dev
	@$(PY) -m tests.arm $(if $(EXPORT_DIR),--export_dir="$(EXPORT_DIR)") $(ARGS)

lint: .dev
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

# A stamp in .venv holds the checksum of what was installed; it is written last, so that an install which was
# cut short is begun anew.
.base:
	@set -euo pipefail; \
	python="$(PYTHON)"; \
	for candidate in $(PY) python3.11 python3.12 python3; do \
	  [ -n "$$python" ] && break; \
	  if "$$candidate" -c '$(CHECK)' >/dev/null 2>&1; then python="$$candidate"; fi; \
	done; \
	if ! "$${python:-python3.11}" -c '$(CHECK)' >/dev/null 2>&1; then \
	  echo "error: drnet-tf needs Python 3.11 or 3.12 with its venv module$${python:+, which $$python is not}; set PYTHON=/path/to/python3.11" >&2; \
	  exit 1; \
	fi; \
	wanted=$$({ "$$python" -c '$(IDENTITY)'; cat requirements.txt constraints.txt; } | cksum); \
	if ! $(PY) -c '' 2>/dev/null || [ "$$(cat .venv/installed 2>/dev/null)" != "$$wanted" ]; then \
	  interpreter=$$("$$python" -c 'import sys; print(sys._base_executable)'); \
	  echo "Installing into .venv with $$("$$interpreter" --version), about 3 GB; this takes some minutes"; \
	  rm -rf .venv; \
	  "$$interpreter" -m venv .venv; \
	  $(PY) -m pip install --progress-bar off -r requirements.txt -c constraints.txt | $(PROGRESS); \
	  echo "$$wanted" > .venv/installed; \
	fi

.dev: .base
	@set -euo pipefail; \
	wanted=$$(cat .venv/installed requirements-dev.txt | cksum); \
	if [ "$$(cat .venv/installed-dev 2>/dev/null)" != "$$wanted" ]; then \
	  echo "Installing the development tools into .venv"; \
	  $(PY) -m pip install --progress-bar off -r requirements-dev.txt -c constraints.txt | $(PROGRESS); \
	  echo "$$wanted" > .venv/installed-dev; \
	fi
