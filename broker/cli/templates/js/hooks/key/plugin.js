// `{{name}}`: orders records by a field of their JSON body, which the setting `field` names.

import { text } from "./weir/kit-js/weir.js";

export class Plugin {
  constructor(config, columns) {
    // Only the columns that are asked for here are copied into the plugin.
    columns.value();
    this.field = config.require("field");
  }

  key(record) {
    const body = record.value();
    if (body === null) return null;
    const found = JSON.parse(text(body))[this.field] ?? null;
    return found === null ? null : String(found);
  }
}
