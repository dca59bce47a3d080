#!/bin/sh
# Builds build/my-engine.wasm.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2
mkdir -p build
cp "${CARGO_TARGET_DIR:-target}/wasm32-wasip2/release/engine.wasm" build/my-engine.wasm
echo "built build/my-engine.wasm"
