#!/usr/bin/env bash
# Lets the Python SDK and the `det` command loose on examples/mock_master and compares what they see with what they saw on a real
# master. Their environment is made in the directory that INTEROP_SCRATCH names (target/interop unless set).
set -euo pipefail
cd "$(dirname "$0")/../.."
scratch=${INTEROP_SCRATCH:-$PWD/target/interop}
venv=${INTEROP_VENV:-$scratch/venv}
mkdir -p "$scratch"

# An environment that was moved has the modules, but its commands do not start.
if ! "$venv/bin/det" --help >/dev/null 2>&1; then
    python3 -m venv --clear "$venv"
    # The SDK imports pkg_resources, which setuptools 81 no longer has.
    "$venv/bin/pip" install --quiet --disable-pip-version-check 'determined==0.38.1' 'setuptools<81'
fi

cargo build --quiet --example mock_master
example=${CARGO_TARGET_DIR:-target}/debug/examples/mock_master

run() {
    local work
    work=$(mktemp -d "$scratch/run.XXXXXX")
    mkfifo "$work/url"
    "$example" >"$work/url" &
    local master=$!
    # shellcheck disable=SC2064
    trap "kill $master 2>/dev/null || true; rm -rf '$work'" EXIT
    local url
    read -r url <"$work/url"
    DET_DEBUG_CONFIG_PATH=$work/config DET_MASTER=$url PATH=$venv/bin:$PATH TZ=UTC \
        "$venv/bin/python" -W ignore "tests/interop/$1" "$url" "$work"
    kill $master
    wait $master 2>/dev/null || true
    rm -rf "$work"
    trap - EXIT
}

run calls.py
run det.py
echo "the Python SDK and det are content"
