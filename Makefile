# Two commands: `make run` and `make test`. Both are safe to repeat; `make help` lists the rest.
PYTHON ?= python3
CONFIG ?=
ARGS ?=
A ?=
B ?=
BIN := .venv/bin
TWO := -n 2 --dist loadfile --no-loadscope-reorder
LOCK := .venv-lock/bin/python -m pip --disable-pip-version-check

# A person's own Python paths must not leak into the workflow's environment.
export PYTHONNOUSERSITE := 1
unexport PYTHONPATH
# Without a cache of bytecode, each job would compile the workflow anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help run touch smoke test test-all test-slurm torture mutants audit lint format docs partial diff bench \
	throughput scaling plans levels screenshots lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/run.stamp ## run the comparison of CONFIG (config/config.yaml); ARGS go to snakemake
	@$(BIN)/python -m rules.config $(CONFIG) # before Snakemake reads it, with tracebacks
	@echo "Comparing as $(or $(CONFIG),config/config.yaml) says, into results/comparison.md"
	@$(BIN)/snakemake $(if $(CONFIG),--configfile $(CONFIG)) $(ARGS)

touch: .venv/run.stamp ## take the results of an older release for current: its code reruns nothing
	@for each in results/*/data results/*/*/tokens; do \
		test ! -e $$each/digests.json -o -e $$each.sha256 || PYTHONPATH=scripts $(BIN)/python -c \
		'import pathlib, sys; from common import checksums; checksums.write_digest(pathlib.Path(sys.argv[1]))' $$each; \
	done
	@$(BIN)/snakemake --touch --cores 1 $(if $(CONFIG),--configfile $(CONFIG)) $(ARGS)

smoke: ## run the same stages on little data, in about a minute
	@$(MAKE) --no-print-directory run CONFIG=config/smoke.yaml

test: .venv/dev.stamp ## run the tests, in minutes; ARGS go to pytest (-n 0: one file at a time)
	@$(BIN)/python -m pytest $(TWO) $(ARGS)

test-all: .venv/dev.stamp ## run all tests: every pair of method and model, benchmarks, Slurm
	@$(BIN)/python -m pytest $(TWO) --full $(ARGS)
	@$(MAKE) --no-print-directory test-slurm ARGS="-k 'not share'"

test-slurm: .venv/dev.stamp ## run the smoke config on a Slurm of this machine; needs root, slurm-wlm, munge
	@$(BIN)/python -m pytest tests/slurm -rs $(ARGS)

torture: .venv/dev.stamp ## kill a run a hundred times and continue it; takes half an hour
	$(BIN)/python tests/torture/torture.py $(ARGS)

mutants: .venv/dev.stamp ## count wrong programs that no test notices; ARGS: --module FILE --sample N
	nice $(BIN)/python tests/mutation.py $(ARGS)

audit: .venv/run.stamp ## look the locked packages up in the database of known vulnerabilities
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	@$(BIN)/python envs/audit.py --tool .venv-audit/bin/pip-audit

lint: .venv/dev.stamp ## check style, types and the workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

format: .venv/dev.stamp ## bring Python and rules into the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

docs: .venv/dev.stamp ## write the parts of the documentation that are made from code
	$(BIN)/python docs/generate.py

partial: .venv/run.stamp ## report what there is of a run that failed or is going on; runs nothing
	@words=$$($(BIN)/python -m rules.arguments results/config.yaml) && \
		$(BIN)/python scripts/partial.py $$words $(ARGS)

diff: .venv/run.stamp ## tell what changed from results A to B (results): make diff A=v1.0 [B=DIRECTORY]
	@$(if $(A),,$(error name the results before, a directory or a git revision: make diff A=v1.0))
	@$(BIN)/python scripts/diff.py --a '$(A)' --b '$(or $(B),results)' $(ARGS) || test $$? -eq 1

BENCH_INPUTS := resources/models/minilm resources/datasets/sms-spam resources/datasets/rotten-tomatoes

bench: .venv/dev.stamp ## measure speed beside the Trainer of a notebook; takes about an hour
	@for each in $(BENCH_INPUTS); do \
		test -d $$each || $(BIN)/snakemake --quiet all -- $$each || exit; done
	$(BIN)/python benchmarks/speed.py --minilm resources/models/minilm \
		--datasets resources/datasets --output docs/performance.json $(ARGS)
	$(BIN)/python docs/generate.py

throughput: .venv/dev.stamp ## measure whole comparisons, in cells per minute; takes about half an hour
	@for each in $(BENCH_INPUTS); do \
		test -d $$each || $(BIN)/snakemake --quiet all -- $$each || exit; done
	$(BIN)/python benchmarks/throughput.py --minilm resources/models/minilm \
		--datasets resources/datasets --output docs/throughput.json $(ARGS)
	$(BIN)/python docs/generate.py

scaling: .venv/dev.stamp ## measure how preparation grows with the rows, up to a million; takes minutes
	@test -d resources/models/minilm || $(BIN)/snakemake --quiet all -- resources/models/minilm
	$(BIN)/python benchmarks/scaling.py --model resources/models/minilm \
		--output docs/scaling.csv --figure docs/scaling.svg $(ARGS)

plans: .venv/dev.stamp ## measure how long plans of many cells take; takes minutes
	$(BIN)/python benchmarks/plans.py --output docs/plans.csv $(ARGS)

levels: .venv/dev.stamp ## count how often equal variants are told apart; takes minutes
	$(BIN)/python benchmarks/levels.py --output docs/levels.csv $(ARGS)

screenshots: .venv/dev.stamp ## take the pictures of results/report.html for docs/; needs Chromium
	$(BIN)/python docs/screenshots.py --page results/report.html --output docs

lock: ## resolve the bounds in envs/ into the exact versions of envs/requirements*.txt
	$(PYTHON) -m venv --clear .venv-lock
	sed -n 's/^      - //p' envs/workflow.yaml | $(LOCK) install --quiet \
		--requirement envs/requirements.in --requirement /dev/stdin
	( sed -n '/^#/p' envs/requirements.txt; $(LOCK) freeze | sed 's/+cpu$$//' ) > envs/new
	mv envs/new envs/requirements.txt
	$(LOCK) install --quiet --requirement envs/requirements-dev.in
	( sed -n '/^#/p' envs/requirements-dev.txt; $(LOCK) freeze | sed 's/+cpu$$//' \
		| grep -vxFf envs/requirements.txt ) > envs/new
	mv envs/new envs/requirements-dev.txt
	rm -r .venv-lock

clean: ## remove the environment; results/ and resources/ stay
	rm -rf .venv .venv-lock .venv-audit .pytest_cache .mypy_cache .ruff_cache

.venv/run.stamp: envs/requirements.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: Python 3.11 or \
	newer is needed, this is " + sys.version.split()[0] + ": name one, as in make PYTHON=python3.12")'
	@echo "Creating the environment .venv; pip downloads about 300 MB once (more with CUDA)."
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

.venv/dev.stamp: envs/requirements-dev.txt .venv/run.stamp
	@echo "Adding what the tests need to .venv."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@
