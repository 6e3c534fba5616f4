#!/usr/bin/env bash
# pytest on every CPython of this machine, with the one abi3 wheel that `make install` built. The first interpreter,
# .venv's, runs the whole suite, last, so that its closing line is the last; the others run what depends on them.
set -euo pipefail
cd "$(dirname "$0")/.."

# Where the border between Rust and the interpreter is tested.
of_interpreter=(runner/tests/test_{call,client,collection,events,gathering,host,life,shape}*.py)

wheel=$(echo .cache/wheels/*.whl)
mapfile -t pythons < <(scripts/pythons.sh)
echo "CPythons found:"
printf '  %s\n' "${pythons[@]}"

# into VENV PYTHON: the wheel and what the tests need, unless it is there and the wheel is no newer.
into() {
    local venv=$1 python=$2
    [ "$venv/ready" -nt "$wheel" ] && [ "$venv/ready" -nt scripts/requirements-test.txt ] && return
    "$python" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r scripts/requirements-test.txt "$wheel"
    touch "$venv/ready"
}

for line in "${pythons[@]:1}"; do
    version=${line%% *} python=${line#* }
    echo "== CPython $version: what depends on the interpreter"
    into ".cache/venvs/$version" "$python"
    ".cache/venvs/$version/bin/python" -m pytest -q -c runner/pyproject.toml "${of_interpreter[@]}"
done
echo "== CPython ${pythons[0]%% *}: everything"
.venv/bin/python -m pytest -q -c runner/pyproject.toml -m "not long" bench/tests runner/tests
