#!/bin/sh
# Every relative link of README.md, CONTRIBUTING.md, CHANGELOG.md and docs/ leads to a
# file or folder that is there.
set -eu
cd "$(dirname "$0")/.."

broken=$(
    find ./*.md docs -name '*.md' | while read -r page; do
        grep -o ']([^)]*)' "$page" | sed 's/^](//; s/)$//; s/#.*//' | sort -u |
            while read -r target; do
                case $target in
                '' | http://* | https://* | mailto:*) continue ;;
                esac
                [ -e "$(dirname "$page")/$target" ] || echo "$page: $target is not there"
            done
    done
)
[ -z "$broken" ] || { echo "$broken" >&2; exit 1; }
echo "every link leads somewhere"
