"""Folding with the class itself: what SQL cannot do as Python does, and what holds SQL to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from esnb.aggregate.event import Event
from esnb.aggregate.fingerprint import asked_for
from esnb.aggregate.kinds import Kind
from esnb.aggregate.layout import paths_of
from esnb.aggregate.reach import changed
from esnb.aggregate.root import Aggregate, column_value, handler_error
from esnb.errors import AggregateError, EsnbError
from esnb.instants import from_micros
from esnb.jsontext import freeze
from esnb.timeline.arrowtypes import arrow_type
from esnb.timeline.halves import can_fork, in_two, middle
from esnb.timeline.memory import Memory, NotKept
from esnb.timeline.odd import parsed
from esnb.uncollected import uncollected

__all__ = ["Native"]

# From this many rows on, a second process takes half of the streams.
_WORTH_A_FORK = 100_000
# What a row is, where it is not the number of its handler (or that and the number of them all,
# for a payload that only pydantic reads; or that and it twice, for a plain one of an older
# version).  Where a stream begins it is `_BEGINS` less that.
_NOTHING, _ENDED, _CARRIED, _BEGINS = -1, -2, -3, -7
_META = (
    "stream", "revision", "position", "event_id", "occurred_on", "recorded_on", "actor",
    "correlation_id", "causation_id",
)  # fmt: skip
# Read only where a handler asks for them: they are large.
_MORE = {"tags": "VARCHAR[]", "metadata": "VARCHAR"}
_SQL = {
    "revision": "BIGINT",
    "position": "BIGINT",
    "occurred_on": "TIMESTAMPTZ",
    "recorded_on": "TIMESTAMPTZ",
}


def _looking_up(batch: pa.RecordBatch) -> Callable[[int, str], Any]:
    """Return what looks up in a row what an event knows beside its payload."""

    instants_of: dict[str, Any] = {}

    def look_up(row: int, name: str) -> Any:
        if name in _MORE:
            value = batch.column(name)[row].as_py()
            return tuple(value or ()) if name == "tags" else freeze(parsed(value or "{}"))
        if not name.endswith("_on"):
            return batch.column(name)[row].as_py()
        micros = instants_of.get(name)
        if micros is None:
            micros = batch.column(name).cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
            instants_of[name] = micros
        return from_micros(int(micros[row]))

    return look_up


class Native:
    """Some fields of a class, folded by the class (see `esnb.timeline.fold.Side`)."""

    def __init__(self, owner: type[Aggregate], fields: Sequence[str]) -> None:
        description = owner.description
        self.owner = owner
        self.fields = tuple(fields)
        self.kinds = {name: description.plan.fields[name].kind for name in fields}
        self.names = {name: f"n_{number}" for number, name in enumerate(fields)}
        self.identity = f"native 2 {description.fingerprint} {self.fields}"
        more = asked_for(owner, _MORE)
        self.columns = (
            ("handled", "VARCHAR"),
            ("plain", "BOOLEAN"),
            ("schema_version", "INTEGER"),
            ("data", "VARCHAR"),
            *((name, _SQL.get(name, "VARCHAR")) for name in _META if name != "stream"),
            *((name, sql) for name, sql in _MORE.items() if name in more),
        )
        self.adds = (
            *((self.names[name], self.kinds[name].sql) for name in fields),
            ("n_state", "VARCHAR"),
        )
        self.keeps = ("n_state",)
        self._schema = pa.schema([(name, arrow_type(sql)) for name, sql in self.adds])
        # By event type: what reads it, also of an older version, what handles it, and the fields
        # that this may change.
        readers = {
            event_type: _readers(event) for event_type, (event, _) in description.handlers.items()
        }
        self._steps: dict[
            str, tuple[_Reader, _OldReader, Callable[[Any, Event], Any], set[str]]
        ] = {
            event_type: (
                *(readers[event_type] or (_unread, _unread)),
                handler,
                changed(owner, handler, description.fields),
            )
            for event_type, (event, handler) in description.handlers.items()
        }
        # Whether plain payloads are read by these; the last one is that of what is not handled.
        self._seen = np.array([*(one is not None for one in readers.values()), False])
        self._newest = np.array([*(one.version for one, _ in description.handlers.values()), 0])
        self._memory = Memory(owner)
        self._shown = {name: _shower(owner, name, self.kinds[name]) for name in fields}

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the columns (see `esnb.timeline.fold.Side.run`)."""
        given = list(batches)
        rows = sum(batch.num_rows for batch in given)
        if rows < _WORTH_A_FORK or not can_fork():
            yield from self._fold(given)
            return
        cut = middle(given, rows // 2)
        yield from in_two(self._fold, cut, [batch.num_rows for batch in given], self._schema)

    def _fold(self, batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream: str | None = None
        aggregate = self.owner()
        waiting: tuple[list[Any], list[str | None]] | None = None
        for batch in batches:
            if batch.num_rows == 0:
                if waiting is not None:
                    yield self._made(*waiting)
                    waiting = None
                nothing = [pa.array([], field.type) for field in self._schema]
                yield pa.RecordBatch.from_arrays(nothing, schema=self._schema)
                continue
            streams = batch.column("stream")
            goes_on = streams[0].as_py() == stream
            if waiting is not None:
                # Only now it is certain whether the stream of the last row goes on.
                if not goes_on:
                    waiting[1][-1] = self._memory.keep(aggregate)
                yield self._made(*waiting)
            begins = np.ones(batch.num_rows, bool)
            changed = pc.not_equal(streams.slice(1), streams.slice(0, batch.num_rows - 1))
            begins[1:] = changed.to_numpy(zero_copy_only=False)
            begins[0] = not goes_on
            columns, kept, aggregate = self._batch(batch, begins, aggregate)
            stream = streams[-1].as_py()
            waiting = columns, kept
        if waiting is not None:
            waiting[1][-1] = self._memory.keep(aggregate)
            yield self._made(*waiting)

    def _codes(self, batch: pa.RecordBatch, begins: Any) -> Any:
        """Return for each row what it is: see `_ENDED`."""
        kinds = pa.array(list(self._steps), pa.string())
        handled = pc.index_in(batch.column("handled"), value_set=kinds).fill_null(-1)
        codes = handled.to_numpy(zero_copy_only=False).astype(np.int64)
        plain = batch.column("plain").fill_null(False).to_numpy(zero_copy_only=False)
        plain = plain & self._seen[codes]
        version = batch.column("schema_version").to_numpy(zero_copy_only=False)
        newest = version == self._newest[codes]
        reader = np.where(plain, np.where(newest, 0, 2), 1)
        codes = np.where(codes < 0, codes, codes + reader * len(kinds))
        codes[batch.column("ended").to_numpy(zero_copy_only=False)] = _ENDED
        codes[batch.column("carried").to_numpy(zero_copy_only=False)] = _CARRIED
        codes[begins] = _BEGINS - codes[begins]
        return codes

    @uncollected()
    def _batch(
        self, batch: pa.RecordBatch, begins: Any, aggregate: Aggregate
    ) -> tuple[list[Any], list[str | None], Aggregate]:
        """Fold one batch; its first row belongs to `aggregate` if no stream begins there.

        A field's value is noted where a handler may have changed it, and stands until then.
        """
        owner, steps = self.owner, list(self._steps.values())
        events = [event for event, _ in owner.description.handlers.values()]
        count = len(steps)
        initial = owner.description.initial
        kept: list[str | None] = [None] * batch.num_rows
        noted: dict[str, list[Any]] = {name: [] for name in self.fields}
        every = [(noted[name].append, name, self._shown[name]) for name in self.fields]
        some = [[one for one in every if one[1] in step[3]] for step in steps]
        look_up = _looking_up(batch)
        codes = self._codes(batch, begins)
        # One object of Arrow made a Python object at a time takes as long as an event.
        next_stream = iter(batch.column("stream").filter(pa.array(begins)).to_pylist()).__next__
        versions = batch.column("schema_version").to_numpy(zero_copy_only=False)
        row = 0
        state = aggregate.__dict__
        try:
            next_payload = _payloads(batch.column("data"), codes, count)
            for row, code in enumerate(codes.tolist()):
                notes = every
                if code < _CARRIED:
                    code = _BEGINS - code
                    if row:
                        kept[row - 1] = self._memory.keep(aggregate)
                    aggregate = owner(next_stream())
                    state = aggregate.__dict__
                elif code >= 0 and row:
                    notes = some[code % count]
                elif code == _NOTHING and row:
                    continue
                if code >= count:
                    kind, version = code % count, int(versions[row])
                    if code < 2 * count:
                        data = batch.column("data")[row].as_py()
                        event = _odd(events[kind], data, version, (look_up, row))
                    else:
                        event = steps[kind][1](next_payload(), version, (look_up, row))
                    steps[kind][2](aggregate, event)
                elif code >= 0:
                    read, _, handler, _ = steps[code]
                    handler(aggregate, read(next_payload(), (look_up, row)))
                elif code == _ENDED:
                    state.update(initial())
                elif code == _CARRIED:
                    kept[row] = batch.column("was_n_state")[row].as_py()
                    self._memory.recall(aggregate, kept[row])
                for note, name, show in notes:
                    note(state[name] if show is None else show(state[name]))
        except NotKept:
            raise
        except AggregateError as error:
            raise AggregateError(f"{error} ({_after(batch, row)})") from error
        except EsnbError:
            raise
        except Exception as error:
            raise self._told(batch, row, error) from error
        columns = [self._spread(name, noted[name], codes, batch) for name in self.fields]
        return columns, kept, aggregate

    def _spread(self, name: str, values: list[Any], codes: Any, batch: pa.RecordBatch) -> Any:
        """Return a column of `values`, each standing until the next is noted."""
        touching = [number for number, step in enumerate(self._steps.values()) if name in step[3]]
        marks = (codes >= 0) & np.isin(codes % max(len(self._steps), 1), touching)
        marks |= codes < _NOTHING
        marks[:1] = True
        kind = self.kinds[name]
        try:
            made = pa.array(values, arrow_type(kind.sql))
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
            for value, row in zip(values, np.flatnonzero(marks).tolist(), strict=True):
                try:
                    column_value(self.owner, name, kind, value)
                except AggregateError as told:
                    raise AggregateError(f"{told} ({_after(batch, row)})") from error
            raise AggregateError(
                f"{self.owner.__name__}.{name} is declared {kind.name} and holds a value that "
                f"its column ({kind.sql}) cannot: {error}"
            ) from error
        return made.take(pa.array(np.cumsum(marks) - 1))

    def _told(self, batch: pa.RecordBatch, row: int, error: Exception) -> AggregateError:
        handled = batch.column("handled")[row].as_py()
        handler = self.owner.description.handlers[handled][1]
        position, stream = (
            batch.column("position")[row].as_py(),
            batch.column("stream")[row].as_py(),
        )
        told = handler_error(self.owner, handler, handled, None, error)
        return AggregateError(f"{told} (event at position {position} of {stream!r})")

    def _made(self, columns: list[Any], kept: list[str | None]) -> pa.RecordBatch:
        arrays = [*columns, pa.array(kept, pa.string())]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _after(batch: pa.RecordBatch, row: int) -> str:
    position, stream = batch.column("position")[row], batch.column("stream")[row]
    return f"after the event at position {position} of {stream.as_py()!r}"


def _shower(owner: type[Aggregate], name: str, kind: Kind) -> Callable[[Any], Any] | None:
    """Return what makes a column's value of a field's, or None where it is the same.

    Arrow itself refuses a value of another type.
    """
    if kind.name in ("text", "int", "float", "bool", "date", "decimal"):
        return None
    if kind.name == "instant":
        return lambda value: (
            value
            if value is None or getattr(value, "tzinfo", None) is not None
            else column_value(owner, name, kind, value)
        )
    return lambda value: column_value(owner, name, kind, value)


_Reader = Callable[[dict[str, Any], object], Event]
_OldReader = Callable[[dict[str, Any], int, object], Event]


def _payloads(texts: Any, codes: Any, count: int) -> Callable[[], dict[str, Any]]:
    """Return what gives the payloads of the plain rows, one after the other."""
    codes = np.where(codes < _CARRIED, _BEGINS - codes, codes)
    plain = texts.filter(pa.array((codes >= 0) & ((codes < count) | (codes >= 2 * count))))
    try:
        # Read at once, as the list that they make: half of the time.
        whole = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(plain)]), plain), ",")
        found = orjson.loads(b"[%b]" % whole[0].as_buffer())
        if len(found) == len(plain):
            return partial(next, iter(found))
    except (ValueError, TypeError, pa.ArrowException):
        pass  # one of them is wrong, or they are too many bytes for one text
    return partial(next, map(orjson.loads, plain.to_pylist()))


def _odd(event: type[Event], data: str, version: int | None, envelope: object) -> Event:
    """Read any payload, as pydantic does."""
    found = event.from_payload(parsed(data), version=version)
    return event.made(dict(found.__dict__), envelope, found.model_fields_set)


def _unread(*_: object) -> Event:
    raise AssertionError("such a payload is read by pydantic")


def _readers(event: type[Event]) -> tuple[_Reader, _OldReader] | None:
    """Return what reads payloads that SQL has found to be plain, several times faster.

    The first reads those of the newest version, the second older ones, whose upcasters are then
    such that what they make of a plain payload is one.  None for a class with fields that SQL
    does not look into, which pydantic reads.
    """
    kinds = dict(paths_of(event))
    if set(kinds) != {(name,) for name in event.model_fields}:
        return None
    defaults = {
        name: field.default for name, field in event.model_fields.items() if not field.is_required()
    }
    made = [
        (name, name if field.alias is None else field.alias, _converter(kinds[name,]))
        for name, field in event.model_fields.items()
    ]
    new, put = object.__new__, object.__setattr__
    names = tuple(name for name, key, _ in made if key == name)
    usual = names if len(names) == len(made) else None
    converted = [(name, to) for name, _, to in made if to is not None]

    def read_old(payload: dict[str, Any], version: int, envelope: object) -> Event:
        return filled(event.upcast(payload, version), envelope)

    def read(payload: dict[str, Any], envelope: object) -> Event:
        if tuple(payload) == usual:
            # Just the fields, in their order: the payload is what the event holds.
            for name, to in converted:
                value = payload[name]
                if value is not None:
                    payload[name] = to(value)
            told: Event = new(event)
            put(told, "__dict__", payload)
            put(told, "_esnb_envelope", envelope)
            return told
        return filled(payload, envelope)

    def filled(payload: Mapping[str, Any], envelope: object) -> Event:
        values, missing = {}, False
        for name, key, convert in made:
            if key in payload:
                value = payload[key]
                values[name] = value if convert is None or value is None else convert(value)
            else:
                values[name], missing = defaults[name], True
        # As `Event.made` does it, but for the call.
        found: Event = new(event)
        put(found, "__dict__", values)
        put(found, "_esnb_envelope", envelope)
        if missing:
            said = {name for name, key, _ in made if key in payload}
            put(found, "__pydantic_fields_set__", said)
        return found

    return read, read_old


def _converter(kind: Kind) -> Callable[[Any], Any] | None:
    if kind.name == "decimal":
        return lambda value: Decimal(value if type(value) is str else str(value))
    if kind.name == "float":
        return float
    if kind.name == "instant":
        return datetime.fromisoformat
    if kind.name == "date":
        return date.fromisoformat
    if kind.name == "enum":
        enum: Any = kind.python
        return lambda value: enum(value)
    return None
