# Qscrow. `make` lists the targets; each does its own set-up.
PYTHON ?= python3
VENV := .venv
ANALYSIS := .venv-analysis
BIN := $(CURDIR)/$(VENV)/bin
ARGS ?=
FOUNDRY := $(CURDIR)/node_modules/@foundry-rs
# The native binaries first: the npm wrapper of forge exits 0 whatever happens. Off Linux the wrappers have to do.
export PATH := $(FOUNDRY)/anvil-linux-amd64/bin:$(FOUNDRY)/forge-linux-amd64/bin:$(CURDIR)/node_modules/.bin:$(PATH)
# Brownie's plugin loads in any Brownie project and is not wanted in tests that do not need it.
PYTEST := $(BIN)/python -m pytest -p no:pytest-brownie
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK_TITLE := \# Full lock of every dependency, with hashes, for Python 3.11 to 3.13. Made from pyproject.toml by `make lock`.
FAST_TITLE := \# The extra `fast` as the tests use it: of qsimcirq only the compiled simulator is loaded, so Cirq (180 MB) can stay away.
JS_IPFS := build/js-ipfs
JS_IPFS_PACKAGES := ipfs-unixfs-importer@17.1.1 ipfs-unixfs-exporter@16.2.2 @ipld/car@5.4.7 multiformats@14.0.5 \
    blockstore-core@7.0.1 ipfs-core@0.18.1 ipfs-http-server@0.15.1
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test unit integration chaos js-ipfs contracts foundry fuzz slither proofs mutation gas artifacts check-artifacts lint venv analysis-venv contracts-setup lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: venv ## the whole flow with real circuits, in one process (ARGS=--json for the facts as JSON)
	@$(BIN)/qscrow demo $(ARGS)

test: contracts-setup venv analysis-venv ## every suite, and a closing line with the counts
	@$(BIN)/python scripts/run_tests.py

unit: venv ## unit tests
	$(PYTEST) tests/unit $(ARGS)

integration: venv contracts-setup ## nodes, chains and processes together
	$(PYTEST) tests/integration $(ARGS)

chaos: venv contracts-setup ## break the node in every way, longer than make test does
	QSCROW_CHAOS=long $(PYTEST) -n 3 tests/chaos $(ARGS)

js-ipfs: venv $(JS_IPFS)/.stamp ## our blocks and archives against the JavaScript implementation of IPFS (not part of make test)
	$(PYTEST) tests/js_ipfs $(ARGS)

contracts: venv contracts-setup ## Brownie tests of the contracts on anvil
	$(BIN)/brownie test tests/contracts $(ARGS)

foundry: contracts-setup ## Foundry: fuzzing, invariants (ARGS to forge test)
	forge test $(ARGS)

fuzz: contracts-setup ## the same, much deeper (about half an hour)
	FOUNDRY_PROFILE=deep forge test $(ARGS)

slither: contracts-setup analysis-venv ## static analysis of the contracts, every finding explained
	$(ANALYSIS)/bin/python scripts/slither.py

proofs: contracts-setup analysis-venv ## symbolic proofs of packing and transitions
	$(ANALYSIS)/bin/python scripts/proofs.py

mutation: contracts-setup venv ## mutation testing of the contracts (half an hour; ARGS for scripts/mutate.py)
	$(BIN)/python scripts/mutate.py --sample 260 --seed 20261121 $(ARGS)

gas: venv contracts-setup ## measure the gas of every call anew and write tests/contracts/gas.json
	QSCROW_WRITE_GAS=1 $(BIN)/brownie test tests/contracts/test_gas.py -q

artifacts: venv contracts-setup ## recompile the contracts that ship in oracle/chain/abi
	$(BIN)/python scripts/artifacts.py

check-artifacts: venv contracts-setup ## compare the shipped contracts with their sources
	$(BIN)/python scripts/artifacts.py --check

lint: venv ## syntax, style and common mistakes
	$(BIN)/python -m compileall -q oracle scripts tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

venv: $(VENV)/.stamp ## the Python environment, from the lock
analysis-venv: $(ANALYSIS)/.stamp ## the analysers' own Python environment
contracts-setup: node_modules/.stamp ## the compiler and the chain tools, from npm
	@scripts/setup_solc.sh

$(VENV)/.stamp: requirements.txt requirements-fast.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	    || { echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	    || { echo "error: $(PYTHON) cannot make virtual environments; install its venv package" >&2; exit 1; }
	@echo "setting up $(VENV) (once, a minute or two)" >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@$(PIP) --require-hashes -r requirements.txt >&2
	@$(PIP) --require-hashes --no-deps -r requirements-fast.txt >&2
	@$(PIP) --no-deps --no-build-isolation -e . >&2
	@touch $@

$(ANALYSIS)/.stamp: requirements-analysis.txt
	@echo "setting up $(ANALYSIS) (once)" >&2
	@$(PYTHON) -m venv $(ANALYSIS) >&2
	@$(ANALYSIS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $< >&2
	@touch $@

# Not `npm ci`: it wants the tools' builds for every platform in the lock, and some were never published. This installs
# what the lock says, checks its hashes, and leaves the lock alone.
node_modules/.stamp: package.json package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null \
	    || { echo "error: Node 20 or newer with npm is needed for the contract tests" >&2; exit 1; }
	@node -e 'process.exit(process.versions.node.split(".")[0] < 20 ? 1 : 0)' \
	    || { echo "error: Node 20 or newer is needed for the contract tests" >&2; exit 1; }
	@echo "setting up node_modules (once)" >&2
	@npm install --no-save --silent --no-audit --no-fund >&2
	@touch $@

$(JS_IPFS)/.stamp: Makefile
	@command -v npm >/dev/null || { echo "error: Node 20 or newer with npm is needed for js-ipfs" >&2; exit 1; }
	@mkdir -p $(JS_IPFS)
	@npm install --no-save --no-package-lock --ignore-scripts --silent --no-audit --no-fund --prefix $(JS_IPFS) \
	    $(JS_IPFS_PACKAGES) >&2
	@touch $@

# Versions stay where they are unless pyproject.toml rules them out; ARGS=--upgrade takes the newest.
lock: ## resolve requirements.txt anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --prerelease=if-necessary --extra contracts --extra ibm --extra ipfs --extra dev --quiet $(ARGS) \
	    pyproject.toml -o requirements.txt
	printf 'slither-analyzer==0.11.6\nhalmos==0.3.3\n' | uv pip compile --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --quiet - -o requirements-analysis.new
	@{ head -2 requirements-analysis.txt; cat requirements-analysis.new; } >requirements-analysis.both
	@mv requirements-analysis.both requirements-analysis.txt && rm requirements-analysis.new
	@{ echo '$(LOCK_TITLE)'; cat requirements.txt; } >requirements.txt.new && mv requirements.txt.new requirements.txt
	sed -n 's/^fast = \["\(.*\)"\]/\1/p' pyproject.toml | uv pip compile --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --no-deps --quiet - -o requirements-fast.new
	@{ echo '$(FAST_TITLE)'; cat requirements-fast.new; } >requirements-fast.txt && rm requirements-fast.new

clean: ## remove everything the other targets made
	rm -rf $(VENV) $(ANALYSIS) node_modules build reports .pytest_cache .ruff_cache .hypothesis .coverage *.egg-info
	find oracle scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
