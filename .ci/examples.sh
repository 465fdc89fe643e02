#!/bin/sh
# Runs every example of the facade, with the default features: each must end well and
# print what it shows.
set -eu
cd "$(dirname "$0")/.."

cargo build --quiet -p mallocer --examples
for source in crates/mallocer/examples/*.rs; do
    example=$(basename "$source" .rs)
    echo "== $example"
    printed=$(RUST_BACKTRACE=0 cargo run --quiet -p mallocer --example "$example")
    test -n "$printed"
    echo "$printed"
done
