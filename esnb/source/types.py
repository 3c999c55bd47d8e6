"""Declared types of CSV columns: numbers and the like instead of text, digit for digit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, jsontext
from esnb.errors import JsonError, SourceError
from esnb.source.batch import JSON_TEXT
from esnb.source.ledger import Ledger

__all__ = ["checked", "field", "typed"]

# What the text must look like, because a cast alone would round, trim or guess.
_WHOLE = r"[+-]?[0-9]+"
_FORMS: dict[str, str] = {
    "TINYINT": _WHOLE,
    "SMALLINT": _WHOLE,
    "INTEGER": _WHOLE,
    "BIGINT": _WHOLE,
    "UBIGINT": _WHOLE,
    "HUGEINT": _WHOLE,
    "DOUBLE": r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?",
    "BOOLEAN": r"(?i)true|false|t|f|yes|no|y|n|1|0",
    "DATE": r"[0-9]{4}-[0-9]{2}-[0-9]{2}",
    "VARCHAR": r"(?s).*",
    "JSON": r"(?s).*",
}
_DECIMAL = re.compile(r"DECIMAL\(([1-9]|[12]\d|3[0-8]),([0-9]|[12]\d|3[0-8])\)")
_ALIASES = {"INT": "INTEGER", "BOOL": "BOOLEAN", "TEXT": "VARCHAR", "STRING": "VARCHAR"}


def checked(declared: Mapping[str, str], columns: Sequence[str], source: str) -> dict[str, str]:
    """Return the declared types in DuckDB's names.

    Raises
    ------
    SourceError
        If a column or a type does not exist.
    """
    result = {}
    for name, given in declared.items():
        if name not in columns:
            known = ", ".join(map(repr, columns))
            raise SourceError(f"types: {source} has no column {name!r}. Its columns are {known}")
        kind = given.upper().replace(" ", "")
        kind = _ALIASES.get(kind, kind)
        found = _DECIMAL.fullmatch(kind)
        if kind not in _FORMS and (found is None or int(found[2]) > int(found[1])):
            raise SourceError(
                f"types: {given!r} for {name!r} is not known; say one of "
                f"{', '.join(_FORMS)}, or DECIMAL(18,2)"
            )
        result[name] = kind
    return result


def field(name: str, kind: str | None) -> Any:
    """Return the Arrow field of a column declared as `kind`."""
    if kind == "JSON":
        return pa.field(name, pa.string(), metadata=JSON_TEXT)
    if kind is None or kind == "VARCHAR":
        return pa.field(name, pa.string())
    with duck.connect() as connection:
        made = connection.execute(f"select null::{kind} as x").to_arrow_table()
    return pa.field(name, made.schema[0].type)


def typed(lines: Any, table: Any, kinds: Mapping[str, str], ledger: Ledger) -> tuple[Any, Any]:
    """Return lines and table with the declared columns cast; rows that do not fit are refused."""
    bad: dict[int, None] = {}
    with duck.connect() as connection:
        for name, kind in kinds.items():
            if name not in table.column_names or kind == "VARCHAR":
                continue
            place = table.column_names.index(name)
            texts = table.column(place)
            cast = _json(texts) if kind == "JSON" else _cast(connection, texts, kind)
            missed = pc.and_(pc.is_null(cast), pc.is_valid(texts))
            for row in pc.indices_nonzero(missed).to_pylist():
                if row not in bad:
                    bad[row] = None
                    text = texts[row].as_py()
                    ledger.reject(lines[row].as_py(), name, f"is no {kind}", text)
            table = table.set_column(place, field(name, kind), cast)
    if bad:
        keep = pa.array([row not in bad for row in range(len(lines))])
        lines, table = lines.filter(keep), table.filter(keep)
    return lines, table


def _cast(connection: duckdb.DuckDBPyConnection, texts: Any, kind: str) -> Any:
    found = _DECIMAL.fullmatch(kind)
    form = _FORMS.get(kind)
    if found is not None:
        form = rf"[+-]?[0-9]+(\.[0-9]{{0,{found[2]}}})?|[+-]?\.[0-9]{{1,{max(int(found[2]), 1)}}}"
    # `kind` is one of the names above, never the caller's own text.
    sql = f"select case when regexp_full_match(x, $1) then try_cast(x as {kind}) end from texts"  # noqa: S608
    connection.register("texts", pa.table({"x": texts}))
    return connection.execute(sql, [form]).to_arrow_table().column(0)


def _json(texts: Any) -> Any:
    result: list[str | None] = []
    for text in texts.to_pylist():
        try:
            if text is not None:
                jsontext.parse(text)
            result.append(text)
        except JsonError:
            result.append(None)
    return pa.chunked_array([pa.array(result, pa.string())])
