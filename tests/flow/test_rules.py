"""Rules equal a slow checker, and say which events broke them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb.errors import FlowError
from esnb.event import DomainEvent
from esnb.eventlog import EventLog
from esnb.flow import rules
from esnb.flow.declare import Asked, judged
from esnb.flow.rules import Rule, read_rule, response
from tests.flow.slow_match import Seen
from tests.flow.test_search import steps_of

START = datetime(2026, 1, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Told:
    """One event as the slow checker sees it."""

    at: int
    first: bool
    second: bool
    actor: int


Case = list[Told]
Broken = set[int]


def slow(rule: Rule, case: Case, until: int | None) -> tuple[bool, Broken]:
    """Return whether a rule says anything of a case, and the places of the events that break it."""
    limit = float("inf") if rule.within is None else int(str(rule.within).removesuffix("us"))
    if rule.within is None:
        until = None
    places = range(len(case))
    first = [i for i in places if case[i].first]
    second = [i for i in places if case[i].second]

    def near(i: int, j: int) -> bool:
        return case[max(i, j)].at - case[min(i, j)].at <= limit

    def behind(i: int, of: list[int]) -> int | None:
        return min((j for j in of if j > i), default=None)

    def before(i: int, of: list[int]) -> int | None:
        return max((j for j in of if j < i), default=None)

    def may_come(i: int) -> bool:
        return until is not None and until - case[i].at <= limit

    def respond(alternate: bool, chain: bool) -> tuple[list[int], Broken]:
        said, broken = [], set()
        for i in first:
            j = behind(i, second)
            again = behind(i, first)
            if j is None and may_come(i):
                waits = (not chain or i == len(case) - 1) and (not alternate or again is None)
                if waits:
                    continue
            said.append(i)
            good = j is not None and near(i, j)
            if good and chain:
                good = j == i + 1
            if good and alternate:
                good = again is None or again >= j
            if not good:
                broken.add(i)
        return said, broken

    def precede(alternate: bool, chain: bool) -> tuple[list[int], Broken]:
        broken = set()
        for j in second:
            i = before(j, first)
            good = i is not None and near(i, j)
            if good and chain:
                good = i == j - 1
            if good and alternate:
                other = before(j, second)
                good = other is None or other <= i
            if not good:
                broken.add(j)
        return second, broken

    def with_it(mine: list[int], others: list[int]) -> tuple[list[int], Broken]:
        said, broken = [], set()
        for i in mine:
            around = [j for j in (before(i, others), behind(i, others)) if j is not None]
            good = any(near(i, j) for j in around)
            if not good and behind(i, others) is None and may_come(i):
                continue
            said.append(i)
            if not good:
                broken.add(i)
        return said, broken

    def not_behind(mine: list[int], others: list[int]) -> Broken:
        found = set()
        for j in others:
            i = before(j, mine)
            if i is not None and near(i, j):
                found.add(j)
        return found

    last = len(case) - 1
    kind, number = rule.kind, rule.number
    if kind == "existence":
        return True, {last} if len(first) < number else set()
    if kind == "absence":
        return True, set(first)
    if kind == "at_most":
        return True, set(first[number:])
    if kind == "exactly":
        return True, {last} if len(first) < number else set(first[number:])
    if kind == "init":
        return True, set() if case[0].first else {0}
    if kind == "last":
        return True, set() if case[last].first else {last}
    if kind in ("responded_existence", "coexistence"):
        said, broken = with_it(first, second)
        if kind == "coexistence":
            more, worse = with_it(second, first)
            said, broken = said + more, broken | worse
        return bool(said), broken
    if kind == "not_coexistence":
        both = not_behind(first, second) | not_behind(second, first)
        return bool(first or second), both
    if kind == "not_succession":
        return bool(first), not_behind(first, second)
    if kind == "not_chain_succession":
        return bool(first), {j for j in not_behind(first, second) if case[j - 1].first}
    if kind == "four_eyes":
        if not first or not second:
            return False, set()
        broken = set()
        for j in {*first, *second}:
            if case[j].actor < 0:
                if rule.missing == "broken":
                    broken.add(j)
                continue
            earlier = [case[i] for i in range(j) if case[i].actor == case[j].actor]
            if (case[j].first and any(e.second for e in earlier)) or (
                case[j].second and any(e.first for e in earlier)
            ):
                broken.add(j)
        return True, broken
    how, _, what = kind.rpartition("_")
    said, broken = [], set()
    if what in ("response", "succession"):
        said, broken = respond(how == "alternate", how == "chain")
    if what in ("precedence", "succession"):
        more, worse = precede(how == "alternate", how == "chain")
        said, broken = said + more, broken | worse
    return bool(said), broken


ALONE = ("absence", "init", "last")
COUNTING = ("existence", "at_most", "exactly")
PAIRS = [
    name for name in rules.__all__
    if name not in (*ALONE, *COUNTING, "Rule", "read_rule", "four_eyes")
]  # fmt: skip
WITHIN = st.one_of(st.none(), st.integers(0, 6).map(lambda n: f"{n}us"))
RULES = st.one_of(
    st.sampled_from(ALONE).map(lambda kind: getattr(rules, kind)("A")),
    st.tuples(st.sampled_from(COUNTING), st.integers(1, 3)).map(
        lambda one: getattr(rules, one[0])("A", one[1])
    ),
    st.tuples(st.sampled_from(PAIRS), WITHIN).map(
        lambda one: getattr(rules, one[0])("A", "B", within=one[1])
    ),
    st.tuples(st.sampled_from(PAIRS), WITHIN).map(
        lambda one: getattr(rules, one[0])("A", "B", within=one[1])
    ),
    st.sampled_from(["broken", "ignore"]).map(
        lambda missing: rules.four_eyes("A", "B", missing=missing)
    ),
)
TOLD = st.builds(
    Told,
    st.integers(0, 8),
    st.sampled_from([False, True]),
    st.sampled_from([False, True]),
    st.integers(-1, 2),
)
CASES = st.lists(st.lists(TOLD, min_size=1, max_size=7), min_size=1, max_size=6)


def test_all_rules_are_drawn() -> None:
    assert len(PAIRS) == 14
    kinds = {*ALONE, *COUNTING, *PAIRS, "four_eyes"}
    assert kinds | {"Rule", "read_rule"} == set(rules.__all__)


@settings(max_examples=600)
@given(RULES, CASES, st.booleans(), st.one_of(st.none(), st.integers(8, 12)))
def test_rules_equal_the_slow_checker(
    rule: Rule, cases: list[Case], by_time: bool, until: int | None
) -> None:
    if by_time:
        cases = [sorted(case, key=lambda event: event.at) for case in cases]
    events = [event for case in cases for event in case]
    asked = Asked(
        rule,
        steps_of([[Seen("A", event.at) for event in case] for case in cases]),
        np.array([event.first for event in events]),
        np.array([event.second for event in events]),
        np.array([event.actor for event in events], np.int64) if rule.missing else None,
        until if rule.within is not None else None,
    )
    verdict = judged(asked)
    firsts = asked.steps.firsts.tolist()
    broken = {row for rows, _ in verdict.broken for row in rows.tolist()}
    for number, case in enumerate(cases):
        applies, places = slow(rule, case, until)
        assert verdict.applies[number] == applies
        own = {row - firsts[number] for row in broken if firsts[number] <= row < firsts[number + 1]}
        assert own == places
        assert applies or not places
    for rows, why in verdict.broken:
        assert len(rows)
        assert why
    # No event is told twice for one reason.
    told = Counter((row, why) for rows, why in verdict.broken for row in rows.tolist())
    assert not told or max(told.values()) == 1


# --- in a log -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def approvals() -> Iterator[EventLog]:
    """Three orders: one as it should be, one paid by who approved it, one still waiting."""
    events = [
        ("order-1", "Placed", 0, None, 10), ("order-1", "Approved", 1, "ann", None),
        ("order-1", "Order paid", 2, "bob", None), ("order-1", "Shipped", 40, "cid", None),
        ("order-2", "Placed", 0, None, 900), ("order-2", "Order paid", 3, "ann", None),
        ("order-2", "Approved", 4, "ann", None), ("order-2", "Order paid", 5, None, None),
        ("order-3", "Placed", 45, None, 900),
    ]  # fmt: skip
    with (
        TemporaryDirectory() as folder,
        EventLog.create(Path(folder) / "log", zone="UTC", maintain=False) as log,
    ):
        for stream, kind, hour, actor, amount in events:
            at = START + timedelta(hours=hour)
            data = {} if amount is None else {"n": amount}
            log.append(stream, [DomainEvent(kind, data, actor=actor, occurred_on=at)])
        yield log


def summary(checked: Any) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = checked.summary().fetchall()
    return rows


def test_a_summary_and_its_evidence(approvals: EventLog) -> None:
    checked = approvals.check(
        [
            "Shipped never before 'Order paid'",
            response("Placed", "Shipped", within="2d"),
            rules.four_eyes("Approved", "Order paid"),
        ]
    )
    assert summary(checked) == [
        ("Shipped never before 'Order paid'", 1, 0, 2, 1.0),
        ("response(Placed, Shipped, within 2d)", 1, 2, 0, 1 / 3),
        ("four_eyes(Approved, Order paid)", 1, 1, 1, 0.5),
    ]
    assert not checked.ok
    assert repr(checked) == "Checked(3 rules, 2 of them broken; 3 cases)"
    found = checked.broken()
    assert found.columns == [
        "rule", "case_id", "event_type", "time", "position", "event_id", "why",
    ]  # fmt: skip
    rows = found.fetchall()
    assert [(row[1], row[2], row[4], row[6]) for row in rows] == [
        ("order-2", "Placed", 4, "no Shipped follows"),
        ("order-3", "Placed", 8, "no Shipped follows"),
        ("order-2", "Approved", 6, "the same actor did both"),
        ("order-2", "Order paid", 7, "no actor is known"),
    ]
    for _, case, kind, at, position, event_id, _ in rows:
        (event,) = approvals.events(event_id=event_id).fetchall()
        named = dict(zip(approvals.events().columns, event, strict=True))
        assert (named["stream"], named["event_type"]) == (case, kind)
        assert (named["occurred_on"], named["position"]) == (at, position)
    eyes = checked.rules[2]
    assert checked.broken(eyes).fetchall() == checked.broken(eyes.name).fetchall() == rows[2:]
    assert [row[0] for row in checked.streams(eyes).fetchall()] == ["order-2"]
    assert [row[0] for row in checked.streams(eyes, "held").fetchall()] == ["order-1"]
    assert [row[0] for row in checked.streams(eyes, "not_applicable").fetchall()] == ["order-3"]
    assert [row[0] for row in checked.streams().fetchall()] == ["order-2", "order-3"]
    assert [row[0] for row in checked.flow(eyes).durations().fetchall()] == ["order-2"]
    assert approvals.check("Placed first").ok


def test_an_actor_that_is_missing_may_be_ignored(approvals: EventLog) -> None:
    checked = approvals.check(rules.four_eyes("Approved", "Order paid", missing="ignore"))
    assert [row[6] for row in checked.broken().fetchall()] == ["the same actor did both"]
    # By both orders: who pays first must not approve.
    swapped = approvals.check(rules.four_eyes("Order paid", "Approved", missing="ignore"))
    assert [row[2:5] for row in swapped.broken().fetchall()] == [
        row[2:5] for row in checked.broken().fetchall()
    ]


def test_what_still_may_come(approvals: EventLog) -> None:
    rule = response("Placed", "Shipped", within="2d")
    for open_, counts in (("broken", (1, 2, 0)), ("not_applicable", (1, 0, 2))):
        ((_, *found, _),) = summary(approvals.check(rule, open=open_))
        assert tuple(found) == counts
    later = approvals.check(rule, open="not_applicable", until="2026-02-01T12:00:00Z")
    assert summary(later)[0][1:4] == (1, 1, 1)
    later = approvals.check(rule, open="not_applicable", until="2026-02-05")
    assert summary(later)[0][1:4] == (1, 2, 0)
    # Without a limit the end of what is known is the end.
    ever = approvals.check(response("Placed", "Shipped"), open="not_applicable")
    assert summary(ever)[0][1:4] == (1, 2, 0)


def test_elements_with_conditions(approvals: EventLog) -> None:
    checked = approvals.check(
        [
            response("Placed[data.n > 100]", "Shipped"),
            response("Placed", "!(Placed|Shipped)[state.n = 900 and actor is null]"),
            rules.last("(Shipped | Placed)"),
            rules.existence(".", 4),
        ],
        "order",
        state="order",
    )
    assert [row[1:4] for row in summary(checked)] == [(0, 2, 1), (1, 2, 0), (2, 1, 0), (2, 1, 0)]
    # A type as it stands, or in quotes.
    same = approvals.check([rules.existence("Order paid"), rules.existence('"Order paid"')])
    assert [row[1:] for row in summary(same)] == [(2, 1, 0, 2 / 3)] * 2
    assert same.broken().fetchall()[0][6] == "no Order paid in the case, which ends here"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda log: log.check("Shiped always"), "Did you mean 'Shipped'"),
        (lambda log: log.check(rules.init("Order payd")), "Did you mean 'Order paid'"),
        (lambda log: log.check(rules.init("Placed, Shipped")), "Did you mean 'Shipped'"),
        (lambda log: log.check(rules.init("Placed[x")), "is not closed"),
        (lambda log: log.check(rules.init("Placed[nobody = 1]")), "the condition fails"),
        (lambda log: log.check(rules.init("Placed[state.n = 1]")), "say which timeline"),
        (lambda log: log.check([7]), "7 is no rule"),
        (lambda log: log.check(["Placed first", "Placed first"]), "two rules are called"),
        (lambda log: log.check("Placed first", open="maybe"), "say 'broken' or 'not_applicable'"),
        (lambda log: log.check("Placed first", state=7), "give a timeline"),
        (lambda log: log.check("Placed first").broken("Placed last"), "Did you mean 'Placed firs"),
        (lambda log: log.check("Placed first").streams(None, "bad"), "say 'held', 'broken'"),
        (lambda log: response("A", "B", within="1 month"), "no length of time"),
        (lambda log: response("A", ""), "is no event type"),
        (lambda log: rules.exactly("A", -1), "no number of times"),
        (lambda log: rules.existence("A", 0), "no number of times"),
        (lambda log: rules.existence("A", True), "no number of times"),
        (lambda log: rules.four_eyes("A", "B", missing="?"), "say 'broken' or 'ignore'"),
        (lambda log: rules.init("A").called(7), "as text"),
    ],
)
def test_what_cannot_be_asked(approvals: EventLog, make: Callable[[Any], Any], reason: str) -> None:
    with pytest.raises(FlowError, match=reason):
        make(approvals)


def test_nothing_is_broken_where_nothing_is(approvals: EventLog) -> None:
    nothing = approvals.check(["Anything followed by Else", rules.init("not there")], "nothing")
    assert [row[1:] for row in summary(nothing)] == [(0, 0, 0, None)] * 2
    assert nothing.ok
    assert nothing.broken().fetchall() == nothing.streams().fetchall() == []
    none = approvals.check([])
    assert summary(none) == none.broken().fetchall() == []
    elsewhere = approvals.check("Placed followed by Shipped", streams=["order-3"])
    assert summary(elsewhere)[0][1:4] == (0, 1, 0)


def test_a_table_and_hostile_types() -> None:
    types = ["<script>alert(1)</script>" * 400, "it's \U0001f600", "A|B"]
    rows = pd.DataFrame({"case_id": "<b>", "what": types, "time": pd.Timestamp(0, tz="UTC")})
    flow = esnb.flow(rows, case_id="case_id", event_type="what", time="time")
    checked = flow.check([rules.chain_succession(types[0], types[1]), rules.absence("A|B")])
    assert [row[1:4] for row in summary(checked)] == [(1, 0, 0), (0, 1, 0)]
    at = datetime(1970, 1, 1, tzinfo=UTC)
    assert checked.broken().fetchall() == [
        ("absence(A|B)", "<b>", "A|B", at, 2, None, "A|B happened")
    ]
    assert "<script>" not in checked._repr_html_()
    with pytest.raises(FlowError, match="of a table, not of a log"):
        flow.check(rules.four_eyes("A|B", types[0]))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("A followed by B", response("A", "B")),
        ("A followed by B within 2 d", response("A", "B", within="2 d")),
        ("A directly followed by B", rules.chain_response("A", "B")),
        ("B only after A", rules.precedence("A", "B")),
        ("B only directly after A within 1h", rules.chain_precedence("A", "B", within="1h")),
        ("B never before A", rules.precedence("A", "B")),
        ("B Never  After A", rules.not_succession("A", "B")),
        ("B never directly after A", rules.not_chain_succession("A", "B")),
        ("A never with B", rules.not_coexistence("A", "B")),
        ("A never without B", rules.responded_existence("A", "B")),
        ("A always", rules.existence("A")),
        ("A never", rules.absence("A")),
        ("never first", rules.init("never")),
        ("A last", rules.last("A")),
        ("A exactly once", rules.exactly("A")),
        ("A at most once", rules.at_most("A")),
        (
            "(A|'B C')[x in ('within', ']')] never before !D[y] within 7d",
            rules.precedence("!D[y]", "(A|'B C')[x in ('within', ']')]", within="7d"),
        ),
    ],
)
def test_sentences(text: str, rule: Rule) -> None:
    assert read_rule(text) == rule
    assert read_rule(text).name == text


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("", 0), ("A", 1), ("A nevermore B", 2), ("A never before", 14), ("A never B", 7),
        ("A followed by B soon", 16), ("A followed by B within x", 23), ("A first within 2d", 7),
    ],
)  # fmt: skip
def test_sentences_that_are_none(text: str, column: int) -> None:
    with pytest.raises(FlowError) as raised:
        read_rule(text)
    assert str(raised.value).endswith(f"    {text}\n    {' ' * column}^")
