// Runs a plugin natively, with the same columns and the same checks as in a broker:
//
//     const plugin = bind({ filter: OnlyLate }, "filter", { minutes: "15" });
//     plugin.run([{ value: '{"dep_delay":20}' }])      // [true]
//
// Used with Node's own test runner; nothing has to be installed.

import { component, text, utf8 } from "./weir.js";

const ABSENT = 0xffffffff;
const UNCHANGED = 0xfffffffe;
const INTERFACES = {
  filter: ["filter", "filter"],
  key: ["orderingKey", "keys"],
  route: ["router", "route"],
  transform: ["mapper", "apply"],
  project: ["mapper", "apply"],
  retryPolicy: ["retry", "decide"],
};

/**
 * Binds as a broker does. `settings` is an object, or pairs where a name occurs twice. Refusals
 * are thrown as an Error with the plugin's sentence.
 */
export function bind(hooks, hook, settings = {}, routes = []) {
  const pairs = Array.isArray(settings) ? settings : Object.entries(settings);
  const exports = component(hooks, () => {});
  const word = hook === "retryPolicy" ? "retry-policy" : hook;
  const asked = thrown(() => exports.lifecycle.configure(word, pairs, routes));
  const [face, name] = INTERFACES[hook];
  const call = (batch, failures) => thrown(() => exports[face][name](batch, failures));
  return {
    asked,
    /**
     * What becomes of each record; a record is { key, value, timestamp, headers }, all optional,
     * texts or bytes. `failures` are { attempt, message }, for a retry policy.
     */
    run(records, failures = []) {
      const batch = columns(records, asked);
      return READERS[hook](call(batch, failures), records, batch, routes);
    },
  };
}

function thrown(run) {
  try {
    return run();
  } catch (error) {
    throw typeof error === "string" ? new Error(error) : error;
  }
}

const bytes = (value) => (typeof value === "string" ? utf8(value) : value);

/** The batch as the host would pass it. */
function columns(records, asked) {
  const arena = [];
  const spans = [];
  const column = (pick) => {
    for (const record of records) {
      const value = bytes(pick(record) ?? null);
      // With a sign, as componentize-qjs passes numbers of 32 bits.
      spans.push(value === null ? 0 : arena.length, value === null ? ABSENT | 0 : value.length);
      arena.push(...(value ?? []));
    }
  };
  if (asked.key) column((record) => record.key);
  if (asked.value) column((record) => record.value);
  for (const name of asked.headers) column((record) => record.headers?.[name]);
  const timestamps = asked.timestamp
    ? records.map((record) => BigInt(record.timestamp ?? 0))
    : null;
  return { count: records.length, arena: new Uint8Array(arena), spans, timestamps };
}

/** How the answers of the hooks are read. */
const READERS = {
  filter: (kept) => Array.from(kept, (one) => one === 1),
  key: (keys, records, batch) => {
    const arena = keys.arena.length === 0 ? batch.arena : keys.arena;
    return records.map((_, at) => piece(arena, keys.spans, 2 * at));
  },
  route: (sets, records, batch, routes) =>
    Array.from(sets, (set) => routes.filter((_, at) => (set >> BigInt(at)) & 1n)),
  transform: mapped,
  project: (answer, records) => mapped(answer, records).map((outputs) => outputs[0]),
  retryPolicy: (decisions) =>
    decisions.map(({ tag, val }) => (tag === "delay" ? { delay: Number(val) } : tag)),
};

function piece(arena, spans, at) {
  if (spans[at + 1] === ABSENT) return null;
  return text(arena.subarray(spans[at], spans[at] + spans[at + 1]));
}

/** Per record its outputs, or { rejected }. Texts, where the plugin changed something. */
function mapped(answer, records) {
  const outputs = records.map(() => []);
  answer.source.forEach((source, output) => {
    const record = records[source];
    const part = (name, place) => {
      const at = 4 * output + place;
      const same = answer.spans[at + 1] === UNCHANGED;
      return same ? (record[name] ?? null) : piece(answer.data, answer.spans, at);
    };
    const headers = { ...record.headers };
    for (const change of answer.headers) {
      if (change.output !== output) continue;
      delete headers[change.name];
      if (change.value !== null) headers[change.name] = text(change.value);
    }
    outputs[source].push({ key: part("key", 0), value: part("value", 2), headers });
  });
  for (const [index, rejected] of answer.rejected) outputs[index] = { rejected };
  return outputs;
}
