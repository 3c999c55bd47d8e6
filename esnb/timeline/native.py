"""Folding with the class itself: what SQL cannot do as Python does, and what holds SQL to it."""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from pydantic import TypeAdapter

from esnb import jsontext
from esnb.aggregate.event import ENVELOPE, Event
from esnb.aggregate.kinds import Kind
from esnb.aggregate.layout import paths_of
from esnb.aggregate.root import Aggregate, column_value, handler_error
from esnb.errors import AggregateError
from esnb.timeline.sides import arrow_type

__all__ = ["Native"]

# From this many rows on, a second process takes half of the streams.
_WORTH_A_FORK = 100_000
_META = (
    "stream", "revision", "position", "event_id", "occurred_on", "recorded_on", "actor",
    "correlation_id", "causation_id",
)  # fmt: skip
_SQL = {
    "revision": "BIGINT",
    "position": "BIGINT",
    "occurred_on": "TIMESTAMPTZ",
    "recorded_on": "TIMESTAMPTZ",
}


class _Envelope:
    """What an event knows beside its payload, looked up in the rows when it is asked for."""

    __slots__ = ("_batch", "_row")

    def __init__(self, batch: pa.RecordBatch, row: int) -> None:
        self._batch = batch
        self._row = row

    def __getattr__(self, name: str) -> Any:
        if name in _META:
            return self._batch.column(name)[self._row].as_py()
        if name in ENVELOPE:
            return None
        raise AttributeError(name)


class Native:
    """Some fields of a class, folded by the class (see `esnb.timeline.fold.Side`)."""

    def __init__(self, owner: type[Aggregate], fields: Sequence[str]) -> None:
        description = owner.description
        self.owner = owner
        self.fields = tuple(fields)
        self.kinds = {name: description.plan.fields[name].kind for name in fields}
        self.names = {name: f"n_{number}" for number, name in enumerate(fields)}
        self.identity = f"native {description.fingerprint} {self.fields}"
        self.columns = (
            ("handled", "VARCHAR"),
            ("plain", "BOOLEAN"),
            ("schema_version", "INTEGER"),
            ("data", "VARCHAR"),
            *((name, _SQL.get(name, "VARCHAR")) for name in _META if name != "stream"),
        )
        self.adds = (
            *((self.names[name], self.kinds[name].sql) for name in fields),
            ("n_state", "VARCHAR"),
        )
        self.keeps = ("n_state",)
        self._schema = pa.schema([(name, arrow_type(sql)) for name, sql in self.adds])
        self._readers: dict[str, Callable[[str], Event]] = {
            event_type: _reader(event) for event_type, (event, _) in description.handlers.items()
        }
        self._memory = _Memory(owner)

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield the columns (see `esnb.timeline.fold.Side.run`)."""
        given = list(batches)
        rows = sum(batch.num_rows for batch in given)
        if rows < _WORTH_A_FORK or not _can_fork():
            yield from self._fold(given)
            return
        cut = _middle(given, rows // 2)
        yield from _in_two(self._fold, cut, [batch.num_rows for batch in given], self._schema)

    def _fold(self, batches: Sequence[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        stream: str | None = None
        aggregate = self.owner()
        waiting: tuple[list[list[Any]], list[str | None]] | None = None
        for batch in batches:
            streams = batch.column("stream").to_pylist()
            if waiting is not None:
                # Only now it is certain whether the stream of the last row goes on.
                if streams and streams[0] != stream:
                    waiting[1][-1] = self._memory.keep(aggregate)
                yield self._made(*waiting)
            if streams and streams[0] != stream:
                stream, aggregate = streams[0], self.owner(streams[0])
            columns, kept, aggregate = self._batch(batch, streams, aggregate)
            if streams:
                stream = streams[-1]
                waiting = columns, kept
            else:
                yield self._made(columns, kept)
        if waiting is not None:
            waiting[1][-1] = self._memory.keep(aggregate)
            yield self._made(*waiting)

    def _batch(
        self, batch: pa.RecordBatch, streams: list[str], aggregate: Aggregate
    ) -> tuple[list[list[Any]], list[str | None], Aggregate]:
        """Fold one batch whose first row belongs to `aggregate`."""
        owner, readers = self.owner, self._readers
        handlers = {
            event_type: function for event_type, (_, function) in owner.description.handlers.items()
        }
        initial = owner.description.initial
        stream = streams[0] if streams else None
        columns: list[list[Any]] = [[] for _ in self.fields]
        kept: list[str | None] = [None] * len(streams)
        shown = [_shower(owner, name, self.kinds[name]) for name in self.fields]
        writers = [
            (column.append, name, show)
            for column, name, show in zip(columns, self.fields, shown, strict=True)
        ]
        envelope = object.__setattr__
        for row, (of, ended, carried, handled, plain, data) in enumerate(
            zip(
                streams,
                batch.column("ended").to_pylist(),
                batch.column("carried").to_pylist(),
                batch.column("handled").to_pylist(),
                batch.column("plain").to_pylist(),
                batch.column("data").to_pylist(),
                strict=True,
            )
        ):
            if of != stream:
                kept[row - 1] = self._memory.keep(aggregate)
                stream, aggregate = of, owner(of)
            if carried:
                was = batch.column("was_n_state")[row].as_py()
                self._memory.recall(aggregate, was)
                kept[row] = was
            elif ended:
                aggregate.__dict__.update(initial())
            elif handled is not None:
                event = readers[handled](data) if plain else self._odd(handled, batch, row, data)
                envelope(event, "_esnb_envelope", _Envelope(batch, row))
                try:
                    handlers[handled](aggregate, event)
                except Exception as error:
                    raise self._told(handled, batch, row, error) from error
            state = aggregate.__dict__
            for append, name, show in writers:
                append(show(state[name]) if show is not None else state[name])
        return columns, kept, aggregate

    def _odd(self, handled: str, batch: pa.RecordBatch, row: int, data: str) -> Event:
        event = self.owner.description.handlers[handled][0]
        return event.from_payload(
            jsontext.parse_object(data), version=batch.column("schema_version")[row].as_py()
        )

    def _told(
        self, handled: str, batch: pa.RecordBatch, row: int, error: Exception
    ) -> AggregateError:
        handler = self.owner.description.handlers[handled][1]
        where = _Envelope(batch, row)
        told = handler_error(self.owner, handler, handled, None, error)
        return AggregateError(f"{told} (event at position {where.position} of {where.stream!r})")

    def _made(self, columns: list[list[Any]], kept: list[str | None]) -> pa.RecordBatch:
        arrays = []
        for name, values in zip(self.fields, columns, strict=True):
            kind = self.kinds[name]
            try:
                arrays.append(pa.array(values, arrow_type(kind.sql)))
            except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, OverflowError) as error:
                for value in values:
                    column_value(self.owner, name, kind, value)
                raise AggregateError(
                    f"{self.owner.__name__}.{name} is declared {kind.name} and holds a value that "
                    f"its column ({kind.sql}) cannot: {error}"
                ) from error
        arrays.append(pa.array(kept, pa.string()))
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)


def _shower(owner: type[Aggregate], name: str, kind: Kind) -> Callable[[Any], Any] | None:
    """Return what makes a column's value of a field's, or None where it is the same."""
    if kind.name in ("text", "instant", "date"):
        return None  # Arrow refuses any other value itself
    return lambda value: column_value(owner, name, kind, value)


class _Memory:
    """The whole state of an aggregate as text, for the fold to go on from."""

    def __init__(self, owner: type[Aggregate]) -> None:
        self._owner = owner
        self._adapters: dict[str, TypeAdapter[Any]] = {}
        for name, annotation in owner.description.annotations.items():
            try:
                self._adapters[name] = TypeAdapter(annotation | None)
            except Exception as error:
                raise AggregateError(
                    f"{owner.__name__}.{name}: pydantic cannot keep a value of type {annotation}: "
                    f"{error}"
                ) from error

    def keep(self, aggregate: Aggregate) -> str:
        """Return the state as text."""
        return json.dumps(
            {
                name: adapter.dump_json(aggregate.__dict__[name], warnings=False).decode()
                for name, adapter in self._adapters.items()
            }
        )

    def recall(self, aggregate: Aggregate, text: str | None) -> None:
        """Give an aggregate a state that was kept."""
        if text is not None:
            for name, value in json.loads(text).items():
                aggregate.__dict__[name] = self._adapters[name].validate_json(value)


def _reader(event: type[Event]) -> Callable[[str], Event]:
    """Return what reads a payload that SQL has found to be plain, several times faster.

    A class with fields that SQL does not look into is read by pydantic as ever.
    """
    kinds = dict(paths_of(event))
    if set(kinds) != {(name,) for name in event.model_fields}:
        return lambda data: event.from_payload(jsontext.parse_object(data))
    defaults = {
        name: field.default for name, field in event.model_fields.items() if not field.is_required()
    }
    keys = {name: field.alias or name for name, field in event.model_fields.items()}
    made: list[tuple[str, str, Callable[[Any], Any] | None]] = [
        (name, keys[name], _converter(kinds[name,])) for name in event.model_fields
    ]
    names = set(event.model_fields)
    new, put, load = object.__new__, object.__setattr__, orjson.loads

    def read(data: str) -> Event:
        payload = load(data)
        values = {}
        for name, key, convert in made:
            try:
                value = payload[key]
            except KeyError:
                values[name] = defaults[name]
                continue
            values[name] = value if convert is None or value is None else convert(value)
        event_read: Event = new(event)
        put(event_read, "__dict__", values)
        put(event_read, "__pydantic_fields_set__", names)
        put(event_read, "__pydantic_extra__", None)
        put(event_read, "__pydantic_private__", None)
        return event_read

    return read


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


# --- two processes ---------------------------------------------------------------------------


def _can_fork() -> bool:
    return (
        "fork" in multiprocessing.get_all_start_methods()
        and (os.cpu_count() or 1) > 1
        and len(os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else (0, 1)) > 1
    )


def _middle(batches: list[pa.RecordBatch], near: int) -> tuple[list[Any], list[Any]]:
    """Cut the rows in two where a stream begins, at or after row `near`."""
    first: list[Any] = []
    for place, batch in enumerate(batches):
        if near >= batch.num_rows:
            near -= batch.num_rows
            first.append(batch)
            continue
        streams = batch.column("stream")
        before = streams[near - 1].as_py() if near else None
        if near == 0 and first:
            before = first[-1].column("stream")[-1].as_py()
        row = near
        while row < batch.num_rows and streams[row].as_py() == before:
            row += 1
        if row == batch.num_rows:
            near = 0
            first.append(batch)
            continue
        head, tail = batch.slice(0, row), batch.slice(row)
        return [*first, *([head] if row else [])], [tail, *batches[place + 1 :]]
    return first, []


def _in_two(
    fold: Callable[[Sequence[Any]], Iterator[Any]],
    halves: tuple[list[Any], list[Any]],
    sizes: list[int],
    schema: pa.Schema,
) -> Iterator[Any]:
    """Fold two halves at once, the second one in a process of its own; yield batches of `sizes`."""
    mine, theirs = halves
    if not theirs:
        yield from _sized(fold(mine), sizes, schema)
        return
    with tempfile.TemporaryDirectory(prefix="esnb-fold-") as folder:
        place = Path(folder, "half.arrow")
        child = _forked(lambda: _written(place, fold(theirs), schema))
        try:
            here = list(fold(mine))
            _, status = os.waitpid(child, 0)
            child = 0
        finally:
            if child:
                os.kill(child, 9)
                os.waitpid(child, 0)
        # What went wrong there goes wrong here too, and is then told in full.
        there = _read(place) if status == 0 else fold(theirs)
        yield from _sized((*here, *there), sizes, schema)


def _forked(work: Callable[[], None]) -> int:
    import warnings

    with warnings.catch_warnings():
        # The child runs Python and Arrow on what is in memory, and touches no lock of DuckDB.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _written(place: Path, batches: Iterable[Any], schema: pa.Schema) -> None:
    with pa.OSFile(str(place), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _read(place: Path) -> list[Any]:
    with pa.OSFile(str(place), "rb") as file:
        found: list[Any] = pa.ipc.open_file(file).read_all().to_batches()
    return found


def _sized(batches: Iterable[Any], sizes: list[int], schema: pa.Schema) -> Iterator[Any]:
    whole = pa.Table.from_batches(list(batches), schema)
    start = 0
    for size in sizes:
        piece = whole.slice(start, size).combine_chunks()
        start += size
        if size:
            yield piece.to_batches()[0]
        else:
            yield pa.RecordBatch.from_arrays(
                [pa.array([], field.type) for field in schema], schema=schema
            )
