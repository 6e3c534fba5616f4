#!/usr/bin/env bash
# The tests on a cluster, with further arguments for pytest. A cluster that is up is used and stays; one that has to be
# brought up is taken away at the end, with AIOTEST_E2E_KEEP=1 it stays, too.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=(.venv/bin/python -m e2e.cluster)

if ! "${cluster[@]}" status 2>/dev/null; then
    [ -n "${AIOTEST_E2E_KEEP:-}" ] || trap '"${cluster[@]}" down' EXIT
    "${cluster[@]}" up
fi
"${cluster[@]}" load
# The chart's tests render it with the helm of the cluster's programs.
PATH="$("${cluster[@]}" programs):$PATH"
.venv/bin/python -m pytest -c runner/pyproject.toml -m "${AIOTEST_E2E_MARK:-not long}" charts/tests e2e "$@"
