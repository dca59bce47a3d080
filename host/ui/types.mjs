// Writes the types of the server's requests and responses from its OpenAPI document to `generated/schema.d.ts`.
// The document is the file `PINHOLE_OPENAPI`, or what the program `PINHOLE_PROGRAM` prints: by default a built server.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import openapiTS, { astToString } from "openapi-typescript";

const root = import.meta.dirname;
const BUILT = ["debug", "release"].map((it) => join(root, "../../target", it, "pinhole"));
const MAX_DOCUMENT_BYTES = 64 * 1024 * 1024;

async function readDocument() {
  const { PINHOLE_OPENAPI: file, PINHOLE_PROGRAM: program = BUILT.find((it) => existsSync(it)) } = process.env;
  if (file) return readFile(file, "utf8");
  if (!program) throw new Error("no built server in target; run `cargo build`, or set PINHOLE_PROGRAM or PINHOLE_OPENAPI");
  return execFileSync(program, ["openapi"], { encoding: "utf8", maxBuffer: MAX_DOCUMENT_BYTES, stdio: ["ignore", "pipe", "inherit"] });
}

try {
  const document = JSON.parse(await readDocument());
  // A field with a default may be left out of a request.
  const types = await openapiTS(document, { defaultNonNullable: false });
  await mkdir(join(root, "generated"), { recursive: true });
  await writeFile(join(root, "generated/schema.d.ts"), astToString(types));
} catch (error) {
  console.error(`cannot write the types: ${error.message.split("\n", 1)[0]}`);
  process.exit(1);
}
