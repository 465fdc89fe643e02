#!/usr/bin/env bash
# Real programs on libmallocer.so, and flist's unit tests, where memory must be committed
# before it is used.
#
#   .ci/overcommit.sh                   under a limit on data, then under strict overcommit
#   .ci/overcommit.sh limited           under a limit on data alone
#   .ci/overcommit.sh strictly          under strict overcommit alone
#
# A limit on data is a process's own. Strict overcommit (vm.overcommit_memory = 2) is the
# machine's: what all processes may write to is added up, once more for each that is forked,
# and what is above the sum is refused. It holds here for some ten seconds, with nine tenths
# of the memory to be had (vm.overcommit_ratio), and is put back however this ends. Where this
# may not write the setting, that part is skipped and says so.
set -euo pipefail
cd "$(dirname "$0")/.."

vm=/proc/sys/vm
memory_kib=$(sed -n 's/^MemTotal: *\([0-9]*\) kB$/\1/p' /proc/meminfo)

# What a process commits that does next to nothing, with options $1 in MALLOCER. The table of
# descriptors, for twice the machine's memory, is a 512th of that; bookkeeping, the first pools
# and what the C library has of its own are far below 8 MiB. Where memory is not committed
# before it is used, the figure is the whole reservation, and this fails as well.
commits_little() {
    local words most=$((memory_kib / 512 + 8192))
    read -ra words < <(LD_PRELOAD=$library MALLOCER=$1 grep VmData: /proc/self/status)
    echo "a process with MALLOCER=\"$1\" commits ${words[1]} KiB, of $most"
    test "${words[1]}" -le "$most"
}

# Fifty children that are alive at once, each with memory of its own.
forks() {
    LD_PRELOAD=$library MALLOCER=$1 perl -e '
        pipe my $reader, my $writer or die "pipe: $!";
        for (1 .. 50) {
            defined(my $child = fork) or die "child $_ cannot be forked: $!";
            next if $child;
            close $writer;
            my @texts = map { "x" x $_ } 1 .. 1000;
            readline $reader;
            exit(@texts == 1000 ? 0 : 1);
        }
        close $writer;
        for (1 .. 50) { wait; $? == 0 or die "a child ended with $?" }
    '
    echo "50 children at once with MALLOCER=\"$1\""
}

# Everything, under whatever holds already.
checks() {
    local options
    for options in "" hardened=1; do
        commits_little "$options"
        forks "$options"
    done
    # There are no huge pages where memory is committed OS page by OS page.
    "$tests" --quiet --skip huge::tests::pools_of_a_large_slab_ask
    suite/run --library "$library" --check --hardened --percent 1 \
        --only server stress bursts strings store large
    suite/real --library "$library" --check --skip-missing --only git perl python
}

under_a_limit_on_data() {
    echo "== under a limit on data"
    # Less than the table of a reservation for terabytes would be granted.
    ulimit -d $((memory_kib / 2))
    checks
}

# Puts back what `strictly` found. Nothing is forked for it.
put_back() {
    echo "$old_memory" >$vm/overcommit_memory
    if [ "$old_kbytes" = 0 ]; then
        echo "$old_ratio" >$vm/overcommit_ratio
    else
        echo "$old_kbytes" >$vm/overcommit_kbytes
    fi
}

strictly() {
    if ! [ -w $vm/overcommit_memory ]; then
        echo "== strict overcommit: skipped: cannot write $vm/overcommit_memory"
        return
    fi
    echo "== under strict overcommit"
    old_memory=$(<$vm/overcommit_memory)
    old_ratio=$(<$vm/overcommit_ratio)
    old_kbytes=$(<$vm/overcommit_kbytes)
    local began=$SECONDS checking=
    trap put_back EXIT
    # A shell that waits for its child hears no signal; one that waits by `wait` does.
    trap 'kill "$checking" 2>/dev/null || true; exit 143' HUP INT TERM
    echo 90 >$vm/overcommit_ratio
    echo 2 >$vm/overcommit_memory
    # What others have counts as well: where that is much, failures may be theirs.
    grep -E 'CommitLimit|Committed_AS' /proc/meminfo
    timeout 100 "$0" checks "$library" "$tests" &
    checking=$!
    local status=0
    wait "$checking" || status=$?
    put_back
    trap - EXIT HUP INT TERM
    echo "vm.overcommit_memory is $(<$vm/overcommit_memory) again after $((SECONDS - began)) s"
    return "$status"
}

if [ $# = 3 ]; then
    library=$2 tests=$3
else
    target=${CARGO_TARGET_DIR:-target}
    cargo build --quiet --profile drop-in -p mallocer-preload
    library=$(realpath "$target/drop-in/libmallocer.so")
    tests=$(cargo test --quiet --no-run -p mallocer-flist --lib --message-format json |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
fi
case ${1:-all} in
all)
    (under_a_limit_on_data)
    strictly
    ;;
limited) under_a_limit_on_data ;;
strictly | checks) "$1" ;;
*)
    echo "usage: .ci/overcommit.sh [limited|strictly]" >&2
    exit 2
    ;;
esac
