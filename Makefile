# `make demo` and `make test` work as the first command on a fresh clone: all that they need goes into .venv.
# A changed pyproject.toml installs again. pip reads its usual settings, so a machine without a GPU can fetch the small
# build of torch:  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-all mutants test-foreign test-portable lint format docs pages dist bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# ---------------------------------------------------------------------------------------------------- environment

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("skfusion needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV); }

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@echo "Installing skfusion into $(VENV) (once, some minutes)"
	@$(PIP) --editable '.[plots]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@echo "Installing skfusion and the developers' tools into $(VENV) (once, some minutes)"
	@$(PIP) --editable '.[plots,test,docs,bench]'
	@touch $@ $(VENV)/.demo

# -------------------------------------------------------------------------------------------------------- targets

# Small networks are fastest on one thread; processes use the other cores.
demo docs test test-slow mutants test-foreign lint: export OMP_NUM_THREADS = 1

# Another processor on this one: the kernels of ATen, oneDNN, MKL and OpenBLAS that it would choose. A result that only
# one of them gives is no result, and no test may ask for it.
FOREIGN := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE OPENBLAS_CORETYPE=Haswell

# The layers that compute with torch, whose tests take a few minutes.
FAST := $(addprefix tests/,align average collect connect data landscape merge objective repair reuse select _vectorized symmetry nets combine testing widths \
	$(addprefix test_,geometry.py rows.py state.py random.py tangent.py))

demo: $(VENV)/.demo  ## compare fusions where they pay and where they do not, and write reports
	$(BIN)/skfusion compare --data noisy_digits --net plain --cv 10 --n-jobs 2 --out demo/noisy_digits
	$(BIN)/skfusion compare --data digits --net plain --n-jobs 2 --out demo/digits
	@printf '\nThe reports, to be opened in a browser, are\n  %s\n  %s\n' \
		'$(CURDIR)/demo/noisy_digits/index.html' '$(CURDIR)/demo/digits/index.html'

test: $(VENV)/.dev  ## run the tests and every example in a docstring, and print what they cover
	$(BIN)/python -m pytest -n $(WORKERS) --cov

test-slow: $(VENV)/.dev  ## run the slow tests: all checks of scikit-learn of all estimators, random labels
	$(BIN)/python -m pytest -n $(WORKERS) -m slow

test-all: test test-slow  ## run both

mutants: $(VENV)/.dev  ## change formulas at random, and see whether the tests notice (about an hour)
	$(BIN)/python tests/mutants.py --jobs $(WORKERS)

test-foreign: $(VENV)/.dev  ## run the tests of the torch layers as on another processor
	$(FOREIGN) $(BIN)/python -m pytest -n $(WORKERS) $(FAST)

test-portable: $(VENV)/.dev  ## run all tests as on other processors, on two threads and in other orders
	@printf '%s\n' '' '$(FOREIGN)' 'ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2' 'SKFUSION_TEST_THREADS=2' | while read -r setting; do \
		for seed in 1 2; do \
			printf '\n%s, order %s\n' "$${setting:-as it is}" "$$seed"; \
			env OMP_NUM_THREADS=1 $$setting $(BIN)/python -m pytest -q -n $(WORKERS) --random-order-seed=$$seed || exit 1; \
		done; \
	done

lint: $(VENV)/.dev  ## style, types, layers, docstrings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/test_docstrings.py

format: $(VENV)/.dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev  ## build the documentation; a warning is an error
	$(BIN)/sphinx-build -W --keep-going -q -b html docs docs/_build/html
	@echo "The documentation is in $(CURDIR)/docs/_build/html/index.html"

pages: docs  ## look at the built documentation in a browser: searches, console, links, widths; needs Chromium
	$(BIN)/python docs/check_pages.py docs/_build/html --chromium $(or $(shell command -v chromium || command -v chromium-browser || command -v google-chrome),/usr/bin/chromium)

dist: $(VENV)/.dev  ## build the wheel and the sdist, check them, and try the wheel in an environment of its own
	@rm -rf dist
	@$(PIP) build twine
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python .ci/try_wheel.py dist/*.whl

bench: $(VENV)/.dev  ## run every benchmark
	@for script in $(sort $(wildcard benchmarks/bench_*.py)); do \
		printf '\n%s\n' "$$script"; $(BIN)/python "$$script" || exit 1; \
	done

clean:  ## remove what the other targets made, .venv too
	rm -rf $(VENV) demo docs/_build docs/_generated docs/api docs/auto_examples dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
