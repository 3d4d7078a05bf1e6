import assert from "node:assert/strict";
import { test } from "node:test";
import { Plugin } from "../plugin.js";
import { bind } from "../weir/kit-js/testing.js";

test("keeps records with the tag", () => {
  const plugin = bind({ filter: Plugin }, "filter", { tag: "UA" });
  const records = [{ headers: { tag: "UA" } }, { headers: { tag: "DL" } }, {}];
  assert.deepEqual(plugin.run(records), [true, false, false]);
});

test("refuses settings that it does not know", () => {
  assert.throws(() => bind({ filter: Plugin }, "filter"), /`tag` is missing/);
  const both = { tag: "UA", tags: "DL" };
  assert.throws(() => bind({ filter: Plugin }, "filter", both), /`tags` is not known/);
});
