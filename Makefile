# Two commands: `make demo` and `make test`.  Everything they install is in .venv.
PYTHON ?= python3
PORT ?= 8080
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
export PIP_REQUIRE_VIRTUALENV := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint bench promises screenshots clean

demo: $(VENV)/installed  ## run the middleware with two made-up customers
	@$(BIN)/m8crm demo --port $(PORT) $(ARGS)

test: lint  ## everything that must be green
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(VENV)/installed-test  ## print the figures
	$(BIN)/python -m benchmarks

promises: $(VENV)/installed-test  ## print what is promised, and whether it is kept
	$(BIN)/python -m tests.promises --write docs/promises-table.rst $(ARGS)

screenshots: $(VENV)/installed-test  ## take the pictures of the console anew, for docs/
	SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest -q -p no:randomly tests/console/test_browser_screenshots.py

$(VENV)/installed: setup.cfg
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV), once …" >&2
	@$(BIN)/pip install -q -e . >&2
	@touch $@

$(VENV)/installed-test: setup.cfg
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -e '.[test]'
	@touch $@ $(VENV)/installed

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
