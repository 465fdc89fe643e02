# For the scripts that look at compiled functions; they begin with `. .ci/instructions.sh` in the
# root of the project. Where functions cannot be looked at, that says so and ends them.
#
# instructions PROGRAM FUNCTION    the instructions of a function of an example, in Intel's
#                                  syntax, without addresses and bytes

if [ "$(uname -m)" != x86_64 ] || ! command -v objdump >/dev/null; then
    echo "no objdump for x86-64 here: nothing is looked at"
    exit 0
fi

target=${CARGO_TARGET_DIR:-target}

instructions() {
    objdump --disassemble="$2" --no-show-raw-insn --no-addresses -M intel \
        "$target/release/examples/$1" |
        sed -n "/^<$2>:/,/^\$/p" | sed '1d; /^$/d; s/^[[:space:]]*//'
}
