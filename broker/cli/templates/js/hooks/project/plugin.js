// `{{name}}`: hides a field of JSON bodies, which the setting `field` names, from a subscriber.
// What is stored stays as it is.

import { text } from "./weir/kit-js/weir.js";

export class Plugin {
  constructor(config, columns) {
    // Only the columns that are asked for here are copied into the plugin.
    columns.value();
    this.field = config.require("field");
  }

  project(record, view) {
    const body = record.value();
    if (body === null) return;
    const parsed = JSON.parse(text(body));
    if (!(this.field in parsed)) return;
    parsed[this.field] = "***";
    view.value(JSON.stringify(parsed));
  }
}
