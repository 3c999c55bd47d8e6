"""Set-based projections and those of states, on every sink."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import esnb
from esnb import DomainEvent, EventLog, instants
from esnb.errors import ProjectionError
from esnb.write import DuckDBSink, Projection, Table

from .conftest import Place, place_on
from .forms import Customers, Order
from .model import Gone, Paid, Placed, Rated, Renamed
from .test_projection import AMOUNT, NUL_FREE

STREAM = st.sampled_from(["order-1", "order-2", "order-'\"%s", "other-1"])
EVENT = st.one_of(
    st.builds(Placed, customer=NUL_FREE, total=AMOUNT, due=st.none() | st.dates(date(1, 1, 1))),
    st.builds(Paid, amount=AMOUNT),
    st.builds(Rated, rating=st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Renamed, customer=st.none() | NUL_FREE),
    st.just(Gone()),
)


def customers(log: EventLog) -> dict[str, dict[str, Any]]:
    """Return what `Customers` should hold, event by event."""
    found: dict[str, dict[str, Any]] = {}
    for event in log.read():
        if event.category == "order" and event.event_type == "Placed" and event.data["customer"]:
            row = found.setdefault(event.data["customer"], {"orders": 0, "total": Decimal(0)})
            row["orders"] += 1
            row["total"] += Decimal(event.data["total"])
            row['la"st'] = event.stream
    return found


def opened(log: EventLog) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for event in log.read():
        if event.category != "order":
            continue
        if event.event_type == "Placed":
            found.setdefault(event.stream, {})["customer"] = event.data["customer"]
        elif event.event_type == "Gone":
            found.pop(event.stream, None)
    return found


def states(log: EventLog) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for stream in {event.stream for event in log.read() if event.category == "order"}:
        order = Order.fold(log.read_stream(stream))
        if not order.ended:
            newest = list(log.read_stream(stream))[-1]
            found[stream] = order.state() | {
                "revision": newest.revision,
                "position": newest.position,
            }
    return found


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(STREAM, EVENT), max_size=8), min_size=1, max_size=3),
    st.integers(1, 7),
    st.booleans(),
)
def test_they_are_what_plain_python_says(
    place: Place,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[tuple[str, Any]]],
    batch: int,
    seal: bool,
) -> None:
    server = None if place.kind == "duckdb" else request.getfixturevalue(f"{place.kind}_server")
    folder = tmp_path_factory.mktemp("case")
    where = place_on(place.kind, server, folder)
    with (
        esnb.create(folder / "log", zone="UTC", maintain=False) as log,
        log.project(Customers, into=where.sink(), batch=batch) as by_sql,
        log.project(Projection.of(Order), into=where.sink(), batch=batch) as of_states,
    ):
        for events in parts:
            for stream, event in events:
                log.append(stream, event)
            by_sql.run()
            of_states.run()
            if seal:
                log.seal()
        found = by_sql.rows("customers")
        for row in found.values():
            assert instants.instant(row.pop("seen"))
        assert found == customers(log)
        assert by_sql.rows("open orders") == opened(log)
        assert of_states.rows("order_states") == states(log)
        of_states.rebuild()
        assert of_states.rows() == states(log)


def test_an_event_that_a_select_cannot_take(place: Place, log: EventLog) -> None:
    for number, total in enumerate(["1", "2", "much", "4", "more", "6"]):
        log.append(f"order-{number}", DomainEvent("Placed", {"customer": "ann", "total": total}))
    with log.project(Customers, into=place.sink()) as runner:
        with pytest.raises(ProjectionError, match="the select of 'customers'") as caught:
            runner.run()
        assert (caught.value.position, caught.value.stream) == (2, "order-2")
        assert runner.rows()["ann"]["orders"] == 2
    with log.project(Customers, into=place.sink(), on_error="dead_letter") as runner:
        runner.run()
        assert [letter.position for letter in runner.dead_letters()] == [2, 4]
        assert runner.rows()["ann"]["total"] == 13


def test_selects_that_make_no_sense(log: EventLog, tmp_path: Any) -> None:
    log.append("order-1", Placed(customer="ann"))
    log.append("order-2", Placed(customer="ann"))
    for select, said in [
        ("select stream from events", "must give a column key"),
        ("select stream as key, 1 as m from events", "must give a column key"),
        ("select 'a' as key, 1 as n from events", "stands twice"),
        ("select null as key, 1 as n from events", "NULL"),
        ("select key from nowhere", "nowhere"),
        ("select * from read_csv('somewhere.csv')", "disabled"),
    ]:

        class Odd(Projection):
            rows = Table(n=int, select=select)

        with (
            log.project(Odd, into=DuckDBSink(tmp_path / "m.duckdb")) as runner,
            pytest.raises(ProjectionError, match=said),
        ):
            runner.run()
    with pytest.raises(ProjectionError, match="either all"):

        class Mixed(Projection):
            a = Table(n=int, select="select 1 as key")
            b = Table(n=int)


def test_states_of_a_category(place: Place, log: EventLog) -> None:
    """A timeline whose fields are found in the payloads."""
    log.append("order-1", DomainEvent("OrderPlaced", {"status": "new", "total": 5, "tags": ["a"]}))
    log.append("order-1", DomainEvent("OrderPaid", {"status": "paid"}))
    log.append("order-2", DomainEvent("OrderPlaced", {"status": "new", "total": 7}))
    timeline = log.timeline("order", ends=["OrderDeleted"])
    with log.project(Projection.of(timeline, table="orders"), into=place.sink()) as runner:
        runner.run()
        rows = runner.rows()
        assert {key: row["status"] for key, row in rows.items()} == {
            "order-1": "paid",
            "order-2": "new",
        }
        assert rows["order-2"]["total"] == 7
        assert (rows["order-1"]["revision"], rows["order-1"]["position"]) == (1, 1)
        log.append("order-2", DomainEvent("OrderDeleted"))
        log.append("order-1", DomainEvent("OrderPaid", {"status": "shipped"}))
        runner.run()
        assert {key: row["status"] for key, row in runner.rows().items()} == {"order-1": "shipped"}
