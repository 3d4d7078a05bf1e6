"""The kit for Weir plugins in Python: records instead of columns, settings that are checked, one
function that makes a component of classes. `weir_testing.py` beside it runs a plugin natively.

A plugin is a class per hook. Its constructor gets the settings and names the columns that it
reads; one method answers for one record:

    class OnlyLate:
        def __init__(self, config, columns):
            self.minutes = int(config.require("minutes"))
            columns.value()

        def keep(self, record):
            return json.loads(record.value())["dep_delay"] > self.minutes

| hook         | class has                     | answer                                             |
|--------------|-------------------------------|----------------------------------------------------|
| filter       | keep(record)                  | true or false                                      |
| key          | key(record)                   | bytes or a str; None: needs no order               |
| route        | route(record)                 | names of declared routes; None or []: drops it     |
| transform    | transform(record, out)        | what `out` was told; nothing: drops it             |
| project      | project(record, view)         | what `view` was told; nothing: as it is            |
| retry_policy | decide(record, failure)       | milliseconds, or weir_plugin.DEAD_LETTER, PARK_KEY |

The constructor of a route gets the declared routes, a list of names, as third argument. Whatever a
method raises is the error of that record; what a constructor raises refuses the binding. A record
is valid during the call that it is given to, and no longer.
"""

import traceback

# The length of a span that stands for "absent", and of one that stands for "as it was".
_ABSENT = 0xFFFFFFFF
_UNCHANGED = 0xFFFFFFFE

DEAD_LETTER = "dead-letter"
PARK_KEY = "park-key"


class PluginError(Exception):
    """What refuses a binding or a record, as a sentence for a person."""


class Config:
    """The settings of a binding, and the check that each was understood."""

    def __init__(self, settings):
        self._settings = settings
        self._known = {}

    def optional(self, name):
        """The setting, or None if it was not given."""
        self._known.setdefault(name, False)
        return next(iter(self._given(name)), None)

    def require(self, name):
        """The setting; it raises if it was not given."""
        value = self.optional(name)
        if value is None:
            raise PluginError(f"setting `{name}` is missing: bind with --config {name}=…")
        return value

    def every(self, name):
        """All values of a setting that may be given several times."""
        self._known[name] = True
        return self._given(name)

    def finish(self):
        """Refuses settings that nothing asked for, and those given twice that may not be."""
        seen = set()
        for name, _ in self._settings:
            if name not in self._known:
                known = ", ".join(self._known) or "none"
                raise PluginError(
                    f"setting `{name}` is not known; this plugin's settings: {known}"
                )
            if name in seen and not self._known[name]:
                raise PluginError(f"setting `{name}` was given twice")
            seen.add(name)

    def _given(self, name):
        return [value for given, value in self._settings if given == name]


class Columns:
    """The columns that the host supplies: those that were asked for, and no others."""

    def __init__(self):
        self.asked_key = False
        self.asked_value = False
        self.asked_timestamp = False
        self.headers = []

    def key(self):
        self.asked_key = True
        return self

    def value(self):
        self.asked_value = True
        return self

    def timestamp(self):
        self.asked_timestamp = True
        return self

    def header(self, name):
        if name not in self.headers:
            self.headers.append(name)
        return self


class Record:
    """One record of a batch. There is one of these per batch, which moves on."""

    __slots__ = ("_batch", "_columns", "_starts", "index")

    def __init__(self, batch, columns):
        self._batch = batch
        self._columns = columns
        before = columns.asked_key + columns.asked_value
        # Where each header's column begins in the spans.
        self._starts = {
            name: 2 * (before + at) * batch.count for at, name in enumerate(columns.headers)
        }
        self.index = 0

    def timestamp(self):
        """The producer's timestamp, in milliseconds since the Unix epoch."""
        if not self._columns.asked_timestamp:
            raise PluginError("ask for columns.timestamp() first")
        return self._batch.timestamps[self.index]

    def key(self):
        """The key's bytes, or None."""
        if not self._columns.asked_key:
            raise PluginError("ask for columns.key() first")
        return self._bytes(0)

    def value(self):
        """The value's bytes; None for a tombstone."""
        if not self._columns.asked_value:
            raise PluginError("ask for columns.value() first")
        return self._bytes(2 * self._columns.asked_key * self._batch.count)

    def header(self, name):
        """The bytes of the last header of that name, or None."""
        start = self._starts.get(name)
        if start is None:
            raise PluginError(f'ask for columns.header("{name}") first')
        return self._bytes(start)

    def _bytes(self, start):
        batch = self._batch
        at = start + 2 * self.index
        length = batch.spans[at + 1]
        if length == _ABSENT:
            return None
        offset = batch.spans[at]
        return batch.arena[offset : offset + length]


class Outputs:
    """What becomes of the records of a batch; `transform` gets it."""

    def __init__(self):
        self.source = []
        self.data = bytearray()
        self.spans = []
        # (output, name, value or None)
        self.headers = []
        # (index, reason)
        self.rejected = []

    def keep(self, record):
        """The record goes on as it is."""
        self.push(record)

    def push(self, record):
        """The record goes on changed, once more for each call."""
        self.source.append(record.index)
        self.spans += (0, _UNCHANGED, 0, _UNCHANGED)
        return Output(self, len(self.source) - 1)

    def reject(self, record, reason):
        """The record is refused: its producer sees the reason. It must have no outputs."""
        self.rejected.append((record.index, reason))


class Output:
    """One output of `transform`, or what `project` changes. Values are bytes, str or None."""

    def __init__(self, outputs, output):
        self._outputs = outputs
        self._output = output

    def key(self, value):
        return self._change(0, value)

    def value(self, value):
        return self._change(2, value)

    def header(self, name, value):
        """The output has this header once, with this value."""
        self._outputs.headers.append((self._output, name, _bytes(value)))
        return self

    def remove_header(self, name):
        self._outputs.headers.append((self._output, name, None))
        return self

    def _change(self, place, value):
        outputs = self._outputs
        value = _bytes(value)
        span = (len(outputs.data), _ABSENT if value is None else len(value))
        at = 4 * self._output + place
        outputs.spans[at : at + 2] = span
        outputs.data += value or b""
        return self


def _bytes(value):
    return value.encode() if isinstance(value, str) else value


def _records(batch, columns):
    record = Record(batch, columns)
    for index in range(batch.count):
        record.index = index
        yield record


class Plugin:
    """A configured plugin for one hook: from a batch of the contract to its answer."""

    def __init__(self, hooks, hook, settings, routes):
        if hook not in hooks:
            names = ", ".join(hooks).replace("_", "-")
            raise PluginError(
                f"this component has no hook {hook.replace('_', '-')}; "
                f"bind it as what it has: {names}"
            )
        config = Config(settings)
        self.columns = Columns()
        arguments = (config, self.columns, routes) if hook == "route" else (config, self.columns)
        self._plugin = hooks[hook](*arguments)
        config.finish()
        self._hook = hook
        self._routes = {name: 1 << at for at, name in enumerate(routes)}

    def answer(self, batch, *failures):
        """The answer of the hook that this was configured for."""
        return getattr(self, "_" + self._hook)(batch, *failures)

    def _filter(self, batch):
        keep = self._plugin.keep
        return bytes([1 if keep(record) else 0 for record in _records(batch, self.columns)])

    def _key(self, batch):
        arena = bytearray()
        spans = []
        for record in _records(batch, self.columns):
            key = _bytes(self._plugin.key(record))
            spans += (len(arena), _ABSENT if key is None else len(key))
            arena += key or b""
        return bytes(arena), spans

    def _route(self, batch):
        sets = []
        for record in _records(batch, self.columns):
            named = self._plugin.route(record) or ()
            bits = 0
            for name in (named,) if isinstance(named, str) else named:
                if name not in self._routes:
                    raise PluginError(f"no route is declared as `{name}`")
                bits |= self._routes[name]
            sets.append(bits)
        return sets

    def _transform(self, batch):
        out = Outputs()
        for record in _records(batch, self.columns):
            self._plugin.transform(record, out)
        return out

    def _project(self, batch):
        out = Outputs()
        for record in _records(batch, self.columns):
            self._plugin.project(record, out.push(record))
        return out

    def _retry_policy(self, batch, failures):
        records = zip(_records(batch, self.columns), failures)
        return [self._plugin.decide(record, failure) for record, failure in records]


def component(hooks, log_error, refuse):
    """What a component's exports call: `configure`, and `answer` for any hook.

    `hooks` names the class of each hook; `log_error` writes a line to the host's log; `refuse`
    makes of a sentence the exception that crosses the boundary.
    """
    serving = []

    def told(run, *given):
        try:
            return run(*given)
        except PluginError as error:
            raise refuse(str(error)) from error
        except Exception as error:
            log_error(traceback.format_exc())
            raise refuse(f"{type(error).__name__}: {error}") from error

    def configure(hook, settings, routes):
        plugin = told(Plugin, hooks, hook, settings, routes)
        serving[:] = [plugin]
        return plugin.columns

    def answer(batch, *failures):
        if not serving:
            raise refuse("configure was not called")
        return told(serving[0].answer, batch, *failures)

    return configure, answer
