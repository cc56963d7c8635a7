# The two commands: `make book` and `make test`. Both do their own set-up.

PROFILE ?= quick
CORES ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu)
# TensorFlow has no wheels for newer versions of Python. A version manager may put a name
# on the path that doesn't run, so each is tried.
PYTHON ?= $(shell for v in 3.13 3.12 3.11; do \
	python$$v -c 'import venv' 2>/dev/null && command -v python$$v && break; done)

BIN := .venv/bin
MAKE_BOOK := $(BIN)/python book/make_book.py --profile "$(PROFILE)" --cores "$(CORES)" \
	$(if $(V),--verbose)
# $(call needs,MODULE) stops with advice where the environment lacks a module.
needs = $(BIN)/python -c "import $(1)" 2>/dev/null || { echo "The environment .venv is damaged:" \
	"it can't import $(1). Delete the folder .venv and call make again." >&2; exit 1; }
# Twice quiet, pip reports errors and no warnings.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list what there is
	@echo "Usage: make TARGET [PROFILE=$(PROFILE)] [CORES=$(CORES)] [V=1 for all of Snakemake's lines]"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20
	@echo "Profiles: $(notdir $(basename $(wildcard book/profiles/*.yaml)))"

.PHONY: book
book: .venv/book  ## execute the chapters, train what they need, render the book
	@$(call needs,snakemake)
	@$(MAKE_BOOK)

.PHONY: study
study: .venv/book  ## train the runs of one study, STUDY=plateau for example
	@$(call needs,snakemake)
	@$(MAKE_BOOK) --study "$(STUDY)"

.PHONY: publish-check
publish-check: book  ## make the book; fail if it shows what must not be published
	@$(BIN)/python -m gravity publishable _build/$(PROFILE)/html

.PHONY: pdf
pdf: .venv/test book  ## the book as one printable PDF, made with Chromium
	$(BIN)/python book/make_pdf.py _build/$(PROFILE)/html _build/$(PROFILE)/gravity-book.pdf

.PHONY: test
test: .venv/test  ## style, types, tests; builds a small book on the way
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -n $(CORES) --dist loadgroup --no-loadscope-reorder -m "not slow"
	KERAS_BACKEND=jax $(BIN)/pytest tests/optimizer/test_optimizer.py tests/experiments/test_variants.py
	KERAS_BACKEND=torch $(BIN)/pytest tests/optimizer/test_optimizer.py tests/experiments/test_variants.py

.PHONY: test-all
test-all: test  ## the above and the tests that take long
	$(BIN)/pytest -m slow
	KERAS_BACKEND=jax $(BIN)/pytest tests/experiments/test_programs.py

.PHONY: bench
bench: .venv/test  ## measure time and memory, a quarter of an hour; leave the machine alone
	$(BIN)/python benchmarks/costs.py gravity/book/costs.json
	@echo "make book shows it in the chapter What it costs."

.PHONY: mutation
mutation: .venv/test  ## break each formula of kinematics.py; its tests must notice
	$(BIN)/pytest -m slow -s tests/optimizer/test_mutation.py

.PHONY: chapters
chapters: .venv/book  ## make the pair chapters anew from their template
	$(BIN)/python book/make_chapters.py

# What they show of training is stored in book/results.
LIGHT := $(wildcard notebooks/derivation/*.ipynb)

.PHONY: light
light: .venv/bin/python  ## execute the chapters that need no training, in the environment as it is
	@for chapter in $(LIGHT); do \
		$(BIN)/python -m gravity execute $$chapter -o _build/light/$$(basename $$chapter) || exit 1; \
	done

.PHONY: newest
newest: .venv/bin/python  ## install the newest Keras, TensorFlow and JAX in place of the pinned ones
	$(PIP) --upgrade --upgrade-strategy eager --editable ".[book,jax]" pytest hypothesis
	$(BIN)/python -m pip list | grep -iE "^(keras|tensorflow|jax|numpy) "

.PHONY: package
package: .venv/bin/python  ## build what a release uploads to PyPI, and check it
	$(PIP) build twine
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

.PHONY: format
format: .venv/test  ## bring the code into the project's style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Run it with uv on the path; UV_FIND_LINKS may name a folder with a CPU build of torch.
.PHONY: lock
lock:  ## compile requirements*.txt from pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --no-annotate --no-header \
		--extra book pyproject.toml -o requirements.txt
	uv pip compile -q --universal --python-version 3.11 --no-annotate --no-header \
		--extra book --extra test -c requirements.txt pyproject.toml \
		-o requirements-test.txt
# torch names the CUDA packages it needs where it needs them; a CPU build needs none.
	sed -i -E '/^(nvidia|cuda|triton)/d' requirements-test.txt

.PHONY: clean
clean:  ## delete everything that was built, but for stored runs
	find _build -mindepth 1 -maxdepth 1 ! -name runs -exec rm -rf {} +

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; found none. Set PYTHON=path." >&2; exit 1; }
# Whatever is there has lost its Python. And half an environment would be taken for a
# whole one the next time.
	@$(PYTHON) -m venv --clear .venv || { rm -rf .venv; exit 1; }

.venv/book: requirements.txt pyproject.toml | .venv/bin/python
	@$(call needs,pip)
	@echo "Installing what the book needs into .venv, 3 GB. This takes some minutes."
	@$(PIP) -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

.venv/test: requirements-test.txt .venv/book
	@$(call needs,pip)
	@echo "Installing what the tests need into .venv, 2 GB more."
	@$(PIP) -r requirements-test.txt
	@touch $@
