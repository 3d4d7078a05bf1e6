// `{{name}}`: sends a record to the route that is called like a field of its JSON body, which the
// setting `field` names; to the route `*` if there is no such route.

import { PluginError, text } from "./weir/kit-js/weir.js";

export class Plugin {
  constructor(config, columns, routes) {
    // Only the columns that are asked for here are copied into the plugin.
    columns.value();
    this.field = config.require("field");
    this.routes = new Set(routes);
  }

  route(record) {
    const body = record.value();
    if (body === null) throw new PluginError("the record has no body");
    const found = String(JSON.parse(text(body))[this.field]);
    if (this.routes.has(found)) return found;
    if (this.routes.has("*")) return "*";
    throw new PluginError(`no route for this ${this.field}, and no \`*\``);
  }
}
