#!/usr/bin/env bash
# Runs the tests: most of them side by side, each worker with a display of its own, then those marked
# `alone` one after the other. Fails if either part did; both are always run.
#
#   WORKERS   how many run side by side (default 2)
#   arguments are pytest's
set -uo pipefail
cd "$(dirname "$0")/.."

pytest=(.venv/bin/python -m pytest)
if command -v xvfb-run >/dev/null; then
  pytest=(xvfb-run -a -s "-screen 0 1280x800x24" "${pytest[@]}")
fi

passed() { # 5: the arguments chose no test of this part
  [ "$1" = 0 ] || [ "$1" = 5 ]
}

"${pytest[@]}" -n "${WORKERS:-2}" --dist loadfile --no-loadscope-reorder -m "not alone" "$@"
side_by_side=$?
"${pytest[@]}" -m alone "$@"
alone=$?
passed $side_by_side && passed $alone
