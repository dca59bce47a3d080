import assert from "node:assert/strict";
import { test } from "node:test";
import { url } from "./url.ts";

test("values of the path are escaped", () => {
  assert.equal(url("/api/v1/jobs/{id}", { id: "a/b ?" }), "/api/v1/jobs/a%2Fb%20%3F");
  assert.equal(url("/api/v1/users/{id}/keys/{key_id}", { id: "u", key_id: "k" }), "/api/v1/users/u/keys/k");
});

test("an engine with the name of a route is escaped", () => {
  assert.equal(url("/api/v1/engines/{name}", { name: "install" }), "/api/v1/engines/%69nstall");
});

test("parameters without a value are left out of the query", () => {
  assert.equal(url("/api/v1/jobs", {}, { state: "active", mine: false, cursor: null, user: undefined, q: "" }), "/api/v1/jobs?state=active&mine=false");
  assert.equal(url("/api/v1/jobs", {}, { cursor: null }), "/api/v1/jobs");
});
