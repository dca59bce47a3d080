#!/bin/sh
# Builds build/my-engine.wasm.
set -eu
cd "$(dirname "$0")"
if [ ! -d .venv ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
fi
mkdir -p build
.venv/bin/componentize-py --quiet --wit-path pinhole-sdk/wit --world image-engine \
    componentize engine --python-path . --python-path pinhole-sdk --output build/my-engine.wasm
echo "built build/my-engine.wasm"
