# Everything that a fresh machine with Python >= 3.11 and make needs.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
SHOP   := data/shop/log.json

.DEFAULT_GOAL := help
.PHONY: help install lab test lint lock bench images clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: $(READY) $(SHOP)  ## install what is missing and make the sample log

lab: install  ## open the notebooks in JupyterLab
	$(BIN)/esnb lab notebooks

test: install lint  ## run every check: lint, types, unit, property, notebook and browser tests
	$(BIN)/python -m pytest -n 2

lint: $(READY)  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy esnb

lock: $(READY)  ## write requirements.lock anew from pyproject.toml
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --no-emit-index-url --group dev --group bench pyproject.toml -o requirements-bench.lock

bench: $(READY) .venv-bench/.ready  ## run the benchmarks beside their peers (minutes) and write RESULTS.md
	.venv-bench/bin/python benchmarks/run.py

images: install  ## draw the README's pictures from a real run (needs Chromium)
	$(BIN)/python docs/make_images.py

clean:  ## take away the environment and the sample log
	rm -rf $(VENV) .venv-bench data/shop

# The stamp comes last: an install that was cut off is begun anew.  uv comes from the lock
# too, its lines cut out of it so that pip checks the hashes.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "esnb needs Python 3.11 or newer; say which: make install PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.lock
	test -x $(BIN)/uv || $(BIN)/python -m pip install -q --require-hashes --no-deps -r $(VENV)/uv.lock
	$(BIN)/uv pip sync -q -p $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install -q -p $(BIN)/python --no-deps --no-build-isolation -e .
	touch $@

# The peers stay out of the ordinary environment (one of them is under the AGPL).
.venv-bench/.ready: $(READY) requirements-bench.lock
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip sync -q -p .venv-bench/bin/python --require-hashes --compile-bytecode requirements-bench.lock
	$(BIN)/uv pip install -q -p .venv-bench/bin/python --no-deps --no-build-isolation -e .
	touch $@

$(SHOP): data/generate_shop.py $(wildcard esnb/examples/shop/*.py) | $(READY)
	$(BIN)/python data/generate_shop.py data/shop
