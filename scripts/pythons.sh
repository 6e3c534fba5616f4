#!/usr/bin/env bash
# Prints the CPythons of this machine that can run aiotest, one a line: `3.12 /path/to/python`. One for each minor
# version from 3.11 on; the first is the one that `.venv` is made with (`python3`, where that is new enough).
# Looks in PATH, in pyenv and in the usual folders. Free-threaded builds are left out: abi3 wheels don't load there.
set -euo pipefail

probe='
import ensurepip, platform, sys, sysconfig, venv
if platform.python_implementation() != "CPython" or sys.version_info < (3, 11):
    raise SystemExit(1)
if sysconfig.get_config_var("Py_GIL_DISABLED"):
    raise SystemExit(1)
print("%d.%d %s" % (*sys.version_info[:2], sys.executable))
'

candidates() {
    local minor
    echo python3
    for minor in 11 12 13 14; do
        echo "python3.$minor"
        printf '%s\n' "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/python3
        printf '%s\n' {/usr,/usr/local,/opt/python3."$minor"}/bin/python3."$minor"
    done
}

candidates | while read -r candidate; do
    # A candidate may be absent, a pyenv shim with nothing behind it, or too old: each fails here, silently.
    "$candidate" -c "$probe" 2>/dev/null </dev/null || true
done | awk '!seen[$1]++'
