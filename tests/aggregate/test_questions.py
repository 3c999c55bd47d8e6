"""When, what if and breaches, each against a plain loop over the events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb import TimelineError
from esnb.aggregate import Aggregate
from esnb.errors import AggregateError, QueryError
from esnb.timeline.checking import Compared
from tests.aggregate.zoo import (
    HISTORIES,
    START,
    Added,
    Collections,
    Guarded,
    Happened,
    Mixed,
    Paid,
    Placed,
    Scalars,
    plain_fold,
    rows_of,
    shown,
    state_of,
    written,
)

asked = settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
CONDITIONS: list[tuple[type[Aggregate], str, Any]] = [
    (Guarded, "status = 'pending' and total > 1", lambda o: o.status == "pending" and o.total > 1),
    (Guarded, "urgent or status is null", lambda o: o.urgent or o.status is None),
    (Scalars, "most > 2", lambda o: o.most is not None and o.most > 2),
    (Collections, "list_contains(tags, 'a')", lambda o: "a" in o.tags),
]


@pytest.mark.parametrize(("owner", "sql", "function"), CONDITIONS)
@asked
@given(HISTORIES)
def test_when_finds_the_periods(
    owner: type[Aggregate], sql: str, function: Any, history: list[Happened]
) -> None:
    with written(history) as log:
        aggregates: dict[str, Aggregate] = {}
        held: dict[str, list[list[int]]] = {}
        before: dict[str, bool] = {}
        for event in log.read():
            one = aggregates.setdefault(event.stream, owner(event.stream))
            one.replay(event)
            holds = not one.ended and bool(function(one))
            periods = held.setdefault(event.stream, [])
            if holds and not before.get(event.stream):
                periods.append([])
            if holds:
                periods[-1].append(event.position)
            before[event.stream] = holds
        expected = {
            (stream, number): (period[0], len(period))
            for stream, periods in held.items()
            for number, period in enumerate(periods, start=1)
        }
        line = log.timeline(owner)
        for condition in (sql, function):
            found = rows_of(line.when(condition))
            assert {
                (row["stream"], row["number"]): (row["position"], row["events"]) for row in found
            } == expected
            first = rows_of(line.when(condition).first())
            assert [row["stream"] for row in first] == sorted(
                stream for stream, periods in held.items() if periods
            )
        standing = {row["stream"]: row["position"] for row in rows_of(line.as_of(10**6))}
        for row in rows_of(line.when(sql)):
            ends = row["until_position"] is None
            assert ends == (row["system_to"] is None)
            if ends:
                assert row["stream"] in standing


def test_conditions_that_cannot_be_asked() -> None:
    with written([Happened("order-1", "Placed", {"customer": "a"}, 0, 3)]) as log:
        line = log.timeline(Guarded)
        for bad in ("nope > 1", "1); select (1", "status = 'a'; drop table x", "sum(total)", ""):
            with pytest.raises(QueryError):
                line.when(bad)
        with pytest.raises(AggregateError, match="f-string"):
            line.when(lambda o: f"{o.status}" == "x")
        with pytest.raises(TimelineError, match="needs a class"):
            log.timeline("order").when(lambda o: True)
        with pytest.raises(TimelineError, match="aggregate class"):
            log.timeline("order").breaches()


@asked
@given(HISTORIES)
def test_breaches_are_the_events_that_changed_nothing(history: list[Happened]) -> None:
    """Of a guarded handler: those after which every field is as it was, or with a rule named."""
    guarded = {"Placed", "Paid", "PaymentTaken", "Cancelled"}
    with written(history) as log:
        aggregates: dict[str, Guarded] = {}
        named: dict[int, str] = {}
        unchanged: dict[int, dict[str, Any]] = {}
        for event in log.read():
            one = aggregates.setdefault(event.stream, Guarded(event.stream))
            before = shown(one)
            one.__dict__.pop("_breach", None)
            one.replay(event)
            rule = one.__dict__.get("_breach")
            if rule is not None:
                named[event.position] = rule
            elif event.event_type in guarded and shown(one) == before:
                unchanged[event.position] = before
        found = rows_of(log.timeline(Guarded).breaches())
        rules = {row["position"]: row["rule"] for row in found}
        assert {p: rule for p, rule in rules.items() if rule != "nothing is changed"} == named
        # Setting a field to what it was is no breach: those found are among the unchanged.
        for row in found:
            if row["rule"] == "nothing is changed":
                assert unchanged[row["position"]] == state_of(Guarded, row)


@asked
@given(HISTORIES, st.sets(st.integers(0, 13)), st.integers(0, 13), st.booleans())
@pytest.mark.parametrize("owner", [Scalars, Mixed])
def test_what_if_is_the_fold_of_the_other_history(
    owner: type[Aggregate],
    history: list[Happened],
    dropped: set[int],
    changed: int,
    put_in: bool,
) -> None:
    with written(history) as log:
        events = list(log.read())
        drop = sorted(p for p in dropped if p < len(events))
        replace: dict[int, Any] = {}
        if changed < len(events) and changed not in drop:
            replace = {changed: Placed(customer="other")}
        insert = [("order-9", Placed(customer="new"), 0)] if put_in and events else []
        if put_in and events:
            insert.append(("order-1", Added(sku="s", qty=2, price="1.5"), len(events) - 1))
        if not (drop or replace or insert):
            return
        line = log.timeline(owner)
        other = line.what_if(drop=drop or None, replace=replace, insert=insert)
        expected: dict[str, Aggregate] = {}
        placed: list[tuple[str, Any]] = []
        for event in events:
            if event.position in replace:
                placed.append((event.stream, replace[event.position].to_domain_event()))
            elif event.position not in drop:
                placed.append((event.stream, event))
            for stream, given_event, after in insert:
                if after == event.position:
                    placed.append((stream, given_event.to_domain_event()))
        for stream, event in placed:
            one = expected.setdefault(stream, owner(stream))
            handled = owner.description.handlers.get(event.event_type)
            made = None
            if handled is not None:
                made = handled[0].from_payload(
                    event.data, version=event.schema_version, envelope=event
                )
            one._move(made, event.event_type)
        found = {row["stream"]: state_of(owner, row) for row in rows_of(other.as_of(10**9))}
        wanted = {stream: shown(one) for stream, one in expected.items() if not one.ended}
        for states in (found, wanted):
            for state in states.values():
                # When and by whom is looked at in a test of its own.
                for name in ("placed_on", "by"):
                    state.pop(name, None)
        assert found == wanted
        actual = plain_fold(owner, log)
        last = {stream: state for (stream, _), state in actual.items()}
        differ = {row["stream"] for row in rows_of(other.diff(line))}
        for stream in set(last) | set(wanted):
            was = last.get(stream)
            was = was and {k: v for k, v in was.items() if k not in ("placed_on", "by")}
            if was != wanted.get(stream):
                assert stream in differ
        apart = {row["stream"] for row in rows_of(other.divergence())}
        assert differ <= apart


def test_a_replaced_event_stays_where_it_was() -> None:
    history = [
        Happened("order-1", "Placed", {"customer": "a"}, 1, 3, actor="ann"),
        Happened("order-1", "Added", {"sku": "x", "qty": 2, "price": "3"}, 2),
        Happened("order-2", "Placed", {"customer": "b"}, 3, 3),
    ]
    with written(history) as log:
        line = log.timeline(Scalars)
        other = line.what_if(replace={1: {"qty": 5}})
        assert other.aggregates == ("order-1",)
        ((stream, change, field, before, after),) = (
            row for row in other.diff(line).fetchall() if row[2] == "total"
        )
        assert (stream, change, field) == ("order-1", "changed", "total")
        assert (float(before), float(after)) == (7.25, 16.25)
        (row,) = rows_of(other.divergence())
        assert (row["stream"], row["found_in"], row["event_type"]) == ("order-1", "both", "Added")
        assert set(row["fields"]) == {"total", "count", "most", "least"}
        whole = line.what_if(replace={0: Placed(customer="z")})
        (first,) = rows_of(whole.history("order-1").filter("revision = 0"))
        assert first["placed_on"] == START + timedelta(hours=1)
        assert (first["by"], first["customer"]) == ("ann", "z")
        untouched = rows_of(whole.as_of(2).filter("stream = 'order-2'"))
        assert untouched == rows_of(line.as_of(2).filter("stream = 'order-2'"))


def test_what_if_of_another_class_and_of_no_class() -> None:
    history = [Happened("order-1", "Placed", {"customer": "a"}, 0, 3)]

    class Louder(Scalars, category="order"):
        def when_placed(self, e: Placed):
            self.status = "PENDING"

    with written(history) as log:
        other = log.timeline(Scalars).what_if(using=Louder)
        changes = {row[2]: row[4] for row in other.diff(other.actual).fetchall()}
        assert changes["status"] == "PENDING"
        plain = log.timeline("order")
        assert rows_of(plain.what_if(drop=0).as_of(5)) == []
        assert plain.what_if(drop="event_type = 'Placed'").diff(plain).fetchall()


def test_what_if_one_event_had_happened_too() -> None:
    with written([Happened("order-1", "Placed", {"customer": "a"}, 0, 3)]) as log:
        line = log.timeline(Scalars)
        alone = line.what_if(insert=("order-1", Paid(amount=5)))
        assert [row["status"] for row in rows_of(alone.as_of(9))] == ["paid"]
        several = line.what_if(insert=[("order-1", Paid(amount=5)), ("order-2", Paid(amount=1))])
        assert [row["status"] for row in rows_of(several.as_of(99))] == ["paid", "partly paid"]


def test_what_if_is_asked_at_each_position_of_its_own() -> None:
    history = [
        Happened(f"order-{i % 3}", "Added", {"sku": "x", "qty": i, "price": "1"}, 0)
        for i in range(9)
    ]
    with written(history) as log:
        other = log.timeline(Scalars).what_if(insert=("order-1", Paid(amount=5), 4))
        rows = rows_of(other.history())
        assert len({row["position"] for row in rows}) == 10
        for at in range(-1, max(row["position"] for row in rows) + 2):
            standing = [
                row
                for row in rows
                if row["position"] <= at and (row["next_position"] or at + 1) > at
            ]
            assert ids(rows_of(other.as_of(at))) == ids(standing)


def ids(rows: list[dict[str, Any]]) -> list[Any]:
    return sorted(row["event_id"] for row in rows)


def test_what_if_says_what_is_wrong() -> None:
    with written([Happened("order-1", "Placed", {"customer": "a"}, 0, 3)]) as log:
        line = log.timeline(Scalars)
        for options, told in (
            ({}, "what if what"),
            ({"drop": [7]}, "no event with the position 7"),
            ({"drop": ["nope"]}, "no event with the event id 'nope'"),
            ({"drop": "nope = 1"}, "no condition on events"),
            ({"insert": ["order-1"]}, "insert takes"),
            ({"replace": {0: 5}}, "is no event"),
            ({"drop": [0], "replace": {0: {}}}, "both dropped and replaced"),
        ):
            with pytest.raises(TimelineError, match=told):
                line.what_if(**options)


def test_check_compares_whole_streams() -> None:
    history = [
        Happened(f"order-{i % 7}", "Added", {"sku": "x", "qty": i, "price": "1"}, 0)
        for i in range(40)
    ]
    with written(history) as log:
        assert log.timeline(Scalars).check(3).streams >= 3
        assert log.timeline(Scalars).check() == Compared(7, 40)
