"""Times of a whole column, read as `esnb.instants` reads one.

What is plain ISO 8601 is read by DuckDB and Arrow, a hundred times faster;
everything else, and every refusal, is judged by `instants.instant` itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb import instants
from esnb.errors import InputError, InstantError, SourceError
from esnb.schema import INSTANT
from esnb.source.payload import plain

__all__ = ["EPOCHS", "check_column", "column"]

EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1000, "epoch_us": 1}
_DAY = r"[0-9]{4}-(0[1-9]|1[0-2])-([0-2][0-9]|3[01])"
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?"
_FULL = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_AWARE = rf"{_DAY}[T ]{_FULL}(Z|[+-](0[0-9]|1[0-5]):[0-5][0-9])"
_NAIVE = rf"{_DAY}([T ]{_CLOCK})?"
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
# Years below 1000 in a format may be two digits read as a year: `instant` decides.
_YEAR_1000 = -30_610_224_000_000_000

Times = tuple[Any, dict[int, str]]


def check_column(name: str, kind: Any, zone: str | None, form: str | None) -> None:
    """Refuse a column that cannot hold instants at all.

    Raises
    ------
    SourceError
        Saying what to declare.
    """
    if pa.types.is_timestamp(kind):
        if kind.tz is None and zone is None:
            raise SourceError(
                f"the times in {name!r} have no time zone. Declare it: zone='Europe/Berlin'"
            )
    elif pa.types.is_integer(kind):
        if form not in EPOCHS:
            raise SourceError(
                f"{name!r} holds whole numbers; say what they count: "
                f"time_format={' or '.join(map(repr, EPOCHS))}"
            )
    elif pa.types.is_date(kind):
        if zone is None:
            raise SourceError(
                f"{name!r} holds dates; declare the zone of their midnight: zone='Europe/Berlin'"
            )
    elif not (pa.types.is_string(kind) or pa.types.is_null(kind)):
        raise SourceError(f"{name!r} holds {kind}, which is no time")


def column(
    connection: duckdb.DuckDBPyConnection, given: Any, zone: str | None, form: str | None
) -> Times:
    """Return `given` as instants, null where it is missing or unreadable, and the reasons."""
    kind = given.type
    if pa.types.is_timestamp(kind):
        return _typed(given, zone)
    if pa.types.is_date(kind):
        return _typed(given.cast(pa.timestamp("us")), zone)
    if pa.types.is_integer(kind):
        return _epoch(given.cast(pa.string()), EPOCHS[form or "epoch_s"])
    text, _ = plain(given, pa.field("x", kind))
    text = text.cast(pa.string())
    if form in EPOCHS:
        return _epoch(text, EPOCHS[form or "epoch_s"])
    return _texts(connection, text, zone, form)


def _typed(given: Any, zone: str | None) -> Times:
    reasons: dict[int, str] = {}
    kind = given.type
    if kind.unit == "ns":
        number = pc.fill_null(given.cast(pa.int64()), 0).to_numpy()
        for row in np.nonzero(number % 1000)[0].tolist():
            reasons[row] = "is finer than a microsecond; round it first, knowingly"
        given = given.cast(pa.timestamp("us", kind.tz), safe=False)
    elif kind.unit != "us":
        given = given.cast(pa.timestamp("us", kind.tz))
    if kind.tz is None:
        given, skipped = _localised(given, zone)
        for row in pc.indices_nonzero(skipped).to_pylist():
            reasons[row] = f"the clocks of {zone} skipped this time"
    number = given.cast(pa.int64())
    outside = pc.or_(pc.less(number, _FIRST), pc.greater(number, _LAST))
    for row in pc.indices_nonzero(pc.fill_null(outside, False)).to_pylist():
        reasons[row] = "lies outside the years 1 to 9999"
    return given.cast(INSTANT), reasons


def _localised(naive: Any, zone: str | None) -> tuple[Any, Any]:
    """Return the instants of local times (the first of two), and which times never were."""
    if zone is None or zone == "UTC":
        return naive.cast(INSTANT), pc.and_(pc.is_null(naive), False)
    aware = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="earliest")
    skipped = pc.fill_null(pc.not_equal(pc.local_timestamp(aware), naive), False)
    return aware.cast(INSTANT), skipped


def _epoch(texts: Any, factor: int) -> Times:
    values: list[int | None] = []
    reasons: dict[int, str] = {}
    for row, text in enumerate(texts.to_pylist()):
        value = None
        if text is not None:
            if re.fullmatch(r"[+-]?[0-9]{1,20}", text) is None:
                reasons[row] = f"{text[:40]!r} is no whole number"
            else:
                value = int(text) * factor
                if not _FIRST <= value <= _LAST:
                    value, reasons[row] = None, "lies outside the years 1 to 9999"
        values.append(value)
    return pa.chunked_array([pa.array(values, pa.int64()).cast(INSTANT)]), reasons


def _texts(
    connection: duckdb.DuckDBPyConnection, texts: Any, zone: str | None, form: str | None
) -> Times:
    if form is None and (aware := _all_aware(texts)) is not None:
        return _judged(_inside(aware, _FIRST), texts, zone, form)
    connection.register("texts", pa.table({"x": texts}))
    if form is None:
        aware = connection.execute(
            "select case when regexp_full_match(x, $1) then epoch_us(try_cast(x as timestamptz))"
            " end from texts",
            [_AWARE],
        ).to_arrow_table()[0]
        naive = pa.chunked_array([pa.nulls(len(texts), pa.timestamp("us"))])
        if aware.null_count > texts.null_count and zone is not None:
            naive = connection.execute(
                "select case when regexp_full_match(x, $1) then try_cast(x as timestamp) end"
                " from texts",
                [_NAIVE],
            ).to_arrow_table()[0]
        lowest = _FIRST
    else:
        aware = pa.chunked_array([pa.nulls(len(texts), pa.int64())])
        naive = pa.chunked_array([pa.nulls(len(texts), pa.timestamp("us"))])
        if "%z" not in form and "%Z" not in form:
            found = connection.execute(
                "select try_strptime(x, $1) from texts", [form]
            ).to_arrow_table()
            naive = found.column(0).cast(pa.timestamp("us"))
        lowest = _YEAR_1000
    connection.unregister("texts")
    if naive.null_count < len(naive) and zone is not None:
        local, skipped = _localised(naive, zone)
        local = pc.if_else(skipped, pa.scalar(None, INSTANT), local)
        aware = pc.coalesce(aware, local.cast(pa.int64()))
    return _judged(_inside(aware, lowest), texts, zone, form)


def _all_aware(texts: Any) -> Any:
    """Return texts in microseconds where each is plain and has its offset; else None."""
    if not pc.all(pc.match_substring_regex(texts, rf"\A{_AWARE}\z")).as_py():
        return None
    try:
        return texts.cast(INSTANT).cast(pa.int64())
    except pa.ArrowInvalid:  # no such day
        return None


def _inside(micros: Any, lowest: int) -> Any:
    """Return the times that are late enough, and before the year 10000; null for the others."""
    inside = pc.and_(pc.greater_equal(micros, lowest), pc.less_equal(micros, _LAST))
    return pc.if_else(pc.fill_null(inside, False), micros, pa.scalar(None, pa.int64()))


def _judged(found: Any, texts: Any, zone: str | None, form: str | None) -> Times:
    """Let `instants` read, or refuse with its reason, what is still unread."""
    open_rows = pc.indices_nonzero(pc.and_(pc.is_null(found), pc.is_valid(texts))).to_pylist()
    if not open_rows:
        return found.cast(INSTANT), {}
    values = found.to_pylist()
    reasons: dict[int, str] = {}
    known: dict[str, int | str] = {}
    read = _reader(zone, form)
    for row in open_rows:
        text = texts[row].as_py()
        answer = known.get(text)
        if answer is None:
            try:
                answer = instants.micros(read(text))
            except InputError as error:
                answer = error.reason if isinstance(error, InstantError) else str(error)
            known[text] = answer
        if isinstance(answer, int):
            values[row] = answer
        else:
            reasons[row] = answer
    return pa.chunked_array([pa.array(values, pa.int64()).cast(INSTANT)]), reasons


def _reader(zone: str | None, form: str | None) -> Callable[[str], datetime]:
    if form is None:
        return lambda text: instants.instant(text, declared=zone)

    def read(text: str) -> datetime:
        try:
            value = datetime.strptime(text, form)
        except ValueError:
            raise InstantError(text, f"does not match the format {form!r}") from None
        return instants.instant(value, declared=zone)

    return read
