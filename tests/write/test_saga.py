"""Sagas: order, payment, stock, shipment; time, failure, going back, operators."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import (
    Aggregate,
    Command,
    CommandRejected,
    Event,
    EventLog,
    Retry,
    Saga,
    SagaError,
    StreamNotFoundError,
    handles,
    late,
    refused,
)
from esnb.errors import CommitUncertain
from esnb.event import DomainEvent
from esnb.log import Log
from esnb.testing import Clock, given, rejected
from esnb.write import SagaRunner, logging
from tests.write.trade import (
    DOMAIN,
    Filled,
    Fulfilment,
    OrderPlaced,
    Payment,
    PaymentDeclined,
    PaymentReceived,
    PaymentRequested,
    Reserved,
    ReserveStock,
    ReturnPayment,
    ShipmentLeft,
    ShipmentLost,
    Stock,
    carriers,
)


@pytest.fixture
def clock() -> Clock:
    made = Clock("2026-03-01T12:00Z")
    carriers.clock, carriers.begun = made, made.now
    return made


@pytest.fixture
def log(tmp_path: Path, clock: Clock) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC", clock=clock, maintain=False) as opened:
        opened.append("stock-book", Filled(count=2))
        yield opened


@pytest.fixture
def sagas(log: EventLog) -> SagaRunner:
    return log.saga(Fulfilment, log.commands(*DOMAIN))


def types(log: Log, stream: str) -> list[str]:
    return [event.event_type for event in log.read_stream(stream)]


def status(sagas: SagaRunner, *names: str) -> list[tuple[Any, ...]]:
    return sagas.status().order("saga").project(", ".join(names or ("status",))).fetchall()


def place(log: EventLog, number: int = 1, **fields: Any) -> None:
    fields = {"amount": 5, "sku": "book", **fields}
    log.append(f"order-{number}", OrderPlaced(**fields))


# --- the trade -------------------------------------------------------------------------------


def test_all_goes_well(log: EventLog, sagas: SagaRunner) -> None:
    place(log)
    sagas.run()
    assert status(sagas, "status", "step", "waiting", "deadline::varchar") == [
        ("running", "payment", "payment", "2026-03-01 13:00:00+00")
    ]
    log.append("payment-1", PaymentReceived(order_id="1"))
    report = sagas.run()
    assert (report.events, report.sent, report.refused) == (2, 2, 0)
    log.append("shipment-1", ShipmentLeft(order_id="1"))
    sagas.run()
    assert status(sagas, "id", "status", "waiting", "error") == [("1", "done", None, None)]
    assert types(log, "order-1") == ["OrderPlaced", "OrderAccepted", "OrderCompleted"]
    assert types(log, "fulfilment-1") == [
        "SagaBegan", "SagaSent", "SagaSent", "SagaReacted", "SagaSent", "SagaReacted", "SagaSent",
        "SagaReacted", "SagaSent", "SagaEnded",
    ]  # fmt: skip
    # It is over: nothing wakes it again.
    log.append("shipment-1", ShipmentLost(order_id="1"))
    place(log)
    assert sagas.run().sent == 0


def test_steps_are_taken_back_the_newest_first(log: EventLog, sagas: SagaRunner) -> None:
    place(log)
    sagas.run()
    log.append("payment-1", PaymentReceived(order_id="1"))
    sagas.run()
    log.append("shipment-1", ShipmentLost(order_id="1"))
    sagas.run()
    undone = [
        event.data["did"]["command"]
        for event in log.read_stream("fulfilment-1")
        if event.event_type == "SagaSent" and event.data["did"]["undoes"]
    ]
    assert undone == ["CallOffShipment", "ReleaseStock", "ReturnPayment", "CancelOrder"]
    assert status(sagas, "status", "error") == [("compensated", "the shipment was lost")]
    assert types(log, "order-1")[-1] == "OrderCancelled"
    assert types(log, "payment-1")[-1] == "PaymentReturned"
    assert types(log, "stock-book") == ["Filled", "Reserved", "Released"]


def test_what_a_rule_refuses_is_told_to_the_saga(log: EventLog, sagas: SagaRunner) -> None:
    for number in range(3):
        place(log, number)
        log.append(f"payment-{number}", PaymentReceived(order_id=str(number)))
    sagas.run()
    # The payments came before they were asked for, and the third order finds nothing.
    assert status(sagas) == [("running",), ("running",), ("compensated",)]
    refusals = [e for e in log.read_stream("fulfilment-2") if e.event_type == "SagaRefused"]
    assert [one.data["did"]["rule"] for one in refusals] == ["nothing is left"]
    assert refusals[0].data["did"]["set"] == {"notes": ("nothing is left",)}


def test_a_time_out_without_a_method_goes_back(
    log: EventLog, sagas: SagaRunner, clock: Clock
) -> None:
    place(log)
    sagas.run()
    clock.advance(minutes=59, seconds=59)
    assert sagas.run().late == 0
    clock.advance(seconds=1)
    report = sagas.run()
    assert (report.late, report.ended) == (1, 1)
    assert status(sagas, "status", "error") == [("compensated", "payment did not come in time")]
    assert types(log, "order-1")[-1] == "OrderCancelled"


def test_a_time_out_with_a_method(log: EventLog, sagas: SagaRunner, clock: Clock) -> None:
    place(log)
    log.append("payment-1", PaymentReceived(order_id="1"))
    sagas.run()
    clock.advance(days=3)
    sagas.run()
    assert status(sagas, "status", "deadline::varchar") == [("running", "2026-03-06 12:00:00+00")]
    clock.advance(days=2)
    sagas.run()
    assert status(sagas, "status", "error") == [("compensated", "the shipment did not leave")]


def test_what_came_too_late_is_too_late_whoever_slept(
    log: EventLog, sagas: SagaRunner, clock: Clock
) -> None:
    """The log tells when a payment came; that nobody looked meanwhile makes no difference."""
    for number in (1, 2):
        place(log, number)
    sagas.run()
    clock.advance(minutes=30)
    log.append("payment-1", PaymentReceived(order_id="1"))
    clock.advance(minutes=40)
    log.append("payment-2", PaymentReceived(order_id="2"))
    clock.advance(hours=5)
    sagas.run()
    assert status(sagas) == [("running",), ("compensated",)]


def test_the_same_step_again_is_another_command(log: EventLog, sagas: SagaRunner) -> None:
    place(log)
    for _ in range(3):
        sagas.run()
        log.append("payment-1", PaymentDeclined(order_id="1"))
    sagas.run()
    assert types(log, "payment-1") == ["PaymentRequested", "PaymentDeclined"] * 3
    sent = [e.data["did"] for e in log.read_stream("fulfilment-1") if e.event_type == "SagaSent"]
    payments = [one for one in sent if one["step"] == "payment"]
    assert [one["attempt"] for one in payments] == [1, 2, 3]
    assert len({one["command_id"] for one in payments}) == 3
    # A payment that was declined is not given back.
    assert [one["command"] for one in sent if one["undoes"]] == ["CancelOrder"]
    assert status(sagas) == [("compensated",)]


def test_what_fails_is_tried_again_after_longer_and_longer_pauses(
    log: EventLog, sagas: SagaRunner, clock: Clock
) -> None:
    place(log, 1, carrier="shaky")
    place(log, 2, carrier="down")
    for number in (1, 2):
        log.append(f"payment-{number}", PaymentReceived(order_id=str(number)))
    sagas.run()
    assert status(sagas, "tries", "error") == [
        (1, "ConnectionError: shaky does not answer"), (1, "ConnectionError: down does not answer"),
    ]  # fmt: skip
    failed = [e for e in log.read_stream("fulfilment-1") if e.event_type == "SagaFailed"]
    assert failed[0].data["did"]["again"] == "2026-03-01T12:01:00.000000Z"
    assert sagas.run().failed == 0
    clock.advance(minutes=1)
    assert sagas.run().failed == 2
    # The next pause would be an hour, and ten minutes are the longest.
    clock.advance(minutes=9)
    assert sagas.run().failed == 0
    clock.advance(hours=1)
    report = sagas.run()
    assert (report.sent, report.failed) == (1 + 3, 1)
    assert status(sagas, "status", "tries", "error") == [
        ("running", 0, None),
        ("compensated", 0, "shipment: ConnectionError: down does not answer"),
    ]


def test_the_pauses() -> None:
    retry = Retry(times=9, first=timedelta(seconds=2), factor=3, most=timedelta(seconds=50))
    assert [retry.pause(tries).total_seconds() for tries in range(1, 6)] == [2, 6, 18, 50, 50]
    assert Retry.of(json.loads(json.dumps(retry.told()))) == retry
    for wrong in ({"times": 0}, {"first": timedelta(0)}, {"factor": 0.5}, {"times": 1.5}):
        with pytest.raises(SagaError):
            Retry(**wrong)  # type: ignore[arg-type]


def test_who_caused_what(log: EventLog, sagas: SagaRunner) -> None:
    (placed,) = log.append(
        "order-1",
        OrderPlaced(amount=5, sku="book").to_domain_event(correlation_id="checkout-7"),
    )
    sagas.run()
    (paid,) = log.append("payment-1", PaymentReceived(order_id="1"))
    sagas.run()
    events = {event.event_type: event for event in log.read()}
    began, accepted = events["SagaBegan"], events["OrderAccepted"]
    assert (began.causation_id, began.correlation_id) == (placed.event_id, "checkout-7")
    assert (accepted.metadata["caused_by"], accepted.correlation_id) == (
        placed.event_id, "checkout-7",
    )  # fmt: skip
    # The payment says nothing of a conversation, and is part of it all the same.
    reserved = events["Reserved"]
    assert (reserved.metadata["caused_by"], reserved.correlation_id) == (
        paid.event_id, "checkout-7",
    )  # fmt: skip
    sent = next(e for e in log.read_stream("fulfilment-1") if e.event_type == "SagaSent")
    assert sent.causation_id == accepted.causation_id == sent.data["did"]["command_id"]
    assert {e.actor for e in log.read() if e.correlation_id == "checkout-7"} == {None, "fulfilment"}


def test_how_it_stood_then(log: EventLog, sagas: SagaRunner, clock: Clock) -> None:
    place(log)
    assert sagas.status().fetchall() == []
    sagas.run()
    then = clock.advance(hours=2)
    clock.advance(hours=1)
    sagas.run()
    assert status(sagas) == [("compensated",)]
    assert sagas.status(as_of=then).project("status, waiting").fetchall() == [
        ("running", "payment")
    ]
    assert log.flow("fulfilment").variants().fetchall()


def test_the_domain(log: EventLog) -> None:
    reserve = ReserveStock(sku="book", order="7")
    given(Stock, Filled(count=1)).when(reserve).then(Reserved(order="7"))
    given(Stock, Filled(count=1), Reserved(order="6")).when(reserve).then(
        rejected("nothing is left", sku="book")
    )
    give_back = ReturnPayment(payment_id="7")
    given(Payment, PaymentRequested(order_id="7", amount=3), PaymentDeclined(order_id="7")).when(
        give_back
    ).then(rejected("nothing is open to give back"))


# --- small sagas -----------------------------------------------------------------------------


class Asked(Event):
    job: str
    hard: bool = False


class Answered(Event):
    job: str
    text: Any = None


class Did(Event):
    what: str


class Do(Command, stream="work-{name}"):
    name: str
    what: str = "it"


class Work(Aggregate):
    done: list[str]

    def when_did(self, e: Did) -> None:
        self.done.append(e.what)

    @handles(Do, creates=None)
    def do(self, command: Do) -> Did | None:
        if command.what == "nothing":
            return None
        if command.what == "never":
            raise CommandRejected("never do that")
        if command.what in ("break", *broken):
            raise ZeroDivisionError("in the handler")
        return Did(what=command.what)


broken: set[str] = set()


@pytest.fixture(autouse=True)
def _whole() -> Iterator[None]:
    yield
    broken.clear()
    mended.clear()


mended: set[str] = set()


class Job(Saga, by="job", begins=Asked, on_failure="stuck"):
    texts: list[str]
    amount: Decimal = Decimal("0.10")
    day: date = date(2026, 1, 1)
    seen: set[int]

    def when_asked(self, e: Asked) -> None:
        if e.hard and "asked" not in mended:
            raise KeyError("what is this")
        for what in ("first", "second"):
            undo = Do(name=self.id, what=f"undo {what}")
            self.send(Do(name=self.id, what=what), undo=undo, step=what)

    def when_answered(self, e: Answered) -> None:
        if e.text == "odd" and "answered" not in mended:
            self.amount = "no number"  # type: ignore[assignment]
        self.texts.append(str(e.text))
        if e.text == "end":
            self.done()
        elif e.text == "back":
            self.compensate("told so")
        elif isinstance(e.text, str) and e.text.startswith("do "):
            self.send(Do(name=self.id, what=e.text[3:]), undo=Do(name=self.id, what="never"))


@pytest.fixture
def jobs(log: EventLog) -> SagaRunner:
    return log.saga(Job, log.commands(Work))


def ask(log: Log, job: str = "1", **fields: Any) -> None:
    log.append("ask-1", Asked(job=job, **fields))


def answer(log: Log, text: Any, job: str = "1") -> None:
    log.append("ask-1", Answered(job=job, text=text))


def work(log: Log, job: str = "1") -> list[str]:
    return [e.data["what"] for e in log.read_stream(f"work-{job}")]


def test_a_stuck_saga_goes_on_when_told_so(log: EventLog, jobs: SagaRunner, clock: Clock) -> None:
    ask(log)
    broken.add("third")
    answer(log, "do third")
    jobs.run()
    for _ in range(4):
        clock.advance(minutes=5)
        jobs.run()
    assert jobs.stuck().project("id, step, tries, error").fetchall() == [
        ("1", "Do", 5, "Do: ZeroDivisionError: in the handler")
    ]
    # What happens meanwhile waits.
    answer(log, "do fourth")
    clock.advance(days=9)
    jobs.run()
    assert work(log) == ["first", "second"]
    broken.clear()
    # By somebody else, while the runner knows the saga.
    log.saga(Job, log.commands(Work)).resume("1", actor="ann")
    answer(log, "end")
    jobs.run()
    assert work(log) == ["first", "second", "third", "fourth"]
    assert status(jobs) == [("done",)]
    resumed = next(e for e in log.read_stream("job-1") if e.event_type == "SagaResumed")
    assert resumed.actor == "ann"
    with pytest.raises(SagaError, match="is done, and not stuck"):
        jobs.resume("job-1")
    with pytest.raises(StreamNotFoundError):
        jobs.resume("2")


@pytest.mark.parametrize("fresh", [False, True])
def test_a_stuck_saga_goes_back_when_told_so(log: EventLog, jobs: SagaRunner, fresh: bool) -> None:
    ask(log)
    answer(log, "do never")
    answer(log, "do more")
    jobs.run()
    assert jobs.stuck().project("error").fetchall() == [("Do: never do that",)]
    jobs.compensate("1", "the customer called", actor="ann")
    answer(log, "do even more")
    report = (log.saga(Job, log.commands(Work)) if fresh else jobs).run()
    assert report.ended == 1
    assert work(log) == ["first", "second", "undo second", "undo first"]
    assert status(jobs, "status", "error") == [("compensated", "the customer called")]


def test_what_cannot_be_taken_back_is_tried_and_then_stuck(
    log: EventLog, jobs: SagaRunner, clock: Clock
) -> None:
    ask(log)
    answer(log, "do third")
    answer(log, "back")
    jobs.run()
    for _ in range(6):
        clock.advance(minutes=9)
        jobs.run()
    assert jobs.stuck().project("tries, error").fetchall() == [(5, "undoing Do: never do that")]
    with pytest.raises(SagaError, match="nothing to take back"):
        jobs.compensate("1", "again")
    jobs.resume("1")
    jobs.run()
    refusals = [e for e in log.read_stream("job-1") if e.event_type == "SagaRefused"]
    assert len(refusals) == 6
    assert len({e.data["did"]["command_id"] for e in refusals}) == 1


@pytest.mark.parametrize("again", ["same runner", "new runner"])
def test_a_handler_that_raises_stops_its_saga_alone(
    log: EventLog, jobs: SagaRunner, again: str
) -> None:
    ask(log, "1", hard=True)
    ask(log, "2")
    ask(log, "3")
    answer(log, "odd", "3")
    answer(log, "end", "1")
    answer(log, "end", "2")
    answer(log, "end", "3")
    report = jobs.run()
    assert (report.began, report.ended, report.stuck) == (2, 1, 2)
    errors = jobs.stuck().order("id").project("id, error").fetchall()
    assert errors[0] == ("1", "Job.when_asked: KeyError: 'what is this'")
    assert errors[1][1].startswith("Job.when_answered: SagaError: Job('job-3').amount: ")
    assert work(log, "1") == []
    # Not mended yet.
    jobs.resume("1")
    assert jobs.run().stuck == 1
    mended.update(("asked", "answered"))
    jobs.resume("1")
    jobs.resume("3")
    if again == "new runner":
        jobs = log.saga(Job, log.commands(Work))
    # What came meanwhile is not lost.
    report = jobs.run()
    assert (report.began, report.ended, report.stuck) == (1, 2, 0)
    assert status(jobs) == [("done",)] * 3
    events = [e for e in log.read_stream("job-3") if e.event_type == "SagaReacted"]
    assert [dict(e.data["did"]["set"]) for e in events] == [
        {"texts": ("odd",)},
        {"texts": ("odd", "end")},
    ]


def test_a_command_that_changes_nothing_has_nothing_to_undo(
    log: EventLog, jobs: SagaRunner
) -> None:
    ask(log)
    jobs.run()
    answer(log, "do nothing")
    answer(log, "back")
    jobs.run()
    assert status(jobs) == [("compensated",)]


def test_a_handler_that_breaks_holds_up_nobody_else(log: EventLog, jobs: SagaRunner) -> None:
    for number in range(5):
        ask(log, str(number))
    answer(log, "do break", "2")
    answer(log, "do more", "3")
    jobs.run()
    assert [work(log, str(number))[2:] for number in range(5)] == [[], [], [], ["more"], []]
    assert jobs.status().filter("tries = 1").project("id").fetchall() == [("2",)]


def test_a_command_that_nobody_handles(log: EventLog, clock: Clock) -> None:
    class Unknown(Command):
        work_id: str

    class Lost(Saga, by="job", begins=Asked, on_failure="stuck", retry=Retry(times=1)):
        def when_asked(self, e: Asked) -> None:
            self.send(Unknown(work_id=self.id))

    lost = log.saga(Lost, log.commands(Work))
    ask(log)
    lost.run()
    ((error,),) = lost.stuck().project("error").fetchall()
    assert "nothing handles Unknown; give its aggregate" in error


def test_hostile_names(log: EventLog, jobs: SagaRunner) -> None:
    names = ["'; DROP TABLE events; --", "a-b-c", "é\u202e\n", "job-x", "\U0001f600" * 20]
    for name in names:
        ask(log, name)
    ask(log, "x" * 2000)  # no stream is called so
    ask(log, "nul\x00")
    ask(log, "")
    jobs.run()
    found = [name for (name,) in jobs.status().project("id").fetchall()]
    assert sorted(found) == sorted(["x" if name == "job-x" else name for name in names])


def test_which_saga_an_event_is_for(log: EventLog) -> None:
    def recorded(stream: str, data: dict[str, Any] | None = None, **envelope: Any) -> Any:
        return log.append(stream, DomainEvent("Asked", data, **envelope))[0]

    assert Fulfilment.id_of(recorded("order-17")) == "17"
    assert Fulfilment.id_of(recorded("x-1", tags=["lot:9", "order:a:b"])) == "a:b"
    assert Fulfilment.id_of(recorded("x-1", {"order_id": "order-8"})) == "8"
    assert Fulfilment.id_of(recorded("x-1", {"order_id": 8})) == "8"
    assert Fulfilment.id_of(recorded("x-1", {"order": "8", "order_id": "9"})) == "8"
    for nobody in ({}, {"order": None}, {"order": True}, {"order": [1]}, {"order": ""}):
        assert Fulfilment.id_of(recorded("x-1", nobody)) is None

    class Talk(Saga, begins=Asked):
        def when_asked(self, e: Asked) -> None: ...

    assert Talk.id_of(recorded("x-1", correlation_id="c-9")) == "c-9"
    assert Talk.id_of(recorded("x-1")) is None


def test_what_cannot_be_a_saga() -> None:
    def made(body: dict[str, Any] | None = None, **options: Any) -> None:
        def when_asked(self: Any, e: Asked) -> None: ...

        type("Bad", (Saga,), {"when_asked": when_asked, **(body or {})}, **options)

    made(begins=Asked)
    made(begins="Asked")
    for options in (
        {}, {"begins": Answered}, {"begins": Asked, "category": "a-b"},
        {"begins": Asked, "by": "a-b"},
        {"begins": Asked, "on_failure": "cry"}, {"begins": Asked, "retry": 3},
        {"begins": Asked, "other": 1},
    ):  # fmt: skip
        with pytest.raises(SagaError):
            made(**options)

    def one(self: Any) -> None: ...
    def two(self: Any, reason: str) -> None: ...
    def text(self: Any, e: str) -> None: ...

    for body in (
        {"late_x": late("x")(two)}, {"refused_x": refused("x")(one)}, {"when_text": text},
        {"when_one": one}, {"__annotations__": {"status": str}},
        {"__annotations__": {"field": threading.Thread}},
        {"__annotations__": {"amount": int}, "amount": [object()]},
    ):  # fmt: skip
        with pytest.raises(SagaError):
            made(body, begins=Asked)


def test_fields_are_kept_as_they_were(log: EventLog) -> None:
    class Kept(Saga, by="job", begins=Asked):
        numbers: dict[str, list[int]]
        when: datetime
        day: date = date(2026, 1, 1)
        some: set[str]
        amount: Decimal = Decimal("1.10")
        anything: Any

        def when_asked(self, e: Asked) -> None:
            assert (self.numbers, self.when, self.some, self.anything) == ({}, None, set(), None)
            self.numbers["a"] = [1, 2**70]
            self.when, self.some = e.recorded_on, {"x"}
            self.amount += Decimal("0.90")
            self.anything = {"deep": [None, "é"]}

        def when_answered(self, e: Answered) -> None:
            found.append((copy.deepcopy(vars(self)), e.recorded_on))
            del self.numbers["a"]
            self.other = 1

    found: list[Any] = []
    ask(log)
    answer(log, "x")
    kept = log.saga(Kept, log.commands(Work))
    kept.run()
    ((values, at),) = found
    assert values["numbers"] == {"a": [1, 2**70]}
    assert (values["when"], values["some"], values["day"]) == (at, {"x"}, date(2026, 1, 1))
    assert str(values["amount"]) == "2.00"
    assert values["anything"] == {"deep": [None, "é"]}
    ((error,),) = kept.stuck().project("error").fetchall()
    assert "has no field 'other'" in error


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), "\ud800", {"deep": [float("nan")]}, b"\xff", object()]
)
def test_what_is_no_json_stops_its_saga_alone(log: EventLog, value: Any) -> None:
    class Odd(Saga, by="job", begins=Asked):
        anything: Any

        def when_asked(self, e: Asked) -> None:
            self.anything = value if self.id == "1" else "all right"

    ask(log, "1")
    ask(log, "2")
    odd = log.saga(Odd, log.commands(Work))
    odd.run()
    assert status(odd) == [("stuck",), ("running",)]
    # Nothing of it stayed behind.
    (stuck,) = log.read_stream("odd-1")
    assert "set" not in stuck.data["did"]


def test_a_command_that_json_would_change(log: EventLog) -> None:
    class Weigh(Command, stream="work-{name}"):
        name: str
        kilos: Any

    class Scale(Saga, by="job", begins=Asked):
        def when_asked(self, e: Asked) -> None:
            self.send(Weigh(name=self.id, kilos=Decimal("0.10") if self.id == "1" else 0.1))

    ask(log, "1")
    ask(log, "2")
    scale = log.saga(Scale, log.commands(Work))
    scale.run()
    ((error,),) = scale.stuck().project("error").fetchall()
    assert "is another command when it comes back from JSON" in error


def test_commands_that_wait(log: EventLog) -> None:
    class Fetch(Command):
        web_id: str

    class Fetched(Event):
        pass

    class Web(Aggregate):
        fetched: bool = False

        def when_fetched(self, e: Fetched) -> None:
            self.fetched = True

        @handles(Fetch, creates=None)
        async def fetch(self, command: Fetch) -> Fetched:
            at_once.append(1)
            await asyncio.sleep(0.05)
            most.append(len(at_once))
            at_once.pop()
            if command.web_id == "3":
                raise ConnectionError("away")
            return Fetched()

    class Spider(Saga, by="job", begins=Asked):
        def when_asked(self, e: Asked) -> None:
            self.send(Fetch(web_id=self.id))
            self.done()

    at_once: list[int] = []
    most: list[int] = []
    for number in range(6):
        ask(log, str(number))
    spiders = log.saga(Spider, log.commands(Web))

    async def within_a_loop() -> None:
        spiders.run()

    asyncio.run(within_a_loop())
    assert status(spiders) == [("done",)] * 3 + [("running",)] + [("done",)] * 2
    assert max(most) == 6


# --- running ---------------------------------------------------------------------------------


def test_only_from_now_on(log: EventLog) -> None:
    ask(log, "1")
    jobs = log.saga(Job, log.commands(Work), after=log.next_position - 1)
    ask(log, "2")
    jobs.run()
    assert status(jobs, "id") == [("2",)]
    # There is a saga, so the next runner goes on where this one was.
    ask(log, "3")
    again = log.saga(Job, log.commands(Work), after=log.next_position - 1)
    again.run()
    assert status(jobs, "id") == [("2",), ("3",)]


def test_sealed_logs_and_other_runners(log: EventLog, jobs: SagaRunner) -> None:
    for number in range(4):
        ask(log, str(number))
    jobs.run()
    log.seal()
    answer(log, "do more", "1")
    other = log.saga(Job, log.commands(Work), batch=1)
    other.run()
    answer(log, "end", "1")
    answer(log, "end", "2")
    # The first one sees what the other did.
    jobs.run()
    log.seal()
    assert [one for (one,) in status(jobs)] == ["running", "done", "done", "running"]
    assert work(log, "1") == ["first", "second", "more"]
    assert other.run().sent == 0


def until(true: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def test_two_runners_take_turns(tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", maintain=False) as log:
        runners = [log.saga(Job, log.commands(Work), poll=0.02) for _ in range(2)]
        threads = [threading.Thread(target=r.run, kwargs={"follow": True}) for r in runners]
        for thread in threads:
            thread.start()
        for number in range(20):
            ask(log, str(number))
        until(lambda: all(len(work(log, str(number))) == 2 for number in range(20)))
        at_work = [one for one in runners if one._report.began]
        assert len(at_work) == 1
        at_work[0].stop()
        (waiting,) = [one for one in runners if one is not at_work[0]]
        answer(log, "do more", "7")
        until(lambda: len(work(log, "7")) == 3)
        assert waiting._report.began == 0
        waiting.stop()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        # A runner that waits for its turn can be stopped as well.
        assert waiting.run().sent == 0


def test_following_wakes_for_time(tmp_path: Path) -> None:
    class Soon(Saga, by="job", begins=Asked):
        def when_asked(self, e: Asked) -> None:
            self.wait("nothing", within=timedelta(milliseconds=200))

        @late("nothing")
        def nothing_came(self) -> None:
            self.send(Do(name=self.id, what="late"))
            self.done()

    with esnb.create(tmp_path / "log", maintain=False) as log:
        runner = log.saga(Soon, log.commands(Work))
        thread = threading.Thread(target=runner.run, kwargs={"follow": True})
        thread.start()
        ask(log)
        until(lambda: work(log) == ["late"])
        runner.stop()
        thread.join(60)
        assert not thread.is_alive()


def test_a_signal_ends_it_gracefully(log: EventLog, jobs: SagaRunner) -> None:
    ask(log)
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(0.05):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # those that come too early or late
    thread = threading.Thread(target=send)
    try:
        jobs.run()
        thread.start()
        jobs.run(follow=True, signals=True)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        ended.set()
        thread.join()
        signal.signal(signal.SIGTERM, before)
    answer(log, "end")
    jobs.run()
    assert status(jobs) == [("done",)]


def test_what_is_written_in_logs(log: EventLog, jobs: SagaRunner) -> None:
    file = io.StringIO()
    logging.configure(file)
    try:
        ask(log)
        answer(log, "do break")
        answer(log, "secret", "2")
        jobs.run()
    finally:
        logging.silence()
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    about = [line for line in lines if line["event"] == "saga"]
    assert [line["what"] for line in about] == [
        "SagaBegan", "SagaSent", "SagaSent", "SagaReacted", "SagaFailed",
    ]  # fmt: skip
    assert "secret" not in file.getvalue()
    assert {line["stream"] for line in about} == {"job-1"}
    assert all(not {"fields", "data", "did"} & line.keys() for line in about)


def test_a_log_that_may_only_be_read(log: EventLog) -> None:
    with esnb.open(log.path, read_only=True) as reader, pytest.raises(SagaError, match="reading"):
        reader.saga(Job, reader.commands(Work))
    for batch in (0, 10_001, "x"):
        with pytest.raises(SagaError, match="batch"):
            log.saga(Job, log.commands(Work), batch=batch)


def test_nobody_knows_whether_it_was_written(log: EventLog, jobs: SagaRunner) -> None:
    """It was, or not: the sagas are read anew either way."""
    ask(log)
    write = log.append_many
    uncertain = [True, False, True]

    def writes(*arguments: Any, **options: Any) -> Any:
        if not uncertain:
            return write(*arguments, **options)
        if uncertain.pop():
            write(*arguments, **options)
        raise CommitUncertain([], "the disk does not answer")

    log.append_many = writes  # type: ignore[method-assign]
    try:
        jobs.run()
        assert work(log) == ["first", "second"]
        assert types(log, "job-1") == ["SagaBegan", "SagaSent", "SagaSent"]
        # For ever is too long.
        answer(log, "end")
        uncertain[:] = [False] * 99
        with pytest.raises(CommitUncertain):
            jobs.run()
    finally:
        del log.append_many
    jobs.run()
    assert status(jobs) == [("done",)]
