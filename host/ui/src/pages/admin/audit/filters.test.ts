import assert from "node:assert/strict";
import { test } from "node:test";
import { filtersOf, hasFilter, requestQuery } from "./filters.ts";

test("filters are read from the page's query", () => {
  const filters = filtersOf(new URLSearchParams("kind=grant&engine=openai&tab=refusals"));
  assert.deepEqual(filters, { kind: "grant", engine: "openai", user: "", from: "", until: "" });
  assert.equal(hasFilter(filters), true);
  assert.equal(hasFilter(filtersOf(new URLSearchParams("tab=refusals"))), false);
});

test("local times become seconds, and an invalid one is left out", () => {
  const local = "2026-12-01T08:30";
  const query = requestQuery({ kind: "", engine: "", user: "", from: local, until: "soon" });
  assert.equal(query.since, new Date(local).getTime() / 1_000);
  assert.equal(query.before, undefined);
});
