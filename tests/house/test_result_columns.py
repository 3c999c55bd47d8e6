"""Columns of answers: each can be named in SQL as it is, without quotes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

import esnb
from esnb import chart
from esnb.examples import shop
from esnb.flow.checked import Checked
from esnb.flow.flow import Flow
from esnb.flow.matches import Matches
from esnb.flow.objects import ObjectFlow
from esnb.timeline import Timeline
from esnb.timeline.hypothetical import WhatIf
from esnb.timeline.when import Periods

ORDERS, SEED = 60, 6
FIRST, SECOND = "2025-12-01", "2026-02-01"
WAY = ("OrderPlaced", "OrderConfirmed")

# Class by class, or function by function of `chart`: how each public answer is asked for.
ASKED: dict[type, dict[str, Callable[[Any], Any]]] = {
    esnb.EventLog: {
        "events": lambda log: log.events(),
        "sql": lambda log: log.sql(f"SELECT * FROM order_diff('{FIRST}', '{SECOND}')"),
    },
    Timeline: {
        "as_of": lambda line: line.as_of(SECOND),
        "valid_at": lambda line: line.valid_at(SECOND),
        "history": lambda line: line.history(),
        "replay": lambda line: line.replay(line.as_of(SECOND).fetchone()[0], "occurred"),
        "diff": lambda line: line.diff(FIRST, SECOND),
        "diff_counts": lambda line: line.diff_counts(FIRST, SECOND),
        "blame": lambda line: line.blame(line.as_of(SECOND).fetchone()[0]),
        "breaches": lambda line: line.breaches(),
        "counts": lambda line: line.counts("status"),
        "population": lambda line: line.population("status", SECOND),
    },
    WhatIf: {
        "diff": lambda other: other.diff(other.actual),
        "divergence": lambda other: other.divergence(),
    },
    Periods: {
        "first": lambda periods: periods.first(),
        "relation": lambda periods: periods.relation,
    },
    Flow: {
        "activities": lambda flow: flow.activities(),
        "directly_follows": lambda flow: flow.directly_follows(),
        "variants": lambda flow: flow.variants(),
        "durations": lambda flow: flow.durations(),
        "events": lambda flow: flow.events(),
        "streams": lambda flow: flow.streams(),
        "steps": lambda flow: flow.steps(),
        "funnel": lambda flow: flow.funnel(WAY),
        "funnel_cases": lambda flow: flow.funnel_cases(WAY),
        "spectrum": lambda flow: flow.spectrum(*WAY, eventually=True),
        "rework": lambda flow: flow.rework(),
        "between": lambda flow: flow.between((None, SECOND), (SECOND, None)),
        "ask": lambda flow: flow.ask("FROM steps JOIN cases USING (case_number)"),
        "answer": lambda flow: flow.answer("FROM found", found=flow.events().to_arrow_table()),
    },
    Matches: {
        "streams": lambda found: found.streams(),
        "matches": lambda found: found.matches(),
        "events": lambda found: found.events(),
    },
    Checked: {
        "summary": lambda checked: checked.summary(),
        "broken": lambda checked: checked.broken(),
        "streams": lambda checked: checked.streams(),
    },
    ObjectFlow: {
        "directly_follows": lambda flow: flow.directly_follows(),
        "activities": lambda flow: flow.activities(),
        "sharing": lambda flow: flow.sharing(),
        "objects": lambda flow: flow.objects(),
    },
}
DRAWN: dict[str, Callable[[esnb.EventLog, Flow], Iterator[Any]]] = {
    "event_counts": lambda log, _: iter([chart.event_counts(log)]),
    "state_counts": lambda log, _: iter([chart.state_counts(orders(log).counts("status"))]),
    "type_counts": lambda _, flow: iter([chart.type_counts(flow)]),
    "flow_edges": lambda _, flow: iter([chart.flow_edges(flow)]),
    "flow_boxes": lambda _, flow: iter([chart.flow_boxes(flow)]),
    "difference_edges": lambda _, flow: iter(
        [chart.difference_edges(flow.between((None, SECOND), (SECOND, None)))]
    ),
    "transitions": lambda _, flow: iter([chart.transitions(flow)]),
    "duration_bins": lambda _, flow: iter([chart.duration_bins(flow)]),
    "alluvial_steps": lambda _, flow: iter([chart.alluvial_steps(flow)]),
    # Too many marks become others, which have columns of their own.
    "dots": lambda _, flow: (
        chart.dots(flow, time, most=most)
        for time in ("absolute", "since start")
        for most in (1, 20_000)
    ),
    "spectrum_lines": lambda _, flow: (
        chart.spectrum_lines(flow, *WAY, eventually=True, most=most) for most in (1, 5_000)
    ),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[esnb.EventLog]:
    path = tmp_path_factory.mktemp("shop") / "log"
    clock = shop.Calendar()
    with esnb.create(path, zone="Europe/Berlin", clock=clock, maintain=False) as made:
        shop.simulate(made, orders=ORDERS, seed=SEED)
        yield made


def orders(log: esnb.EventLog) -> Timeline:
    return log.timeline(shop.Order, unknown="keep")


def asked(log: esnb.EventLog, owner: type) -> Any:
    """Return something of a class, to be asked."""
    line = orders(log)
    made: dict[type, Callable[[], Any]] = {
        esnb.EventLog: lambda: log,
        Timeline: lambda: line,
        WhatIf: lambda: line.what_if(drop="event_type = 'PaymentReceived'"),
        Periods: lambda: line.when("status = 'paid'"),
        Flow: lambda: log.flow("order"),
        Matches: lambda: log.match(" ... ".join(WAY), "order"),
        Checked: lambda: log.check(["OrderShipped never", "OrderPlaced always"], "order"),
        ObjectFlow: lambda: log.object_flow(),
    }
    return made[owner]()


def answers(owner: Any) -> set[str]:
    """Return the public names of a class or module that are said to give a relation."""
    found = set()
    for name, member in vars(owner).items():
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and inspect.isfunction(function):
            told = str(inspect.signature(function).return_annotation)
            if "DuckDBPyRelation" in told:
                found.add(name)
    return found


def named_as_they_are(relation: Any, fields: tuple[str, ...] = ()) -> list[str]:
    """Use each column as it is called; return those that can be used, `fields` left out."""
    names = [name for name in relation.columns if name not in fields]
    for name in names:
        try:
            relation.filter(f"{name} IS NOT NULL").order(name).limit(1).fetchall()
        except duckdb.Error as error:
            pytest.fail(f"the column {name} needs quotes in SQL: {error}")
    return names


@pytest.mark.parametrize("owner", ASKED, ids=lambda owner: owner.__name__)
def test_what_is_asked_has_plain_columns(log: esnb.EventLog, owner: type) -> None:
    # What if is a timeline too; here is what it says otherwise.
    kinds = [one for one in owner.__mro__ if one is owner or one is not Timeline]
    assert set(ASKED[owner]) == set().union(*map(answers, kinds))
    subject = asked(log, owner)
    # The fields of a class are called what an analyst calls them.
    own = tuple(orders(log).fields) if owner in (Timeline, WhatIf) else ()
    for name, ask in ASKED[owner].items():
        assert named_as_they_are(ask(subject), own), name


def test_what_is_drawn_has_plain_columns(log: esnb.EventLog) -> None:
    assert set(DRAWN) == answers(chart)
    flow = log.flow("order")
    for name, ask in DRAWN.items():
        for relation in ask(log, flow):
            assert named_as_they_are(relation), name


def test_a_column_that_needs_quotes_is_found() -> None:
    with pytest.raises(pytest.fail.Exception, match="the column case needs quotes"):
        named_as_they_are(duckdb.sql("""SELECT 1 AS "case" """))
    assert named_as_they_are(duckdb.sql("""SELECT 1 AS "case", 2 AS events"""), ("case",)) == [
        "events"
    ]
