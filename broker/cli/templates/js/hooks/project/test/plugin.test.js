import assert from "node:assert/strict";
import { test } from "node:test";
import { Plugin } from "../plugin.js";
import { bind } from "../weir/kit-js/testing.js";

const plugin = bind({ project: Plugin }, "project", { field: "tailnum" });
const seen = (record) => plugin.run([record])[0].value;

test("hides the field", () => {
  const value = '{"flight":1,"tailnum":"N14228"}';
  assert.equal(seen({ value }), '{"flight":1,"tailnum":"***"}');
});

test("leaves other records as they are", () => {
  assert.equal(seen({ value: "{}" }), "{}");
  assert.equal(seen({}), null);
});
