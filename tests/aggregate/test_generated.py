"""Classes that nobody wrote: whatever their handlers do, every tier gives what Python gives."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb.aggregate import Aggregate, Event
from esnb.errors import AggregateError
from tests.aggregate.test_equal import check
from tests.aggregate.zoo import Happened, written

FIELDS = {
    "s": "str = 'a'",
    "r": "str | None = None",
    "on": "bool = False",
    "n": "int = 0",
    "m": "int | None = None",
    "d": "Decimal = Decimal(0)",
    "x": "float = 0.0",
    "tags": "set[str]",
    "lines": "dict[str, int]",
}


class Ev(Event):
    n: int
    m: int | None = None
    t: str = "a"
    u: str | None = None
    d: Decimal = Decimal("0.5")
    x: float = 0.25
    flag: bool = False


WORDS = st.sampled_from(["'a'", "'b'", "''", "'é'"])
INTS = st.recursive(
    st.sampled_from(["e.n", "1", "-2", "e.n // 2", "e.n % 3", "abs(e.n)"]),
    lambda inner: st.tuples(inner, st.sampled_from("+-*"), inner).map(
        lambda parts: f"({' '.join(parts)})"
    ),
    max_leaves=3,
)
TEXTS = st.one_of(WORDS, st.sampled_from(["e.t", "e.t + 'b'", "e.t.strip()", "e.t.upper()"]))
DECIMALS = st.sampled_from(["e.d", "e.d * e.n", "-e.d", "Decimal('1.25')", "e.d - e.n"])
CONDITIONS = st.recursive(
    st.one_of(
        st.tuples(INTS, st.sampled_from(["<", "<=", ">", "==", "!="]), INTS).map(" ".join),
        st.tuples(st.sampled_from(["e.t", "e.u", "self.s", "self.r"]), WORDS).map(" == ".join),
        st.sampled_from(
            [
                "e.flag", "self.on", "not self.on", "e.m is None", "e.u is not None", "e.u",
                "self.r is None", "self.s in ('a', 'b')", "e.t in ('a', '')", "e.d > e.n",
                "self.m is not None and self.m > 1", "self.s != e.t", "'a' in e.t",
                "e.t.startswith('a')", "self.n > 2", "e.t in self.tags",
            ]
        ),
    ),
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
        lambda parts: f"({' '.join(parts)})"
    ),
    max_leaves=3,
)  # fmt: skip
STEPS = st.one_of(
    st.builds("self.n += {}".format, INTS),
    st.builds("self.n = {}".format, INTS),
    st.builds("self.n = max(self.n, {})".format, INTS),
    st.builds("self.m = {}".format, st.sampled_from(["e.m", "None", "e.n", "0"])),
    st.builds("self.m = e.n if self.m is None else self.m + {}".format, INTS),
    st.builds("self.s = {}".format, TEXTS),
    st.builds("self.s = {}".format, WORDS),
    st.builds("self.r = {}".format, st.sampled_from(["e.u", "self.s", "None", "'a'"])),
    st.just("if self.r is None: self.r = e.u"),
    st.builds("self.on = {}".format, st.sampled_from(["e.flag", "True", "not self.on"])),
    st.builds("self.d += {}".format, DECIMALS),
    st.builds("self.d = {}".format, DECIMALS),
    st.builds("self.d = min(self.d, {})".format, DECIMALS),
    st.sampled_from(["self.x += e.x", "self.x = e.x", "self.x = e.x / 3"]),
    st.sampled_from(
        [
            "self.tags.add(e.t)", "self.tags.discard(e.t)", "self.tags.clear()",
            "self.lines[e.t] = self.lines.get(e.t, 0) + e.n", "self.lines.pop(e.t, None)",
            "self.lines[e.t] = e.n", "return", "self.r = f'{e.n}'",
        ]
    ),
)  # fmt: skip


def indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


BLOCKS = st.recursive(
    st.lists(STEPS, min_size=1, max_size=3),
    lambda inner: st.one_of(
        st.tuples(CONDITIONS, inner).map(lambda p: [f"if {p[0]}:", *indented(p[1])]),
        st.tuples(CONDITIONS, inner, inner).map(
            lambda p: [f"if {p[0]}:", *indented(p[1]), "else:", *indented(p[2])]
        ),
        st.tuples(inner, inner).map(lambda p: p[0] + p[1]),
    ),
    max_leaves=4,
)
EVENTS = st.builds(
    lambda stream, data: Happened(stream, "Ev", data, 0),
    st.sampled_from(["order-1", "order-2"]),
    st.fixed_dictionaries(
        {"n": st.sampled_from([0, 1, 2, 5, -1, -4])},
        optional={
            "m": st.sampled_from([None, 0, 3]),
            "t": st.sampled_from(["a", "b", "", " a", "ß"]),
            "u": st.sampled_from([None, "", "a", "é"]),
            "d": st.sampled_from(["1.5", 2.25, "-0.000001", 4, "1e-7", "123456789012.5"]),
            "x": st.sampled_from([0.1, 3, 1e16]),
            "flag": st.booleans(),
        },
    ),
)


def made(body: list[str]) -> type[Aggregate]:
    fields = "\n".join(f"    {name}: {kind}" for name, kind in FIELDS.items())
    lines = "\n".join(f"        {line}" for line in body)
    source = (
        "class Thing(Aggregate, category='order'):\n"
        f"{fields}\n    def when(self, e: Ev):\n{lines}\n"
    )
    names: dict[str, Any] = {"Aggregate": Aggregate, "Decimal": Decimal, "Ev": Ev}
    exec(source, names)  # noqa: S102 (our own text)
    thing: type[Aggregate] = names["Thing"]
    return thing


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(BLOCKS, st.lists(EVENTS, min_size=1, max_size=8))
def test_whatever_a_handler_does(body: list[str], history: list[Happened]) -> None:
    owner = made(body)
    with written(history) as log:
        try:
            check(owner, log)
        except AggregateError as error:
            # More digits than any column has: said, not rounded.
            if "its column" not in str(error):
                raise
