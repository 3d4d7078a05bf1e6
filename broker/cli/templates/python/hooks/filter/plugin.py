"""`{{name}}`: keeps the records whose header `tag` is the setting `tag`."""


class Plugin:
    def __init__(self, config, columns):
        # Only the columns that are asked for here are copied into the plugin.
        columns.header("tag")
        self.tag = config.require("tag").encode()

    def keep(self, record):
        return record.header("tag") == self.tag
