"""Payloads that SQL does not read: older versions, numbers as text, fields with rules of their own.

The event class reads them, in a function that SQL calls for such rows only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Any

import duckdb
import orjson
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from esnb import jsontext
from esnb.aggregate.event import Event
from esnb.aggregate.kinds import Kind, to_column
from esnb.aggregate.layout import Column, Path, paths_of
from esnb.aggregate.render import PYTHON_NEEDED
from esnb.aggregate.root import Aggregate, Description, unknown_event
from esnb.errors import EsnbError, EventError, SchemaError
from esnb.timeline.arrowtypes import arrow_type

__all__ = ["Failures", "columns_of", "function_name", "parsed", "register"]

# Numbers of many digits, with an exponent, or minus zero; in a text, such digits do no harm.
_DELICATE = re.compile(r"[0-9][0-9.]{15}|[0-9][eE]|-0")


class Failures:
    """What the reading function raised: DuckDB passes on only the text of it."""

    def __init__(self) -> None:
        self.last: EsnbError | None = None


def columns_of(description: Description) -> tuple[Column, ...]:
    """Return the columns of a class; there is always one, since a STRUCT cannot be empty."""
    return description.layout.columns or (Column("d_", "BOOLEAN"),)


def function_name(description: Description, *, lenient: bool = False) -> str:
    """Return the name of the SQL function that reads odd payloads of a class.

    A `lenient` one leaves out values that no column holds: for what only Python reads.
    """
    return f"_esnb_{'look' if lenient else 'read'}_{description.fingerprint[:24]}"


# DuckDB itself keeps no hold of a function beyond the cursor on which it was made.
_FUNCTIONS: dict[str, tuple[Any, Failures]] = {}


def register(
    cursor: duckdb.DuckDBPyConnection, owner: type[Aggregate], *, lenient: bool = False
) -> Failures:
    """Make the reading function of a class known to the DuckDB behind `cursor`, once.

    Returns
    -------
    Failures
        Where it leaves what it raises.
    """
    description = owner.description
    name = function_name(description, lenient=lenient)
    read, failures = _FUNCTIONS.setdefault(name, _reading_function(owner, lenient))
    known = cursor.execute(
        "SELECT 1 FROM duckdb_functions() WHERE function_name = ?", [name]
    ).fetchone()
    if known is None:
        columns = columns_of(description)
        cursor.create_function(
            name,
            read,
            ["VARCHAR", "INTEGER", "VARCHAR", "BIGINT", "VARCHAR"],
            duckdb.struct_type({column.name: column.type for column in columns}),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
        )
    return failures


def _reading_function(owner: type[Aggregate], lenient: bool) -> tuple[Any, Failures]:
    failures = Failures()
    events = _events_of(owner)

    def read(event_types: Any, versions: Any, data: Any, positions: Any, streams: Any) -> pa.Array:
        # DuckDB calls it in several threads at once.
        reader = _Reader(owner, events, lenient)
        rows = zip(event_types.to_pylist(), versions.to_pylist(), data.to_pylist(), strict=True)
        for row, (event_type, version, text) in enumerate(rows):
            try:
                reader.take(event_type, version, text)
            except EsnbError as error:
                place = positions[row].as_py(), streams[row].as_py()
                failures.last = _told(owner, error, event_type, *place)
                raise failures.last from error
        return reader.taken()

    return read, failures


_Events = Mapping[str, tuple[type[Event], Sequence[tuple[Path, Column, Kind]]]]


def _events_of(owner: type[Aggregate]) -> _Events:
    """Return by event type its class and where, in which column and of what kind its fields are."""
    layout = owner.description.layout
    found = {}
    for event_type, (event, _) in owner.description.handlers.items():
        columns = layout.of(event)
        found[event_type] = (event, [(path, columns[path], kind) for path, kind in paths_of(event)])
    return found


class _Reader:
    """Reads payloads of a class one by one, into columns."""

    def __init__(self, owner: type[Aggregate], events: _Events, lenient: bool) -> None:
        self.owner = owner
        self._lenient = lenient
        self.columns = columns_of(owner.description)
        self._events = events
        self._values: dict[str, list[Any]] = {column.name: [] for column in self.columns}
        self._count = 0

    def take(self, event_type: str, version: int, data: str) -> None:
        """Read one event.

        Raises
        ------
        SchemaError, EventError
            Not naming the event.
        """
        if event_type not in self._events:
            raise SchemaError(unknown_event(self.owner, event_type, None))
        event, columns = self._events[event_type]
        read = event.from_payload(parsed(data), version=version)
        for path, column, kind in columns:
            value: Any = read
            for key in path:
                value = getattr(value, key)
            try:
                value = _fitting(to_column(kind, value), column)
            except TypeError as error:
                raise EventError(".".join(path), str(error)) from error
            except EventError:
                if not self._lenient:
                    raise
                value = None
            values = self._values[column.name]
            # Events of other types say nothing here.
            values.extend([None] * (self._count - len(values)))
            values.append(value)
        self._count += 1

    def taken(self) -> pa.Array:
        """Return the columns of all that was read, as one of structs."""
        count, arrays = self._count, []
        for column in self.columns:
            values = self._values[column.name]
            values.extend([None] * (count - len(values)))
            arrays.append(pa.array(values, arrow_type(column.type)))
        return pa.StructArray.from_arrays(arrays, names=[column.name for column in self.columns])


def parsed(data: str) -> Mapping[str, Any]:
    """Return a payload of the log, which is strict JSON, as `jsontext.parse_object` does.

    Where no number may come out otherwise, orjson reads it several times faster.
    """
    if _DELICATE.search(data) is None:
        with suppress(orjson.JSONDecodeError):
            value = orjson.loads(data)
            if type(value) is dict:
                return value
    return jsontext.parse_object(data)


def _told(
    owner: type[Aggregate], error: EsnbError, event_type: str, position: int, stream: str
) -> EsnbError:
    """Return `error` with the event that it is about."""
    where = f" (event {event_type} at position {position} of {stream!r})"
    if isinstance(error, EventError):
        reason = error.reason.removesuffix(f" (event {event_type})")
        return EventError(error.field, reason + where)
    return SchemaError(str(error) + where) if isinstance(error, SchemaError) else error


def _fitting(value: Any, column: Column) -> Any:
    if isinstance(value, Decimal):
        digits = value.as_tuple()
        exponent = digits.exponent
        if not isinstance(exponent, int) or exponent < -6 or value.adjusted() > 11:
            raise EventError(column.name, f"{PYTHON_NEEDED}: {value} has too many digits")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise EventError(column.name, f"{PYTHON_NEEDED}: {value} is past 64 bits")
    return value
