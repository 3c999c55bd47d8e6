"""From a frame that somebody gives to batches in canonical columns, checked to the row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, instants, jsontext
from esnb.errors import EventError, InputError, JsonError
from esnb.log.rawtext import suspects
from esnb.schema import EVENT_SCHEMA, INSTANT, MAX_PAYLOAD, check_text

__all__ = ["batches", "canonical", "check_payloads"]

# Half a million rows of ordinary events are about 150 MB: large segments, small memory.
_ROWS = 500_000
_BYTES = 192 * 1024 * 1024
_REQUIRED = ("stream", "event_type", "data")
_TEXT = ("stream", "event_type", "event_id", "actor", "correlation_id", "causation_id")
_OPTIONAL_TEXT = ("actor", "correlation_id", "causation_id")
# The first and the last microsecond of the years 1 to 9999.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999
# An object of scalars and of arrays of scalars, its keys without escapes and its numbers
# short: for such text only double keys remain to be looked for.  Other text may be as
# good, but is parsed.
_STRING = r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt])*"'
_SCALAR = rf"(?:{_STRING}|-?(?:0|[1-9][0-9]{{0,17}})(?:\.[0-9]{{1,17}})?|true|false|null)"
_VALUE = rf"(?:{_SCALAR}|\[\]|\[{_SCALAR}(?:, ?{_SCALAR})*\])"
_MEMBER = rf'"[^"\\\x00-\x1f]*": ?{_VALUE}'
_PLAIN_OBJECT = rf"\A(?:\{{\}}|\{{{_MEMBER}(?:, ?{_MEMBER})*\}})\z"
_PLAIN_KEY = re.compile(r'[^"\\\x00-\x1f]*')
# Texts in which the usual objects are looked for, and how many keys make too long a pattern.
_SAMPLE = 256
_MANY_KEYS = 48
_OWN = {"position", "revision", "category"}


def batches(frame: Any) -> Iterator[pa.Table]:
    """Yield tables of a good size from any frame that speaks Arrow.

    `frame` is a table, a reader, record batches, or an object of pandas, Polars or DuckDB.
    """
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in _reader(frame):
        row_bytes = batch.nbytes // max(batch.num_rows, 1) + 1
        step = min(_ROWS, _BYTES // row_bytes + 1)
        for start in range(0, batch.num_rows, step):
            part = batch.slice(start, step)
            waiting.append(part)
            rows += part.num_rows
            size += part.num_rows * row_bytes
            if rows >= _ROWS or size >= _BYTES:
                # Whole columns: rows are taken from them many times, from pieces of text slowly.
                whole = pa.Table.from_batches(waiting).combine_chunks()
                waiting, rows, size = [], 0, 0
                yield whole
                del whole
    if waiting:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _reader(frame: Any) -> Iterable[Any]:
    if isinstance(frame, pa.Table):
        batches: Iterable[Any] = frame.to_batches()
        return batches
    if isinstance(frame, pa.RecordBatch):
        return iter([frame])
    if isinstance(frame, pa.RecordBatchReader):
        reader: Iterable[Any] = frame
        return reader
    if hasattr(frame, "__arrow_c_stream__"):
        stream: Iterable[Any] = pa.RecordBatchReader.from_stream(frame)
        return stream
    if isinstance(frame, Iterable) and not isinstance(frame, str | bytes | dict):
        return iter(frame)
    raise InputError(
        f"a {type(frame).__name__} is not a frame; give a pandas, Polars, DuckDB or Arrow table"
    )


def canonical(part: pa.Table, offset: int, zone: str | None) -> pa.Table:
    """Return `part` with all columns of EVENT_SCHEMA but position, revision and category.

    Payloads are not looked into; see `check_payloads`.

    Parameters
    ----------
    offset
        Row number of the first row in the whole frame, for errors.
    zone
        Declared zone, for timestamps without one.

    Raises
    ------
    EventError
        Naming the first bad row and its field.
    """
    names = set(part.column_names)
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise EventError(missing[0], f"there is no such column (there are {sorted(names)})")
    unknown = names - set(EVENT_SCHEMA.names)
    if unknown:
        raise EventError(
            min(unknown),
            "is no column of an event. Put it into data, or import with esnb.import_events",
        )
    columns: dict[str, pa.ChunkedArray | pa.Array] = {}
    for name in EVENT_SCHEMA.names:
        if name in _OWN:
            continue
        given = part[name] if name in names else None
        columns[name] = _column(name, given, part.num_rows, zone, offset)
    if "recorded_on" not in names and "occurred_on" in names:
        columns["recorded_on"] = columns["occurred_on"]
    _check_names(columns, offset)
    table = pa.table({name: columns[name] for name in EVENT_SCHEMA.names if name not in _OWN})
    return table.cast(pa.schema([EVENT_SCHEMA.field(name) for name in table.column_names]))


def _column(
    name: str, given: pa.ChunkedArray | None, rows: int, zone: str | None, offset: int
) -> Any:
    kind = EVENT_SCHEMA.field(name).type
    if given is None:
        if name == "event_id":
            return _new_ids(rows)
        default: Any = {"schema_version": 1, "tags": [], "metadata": "{}"}.get(name)
        if pa.types.is_timestamp(kind):
            return pa.repeat(pa.scalar(instants.micros(instants.now())).cast(kind), rows)
        if name == "tags":
            return pa.ListArray.from_arrays(
                pa.repeat(0, rows + 1).cast(pa.int32()), pa.array([], pa.string())
            ).cast(kind)
        return pa.repeat(pa.scalar(default, kind), rows)
    if pa.types.is_timestamp(kind):
        given = _instants(name, given, zone, offset)
    else:
        if pa.types.is_dictionary(given.type):
            given = given.cast(given.type.value_type)
        try:
            given = given.cast(kind)
        except pa.ArrowException as error:
            raise EventError(name, f"cannot be read as {kind} ({error})") from None
    if name in ("metadata", "tags", "schema_version") and given.null_count:
        fill = {"metadata": "{}", "schema_version": 1}.get(name)
        if name == "tags":
            return pa.array([tags or [] for tags in given.to_pylist()], kind)
        given = given.fill_null(pa.scalar(fill, kind))
    return given


def _new_ids(rows: int) -> pa.ChunkedArray:
    with duck.connect() as connection:
        made = connection.execute("select uuidv7()::varchar as id from range(?)", [rows])
        return made.to_arrow_table()["id"]


def _instants(name: str, given: pa.ChunkedArray, zone: str | None, offset: int) -> Any:
    kind = given.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        values = []
        for row, text in enumerate(given.to_pylist()):
            if text is None:
                raise EventError(name, "is missing", row=offset + row)
            try:
                values.append(instants.micros(instants.instant(text, declared=zone)))
            except InputError as error:
                raise EventError(name, str(error), row=offset + row) from None
        return pa.chunked_array([pa.array(values, pa.int64()).cast(INSTANT)])
    if not pa.types.is_timestamp(kind):
        raise EventError(name, f"must be a timestamp, not {kind}")
    _refuse(name, pc.is_null(given), "is missing", offset)
    if kind.tz is None:
        if zone is None:
            raise EventError(
                name, "has no time zone. Declare one: esnb.create(path, zone='Europe/Berlin')"
            )
        given = pc.assume_timezone(given, zone, ambiguous="earliest", nonexistent="raise")
    try:
        exact = given.cast(INSTANT)
    except pa.ArrowException:
        raise EventError(name, "is finer than a microsecond; round it first, knowingly") from None
    number = exact.cast(pa.int64())
    outside = pc.or_(pc.less(number, _FIRST), pc.greater(number, _LAST))
    _refuse(name, outside, "lies outside the years 1 to 9999", offset)
    return exact


def _check_names(columns: dict[str, Any], offset: int) -> None:
    """Check whole columns at once; the row at fault is looked for only when there is one."""
    for name in _TEXT:
        column = columns[name]
        if name not in _OPTIONAL_TEXT:
            _refuse(name, pc.is_null(column), "is missing", offset)
        _judge(name, column, offset)
    tags = columns["tags"]
    flat = pc.list_flatten(tags)
    if len(flat):
        _refuse("tags", pc.is_null(flat), "hold a null", offset)
        _judge("tag", flat, offset)
    _refuse("schema_version", pc.less(columns["schema_version"], 1), "must be from 1", offset)
    for name in ("data", "metadata"):
        column = columns[name]
        _refuse(name, pc.is_null(column), "is missing", offset)
        too_long = pc.greater(pc.binary_length(column), MAX_PAYLOAD)
        _refuse(name, too_long, f"is longer than {MAX_PAYLOAD} bytes", offset)


def _judge(name: str, column: Any, offset: int) -> None:
    """Let `check_text` judge the texts that could fail it, and only those."""
    odd = suspects(name, column)
    if odd is None:
        return
    for row in pc.indices_nonzero(odd).to_pylist():
        try:
            check_text(name, column[row].as_py())
        except EventError as error:
            raise EventError(name, error.reason, row=offset + row) from None


def _refuse(name: str, bad: Any, reason: str, offset: int) -> None:
    if pc.any(bad).as_py():
        raise EventError(name, reason, row=offset + bad.to_pylist().index(True))


def check_payloads(name: str, column: Any, offset: int) -> None:
    """Check that payloads are strict JSON objects: most at once, the others one by one.

    Raises
    ------
    EventError
        Naming the first bad row.
    """
    rest = np.arange(len(column))
    usual = _usual_objects(column) if len(column) else None
    if usual is not None:
        rest = np.flatnonzero(~pc.match_substring_regex(column, usual).to_numpy())
        column = column.take(pa.array(rest))
    if not len(rest):
        return
    plain = pc.match_substring_regex(column, _PLAIN_OBJECT)
    odd = np.flatnonzero(~plain.to_numpy())
    if _some_key_twice(column.filter(plain) if len(odd) else column):
        odd = np.arange(len(column))
    rows = rest[odd].tolist()
    for row, text in zip(rows, column.take(pa.array(odd)).to_pylist(), strict=True):
        try:
            jsontext.check_object(text)
        except JsonError as error:
            raise EventError(name, str(error), row=offset + row) from None


def _usual_objects(column: Any) -> str | None:
    """Return a pattern of plain objects with the keys that a sample has; None where none prevail.

    The keys of each are different by themselves, so that what it matches need not be asked
    for twins.
    """
    sample = column.take(pa.array(np.unique(np.linspace(0, len(column) - 1, _SAMPLE, dtype=int))))
    shapes: Counter[tuple[str, ...]] = Counter()
    for text in sample.to_pylist():
        try:
            keys = tuple(jsontext.parse_object(text))
        except JsonError:
            continue
        if all(_PLAIN_KEY.fullmatch(key) for key in keys):
            shapes[keys] += 1
    usual: list[str] = []
    covered = size = 0
    for keys, count in shapes.most_common():
        size += len(keys) + 1
        if size > _MANY_KEYS:
            break
        members = (f'"{re.escape(key)}": ?{_VALUE}' for key in keys)
        usual.append(rf"\{{{', ?'.join(members)}\}}")
        covered += count
    return rf"\A(?:{'|'.join(usual)})\z" if covered > len(sample) // 2 else None


def _some_key_twice(objects: Any) -> bool:
    """Tell whether any of these objects has a key twice.  Most events have one of few shapes."""
    with duck.connect() as connection:
        connection.register("frame", pa.table({"text": objects}))
        # In two steps: DuckDB would push the condition down to every row.
        connection.execute(
            "create table shapes as select distinct json_keys(text) as keys from frame"
        )
        found = connection.execute(
            "select 1 from shapes where len(keys) <> len(list_distinct(keys)) limit 1"
        )
        return found.fetchone() is not None
