#!/bin/sh
# Runs every example of the facade and of the arrays, with the default features: each must
# end well and print what it shows.
set -eu
cd "$(dirname "$0")/.."

for crate in mallocer array; do
    package=mallocer
    [ "$crate" = mallocer ] || package=mallocer-$crate
    cargo build --quiet -p "$package" --examples
    for source in crates/"$crate"/examples/*.rs; do
        example=$(basename "$source" .rs)
        echo "== $example"
        printed=$(RUST_BACKTRACE=0 cargo run --quiet -p "$package" --example "$example")
        test -n "$printed"
        echo "$printed"
    done
done
