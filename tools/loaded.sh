#!/usr/bin/env bash
# Run the tests three times on a machine that has other things to do: under nice, beside four busy
# loops. Arguments are pytest's: `tools/loaded.sh tests/cli -k signal`; without any, those of
# `make test`. Prints how long each run took; exits with 1 if one failed.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
unset PYTHONDONTWRITEBYTECODE  # as in the Makefile
(($#)) || set -- -m "not proof"

busy=()
trap 'kill "${busy[@]}" 2>/dev/null' EXIT
for _ in 1 2 3 4; do
    # Ends by itself soon after this script, however that ends.
    (while kill -0 $$ 2>/dev/null; do for ((n = 0; n < 100000; n++)); do :; done; done) &
    busy+=($!)
done

status=0
for run in 1 2 3; do
    SECONDS=0
    nice -n 10 "$python" -m pytest "$@" || status=1
    echo "run $run of 3: $SECONDS s"
done
exit $status
