"""An OpenAPI fuzzer against a running server that draws by itself: `CLIENT_SERVER`, `CLIENT_KEY`.

It asks every route for what `/openapi.json` allows and for what it does not, as an administrator. Nothing may be
answered with a 5xx, or with a status, a type or a shape that the document does not know; what the document forbids has
to be refused, and no route may be open that is not said to be. A session asks, because a key would remove itself.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

SERVER, KEY = os.environ["CLIENT_SERVER"], os.environ["CLIENT_KEY"]
CONFIG = pathlib.Path(__file__).with_name("schemathesis.toml")
ACCOUNT = {"name": "Fuzz", "email": "fuzz@example.com", "password": "correct horse battery", "role": "admin"}


def ask(path, credential, body=None):
    request = urllib.request.Request(SERVER + path, body and json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    request.add_header("authorization", f"Bearer {credential}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


ask("/api/v1/auths/add", KEY, ACCOUNT)
session = ask("/api/v1/auths/signin", KEY, ACCOUNT)["token"]
command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "--no-color", "run"]
command += [f"{SERVER}/openapi.json", "--header", f"Authorization: Bearer {session}", "--warnings", "off"]
# It leaves a folder where it is run.
with tempfile.TemporaryDirectory() as folder:
    run = subprocess.run(command, capture_output=True, text=True, cwd=folder)
# Whoever lost the session meanwhile has tested nothing.
if run.returncode or ask("/api/v1/auths/", session)["role"] != "admin":
    sys.exit(run.stdout + run.stderr + "\nthe fuzzer found what stands above")
lines = run.stdout.splitlines()
cases = next(line.strip() for line in lines if "generated" in line)
print(f"python schemathesis: {cases}: ok", flush=True)
