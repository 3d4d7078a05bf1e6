"""What becomes the component; `plugin.py` is the plugin, which knows nothing of WebAssembly."""

import weir_component
from plugin import Plugin

_exports = weir_component.exports(route=Plugin)
Lifecycle = _exports.Lifecycle
Router = _exports.Router
