"""A JSON text as a tree of texts: every number to its last digit, every key, also a doubled one."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = ["tree"]

_MOST = 2_000
_DEPTH = 64
_LONG = 20_000  # characters of a text that are shown


class _Number(NamedTuple):
    text: str


class _Members(NamedTuple):
    pairs: list[tuple[str, Any]]


def tree(text: str, most: int = _MOST) -> list[Any] | None:
    """Return an object or array as nodes ``[key, kind, value]``; None for other texts.

    ``kind`` is ``"text"``, ``"number"`` or ``"word"`` (true, false, null) with a text as value,
    ``"object"`` or ``"list"`` with a list of nodes, or ``"more"``, which says how many members
    of an object or array were left out: no more than `most` nodes come in all.

    >>> tree('{"total": 1.10, "tags": ["a", null]}')[2]
    [['total', 'number', '1.10'], ['tags', 'list', [['0', 'text', 'a'], ['1', 'word', 'null']]]]
    """
    if text[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(
            text,
            parse_int=_Number,
            parse_float=_Number,
            parse_constant=_Number,
            object_pairs_hook=_Members,
        )
    except (ValueError, RecursionError):
        return None
    left = [most]
    return _node("", value, left, 0)


def _node(key: str, value: Any, left: list[int], depth: int) -> list[Any]:
    left[0] -= 1
    if isinstance(value, _Number):
        return [key, "number", value.text]
    if isinstance(value, str):
        cut = f"… ({len(value):,} characters)" if len(value) > _LONG else ""
        return [key, "text", value[:_LONG] + cut]
    if not isinstance(value, list | _Members):
        return [key, "word", {True: "true", False: "false"}.get(value, "null")]
    members: list[tuple[str, Any]]
    if isinstance(value, _Members):
        kind, members = "object", value.pairs
    else:
        kind, members = "list", [(str(place), one) for place, one in enumerate(value)]
    children: list[Any] = []
    for name, one in members:
        if left[0] <= 0 or depth >= _DEPTH:
            children.append(["", "more", str(len(members) - len(children))])
            break
        children.append(_node(name, one, left, depth + 1))
    return [key, kind, children]
