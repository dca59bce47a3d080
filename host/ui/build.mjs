// Builds the pages into `dist`: files with a hash in their names under `dist/ui`, and `index.html`, which names them.
// `--watch` builds again after each change.
import { readFile, readdir, rm, writeFile, mkdir, cp } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import * as esbuild from "esbuild";

const watch = process.argv.includes("--watch");
const root = import.meta.dirname;
const dist = join(root, "dist");

const options = {
  entryPoints: { main: join(root, "src/main.tsx"), style: join(root, "src/style/index.css") },
  outdir: join(dist, "ui"),
  bundle: true,
  splitting: true,
  format: "esm",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  minify: !watch,
  sourcemap: watch ? "linked" : false,
  legalComments: "linked",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  assetNames: "[name]-[hash]",
  metafile: true,
  logLevel: "warning",
  plugins: [{ name: "index", setup: (build) => build.onEnd(writeIndex) }],
};

/** Writes `index.html` with the names of the built files, and compressed copies of all files. */
async function writeIndex(result) {
  if (result.errors.length > 0) return;
  const outputs = Object.entries(result.metafile.outputs);
  const output = (suffix) => outputs.find(([, it]) => it.entryPoint?.endsWith(suffix));
  const [script, { imports }] = output("src/main.tsx");
  const [style] = output("src/style/index.css");
  const url = (path) => `/ui/${path.split("/").at(-1)}`;
  const preloads = imports
    .filter((it) => it.kind === "import-statement")
    .map((it) => `<link rel="modulepreload" href="${url(it.path)}">`);
  const template = await readFile(join(root, "static/index.html"), "utf8");
  const page = template
    .replace("<!-- style -->", `<link rel="stylesheet" href="${url(style)}">`)
    .replace("<!-- script -->", [...preloads, `<script type="module" src="${url(script)}"></script>`].join("\n"));
  await cp(join(root, "static"), dist, { recursive: true });
  await writeFile(join(dist, "index.html"), page);
  if (!watch) await compressAll();
}

async function compressAll() {
  const files = await readdir(dist, { recursive: true, withFileTypes: true });
  const compressible = files.filter((it) => it.isFile() && /\.(js|css|html|svg|webmanifest|txt)$/.test(it.name));
  await Promise.all(
    compressible.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name);
      const bytes = await readFile(path);
      const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: constants.BROTLI_MAX_QUALITY } };
      await writeFile(`${path}.br`, await promisify(brotliCompress)(bytes, quality));
      await writeFile(`${path}.gz`, await promisify(gzip)(bytes, { level: 9 }));
    }),
  );
}

await rm(dist, { recursive: true, force: true });
await mkdir(dist, { recursive: true });
if (watch) {
  const context = await esbuild.context(options);
  await context.watch();
  console.log("watching host/ui/src; stop with Ctrl-C");
} else {
  await esbuild.build(options);
}
