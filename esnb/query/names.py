"""Names and texts inside SQL.

Values go to DuckDB as parameters.  What cannot be a parameter, an identifier or
the odd constant, is written by these two functions and by nothing else.
"""

from __future__ import annotations

from esnb import sqltext
from esnb.errors import QueryError, shown

__all__ = ["literal", "quote"]


def quote(identifier: str) -> str:
    """Return `identifier` as a quoted SQL identifier.

    >>> print(quote('a "b"'))
    "a ""b\"""

    Raises
    ------
    QueryError
        If it is empty, or holds NUL or a lone surrogate.
    """
    if not identifier:
        raise QueryError("an empty text cannot be a name in SQL; give the column or table a name")
    return sqltext.quote(_checked(identifier))


def literal(text: str) -> str:
    """Return `text` as an SQL string constant, for where DuckDB takes no parameter.

    >>> print(literal("it's"))
    'it''s'

    Raises
    ------
    QueryError
        If it holds NUL or a lone surrogate.
    """
    return sqltext.literal(_checked(text))


def _checked(text: str) -> str:
    if "\x00" in text:
        raise QueryError(f"{shown(text)} holds a NUL character, which SQL text cannot hold")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryError(
            f"{shown(text)} holds a lone surrogate, which is no character; remove it"
        ) from None
    return text
