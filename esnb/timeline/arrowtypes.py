"""Arrow's types for those of DuckDB in which events and states stand."""

from __future__ import annotations

import pyarrow as pa

__all__ = ["arrow_type"]


def arrow_type(sql: str) -> pa.DataType:
    """Return the Arrow type of a DuckDB type that a field of a class has."""
    if sql.endswith("[]"):
        return pa.list_(arrow_type(sql[:-2]))
    if sql.startswith("MAP("):
        key, _, item = sql[4:-1].partition(", ") if "DECIMAL" not in sql else _split(sql[4:-1])
        return pa.map_(arrow_type(key), arrow_type(item))
    if sql.startswith("DECIMAL"):
        width, scale = sql[8:-1].split(",")
        return pa.decimal128(int(width), int(scale))
    return {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "BOOLEAN": pa.bool_(),
        "TIMESTAMPTZ": pa.timestamp("us", "UTC"),
        "DATE": pa.date32(),
    }[sql]


def _split(inside: str) -> tuple[str, str, str]:
    """Split ``K, V`` at the comma that is not within parentheses."""
    depth = 0
    for place, letter in enumerate(inside):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            return inside[:place], ",", inside[place + 1 :].strip()
    raise ValueError(inside)
