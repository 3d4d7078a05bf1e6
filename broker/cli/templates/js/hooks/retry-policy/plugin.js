// `{{name}}`: tries a failed delivery again, a second later and twice as late each time, and gives up
// after as many deliveries as the setting `attempts` says.

import { PluginError } from "./weir/kit-js/weir.js";

const FIRST_MS = 1000;
const LONGEST_MS = 3_600_000;

export class Plugin {
  constructor(config) {
    const attempts = config.require("attempts");
    if (!/^\d+$/.test(attempts)) {
      throw new PluginError(`setting \`attempts=${attempts}\` is no number`);
    }
    this.attempts = Number(attempts);
  }

  decide(record, failure) {
    if (failure.attempt >= this.attempts) return "dead-letter";
    return { delay: Math.min(FIRST_MS * 2 ** (failure.attempt - 1), LONGEST_MS) };
  }
}
