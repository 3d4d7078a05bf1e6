"""Natively: `PYTHONPATH=weir/kit-py python3 -m unittest`."""

import unittest

from plugin import Plugin
from weir_plugin import DEAD_LETTER, PluginError
from weir_testing import Failure, Sample, bind


class PluginTest(unittest.TestCase):
    def test_waits_longer_each_time_and_gives_up(self):
        plugin = bind({"retry_policy": Plugin}, "retry_policy", {"attempts": "3"})
        failures = [Failure(attempt, "no answer") for attempt in (1, 2, 3)]
        self.assertEqual(plugin.run([Sample()] * 3, failures), [1000, 2000, DEAD_LETTER])

    def test_refuses_what_is_no_number(self):
        with self.assertRaises(PluginError):
            bind({"retry_policy": Plugin}, "retry_policy", {"attempts": "many"})


if __name__ == "__main__":
    unittest.main()
