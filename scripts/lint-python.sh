#!/usr/bin/env bash
# Formatter, linter and type checker over all Python here, and the stub of the native module against the module.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
settings=runner/pyproject.toml

"$bin/ruff" format --check --config "$settings" runner scripts bench charts e2e
"$bin/ruff" check --config "$settings" runner scripts bench charts e2e
# The users of the examples, which lie in ConfigMaps.
for map in examples/*/configmap.yaml; do
    source=$(sed -e '1,/^  aiotestfile\.py: |$/d' -e 's/^    //' "$map")
    "$bin/ruff" format --check --config "$settings" --stdin-filename "$map.py" - <<<"$source"
    "$bin/ruff" check --config "$settings" --stdin-filename "$map.py" - <<<"$source"
done

"$bin/mypy" --config-file "$settings" runner/python runner/tests scripts/*.py charts/tests e2e
"$bin/mypy" --config-file "$settings" bench/*.py bench/tests/*.py # apart: each has a conftest of its own
MYPYPATH=runner/python "$bin/python" -m mypy.stubtest --concise --ignore-disjoint-bases aiotest._native
