#!/bin/sh
# Searches for inputs that break a target: fuzz/run.sh TARGET SECONDS, or `make fuzz TARGET=… SECONDS=…`.
#
# libFuzzer runs on the toolchain of the project, without cargo-fuzz. The code under test forbids `unsafe`, so a
# sanitizer would find nothing, and stable Rust can instrument for coverage. New inputs stay in target/fuzz/corpus.
# Inputs that break the target go to target/fuzz/findings; make them small and put them into fuzz/corpus with the fix.
set -eu
cd "$(dirname "$0")/.."

[ $# -eq 2 ] || {
    echo "usage: fuzz/run.sh TARGET SECONDS (targets: $(ls fuzz/corpus | tr '\n' ' '))" >&2
    exit 2
}
command -v c++ >/dev/null || {
    echo "careplane: c++ is missing: libFuzzer is built from source (Debian: apt install build-essential)" >&2
    exit 1
}
target=$1
seconds=$2
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"

# The fuzzed dependencies have the versions that are shipped; libFuzzer comes on top.
cp Cargo.lock fuzz/libfuzzer/Cargo.lock
# With --target the flags apply to the fuzzed code and not to build scripts.
# shellcheck disable=SC2086 # words, one flag each
RUSTFLAGS=$(echo $coverage) cargo build --quiet --release --manifest-path fuzz/libfuzzer/Cargo.toml --target "$host" --target-dir target/fuzz
mkdir -p "target/fuzz/corpus/$target" "target/fuzz/findings"
dictionary=fuzz/dictionaries/$target.dict
CAREPLANE_FUZZ_TARGET=$target exec "target/fuzz/$host/release/careplane-libfuzzer" "target/fuzz/corpus/$target" "fuzz/corpus/$target" \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
    -artifact_prefix="target/fuzz/findings/$target-" $([ ! -f "$dictionary" ] || echo "-dict=$dictionary") \
    $([ "${CI:-}" != true ] || echo -verbosity=0)
