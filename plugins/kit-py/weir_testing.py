"""Runs a plugin natively, with the same columns and the same checks as in a broker:

    plugin = bind({"filter": OnlyLate}, "filter", {"minutes": "15"})
    plugin.run([Sample(value='{"dep_delay":20}')])      # [True]

Used with `python -m unittest`; nothing has to be installed.
"""

from dataclasses import dataclass, field
from types import SimpleNamespace

import weir_plugin

_ABSENT = 0xFFFFFFFF
_UNCHANGED = 0xFFFFFFFE


@dataclass
class Sample:
    """A record; texts or bytes."""

    key: object = None
    value: object = None
    timestamp: int = 0
    headers: dict = field(default_factory=dict)


@dataclass
class Failure:
    """How a delivery failed."""

    attempt: int
    message: str = ""


def bind(hooks, hook, settings=None, routes=()):
    """Binds as a broker does. `settings` is a dict, or pairs where a name occurs twice."""
    pairs = settings or {}
    pairs = list(pairs.items()) if isinstance(pairs, dict) else list(pairs)
    return _Bound(hook, weir_plugin.Plugin(hooks, hook, pairs, list(routes)), list(routes))


class _Bound:
    def __init__(self, hook, plugin, routes):
        self._hook = hook
        self._plugin = plugin
        self._routes = routes

    def run(self, samples, failures=None):
        """What becomes of each record, in the words of the plugin's own hook."""
        batch = _columns(samples, self._plugin.columns)
        given = () if failures is None else (failures,)
        answer = self._plugin.answer(batch, *given)
        if self._hook == "filter":
            return [one == 1 for one in answer]
        if self._hook == "key":
            arena, spans = answer
            return [_piece(arena or batch.arena, spans, 2 * at) for at in range(len(samples))]
        if self._hook == "route":
            names = list(enumerate(self._routes))
            return [[name for at, name in names if bits >> at & 1] for bits in answer]
        if self._hook == "transform":
            return _mapped(answer, samples)
        if self._hook == "project":
            return [outputs[0] for outputs in _mapped(answer, samples)]
        return answer


def _bytes(value):
    return value.encode() if isinstance(value, str) else value


def _columns(samples, columns):
    """The batch as the host would pass it."""
    arena = bytearray()
    spans = []

    def column(values):
        for value in map(_bytes, values):
            spans.extend((len(arena), _ABSENT) if value is None else (len(arena), len(value)))
            arena.extend(value or b"")

    if columns.asked_key:
        column(sample.key for sample in samples)
    if columns.asked_value:
        column(sample.value for sample in samples)
    for name in columns.headers:
        column(sample.headers.get(name) for sample in samples)
    timestamps = [sample.timestamp for sample in samples] if columns.asked_timestamp else None
    return SimpleNamespace(
        count=len(samples), arena=bytes(arena), spans=spans, timestamps=timestamps
    )


def _piece(arena, spans, at):
    offset, length = spans[at : at + 2]
    return None if length == _ABSENT else bytes(arena[offset : offset + length])


def _mapped(out, samples):
    """Per record its outputs as samples, or the reason for which it was rejected."""
    outputs = [[] for _ in samples]
    for output, source in enumerate(out.source):
        sample = samples[source]
        headers = dict(sample.headers)
        for changed, name, value in out.headers:
            if changed == output:
                headers.pop(name, None)
                if value is not None:
                    headers[name] = value

        def part(place, unchanged, output=output):
            at = 4 * output + place
            same = out.spans[at + 1] == _UNCHANGED
            return _bytes(unchanged) if same else _piece(out.data, out.spans, at)

        outputs[source].append(
            Sample(part(0, sample.key), part(2, sample.value), sample.timestamp, headers)
        )
    for index, reason in out.rejected:
        outputs[index] = reason
    return outputs
