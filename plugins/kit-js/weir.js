// The kit for Weir plugins in JavaScript: records instead of columns, settings that are checked,
// one function that makes a component of classes. `testing.js` beside it runs a plugin natively.
//
// A plugin is a class per hook. Its constructor gets the settings and names the columns that it
// reads; one method answers for one record:
//
//     export class OnlyLate {
//       constructor(config, columns) {
//         this.minutes = Number(config.require("minutes"));
//         columns.value();
//       }
//       keep(record) {
//         return JSON.parse(text(record.value())).dep_delay > this.minutes;
//       }
//     }
//
// | hook        | class has                   | answer                                            |
// |-------------|-----------------------------|---------------------------------------------------|
// | filter      | keep(record)                | true or false                                     |
// | key         | key(record)                 | bytes or a string; null: needs no order           |
// | route       | route(record)               | names of declared routes; null or []: drops it    |
// | transform   | transform(record, out)      | what `out` was told; nothing: drops it            |
// | project     | project(record, view)       | what `view` was told; nothing: as it is           |
// | retryPolicy | decide(record, failure)     | { delay: ms }, "dead-letter" or "park-key"        |
//
// The constructor of a `route` gets the declared routes, an array of names, as third argument.
// Whatever a method throws is the error of that record; what a constructor throws refuses the
// binding. A record is valid during the call that it is given to, and no longer.

/** The length of a span that stands for "absent", and of one that stands for "as it was". */
const ABSENT = 0xffffffff;
const UNCHANGED = 0xfffffffe;
const ROUTES_MAX = 64;

/** What refuses a binding or a record, as a sentence for a person. */
export class PluginError extends Error {}

/** The bytes of a text. */
export function utf8(string) {
  const bytes = [];
  for (const character of string) {
    const code = character.codePointAt(0);
    if (code < 0x80) {
      bytes.push(code);
    } else if (code < 0x800) {
      bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    } else if (code < 0x10000) {
      bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    } else {
      bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63));
      bytes.push(0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    }
  }
  return new Uint8Array(bytes);
}

/** The text that bytes are; it throws where they are not UTF-8. */
export function text(bytes) {
  let percent = "";
  let plain = true;
  for (const byte of bytes) {
    plain &&= byte < 0x80;
  }
  if (plain) {
    // In pieces: the arguments of a call lie on the stack.
    for (let at = 0; at < bytes.length; at += 4096) {
      percent += String.fromCharCode.apply(null, bytes.subarray(at, at + 4096));
    }
    return percent;
  }
  for (const byte of bytes) {
    percent += `%${byte < 16 ? "0" : ""}${byte.toString(16)}`;
  }
  try {
    return decodeURIComponent(percent);
  } catch {
    throw new PluginError("the bytes are not UTF-8");
  }
}

/** Whether two arrays of bytes are equal. */
export function equal(one, other) {
  if (one.length !== other.length) return false;
  for (let at = 0; at < one.length; at++) {
    if (one[at] !== other[at]) return false;
  }
  return true;
}

/** The settings of a binding, and the check that each was understood. */
export class Config {
  #settings;
  #known = new Map();

  constructor(settings) {
    this.#settings = settings;
  }

  /** The setting, or undefined if it was not given. */
  optional(name) {
    if (!this.#known.has(name)) this.#known.set(name, false);
    return this.#given(name)[0];
  }

  /** The setting; it throws if it was not given. */
  require(name) {
    const value = this.optional(name);
    if (value === undefined) {
      throw new PluginError(`setting \`${name}\` is missing: bind with --config ${name}=…`);
    }
    return value;
  }

  /** All values of a setting that may be given several times. */
  every(name) {
    this.#known.set(name, true);
    return this.#given(name);
  }

  /** Refuses settings that nothing asked for, and those given twice that may not be. */
  finish() {
    const seen = new Set();
    for (const [name] of this.#settings) {
      if (!this.#known.has(name)) {
        const known = [...this.#known.keys()].join(", ") || "none";
        throw new PluginError(
          `setting \`${name}\` is not known; this plugin's settings: ${known}`,
        );
      }
      if (seen.has(name) && !this.#known.get(name)) {
        throw new PluginError(`setting \`${name}\` was given twice`);
      }
      seen.add(name);
    }
  }

  #given(name) {
    return this.#settings.filter(([given]) => given === name).map(([, value]) => value);
  }
}

/** The columns that the host supplies: those that were asked for, and no others. */
export class Columns {
  projection = { key: false, value: false, timestamp: false, headers: [] };

  key() {
    this.projection.key = true;
    return this;
  }

  value() {
    this.projection.value = true;
    return this;
  }

  timestamp() {
    this.projection.timestamp = true;
    return this;
  }

  header(name) {
    if (!this.projection.headers.includes(name)) this.projection.headers.push(name);
    return this;
  }
}

/** One record of a batch. There is one of these per batch, which moves on. */
class Record {
  #batch;
  #asked;
  #headers = new Map();
  #index = 0;

  constructor(batch, asked) {
    this.#batch = batch;
    this.#asked = asked;
    const before = Number(asked.key) + Number(asked.value);
    asked.headers.forEach((name, at) => this.#headers.set(name, before + at));
  }

  /** Its position in the batch; of no use to a plugin. */
  get index() {
    return this.#index;
  }

  moveTo(index) {
    this.#index = index;
    return this;
  }

  /** The producer's timestamp, a BigInt of milliseconds since the Unix epoch. */
  timestamp() {
    if (!this.#asked.timestamp) throw new PluginError("ask for columns.timestamp() first");
    return BigInt(this.#batch.timestamps[this.#index]);
  }

  /** The key's bytes, or null. */
  key() {
    if (!this.#asked.key) throw new PluginError("ask for columns.key() first");
    return this.#bytes(0);
  }

  /** The value's bytes; null for a tombstone. */
  value() {
    if (!this.#asked.value) throw new PluginError("ask for columns.value() first");
    return this.#bytes(Number(this.#asked.key));
  }

  /** The bytes of the last header of that name, or null. */
  header(name) {
    return this.#bytes(this.#column(name));
  }

  /** Whether the record has that header with these bytes: quicker than to get and compare it. */
  headerIs(name, bytes) {
    const { spans, arena, count } = this.#batch;
    const at = 2 * (this.#column(name) * count + this.#index);
    if (spans[at + 1] !== bytes.length) return false;
    const start = spans[at];
    for (let byte = 0; byte < bytes.length; byte++) {
      if (arena[start + byte] !== bytes[byte]) return false;
    }
    return true;
  }

  #column(name) {
    const column = this.#headers.get(name);
    if (column === undefined) throw new PluginError(`ask for columns.header("${name}") first`);
    return column;
  }

  #bytes(column) {
    const { spans, arena, count } = this.#batch;
    const at = 2 * (column * count + this.#index);
    const length = spans[at + 1];
    // The tool passes numbers of 32 bits with a sign.
    return length >>> 0 === ABSENT ? null : arena.subarray(spans[at], spans[at] + length);
  }
}

/** What becomes of the records of a batch; `transform` gets it. */
class Outputs {
  source = [];
  rejected = [];
  headers = [];
  #spans = [];
  #data = [];

  /** The record goes on as it is. */
  keep(record) {
    this.push(record);
  }

  /** The record goes on changed, once more for each call. */
  push(record) {
    const output = this.source.push(record.index) - 1;
    this.#spans.push(0, UNCHANGED, 0, UNCHANGED);
    return new Output(this, output);
  }

  /** The record is refused: its producer sees the reason. It must have no outputs. */
  reject(record, reason) {
    this.rejected.push([record.index, reason]);
  }

  change(output, place, value) {
    const bytes = typeof value === "string" ? utf8(value) : value;
    const at = 4 * output + place;
    this.#spans[at] = this.#data.length;
    this.#spans[at + 1] = bytes === null ? ABSENT : bytes.length;
    for (const byte of bytes ?? []) this.#data.push(byte);
  }

  mapped() {
    // Numbers above 2^31, and BigInts, are passed rightly in typed arrays only.
    return {
      source: new Uint32Array(this.source),
      data: new Uint8Array(this.#data),
      spans: new Uint32Array(this.#spans),
      headers: this.headers,
      rejected: this.rejected,
    };
  }
}

/** One output of `transform`, or what `project` changes. Values are bytes, strings or null. */
class Output {
  #outputs;
  #output;

  constructor(outputs, output) {
    this.#outputs = outputs;
    this.#output = output;
  }

  key(value) {
    this.#outputs.change(this.#output, 0, value);
    return this;
  }

  value(value) {
    this.#outputs.change(this.#output, 2, value);
    return this;
  }

  /** The output has this header once, with this value. */
  header(name, value) {
    const bytes = typeof value === "string" ? utf8(value) : value;
    this.#outputs.headers.push({ output: this.#output, name, value: bytes });
    return this;
  }

  removeHeader(name) {
    this.#outputs.headers.push({ output: this.#output, name, value: null });
    return this;
  }
}

/** How each hook turns a batch and its records into an answer. */
const ANSWERS = {
  filter(plugin, batch, record) {
    const kept = new Uint8Array(batch.count);
    for (let index = 0; index < batch.count; index++) {
      if (plugin.keep(record.moveTo(index))) kept[index] = 1;
    }
    return kept;
  },

  key(plugin, batch, record) {
    const spans = [];
    const arena = [];
    for (let index = 0; index < batch.count; index++) {
      const key = plugin.key(record.moveTo(index));
      if (key === null || key === undefined) {
        spans.push(0, ABSENT);
        continue;
      }
      const bytes = typeof key === "string" ? utf8(key) : key;
      spans.push(arena.length, bytes.length);
      for (const byte of bytes) arena.push(byte);
    }
    return { arena: new Uint8Array(arena), spans: new Uint32Array(spans) };
  },

  route(plugin, batch, record, routes) {
    const sets = new BigUint64Array(batch.count);
    for (let index = 0; index < batch.count; index++) {
      const named = plugin.route(record.moveTo(index)) ?? [];
      let set = 0n;
      for (const name of typeof named === "string" ? [named] : named) {
        const route = routes.indexOf(name);
        if (route < 0) throw new PluginError(`no route is declared as \`${name}\``);
        set |= 1n << BigInt(route);
      }
      sets[index] = set;
    }
    return sets;
  },

  transform(plugin, batch, record) {
    const out = new Outputs();
    for (let index = 0; index < batch.count; index++) {
      plugin.transform(record.moveTo(index), out);
    }
    return out.mapped();
  },

  project(plugin, batch, record) {
    const out = new Outputs();
    for (let index = 0; index < batch.count; index++) {
      plugin.project(record.moveTo(index), out.push(record));
    }
    return out.mapped();
  },

  retryPolicy(plugin, batch, record, routes, failures) {
    const decisions = [];
    for (let index = 0; index < batch.count; index++) {
      const decision = plugin.decide(record.moveTo(index), failures[index]);
      decisions.push(
        typeof decision === "string"
          ? { tag: decision }
          : { tag: "delay", val: decision.delay },
      );
    }
    return decisions;
  },
};

/**
 * The exports of a component: `hooks` names the class of each hook that it has, `log` is the
 * host's. Of what comes back, a component exports `lifecycle` and the interfaces of its hooks:
 *
 *     export const { lifecycle, filter } = component({ filter: OnlyLate }, log);
 */
export function component(hooks, log) {
  let serving;

  function configure(hook, settings, routes) {
    const name = hook === "retry-policy" ? "retryPolicy" : hook;
    const Plugin = hooks[name];
    if (Plugin === undefined) {
      const words = Object.keys(hooks).map((own) => (own === "retryPolicy" ? "retry-policy" : own));
      const has = words.join(", ");
      throw new PluginError(`this component has no hook ${hook}; bind it as what it has: ${has}`);
    }
    if (routes.length > ROUTES_MAX) {
      throw new PluginError(`a binding has at most ${ROUTES_MAX} routes`);
    }
    const config = new Config(settings);
    const columns = new Columns();
    const plugin = new Plugin(config, columns, routes);
    config.finish();
    serving = { name, plugin, routes, asked: columns.projection };
    return columns.projection;
  }

  function answer(batch, failures) {
    if (serving === undefined) throw new PluginError("configure was not called");
    const record = new Record(batch, serving.asked);
    return ANSWERS[serving.name](serving.plugin, batch, record, serving.routes, failures);
  }

  // What is thrown across the boundary has to be the sentence itself.
  const told = (run) => (...given) => {
    try {
      return run(...given);
    } catch (error) {
      if (!(error instanceof PluginError)) log("error", `${error}\n${error?.stack ?? ""}`);
      throw error instanceof PluginError ? error.message : String(error);
    }
  };

  const run = told(answer);
  return {
    lifecycle: { configure: told(configure) },
    filter: { filter: run },
    orderingKey: { keys: run },
    router: { route: run },
    mapper: { apply: run },
    retry: { decide: run },
  };
}
