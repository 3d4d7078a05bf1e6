import assert from "node:assert/strict";
import { test } from "node:test";
import { Plugin } from "../plugin.js";
import { bind } from "../weir/kit-js/testing.js";

const plugin = bind({ transform: Plugin }, "transform", { field: "carrier" });

test("tags records", () => {
  const value = '{"carrier":"UA"}';
  const expected = [{ key: null, value, headers: { tag: "UA" } }];
  assert.deepEqual(plugin.run([{ value }]), [expected]);
});

test("refuses records without the field", () => {
  const rejected = { rejected: "it has no carrier" };
  assert.deepEqual(plugin.run([{ value: "{}" }, {}]), [rejected, rejected]);
});
