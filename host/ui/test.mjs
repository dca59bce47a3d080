// Runs the unit tests `src/**/*.test.ts` with Node's test runner.
import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import * as esbuild from "esbuild";

const root = import.meta.dirname;
const outdir = join(root, "generated/tests");
const files = await readdir(join(root, "src"), { recursive: true });
const tests = files.filter((it) => it.endsWith(".test.ts")).map((it) => join(root, "src", it));
await rm(outdir, { recursive: true, force: true });
await esbuild.build({
  entryPoints: tests,
  outdir,
  outbase: join(root, "src"),
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
  logLevel: "warning",
});
const built = tests.map((it) => join(outdir, it.slice(join(root, "src").length + 1).replace(/\.ts$/, ".mjs")));
const { status } = spawnSync(process.execPath, ["--test", ...built], { stdio: "inherit" });
process.exit(status ?? 1);
