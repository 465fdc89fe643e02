#!/bin/sh
# What an option costs that is off: nothing. The fast paths of flist have the same
# instructions in a program that uses callbacks, hints, decay, counting and tracing as in one
# that uses none of them. Addresses, and the hashes in names, may differ.
#
# Needs objdump, and looks at x86-64 alone.
set -eu
cd "$(dirname "$0")/.."

. .ci/instructions.sh
cargo build --quiet --release -p mallocer-flist --example fast_path
cargo build --quiet --release -p mallocer --example options

# The same without what depends on where they lie.
compared() {
    instructions "$1" "$2" |
        sed -E 's/rip\+0x[0-9a-f]+/rip/; s/[[:space:]]+#.*//; s/17h[0-9a-f]{16}E/E/; /^(nop|data16|cs nop|xchg +ax,ax)/d'
}

for function in single_alloc single_free shared_alloc shared_free; do
    without=$(compared fast_path "$function")
    with=$(compared options "$function")
    [ -n "$without" ] || { echo "$function is not found" >&2; exit 1; }
    if [ "$without" != "$with" ]; then
        echo "$function differs where options are used:" >&2
        printf '%s\n' "$without" >"$target/without.txt"
        printf '%s\n' "$with" | diff "$target/without.txt" - >&2 || true
        exit 1
    fi
    echo "$function: the same $(printf '%s\n' "$with" | wc -l) instructions with options and without"
done
