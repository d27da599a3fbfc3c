# `make help` lists what there is. Each target works alone, and does nothing twice.

VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# google-generativeai wants grpcio and an old protobuf: it gets an environment of its own.
OLD_SDK := .venv-generativeai
# One file's tests stay together: they share what is costly to start. `make test WORKERS=`
# runs all in one process, for a debugger.
WORKERS := -n auto --maxprocesses 4 --dist loadfile

SITE   := gptload/control/site
# With Node in front: the system's if it is new enough for Vite, else one in the environment.
NPM    := web/with-node $(VENV) npm --prefix web --loglevel=error

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: web web-test web-check servers screenshots test-stock help install run test check format docs bench bench-tools sdk-generativeai clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 26
	@echo 'PYTHON=python3.13 chooses another Python for a new $(VENV); ARGS="tests/core -k pool" some tests.'

$(VENV)/.venv-ok:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo 'gptload needs Python 3.11 or newer: make PYTHON=python3.12 …'; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        echo 'Installing python3-venv'; \
	        apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	            apt-get install -y -qq --no-install-recommends python3-venv >/dev/null; \
	    else \
	        echo '$(PYTHON) cannot make environments: apt-get install python3-venv'; exit 1; \
	    fi; }
	@# Never over one that is there: made by another Python, it would end up as half of each.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo 'Making $(VENV)'; $(PYTHON) -m venv $(VENV); }
	@touch $@

# The .pth: an editable install alone hides twisted/plugins from twistd, which looks for
# folders on the path. `twistd --help` writes the plugin cache while we may.
$(VENV)/.install-ok: $(VENV)/.venv-ok setup.cfg pyproject.toml
	@echo 'Installing gptload'
	@$(PIP) --editable .
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "gptload-checkout.pth").write_text("$(CURDIR)\n")'
	@$(BIN)/twistd --help >/dev/null
	@touch $@

# Without the dashboard the API is as good as with it.
install: $(VENV)/.install-ok ## make .venv with gptload in it, editable, and the dashboard
	@$(MAKE) --no-print-directory web || echo 'The dashboard could not be built (see above; it needs npm). The API works without it; try again: make web'

web/node_modules/.package-lock.json: web/package.json web/package-lock.json web/.npmrc | $(VENV)/.venv-ok
	@echo 'Installing what the dashboard is built with'
	@$(NPM) ci
	@touch $@

$(SITE)/index.html: web/node_modules/.package-lock.json docs/openapi.json \
    $(shell find web -path web/node_modules -prune -o -type f ! -name schema.d.ts ! -name '*.test.ts' -print)
	@echo 'Building the dashboard'
	@$(NPM) run --silent build

web: $(SITE)/index.html ## build the dashboard, which the node then serves

web-test: web/node_modules/.package-lock.json
	@$(NPM) run --silent test

web-check: web/node_modules/.package-lock.json
	@$(NPM) run --silent check

run: install ## serve on http://localhost:3001 (PORT and the rest: .env.example)
	@exec $(BIN)/twistd -n --pidfile= gptload

# The official SDKs at their newest: that is what people point at us.
$(VENV)/.test-ok: $(VENV)/.install-ok
	@echo 'Installing what the tests need'
	@$(PIP) --upgrade openai anthropic google-genai --editable '.[test]'
	@touch $@

$(OLD_SDK)/.ok: $(VENV)/.venv-ok
	@echo 'Installing google-generativeai in $(OLD_SDK)'
	@$(OLD_SDK)/bin/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m venv $(OLD_SDK)
	@$(OLD_SDK)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade google-generativeai
	@touch $@

sdk-generativeai: $(OLD_SDK)/.ok ## google-generativeai in an environment of its own

# Debian keeps initdb and postgres off the path.
servers: ## PostgreSQL, MariaDB and Chromium, for the tests
	@missing=; \
	[ -n "$$(PATH="$$PATH:$$(echo /usr/lib/postgresql/*/bin | tr ' ' :)" command -v initdb)" ] \
	    || missing="$$missing postgresql"; \
	[ -n "$$(PATH="$$PATH:/usr/sbin" command -v mariadbd)" ] || missing="$$missing mariadb-server"; \
	[ -n "$${CHROMIUM:-$$(command -v chromium)}" ] \
	    || missing="$$missing chromium fonts-noto-cjk"; \
	[ -z "$$missing" ] || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	elif [ -n "$$CI" ]; then \
	    echo "The tests need: apt-get install$$missing"; exit 1; \
	else \
	    echo "Without these, tests are skipped: apt-get install$$missing"; \
	fi

test: $(VENV)/.test-ok $(OLD_SDK)/.ok servers web web-test ## install what the tests need, and run them all
	@$(BIN)/python -m pytest $(WORKERS) $(ARGS)

test-stock: $(VENV)/.test-ok $(OLD_SDK)/.ok ## the same on Twisted's own reactor and transports
	@GPTLOAD_TEST_REACTOR=epoll $(BIN)/python -m pytest $(WORKERS) tests/service tests/sdk $(ARGS)

# The link lets mypy see providers/ under the name that it is installed as.
$(VENV)/.check-ok: $(VENV)/.test-ok
	@echo 'Installing what the checks need'
	@$(PIP) --editable '.[check]'
	@mkdir -p $(VENV)/typing
	@ln -sfn ../../providers $(VENV)/typing/gptload_providers
	@touch $@

check: $(VENV)/.check-ok web-check ## form, lint, types, and who may import whom
	@$(BIN)/ruff format --check --quiet . || { echo 'To put it right: make format'; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy -p gptload -p gptload_providers
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

format: $(VENV)/.check-ok web/node_modules/.package-lock.json ## put the code into its form
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .
	@$(NPM) run --silent format

docs: $(VENV)/.install-ok ## write the pages that are made from code anew
	@$(BIN)/python docs/generate.py
	@$(BIN)/python -m tests.proxy.faultpage

screenshots: $(VENV)/.test-ok servers web ## take the pictures in docs/images anew
	@$(PIP) 'pillow>=11,<14'
	@$(BIN)/python -m benchmarks.screenshots $(ARGS)

bench-tools: ## nginx, Caddy and wrk, for the benchmarks
	@missing=; for tool in nginx caddy wrk; do \
	    PATH="$$PATH:/usr/sbin" command -v $$tool >/dev/null || missing="$$missing $$tool"; \
	done; \
	[ -z "$$missing" ] || if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    echo "Installing$$missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
	    echo "The benchmarks need: apt-get install$$missing"; exit 1; \
	fi

bench: $(VENV)/.install-ok bench-tools ## measure; writes benchmarks/RESULTS.md
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what these made; data/ stays
	rm -rf $(VENV) $(OLD_SDK) build dist *.egg-info twisted/plugins/dropin.cache
	rm -rf $(SITE) web/node_modules web/src/api/schema.d.ts
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
