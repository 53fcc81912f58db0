# careplane: `make demo` shows it, `make test` proves it, `make help` lists the rest.

SHELL := /bin/sh
FILTERS := tracing-tags sampling tenant-routing audit
WASM := wasm32-wasip1
ENVOY_NEWEST := 1.40.0
ENVOY_OLDEST := 1.36.2

.DEFAULT_GOAL := help
.PHONY: help build toolchain envoy demo up compose-files test format lint unit unit-wasm integration schema bench clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

toolchain:
	@integration/prerequisites.sh

build: toolchain ## The modules: dist/careplane.wasm (all filters) and dist/careplane-<filter>.wasm (one each)
	@mkdir -p dist
	@cargo build --quiet --locked -p careplane-prune
	@$(call module,careplane,)
	@$(foreach filter,$(FILTERS),$(call module,careplane-$(filter),--no-default-features --features $(filter)) &&) true

# $(1): name of the module; $(2): features
define module
echo "building dist/$(1).wasm" && \
cargo build --quiet --locked --release --target $(WASM) -p careplane-plugin $(2) && \
target/debug/careplane-prune target/$(WASM)/release/careplane.wasm dist/$(1).wasm
endef

envoy: ## Envoy itself, newest and oldest version that is tested, into .tools
	@integration/install-envoy.sh $(ENVOY_NEWEST) >/dev/null
	@integration/install-envoy.sh $(ENVOY_OLDEST) >/dev/null

schema: ## The JSON Schema of the policy document, from its types
	@cargo run --quiet --locked -p careplane-cli -- schema > filters/policy/policy.schema.json.new
	@mv filters/policy/policy.schema.json.new filters/policy/policy.schema.json
