# make quickstart : set up and run the main job        make test : set up and run the tests
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Tests start many processes: without byte code on disk, each would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help quickstart test test-fast kernels chaos wheel-test test-ray-versions lint audit docs lock clean

help:           ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

quickstart: $(VENV)/.installed  ## a real sweep of concept encoders, a few minutes on 2 CPU cores
	$(BIN)/cogito-ray sweep search_spaces/quickstart.yaml

test: test-fast  ## every test but the slow fault injection
	$(BIN)/pytest -m "not chaos" tests/ray

test-fast: $(VENV)/.installed-dev  ## the tests that need no Ray, on every core
	$(BIN)/pytest -m "not chaos" --ignore=tests/ray --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

# Beside the virtual environment: triton alone takes a gigabyte.
kernels: $(VENV)/.installed-dev  ## the CUDA kernels of the vocabulary loss, by Triton's interpreter (no GPU is needed)
	@test -e build/kernels/liger_kernel || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		--target build/kernels triton==3.9.0 liger-kernel==0.8.5
	PYTHONPATH=build/kernels TRITON_INTERPRET=1 $(BIN)/pytest tests/nn/test_vocabulary_loss.py

chaos: $(VENV)/.installed-dev  ## every fault injection, and other slow tests; the table it ends with is build/chaos.md
	$(BIN)/pytest -m "chaos or quick"

wheel-test:     ## the wheel, in an empty environment: writes a project and sweeps it, small
	PYTHON=$(PYTHON) bash tests/wheel.sh

test-ray-versions: $(VENV)/.installed  ## a small sweep and a run of two workers under the oldest and newest Ray allowed
	bash tests/ray_versions.sh

lint: $(VENV)/.installed-dev  ## style and types
	$(BIN)/ruff check .
	$(BIN)/mypy

# pip-audit takes packages that it cannot ask about for sound, unless told to be strict.
audit:          ## known vulnerabilities of the pinned packages, by api.osv.dev; out of its reach, says so and fails
	@$(PYTHON) -c 'import urllib.request as web; web.urlopen("https://api.osv.dev/v1/vulns/GHSA-wj6h-64fc-37mp", timeout=20)' \
		2> /dev/null || { echo "api.osv.dev is out of reach: nothing was audited"; exit 1; }
	@test -e build/audit/bin/pip-audit || { $(PYTHON) -m venv build/audit && build/audit/bin/pip install -q pip-audit==2.10.1; }
	build/audit/bin/pip-audit --strict --no-deps --disable-pip --vulnerability-service osv -r requirements.lock

docs: $(VENV)/.installed-docs  ## the documentation, as a site in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# torch brings the CUDA libraries of its own build, so they are left out of the lock: it serves CPU and CUDA machines.
FREEZE = build/lock/bin/pip freeze --exclude cogito-ray | sed 's/+cpu$$//' | grep -vE '^(nvidia|cuda|triton)'
lock:           ## pin the dependencies anew, from pyproject.toml
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install -q torch==2.13.0
	build/lock/bin/pip install -q . && $(FREEZE) > requirements.lock
	sed 's/==.*//' requirements.lock > cogito_ray/text/sources/packages.txt
	build/lock/bin/pip install -q '.[dev]' && $(FREEZE) | grep -vxFf requirements.lock > requirements-dev.lock
	build/lock/bin/pip install -q '.[docs]' && $(FREEZE) | grep -vxFf requirements.lock -f requirements-dev.lock > requirements-docs.lock
	rm -rf build/lock

clean:          ## delete the virtual environment (runs/ and its results are yours to delete)
	rm -rf $(VENV) build *.egg-info

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or later is needed; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	@touch $@

$(VENV)/.installed-docs: $(VENV)/.installed requirements-docs.lock
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-docs.lock
	@touch $@
