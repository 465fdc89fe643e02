#!/bin/sh
# Which crate may know which:
#
#   core ← flist, malloc, jemalloc, mimalloc, array ← mallocer ← workloads ← cli, benches
#   flist ← preload
#   core ← conformance, which tests may use
#
# Fails if a crate's tree of dependencies has a sibling that is not on its list, or if
# a member of the workspace has no list.
set -eu
cd "$(dirname "$0")/.."

backends="mallocer-flist mallocer-malloc mallocer-jemalloc mallocer-mimalloc"

# The siblings that a crate may be built on, directly or through others.
built_on() {
    case $1 in
    mallocer-core) ;;
    mallocer-flist | mallocer-malloc | mallocer-jemalloc | mallocer-mimalloc) echo mallocer-core ;;
    mallocer-array | mallocer-conformance) echo mallocer-core ;;
    mallocer-preload) echo mallocer-core mallocer-flist ;;
    mallocer) echo mallocer-core mallocer-array "$backends" ;;
    mallocer-workloads) echo mallocer mallocer-core mallocer-array "$backends" ;;
    mallocer-cli | mallocer-benches) echo mallocer mallocer-core mallocer-array mallocer-workloads "$backends" ;;
    *) return 1 ;;
    esac
}

# The siblings that its tests and examples may use beyond those.
tested_with() {
    case $1 in
    mallocer-core) ;;
    # They run on every backend there is.
    mallocer-conformance) echo "$backends" ;;
    mallocer-array) echo mallocer-conformance "$backends" ;;
    *) echo mallocer-conformance ;;
    esac
}

siblings() {
    cargo tree --quiet --target all --all-features --prefix none --format '{p}' "$@" |
        sed -n 's/^\(mallocer[a-z0-9-]*\) .*/\1/p' | sort -u
}

wrong=0
# Every sibling of crate $1 that is found on stdin must be the crate or on list $2.
allow() {
    while read -r found; do
        case " $1 $2 " in
        *" $found "*) ;;
        *)
            echo "$1 must not depend on $found: it may know ${2:-no sibling}" >&2
            return 1
            ;;
        esac
    done
}

for crate in $(siblings --workspace --depth 0); do
    if ! base=$(built_on "$crate"); then
        echo "$crate is not listed in .ci/layers.sh: say there which siblings it may know" >&2
        wrong=1
        continue
    fi
    siblings -p "$crate" -e normal,build | allow "$crate" "$base" || wrong=1
    siblings -p "$crate" -e dev --depth 1 | allow "$crate" "$base $(tested_with "$crate")" || wrong=1
done
[ $wrong = 0 ] || exit 1
echo "every crate knows only what lies below it"
