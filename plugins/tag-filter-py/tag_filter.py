"""RocketMQ's tag expression on the header `tag`, as `tag-filter` in Rust: config `tags=UA || DL`;
`*` is every record, with a tag or without.
"""

from weir_plugin import PluginError

# What Rust's `trim` removes; Python's `strip` would remove four control characters besides.
SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
SPACE += "\u2028\u2029\u202f\u205f\u3000"


class TagFilter:
    def __init__(self, config, columns):
        expression = config.require("tags")
        tags = [tag.strip(SPACE) for tag in expression.split("||")]
        if "" in tags:
            raise PluginError(
                f"setting `tags={expression}` has an empty tag: "
                "write tags=A || B, or tags=* for all"
            )
        self.all = "*" in tags
        self.tags = {tag.encode() for tag in tags}
        if not self.all:
            columns.header("tag")

    def keep(self, record):
        return self.all or record.header("tag") in self.tags
