"""Two states as JSON: which paths in them differ, and their lines beside each other."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from esnb import instants

__all__ = ["beside", "lines", "plain", "walk"]

_NAME = re.compile(r"[^\W\d]\w*")
_MOST_LINES = 2_000
Path = tuple[str | int, ...]


def plain(value: Any, kind: str = "") -> Any:
    """Return a value of DuckDB as JSON has it: amounts and times as text, nothing rounded."""
    if kind == "JSON" and isinstance(value, str):
        return json.loads(value, parse_float=Decimal)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    if isinstance(value, datetime) and value.tzinfo:
        return instants.iso(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str | Decimal):
        return value
    return str(value) if not isinstance(value, timedelta) else f"{value.total_seconds()} s"


def walk(before: Any, after: Any, path: Path = ()) -> Iterator[tuple[str, str | None, str | None]]:
    """Yield what differs: the path in words, and both values as text (None: not there).

    >>> list(walk({"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 2, "c": [1]}}))
    [('a.b', '1', '2'), ('a.c[1]', '2', None)]
    """
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        for key in keys:
            yield from walk(before.get(key, _ABSENT), after.get(key, _ABSENT), (*path, key))
    elif isinstance(before, list) and isinstance(after, list):
        for place in range(max(len(before), len(after))):
            old, new = (side[place] if place < len(side) else _ABSENT for side in (before, after))
            yield from walk(old, new, (*path, place))
    elif not _same(before, after):
        yield _words(path), _text(before), _text(after)


class _Absent:
    """Stands for what is not there: null is a value of its own."""


_ABSENT = _Absent()


def _same(a: Any, b: Any) -> bool:
    # True is 1 to Python, and not to JSON.
    return (isinstance(a, bool) == isinstance(b, bool)) and bool(a == b)


def _text(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    return value if isinstance(value, str) else _json(value, None)


def _words(path: Path) -> str:
    said = ""
    for part in path:
        if isinstance(part, int):
            said += f"[{part}]"
        elif _NAME.fullmatch(part) or not said:
            said += f".{part}" if said else part
        else:
            said += f"[{json.dumps(part, ensure_ascii=False)}]"
    return said


def _json(value: Any, indent: int | None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent, default=str)


def lines(state: Mapping[str, Any] | None) -> list[str]:
    """Return a state as lines of JSON; none where there is no state."""
    return [] if state is None else _json(dict(state), 1).split("\n")


def beside(
    before: list[str], after: list[str]
) -> tuple[list[tuple[str, str | None, str | None]], int]:
    """Return lines beside each other, and how many were left out.

    Each is ``("=", line, line)``, ``("~", old, new)``, ``("-", old, None)`` or
    ``("+", None, new)``.
    """
    cut = max(0, len(before) - _MOST_LINES) + max(0, len(after) - _MOST_LINES)
    before, after = before[:_MOST_LINES], after[:_MOST_LINES]
    made: list[tuple[str, str | None, str | None]] = []
    for what, i, j, k, m in difflib.SequenceMatcher(None, before, after).get_opcodes():
        if what == "equal":
            made += [("=", line, line) for line in before[i:j]]
            continue
        old, new = before[i:j], after[k:m]
        both = min(len(old), len(new))
        made += [("~", a, b) for a, b in zip(old, new, strict=False)]
        made += [("-", line, None) for line in old[both:]]
        made += [("+", None, line) for line in new[both:]]
    return made, cut
