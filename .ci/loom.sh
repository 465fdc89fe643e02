#!/bin/sh
# The protocols of flist's shared arena under loom: the code that is shipped, with loom's
# atomics, cells and threads (crates/flist/src/primitive.rs), in the programs of
# crates/flist/src/models.rs.
#
#   .ci/loom.sh                             three preemptions
#   LOOM_MAX_PREEMPTIONS=4 .ci/loom.sh      deeper, and many times longer
#   .ci/loom.sh depot                       models of that name
set -eu
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom"
# What only processes and forks use is not part of it.
export RUSTFLAGS="--cfg mallocer_loom -A dead_code"
# Optimised, but built in a few seconds.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
cargo test --quiet --release -p mallocer-flist --lib -- --nocapture --test-threads 1 "models::${1:-}"
