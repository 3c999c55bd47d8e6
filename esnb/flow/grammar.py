"""The text of a pattern: a regular expression whose letters are the events of a case.

The grammar stands in ``docs/patterns.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from esnb.errors import FlowError, shown

__all__ = [
    "Anchor",
    "Choice",
    "Element",
    "Limit",
    "Node",
    "Repeat",
    "Sequence",
    "elements_of",
    "fault",
    "leading_element",
    "limits_of",
    "parse",
    "parse_element",
]

MOST_REPEATS = 1000
_MOST_TEXT = 1024 * 1024
_DEEPEST = 50
_SHOWN = 72

_SPACE = re.compile(r"\s+")
_NAME = re.compile(r"\w+")
_BRACES = re.compile(r"\{\s*([0-9]+)\s*(,?)\s*([0-9]*)\s*\}")
_LIMIT = re.compile(r"\(\s*(<=|>=|<|>)\s*([^()]*?)\s*\)")
# Quoted text of SQL inside a condition; a bracket in it closes nothing.
_SQL_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")


@dataclass(frozen=True)
class Element:
    """One event.

    Attributes
    ----------
    number
        Its number in the pattern, from 1; None for what ``...`` skips.
    text
        How it is written.
    names
        The event types; None for any.
    negated
        Whether the event is of none of these types.
    condition
        SQL over the event, or None.
    places
        Where each of the names stands in the text, and the condition.
    """

    number: int | None
    text: str
    names: tuple[str, ...] | None
    negated: bool = False
    condition: str | None = None
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Anchor:
    """The begin (``^``) or the end (``$``) of the case."""

    sign: str


@dataclass(frozen=True)
class Limit:
    """A place between two neighbouring events that are so far apart: ``(<=2h)``."""

    sign: str
    length: str
    place: int


@dataclass(frozen=True)
class Sequence:
    """One after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Choice:
    """The first of these with which the rest fits."""

    options: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """From `least` to `most` times (None: without end), as often as can be; or if `lazy`, not."""

    item: Node
    least: int
    most: int | None
    lazy: bool = False


Node = Element | Anchor | Limit | Sequence | Choice | Repeat


def parse(text: str) -> Node:
    """Return the tree of a pattern.

    Raises
    ------
    FlowError
        If it is none, with a caret under the place.
    """
    return _Parser(text).pattern()


def parse_element(text: str) -> Element:
    """Return the one element that `text` is, as in a pattern; ``(A|B)`` is one of both.

    Raises
    ------
    FlowError
        If it is none, or more than one.
    """
    return _Parser(text).single()


def leading_element(text: str, place: int) -> tuple[Element, int]:
    """Return the element that stands at a place in a text, and the place of what follows it.

    Raises
    ------
    FlowError
        If there stands none.
    """
    return _Parser(text, place).leading()


def elements_of(node: Node) -> Iterator[Element]:
    """Yield the elements of a pattern in the order of their numbers."""
    for inner in _leaves(node):
        if isinstance(inner, Element) and inner.number is not None:
            yield inner


def limits_of(node: Node) -> Iterator[Limit]:
    """Yield the limits between neighbours in a pattern."""
    for inner in _leaves(node):
        if isinstance(inner, Limit):
            yield inner


def _leaves(node: Node) -> Iterator[Node]:
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _leaves(item)
    elif isinstance(node, Choice):
        for option in node.options:
            yield from _leaves(option)
    elif isinstance(node, Repeat):
        yield from _leaves(node.item)
    else:
        yield node


def fault(text: str, place: int, reason: str) -> FlowError:
    """Return the error for a pattern that is wrong at a place: the line, and a caret below it."""
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", start)
    line = text[start : len(text) if end < 0 else end]
    column = place - start
    # Of a long line only what stands around the place.
    first = max(0, column - _SHOWN // 2)
    cut = line[first : first + _SHOWN]
    before = "…" if first else ""
    after = "…" if first + _SHOWN < len(line) else ""
    cut = "".join(sign if sign.isprintable() else "·" for sign in cut)
    caret = " " * (len(before) + column - first)
    return FlowError(f"{reason}\n\n    {before}{cut}{after}\n    {caret}^")


class _Parser:
    def __init__(self, text: str, place: int = 0) -> None:
        if not isinstance(text, str):
            raise FlowError(f"{shown(text)} is no pattern; say it as text: 'OrderPlaced . $'")
        if len(text) > _MOST_TEXT:
            raise FlowError(f"the pattern has {len(text):,} characters; {_MOST_TEXT:,} are allowed")
        self._text = text
        self._at = place
        self._depth = 0
        self._number = 0

    def pattern(self) -> Node:
        node = self._choice()
        if self._at < len(self._text):
            self._fail("there is no ( for this )")
        if not self._number:
            self._fail("the pattern has no event; name one, or write . for any", 0)
        return node

    def single(self) -> Element:
        element, place = self.leading()
        if place < len(self._text):
            self._fail('one event only; a type of several words is written in quotes: "a b"')
        return element

    def leading(self) -> tuple[Element, int]:
        self._skip()
        start = self._at
        if self._here() == "(":
            self._at += 1
            names, places = self._names()
            element = self._finished(start, names, places, negated=False)
        else:
            found = self._element()
            if found is None:
                self._fail("here must stand one event: a type, ! or .")
            element = found
        self._skip()
        return element, self._at

    def _choice(self) -> Node:
        options = [self._sequence()]
        while self._here() == "|":
            self._at += 1
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Node:
        items: list[Node] = []
        while True:
            self._skip()
            if self._here() in ("", "|", ")"):
                break
            items.append(self._item())
        if not items:
            self._fail("an event is missing here (what may be left out is written A?)")
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _item(self) -> Node:
        start, sign = self._at, self._here()
        if sign in "^$":
            self._at += 1
            return self._unrepeated(Anchor(sign))
        if self._text.startswith("...", start):
            self._at += 3
            anything = Element(None, "...", None)
            return self._unrepeated(Repeat(anything, 0, None, lazy=True))
        limit = _LIMIT.match(self._text, start)
        if limit:
            self._at = limit.end()
            return self._unrepeated(Limit(limit[1], limit[2], limit.start(2)))
        if sign == "(":
            return self._repeated(self._group())
        element = self._element()
        if element is None:
            self._fail(self._unexpected(sign))
        return self._repeated(element)

    def _group(self) -> Node:
        start = self._at
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(f"groups are nested more than {_DEEPEST} deep")
        self._at += 1
        node = self._choice()
        if self._here() != ")":
            self._fail("this ( is not closed", start)
        self._at += 1
        self._depth -= 1
        return node

    def _repeated(self, item: Node) -> Node:
        self._skip()
        sign, start = self._here(), self._at
        if sign and sign in "?*+":
            self._at += 1
            least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}[sign]
        elif sign == "{":
            least, most = self._braces()
        else:
            return item
        self._skip()
        again = self._here()
        if again and again in "?*+{":
            self._fail("there is a repetition already; put what is repeated into ( )")
        if most is not None and least > most:
            self._fail(f"from {least} to {most} times: the first is the larger one", start)
        return Repeat(item, least, most)

    def _braces(self) -> tuple[int, int | None]:
        start = self._at
        found = _BRACES.match(self._text, start)
        if not found or (found[3] and not found[2]):
            self._fail("a number of times is written {3}, {3,} or {3,5}")
        self._at = found.end()
        # Not more digits than the limit has, or `int` would be slow.
        digits = max(found[1].lstrip("0"), found[3].lstrip("0"), key=len)
        if len(digits) > len(str(MOST_REPEATS)) or int(digits or 0) > MOST_REPEATS:
            self._fail(f"more than {MOST_REPEATS} times cannot be asked for; say {{3,}}", start)
        least = int(found[1])
        if not found[2]:
            return least, least
        return least, int(found[3]) if found[3] else None

    def _unrepeated(self, item: Node) -> Node:
        self._skip()
        sign = self._here()
        if sign and sign in "?*+{":
            self._fail("only events and groups can be repeated")
        return item

    def _element(self) -> Element | None:
        """Return the element that begins here, or None if none does."""
        start, sign = self._at, self._here()
        names: tuple[str, ...] | None
        if sign == ".":
            self._at += 1
            return self._finished(start, None, (), negated=False)
        negated = sign == "!"
        if negated:
            self._at += 1
            self._skip()
        if negated and self._here() == "(":
            self._at += 1
            names, places = self._names()
        else:
            place, name = self._at, self._name()
            if name is None:
                if negated:
                    self._fail("behind ! must stand a type, or types in ( )")
                return None
            names, places = (name,), (place,)
        return self._finished(start, names, places, negated=negated)

    def _names(self) -> tuple[tuple[str, ...], tuple[int, ...]]:
        """Return the names up to the closing bracket."""
        names, places = [], []
        while True:
            self._skip()
            places.append(self._at)
            name = self._name()
            if name is None:
                self._fail("here must stand a type: (A|B) is an event of one of both types")
            names.append(name)
            self._skip()
            sign = self._here()
            if sign == ")":
                self._at += 1
                return tuple(names), tuple(places)
            if sign != "|":
                self._fail("between types stands |, behind the last )")
            self._at += 1

    def _finished(
        self, start: int, names: tuple[str, ...] | None, places: tuple[int, ...], *, negated: bool
    ) -> Element:
        end = self._at
        self._skip()
        condition = None
        if self._here() == "[":
            places = (*places, self._at + 1)
            condition = self._condition()
            end = self._at
        self._number += 1
        text = self._text[start:end]
        return Element(self._number, text, names, negated, condition, places)

    def _name(self) -> str | None:
        sign = self._here()
        if sign and sign in "\"'":
            return self._quoted(sign)
        found = _NAME.match(self._text, self._at)
        if not found:
            return None
        self._at = found.end()
        return found[0]

    def _quoted(self, quote: str) -> str:
        start = self._at
        found = re.compile(rf"{quote}((?:[^{quote}\\]|\\.)*){quote}", re.DOTALL).match(
            self._text, start
        )
        if not found:
            self._fail("this quote is not closed", start)
        inside = found[1]
        self._at = found.end()
        name = re.sub(
            r"\\(u[0-9a-fA-F]{4}|.)", lambda m: self._escaped(m, start + 1), inside, flags=re.DOTALL
        )
        # Two escapes may be one character, as in JSON.
        return name.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

    def _escaped(self, found: re.Match[str], start: int) -> str:
        sign = found[1]
        if sign[0] in "nrt" or (sign[0] == "u" and len(sign) == 5):
            return str(json.loads(f'"\\{sign}"'))
        if sign.isalnum():
            self._fail(f"\\{sign} is no escape; there are \\\\ \\\" \\' \\n \\r \\t \\u00e9",
                       start + found.start())  # fmt: skip
        return sign

    def _condition(self) -> str:
        """Return the SQL up to the bracket that closes it."""
        start, depth = self._at, 0
        text, at = self._text, self._at
        while at < len(text):
            quoted = _SQL_QUOTED.match(text, at)
            if quoted:
                at = quoted.end()
                continue
            depth += {"[": 1, "]": -1}.get(text[at], 0)
            at += 1
            if not depth:
                self._at = at
                inside = text[start + 1 : at - 1].strip()
                if not inside:
                    self._fail("the condition is empty", start)
                return inside
        self._fail("this [ is not closed", start)

    def _here(self) -> str:
        return self._text[self._at : self._at + 1]

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        if found:
            self._at = found.end()

    def _unexpected(self, sign: str) -> str:
        if sign in "?*+{":
            return "there is nothing to repeat before this"
        if sign == "[":
            return "a condition stands behind an event, as in A[actor = 'x']"
        return f"{shown(sign)} means nothing here; a type with such signs is written in quotes"

    def _fail(self, reason: str, place: int | None = None) -> NoReturn:
        raise fault(self._text, self._at if place is None else place, reason)
