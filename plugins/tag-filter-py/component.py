"""What becomes the component; `tag_filter.py` is the plugin, which knows nothing of WebAssembly."""

import weir_component
from tag_filter import TagFilter

_exports = weir_component.exports(filter=TagFilter)
Lifecycle = _exports.Lifecycle
Filter = _exports.Filter
