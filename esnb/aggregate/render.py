"""Expressions as DuckDB SQL over the row ``e`` of an event."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

from esnb import instants
from esnb.aggregate.expressions import Expression
from esnb.aggregate.layout import Layout
from esnb.sqltext import literal

__all__ = ["PYTHON_NEEDED", "constant", "render", "render_with"]

# In an error of DuckDB: the rows hold what only Python folds as Python does.
PYTHON_NEEDED = "esnb: fold this in Python"

# What `str.strip` strips: every character for which `str.isspace` is true.
_SPACES = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005"
    "\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_MICRO = timedelta(microseconds=1)


def constant(value: Any) -> str:
    """Return a constant of Python as one of SQL."""
    if isinstance(value, Enum):
        value = value.value
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return literal(value)
    if isinstance(value, int):
        return f"CAST({value} AS BIGINT)"
    if isinstance(value, float):
        return f"CAST('{value!r}' AS DOUBLE)"
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        scale = max(0, -exponent) if isinstance(exponent, int) else 0
        return (
            f"CAST('{value:f}' AS DECIMAL({18 if value.adjusted() + scale < 17 else 38}, {scale}))"
        )
    if isinstance(value, datetime):
        return f"TIMESTAMPTZ '{instants.iso(value)}'"
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, timedelta):
        return f"CAST({value // _MICRO} AS BIGINT)"
    raise TypeError(f"{type(value).__name__} has no constant in SQL")


def render(value: Expression, layout: Layout, event_type: str) -> str:
    """Return the SQL of an expression in a handler of `event_type`."""

    def leaf(op: str, args: tuple[Any, ...]) -> str:
        if op == "event":
            return f"e.{layout.data(event_type, args[0])}"
        return f"e.{args[0]}" if op == "meta" else f"e.{layout.before(args[0])}"

    return render_with(value, leaf)


def render_with(value: Expression, leaf: Callable[[str, tuple[Any, ...]], str]) -> str:
    """Return the SQL of an expression, `leaf` giving that of what it reads."""
    op, args = value.op, value.args
    if op == "literal":
        return constant(args[0])
    if op in ("event", "meta", "state"):
        return leaf(op, args)
    return _RENDERED[op](*(render_with(arg, leaf) for arg in args))


def _binary(sign: str) -> Callable[[str, str], str]:
    return lambda a, b: f"({a} {sign} {b})"


def _call(name: str) -> Callable[..., str]:
    return lambda *args: f"{name}({', '.join(args)})"


def _ascii(name: str) -> Callable[[str], str]:
    # Beyond ASCII the two have rules of their own ('ß', 'İ', the final sigma).
    return lambda a: (
        f"CASE WHEN regexp_full_match({a}, '[\\x00-\\x7F]*') THEN {name}({a})"
        f" ELSE error('{PYTHON_NEEDED} ({name}() beyond ASCII)') END"
    )


def _strip(name: str) -> Callable[[str], str]:
    return lambda a: f"{name}({a}, {literal(_SPACES)})"


_RENDERED: dict[str, Callable[..., str]] = {
    "+": _binary("+"),
    "-": _binary("-"),
    "*": _binary("*"),
    "<": _binary("<"),
    "<=": _binary("<="),
    "=": _binary("="),
    "=?": _binary("IS NOT DISTINCT FROM"),
    "and": _binary("AND"),
    "or": _binary("OR"),
    "concat": _binary("||"),
    "not": lambda a: f"(NOT {a})",
    "negate": lambda a: f"(-{a})",
    "abs": _call("abs"),
    "is_none": lambda a: f"({a} IS NULL)",
    "floor_divide": lambda a, b: f"({a} // {b} - CASE WHEN {a} % {b} < 0 THEN 1 ELSE 0 END)",
    "modulo": lambda a, b: f"((({a} % {b}) + {b}) % {b})",
    "later": lambda a, b: f"({a} + to_microseconds({b}))",
    "earlier": lambda a, b: f"({a} - to_microseconds({b}))",
    "elapsed": lambda a, b: f"(epoch_us({a}) - epoch_us({b}))",
    "contains": _call("contains"),
    "startswith": _call("starts_with"),
    "endswith": _call("ends_with"),
    "removeprefix": lambda a, b: (
        f"CASE WHEN starts_with({a}, {b}) THEN substr({a}, length({b}) + 1) ELSE {a} END"
    ),
    "removesuffix": lambda a, b: (
        f"CASE WHEN {b} <> '' AND ends_with({a}, {b})"
        f" THEN substr({a}, 1, length({a}) - length({b})) ELSE {a} END"
    ),
    "lower": _ascii("lower"),
    "upper": _ascii("upper"),
    "strip": _strip("trim"),
    "lstrip": _strip("ltrim"),
    "rstrip": _strip("rtrim"),
    "value": lambda a: a,
}
