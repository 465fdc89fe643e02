#!/bin/sh
# The facade's features, which only ever add: none of them, each one alone, the
# default ones and all together must build without a warning and pass the tests.
set -eu
cd "$(dirname "$0")/.."

features() {
    sed -n '/^\[features\]/,/^\[dep/s/^\([a-z][a-z0-9-]*\) = .*/\1/p' crates/mallocer/Cargo.toml
}

check() {
    echo "== mallocer $*"
    cargo clippy --quiet -p mallocer --all-targets "$@" -- -D warnings
}

# Documentation examples open arenas, so they run where a backend is.
run() {
    cargo test --quiet -p mallocer "$@"
}

check --no-default-features
run --no-default-features --lib --tests
for feature in $(features); do
    case $feature in
    default) ;;
    flist | malloc | jemalloc | mimalloc)
        check --no-default-features --features "$feature"
        run --no-default-features --features "$feature"
        ;;
    *)
        check --no-default-features --features "$feature"
        ;;
    esac
done
check
run
check --all-features
run --all-features

# On stable, `nightly` adds nothing; what it adds elsewhere needs that compiler.
if rustup run nightly rustc --version >/dev/null 2>&1; then
    echo "== mallocer --features nightly, on nightly"
    CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/nightly" rustup run nightly \
        cargo test --quiet -p mallocer --features nightly,allocator-api2-04 --test all allocators
fi
