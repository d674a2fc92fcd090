#!/usr/bin/env bash
# Runs the tests side by side, each worker with a display of its own, and mypy beside them; what mypy
# says comes last. Fails if either did; both always run to their end.
#
#   WORKERS   how many run side by side (default 3: tests of the window wait a third of their time,
#             so two would not keep two cores busy)
#   arguments are pytest's
set -uo pipefail
cd "$(dirname "$0")/.."

pytest=(.venv/bin/python -m pytest)
if command -v xvfb-run >/dev/null; then
  pytest=(xvfb-run -a -s "-screen 0 1280x800x24" "${pytest[@]}")
fi

# every worker and every process of a test would compile what it imports anew
unset PYTHONDONTWRITEBYTECODE

types=$(mktemp)
.venv/bin/mypy >"$types" 2>&1 &
mypy=$!
trap 'kill $mypy 2>/dev/null; rm -f "$types"' EXIT

"${pytest[@]}" -n "${WORKERS:-3}" --dist loadfile --no-loadscope-reorder "$@"
tests=$?
wait $mypy
typed=$?
echo "mypy:"
cat "$types"
[ $tests = 0 ] && [ $typed = 0 ]
