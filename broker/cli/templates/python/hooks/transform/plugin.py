"""`{{name}}`: tags records with a field of their JSON body, which the setting `field` names, and
refuses records that do not have it.
"""

import json


class Plugin:
    def __init__(self, config, columns):
        # Only the columns that are asked for here are copied into the plugin. What it passes on
        # unchanged it need not ask for.
        columns.value()
        self.field = config.require("field")

    def transform(self, record, out):
        found = json.loads(record.value() or b"{}").get(self.field)
        if found is None:
            out.reject(record, f"it has no {self.field}")
        else:
            out.push(record).header("tag", str(found))
