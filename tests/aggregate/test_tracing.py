"""What tracing sees, what it leaves to Python and why, and that it never guesses."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import json
import sys
import typing
from datetime import datetime
from decimal import Decimal
from enum import Enum

import pytest

from esnb.aggregate import Aggregate, Event, bytecode
from esnb.aggregate.bytecode import blind_spots, reads_identity
from esnb.errors import AggregateError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Inner(Event):
    city: str
    zip: str | None = None


class Happened(Event):
    n: int
    m: int | None = None
    x: float = 0.0
    d: Decimal = Decimal(0)
    t: str = ""
    u: str | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED
    flag: bool = False
    items: list[int] = []  # noqa: RUF012 (pydantic copies it)
    where: Inner = Inner(city="x")


def double(value):
    return value * 2


def or_nothing(value):
    return 0 if value is None else value


def walks(value):
    return sum(value)


def made(body: str, **fields: str) -> type[Aggregate]:
    """Return a class with one handler of this body."""
    declared = "\n".join(f"    {name}: {kind}" for name, kind in fields.items())
    lines = "\n".join(f"        {line}" for line in body.splitlines())
    source = f"class Thing(Aggregate):\n{declared}\n    def when(self, e: Happened):\n{lines}\n"
    names = dict(globals())
    exec(source, names)  # noqa: S102 (our own text)
    thing: type[Aggregate] = names["Thing"]
    return thing


STEPS = "steps, applied in order"
SEEN = [
    ("self.s = 'a'", {"s": "str"}, 1, "last value"),
    ("self.s = e.t.strip().removeprefix('a') + '!'", {"s": "str"}, 1, "last value"),
    ("self.s = e.t if e.n > 1 else e.u", {"s": "str | None"}, 1, "last value"),
    ("self.s = e.where.city", {"s": "str"}, 1, "last value"),
    ("self.n += e.n", {"n": "int = 0"}, 1, "sum"),
    ("self.n = self.n + 1 - e.n * 2", {"n": "int = 0"}, 1, "sum"),
    ("self.n += double(e.n)", {"n": "int = 0"}, 1, "sum"),
    ("self.n += or_nothing(e.m)", {"n": "int = 0"}, 1, "sum"),
    ("self.d -= e.d * e.n", {"d": "Decimal = Decimal(0)"}, 1, "sum"),
    ("self.n = max(self.n, e.n)", {"n": "int = 0"}, 1, "greatest"),
    ("if e.n < self.n: self.n = e.n", {"n": "int = 0"}, 1, "least"),
    ("if self.s is None: self.s = e.t", {"s": "str | None = None"}, 1, "first value"),
    ("self.s = self.s or e.t", {"s": "str"}, 3, "Python"),
    ("if e.t in ('a', 'b') and not e.flag: self.n += 1", {"n": "int = 0"}, 1, "sum"),
    ("if 'x' in e.t: self.n += 1", {"n": "int = 0"}, 1, "sum"),
    ("if e.colour == Colour.BLUE: self.n += 1", {"n": "int = 0"}, 1, "sum"),
    ("self.c = e.colour", {"c": "Colour"}, 1, "last value"),
    ("if e.u: self.n += 1", {"n": "int = 0"}, 1, "sum"),
    ("match e.t:\n    case 'a': self.n += 1\n    case _: self.n -= 1", {"n": "int = 0"}, 1, "sum"),
    ("self.tags.add(e.t)", {"tags": "set[str]"}, 1, STEPS),
    ("self.d[e.t] = self.d.get(e.t, 0) + e.n", {"d": "dict[str, int]"}, 1, STEPS),
    ("self.d[e.t] += e.n", {"d": "dict[str, int]"}, 1, STEPS),
    ("if self.s == 'on': self.n += 1\nself.s = 'on' if e.flag else 'off'",
     {"n": "int = 0", "s": "str = 'off'"}, 2, "sum"),
    ("if self.on: self.n += e.n\nself.on = e.flag",
     {"n": "int = 0", "on": "bool = False"}, 2, "sum"),
    ("self.x += e.x", {"x": "float = 0.0"}, 1, "sum since it was last set"),
    ("if e.n > 3: return\nself.n += 1", {"n": "int = 0"}, 1, "sum"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "fields", "tier", "fold"), SEEN)
def test_what_is_seen(body: str, fields: dict[str, str], tier: int, fold: str) -> None:
    row = made(body, **fields).explain()[next(iter(fields))]
    assert (row.tier, row.fold) == (tier, fold)
    assert bool(row.sql) == (tier < 3)


UNSEEN = [
    ("self.s = f'{e.t}!'", {"s": "str"}, "f-string"),
    ("self.n += len(e.t)", {"n": "int = 0"}, "len()"),
    ("for one in e.items: self.n += one", {"n": "int = 0"}, "items"),
    ("try:\n    self.n += e.n\nexcept TypeError: pass", {"n": "int = 0"}, "try"),
    ("self.x = e.n / 3", {"x": "float = 0.0"}, "'/'"),
    ("self.n = round(e.x)", {"n": "int = 0"}, "round()"),
    ("self.n = int(e.t)", {"n": "int = 0"}, "line 4"),
    ("self.d = Decimal(e.n)", {"d": "Decimal = Decimal(0)"}, "TypeError"),
    ("self.n = sum([e.n, ord(e.t)])", {"n": "int = 0"}, "line 4"),
    ("self.n = walks(e.t)", {"n": "int = 0"}, "loop"),
    ("if e.colour is Colour.RED: self.n += 1", {"n": "int = 0"}, "'is'"),
    ("self.n = {'a': 1}.get(e.t, 0)", {"n": "int = 0"}, "set or dict of yours"),
    ("if e.t in {'a', 'b'}: self.n += 1", {"n": "int = 0"}, "set or dict of yours"),
    ("self.n = e.n // e.n", {"n": "int = 0"}, "'//'"),
    ("self.d = e.d * e.d * e.d * e.d", {"d": "Decimal = Decimal(0)"}, "digits"),
    ("self.s = e.n", {"s": "str"}, "declared text"),
    ("self.s = e.t[0]", {"s": "str"}, "[ ]"),
    ("self.s = e.t.title()", {"s": "str"}, ".title"),
    ("if self.n > 3: self.s = 'many'\nself.n += 1", {"s": "str", "n": "int = 0"}, "reads n"),
    ("if e.t in self.tags: self.n += 1\nself.tags.add(e.t)",
     {"n": "int = 0", "tags": "set[str]"}, "reads tags"),
    ("self.extra = 1", {"n": "int = 0"}, "no field"),
    ("self.any = {'a': [e.n]}", {"any": "dict[str, list[int]]"}, "set as a whole"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "fields", "reason"), UNSEEN)
def test_what_is_not_seen_says_why(body: str, fields: dict[str, str], reason: str) -> None:
    row = made(body, **fields).explain()[next(iter(fields))]
    if "extra" in body:
        assert row.tier == 1  # the handler is Python's, and the field not touched by it
        return
    assert row.tier == 3
    assert reason in row.why
    assert not row.sql


def test_the_reason_names_the_line() -> None:
    why = made("self.n += 1\nself.n += len(e.t)", n="int = 0").explain()["n"].why
    assert "line 5 of" in why


def test_too_many_branches_go_to_python() -> None:
    body = "\n".join(f"if e.n > {i}: self.n += {i}" for i in range(12))
    assert "ways through" in made(body, n="int = 0").explain()["n"].why


def test_a_helper_is_looked_at_too() -> None:
    body = "self.n = or_nothing(e.m)"
    tree = made(body, n="int = 0").description.plan.trees["Happened"]
    assert type(tree).__name__ == "Node"  # one way for None, one for a value


def test_redefining_a_class_works() -> None:
    one, two = made("self.n += 1", n="int = 0"), made("self.n += 2", n="int = 0")
    assert one.description.fingerprint != two.description.fingerprint
    again = made("self.n += 1", n="int = 0")
    assert one.description.fingerprint == again.description.fingerprint


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("class A(Aggregate):\n def when(self, e): pass", "annotate"),
        ("class A(Aggregate):\n def when(self, e: int): pass", "annotate"),
        ("class A(Aggregate):\n def when(self): pass", "one event"),
        ("class A(Aggregate):\n position: int = 0", "esnb's own"),
        ("class A(Aggregate, category='a', foo=1): pass", "no option 'foo'"),
        (
            "class A(Aggregate):\n def when_a(self, e: Happened): pass\n"
            " def when_b(self, e: Happened): pass",
            "twice",
        ),
    ],
)
def test_classes_that_cannot_be(source: str, message: str) -> None:
    with pytest.raises(AggregateError, match=message):
        exec(source, dict(globals()))  # noqa: S102 (our own text)


def test_explanations_show_themselves() -> None:
    explanation = made("self.s = '<i>'", s="str").explain()
    assert "tier 1" in repr(explanation)
    assert "&lt;i&gt;" in explanation._repr_html_()
    assert "<i>" not in explanation._repr_html_()


def test_tracing_leaves_no_trace() -> None:
    before = sys.getprofile()
    made("self.n += 1", n="int = 0").explain()
    assert sys.getprofile() is before


def test_sql_strips_what_python_strips() -> None:
    from esnb.aggregate.render import _SPACES

    assert set(_SPACES) == {c for c in map(chr, range(sys.maxunicode + 1)) if c.isspace()}


def test_bytes_tell_what_instructions_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = (argparse, contextlib, dataclasses, inspect, json.decoder, typing)
    codes = [
        found.__code__
        for module in modules
        for owner in (module, *filter(inspect.isclass, vars(module).values()))
        for found in vars(owner).values()
        if inspect.isfunction(found)
    ]
    quick = [(blind_spots(code), reads_identity(code)) for code in codes]
    for name in ("_UNSEEN_CODES", "_IDENTITY_CODES"):
        monkeypatch.setattr(bytecode, name, frozenset(range(256)))
    assert quick == [(blind_spots(code), reads_identity(code)) for code in codes]
    assert len({unseen[1] for unseen, _ in quick if unseen}) > 3
    assert {asked[1] for _, asked in quick if asked} == {True, False}
