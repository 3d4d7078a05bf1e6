// `{{name}}`: tags records with a field of their JSON body, which the setting `field` names, and
// refuses records that do not have it.

import { text } from "./weir/kit-js/weir.js";

export class Plugin {
  constructor(config, columns) {
    // Only the columns that are asked for here are copied into the plugin. What it passes on
    // unchanged it need not ask for.
    columns.value();
    this.field = config.require("field");
  }

  transform(record, out) {
    const body = record.value();
    const found = body === null ? undefined : JSON.parse(text(body))[this.field];
    if (found === undefined || found === null) {
      out.reject(record, `it has no ${this.field}`);
    } else {
      out.push(record).header("tag", String(found));
    }
  }
}
