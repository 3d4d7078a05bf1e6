"""Natively: `PYTHONPATH=weir/kit-py python3 -m unittest`."""

import unittest

from plugin import Plugin
from weir_plugin import PluginError
from weir_testing import Sample, bind


def run(routes, sample):
    return bind({"route": Plugin}, "route", {"field": "origin"}, routes).run([sample])[0]


class PluginTest(unittest.TestCase):
    def test_takes_the_route_of_that_name(self):
        self.assertEqual(run(["JFK", "*"], Sample(value='{"origin":"JFK"}')), ["JFK"])
        self.assertEqual(run(["JFK", "*"], Sample(value='{"origin":"EWR"}')), ["*"])

    def test_what_has_no_route_is_an_error_of_that_record(self):
        for sample in (Sample(value='{"origin":"EWR"}'), Sample()):
            with self.assertRaises(PluginError):
                run(["JFK"], sample)


if __name__ == "__main__":
    unittest.main()
