#!/bin/sh
# Builds build/my-engine.wasm.
set -eu
cd "$(dirname "$0")"
[ -d node_modules ] || npm ci --no-audit --no-fund
npm run --silent build
