"""Attributes of XES as JSON: typed, nested, to the digit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

__all__ = ["BadAttributeError", "Node", "apart", "by_key", "joined", "node_of", "quoted", "raw"]

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,4000}")

# An attribute as (tag, key, value, child, child, …): a list while it grows.
Node = Sequence[Any]


class BadAttributeError(Exception):
    """An attribute that has no place in a payload: (key, reason)."""


def by_key(nodes: Sequence[Node], prefix: str) -> dict[str, Node]:
    """Return the attributes by key; a key that comes again gets a number, so none is lost."""
    result = {prefix + node[1]: node for node in nodes if node[1] is not None}
    if len(result) == len(nodes):
        return result
    result = {}
    for node in nodes:
        if node[1] is None:
            raise BadAttributeError(None, f"a <{node[0]}> has no key")
        key = given = prefix + node[1]
        number = 2
        while key in result:
            key, number = f"{given}_{number}", number + 1
        result[key] = node
    return result


def apart(own: dict[str, Node], others: Mapping[str, Node]) -> dict[str, Node]:
    """Return attributes under keys that are not among `others`: a number tells them apart."""
    if not own.keys() & others.keys():
        return own
    result: dict[str, Node] = {}
    for given, node in own.items():
        key, number = given, 2
        while key in others or key in result or (key != given and key in own):
            key, number = f"{given}_{number}", number + 1
        result[key] = node
    return result


def joined(nodes: Mapping[str, Node]) -> str:
    """Return attributes as one JSON object."""
    if not nodes:
        return "{}"
    parts = [f"{quoted(key)}:{raw(key, node)}" for key, node in nodes.items()]
    return "{" + ",".join(parts) + "}"


def quoted(text: str) -> str:
    """Return a text as JSON."""
    return orjson.dumps(text).decode()


def raw(key: str, node: Node) -> str:
    """Return the JSON text of an attribute."""
    tag, value, children = node[0], node[2], node[3:]
    if tag in ("list", "container"):
        holders = [child for child in children if child[0] == "values"]
        items = [item for holder in holders for item in holder[3:]] if holders else children
        array = "[" + ",".join(joined(by_key([item], "")) for item in items) + "]"
        others = [child for child in children if child[0] != "values"] if holders else []
        if not others:
            return array
        return f'{{"values":{array},"attributes":{joined(by_key(others, ""))}}}'
    if not children:
        return _scalar(key, tag, value)
    attributes = joined(by_key(children, ""))
    return f'{{"value":{_scalar(key, tag, value)},"attributes":{attributes}}}'


def node_of(tag: str, attributes: Mapping[str, str]) -> list[Any]:
    """Return an element as a node without children yet."""
    return [tag, attributes.get("key"), attributes.get("value")]


def _scalar(key: str, tag: str, value: str | None) -> str:
    if value is None:
        raise BadAttributeError(key, "has no value")
    if tag == "int":
        if _WHOLE.fullmatch(value.strip()):
            return str(int(value))
    elif tag == "float":
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return value if _NUMBER.fullmatch(value) else repr(number)
    elif tag == "boolean":
        if value.strip() in ("true", "1"):
            return "true"
        if value.strip() in ("false", "0"):
            return "false"
    else:
        return quoted(value)
    raise BadAttributeError(key, f"{value[:40]!r} is no {tag} that JSON can hold")
