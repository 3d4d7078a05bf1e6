// What becomes the component; `plugin.js` is the plugin, which knows nothing of WebAssembly.

import { log } from "weir:plugin/host@1.0.0";
import { component } from "../kit-js/weir.js";
import { TagFilter } from "./plugin.js";

export const { lifecycle, filter } = component({ filter: TagFilter }, log);
