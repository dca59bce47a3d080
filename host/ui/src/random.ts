// Random values. `crypto.randomUUID` does not exist without TLS.

const ID_BYTES = 16;
/** Seeds are below this, because some upstreams read a signed number of 32 bits. */
const SEED_LIMIT = 2 ** 31;

export function randomId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(ID_BYTES)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function randomSeed(): number {
  const [bits = 0] = crypto.getRandomValues(new Uint32Array(1));
  return bits % SEED_LIMIT;
}
