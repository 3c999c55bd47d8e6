"""Names and texts inside SQL, for what cannot be a parameter."""

from __future__ import annotations

__all__ = ["literal", "quote"]


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
