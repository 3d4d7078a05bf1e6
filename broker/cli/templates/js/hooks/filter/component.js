// What becomes the component; `plugin.js` is the plugin, which knows nothing of WebAssembly.

import { log } from "weir:plugin/host@1.0.0";
import { Plugin } from "./plugin.js";
import { component } from "./weir/kit-js/weir.js";

export const { lifecycle, filter } = component({ filter: Plugin }, log);
