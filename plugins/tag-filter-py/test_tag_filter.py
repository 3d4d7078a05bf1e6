"""Natively: `PYTHONPATH=../kit-py python3 -m unittest`."""

import unittest

from tag_filter import TagFilter
from weir_plugin import PluginError
from weir_testing import Sample, bind

TAGS = ["UA", "DL", "ua", "U", "", None]
SAMPLES = [Sample(headers={} if tag is None else {"tag": tag}) for tag in TAGS]


def keeps(settings):
    return bind({"filter": TagFilter}, "filter", settings).run(SAMPLES)


class TagFilterTest(unittest.TestCase):
    def test_keeps_records_with_one_of_the_tags(self):
        self.assertEqual(keeps({"tags": "UA"}), [True, False, False, False, False, False])
        both = [True, True, False, False, False, False]
        self.assertEqual(keeps({"tags": "UA || DL"}), both)
        self.assertEqual(keeps({"tags": "UA||DL||UA"}), both)

    def test_a_star_keeps_everything(self):
        self.assertEqual(keeps({"tags": "*"}), [True] * 6)
        self.assertEqual(keeps({"tags": "UA || *"}), [True] * 6)

    def test_refuses_expressions_without_a_meaning(self):
        for tags in ("", "UA ||", "|| UA", "UA || \u3000 || DL"):
            with self.assertRaisesRegex(PluginError, "has an empty tag"):
                keeps({"tags": tags})
        with self.assertRaisesRegex(PluginError, "setting `tags` is missing"):
            keeps({})
        with self.assertRaisesRegex(PluginError, "setting `mode` is not known"):
            keeps({"tags": "UA", "mode": "x"})
        with self.assertRaisesRegex(PluginError, "setting `tags` was given twice"):
            keeps([("tags", "UA"), ("tags", "DL")])


if __name__ == "__main__":
    unittest.main()
