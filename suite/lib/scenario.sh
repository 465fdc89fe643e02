# Runs one step of a scenario: `bash scenario.sh FILE prepare|run`. The folder it is started in
# is the scenario's own; `prepare` writes its input there, once; `run` reads it from $INPUT,
# prints what must be the same under every allocator, and leaves files that must be the same
# in out/.
set -euo pipefail
. "$1"
"$2"
