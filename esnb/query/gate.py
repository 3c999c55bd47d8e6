"""The gate: only one plain SELECT, of nothing but the tables of the session.

DuckDB's own parser turns the text into a tree and every node of it must be one
that is known to only read.  The locked session is the second wall behind it.  The
gate keeps out accidents and pasted SQL; a Python kernel is no boundary against
its own user.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

import duckdb
import orjson

from esnb.errors import QueryError, shown
from esnb.query.redact import redact

__all__ = ["check", "parameters", "tree"]

_MAX_TEXT = 1024 * 1024
_MAX_LINE = 400
_SERIALIZE = "select json_serialize_sql($1::varchar, skip_null:=true, skip_empty:=true)"
_TOO_DEEP = "the SQL is nested too deeply; simplify it (a long list belongs into IN (...))"
_UNSAFE = "pass unsafe=True if you mean to run it without the gate"

# Nodes without a class are query nodes, table references and modifiers.
_NODES = frozenset(
    {
        "SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE",
        "BASE_TABLE", "SUBQUERY", "JOIN", "TABLE_FUNCTION", "EXPRESSION_LIST", "EMPTY",
        "PIVOT", "SHOW_REF",
        "ORDER_MODIFIER", "LIMIT_MODIFIER", "LIMIT_PERCENT_MODIFIER", "DISTINCT_MODIFIER",
        "ORDER_DEFAULT", "ASCENDING", "DESCENDING",
    }
)  # fmt: skip
_CLASSES = frozenset(
    {
        "CONSTANT", "STAR", "FUNCTION", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "OPERATOR",
        "WINDOW", "CASE", "LAMBDA", "LAMBDA_REF", "BETWEEN", "SUBQUERY", "CAST", "COLLATE",
        "PARAMETER", "DEFAULT", "POSITIONAL_REFERENCE", "TYPE",
    }
)  # fmt: skip
_TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "json_each", "json_tree"}
)
# What reads files or memory, runs text, waits, or leaves something behind.
_FUNCTIONS = re.compile(
    r"(read|scan|write|parquet|duckdb|pragma|sqlite|postgres|mysql|iceberg|delta|ducklake|azure"
    r"|http|s3|load|copy|export|import|attach|enable|disable|truncate|sniff|seq|arrow|pandas"
    r"|python|st_read|st_write|st_drivers|shell|system)_.*"
    r"|.*_(scan|scan_dumb|secrets?|sleep|checkpoint|serialized_sql|serialize_plan)"
    r"|getenv|glob|query|query_table|checkpoint|summary|nextval|currval|setseed|sleep_ms"
    r"|write_log|from_substrait\w*|get_substrait\w*|test_all_types|test_vector_types"
)
_TABLES = re.compile(r"(duckdb|pragma|pg)_.*|sqlite_(temp_)?(master|schema)")
_PUNCTUATION = re.compile(r"[./\\:*?\[\]{}~$%@|<>&\s'\"]")
_SHOWN = frozenset({"tables", "databases", "schemas", "variables", "__show_tables_expanded"})


def check(connection: duckdb.DuckDBPyConnection, sql: str, allow: Collection[str] = ()) -> None:
    """Let `sql` pass if it is one plain SELECT, refuse it otherwise.

    Parameters
    ----------
    connection
        A connection to the locked session; nothing of `sql` runs on it.
    allow
        Table functions and macros of ours that may be called too.

    Raises
    ------
    QueryError
        Naming what is not allowed.
    """
    allowed = frozenset(name.lower() for name in allow)
    for kind, name in _walk(_parse(connection, sql)):
        plain = name.lower()
        if kind == "node":
            raise QueryError(f"{name} is no part of a plain SELECT; {_UNSAFE}")
        if kind == "table":
            _check_table(name)
        elif plain in allowed:
            continue
        elif kind == "table function" and plain not in _TABLE_FUNCTIONS:
            known = ", ".join(sorted(_TABLE_FUNCTIONS | allowed))
            raise QueryError(
                f"the table function {shown(name)} is not allowed here (there are {known}); "
                f"{_UNSAFE}"
            )
        elif kind == "function" and _FUNCTIONS.fullmatch(plain):
            raise QueryError(f"the function {shown(name)} is not allowed here; {_UNSAFE}")


def parameters(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """Return the names of the parameters in `sql` (``$name``), each once, as they are spelled.

    A ``?`` is called by its number.

    Raises
    ------
    QueryError
        If `sql` is not one SELECT.
    """
    names: list[str] = []
    rest = [_parse(connection, sql)]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(item)
        elif isinstance(item, dict):
            rest.extend(item.values())
            if item.get("class") == "PARAMETER":
                names.append(item["identifier"])
    return sorted(set(names))


def tree(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """Return the one statement in `sql` as DuckDB's parser sees it; nothing is checked.

    Raises
    ------
    QueryError
        If `sql` is not one SELECT.
    """
    return _parse(connection, sql)


def _parse(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """Return the tree of the one statement in `sql`, as DuckDB parses it."""
    if not isinstance(sql, str):
        raise QueryError(f"SQL must be text, not {type(sql).__name__}")
    if len(sql) > _MAX_TEXT:
        raise QueryError(f"the SQL has {len(sql):,} characters; {_MAX_TEXT:,} are allowed")
    if "\x00" in sql or any("\ud800" <= letter <= "\udfff" for letter in sql):
        raise QueryError("the SQL holds NUL or a lone surrogate; give such values as parameters")
    try:
        row = connection.cursor().execute(_SERIALIZE, [sql]).fetchone()
        found = orjson.loads(row[0] if row else b"")
    except (duckdb.Error, orjson.JSONDecodeError):
        raise QueryError(_TOO_DEEP) from None
    if found["error"]:
        if found["error_message"].startswith("Max expression depth"):
            raise QueryError(_TOO_DEEP)
        if found.get("error_type") == "parser":
            told = found["error_message"] + _pointed(sql, found.get("position"))
            raise QueryError(f"DuckDB cannot parse the SQL: {redact(told)}")
        raise QueryError(
            "only a SELECT may run here (a PIVOT needs its values: ON column IN ('a', 'b')); "
            + _UNSAFE
        )
    statements = found["statements"]
    if len(statements) != 1:
        raise QueryError(f"one statement at a time, please; this text holds {len(statements)}")
    return statements[0]


def _pointed(sql: str, position: str | None) -> str:
    """Return the line of `sql` in which a byte stands, and a caret below it."""
    if position is None or not position.isdigit():
        return ""
    before = sql.encode()[: int(position)].decode(errors="ignore")
    number = before.count("\n") + 1
    line = sql.split("\n")[number - 1][:_MAX_LINE]
    start = f"LINE {number}: "
    column = min(len(before) - before.rfind("\n") - 1, len(line))
    return f"\n\n{start}{line}\n{' ' * (len(start) + column)}^"


def _walk(tree: Any) -> Iterator[tuple[str, str]]:
    """Yield what has to be looked at: functions, tables, and unknown nodes."""
    rest = [tree]
    while rest:
        item = rest.pop()
        if isinstance(item, list):
            rest.extend(item)
        if not isinstance(item, dict):
            continue
        rest.extend(item.values())
        name = item.get("function_name")
        if isinstance(name, str):
            yield "function", name
        kind = item.get("class")
        if kind is not None:
            if kind not in _CLASSES:
                yield "node", str(kind)
            continue
        kind = item.get("type")
        if not isinstance(kind, str) or kind.endswith("_TYPE_INFO"):
            continue
        if kind not in _NODES:
            yield "node", kind
        elif kind == "TABLE_FUNCTION":
            yield "table function", str(item["function"].get("function_name"))
        elif kind == "BASE_TABLE":
            yield "table", item["table_name"]
            if "at_clause" in item:
                yield "node", "AT"
        elif kind == "SHOW_REF" and "query" not in item:
            name = str(item.get("table_name", "tables")).strip('"')
            if name not in _SHOWN:
                yield "table", name


def _check_table(name: str) -> None:
    """Refuse what DuckDB would take for a file, an address or a part of itself."""
    if _PUNCTUATION.search(name):
        raise QueryError(
            f"the table name {shown(name)} may be a file or an address, which cannot be read "
            f"here; import it with esnb.import_events, or {_UNSAFE}"
        )
    if _TABLES.fullmatch(name.lower()):
        raise QueryError(
            f"the table {shown(name)} is not allowed here (SHOW TABLES and DESCRIBE are); {_UNSAFE}"
        )
