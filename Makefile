# Each target makes .venv when it is missing. Another Python: make PYTHON=python3.12 …
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: quickstart lab test figures clean

quickstart: $(VENV)/.core
	$(BIN)/agman quickstart

lab: $(VENV)/.lab
	$(BIN)/jupyter lab

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The pictures and numbers of the README, from a quickstart of this checkout.
figures: quickstart
	cp quickstart/figures/*.png figures/
	cp quickstart/run/evaluate-test.json figures/quickstart.json

clean:
	rm -rf quickstart build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e .
	touch $@

$(VENV)/.lab: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[lab]'
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -e '.[test]'
	touch $@
