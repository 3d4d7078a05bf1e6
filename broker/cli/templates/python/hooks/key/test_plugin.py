"""Natively: `PYTHONPATH=weir/kit-py python3 -m unittest`."""

import unittest

from plugin import Plugin
from weir_testing import Sample, bind


class PluginTest(unittest.TestCase):
    def test_takes_the_field(self):
        plugin = bind({"key": Plugin}, "key", {"field": "tailnum"})
        samples = [Sample(value='{"tailnum":"N14228"}'), Sample(value="{}"), Sample()]
        self.assertEqual(plugin.run(samples), [b"N14228", None, None])

    def test_a_body_that_is_no_json_is_an_error_of_that_record(self):
        plugin = bind({"key": Plugin}, "key", {"field": "tailnum"})
        with self.assertRaises(ValueError):
            plugin.run([Sample(value="no json")])


if __name__ == "__main__":
    unittest.main()
