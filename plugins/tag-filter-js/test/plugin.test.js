import assert from "node:assert/strict";
import { test } from "node:test";
import { bind } from "../../kit-js/testing.js";
import { TagFilter } from "../plugin.js";

const TAGS = ["UA", "DL", "ua", "U", "", null].map((tag) => ({ headers: tag === null ? {} : { tag } }));
const keeps = (tags) => bind({ filter: TagFilter }, "filter", { tags }).run(TAGS);

test("keeps records with one of the tags", () => {
  assert.deepEqual(keeps("UA"), [true, false, false, false, false, false]);
  assert.deepEqual(keeps("UA || DL"), [true, true, false, false, false, false]);
  assert.deepEqual(keeps("UA||DL||UA"), [true, true, false, false, false, false]);
});

test("a star keeps everything", () => {
  assert.deepEqual(keeps("*"), Array(6).fill(true));
  assert.deepEqual(keeps("UA || *"), Array(6).fill(true));
});

test("refuses expressions without a meaning", () => {
  for (const tags of ["", "UA ||", "|| UA", "UA || \u3000 || DL"]) {
    assert.throws(() => keeps(tags), /has an empty tag/);
  }
  const refused = (settings) => () => bind({ filter: TagFilter }, "filter", settings);
  assert.throws(refused({}), /setting `tags` is missing/);
  assert.throws(refused({ tags: "UA", mode: "x" }), /setting `mode` is not known/);
  assert.throws(refused([["tags", "UA"], ["tags", "DL"]]), /setting `tags` was given twice/);
});
