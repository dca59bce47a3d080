import assert from "node:assert/strict";
import { test } from "node:test";

test("a cost is an amount of a currency, or of the upstream's own unit", async () => {
  // Node 20 has no navigator, from which the language is.
  Object.defineProperty(globalThis, "navigator", { value: { languages: ["en"] } });
  const { formatCost } = await import("./format.ts");
  assert.equal(formatCost({ amount: 0.0421, unit: "USD" }), "$0.0421");
  assert.equal(formatCost({ amount: 6.5, unit: "credits" }), "6.5 credits");
});
