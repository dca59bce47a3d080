// Builds the pages into `dist`: files with a hash in their names under `dist/ui`, and `index.html`, which names them.
// `--watch` builds again after each change.
import { cp, mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { promisify } from "node:util";
import { brotliCompress, constants, gzip } from "node:zlib";
import * as esbuild from "esbuild";

const watch = process.argv.includes("--watch");
const root = import.meta.dirname;
const built = join(root, "dist");
/** Complete before a server that runs sees it. */
const dist = watch ? built : join(root, "dist.new");

const common = {
  outdir: join(dist, "ui"),
  bundle: true,
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
};

/** The first stylesheet, and those that pages load. */
const styles = {
  ...common,
  entryPoints: { style: join(root, "src/style/index.css"), admin: join(root, "src/style/admin.css"), studio: join(root, "src/style/studio.css") },
};

const url = (path) => `/ui/${path.split("/").at(-1)}`;

/** The path of the file that is built from this source. */
function builtFrom(source, { metafile }) {
  return Object.entries(metafile.outputs).find(([, it]) => it.entryPoint?.endsWith(source));
}

/** The options of the scripts, which know the names of the stylesheets. */
function scripts(builtStyles) {
  const built = (name) => url(builtFrom(`src/style/${name}.css`, builtStyles)[0]);
  return {
    ...common,
    entryPoints: { main: join(root, "src/main.tsx") },
    splitting: true,
    define: { STYLES: JSON.stringify({ admin: built("admin"), studio: built("studio") }) },
    plugins: [{ name: "index", setup: (build) => build.onEnd((result) => writeIndex(result, builtStyles)) }],
  };
}

/** Writes `index.html` with the names of the built files, and compressed copies of all files. */
async function writeIndex(result, builtStyles) {
  if (result.errors.length > 0) return;
  const [script, { imports }] = builtFrom("src/main.tsx", result);
  const [style] = builtFrom("src/style/index.css", builtStyles);
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
  // Their names have no hash, so that the scripts need not be built again.
  const named = { ...styles, entryNames: "[name]" };
  const builtStyles = await esbuild.build(named);
  for (const options of [named, scripts(builtStyles)]) await (await esbuild.context(options)).watch();
  console.log("watching host/ui/src; stop with Ctrl-C");
} else {
  await esbuild.build(scripts(await esbuild.build(styles)));
  await replaceFiles();
}

/** Moves the new files to the place of the old ones, `index.html` last. The directory stays: a server that runs has it open. */
async function replaceFiles() {
  const added = await readdir(dist, { recursive: true, withFileTypes: true });
  const pathOf = (it) => relative(dist, join(it.parentPath, it.name));
  const isIndex = (it) => Number(it.name.startsWith("index.html"));
  await Promise.all(added.filter((it) => it.isDirectory()).map((it) => mkdir(join(built, pathOf(it)), { recursive: true })));
  for (const it of added.filter((it) => it.isFile()).sort((a, b) => isIndex(a) - isIndex(b))) await rename(join(dist, pathOf(it)), join(built, pathOf(it)));
  const old = await readdir(built, { recursive: true, withFileTypes: true });
  const names = new Set(added.map(pathOf));
  const stale = old.map((it) => join(it.parentPath, it.name)).filter((it) => !names.has(relative(built, it)));
  await Promise.all(stale.map((it) => rm(it, { recursive: true, force: true })));
  await rm(dist, { recursive: true });
}
