import assert from "node:assert/strict";
import { test } from "node:test";
import { bind } from "../testing.js";
import { PluginError, equal, text, utf8 } from "../weir.js";

test("texts and bytes", () => {
  for (const sample of ["", "UA", "Zürich", "日本🛫", "x".repeat(10_000)]) {
    assert.equal(text(utf8(sample)), sample);
    assert.deepEqual([...utf8(sample)], [...Buffer.from(sample)]);
  }
  assert.throws(() => text(new Uint8Array([0xff])), /not UTF-8/);
  assert.ok(equal(utf8("ab"), utf8("ab")) && !equal(utf8("ab"), utf8("abc")));
});

class Everything {
  constructor(config, columns) {
    this.values = config.every("is");
    columns.key().value().timestamp().header("a").header("b").header("a");
  }
  keep(record) {
    const parts = [record.key(), record.value(), record.header("a"), record.header("b")];
    const found = parts.map((part) => (part === null ? "-" : text(part)));
    return this.values.includes([...found, record.timestamp()].join(","));
  }
}

test("a record has the columns that were asked for", () => {
  const is = [["is", "k,v,-,2,7"], ["is", "-,-,1,-,0"]];
  const plugin = bind({ filter: Everything }, "filter", is);
  assert.deepEqual(plugin.asked.headers, ["a", "b"]);
  const whole = { key: "k", value: "v", timestamp: 7, headers: { b: "2" } };
  assert.deepEqual(plugin.run([whole, { headers: { a: "1" } }, {}]), [true, true, false]);

  class Greedy {
    keep(record) {
      return record.header("tag") === null;
    }
  }
  assert.throws(() => bind({ filter: Greedy }, "filter").run([{}]), /columns.header\("tag"\) first/);
});

const field = (name) => (record) => JSON.parse(text(record.value()))[name];

class ByField {
  constructor(config, columns) {
    columns.value();
    this.key = field(config.require("field"));
    this.route = this.key;
  }
}

test("keys", () => {
  const plugin = bind({ key: ByField }, "key", { field: "k" });
  const bodies = ['{"k":"a"}', "{}", '{"k":null}', '{"k":""}', '{"k":"bcd"}'];
  const keys = plugin.run(bodies.map((value) => ({ value })));
  assert.deepEqual(keys, ["a", null, null, "", "bcd"]);
});

test("routes", () => {
  const names = Array.from({ length: 64 }, (_, at) => `r${at}`);
  const plugin = bind({ route: ByField }, "route", { field: "to" }, names);
  const run = (to) => plugin.run([{ value: JSON.stringify({ to }) }])[0];
  assert.deepEqual(run("r63"), ["r63"]);
  assert.deepEqual(run(["r0", "r63", "r0"]), ["r0", "r63"]);
  assert.deepEqual(run([]), []);
  assert.throws(() => run("nowhere"), /no route is declared as `nowhere`/);
});

class Halves {
  constructor(config, columns) {
    columns.value();
  }
  transform(record, out) {
    const value = record.value();
    if (value === null) return out.reject(record, "nothing to halve");
    if (value.length === 0) return;
    const half = value.length >> 1;
    out.push(record).value(value.subarray(0, half)).header("half", "1").removeHeader("x");
    out.push(record).key(null).value(value.subarray(half)).header("x", "9");
  }
  project(record, view) {
    if (record.value() !== null) view.value("***");
  }
}

test("transforms and projections", () => {
  const records = [{ key: "k", value: "abcd", headers: { x: "1" } }, {}, { value: "" }];
  const outputs = bind({ transform: Halves }, "transform").run(records);
  assert.deepEqual(outputs, [
    [
      { key: "k", value: "ab", headers: { half: "1" } },
      { key: null, value: "cd", headers: { x: "9" } },
    ],
    { rejected: "nothing to halve" },
    [],
  ]);
  const views = bind({ project: Halves }, "project").run(records);
  assert.deepEqual(views.map((view) => view.value), ["***", null, "***"]);
  assert.deepEqual(views.map((view) => view.key), ["k", null, null]);
});

test("retry policies", () => {
  class Patient {
    decide(record, failure) {
      if (failure.message === "order") return "park-key";
      return failure.attempt > 2 ? "dead-letter" : { delay: 100 * failure.attempt };
    }
  }
  const failures = [1, 2, 3].map((attempt) => ({ attempt, message: "" }));
  failures.push({ attempt: 1, message: "order" });
  const decisions = bind({ retryPolicy: Patient }, "retryPolicy").run([{}, {}, {}, {}], failures);
  assert.deepEqual(decisions, [{ delay: 100 }, { delay: 200 }, "dead-letter", "park-key"]);
});

test("what a plugin throws is told", () => {
  const throwing = (error) =>
    class {
      keep() {
        throw error;
      }
    };
  const run = (error) => () => bind({ filter: throwing(error) }, "filter").run([{}]);
  assert.throws(run(new PluginError("too late")), { message: "too late" });
  assert.throws(run(new TypeError("no such thing")), { message: "TypeError: no such thing" });
  const other = /has no hook key; bind it as what it has: filter, retry-policy/;
  assert.throws(() => bind({ filter: Halves, retryPolicy: Halves }, "key"), other);
});
