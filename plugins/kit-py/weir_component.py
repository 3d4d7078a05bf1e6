"""The side of the kit that touches the generated bindings: what `component.py` of a plugin takes
its exports from. It imports `wit_world`, which exists only inside of a component.

    exports = weir_component.exports(filter=OnlyLate)
    Lifecycle, Filter = exports.Lifecycle, exports.Filter
"""

from types import SimpleNamespace

import weir_plugin
from componentize_py_types import Err
from wit_world.imports import host, types


def exports(**hooks):
    """Classes named like the interfaces; a component exports those of its world."""

    def log_error(text):
        host.log(host.Level.ERROR, text)

    configure, answer = weir_plugin.component(hooks, log_error, Err)

    class Lifecycle:
        def configure(self, hook, config, routes):
            columns = configure(hook.name.lower(), config, routes)
            return types.Projection(
                columns.asked_key, columns.asked_value, columns.asked_timestamp, columns.headers
            )

    class Filter:
        def filter(self, batch):
            return answer(batch)

    class OrderingKey:
        def keys(self, batch):
            from wit_world.exports.ordering_key import KeySpans

            return KeySpans(*answer(batch))

    class Router:
        def route(self, batch):
            return answer(batch)

    class Mapper:
        def apply(self, batch):
            from wit_world.exports.mapper import HeaderChange, Mapped

            out = answer(batch)
            changes = [HeaderChange(*change) for change in out.headers]
            return Mapped(out.source, bytes(out.data), out.spans, changes, out.rejected)

    class Retry:
        def decide(self, batch, failures):
            from wit_world.exports import retry

            def decision(given):
                if given == weir_plugin.DEAD_LETTER:
                    return retry.Decision_DeadLetter()
                if given == weir_plugin.PARK_KEY:
                    return retry.Decision_ParkKey()
                return retry.Decision_Delay(given)

            return [decision(given) for given in answer(batch, failures)]

    return SimpleNamespace(
        Lifecycle=Lifecycle,
        Filter=Filter,
        OrderingKey=OrderingKey,
        Router=Router,
        Mapper=Mapper,
        Retry=Retry,
    )
