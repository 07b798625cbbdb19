# `make` lists what can be done here. It needs Python 3.11 or newer, git and make; uv is fetched into .tools/ if missing.
.DEFAULT_GOAL := help
.PHONY: help demo check test soak format lock release clean uv
PARALLEL := --numprocesses 2 --dist loadgroup # a group of tests that share a project stays in one process
SOAK ?= soak
export PATH := $(CURDIR)/.tools/bin:$(CURDIR)/.tools/uv/bin:$(PATH)
unexport VIRTUAL_ENV PYTHONPATH PYTHONDONTWRITEBYTECODE # without bytecode every command compiles its libraries anew: 35 s

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/ready ## write the pilot demo/late-flights and run its whole loop once
	@scripts/demo

check: .venv/ready ## the quick checks: format, lint, types, and the tests that take seconds
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	cd template && PYTHONPATH=src ../.venv/bin/lint-imports --no-cache
	.venv/bin/python -m pytest -m 'not slow and not soak' $(PARALLEL)

test: check ## the quick checks, the slower tests, and a generated project really installed and run: 14 minutes on two cores
	.venv/bin/python -m pytest -m 'slow and not soak' $(PARALLEL)

soak: .venv/ready ## what takes longer: containers, clusters, every variant, a hundred kills
	.venv/bin/python -m pytest -m '$(SOAK)' $(PARALLEL)

format: .venv/ready ## lay out the code, and mend what can be mended
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

lock: uv ## choose the newest tools that requirements-dev.in and the tested set allow
	python3 scripts/lock.py

release: .venv/ready ## check, test, record and tag VERSION on this machine; it publishes nothing
	@.venv/bin/python scripts/release.py $(VERSION)

clean: ## remove what make wrote
	rm -rf .venv .tools demo

.venv/ready: requirements-dev.txt | uv
	uv venv --quiet --clear --python '>=3.11' .venv
	uv pip sync --quiet --require-hashes --python .venv requirements-dev.txt
	@touch $@

uv:
	@uv --version >/dev/null 2>&1 || scripts/get-uv
