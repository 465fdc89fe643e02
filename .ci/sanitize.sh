#!/bin/sh
# The engine's tests under a sanitizer of LLVM's, on a nightly compiler:
#
#   .ci/sanitize.sh address     AddressSanitizer: core, the engine, the suite on flist
#   .ci/sanitize.sh thread      ThreadSanitizer: the engine's tests of races
#
# What is looked at: core, flist, and the tests themselves. The standard library comes as it
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
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/sanitize-$sanitizer"
export RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer"
run() { rustup run nightly cargo test --quiet --target "$target" "$@"; }

case $sanitizer in
address)
    # A process that is ended by a signal, on purpose, leaves chunks of malloc behind.
    export ASAN_OPTIONS="detect_leaks=0:allow_user_segv_handler=1"
    run -p mallocer-core -p mallocer-flist --lib
    run -p mallocer-flist --test threads --test races --test misuse
    run -p mallocer-conformance --test all flist
    ;;
thread)
    suppressions=$(mktemp)
    trap 'rm -f "$suppressions"' EXIT
    # An Arc is let go of by a fence, which ThreadSanitizer does not know.
    echo 'race:<alloc::sync::Arc<std::thread::' >"$suppressions"
    export TSAN_OPTIONS="suppressions=$suppressions halt_on_error=1"
    run -p mallocer-flist --test races
    ;;
*)
    echo "usage: .ci/sanitize.sh address|thread" >&2
    exit 2
    ;;
esac
