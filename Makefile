# Everything runs in .venv, which any target makes by itself from nothing but python3 (3.11 or later).
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
READY := .venv/.ready
NEWEST_SDK := .newest-sdk

# Without bytecode, each process of the tests compiles all modules anew: half a minute of CPU.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(RUNTIME): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "mailsluice needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	@echo "1. making .venv"
	@$(PYTHON) -m venv .venv
	@echo "2. installing mailsluice and what it needs into it, about 120 MB"
	@$(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.[worker]'
	@touch $@

$(READY): $(RUNTIME)
	@echo "installing what tests and checks need into .venv, about 600 MB"
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

.PHONY: demo
demo: $(RUNTIME) ## Send 20,000 recipients to an emulated SES on loopback; no AWS account
	$(BIN)/mailsluice demo

.PHONY: test
test: $(READY) ## Run the tests, three to four minutes on two cores
	$(BIN)/python -m pytest -m "not proof"

.PHONY: quick
quick: $(READY) ## Run the tests that take no process of their own, a minute or so
	$(BIN)/python -m pytest --numprocesses=3 -m "not (proof or process or browser or slow)"

.PHONY: test-newest-sdk
test-newest-sdk: $(READY) ## Run the tests of the border to the SDK against the newest aiobotocore 3
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-warn-conflicts --upgrade --target $(NEWEST_SDK) 'aiobotocore==3.*'
	PYTHONPATH=$(CURDIR)/$(NEWEST_SDK) $(BIN)/python -m pytest tests/ses tests/sources/test_s3_source.py

.PHONY: prove-short
prove-short: $(READY) ## Run each proof of docs/guarantees.md in its short version
	$(BIN)/python -m pytest -m proof

.PHONY: prove
prove: $(READY) ## Run the tests with new seeds, and the proofs of docs/guarantees.md in full; two hours
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,prove]'
	HYPOTHESIS_PROFILE=prove $(BIN)/python -m pytest -m "not proof"
	$(BIN)/python -m tests.prove

.PHONY: check
check: $(READY) ## Check format, lint, types and import levels
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## Format the code, and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(READY) ## Print the CPU of everything that a user could pick, and what grows with the list; half an hour
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,bench]'
	$(BIN)/python -m benchmarks.stages
	$(BIN)/python -m benchmarks.emulator
	$(BIN)/python -m benchmarks.rendering
	$(BIN)/python -m benchmarks.check
	$(BIN)/python -m benchmarks.scale
	$(BIN)/python -m benchmarks.compare

.PHONY: bench-quick
bench-quick: $(READY) ## Print the three ratios of CPU without Django and Node, under three minutes
	$(BIN)/python -m benchmarks.compare --quick

.PHONY: bench-send
bench-send: $(READY) ## Print what single messages cost, and the lanes
	$(BIN)/python -m benchmarks.send

.PHONY: bench-feedback
bench-feedback: $(READY) ## Print what SES's events, the brake and suppressions cost, ten minutes
	$(BIN)/python -m benchmarks.feedback
	$(BIN)/python -m benchmarks.suppression
	$(BIN)/python -m benchmarks.screening

.PHONY: bench-quota
bench-quota: $(READY) ## Print how much of the quota is used, a quarter of an hour
	$(BIN)/python -m benchmarks.quota --plot docs/pacing.svg

.PHONY: clean
clean: ## Remove what the targets made
	rm -rf .venv $(NEWEST_SDK) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
