# The few commands that people type. Each does its own set-up; nothing is done again while it is up to date.
# Everything made lies in .venv, .cache, target and report.json.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CACHE := .cache
# Near the release's speed, without minutes of linking. `make bench` measures the real one.
PROFILE := quick

# Run by the newest CPython that pythons.sh likes; it needs nothing beside the standard library.
CLUSTER_PYTHON = $$(scripts/pythons.sh | head -1 | cut -d' ' -f2-)
# The target for the operator's image: no C library.
MUSL := $(shell uname -m)-unknown-linux-musl

# What the wheel is made of.
RUST := Cargo.toml Cargo.lock $(wildcard */Cargo.toml) $(shell find api core runner/src -name '*.rs')
PACKAGE := runner/pyproject.toml runner/README.md \
    $(shell find runner/python -name '*.py' -o -name '*.pyi' -o -name py.typed)
OPERATOR := Cargo.toml Cargo.lock $(wildcard */Cargo.toml) $(shell find api core operator wire -name '*.rs')
TARGET := Cargo.toml Cargo.lock examples/target/Cargo.toml $(shell find examples/target/src -name '*.rs')
SWARM := Cargo.toml Cargo.lock bench/scale/swarm/Cargo.toml $(shell find bench/scale/swarm/src core -name '*.rs')
WITNESS := Cargo.toml Cargo.lock witness/Cargo.toml $(shell find witness/src -name '*.rs')

.PHONY: help install demo cluster cluster-down images load test test-e2e test-long lint test-rust test-python bench bench-scale generate clean

help: ## What can be made.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

install: $(CACHE)/installed ## Leave a working .venv/bin/aiotest.
	@echo "Installed: .venv/bin/aiotest ($$(.venv/bin/aiotest --version))"

demo: $(CACHE)/installed $(CACHE)/bin/aiotest-example-target ## Run examples/quickstart against a small target; see it pass.
	@.venv/bin/python scripts/demo.py

cluster: ## Bring up a real Kubernetes on this machine; KUBECONFIG names another. NODES=2
	scripts/need.sh python cluster images
	@$(CLUSTER_PYTHON) -m e2e.cluster up --nodes $${NODES:-1}

cluster-down: ## Take it away without a trace.
	@$(CLUSTER_PYTHON) -m e2e.cluster down

images: $(CACHE)/static/aiotest-operator $(CACHE)/static/wheels.stamp ## Build the operator's and the runner's image, and the tests' own.
	scripts/need.sh images
	@$(CLUSTER_PYTHON) -m e2e.cluster images

load: images ## Bring the images to the running cluster.
	@$(CLUSTER_PYTHON) -m e2e.cluster load

test: lint test-rust test-python test-e2e ## Everything that must pass before a change lands.

test-long: test ## make test, then properties, fuzzing and simulations with many more cases, fifty million requests, and the long tests.
	AIOTEST_FUZZ_RUNS=1000000 PROPTEST_CASES=4096 AIOTEST_SEEDS=33 cargo test --locked --workspace --profile long
	.venv/bin/python -m pytest -q -c runner/pyproject.toml -m long runner/tests
	.venv/bin/python bench/steady.py --millions 50
	AIOTEST_E2E_MARK=long scripts/test-e2e.sh

lint: $(CACHE)/installed ## Formatters, linters and type checkers, for Rust and Python.
	scripts/need.sh lints
	cargo fmt --check
	PYO3_PYTHON=$(CURDIR)/.venv/bin/python cargo clippy --locked --workspace --all-targets -- -D warnings
	PYO3_PYTHON=$(CURDIR)/.venv/bin/python \
	    cargo clippy --locked -p aiotest-runner --features python --all-targets -- -D warnings
	scripts/lint-python.sh

test-rust: ## cargo test, without the interpreter.
	scripts/need.sh rust
	cargo test --locked --workspace

test-python: $(CACHE)/installed $(CACHE)/bin/aiotest-example-target $(CACHE)/bin/aiotest-witness ## pytest, on every CPython of this machine.
	scripts/need.sh servers
	scripts/test-python.sh

test-e2e: $(CACHE)/installed images ## Tests on a cluster; one that wasn't up is taken away afterwards. TESTS='-k quickstart'
	scripts/need.sh cluster
	scripts/test-e2e.sh $(TESTS)

bench: $(CACHE)/bin/aiotest-example-target $(CACHE)/wheel-release ## Requests per CPU-second, beside wrk, k6, Locust and Aiotest 1.2. CASES='get_json' ROUNDS=7
	scripts/need.sh rust python bench
	.venv/bin/python bench/run.py --rounds $${ROUNDS:-7} $(CASES)

bench-scale: $(CACHE)/installed $(CACHE)/bin/aiotest-swarm ## What up to a thousand runners cost their master. CASES=1000x20
	.venv/bin/python bench/scale.py $(CASES)

generate: ## Write what is generated: crds/ and the chart's copy from api/, the exporter's golden text, docs/api.md.
	scripts/need.sh rust python
	@mkdir -p $(CACHE)
	cargo run --locked --quiet -p aiotest-operator -- crd > $(CACHE)/crd.yaml
	cp $(CACHE)/crd.yaml crds/loadtests.aiotest.dev.yaml
	cp $(CACHE)/crd.yaml charts/aiotest-operator/files/loadtests.aiotest.dev.yaml
	$(CLUSTER_PYTHON) scripts/api_docs.py
	AIOTEST_WRITE_GOLDEN=1 cargo test --locked --quiet -p aiotest-runner --lib a_scrape_of_known_figures

clean: ## Remove everything made.
	rm -rf $(CACHE) .venv target report.json

# One stamp for each step; a step is done again when what it depends on is newer.

$(CACHE)/tools: scripts/requirements-tools.txt scripts/requirements-test.txt scripts/requirements-systems.txt
	scripts/need.sh rust python
	@mkdir -p $(CACHE)
	python=$$(scripts/pythons.sh | head -1 | cut -d' ' -f2-) && "$$python" -m venv --clear .venv
	.venv/bin/pip install --quiet --disable-pip-version-check $(patsubst %,-r %,$^)
	@touch $@

$(CACHE)/wheel: $(CACHE)/tools $(RUST) $(PACKAGE)
	rm -rf $(CACHE)/wheels
	.venv/bin/maturin build --locked --profile $(PROFILE) --manifest-path runner/Cargo.toml --out $(CACHE)/wheels
	@touch $@

$(CACHE)/wheel-release: $(CACHE)/tools $(RUST) $(PACKAGE)
	rm -rf $(CACHE)/wheels-release
	.venv/bin/maturin build --locked --release --manifest-path runner/Cargo.toml --out $(CACHE)/wheels-release
	@touch $@

$(CACHE)/installed: $(CACHE)/wheel
	.venv/bin/pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(CACHE)/wheels/*.whl
	.venv/bin/pip install --quiet --disable-pip-version-check $(CACHE)/wheels/*.whl
	@touch $@

$(CACHE)/bin/aiotest-example-target: $(TARGET)
	scripts/need.sh rust
	cargo build --locked --profile $(PROFILE) -p aiotest-example-target
	@mkdir -p $(@D)
	cp target/$(PROFILE)/aiotest-example-target $@

$(CACHE)/bin/aiotest-witness: $(WITNESS)
	scripts/need.sh rust
	cargo build --locked --profile $(PROFILE) -p aiotest-witness
	@mkdir -p $(@D)
	cp target/$(PROFILE)/aiotest-witness $@

$(CACHE)/bin/aiotest-swarm: $(SWARM)
	scripts/need.sh rust
	cargo build --locked --profile $(PROFILE) -p aiotest-swarm
	@mkdir -p $(@D)
	cp target/$(PROFILE)/aiotest-swarm $@

# What goes into the images, compiled outside of them.
$(CACHE)/static/aiotest-operator: $(OPERATOR)
	scripts/need.sh images
	CC_$(subst -,_,$(MUSL))=musl-gcc cargo build --locked --profile $(PROFILE) --target $(MUSL) -p aiotest-operator
	@mkdir -p $(@D)
	cp target/$(MUSL)/$(PROFILE)/aiotest-operator $@

$(CACHE)/static/wheels.stamp: $(CACHE)/wheel e2e/cluster/wheels.py
	.venv/bin/python -m e2e.cluster.wheels
	@touch $@
