"""Projections on every sink: what the tables hold is what plain Python says."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import esnb
from esnb import DomainEvent, EventLog
from esnb.errors import ProjectionError
from esnb.write import Runner

from .conftest import Place, place_on
from .model import (
    CUSTOMERS_TABLE,
    Board,
    Gone,
    Paid,
    Placed,
    Poison,
    Rated,
    Renamed,
    reference,
)

NUL_FREE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
AMOUNT = st.decimals(-(10**9), 10**9, places=4)
STREAM = st.sampled_from(["order-1", "order-2", "order-$a.b", "order-x:{y}%s'\"", "other-1"])
EVENT = st.one_of(
    st.builds(
        Placed,
        customer=NUL_FREE,
        total=AMOUNT,
        due=st.none() | st.dates(date(1, 1, 1)),
        lines=st.none() | st.just([]) | st.lists(st.just({"$a.b": 1, "": None, "x": "\x00é"})),
    ),
    st.builds(Paid, amount=AMOUNT, express=st.none() | st.booleans()),
    st.builds(Rated, rating=st.floats(allow_nan=False, allow_infinity=False)),
    st.builds(Renamed, customer=st.none() | NUL_FREE),
    st.just(Gone()),
)


def shown(runner: Runner) -> dict[str, dict[str, dict[str, Any]]]:
    return {name: runner.rows(name) for name in ("orders", CUSTOMERS_TABLE)}


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.tuples(STREAM, EVENT), max_size=8), min_size=1, max_size=4),
    st.integers(1, 7),
    st.lists(st.sampled_from(["run", "rebuild", "seal", "no"]), min_size=4, max_size=4),
)
def test_tables_are_what_plain_python_says(
    place: Place,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    parts: list[list[tuple[str, Any]]],
    batch: int,
    between: list[str],
) -> None:
    server = None if place.kind == "duckdb" else request.getfixturevalue(f"{place.kind}_server")
    folder = tmp_path_factory.mktemp("case")
    where = place_on(place.kind, server, folder)
    with esnb.create(folder / "log", zone="UTC", maintain=False) as log:  # noqa: SIM117
        with log.project(Board, into=where.sink(), batch=batch) as runner:
            for events, then in zip(parts, between, strict=False):
                for stream, event in events:
                    log.append(stream, event)
                if then == "run":
                    runner.run()
                elif then == "rebuild":
                    runner.rebuild()
                elif then == "seal":
                    log.seal()
            runner.run()
            assert shown(runner) == reference(log.read())
            assert runner.lag().behind == 0
            runner.rebuild()
            assert shown(runner) == reference(log.read())


def test_texts_that_are_hostile(place: Place, log: EventLog) -> None:
    hostile = [
        "'; drop table orders; --", '"', "%s %(x)s ? $1", "$where", "a.b", "\\", "{}",
        "é\u202e\u0301",
        "a\nb\rc\td", "😀", "x" * 900,
    ]  # fmt: skip
    for number, text in enumerate(hostile):
        log.append(f"order-{text}", Placed(customer=text, total=Decimal(number)))
    with log.project(Board, into=place.sink()) as runner:
        runner.run()
        assert shown(runner) == reference(log.read())


def test_text_with_nul(place: Place, log: EventLog) -> None:
    """A database that cannot keep it says so, of the event; the others keep it."""
    log.append("order-1", Placed(customer="ann"))
    log.append("order-2", Placed(customer="a\x00b"))
    log.append("order-3", Placed(customer="cid"))
    with log.project(Board, into=place.sink()) as runner:
        if place.kind == "postgresql":
            with pytest.raises(ProjectionError, match=r"NUL") as caught:
                runner.run()
            assert (caught.value.position, caught.value.stream) == (1, "order-2")
            assert list(runner.rows()) == ["order-1"]
        else:
            runner.run()
            assert shown(runner) == reference(log.read())


def test_a_poison_event_stops_it_before(place: Place, log: EventLog) -> None:
    log.append("order-1", [Placed(customer="ann"), Poison(note="p"), Paid(amount=Decimal(1))])
    with log.project(Board, into=place.sink()) as runner:
        for _ in range(2):  # it stays there
            with pytest.raises(ProjectionError, match=r"Board.when_poison.*ValueError") as caught:
                runner.run()
            assert caught.value.position == 1
            assert caught.value.event_type == "Poison"
            assert caught.value.handler == "Board.when_poison"
            assert isinstance(caught.value.__cause__, ValueError)
            assert runner.lag().position == 0
            (row,) = runner.rows().values()
            assert row["customer"] == "ann"  # nothing of the failed handler is there


def test_poison_events_are_set_aside(
    place: Place, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append("order-1", [Placed(customer="ann"), Poison(note="one"), Paid(amount=Decimal(1))])
    log.append("order-2", [DomainEvent("Placed", {"customer": None}), Poison(note="two\x00")])
    with log.project(Board, into=place.sink(), on_error="dead_letter", batch=2) as runner:
        report = runner.run()
        assert report.dead_letters == 3
        letters = runner.dead_letters()
        assert [letter.position for letter in letters] == [1, 3, 4]
        assert letters[0].handler == "Board.when_poison"
        assert "poison one" in letters[0].error
        assert letters[1].stream == "order-2"
        assert list(runner.rows()) == ["order-1"]
        assert runner.rows()["order-1"]["customer"] == "ann"
        # They fail again, and stay.
        assert [letter.position for letter in runner.retry()] == [1, 3, 4]
        assert len(runner.dead_letters()) == 3

        def healed(self: Board, e: Poison) -> None:
            self.orders.put(e.stream, customer="healed")
            self.orders.add(e.stream, payments=10)

        handlers = dict(Board.description.handlers)
        handlers["Poison"] = (Poison, healed)  # type: ignore[assignment]
        monkeypatch.setattr(Board.description, "handlers", handlers)
        assert [letter.position for letter in runner.retry()] == [3]
        assert [letter.position for letter in runner.dead_letters()] == [3]
        assert runner.rows()["order-1"]["customer"] == "healed"
        assert runner.rows()["order-1"]["payments"] == 11
        assert runner.rows()["order-2"]["payments"] == 10
        runner.retry()
        assert runner.rows()["order-1"]["payments"] == 11
        log.append("order-1", Paid(amount=Decimal(3)))
        runner.run()
        assert runner.rows()["order-1"]["payments"] == 12


def test_sums_that_do_not_fit(place: Place, log: EventLog) -> None:
    """Each amount is fine, their sum is not: the event that goes too far is at fault."""

    class Counts(esnb.write.Projection):
        counts = esnb.write.Table(number=int)

        @esnb.write.on("Counted")
        def counted(self, e: esnb.RecordedEvent) -> None:
            self.counts.add("all", number=e.data["number"])

    for number in (2**62, 2**62 - 1, 1, 5):
        log.append("count-1", DomainEvent("Counted", {"number": number}))
    with log.project(Counts, into=place.sink()) as runner:
        with pytest.raises(ProjectionError) as caught:
            runner.run()
        if place.kind == "mongodb":  # the batch cannot be taken apart
            assert "refuses" in str(caught.value)
            return
        assert caught.value.position == 2
        assert runner.rows()["all"]["number"] == 2**63 - 1
    with log.project(Counts, into=place.sink(), on_error="dead_letter") as runner:
        runner.run()
        assert [letter.position for letter in runner.dead_letters()] == [2, 3]
        assert runner.rows()["all"]["number"] == 2**63 - 1


def test_names_that_are_no_names() -> None:
    from esnb.write import Projection, Table

    for columns in ({"key": str}, {"KEY": str}, {"a": str, "A": int}, {"": str}, {"a\x00": str},
                    {"x" * 49: str}, {"\ud800": str}, {"a": bytes}):  # fmt: skip
        with pytest.raises(ProjectionError):
            Table(columns)
    with pytest.raises(ProjectionError, match="twice"):

        class Twice(Projection):
            rows = Table(n=int)

            @esnb.write.on("A")
            def a(self, e: Any) -> None: ...

            @esnb.write.on("A")
            def b(self, e: Any) -> None: ...

    with pytest.raises(ProjectionError, match="annotate"):

        class Bare(Projection):
            rows = Table(n=int)

            def when_x(self, e: int) -> None: ...


def test_another_log_is_refused(place: Place, log: EventLog, tmp_path: Path) -> None:
    log.append("order-1", Placed(customer="ann"))
    with log.project(Board, into=place.sink()) as runner:
        runner.run()
    with esnb.create(tmp_path / "second", zone="UTC") as other:
        other.append("order-1", Placed(customer="bob"))
        with other.project(Board, into=place.sink()) as runner:
            with pytest.raises(ProjectionError, match="another log"):
                runner.run()
            runner.rebuild()
            assert runner.rows()["order-1"]["customer"] == "bob"


def test_a_log_that_was_set_back_is_refused(place: Place, log: EventLog, tmp_path: Path) -> None:
    log.append("order-1", Placed(customer="ann"))
    log.backup(tmp_path / "backup")
    log.append("order-1", Renamed(customer="bob"))
    with log.project(Board, into=place.sink()) as runner:
        runner.run()
    with esnb.restore(tmp_path / "backup", tmp_path / "restored") as old:  # noqa: SIM117
        with old.project(Board, into=place.sink()) as runner:
            with pytest.raises(ProjectionError, match="set back"):
                runner.run()
            old.append("order-1", Renamed(customer="cid"))
            with pytest.raises(ProjectionError, match="set back"):
                runner.run()
            runner.rebuild()
            assert runner.rows()["order-1"]["customer"] == "cid"
