"""The Python of handlers, piece by piece: what SQL folds and what goes to Python.

The table in ``docs/aggregates.md`` says so; a tier that gets better is good news, for both.
"""

from __future__ import annotations

import textwrap
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from esnb import Aggregate, Event


class Place(BaseModel):
    city: str


class Told(Event):
    number: int
    amount: Decimal
    text: str
    place: Place
    other: str | None = None
    good: bool = True
    at: datetime | None = None
    tags: list[str] = Field(default_factory=list)
    kind: Literal["a", "b"] = "a"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


TABLE = {"a": "x", "b": "y"}
FRAME = """
class Thing(Aggregate):
    i: int = 0
    x: Decimal = Decimal(0)
    s: str = "open"
    t: str | None = None
    at: datetime | None = None
    day: date | None = None
    c: Colour = Colour.BLUE
    seen: set[str]
    d: dict[str, int]
    l: list[str]
    LIMIT = 3

    @property
    def is_open(self):
        return self.s == "open"

    def helper(self, e):
        self.i = e.number

    def when_told(self, e: Told):
"""

FAST = [
    ("i", 1, "self.i = e.number"),
    ("i", 1, "self.i += e.number"),
    ("x", 1, "self.x -= e.amount * e.number"),
    ("i", 1, "self.i = abs(-e.number) // 7 + e.number % 7"),
    ("i", 1, "self.i = min(self.i, e.number)"),
    ("i", 1, "self.i = max(self.i, e.number)"),
    ("i", 1, "if e.number > self.LIMIT:\n    self.i = 1\nelif e.good:\n    self.i = 2"),
    ("i", 1, "if e.kind in ('a', 'b') and not e.good or e.number == 2:\n    self.i = 1"),
    ("s", 1, "self.s = 'x' if e.number else e.text"),
    ("s", 1, "self.s = e.other or 'none'"),
    ("s", 1, "if e.other is not None:\n    self.s = e.other"),
    ("t", 1, "if self.t is None:\n    self.t = e.text"),
    ("i", 1, "if 0 < e.number < 10:\n    self.i = 1"),
    ("i", 1, "if (n := e.number) > 3:\n    self.i = n"),
    ("i", 1, "match e.kind:\n    case 'a':\n        self.i = 1\n    case _:\n        self.i = 2"),
    ("i", 1, "if not e.good:\n    return\nself.i = e.number"),
    ("i", 1, "self.helper(e)"),
    ("s", 1, "self.s = e.text.strip().lower().upper() + '!'"),
    ("s", 1, "self.s = e.text.removeprefix('DE').removesuffix('X')"),
    (
        "i",
        1,
        "if e.text.startswith('DE') or e.text.endswith('X') or 'y' in e.text:\n    self.i = 1",
    ),
    ("at", 1, "self.at = e.occurred_on + timedelta(days=2)"),
    ("i", 1, "if e.at is not None and e.occurred_on - e.at > timedelta(days=1):\n    self.i = 1"),
    ("c", 1, "self.c = Colour.RED"),
    ("s", 1, "self.s = e.place.city"),
    ("seen", 1, "self.seen.add(e.text)\nself.seen.discard('x')"),
    ("seen", 1, "self.seen.update([e.text, 'x'])\nself.seen.remove('x')"),
    ("d", 1, "self.d[e.text] = e.number\nself.d.pop('x', None)\nself.d.setdefault('y', 1)"),
    ("d", 1, "self.d[e.text] += e.number\ndel self.d['x']"),
    ("d", 1, "self.d[e.text] = self.d.get(e.text, 0) + e.number"),
    ("l", 1, "self.l.append(e.text)\nself.l.extend(['x', e.text])\nself.l.pop()"),
    ("l", 1, "self.l.clear()"),
    ("i", 2, "if self.s == 'open':\n    self.i += 1\nelse:\n    self.s = 'open'"),
    ("i", 2, "if self.s == e.text:\n    self.i += 1"),
    ("i", 2, "if self.is_open and self.c == Colour.RED:\n    self.i += 1"),
]
PYTHON = [
    ("x", "self.x = e.amount / 3", "division"),
    ("x", "self.x = round(e.amount, 2)", "round()"),
    ("x", "self.x = e.amount ** 2", "'**'"),
    ("i", "self.i = e.number // (e.number + 1)", "'//' and '%'"),
    ("s", "self.s = e.text.replace('a', 'b')", ".replace"),
    ("s", "self.s = f'{e.text}!'", "f-string"),
    ("s", "self.s = str(e.number)", "str()"),
    ("s", "self.s = e.text[:3]", "[ ]"),
    ("i", "self.i = len(e.text)", "len()"),
    ("i", "self.i = int(e.text)", "number of Python's own"),
    ("i", "self.i = e.occurred_on.year", ".year"),
    ("day", "self.day = e.occurred_on.date()", ".date"),
    ("s", "self.s = TABLE[e.kind]", "set or dict of yours"),
    ("i", "if e.kind in {'a', 'b'}:\n    self.i = 1", "set or dict of yours"),
    ("i", "if e.good is True:\n    self.i = 1", "'is' other than with None"),
    ("i", "if e.text in self.seen:\n    self.i = 1\nself.seen.add(e.text)", "any value"),
    ("i", "self.i = len(self.l)", "len() of self.l"),
    ("i", "self.i = self.d.get('x', 0)", "an entry of a dict"),
    ("seen", "for tag in e.tags:\n    self.seen.add(tag)", "a list"),
    ("l", "self.l = e.tags", "a list"),
    ("i", "try:\n    self.i = e.number\nexcept ValueError:\n    pass", "try"),
    ("i", "import math\nself.i = 1", "import"),
    ("t", "if self.i > 3:\n    self.t = 'x'\nself.i += e.number", "any value"),
]


def thing(body: str) -> Any:
    names = {**globals(), "timedelta": timedelta, "date": date}
    source = FRAME + textwrap.indent(body, "        ")
    exec(compile(source, "<thing>", "exec"), names)  # noqa: S102
    return names["Thing"]


@pytest.mark.parametrize(("field", "tier", "body"), FAST, ids=[body for _, _, body in FAST])
def test_sql_folds(field: str, tier: int, body: str) -> None:
    explained = thing(body).explain()[field]
    assert (explained.tier, bool(explained.sql)) == (tier, True), explained


@pytest.mark.parametrize(("field", "body", "why"), PYTHON, ids=[body for _, body, _ in PYTHON])
def test_python_folds_and_says_why(field: str, body: str, why: str) -> None:
    explained = thing(body).explain()[field]
    assert explained.tier == 3
    assert why in explained.why


def test_a_handler_of_too_many_ways_is_left_to_python() -> None:
    forks = "\n".join(f"if e.number > {n}:\n    self.i += {2**n}" for n in range(9))
    assert "more than 256 ways through" in thing(forks).explain()["i"].why
    assert issubclass(thing("pass"), Aggregate)
