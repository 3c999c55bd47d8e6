"""The canonical event table: its columns, its limits, the rules for names.

Everything above this module works on any relation with these columns, whether
it comes from a log on disk, a data frame or a file.
"""

from __future__ import annotations

import pyarrow as pa

from esnb.errors import EventError

__all__ = [
    "COLUMNS",
    "EVENT_SCHEMA",
    "INSTANT",
    "MAX_PAYLOAD",
    "NO_EVENTS",
    "category_of",
    "check_text",
]

INSTANT = pa.timestamp("us", tz="UTC")

EVENT_SCHEMA = pa.schema(
    [
        pa.field("position", pa.int64(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("stream", pa.string(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("revision", pa.int64(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("occurred_on", INSTANT, nullable=False),
        pa.field("recorded_on", INSTANT, nullable=False),
        pa.field("actor", pa.string()),
        pa.field("correlation_id", pa.string()),
        pa.field("causation_id", pa.string()),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("data", pa.string(), nullable=False),
        pa.field("metadata", pa.string(), nullable=False),
    ]
)
COLUMNS: tuple[str, ...] = tuple(EVENT_SCHEMA.names)
# Made from batches: `EVENT_SCHEMA.empty_table()` would import pandas, a third of a cold start.
NO_EVENTS: pa.Table = pa.Table.from_batches([], EVENT_SCHEMA)

MAX_PAYLOAD = 16 * 1024 * 1024
# Bytes in UTF-8, after SAFETY: long enough for any name a system gives, short enough for an index.
_LIMITS = {
    "stream": 1024,
    "event_type": 256,
    "event_id": 256,
    "actor": 1024,
    "correlation_id": 256,
    "causation_id": 256,
    "tag": 1024,
}


def category_of(stream: str) -> str:
    """Return the category of a stream: the text before the first ``-`` (all of it without one).

    >>> category_of("order-1042")
    'order'
    """
    return stream.partition("-")[0]


def check_text(field: str, value: object) -> str:
    """Return `value` if it can stand in the text column `field`.

    Raises
    ------
    EventError
        If it is not text, is empty, too long, or holds NUL or a lone surrogate.
    """
    limit = _LIMITS[field]
    plain = type(value) is str and value.isascii() and "\x00" not in value
    if plain and 0 < len(value) <= limit and (field != "stream" or value[0] != "-"):  # type: ignore[arg-type,index]
        return value  # type: ignore[return-value]
    if not isinstance(value, str):
        raise EventError(field, f"must be text, not {type(value).__name__}")
    if not value:
        raise EventError(field, "is empty")
    if "\x00" in value:
        raise EventError(field, "holds a NUL character")
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise EventError(field, "holds a lone surrogate, which is no character") from None
    if size > limit:
        raise EventError(field, f"has {size} bytes; {limit} are allowed")
    if field == "stream" and not category_of(value):
        raise EventError(field, "has no category before its '-'; say e.g. 'order-1042'")
    return value
