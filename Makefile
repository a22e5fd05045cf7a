# Everything that developers and the continuous integration run. `make` lists the targets.

PYTHON ?= python3
VENV ?= .venv
VENV_MIN ?= .venv-min

PY := $(VENV)/bin/python
PY_MIN := $(VENV_MIN)/bin/python
ROOMS := kgneg kgneg.samplers kgneg.recsys kgneg.datasets
# Tests run in as many processes as there are cores, of one thread each; WORKERS=0 runs them in this one.
WORKERS := auto
TESTING := HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1
TYPES := build/types
MYPY := $(CURDIR)/$(PY) -m mypy --config-file $(CURDIR)/pyproject.toml --cache-dir $(CURDIR)/.mypy_cache

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# The folder kgneg/ at the root must not be taken for the package.
export PYTHONSAFEPATH := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-min lint types docs bench bench-lp bench-noise bench-esco bench-car bench-rec bench-selfinstruct bench-selfinstruct-scale build clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | awk -F ':.*## ' '{ printf "  make %-10s %s\n", $$1, $$2 }'

# $(call environment,python,folder): make a virtual environment whose pip knows dependency groups
define environment
@$(1) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	|| { echo "$(1) is no Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.11"; exit 1; }
test -x $(2)/bin/python || $(1) -m venv $(2)
@$(2)/bin/python -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))' \
	|| $(2)/bin/python -m pip install --quiet --upgrade pip
endef

# What it takes to run kgneg. The stamps are files in the environment: removing it removes them.
$(VENV)/.stamp-run: pyproject.toml constraints.txt
	$(call environment,$(PYTHON),$(VENV))
	$(PY) -m pip install --quiet -c constraints.txt -e '.[offline]'
	@touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-run
	$(PY) -m pip install --quiet -c constraints.txt --group test --group lint --group types
	@touch $@

$(VENV)/.stamp-docs: $(VENV)/.stamp-dev
	$(PY) -m pip install --quiet -c constraints.txt --group docs
	@touch $@

$(VENV)/.stamp-release: $(VENV)/.stamp-run
	$(PY) -m pip install --quiet -c constraints.txt --group release
	@touch $@

$(VENV_MIN)/.stamp: pyproject.toml constraints-min.txt
	$(call environment,$(PYTHON),$(VENV_MIN))
	$(PY_MIN) -m pip install --quiet -c constraints-min.txt -e '.[offline,faiss]' --group test
	@touch $@

setup: $(VENV)/.stamp-dev ## make the environment for developers

demo: $(VENV)/.stamp-run ## compare two samplers on a small graph, offline, in minutes
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(VENV)/bin/kgneg compare --dataset umls --sampler basic --sampler lemon --model transe \
		--epochs 50 --seeds 3 --out demo

test: setup ## run the tests that are not slow, and the doctests
	$(TESTING) $(PY) -m pytest -n $(WORKERS) -m 'not slow' --doctest-modules --pyargs tests $(ROOMS)

test-all: setup ## run every test, and the doctests
	$(TESTING) $(PY) -m pytest -n $(WORKERS) --doctest-modules --pyargs tests $(ROOMS)

test-min: $(VENV_MIN)/.stamp ## run the tests that are not slow with the oldest supported versions
	$(TESTING) $(PY_MIN) -m pytest -n $(WORKERS) -m 'not slow' tests

lint: setup ## check style and format
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# An editable install is invisible to mypy, hence a tree of links in the shape of the installed package.
types: setup ## check the types
	rm -rf $(TYPES)
	mkdir -p $(TYPES)/kgneg
	ln -s $(CURDIR)/kgneg/src/* $(TYPES)/kgneg/
	for room in samplers recsys datasets; do ln -s $(CURDIR)/$$room/src $(TYPES)/kgneg/$$room; done
	cd $(TYPES) && $(MYPY) -p kgneg

docs: $(VENV)/.stamp-docs ## build the documentation; warnings are errors
	rm -rf docs/api/_autosummary
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.stamp-run ## measure the samplers, and for about two hours the training loop
	$(PY) benchmarks/samplers.py
	$(PY) benchmarks/training.py

bench-lp: $(VENV)/.stamp-run ## tune and compare samplers by link prediction, for hours; LP passes options
	HF_HUB_OFFLINE=1 $(PY) benchmarks/link_prediction.py $(LP)

bench-noise: $(VENV)/.stamp-run ## compare the noise filter with cleanlab; NOISE passes options
	$(PY) -m pip install --quiet -c constraints.txt --group bench
	HF_HUB_OFFLINE=1 $(PY) benchmarks/noise.py $(NOISE)

bench-esco: $(VENV)/.stamp-run ## what finds skills in job ads; ESCO passes options, "--rows all" trains for hours
	HF_HUB_OFFLINE=1 $(PY) benchmarks/esco.py $(ESCO)

bench-car: $(VENV)/.stamp-run ## concept-constrained negatives beside CAR, for an hour; CAR passes options, "--parts speed"
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(PY) benchmarks/car.py --docs docs $(CAR)

bench-rec: $(VENV)/.stamp-run ## tune and compare recommenders, for many hours; REC passes options
	$(PY) -m pip install --quiet -c constraints.txt --group bench
	HF_HUB_OFFLINE=1 $(PY) benchmarks/recsys.py $(REC)

bench-selfinstruct: $(VENV)/.stamp-run ## what finds false negatives in words; SELF passes options
	HF_HUB_OFFLINE=1 $(PY) benchmarks/selfinstruct.py $(SELF)

bench-selfinstruct-scale: $(VENV)/.stamp-run ## millions of candidate negatives per second and MiB; SCALE passes options
	$(PY) benchmarks/selfinstruct_scale.py $(SCALE)

build: $(VENV)/.stamp-release ## build the source distribution and the wheel
	rm -rf dist
	$(PY) -m build

clean: ## remove what the other targets made, but for the environments
	rm -rf build dist demo docs/_build docs/api/_autosummary *.egg-info
	git clean -qfdX docs/tutorials
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find kgneg samplers recsys datasets tests tutorials docs -name __pycache__ -prune -exec rm -rf {} +
