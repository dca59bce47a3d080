#!/bin/sh
# Builds build/my-engine.wasm. Arguments go to make, such as CC="clang --target=wasm32-wasi".
set -eu
cd "$(dirname "$0")"
case "$*" in
*CC=*) ;;
*)
    if [ ! -d .venv ]; then
        python3 -m venv .venv
        .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
    fi
    ;;
esac
make --silent "$@"
