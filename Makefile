# careplane: `make demo` shows it, `make test` proves it, `make help` lists the rest.

SHELL := /bin/sh
FILTERS := tracing-tags tenant-routing sampling audit
WASM := wasm32-wasip1
BROWSER := wasm32-unknown-unknown
ENVOY_NEWEST := 1.40.0
ENVOY_OLDEST := 1.36.2
# One of each minor release: `make test 'ENVOYS=$(ENVOY_ALL)'`, as continuous integration does.
ENVOY_ALL := $(ENVOY_NEWEST) 1.39.3 1.38.2 1.37.0 $(ENVOY_OLDEST)
ENVOYS := $(ENVOY_NEWEST) $(ENVOY_OLDEST)
# Bytes of one module: what a proxy of 256 MiB can compile beside its work.
SIZE_LIMIT := 420000
# The crates that are plain Rust: what a filter decides, without a proxy; and what tells it in a page.
PURE := sha256 policy attributes exchange export directory $(FILTERS) playground
# The runner has to be of the version of the library.
WASM_BINDGEN = $(shell sed -n '/^name = "wasm-bindgen"$$/{n;s/version = "\(.*\)"/\1/p;}' Cargo.lock)
# Without $(CURDIR), here and below: its name may have spaces in it.
BINDGEN = .tools/wasm-bindgen-$(WASM_BINDGEN)/bin
RUNNER = $(BINDGEN)/wasm-bindgen-test-runner
LAB = cargo run --quiet --locked -p careplane-integration --bin careplane-lab --

# One selection for all that is tested natively: cargo decides on features by the packages that are selected, and with
# others it would compile tokio, wasmtime and the like once for each. Which tests run is said by their names. Where a
# program alone is built, a test is named beside it: without one, cargo leaves out what only tests ask of a dependency.
NATIVE = --quiet --locked --workspace --exclude careplane-plugin --all-features
# $(1): a package's folder
tests = $(patsubst %,--test %,$(notdir $(patsubst %/main.rs,%,$(wildcard $(1)/tests/*/main.rs)) $(basename $(wildcard $(1)/tests/*.rs))))

# A test is selected by its name alone: one that two packages share would run in the stages of both.
NAMES := $(notdir $(patsubst %/main.rs,%,$(wildcard */tests/*/main.rs */*/tests/*/main.rs)) $(basename $(wildcard */tests/*.rs */*/tests/*.rs)))
ifneq ($(words $(NAMES)),$(words $(sort $(NAMES))))
$(error careplane: two packages have a test of one name: rename one of $(strip $(foreach name,$(sort $(NAMES)),$(if $(filter-out 1,$(words $(filter $(name),$(NAMES)))),$(name)))))
endif

.DEFAULT_GOAL := help
.PHONY: help toolchain mesh-programs telemetry-programs build image playground envoy-newest demo up mesh compose-files compose compose-down test-compose pictures test test-mesh format lint supply-chain reproduce fresh tools unit unit-wasm hostile test-sdk fuzz fire soak cost accept-cost profile integration schema notices bench bench-load bench-breakdown bench-scale bench-capacity bench-micro bench-results clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: build envoy-newest ## A day of a care home, through a real Envoy with the four filters
	@echo "building the lab"
	@$(LAB) demo

up: build envoy-newest ## The same Envoy, left running, with curl lines to try
	@echo "building the lab"
	@$(LAB) up

mesh: build mesh-programs ## The whole mesh, left running, with a shell in it (Linux, Go)
	@cargo build --quiet --locked -p careplane-cli
	@cargo run --quiet --locked -p careplane-mesh --bin careplane-mesh

# Static, for the containers of a Docker on this machine; Rust brings all that linking it takes.
APPLICATION = $(subst arm64,aarch64,$(shell uname -m))-unknown-linux-musl
MOUNTED = .run/compose
COMPOSE = CAREPLANE_MOUNTED="$(CURDIR)/$(MOUNTED)" CAREPLANE_USER="$$(id -u):$$(id -g)" docker compose --file integration/docker-compose.yaml

compose-files: build ## What integration/docker-compose.yaml mounts, into .run/compose
	@echo "building the lab and the application"
	@rustup target list --installed | grep -qx $(APPLICATION) || rustup target add $(APPLICATION)
	@cargo build --quiet --locked --release --target $(APPLICATION) --config 'target.$(APPLICATION).linker = "rust-lld"' -p careplane-application
	@$(LAB) compose-files --to $(MOUNTED)
	@mkdir -p $(MOUNTED)/wasm $(MOUNTED)/application
	@chmod 0755 $(MOUNTED)/wasm $(MOUNTED)/application
	@install -m 0644 dist/careplane.wasm $(MOUNTED)/wasm/
	@install -m 0755 target/$(APPLICATION)/release/careplane-application $(MOUNTED)/application/

# Keys are new each time, and Envoy reads them when it starts.
SERVICES =
compose: compose-files ## Envoy, an application with a page, and telemetry, in Docker
	@docker compose version >/dev/null || { echo "careplane: this needs Docker with Compose v2" >&2; exit 1; }
	@$(COMPOSE) up --detach --wait --force-recreate --remove-orphans $(SERVICES)
	@sed -n '/^# http/,/^# Everything/{/^# Everything/!s/^# \{0,1\}//p;}' integration/docker-compose.yaml | sed 's#[.]run/compose#$(MOUNTED)#g'

compose-down: ## Stops that; the records stay in .run/compose/log
	@$(COMPOSE) down --volumes --remove-orphans

# The pictures of README and docs, but for the report's.
pictures: COMPOSE_CHECK = integration/compose/check.py docs/images
pictures: test-compose ## Draws docs/images anew: the page, the dashboards and a trace of that composition

COMPOSE_CHECK =
test-compose: build envoy-newest ## That, looked at in a Docker engine of its own (root, docker.io, Go)
	@echo "== compose"
	@if command -v go >/dev/null || [ "$$CI" = true ]; then integration/mesh/build.sh collector jaeger compose; fi
	@evidence/test-tools.sh
	@cargo build $(NATIVE) --bin careplane --bin careplane-lab --test compose
	@integration/compose/test.sh $(COMPOSE_CHECK) || { [ $$? = 3 ] && [ "$$CI" != true ]; }

test: format lint supply-chain unit unit-wasm cost hostile integration ## Everything that has to hold

toolchain:
	@integration/prerequisites.sh

# No module contains the paths of the machine that built it: the same sources give the same bytes everywhere.
# As a list, not as RUSTFLAGS, which end at each space. $(1): target; $(2): further flags
rust_flags = --config "target.$(1).rustflags = ['--remap-path-prefix=$(CURDIR)=careplane', '--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=cargo'$(2)]"
wasm_flags = $(call rust_flags,$(WASM),$(1))

# V8 has SIMD, and SHA-256 is a fifth faster with it. With fewer functions inlined than by default, a module is a tenth smaller and a
# request takes a twentieth more instructions: memory is what many proxies have least of.
MODULE_FLAGS = , '-C', 'target-feature=+simd128', '-C', 'llvm-args=-inline-threshold=20'

# $(1): the module, without .wasm; $(2): features
define module
echo "building $(1).wasm" && \
cargo build --quiet --locked --release --target $(WASM) $(call wasm_flags,$(MODULE_FLAGS)) -p careplane-plugin $(2) && \
cp target/$(WASM)/release/careplane.wasm $(1).wasm
endef

build: toolchain ## The modules: dist/careplane.wasm (all filters) and dist/careplane-<filter>.wasm (one each)
	@mkdir -p dist
	@$(call module,dist/careplane,)
	@$(foreach filter,$(FILTERS),$(call module,dist/careplane-$(filter),--no-default-features --features $(filter)) &&) true
	@for module in dist/*.wasm; do \
		size=$$(wc -c < $$module); \
		[ $$size -lt $(SIZE_LIMIT) ] || { echo "$$module has $$size bytes: the limit is $(SIZE_LIMIT)" >&2; exit 1; }; \
	done

# $(1): name of the module; $(2): features
define image
supply-chain/sbom.py dist/$(1).wasm $(2) > dist/$(1).cdx.json && \
target/debug/careplane image build --module dist/$(1).wasm --output dist/image/$(1) --sbom dist/$(1).cdx.json $(SOURCE)
endef

# Outside of git the origin of the sources is unknown.
SOURCE = $(if $(wildcard .git),--source .)

image: build ## OCI images of the modules: dist/image/<module>, with what is in them and where they come from
	@cargo build --quiet --locked -p careplane-cli
	@$(call image,careplane,)
	@$(foreach filter,$(FILTERS),$(call image,careplane-$(filter),$(filter)) &&) true

# Without Node.js there is no page, and `careplane playground` says so. wasm-bindgen reads what `strip` would take away.
playground: toolchain ## The playground: a page that has `careplane check` and `explain` inside, into playground/page
	@if node=$$(integration/install-node.sh); then \
		$(MAKE) --no-print-directory $(RUNNER) && \
		echo "building playground/page/playground.html" && \
		CARGO_PROFILE_RELEASE_STRIP=debuginfo cargo build --quiet --locked --release --target $(BROWSER) $(call rust_flags,$(BROWSER)) -p careplane-playground && \
		PATH="$$node:$$PATH" playground/build.sh target/$(BROWSER)/release/careplane_playground.wasm $(BINDGEN); \
	elif [ "$$CI" = true ]; then \
		echo "careplane: the playground needs Node.js" >&2; exit 1; \
	else \
		echo "SKIPPED: the playground, because there is no Node.js to build it"; \
	fi

envoy-newest:
	@integration/install-envoy.sh $(ENVOY_NEWEST) >/dev/null

# rustfmt leaves comments and long literals as they are. Characters are counted, not bytes.
format: toolchain ## Is the code formatted, in at most 120 columns?
	@echo "== format"
	@cargo fmt --all --check
	@! LC_ALL=C.UTF-8 git grep --line-number --extended-regexp '^.{121,}' -- '*.rs' || { \
		echo "careplane: these lines are longer than 120 columns" >&2; exit 1; \
	}

lint: toolchain ## Clippy, natively and for what the proxy and the playground load
	@echo "== lint"
	@cargo clippy $(NATIVE) --all-targets -- -D warnings
	@cargo clippy --quiet --locked --target $(WASM) $(call wasm_flags,$(MODULE_FLAGS)) -p careplane-plugin -- -D warnings
	@cargo clippy --quiet --locked --target $(WASM) $(call wasm_flags,$(MODULE_FLAGS)) -p careplane-plugin --features sdk -- -D warnings
	@cargo clippy --quiet --locked --target $(BROWSER) -p careplane-playground -- -D warnings
	@for filter in $(FILTERS); do \
		cargo clippy --quiet --locked --target $(WASM) $(call wasm_flags,$(MODULE_FLAGS)) -p careplane-plugin --no-default-features --features $$filter -- -D warnings || exit 1; \
	done
	@python3 filters/plugin/notices.py --check

unit: toolchain envoy-newest playground ## Unit tests, natively, and a route as a real Envoy decides it
	@echo "== unit tests"
	@evidence/test-tools.sh
	@evidence/chdb.sh
	@evidence/fhir-validator.sh
	@cargo test $(NATIVE) --lib --bins $(call tests,filters/policy) $(call tests,cli) $(call tests,evidence) $(call tests,playground)
	@cargo test $(NATIVE) --doc

# The tests' OTLP decoder brings a random number generator that it never calls: here it has no source, and must say so
# to compile.
unit-wasm: toolchain ## The unit tests of the pure crates and of the playground as WebAssembly, in Node
	@echo "== unit tests in WebAssembly"
	@if node=$$(integration/install-node.sh); then \
		$(MAKE) --no-print-directory $(RUNNER) && \
		PATH="$$node:$$PATH" \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=$(RUNNER) \
		CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS='--cfg getrandom_backend="unsupported" -C target-feature=+simd128' \
			cargo test --locked --lib --target $(BROWSER) $(PURE:%=-p careplane-%) && \
		PATH="$$node:$$PATH" node --test playground/web/*.test.js; \
	elif [ "$$CI" = true ]; then \
		echo "careplane: the unit tests in WebAssembly need Node.js" >&2; exit 1; \
	else \
		echo "SKIPPED: unit tests in WebAssembly, because there is no Node.js"; \
	fi

$(RUNNER):
	@echo "building wasm-bindgen-test-runner $(WASM_BINDGEN) (once, some minutes)"
	@CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug wasm-bindgen-cli --version $(WASM_BINDGEN) --root .tools/wasm-bindgen-$(WASM_BINDGEN) --target-dir target/tools
	@rm -rf target/tools

cost: build envoy-newest ## Instructions and host calls of a request, against the committed table; what the load benchmark compares
	@echo "== cost of a request"
	@cargo build $(NATIVE) --bin careplane-ext-proc --test contenders
	@cargo test $(NATIVE) $(call tests,benches/cost) $(call tests,benches/load)

accept-cost: build ## Writes that table: benches/cost/{table,taking}.json and benches/cost.md
	@cargo run --quiet --locked -p careplane-cost -- accept

# The same code as dist/careplane.wasm, linked with the names of its functions.
profile: toolchain ## Where the instructions go: make profile SCENARIO=read
	@CARGO_PROFILE_RELEASE_STRIP=debuginfo \
		cargo build --quiet --locked --release --target $(WASM) $(call wasm_flags,$(MODULE_FLAGS)) --target-dir target/named -p careplane-plugin
	@cargo run --quiet --locked -p careplane-cost -- --module target/named/$(WASM)/release/careplane.wasm profile $(or $(SCENARIO),read)

hostile: build ## The module in a faulty proxy, the filters on a faulty host, and the inputs that broke something once
	@echo "== hostile"
	@cargo test $(NATIVE) $(call tests,fuzz)

TARGET =
SECONDS = 60
fuzz: ## Looks for inputs that break something: TARGET=path SECONDS=60 (targets: fuzz/src/lib.rs)
	@fuzz/run.sh $(TARGET) $(SECONDS)

fire: build envoy-newest ## A policy every second for two minutes, under full load and ten thousand open streams
	@CAREPLANE_FIRE_SECONDS=120 cargo test $(NATIVE) --test fire

MINUTES = 20
soak: build envoy-newest ## Mixed traffic for long: is memory flat, is anything lost? MINUTES=20, into .run/soak
	@echo "building the lab"
	@$(LAB) soak --minutes $(MINUTES)

supply-chain: toolchain ## Licences, sources and known vulnerabilities of what is linked
	@echo "== supply chain"
	@supply-chain/deny.sh

reproduce: toolchain ## Builds the module twice from nothing: the same bytes?
	@echo "== reproduce"
	@supply-chain/reproduce.sh

fresh: toolchain ## `make demo`, and all that `make test` installs, in a minimal Debian that has only what README names (root)
	@echo "== fresh"
	@integration/fresh.sh || { [ $$? = 3 ] && [ "$$CI" != true ]; }

# The smallest test of each: a browser that is there and does not start is none. Not FHIR's validator: it needs a JDK,
# which is not among README's packages.
tools: toolchain ## Installs all that `make test` needs, and uses each of it once
	@for version in $(ENVOYS); do "$$(integration/install-envoy.sh $$version)" --version || exit 1; done
	@evidence/test-tools.sh
	@evidence/chdb.sh
	@cargo test --quiet --locked -p careplane-evidence --test page --test fhir --test clickhouse
	@$(MAKE) --no-print-directory supply-chain
	@$(MAKE) --no-print-directory unit-wasm PURE=policy
	@$(MAKE) --no-print-directory playground

# Most tests run in each Envoy; these two take the first that they are given.
integration: build envoy-newest telemetry-programs ## The filters in real Envoys: the newest and the oldest, or ENVOYS='1.38.2 1.37.0'
	@echo "== integration: Envoy $(ENVOYS)"
	@for version in $(ENVOYS); do integration/install-envoy.sh $$version >/dev/null || exit 1; done
	@cargo build $(NATIVE) --bin careplane --test manifests
	@CAREPLANE_ENVOYS="$(ENVOYS)" cargo test $(NATIVE) $(call tests,integration)
	@for version in $(wordlist 2,$(words $(ENVOYS)),$(ENVOYS)); do \
		echo "== integration: delivery, and under fire: Envoy $$version"; \
		CAREPLANE_ENVOYS=$$version cargo test $(NATIVE) --test delivery --test fire || exit 1; \
	done

# Not what is shipped; ARCHITECTURE.md says why. Each arrangement, delivery and write-ahead, in one Envoy.
test-sdk: toolchain envoy-newest telemetry-programs ## The filters behind the dispatcher of the proxy-wasm SDK, in a real Envoy
	@echo "== sdk"
	@mkdir -p target/sdk
	@$(call module,target/sdk/careplane,--features sdk)
	@$(foreach filter,$(FILTERS),$(call module,target/sdk/careplane-$(filter),--no-default-features --features "$(filter) sdk") &&) true
	@CAREPLANE_MODULES=target/sdk CAREPLANE_ENVOYS=$(ENVOY_NEWEST) cargo test $(NATIVE) --test arrangements --test delivery

# An OpenTelemetry Collector and Jaeger, for the tests of what leaves the proxy: built from their Go modules, minutes the first time.
telemetry-programs: toolchain
	@if command -v go >/dev/null || [ "$$CI" = true ]; then \
		integration/mesh/build.sh collector jaeger; \
	else \
		echo "SKIPPED: tests with an OpenTelemetry Collector and with Jaeger, because there is no Go to build them"; \
	fi

# Kubernetes, Istio, Jaeger and the rest, built from their Go modules: minutes the first time. Exit code 3 is: no Go.
mesh-programs: toolchain envoy-newest
	@integration/mesh/build.sh

test-mesh: build ## The manifests on Istio's own control plane, without containers (Linux, Go)
	@echo "== mesh"
	@if ! command -v go >/dev/null && [ "$$CI" != true ]; then \
		echo "SKIPPED: the mesh, because there is no Go"; \
	else \
		$(MAKE) --no-print-directory mesh-programs && \
		integration/mesh/rules/check.py && \
		cargo build $(NATIVE) --bin careplane --test mesh --test existing && \
		cargo test $(NATIVE) --test mesh --test existing; \
	fi

schema: ## The JSON Schemas of the policy document and of the output of verify and diff, from their types
	@cargo run --quiet --locked -p careplane-cli -- schema > filters/policy/policy.schema.json.new
	@mv filters/policy/policy.schema.json.new filters/policy/policy.schema.json
	@cargo run --quiet --locked -p careplane-cli -- schema verification > docs/verification.schema.json.new
	@mv docs/verification.schema.json.new docs/verification.schema.json
	@cargo run --quiet --locked -p careplane-cli -- schema diff > docs/diff.schema.json.new
	@mv docs/diff.schema.json.new docs/diff.schema.json

notices: toolchain ## The licences of what is linked into the module and into the playground
	@python3 filters/plugin/notices.py

bench: bench-load bench-breakdown bench-scale ## What it costs, measured here, into target/bench: twenty minutes, or an hour with BENCH=full

# ONLY='careplane,vanilla' ROUNDS=20: these contenders alone, in so many rounds.
bench-load: build envoy-newest ## careplane in a real Envoy beside Lua, ext_proc and others
	@mkdir -p target/bench
	@$(call module,target/bench/vanilla,--features sdk)
	@cargo build --quiet --locked --profile measure -p careplane-ext-proc -p careplane-load
	@target/measure/careplane-load compare $(if $(filter full,$(BENCH)),--full) $(if $(ONLY),--only "$(ONLY)") $(if $(ROUNDS),--rounds $(ROUNDS))

bench-breakdown: build envoy-newest ## What the time of a request goes to in Envoy; needs perf for half of it
	@mkdir -p target/bench
	@cargo build --quiet --locked --profile measure -p careplane-load
	@target/measure/careplane-load breakdown $(if $(ROUNDS),--rounds $(ROUNDS))

bench-scale: build envoy-newest ## Policies from small to large, and requests while one changes
	@cargo run --quiet --locked -p careplane-scale

bench-capacity: telemetry-programs ## What a national platform needs: a simulation with constants measured here (Go)
	@evidence/chdb.sh
	@cargo run --quiet --locked --profile measure -p careplane-capacity

bench-micro: ## The parts, natively, by criterion
	@cargo bench --quiet --locked -p careplane-benches
	@cargo bench --quiet --locked -p careplane-evidence

bench-results: ## Keeps what was measured last in benches/results
	@mkdir -p benches/results
	@cp target/bench/*.md target/bench/*.json target/bench/*.svg benches/results/

clean: ## Removes everything that was built or installed here
	@rm -rf target dist .tools .run playground/node_modules playground/build playground/page/playground.html
