// `{{name}}`: keeps the records whose header `tag` is the setting `tag`.

import { utf8 } from "./weir/kit-js/weir.js";

export class Plugin {
  constructor(config, columns) {
    // Only the columns that are asked for here are copied into the plugin.
    columns.header("tag");
    this.tag = utf8(config.require("tag"));
  }

  keep(record) {
    return record.headerIs("tag", this.tag);
  }
}
