// Builds {{name}}.wasm out of component.js and what it imports.

import { readFileSync, writeFileSync } from "node:fs";
import { componentize } from "componentize-qjs";

const WORLDS = {
  filter: "filter-plugin",
  key: "ordering-key-plugin",
  route: "router-plugin",
  transform: "mapper-plugin",
  project: "mapper-plugin",
  "retry-policy": "retry-plugin",
};

const { component } = await componentize({
  witPath: "weir/wit",
  world: WORLDS["{{hook}}"],
  jsSource: readFileSync("component.js", "utf8"),
  jsPath: "component.js",
  moduleRoot: ".",
  stubWasi: true,
  sync: true,
});
writeFileSync("{{name}}.wasm", component);
