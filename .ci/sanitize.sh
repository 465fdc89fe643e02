#!/bin/sh
# The engine's tests under a sanitizer of LLVM's, on a nightly compiler:
#
#   .ci/sanitize.sh address     AddressSanitizer: core, the engine, the suite on flist, arrays
#   .ci/sanitize.sh thread      ThreadSanitizer: the engine's tests of races
#   .ci/sanitize.sh mvcc        ThreadSanitizer: the example of an index with many versions
#
# What is looked at: core, flist, arrays, and the tests themselves. The standard library comes as it
# is built, without a sanitizer (that would need its source and twice the time), so what
# threads hand over by its locks and channels looks like a race to ThreadSanitizer: only
# tests that do without them are run, and what it still says of the standard library's own
# handles of threads is left out. AddressSanitizer knows the chunks of the C library's
# malloc, stacks and statics; of flist's chunks it knows nothing but that their memory is
# there. So it finds what the engine does outside of its own memory, and what tests do
# outside of theirs.
set -eu
cd "$(dirname "$0")/.."

sanitizer=${1:-}
target=$(rustc -vV | sed -n 's/^host: //p')
kind=$sanitizer
[ "$kind" != mvcc ] || kind=thread
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitize-$kind"
export RUSTFLAGS="-Zsanitizer=$kind -Cunsafe-allow-abi-mismatch=sanitizer"
run() { rustup run nightly cargo test --quiet --target "$target" "$@"; }

case $sanitizer in
address)
    # A process that is ended by a signal, on purpose, leaves chunks of malloc behind.
    export ASAN_OPTIONS="detect_leaks=0:allow_user_segv_handler=1"
    run -p mallocer-core -p mallocer-flist --lib
    run -p mallocer-flist --test threads --test races --test misuse
    run -p mallocer-conformance --test all flist
    # Among others on the C library's malloc, whose chunks' ends are known.
    run -p mallocer-array --test all
    ;;
thread)
    suppressions=$(mktemp)
    trap 'rm -f "$suppressions"' EXIT
    # An Arc is let go of by a fence, which ThreadSanitizer does not know.
    echo 'race:<alloc::sync::Arc<std::thread::' >"$suppressions"
    export TSAN_OPTIONS="suppressions=$suppressions halt_on_error=1"
    run -p mallocer-flist --test races
    ;;
mvcc)
    # What threads hand over goes through the index, its arena, crossbeam-epoch (which does
    # without fences here) and the start and end of threads: ThreadSanitizer knows all of it.
    # With a mistake in it, the same program must be found out.
    flags=$RUSTFLAGS
    index() {
        RUSTFLAGS="$flags ${1:+--cfg mvcc_mistake=\"$1\"}" rustup run nightly cargo run --quiet --target "$target" \
            -p mallocer --no-default-features --features flist --example mvcc
    }
    export TSAN_OPTIONS="halt_on_error=1"
    index
    for mistake in frees_at_once publishes_relaxed; do
        if report=$(index "$mistake" 2>&1); then
            echo "ThreadSanitizer does not see $mistake" >&2
            exit 1
        fi
        case $report in
        *"ThreadSanitizer: data race"*) echo "$mistake: found" ;;
        *) echo "$report" >&2; exit 1 ;;
        esac
    done
    ;;
*)
    echo "usage: .ci/sanitize.sh address|thread|mvcc" >&2
    exit 2
    ;;
esac
