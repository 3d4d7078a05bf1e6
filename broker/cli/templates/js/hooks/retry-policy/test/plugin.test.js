import assert from "node:assert/strict";
import { test } from "node:test";
import { Plugin } from "../plugin.js";
import { bind } from "../weir/kit-js/testing.js";

test("waits longer each time and gives up", () => {
  const plugin = bind({ retryPolicy: Plugin }, "retryPolicy", { attempts: "3" });
  const failures = [1, 2, 3].map((attempt) => ({ attempt, message: "no answer" }));
  const expected = [{ delay: 1000 }, { delay: 2000 }, "dead-letter"];
  assert.deepEqual(plugin.run([{}, {}, {}], failures), expected);
});

test("refuses what is no number", () => {
  const many = () => bind({ retryPolicy: Plugin }, "retryPolicy", { attempts: "many" });
  assert.throws(many, /is no number/);
});
