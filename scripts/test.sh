#!/usr/bin/env bash
# Runs the tests: most of them side by side, then one after the other those that need a display or
# measure (markers `gui` and `alone`). Says after both whether all passed.
#
#   WORKERS   how many run side by side (default 2)
#   arguments are pytest's
set -uo pipefail
cd "$(dirname "$0")/.."

pytest=(.venv/bin/python -m pytest)
screen=()
command -v xvfb-run >/dev/null && screen=(xvfb-run -a -s "-screen 0 1280x800x24")

passed() { # 5: the arguments chose no test of this part
  [ "$1" = 0 ] || [ "$1" = 5 ]
}

OMP_NUM_THREADS=1 "${pytest[@]}" -n "${WORKERS:-2}" --dist loadfile -m "not gui and not alone" "$@"
side_by_side=$?
"${screen[@]}" "${pytest[@]}" -m "gui or alone" "$@"
one_by_one=$?
passed $side_by_side && passed $one_by_one
