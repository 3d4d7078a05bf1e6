// RocketMQ's tag expression on the header `tag`, as `tag-filter` in Rust: config `tags=UA || DL`;
// `*` is every record, with a tag or without.

import { PluginError, utf8 } from "../kit-js/weir.js";

// What Rust's `trim` removes, which differs from JavaScript's in two characters.
const SPACE_AROUND = /^\p{White_Space}+|\p{White_Space}+$/gu;

export class TagFilter {
  constructor(config, columns) {
    const expression = config.require("tags");
    const tags = expression.split("||").map((tag) => tag.replace(SPACE_AROUND, ""));
    if (tags.includes("")) {
      throw new PluginError(
        `setting \`tags=${expression}\` has an empty tag: write tags=A || B, or tags=* for all`,
      );
    }
    this.all = tags.includes("*");
    this.tags = tags.map(utf8);
    if (!this.all) columns.header("tag");
  }

  keep(record) {
    return this.all || this.tags.some((tag) => record.headerIs("tag", tag));
  }
}
