"""Events of an analyst's own: a relation of DuckDB, or a frame of pandas, Polars or Arrow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, instants
from esnb.errors import FlowError, shown
from esnb.flow.selection import Clock
from esnb.flow.steps import Ints
from esnb.sqltext import literal, quote

__all__ = ["FrameSelection"]

_BATCH = 1_000_000
_MICROS = pa.timestamp("us", "UTC")
_FIRST = instants.micros(datetime(1, 1, 1, tzinfo=UTC))
_LAST = instants.micros(datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC))


class FrameSelection:
    """Rows of a table, each of which is an event.

    Parameters
    ----------
    table
        Relation of DuckDB, or frame of pandas, Polars or Arrow.
    case_id, event_type, time
        Names of the columns: text (or whatever can be cast to it), text, instants.  Rows of a
        case that have one time stay as the table has them.
    zone
        Zone (IANA name) of times that carry none, and in which results are shown.

    Raises
    ------
    FlowError
        If it is no table or there is no such column.
    InstantError
        If there is no such zone.
    """

    clock: Clock = "occurred"
    most: int | None = None

    def __init__(
        self, table: Any, *, case_id: str, event_type: str, time: str, zone: str | None = None
    ) -> None:
        if zone is not None:
            instants.zone(zone)
        self._table = table
        self.declared = zone
        self.zone = zone or "UTC"
        self.of = f"a {type(table).__name__}"
        self.described = f"{self.of}, by {time}, {self.zone}"
        self._names = {"case_id": case_id, "event_type": event_type, "time": time}
        known = _columns(table)
        for role, name in self._names.items():
            if name not in known:
                some = ", ".join(map(shown, known[:12])) + (", …" if len(known) > 12 else "")
                raise FlowError(f"{role}={shown(name)}: there is no such column; there are {some}")
        self._connection: duckdb.DuckDBPyConnection | None = None

    def batches(self) -> Iterator[Any]:
        """Yield the rows as `esnb.flow.steps.ordered` takes them."""
        names, first = self._names, 0
        for batch in _reader(self._table, list(dict.fromkeys(names.values()))):
            position = pa.array(np.arange(first, first + batch.num_rows))
            first += batch.num_rows
            yield pa.record_batch(
                {
                    "case_id": _texts(names["case_id"], batch.column(names["case_id"])),
                    "event_type": _texts(names["event_type"], batch.column(names["event_type"])),
                    "time": self._micros(batch.column(names["time"])),
                    "position": position,
                }
            )

    def matching(self, where: str | None, filters: Mapping[str, Any]) -> Ints:
        raise FlowError(
            "this flow is of a table, whose events have no other columns to ask for; say windows,"
            " or compare with the flow of another table"
        )

    def cursor(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            self._connection = duck.connect()
            self._connection.execute(f"SET GLOBAL TimeZone = {literal(self.zone)}")
            self._connection.execute("SET GLOBAL enable_external_access = false")
        return self._connection.cursor()

    def events_cursor(self) -> duckdb.DuckDBPyConnection:
        raise FlowError(
            "this flow is of a table, not of a log: it has no events to look further into"
        )

    def _micros(self, at: Any) -> Any:
        name = self._names["time"]
        if pa.types.is_date(at.type):
            at = at.cast(pa.timestamp("us"))
        if not pa.types.is_timestamp(at.type):
            raise FlowError(
                f"time={shown(name)} is of type {at.type}; cast it to a timestamp before"
            )
        try:
            if at.type.tz is None:
                if self.declared is None:
                    raise FlowError(
                        f"the times in {shown(name)} have no time zone; say zone='Europe/Berlin'"
                    )
                at = pc.assume_timezone(at.cast(pa.timestamp("us")), self.declared)
            micros = at.cast(_MICROS).cast(pa.int64())
        except pa.ArrowException as error:
            raise FlowError(f"time={shown(name)}: {error}") from None
        outside = pc.or_(pc.less(micros, _FIRST), pc.greater(micros, _LAST))
        if pc.any(outside).as_py():
            count = pc.sum(outside).as_py()
            raise FlowError(
                f"time={shown(name)}: {count:,} times lie outside the years 1 to 9999;"
                " leave them out"
            )
        return micros


def _texts(name: str, column: Any) -> Any:
    kind = column.type
    try:
        if pa.types.is_dictionary(kind) and not column.dictionary.null_count:
            # Each text stays in memory once.
            texts = column.dictionary.cast(pa.string())
            return pa.DictionaryArray.from_arrays(column.indices, texts)
        return column.cast(pa.string())
    except pa.ArrowException as error:
        raise FlowError(f"{shown(name)} is of type {kind}, which is no text ({error})") from None


def _columns(table: Any) -> list[str]:
    if hasattr(table, "__arrow_c_stream__") or isinstance(table, duckdb.DuckDBPyRelation):
        return list(getattr(table, "column_names", None) or table.columns)
    raise FlowError(
        f"a {type(table).__name__} is no table of events. Give a relation of DuckDB, or a frame of"
        " pandas, Polars or Arrow"
    )


def _reader(table: Any, names: list[str]) -> Any:
    """Return a reader of some columns; a table may be read again later."""
    if isinstance(table, duckdb.DuckDBPyRelation):
        return table.project(", ".join(map(quote, names))).to_arrow_reader(_BATCH)
    try:
        if isinstance(table, pa.Table):
            return table.select(names).to_reader(_BATCH)
        return pa.RecordBatchReader.from_stream(table[names])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise FlowError(f"the table cannot be read: {error}") from None
