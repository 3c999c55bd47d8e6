"""Options of classes: failed operations, aggregates across streams, unknown events; fallbacks."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import esnb
from esnb import DomainEvent
from esnb.aggregate import Aggregate, Event
from esnb.errors import AggregateError, EventError, SchemaError, TimelineError
from tests.aggregate.test_equal import check
from tests.aggregate.zoo import Happened, comparable, rows_of, written

asked = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


class Set(Event):
    n: int
    who: str = "a"


class Gone(Event):
    pass


class Noted(Event):
    text: str


class Tried(Aggregate, category="order", noop="error", ends=[Gone]):
    n: int = 0
    last: int | None = None

    def when_set(self, e: Set):
        self.n += e.n
        self.last = e.n


FAILING = st.builds(
    lambda stream, kind, n, error: Happened(
        stream, kind, {"n": n, **({} if error == 0 else {"error": error})}, 0
    ),
    st.sampled_from(["order-1", "order-2"]),
    st.sampled_from(["Set", "Set", "Gone", "Unheard"]),
    st.integers(-2, 5),
    st.sampled_from([0, 0, None, "no", False]),
)


@asked
@given(st.lists(FAILING, max_size=10), st.lists(FAILING, max_size=5))
def test_failed_operations_change_nothing(a: list[Happened], b: list[Happened]) -> None:
    def allowed(history: list[Happened]) -> list[Happened]:
        # An unknown type is refused unless it failed.
        return [one for one in history if one.event_type != "Unheard" or one.data.get("error")]

    from tests.aggregate.zoo import write

    with written(allowed(a)) as log:
        check(Tried, log)
        write(log, allowed(b))
        check(Tried, log)
        check(Tried, log, python=True)


class Person(Aggregate, by="who"):
    total: int = 0
    orders: set[str]
    worst: int = 0

    def when_set(self, e: Set):
        self.total += e.n
        self.orders.add(e.who)
        self.worst = min(self.worst, e.n)


ACROSS = st.builds(
    lambda stream, n, who, tags: Happened(stream, "Set", {"n": n, "who": who}, 0, tags=tuple(tags)),
    st.sampled_from(["order-1", "order-2", "bill-1"]),
    st.integers(-3, 5),
    st.sampled_from(["a", "b", "it's"]),
    st.lists(st.sampled_from(["who:a", "who:z", "other:1"]), max_size=3),
)


@asked
@given(st.lists(ACROSS, max_size=10), st.lists(ACROSS, max_size=5))
def test_aggregates_across_streams(a: list[Happened], b: list[Happened]) -> None:
    from tests.aggregate.zoo import write

    with written([*a, Happened("note-1", "Noted", {"text": "x", "who": "a"}, 0)]) as log:
        for more in ([], b):
            write(log, more)
            expected: dict[str, Any] = {}
            for event in log.read():
                if event.event_type != "Set":
                    continue
                named = sorted({tag for tag in event.tags if tag.startswith("who:")})
                for key in named or [f"who:{event.data['who']}"]:
                    expected.setdefault(key, Person(key)).replay(event)
            found = rows_of(log.timeline(Person).as_of(10**6))
            assert {
                row["stream"]: (row["total"], row["orders"], row["worst"]) for row in found
            } == {key: (one.total, sorted(one.orders), one.worst) for key, one in expected.items()}
        assert log.sql("select count(*) from person_history()").fetchone() is not None


class Counting(Aggregate, category="order"):
    n: int = 0
    d: Decimal = Decimal(0)
    word: str = ""

    def when_set(self, e: Set):
        self.n += e.n
        self.d += e.n
        self.word = e.who.upper()


def test_unknown_events_are_refused_or_kept() -> None:
    history = [Happened("order-1", "Set", {"n": 1}, 0), Happened("order-1", "Noted", {}, 0)]
    with written(history) as log:
        with pytest.raises(SchemaError, match=r"does not know the event type 'Noted'.*position 1"):
            log.timeline(Counting).as_of(1)
        with pytest.raises(SchemaError, match="Noted"):
            Counting.fold(log.read_stream("order-1"))
        kept = log.timeline(Counting, unknown="keep")
        assert [row["event_type"] for row in rows_of(kept.history())] == ["Set", "Noted"]
        assert [row["n"] for row in rows_of(kept.history())] == [1, 1]
        log.register(Noted)
        assert rows_of(log.timeline(Counting).as_of(1))[0]["n"] == 1
        with pytest.raises(TimelineError, match="'error' or 'keep'"):
            log.timeline(Counting, unknown="maybe")
        with pytest.raises(TimelineError, match="neither a category nor an aggregate class"):
            log.timeline(Set)


class Dated(Event):
    version = 3
    n: int


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize(
    ("version", "told"),
    [(4, "version 4 is newer than Dated"), (1, "version 1 is older than Dated.*no from1")],
)
def test_unknown_versions_are_refused_or_kept(version: int, told: str, python: bool) -> None:
    class Newest(Aggregate, category="order"):
        n: int = 0

        def when(self, e: Dated):
            self.n += e.n

    history = [
        Happened("order-1", "Dated", {"n": 1}, 0, 3),
        Happened("order-1", "Dated", {"m": "?"}, 0, version),
        Happened("order-1", "Dated", {"n": 2}, 0, 3),
    ]
    place = "position 1 of 'order-1'"
    with written(history) as log:
        with pytest.raises(SchemaError, match=f"{told}.*{place}"):
            log.timeline(Newest, python=python).as_of(2)
        with pytest.raises(SchemaError, match=f"{told}.*{place}"):
            esnb.Repository(log, Newest).get("1")
        kept = log.timeline(Newest, unknown="keep", python=python)
        assert [row["n"] for row in rows_of(kept.history())] == [1, 1, 3]
        assert kept.check().events == 3


def test_events_of_a_registered_class_are_validated_when_they_are_appended() -> None:
    with written([Happened("order-1", "Set", {"n": 1}, 0)]) as log:
        log.append("order-1", DomainEvent("Set", {"n": "x"}))
        log.register(Set)
        for bad, error, told in (
            (DomainEvent("Set", {"n": "y"}), EventError, "n: .*'y'.*Set"),
            (DomainEvent("Set", {"n": 1}, schema_version=7), SchemaError, "newer than Set"),
        ):
            with pytest.raises(error, match=told):
                log.append("order-1", [DomainEvent("Set", {"n": 2}), bad])
        assert log.next_position == 2
        log.append("order-1", DomainEvent("Set", {"n": 2}))
        log.append("order-1", DomainEvent("Other", {"n": "y"}))
        assert log.next_position == 4


@pytest.mark.parametrize(
    ("data", "version", "error", "told"),
    [
        ({"n": "x"}, 1, EventError, "n: .*'x'.*Set at position 1 of 'order-1'"),
        ({}, 1, EventError, "n: Field required.*position 1"),
        ({"n": 1.5}, 1, EventError, "1.5"),
        ({"n": None}, 1, EventError, "None"),
        ({"n": 1}, 2, SchemaError, "newer than Set"),
    ],
)
def test_events_that_do_not_fit_are_named(
    data: dict[str, Any], version: int, error: type[Exception], told: str
) -> None:
    history = [
        Happened("order-2", "Set", {"n": 1}, 0),
        Happened("order-1", "Set", data, 0, version),
    ]
    with written(history) as log:
        for options in ({}, {"python": True}):
            with pytest.raises(error, match=told):
                log.timeline(Counting, **options).as_of(1)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"n": 2**63 - 1, "who": "a"}, "range|64 bits|overflow|Overflow"),
        ({"n": 1, "who": "straße"}, "fold this in Python"),
    ],
)
def test_what_sql_cannot_fold_goes_to_python(data: dict[str, Any], why: str) -> None:
    """Sums past 64 bits, letters with rules of their own: never another value than Python's."""
    history = [Happened("order-1", "Set", {"n": 5, "who": "a"}, 0)]
    with written([*history, Happened("order-1", "Set", data, 0)]) as log:
        line = log.timeline(Counting)
        if data["n"] > 5:
            with pytest.raises(AggregateError, match="its column"):
                line.as_of(1)
            return
        assert rows_of(line.as_of(1))[0]["word"] == "STRASSE"
        assert all(row.tier == 3 for row in line.explain())
        assert "in this log" in line.explain()["word"].why
        check(Counting, log)


def test_a_difference_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check is real: SQL that gives another value than Python is refused."""
    from esnb.timeline import classes

    said = classes.said_of
    # The fault has to come from somewhere: SQL that says one more than the handler does.
    monkeypatch.setattr(
        classes, "said_of", lambda field, layout: said(field, layout).replace("e.d_n", "e.d_n + 1")
    )
    with (
        written([Happened("order-1", "Set", {"n": 5}, 0)]) as log,
        pytest.raises(TimelineError, match=r"Counting\.n of 'order-1' at revision 0.*Python"),
    ):
        log.timeline(Counting).as_of(0)


def test_a_handler_that_raises_is_named() -> None:
    class Fussy(Aggregate, category="order"):
        n: int = 0

        def when_set(self, e: Set):
            if e.n > 3:
                raise ValueError("too much")
            self.n = e.n

    with written([Happened("order-1", "Set", {"n": n}, 0) for n in (1, 2)]) as log:
        assert log.timeline(Fussy).explain()["n"].tier == 1
        assert rows_of(log.timeline(Fussy).as_of(5))[0]["n"] == 2
        log.append("order-1", DomainEvent("Set", {"n": 9}))
        with pytest.raises(AggregateError, match=r"when_set cannot take Set.*too much.*position 2"):
            log.timeline(Fussy).as_of(5)


def test_a_field_of_another_type_is_named() -> None:
    class Odd(Aggregate, category="order"):
        n: int = 0

        def when_set(self, e: Set):
            self.n = e.who

    with (
        written([Happened("order-1", "Set", {"n": 1}, 0)]) as log,
        pytest.raises(AggregateError, match=r"Odd\.n is declared int and holds 'a'"),
    ):
        log.timeline(Odd).as_of(0)


def test_a_field_that_is_never_assigned_stays_as_it_begins() -> None:
    class Idle(Aggregate, category="order", ignores=[Set]):
        status: str
        tags: set[str]
        n: int = 7

    with written([Happened("order-1", "Set", {"n": 1}, 0)]) as log:
        row = rows_of(log.timeline(Idle).as_of(0))[0]
        assert (row["status"], comparable(row["tags"]), row["n"]) == (None, [], 7)


def test_two_classes_of_one_event_type_are_not_registered_together() -> None:
    class Other(Event, name="Set"):
        other: int

    with written([Happened("order-1", "Set", {"n": 4, "who": "x"}, 0)]) as log:
        with pytest.raises(AggregateError, match=r"Set and .*Other both read events 'Set'"):
            log.register(Set, Other)
        # One after the other they may be: a cell is run again.
        log.register(Other)
        log.register(Set, Set)


def test_a_category_that_no_stream_has_is_refused() -> None:
    with pytest.raises(AggregateError, match="Dashed: no stream has the category 'a-b'"):

        class Dashed(Aggregate, category="a-b"):
            pass


def test_registered_classes_have_macros() -> None:
    with written([Happened("order-1", "Set", {"n": 4, "who": "x"}, 0)]) as log:
        log.register(Counting, Person)
        assert log.sql("select n, word from order_as_of('2030-01-01')").fetchall() == [(4, "X")]
        assert log.sql("select stream, total from person_as_of('2030-01-01')").fetchall() == [
            ("who:x", 4)
        ]


def test_timelines_of_a_class_are_kept_and_dropped(tmp_path: Any) -> None:
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("order-1", DomainEvent("Set", {"n": 4}))
        assert rows_of(log.timeline(Counting).as_of(0))[0]["n"] == 4
        (store,) = [p for p in (tmp_path / "log/derived/timelines").iterdir() if p.name != "notes"]
        log.timeline(Counting).drop()
        assert not store.exists()
        assert rows_of(log.timeline(Counting).as_of(0))[0]["n"] == 4


def test_the_collector_is_never_left_off() -> None:
    import gc

    class Late(Aggregate, category="order"):
        n: int = 0

        def when_set(self, e: Set):
            self.n = 1 // e.n

    history = [Happened("order-1", "Set", {"n": n}, 0) for n in (1, 2, 0)]
    assert gc.isenabled()
    with written(history) as log, pytest.raises(AggregateError, match="ZeroDivisionError"):
        log.timeline(Late).as_of(2)
    assert gc.isenabled()
    with written(history[:2]) as log:
        assert rows_of(log.timeline(Late).as_of(2))[0]["n"] == 0
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ends": 5}, "ends takes event classes and types, not 5"),
        ({"ignores": [Set, int]}, "ignores takes event classes and types, not <class 'int'>"),
        ({"noop": ["error"]}, r"noop=\['error'\] is no text"),
        ({"category": 5}, "category=5 is no text"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], told: str) -> None:
    with pytest.raises(AggregateError, match=f"Odd: {told}"):

        class Odd(Aggregate, **options):
            pass


def test_what_is_set_and_is_no_field_is_told() -> None:
    class Forgetful(Aggregate, category="order"):
        n: int = 0
        last = 0

        def when_set(self, e: Set):
            self.last = e.n

    told = Forgetful.explain()
    assert told.notes == tuple(one for one in told.notes if "self.last is set" in one) != ()
    assert "Set: self.last is set, which is no field" in repr(told)
    assert "self.last is set, which is no field" in told._repr_html_()
