"""Natively: `PYTHONPATH=weir/kit-py python3 -m unittest`."""

import unittest

from plugin import Plugin
from weir_testing import Sample, bind


class PluginTest(unittest.TestCase):
    def setUp(self):
        self.plugin = bind({"transform": Plugin}, "transform", {"field": "carrier"})

    def test_tags_records(self):
        body = b'{"carrier":"UA"}'
        expected = Sample(value=body, headers={"tag": b"UA"})
        self.assertEqual(self.plugin.run([Sample(value=body)]), [[expected]])

    def test_refuses_records_without_the_field(self):
        outputs = self.plugin.run([Sample(value="{}"), Sample()])
        self.assertEqual(outputs, ["it has no carrier"] * 2)


if __name__ == "__main__":
    unittest.main()
