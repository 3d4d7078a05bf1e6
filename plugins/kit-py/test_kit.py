"""Natively: `python3 -m unittest`."""

import json
import unittest

from weir_plugin import DEAD_LETTER, PARK_KEY, PluginError
from weir_testing import Failure, Sample, bind


class Everything:
    def __init__(self, config, columns):
        self.values = config.every("is")
        columns.key().value().timestamp().header("a").header("b").header("a")

    def keep(self, record):
        parts = [record.key(), record.value(), record.header("a"), record.header("b")]
        found = ["-" if part is None else part.decode() for part in parts]
        return ",".join([*found, str(record.timestamp())]) in self.values


class Greedy:
    def __init__(self, config, columns):
        pass

    def keep(self, record):
        return record.header("tag") is None


class ByField:
    def __init__(self, config, columns, routes=()):
        columns.value()
        self.field = config.require("field")

    def key(self, record):
        return json.loads(record.value()).get(self.field)

    route = key


class Halves:
    def __init__(self, config, columns):
        columns.value()

    def transform(self, record, out):
        value = record.value()
        if value is None:
            out.reject(record, "nothing to halve")
        elif value:
            half = len(value) // 2
            out.push(record).value(value[:half]).header("half", "1").remove_header("x")
            out.push(record).key(None).value(value[half:]).header("x", "9")

    def project(self, record, view):
        if record.value() is not None:
            view.value("***")


class Patient:
    def __init__(self, config, columns):
        pass

    def decide(self, record, failure):
        if failure.message == "order":
            return PARK_KEY
        return DEAD_LETTER if failure.attempt > 2 else 100 * failure.attempt


class KitTest(unittest.TestCase):
    def test_a_record_has_the_columns_that_were_asked_for(self):
        settings = [("is", "k,v,-,2,7"), ("is", "-,-,1,-,0")]
        plugin = bind({"filter": Everything}, "filter", settings)
        whole = Sample(key="k", value="v", timestamp=7, headers={"b": "2"})
        samples = [whole, Sample(headers={"a": "1"}), Sample()]
        self.assertEqual(plugin.run(samples), [True, True, False])
        with self.assertRaisesRegex(PluginError, r'ask for columns.header\("tag"\) first'):
            bind({"filter": Greedy}, "filter").run([Sample()])

    def test_keys(self):
        plugin = bind({"key": ByField}, "key", {"field": "k"})
        bodies = ['{"k":"a"}', "{}", '{"k":null}', '{"k":""}', '{"k":"bcd"}']
        keys = plugin.run([Sample(value=body) for body in bodies])
        self.assertEqual(keys, [b"a", None, None, b"", b"bcd"])

    def test_routes(self):
        names = [f"r{at}" for at in range(64)]
        plugin = bind({"route": ByField}, "route", {"field": "to"}, names)

        def run(to):
            return plugin.run([Sample(value=json.dumps({"to": to}))])[0]

        self.assertEqual(run("r63"), ["r63"])
        self.assertEqual(run(["r0", "r63", "r0"]), ["r0", "r63"])
        self.assertEqual(run([]), [])
        self.assertEqual(run(None), [])
        with self.assertRaisesRegex(PluginError, "no route is declared as `nowhere`"):
            run("nowhere")

    def test_transforms_and_projections(self):
        whole = Sample(key="k", value="abcd", headers={"x": "1"})
        samples = [whole, Sample(), Sample(value="")]
        outputs = bind({"transform": Halves}, "transform").run(samples)
        halves = [
            Sample(b"k", b"ab", headers={"half": b"1"}),
            Sample(None, b"cd", headers={"x": b"9"}),
        ]
        self.assertEqual(outputs, [halves, "nothing to halve", []])
        views = bind({"project": Halves}, "project").run(samples)
        self.assertEqual([view.value for view in views], [b"***", None, b"***"])
        self.assertEqual([view.key for view in views], [b"k", None, None])

    def test_retry_policies(self):
        failures = [Failure(1), Failure(2), Failure(3), Failure(1, "order")]
        plugin = bind({"retry_policy": Patient}, "retry_policy")
        decisions = plugin.run([Sample()] * 4, failures)
        self.assertEqual(decisions, [100, 200, DEAD_LETTER, PARK_KEY])

    def test_a_hook_that_is_not_there_is_named(self):
        sentence = "has no hook retry-policy; bind it as what it has: filter"
        with self.assertRaisesRegex(PluginError, sentence):
            bind({"filter": Greedy}, "retry_policy")


if __name__ == "__main__":
    unittest.main()
