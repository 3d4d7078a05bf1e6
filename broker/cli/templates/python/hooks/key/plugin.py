"""`{{name}}`: orders records by a field of their JSON body, which the setting `field` names."""

import json


class Plugin:
    def __init__(self, config, columns):
        # Only the columns that are asked for here are copied into the plugin.
        columns.value()
        self.field = config.require("field")

    def key(self, record):
        body = record.value()
        found = None if body is None else json.loads(body).get(self.field)
        return None if found is None else str(found)
