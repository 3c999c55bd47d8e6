"""Text inside SQL: literals, JSON Pointers, and names that are near a wrong one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from esnb.errors import TimelineError, shown
from esnb.query import names

__all__ = ["literal", "literals", "pointer", "shown_sql", "unknown"]

_WIDE = re.compile(r"DECIMAL\((?P<digits>\d+), *(?P<scale>\d+)\)", re.IGNORECASE)


def literal(text: str) -> str:
    """Return any `text` as a string constant of SQL, NUL included.

    Views, macros and the text that `Timeline.sql` shows cannot carry parameters.

    >>> print(literal("it's"))
    'it''s'
    """
    if "\x00" not in text:
        return names.literal(text)
    return "(" + " || chr(0) || ".join(map(names.literal, text.split("\x00"))) + ")"


def literals(texts: Iterable[str]) -> str:
    """Return `texts` as a list literal of SQL."""
    inside = ", ".join(map(literal, texts))
    return f"[{inside}]" if inside else "[]::VARCHAR[]"


def pointer(key: str) -> str:
    """Return the JSON Pointer (RFC 6901) to the top-level `key`.

    A pointer, other than a JSONPath, has no wildcards, functions or dots that a
    hostile key could wake up.

    >>> pointer("a/b~c")
    '/a~1b~0c'
    """
    return "/" + key.replace("~", "~0").replace("/", "~1")


def shown_sql(value: str, kind: str) -> str:
    """Return SQL of a value as people read it: an amount without zeros at its end but two.

    >>> print(shown_sql("t.total", "BIGINT"))
    CAST(t.total AS VARCHAR)
    """
    text = f"CAST({value} AS VARCHAR)"
    if not kind.upper().startswith("DECIMAL"):
        return text
    wide = _WIDE.match(kind)
    if wide is not None and int(wide["digits"]) > 18 and int(wide["scale"]) < 18:
        # Of numbers of 64 bits DuckDB makes text in a fifth of the time.
        scale = int(wide["scale"])
        most = 10 ** (18 - scale) - 1
        short = f"CAST(CAST({value} AS DECIMAL(18, {scale})) AS VARCHAR)"
        text = f"CASE WHEN {value} BETWEEN -{most} AND {most} THEN {short} ELSE {text} END"
    return f"regexp_replace({text}, '(\\.[0-9]{{2}}[0-9]*?)0+$', '\\1')"


def unknown(kind: str, name: object, known: Iterable[str]) -> TimelineError:
    """Return the error for a `name` that is not among the `known` ones, naming near ones."""
    all_known = sorted(known)
    near = difflib.get_close_matches(str(name), all_known, n=5, cutoff=0.5)
    if near:
        advice = "Did you mean " + " or ".join(map(repr, near)) + "?"
    elif all_known:
        some = ", ".join(map(repr, all_known[:8])) + (", …" if len(all_known) > 8 else "")
        advice = f"There are: {some}."
    else:
        advice = "There are none yet."
    return TimelineError(f"no {kind} {shown(name)} here. {advice}")
