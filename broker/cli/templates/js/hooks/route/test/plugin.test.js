import assert from "node:assert/strict";
import { test } from "node:test";
import { Plugin } from "../plugin.js";
import { bind } from "../weir/kit-js/testing.js";

const run = (routes, record) =>
  bind({ route: Plugin }, "route", { field: "origin" }, routes).run([record])[0];

test("takes the route of that name", () => {
  assert.deepEqual(run(["JFK", "*"], { value: '{"origin":"JFK"}' }), ["JFK"]);
  assert.deepEqual(run(["JFK", "*"], { value: '{"origin":"EWR"}' }), ["*"]);
});

test("what has no route is an error of that record", () => {
  assert.throws(() => run(["JFK"], { value: '{"origin":"EWR"}' }), /no route for this origin/);
  assert.throws(() => run(["JFK"], {}), /no body/);
});
