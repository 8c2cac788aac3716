# Each target makes .venv when it is missing. Another Python: make PYTHON=python3.12 …
# PyTorch from an index of its own, as its build for CPUs: make quickstart TORCH_INDEX=ADDRESS
PYTHON ?= python3
TORCH_INDEX ?=
VENV := .venv
SITE_VENV := .venv-site
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip
# Two files of tests at a time. Threads that wait for others must not keep a core busy meanwhile: with
# both cores in use, notebook 05 then takes five times as long.
TESTED := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest
PARALLEL := -n 2 --dist loadscope --no-loadscope-reorder
# An installed PyTorch is kept, so the project's own installation does not replace it.
INSTALL = $(if $(TORCH_INDEX),$(PIP) install torch torchvision --index-url $(TORCH_INDEX) &&) \
    $(PIP) install -e

.PHONY: quickstart lab check test full notebooks figures site site-check checkpoint address clean

quickstart: $(VENV)/.core
	$(BIN)/agman quickstart

lab: $(VENV)/.lab
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

# The fast tests, on two cores; `test` runs them all.
check: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTED) -n 2 --dist worksteal \
	    -m "not slow and not full and not browser and not notebooks"

test: $(VENV)/.test site-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(TESTED) $(PARALLEL)

# `test`, and what takes too long for every change.
full: test
	$(TESTED) $(PARALLEL) -m full

# All notebooks, top to bottom; the outputs are kept in the files.
notebooks: $(VENV)/.test
	$(BIN)/python notebooks/manage.py run

# The pictures and numbers of README.md and RESULTS.md: from a quickstart of this checkout, the
# network that comes with the package, and the committed comparisons.
figures: quickstart
	cp quickstart/figures/*.png figures/
	cp quickstart/run/evaluate-test.json figures/quickstart.json
	$(BIN)/python figures/make.py

# The course as a web site in build/site, from the committed outputs: nothing is run.
site: $(SITE_VENV)/.site
	$(SITE_VENV)/bin/python site/book.py build

site-check: site
	$(SITE_VENV)/bin/python site/book.py check

# The small network that comes with the package: the quickstart's garments, a ResNet-18 from nothing.
checkpoint: quickstart
	$(BIN)/agman train --preset quick --backbone resnet18 --weights none \
	    --data quickstart/garments --out quickstart/resnet18 --resume
	$(BIN)/agman export quickstart/resnet18 agman_lib/assets/garments.safetensors

# make address REPO=https://github.com/you/yours: a fork's address, in pyproject.toml and notebooks.
address: $(VENV)/.test
	$(BIN)/python notebooks/manage.py address $(REPO)

clean:
	rm -rf quickstart build *.egg-info

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(INSTALL) .
	touch $@

$(VENV)/.lab: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[lab]'
	touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(INSTALL) '.[test]'
	touch $@

# Jupyter Book and its many packages stay out of the project's own environment.
$(SITE_VENV)/.site: pyproject.toml
	$(PYTHON) -m venv $(SITE_VENV)
	$(SITE_VENV)/bin/python -m pip install $$($(SITE_VENV)/bin/python site/book.py requirements)
	touch $@
