#!/usr/bin/env node
// Builds a component from an engine in JavaScript: `pinhole-componentize ENGINE.js --wit DIR --out FILE.wasm`. An engine that exports
// `explain` needs `--world image-engine-with-explain`.

import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { cwd, exit } from "node:process";
import { parseArgs } from "node:util";

const USAGE = "usage: pinhole-componentize ENGINE.js --wit DIR --out FILE.wasm [--world WORLD]";

function fail(message, code = 1) {
  console.error(`pinhole-componentize: ${message}`);
  exit(code);
}

function parseCommandLine() {
  try {
    const options = { wit: { type: "string" }, out: { type: "string" }, world: { type: "string" } };
    const { values, positionals } = parseArgs({ options, allowPositionals: true });
    if (positionals.length === 1 && values.wit && values.out) {
      return { source: positionals[0], ...values };
    }
  } catch (error) {
    fail(`${error.message}\n${USAGE}`, 2);
  }
  return fail(USAGE, 2);
}

async function loadCompiler() {
  try {
    return await import("componentize-qjs");
  } catch {
    return fail("componentize-qjs is not installed: run npm ci");
  }
}

const { source, wit, out, world = "image-engine" } = parseCommandLine();
const { componentize } = await loadCompiler();
try {
  const { component } = await componentize({
    witPath: wit,
    world,
    jsSource: await readFile(source, "utf8"),
    jsPath: resolve(source),
    // Where packages are found.
    moduleRoot: cwd(),
    // The functions of the contract are not asynchronous.
    sync: true,
  });
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, component);
  console.log(`${out}: ${Math.ceil(component.length / 1000)} KB`);
} catch (error) {
  fail(`cannot build ${source}: ${error.message}`);
}
