import assert from "node:assert/strict";
import { test } from "node:test";
import { Plugin } from "../plugin.js";
import { bind } from "../weir/kit-js/testing.js";

const plugin = bind({ key: Plugin }, "key", { field: "tailnum" });

test("takes the field", () => {
  const records = [{ value: '{"tailnum":"N14228"}' }, { value: "{}" }, {}];
  assert.deepEqual(plugin.run(records), ["N14228", null, null]);
});

test("a body that is no JSON is an error of that record", () => {
  assert.throws(() => plugin.run([{ value: "no json" }]), /SyntaxError/);
});
