"""Columns into JSON text, whole batches at once and without losing a digit.

DuckDB's own ``to_json`` sends decimals through doubles and writes NaN; hence the
text is put together here from the parts that are exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esnb import jsontext
from esnb.errors import JsonError, SourceError
from esnb.query.names import literal
from esnb.source.batch import JSON_TEXT

__all__ = ["check_texts", "object_texts", "plain", "whole_object"]

# Marks what has no JSON form. It cannot stand in JSON text, so it cannot be mistaken.
_MARK = "\x00"
_REASON = "holds NaN or an infinity, which have no JSON form"


def object_texts(
    connection: duckdb.DuckDBPyConnection, table: Any, names: Sequence[str]
) -> tuple[Any, dict[int, str]]:
    """Return one JSON object per row from the columns `names`, and reasons of rows without one."""
    arrays, fields = [], []
    reasons: dict[int, str] = {}
    for name in names:
        place = table.column_names.index(name)
        column, field = plain(table.column(place), table.schema.field(place))
        column = _without_twins(column, reasons)
        arrays.append(column)
        fields.append(field)
    if not names:
        return pa.chunked_array([pa.array(["{}"] * table.num_rows, pa.string())]), {}
    parts = []
    fresh = (f"v{number}" for number in count())
    for place, (name, field) in enumerate(zip(names, fields, strict=True)):
        key = jsontext.canonical(name)
        parts.append(
            f"{literal((',' if place else '') + key + ':')} || {_value(f'c{place}', field, fresh)}"
        )
    # Only names and expressions of our own making stand in this text.
    sql = f"select '{{' || {' || '.join(parts)} || '}}' from part"  # noqa: S608
    connection.register("part", pa.Table.from_arrays(arrays, [f"c{i}" for i in range(len(names))]))
    try:
        texts = connection.execute(sql).to_arrow_table().column(0)
    except duckdb.Error as error:
        raise SourceError(
            f"the columns {', '.join(map(repr, names))} cannot be written as JSON: {error}"
        ) from None
    finally:
        connection.unregister("part")
    marked = pc.match_substring(texts, _MARK)
    if pc.any(marked).as_py():
        reasons |= dict.fromkeys(pc.indices_nonzero(marked).to_pylist(), _REASON)
    return texts, reasons


def whole_object(
    connection: duckdb.DuckDBPyConnection, column: Any, field: Any
) -> tuple[Any, dict[int, str]]:
    """Return the JSON objects that stand in one column, to the letter where it is text."""
    column, field = plain(column, field)
    reasons: dict[int, str] = {}
    column = _without_twins(column, reasons)
    kind = field.type
    if pa.types.is_string(kind):
        return column, check_texts(column)
    if pa.types.is_struct(kind) or pa.types.is_map(kind):
        sql = f"select {_value('c0', field, (f'v{i}' for i in count()))} from part"  # noqa: S608
        connection.register("part", pa.Table.from_arrays([column], ["c0"]))
        texts = connection.execute(sql).to_arrow_table().column(0)
        texts = pc.if_else(pc.equal(texts, "null"), pa.scalar(None, pa.string()), texts)
        marked = pc.fill_null(pc.match_substring(texts, _MARK), False)
        reasons |= dict.fromkeys(pc.indices_nonzero(marked).to_pylist(), _REASON)
        return texts, reasons
    raise SourceError(
        f"the column {field.name!r} holds {kind}, not JSON text; "
        f"say a list of columns instead: [{field.name!r}]"
    )


def check_texts(texts: Any) -> dict[int, str]:
    """Return the rows whose text is no strict JSON object, with the reason; null passes."""
    reasons = {}
    for row, text in enumerate(texts.to_pylist()):
        if text is not None:
            try:
                jsontext.check_object(text)
            except JsonError as error:
                reasons[row] = str(error)
    return reasons


def plain(column: Any, field: Any) -> tuple[Any, Any]:
    """Return a column in a type that DuckDB reads exactly: no dictionaries, no cut times."""
    kind = field.type
    metadata = field.metadata
    if isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name == "arrow.json":
            metadata = JSON_TEXT
        kind = kind.storage_type
        column = pa.chunked_array([chunk.storage for chunk in column.chunks], kind)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_run_end_encoded(kind):
        kind = kind.value_type
        column = pc.run_end_decode(column)
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        kind = pa.string()
        column = column.cast(kind)
    elif pa.types.is_timestamp(kind):
        if kind.tz is not None:
            column = column.cast(pa.timestamp(kind.unit, "UTC"))
        column = pc.replace_substring(column.cast(pa.string()), " ", "T")
        kind = pa.string()
    elif pa.types.is_decimal256(kind):
        column, kind, metadata = column.cast(pa.string()), pa.string(), JSON_TEXT
    elif pa.types.is_float16(kind):
        kind = pa.float32()
        column = column.cast(kind)
    return column, pa.field(field.name, kind, metadata=metadata)


def _value(x: str, field: Any, fresh: Iterator[str]) -> str:
    """Return an SQL expression for the JSON text of `x`, never null."""
    kind = field.type
    if (field.metadata or {}).get(b"esnb") == b"json":
        return f"coalesce({x}, 'null')"
    if pa.types.is_null(kind):
        return "'null'"
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return f"coalesce({x}::varchar, 'null')"
    if pa.types.is_floating(kind):
        text = f"case when isfinite({x}) then {x}::varchar else chr(0) end"
        return f"case when {x} is null then 'null' else {text} end"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return f"coalesce(to_json({x})::varchar, 'null')"
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return f"coalesce(to_json(to_base64({x}))::varchar, 'null')"
    if pa.types.is_struct(kind):
        members = []
        for place, inner in enumerate(kind):
            key = literal(("," if place else "") + jsontext.canonical(inner.name) + ":")
            member = _value(f"struct_extract({x}, {literal(inner.name)})", inner, fresh)
            members.append(f"{key} || {member}")
        body = " || ".join(members) or "''"
        return f"case when {x} is null then 'null' else '{{' || {body} || '}}' end"
    if pa.types.is_map(kind):
        e = next(fresh)
        item = pa.field("value", kind.item_type)
        entry = f"to_json({e}.key::varchar)::varchar || ':' || {_value(f'{e}.value', item, fresh)}"
        body = f"array_to_string(list_transform(map_entries({x}), lambda {e}: {entry}), ',')"
        return f"case when {x} is null then 'null' else '{{' || {body} || '}}' end"
    if pa.types.is_nested(kind) and hasattr(kind, "value_field"):
        v = next(fresh)
        inner = _value(v, kind.value_field, fresh)
        body = f"array_to_string(list_transform({x}, lambda {v}: {inner}), ',')"
        return f"case when {x} is null then 'null' else '[' || {body} || ']' end"
    return f"coalesce(to_json({x}::varchar)::varchar, 'null')"


def _without_twins(column: Any, reasons: dict[int, str]) -> Any:
    """Empty the maps that hold a key twice: DuckDB would refuse the whole column."""
    if not pa.types.is_map(column.type):
        return column
    bad = []
    for row, entries in enumerate(column.to_pylist()):
        keys = [key for key, _ in entries or ()]
        bad.append(len(set(keys)) < len(keys))
        if bad[-1]:
            reasons[row] = "holds a map with a key twice"
    return pc.if_else(pa.array(bad, pa.bool_()), pa.scalar(None, column.type), column)
