"""`{{name}}`: sends a record to the route that is called like a field of its JSON body, which the
setting `field` names; to the route `*` if there is no such route.
"""

import json

from weir_plugin import PluginError


class Plugin:
    def __init__(self, config, columns, routes):
        # Only the columns that are asked for here are copied into the plugin.
        columns.value()
        self.field = config.require("field")
        self.routes = set(routes)

    def route(self, record):
        body = record.value()
        if body is None:
            raise PluginError("the record has no body")
        found = str(json.loads(body).get(self.field))
        for name in (found, "*"):
            if name in self.routes:
                return name
        raise PluginError(f"no route for this {self.field}, and no `*`")
