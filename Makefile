# Every target makes .venv if it is missing and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint bench clean

demo: $(VENV)/.installed-demo
	$(BIN)/python examples/demo.py

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/code_size.py

# make bench ONLY=predict,train/ResNet50 ENGINES=lamina,torch ROUNDS=7: see benchmarks/README.md
bench:
	$(PYTHON) -m benchmarks --only '$(ONLY)' --engines '$(ENGINES)' $(if $(ROUNDS),--rounds $(ROUNDS)) $(BENCH)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("lamina needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# torch first and alone: its version is pinned, so nothing else can pull in another build
$(VENV)/.installed-torch: constraints.txt | $(BIN)/python
	$(PIP) $$(grep '^torch==' constraints.txt)
	@touch $@

$(VENV)/.installed-demo: pyproject.toml constraints.txt $(VENV)/.installed-torch
	$(PIP) -c constraints.txt -e '.[plot]'
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt $(VENV)/.installed-torch
	$(PIP) -c constraints.txt -e '.[plot,test]'
	@touch $@

clean:
	rm -rf $(VENV) demo-output .pytest_cache .mypy_cache .ruff_cache
