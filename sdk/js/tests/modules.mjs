// Resolves the modules of the contract to the host of the tests.

const HOST = new URL("host.mjs", import.meta.url).href;

export function resolve(specifier, context, next) {
  return specifier.startsWith("pinhole:") ? { url: HOST, shortCircuit: true } : next(specifier, context);
}
