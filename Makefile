# `make run` goes from images to PQ; `make help` lists all targets. Needs Python 3.11 or newer.

PYTHON ?= python3
EXTRAS ?= dev
PYTEST_WORKERS ?= 2
PREFECT_PORT ?= 4200
POOL ?= local
UV ?= uv

VENV := .venv
BIN := $(VENV)/bin
# Tools run as modules: their programs name the folder that the environment was installed in, which may have moved.
PY := $(BIN)/python
SOURCES := $(wildcard panoptic/*/_*.cpp model/ops/_*.cpp)
PIP := $(PY) -m pip install --no-input
comma := ,
# Only files of packages with the digests of the lock.
install_locked = $(PY) -m pipelines.packages.select $(1) > $(VENV)/locked.txt && \
  $(PIP) --require-hashes --no-deps --no-build-isolation $(2) -r $(VENV)/locked.txt
# Including those of earlier versions, in other folders.
COMPILED = panoptic/*.so panoptic/*/*.so model/ops/*.so
INSTALLED := $(VENV)/installed-$(EXTRAS)

# Stages run the `python` of the environment; no tool sends usage statistics.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export FIFTYONE_DO_NOT_TRACK := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help run browse test test-slow slow-tools chaos chaos-ci fuzz lint data server worker deploy install lock clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

run: install  ## run every outdated stage: train, predict, evaluate, ..., and print the scores
	@$(PY) -m pipelines.dvc_project.without_git
	$(PY) -m dvc repro
	@echo; $(PY) -m pipelines.summary

browse:  ## browse errors in the FiftyOne App on 127.0.0.1 (BROWSE="NAME=FOLDER ..." compares runs)
	@$(MAKE) --no-print-directory install EXTRAS=dev,browse
	@$(PY) -m pipelines.dvc_project.without_git
	$(PY) -m dvc repro browse
	exec $(PY) -m pipelines.browse $(BROWSE)

test: install  ## run the quick tests
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile -m 'not slow'

test-slow: install  ## run the tests that start servers or many processes: Prefect, torchrun, SLURM, the App
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n $(PYTEST_WORKERS) --dist loadfile -m slow

fuzz: install  ## fuzz the readers and the C++ cores for two minutes, under sanitizers (FUZZ="--seconds 3600")
	OMP_NUM_THREADS=1 $(PY) -m tests.fuzz $(FUZZ)

slow-tools:  ## install SLURM for test-slow (needs root on Debian; without it, its tests are skipped)
	@{ command -v slurmctld && command -v munged; } >/dev/null || { test "$$(id -u)" = 0 && apt-get -qq update && \
	  DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends slurm-wlm munge iproute2; \
	} >/dev/null 2>&1 || echo "note: slurm-wlm and munge are missing and cannot be installed here; tests of SLURM will be skipped"

chaos: install  ## disturb the pipeline at 200 moments, and compare its files with those of an undisturbed run
	$(PY) -m benchmarks.chaos

chaos-ci: install  ## the same at 20 moments; the page goes to runs/chaos
	$(PY) -m benchmarks.chaos --moments 20 --out runs/chaos

lint: install  ## check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

data: install  ## regenerate the embedded dataset and compare it byte for byte with data.dvc
	rm -rf runs/mini-again
	$(PY) -m panoptic.tools.mini --out runs/mini-again
	diff -r data/mini runs/mini-again
	@echo "data/mini is byte-identical to the output of the generator"

server worker deploy: export PREFECT_API_URL := http://127.0.0.1:$(PREFECT_PORT)/api

server: install  ## start a local Prefect server, with its UI on http://127.0.0.1:4200 (PREFECT_PORT=...)
	$(PY) -m pipelines.process.prefect_home
	umask 077; exec $(PY) -m prefect server start --host 127.0.0.1 --port $(PREFECT_PORT)

worker: install  ## run scheduled flows in this checkout (POOL=cluster on a machine with sbatch)
	$(PY) -m prefect work-pool inspect $(POOL) >/dev/null 2>&1 || $(PY) -m prefect work-pool create --type process $(POOL)
	$(PY) -m prefect worker start --type process --pool $(POOL)

deploy: install  ## register the deployments of prefect.yaml with the server
	for pool in local cluster; do \
	  $(PY) -m prefect work-pool inspect $$pool >/dev/null 2>&1 || $(PY) -m prefect work-pool create --type process $$pool; \
	done
	$(PY) -m prefect --no-prompt deploy --all

install: $(INSTALLED)  ## create the environment in .venv as pinned in requirements.lock, and fetch the embedded dataset
	@$(PY) -m pipelines.checkout

$(INSTALLED): pyproject.toml requirements.lock setup.py $(SOURCES)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "error: Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing)."; \
	  echo "Give its path: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "Installing the packages of requirements.lock into $(VENV), which takes some minutes the first time ..."
	@rm -f $(COMPILED)
	@# Build tools first, since nothing is fetched for a build alone; then PyTorch, whose files differ between indexes.
	@$(call install_locked,--only pip pybind11 setuptools)
	@$(PIP) --no-deps "$$($(PY) -m pipelines.packages.select --torch)"
	@$(call install_locked,build $(subst $(comma), ,$(EXTRAS)))
	@$(PIP) --no-deps --no-build-isolation -e .
	@for source in $(SOURCES); do ls "$${source%.cpp}".*.so >/dev/null 2>&1 || \
	  echo "note: $$source was not compiled (see c++ -v); evaluation, or training on a CPU, will be slower"; done
	@# imagecorruptions-imaug installs opencv-python, which overwrites the headless build and needs libGL.
	@$(PY) -c 'import cv2' 2>/dev/null || { $(call install_locked,--only opencv-python-headless,--force-reinstall); }
	@touch $@

lock:  ## write requirements.lock for pyproject.toml (needs uv; UPDATE="--upgrade-package NAME" or --upgrade)
	$(UV) pip compile pyproject.toml --all-extras --universal --python-version 3.11.5 --generate-hashes --quiet \
	  --custom-compile-command 'make lock' $(UPDATE) --output-file requirements.lock

clean:  ## remove the environment and caches; data/ and runs/ stay
	rm -rf $(VENV) build $(COMPILED) *.egg-info .mypy_cache .pytest_cache .ruff_cache
