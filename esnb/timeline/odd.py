"""Payloads that SQL does not read: older versions, numbers as text, fields with rules of their own.

The event class reads them, in a function that SQL calls for such rows only.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from esnb import jsontext
from esnb.aggregate.kinds import to_column
from esnb.aggregate.layout import Column, paths_of
from esnb.aggregate.render import PYTHON_NEEDED
from esnb.aggregate.root import Aggregate, Description, unknown_event
from esnb.errors import EsnbError, EventError, SchemaError
from esnb.timeline.arrowtypes import arrow_type

__all__ = ["Failures", "columns_of", "function_name", "read_odd", "register"]


class Failures:
    """What the reading function raised: DuckDB passes on only the text of it."""

    def __init__(self) -> None:
        self.last: EsnbError | None = None


def columns_of(description: Description) -> tuple[Column, ...]:
    """Return the columns of a class; there is always one, since a STRUCT cannot be empty."""
    return description.layout.columns or (Column("d_", "BOOLEAN"),)


def function_name(description: Description) -> str:
    """Return the name of the SQL function that reads odd payloads of a class."""
    return f"_esnb_read_{description.fingerprint[:24]}"


# DuckDB itself keeps no hold of a function beyond the cursor on which it was made.
_FUNCTIONS: dict[str, tuple[Any, Failures]] = {}


def register(cursor: duckdb.DuckDBPyConnection, owner: type[Aggregate]) -> Failures:
    """Make the reading function of a class known to the DuckDB behind `cursor`, once.

    Returns
    -------
    Failures
        Where it leaves what it raises.
    """
    description = owner.description
    name = function_name(description)
    read, failures = _FUNCTIONS.setdefault(name, _reading_function(owner))
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


def _reading_function(owner: type[Aggregate]) -> tuple[Any, Failures]:
    failures = Failures()
    columns = columns_of(owner.description)
    kinds = pa.struct([(column.name, arrow_type(column.type)) for column in columns])

    def read(event_types: Any, versions: Any, data: Any, positions: Any, streams: Any) -> pa.Array:
        rows = []
        for row in zip(
            *(part.to_pylist() for part in (event_types, versions, data, positions, streams)),
            strict=True,
        ):
            try:
                rows.append(read_odd(owner, *row))
            except EsnbError as error:
                failures.last = error
                raise
        return pa.array(rows, kinds)

    return read, failures


def read_odd(
    owner: type[Aggregate], event_type: str, version: int, data: str, position: int, stream: str
) -> dict[str, Any]:
    """Return the columns of one event, read by its class.

    Raises
    ------
    SchemaError, EventError
        Naming the event.
    """
    description = owner.description
    where = f" (event {event_type} at position {position} of {stream!r})"
    if event_type not in description.handlers:
        raise SchemaError(unknown_event(owner, event_type, None) + where)
    event = description.handlers[event_type][0]
    try:
        read = event.from_payload(jsontext.parse_object(data), version=version)
    except EventError as error:
        raise EventError(error.field, error.reason + where) from error
    except SchemaError as error:
        raise SchemaError(str(error) + where) from error
    found: dict[str, Any] = {}
    kinds = dict(paths_of(event))
    for path, column in description.layout.of(event).items():
        value: Any = read
        for key in path:
            value = getattr(value, key)
        try:
            found[column.name] = _fitting(to_column(kinds[path], value), column)
        except TypeError as error:
            raise EventError(".".join(path), f"{error}{where}") from error
    return found


def _fitting(value: Any, column: Column) -> Any:
    if isinstance(value, Decimal):
        digits = value.as_tuple()
        exponent = digits.exponent
        if not isinstance(exponent, int) or exponent < -6 or value.adjusted() > 11:
            raise EventError(column.name, f"{PYTHON_NEEDED}: {value} has too many digits")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise EventError(column.name, f"{PYTHON_NEEDED}: {value} is past 64 bits")
    return value
