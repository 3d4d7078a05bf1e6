"""`{{name}}`: hides a field of JSON bodies, which the setting `field` names, from a subscriber. What
is stored stays as it is.
"""

import json


class Plugin:
    def __init__(self, config, columns):
        # Only the columns that are asked for here are copied into the plugin.
        columns.value()
        self.field = config.require("field")

    def project(self, record, view):
        parsed = json.loads(record.value() or b"{}")
        if self.field in parsed:
            parsed[self.field] = "***"
            view.value(json.dumps(parsed))
