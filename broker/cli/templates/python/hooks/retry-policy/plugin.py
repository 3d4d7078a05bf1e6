"""`{{name}}`: tries a failed delivery again, a second later and twice as late each time, and gives up
after as many deliveries as the setting `attempts` says.
"""

from weir_plugin import DEAD_LETTER, PluginError

FIRST_MS = 1_000
LONGEST_MS = 3_600_000


class Plugin:
    def __init__(self, config, columns):
        attempts = config.require("attempts")
        if not attempts.isdecimal():
            raise PluginError(f"setting `attempts={attempts}` is no number")
        self.attempts = int(attempts)

    def decide(self, record, failure):
        if failure.attempt >= self.attempts:
            return DEAD_LETTER
        # Past the longest delay the exact power does not matter.
        return min(FIRST_MS << min(failure.attempt - 1, 30), LONGEST_MS)
