"""Names and texts inside SQL, for what cannot be a parameter."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["among", "literal", "quote"]


_FEW = 3


def quote(identifier: str) -> str:
    """Return `identifier` as a quoted SQL identifier; it must not be empty nor hold NUL.

    >>> print(quote('a b'))
    "a b"
    """
    if not identifier or "\x00" in identifier:
        raise ValueError(f"{identifier!r} cannot be a name in SQL")
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return any `text` as a string constant of SQL, NUL included.

    >>> print(literal("it's"))
    'it''s'
    """
    if "\x00" not in text:
        return "'" + text.replace("'", "''") + "'"
    return "(" + " || chr(0) || ".join(map(literal, text.split("\x00"))) + ")"


def among(value: str, texts: Iterable[str]) -> str:
    """Return SQL that says whether a value is one of some texts; NULL where it is NULL.

    Of a long ``IN`` DuckDB makes a join, which costs more than to look through the texts.  For a
    condition that decides which rows of a file are read, write ``IN``: it knows that one.

    >>> print(among("e.kind", ["b", "a"]))
    e.kind IN ('a', 'b')
    """
    listed = sorted(set(texts))
    constants = ", ".join(map(literal, listed))
    if len(listed) <= _FEW:
        return f"{value} IN ({constants})" if listed else "false"
    return f"list_contains([{constants}], {value})"
