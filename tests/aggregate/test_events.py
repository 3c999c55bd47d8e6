"""Event classes: versions and upcasters, names, what they refuse, and that they cannot change."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated

import pytest
from pydantic import Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from esnb import DomainEvent, RevisionConflictError
from esnb.aggregate import Aggregate, Event
from esnb.errors import EventError, SchemaError
from tests.aggregate.test_equal import check
from tests.aggregate.zoo import Happened, rows_of, written


class Address(Event):
    city: str


class Moved(Event, name="customer.moved", aliases=("CustomerMoved", "AddressChanged")):
    """Version 1 had one name, 2 split it, 3 renamed the city, 4 made the floor a number."""

    version = 4
    first: str
    last: str = "?"
    town: str
    floor: int | None = None

    def from1(d):
        first, _, last = d.name.partition(" ")
        return {**d, "first": first, "last": last or "?"}

    @staticmethod
    def from2(d):
        return {**{key: value for key, value in d.items() if key != "city"}, "town": d["city"]}

    def from3(d):
        return {**d, "floor": int(d.floor) if d.get("floor") else None}


def test_upcasters_are_chained() -> None:
    old = {"name": "Ann Lee", "city": "Ulm", "floor": "3"}
    new = Moved(first="Ann", last="Lee", town="Ulm", floor=3)
    assert Moved.from_payload(old, version=1) == new
    assert Moved.from_payload({"first": "Ann", "city": "Ulm"}, version=2).last == "?"
    assert Moved.from_payload(new.model_dump()) == new
    with pytest.raises(SchemaError, match=r"Moved\.from1 cannot read.*AttributeError"):
        Moved.from_payload({"city": "Ulm"}, version=1)
    with pytest.raises(SchemaError, match="newer than Moved, which knows 4"):
        Moved.from_payload(old, version=5)


class Home(Aggregate, category="home"):
    town: str
    name: str
    floor: int

    def when_moved(self, e: Moved):
        self.town = e.town
        self.name = e.first + " " + e.last
        self.floor = e.floor


def test_every_version_and_name_is_folded() -> None:
    history = [
        Happened("home-1", "AddressChanged", {"name": "Ann Lee", "city": "Ulm"}, 0, 1),
        Happened("home-1", "CustomerMoved", {"first": "A", "city": "Bonn", "floor": "2"}, 0, 2),
        Happened("home-1", "customer.moved", {"first": "B", "town": "Kiel"}, 0, 4),
    ]
    with written(history) as log:
        check(Home, log)
        check(Home, log, python=True)
        assert [row["town"] for row in rows_of(log.timeline(Home).history())] == [
            "Ulm", "Bonn", "Kiel",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("version = 3\n def from1(d): return d", "has no from2"),
        ("version = 2\n def from2(d): return d", "leads nowhere"),
        ("version = 2\n def from1(d): return d\n def from5(d): return d", "leads nowhere"),
        ("version = 0", "whole number from 1"),
        ("version = '2'", "whole number from 1"),
    ],
)
def test_chains_that_cannot_be(body: str, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        exec(f"class Bad(Event):\n {body}", {"Event": Event})  # noqa: S102 (our own text)


def test_names_that_cannot_be() -> None:
    with pytest.raises(SchemaError, match="no option 'nme'"):
        type("Bad", (Event,), {}, nme="x")
    with pytest.raises(SchemaError, match="named twice"):
        type("Bad", (Event,), {}, aliases=("Bad",))


def test_a_version_without_upcasters_is_refused_when_it_is_met() -> None:
    class Late(Event):
        version = 2
        n: int

    with pytest.raises(SchemaError, match="Late"):
        Late.from_payload({"n": 1}, version=1)


def test_an_event_cannot_change_and_compares_by_value() -> None:
    one = Moved(first="Ann", town="Ulm")
    with pytest.raises(ValidationError):
        one.town = "Bonn"  # type: ignore[misc]
    assert one == Moved(first="Ann", town="Ulm")
    assert hash(one) == hash(Moved(first="Ann", town="Ulm"))
    assert pickle.loads(pickle.dumps(one)) == one  # noqa: S301 (our own bytes)
    assert one.occurred_on is None
    with pytest.raises(AttributeError):
        _ = one.nothing


def test_what_is_appended_is_read_again() -> None:
    with written([]) as log:
        event = Moved(first="Ann", town="Ulm", floor=3)
        (recorded,) = log.append("home-1", event.to_domain_event(actor="ann", tags=["who:7"]))
        again = Moved.from_recorded(recorded)
        assert again == event
        assert (again.actor, again.stream, again.revision) == ("ann", "home-1", 0)
        assert isinstance(again.occurred_on, datetime)
        log.append("home-1", event, expected_revision=0)
        with pytest.raises(RevisionConflictError):
            log.append("home-1", [event], expected_revision=0)


class Strict(Event):
    n: Annotated[int, Field(gt=0)]
    code: str = Field(alias="the-code")
    amount: Decimal = Decimal(1)

    @field_validator("code")
    @classmethod
    def _upper(cls, value: str) -> str:
        if value == "no":
            raise PydanticCustomError("code", "no such code")
        return value.upper()


class Codes(Aggregate, category="code"):
    code: str
    total: int = 0

    def when(self, e: Strict):
        self.code = e.code
        self.total += e.n


def test_rules_of_pydantic_hold_wherever_an_event_is_read() -> None:
    with written([Happened("code-1", "Strict", {"n": 2, "the-code": "ab"}, 0)]) as log:
        check(Codes, log)
        assert rows_of(log.timeline(Codes).as_of(0))[0]["code"] == "AB"
        for bad, told in (
            ({"n": 0, "the-code": "x"}, "n: Input should be greater than 0, not 0"),
            ({"n": 1, "the-code": "no"}, "no such code"),
            ({"n": 1}, "the-code"),
        ):
            with pytest.raises(EventError, match=told):
                Strict.from_payload(bad)
        log.append("code-1", DomainEvent("Strict", {"n": -1, "the-code": "x"}))
        with pytest.raises(EventError, match="position 1 of 'code-1'"):
            log.timeline(Codes).as_of(1)


def test_times_without_a_zone_are_no_instants() -> None:
    class Timed(Event):
        at: datetime

    class Clock(Aggregate, category="clock"):
        at: datetime

        def when(self, e: Timed):
            self.at = e.at

    history = [Happened("clock-1", "Timed", {"at": "2026-03-01T12:00:00+01:00"}, 0)]
    with written(history) as log:
        (row,) = rows_of(log.timeline(Clock).as_of(0))
        assert row["at"] == datetime(2026, 3, 1, 11, tzinfo=UTC)
        log.append("clock-1", DomainEvent("Timed", {"at": "2026-03-01T12:00:00"}))
        with pytest.raises(EventError, match="no time zone"):
            log.timeline(Clock).as_of(1)


class Named(Event):
    n: int | None = Field(None, alias="")
    m: int = Field(7, alias="the m")
    nul: str | None = Field(None, alias="a\x00b")


class Names(Aggregate, category="name"):
    n: int
    m: int
    nul: str

    def when(self, e: Named):
        self.n = e.n
        self.m = e.m
        self.nul = e.nul


def test_keys_of_any_name_are_read() -> None:
    payloads = ({"": 3}, {"the m": 4}, {"m": 5}, {"the m": 4, "m": 5}, {"a\x00b": "x"}, {"n": 9})
    with written([Happened("name-1", "Named", data, 0) for data in payloads]) as log:
        check(Names, log)
        check(Names, log, python=True)
        found = [(row["n"], row["m"], row["nul"]) for row in rows_of(log.timeline(Names).history())]
        assert found == [
            (3, 7, None), (None, 4, None), (None, 5, None), (None, 4, None), (None, 7, "x"),
            (9, 7, None),
        ]  # fmt: skip


def test_upcasters_that_go_round_in_a_circle_are_told_once() -> None:
    class Circling(Event):
        version = 2
        n: int

        def from1(d):
            return Circling.from_payload(d, version=1)

    with pytest.raises(SchemaError, match=r"Circling\.from1 goes round in a circle") as caught:
        Circling.from_payload({"n": 1}, version=1)
    assert len(str(caught.value)) < 200
