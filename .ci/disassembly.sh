#!/bin/sh
# The fast paths of flist, as the compiler leaves them: how many instructions each has, and
# that the form for one thread has no atomic one, and no fence.
#
# Needs objdump, and looks at x86-64 alone. A function's straight path is what is executed
# when every chunk is in its magazine: from the start to the first return, with all jumps
# forward not taken.
set -eu
cd "$(dirname "$0")/.."

. .ci/instructions.sh
cargo build --quiet --release -p mallocer-flist --example fast_path

wrong=0
printf '%-20s %12s %9s %7s %7s\n' function instructions 'to return' calls atomic
for function in single_alloc single_free single_free_sized shared_alloc shared_free; do
    code=$(instructions fast_path "$function")
    if [ -z "$code" ]; then
        echo "$function is not found" >&2
        exit 1
    fi
    all=$(echo "$code" | grep -cv '^nop' || true)
    path=$(echo "$code" | sed '/^ret/q' | grep -cv '^nop' || true)
    calls=$(echo "$code" | grep -c '^call' || true)
    # `xchg` with memory is atomic without a prefix.
    atomic=$(echo "$code" | grep -cE '^(lock|xacquire|xrelease|[mls]fence)|^xchg .*\[' || true)
    printf '%-20s %12d %9d %7d %7d\n' "$function" "$all" "$path" "$calls" "$atomic"
    case $function in
    single_*)
        if [ "$atomic" != 0 ]; then
            echo "$function has atomic instructions:" >&2
            echo "$code" | grep -E '^(lock|xacquire|xrelease|[mls]fence)|^xchg .*\[' >&2
            wrong=1
        fi
        ;;
    esac
    # `.ci/disassembly.sh FUNCTION` shows it.
    [ "${1:-}" != "$function" ] || echo "$code"
done
exit $wrong
