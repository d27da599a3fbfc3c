# Two commands matter: `make run` and `make test`. Each works alone on a fresh machine
# with Python 3.11 or newer.

VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
SOURCES := gptload providers twisted migrations tests benchmarks

# google-generativeai needs another protobuf than the rest, so it has its own home.
GENERATIVEAI := .venv-generativeai

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help run install test check format bench docs clean

help: ## what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 20

run: install ## serve on http://localhost:3001 (PORT and the rest: .env.example)
	@exec $(BIN)/twistd -n --pidfile= gptload

install: $(VENV)/.install-ok ## make .venv with gptload in it

test: $(VENV)/.test-ok $(GENERATIVEAI)/.ok ## install what the tests need and run them all
	@$(BIN)/python -m pytest

check: $(VENV)/.test-ok $(VENV)/.check-ok ## format, lint, types, and who may import whom
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.check-ok ## put the code into its form
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

bench: $(VENV)/.test-ok ## measure against nginx, Caddy and others; writes benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks

docs: install ## write the generated pages anew
	@$(BIN)/python -m docs.generate

clean: ## remove what was made; data/ stays
	rm -rf $(VENV) $(GENERATIVEAI) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/.venv-ok:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "gptload needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make a virtual environment: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# The .pth line is what lets twistd find the plugin of a checkout: an editable install
# alone doesn't. Starting twistd once writes its plugin cache.
$(VENV)/.install-ok: $(VENV)/.venv-ok setup.cfg pyproject.toml
	@echo "Installing gptload into $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@$(BIN)/python -c 'import sysconfig, pathlib; pathlib.Path(sysconfig.get_path("purelib"), "gptload-checkout.pth").write_text("$(CURDIR)\n")'
	@$(BIN)/twistd --help >/dev/null
	@touch $@

$(VENV)/.test-ok: $(VENV)/.install-ok
	@echo "Installing what the tests need …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

$(VENV)/.check-ok: $(VENV)/.install-ok
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[check]'
	@touch $@

$(GENERATIVEAI)/.ok: $(VENV)/.venv-ok
	@echo "Installing google-generativeai into $(GENERATIVEAI) …"
	@$(PYTHON) -m venv $(GENERATIVEAI)
	@$(GENERATIVEAI)/bin/python -m pip install --quiet --disable-pip-version-check 'google-generativeai>=0.8'
	@touch $@
