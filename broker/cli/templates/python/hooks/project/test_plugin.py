"""Natively: `PYTHONPATH=weir/kit-py python3 -m unittest`."""

import unittest

from plugin import Plugin
from weir_testing import Sample, bind


class PluginTest(unittest.TestCase):
    def seen(self, body):
        plugin = bind({"project": Plugin}, "project", {"field": "tailnum"})
        return plugin.run([Sample(value=body)])[0].value

    def test_hides_the_field(self):
        body = '{"flight": 1, "tailnum": "N14228"}'
        self.assertEqual(self.seen(body), b'{"flight": 1, "tailnum": "***"}')

    def test_leaves_other_records_as_they_are(self):
        self.assertEqual(self.seen("{}"), b"{}")
        self.assertIsNone(self.seen(None))


if __name__ == "__main__":
    unittest.main()
