"""Natively: `PYTHONPATH=weir/kit-py python3 -m unittest`."""

import unittest

from plugin import Plugin
from weir_plugin import PluginError
from weir_testing import Sample, bind


class PluginTest(unittest.TestCase):
    def test_keeps_records_with_the_tag(self):
        plugin = bind({"filter": Plugin}, "filter", {"tag": "UA"})
        samples = [Sample(headers={"tag": "UA"}), Sample(headers={"tag": "DL"}), Sample()]
        self.assertEqual(plugin.run(samples), [True, False, False])

    def test_refuses_settings_that_it_does_not_know(self):
        for settings in ({}, {"tag": "UA", "tags": "DL"}):
            with self.assertRaises(PluginError):
                bind({"filter": Plugin}, "filter", settings)


if __name__ == "__main__":
    unittest.main()
