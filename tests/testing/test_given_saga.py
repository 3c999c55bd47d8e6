"""Given, when, then of sagas: what is sent is what a runner on a log sends."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, settings
from hypothesis import given as tried
from hypothesis import strategies as st

import esnb
from esnb import (
    Aggregate,
    Command,
    CommandError,
    CommandRejected,
    DomainEvent,
    Event,
    Retry,
    Saga,
    SagaError,
    handles,
    late,
    refused,
)
from esnb.testing import Clock, answers, given, in_stream, rejected, state
from tests.write.trade import (
    AcceptOrder,
    BookShipment,
    CallOffShipment,
    CancelOrder,
    CompleteOrder,
    Fulfilment,
    OrderPlaced,
    PaymentReceived,
    ReleaseStock,
    RequestPayment,
    Reserved,
    ReserveStock,
    ReturnPayment,
    ShipmentLeft,
    ShipmentLost,
)

HOUR = timedelta(hours=1)
CLOCK = Clock("2026-03-01T12:00Z")
PLACED = OrderPlaced(amount=5, sku="book", carrier="post")
PAID, RESERVED = PaymentReceived(order_id="1"), Reserved(order="1")
ACCEPT, REQUEST = AcceptOrder(order_id="1"), RequestPayment(payment_id="1", amount=5)
RESERVE = ReserveStock(sku="book", order="1")
BOOK = BookShipment(shipment_id="1", carrier="post")
SOLD_OUT = answers(ReserveStock, CommandRejected("nothing is left"))


def text(of: Any) -> str:
    with pytest.raises(AssertionError) as caught:
        of()
    return str(caught.value)


def test_what_is_expected_passes() -> None:
    when = given(Fulfilment).when(PLACED)
    assert when.then(ACCEPT, REQUEST) is when
    when.then(state(status="running", step="payment", waiting="payment", amount=5, paid=False))
    given(Fulfilment, PLACED).when(PAID).then(RESERVE)
    given(Fulfilment, PLACED, PAID).when(RESERVED).then(BOOK, state(waiting="shipment"))
    given(Fulfilment, PLACED, PAID, RESERVED).when(ShipmentLeft(order_id="1")).then(
        CompleteOrder(order_id="1"), state(status="done", waiting=None)
    )
    # What is over is over, and what nobody handles leads to nothing.
    over = [PLACED, PAID, RESERVED, ShipmentLeft(order_id="1")]
    given(Fulfilment, *over).when(ShipmentLost(order_id="1")).then()
    given(Fulfilment, PLACED).when(DomainEvent("SomethingElse")).then()
    given(Fulfilment).when(PAID).then(state(status="new"))


def test_steps_are_taken_back() -> None:
    given(Fulfilment, PLACED, PAID, RESERVED).when(ShipmentLost(order_id="1")).then(
        CallOffShipment(shipment_id="1"),
        ReleaseStock(sku="book", order="1"),
        ReturnPayment(payment_id="1"),
        CancelOrder(order_id="1"),
        state(status="compensated", error="the shipment was lost"),
    )
    given(Fulfilment, PLACED, SOLD_OUT).when(PAID).then(
        RESERVE,
        ReturnPayment(payment_id="1"),
        CancelOrder(order_id="1"),
        state(status="compensated", notes=["nothing is left"]),
    )
    # What had nothing to change has nothing to take back.
    given(Fulfilment, answers(RequestPayment, False), PLACED).when(HOUR).then(
        CancelOrder(order_id="1")
    )


def test_time_goes_by() -> None:
    minute = timedelta(minutes=1)
    given(Fulfilment, PLACED).when(HOUR - minute).then()
    given(Fulfilment, PLACED, HOUR - minute).when(PAID).then(RESERVE)
    when = given(Fulfilment, PLACED, HOUR - minute, clock=CLOCK).when(minute)
    when.then(ReturnPayment(payment_id="1"), CancelOrder(order_id="1"))
    assert {one.at for one in when.commands} == {CLOCK.now + HOUR}
    assert all(one.undoes for one in when.commands)
    # A deadline is a time, and so told.
    given(Fulfilment, clock=CLOCK).when(PLACED).then(state(deadline=CLOCK.now + HOUR))
    # What is waited for anew is late once more.
    given(Fulfilment, PLACED, PAID, RESERVED).when(timedelta(days=3)).then(
        state(status="running", waiting="shipment", notes=["late"])
    )
    given(Fulfilment, PLACED, PAID, RESERVED, timedelta(days=3)).when(timedelta(days=2)).then(
        state(status="compensated", error="the shipment did not leave")
    )


def test_commands_are_tried_again() -> None:
    away = ConnectionError("the carrier is away")
    booked = [PLACED, PAID, answers(BookShipment, away, away, True)]
    when = given(Fulfilment, *booked, clock=CLOCK).when(RESERVED, 2 * HOUR)
    when.then(BOOK, BOOK, BOOK, state(status="running", tries=0, error=None))
    assert [one.at - CLOCK.now for one in when.commands] == [
        timedelta(0), timedelta(minutes=1), timedelta(minutes=11),
    ]  # fmt: skip
    assert [one.ended for one in when.commands] == [away, away, True]
    given(Fulfilment, *booked).when(RESERVED).then(
        BOOK, state(tries=1, error="ConnectionError: the carrier is away")
    )
    given(Fulfilment, PLACED, PAID, answers(BookShipment, away)).when(RESERVED, 2 * HOUR).then(
        *[BOOK] * 3,
        ReleaseStock(sku="book", order="1"),
        ReturnPayment(payment_id="1"),
        CancelOrder(order_id="1"),
    )


def test_whose_an_event_is() -> None:
    given(Fulfilment, in_stream("order-1", PLACED)).when(in_stream("payment-8", PAID)).then(RESERVE)
    with pytest.raises(SagaError, match="PaymentReceived in 'payment-1' is for the saga '2', and"):
        given(Fulfilment, PLACED).when(in_stream("payment-1", PaymentReceived(order_id="2")))
    with pytest.raises(SagaError, match="is for no saga, and given is '9'"):
        given(Fulfilment, PLACED, id="9").when(in_stream("shelf-1", DomainEvent("Reserved")))
    given(Fulfilment, in_stream("order-9", PLACED), id="9").when(
        in_stream("shelf-1", DomainEvent("PaymentReceived", {"order_id": "x"}, tags=["order:9"]))
    ).then(ReserveStock(sku="book", order="9"))

    class Talk(Saga, begins=OrderPlaced):
        def when_placed(self, e: OrderPlaced) -> None:
            self.send(AcceptOrder(order_id=f"{self.id} {e.stream}"))  # type: ignore[attr-defined]

    given(Talk, id="c-8").when(in_stream("order-3", PLACED)).then(
        AcceptOrder(order_id="c-8 order-3")
    )
    with pytest.raises(SagaError, match="for the saga 'other'"):
        given(Talk).when(in_stream("order-3", PLACED.to_domain_event(correlation_id="other")))


class Fragile(Saga, by="order", begins=OrderPlaced, on_failure="stuck"):
    def when_placed(self, e: OrderPlaced) -> None:
        self.send(RESERVE)

    def when_paid(self, e: PaymentReceived) -> None:
        raise ValueError("nobody thought of that")


def test_what_is_stuck_has_to_be_said() -> None:
    when = given(Fragile, PLACED).when(PAID)
    assert text(when.then) == (
        "Fragile at PaymentReceived after OrderPlaced: it is stuck: "
        "Fragile.when_paid: ValueError: nobody thought of that"
    )
    when.then(state(status="stuck"))
    failed = given(Fragile, SOLD_OUT).when(PLACED)
    assert "it is stuck: ReserveStock: nothing is left" in text(lambda: failed.then(RESERVE))
    failed.then(RESERVE, state(status="stuck", error="ReserveStock: nothing is left"))
    given(Fragile, PLACED, PAID).when(PAID).then(state(status="stuck"))


def test_what_is_not_expected_tells_the_difference() -> None:
    when = given(Fulfilment, PLACED, HOUR / 2).when(PAID)
    assert text(lambda: when.then(ReserveStock(sku="lamp", order="1"))) == (
        "Fulfilment at PaymentReceived after OrderPlaced, 0:30:00: other commands were sent\n"
        "  (- expected, + happened)\n"
        '  -   ReserveStock {"sku": "lamp", "order": "1"}\n'
        "  ?                         ^^^^\n"
        "\n"
        '  +   ReserveStock {"sku": "book", "order": "1"}\n'
        "  ?                         ^^^^\n"
    )
    assert "-   nothing" in text(when.then)
    assert text(lambda: when.then(state(paid=False, waiting="payment"))) == (
        "Fulfilment at PaymentReceived after OrderPlaced, 0:30:00: the state is another\n"
        "  (- expected, + happened)\n"
        "  - paid = False\n"
        "  + paid = True\n"
        "  - waiting = 'payment'\n"
        "  + waiting = None"
    )
    with pytest.raises(CommandError, match="Fulfilment has no field 'colour'; there are amount, "):
        when.then(state(colour="blue"))
    with pytest.raises(CommandError, match=r"then says commands and state\(…\), not Rejected"):
        when.then(rejected())  # type: ignore[arg-type]
    for wrong in (5, RESERVE):
        with pytest.raises(CommandError, match=r"say events, in_stream\(…\), answers"):
            given(Fulfilment).when(wrong)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="not back by 1:00:00"):
        given(Fulfilment, PLACED).when(-HOUR)
    for how in ((), ("no",)):
        with pytest.raises(CommandError, match="True or False"):
            answers(ReserveStock, *how)  # type: ignore[arg-type]
    with pytest.raises(CommandError, match="takes a command class"):
        answers(RESERVE, True)  # type: ignore[arg-type]


# --- as on a log -------------------------------------------------------------------------------


class Begun(Event):
    does: list[str]


class Told(Event):
    does: list[str]


class Done(Event):
    pass


class Do(Command):
    desk_id: str
    what: str


class Undo(Command):
    desk_id: str
    what: str


MINUTES = Retry(3, timedelta(minutes=1), 3)


class Scripted(Saga, by="job", begins=Begun, retry=MINUTES):
    """Does what its events say."""

    notes: list[str]

    def when_told(self, e: Begun | Told) -> None:
        self._do(e.does)

    def _do(self, does: list[str]) -> None:
        for said in does:
            verb, _, what = said.partition(" ")
            if verb == "send":
                do, undo = Do(desk_id="1", what=what), Undo(desk_id="1", what=what)
                self.send(do, undo=undo, step=what)
            elif verb == "only":
                self.send(Do(desk_id="1", what=what), retry=Retry(2, timedelta(minutes=2)))
            elif verb == "again":
                again = Retry(3, timedelta(minutes=1), refusals=True)
                self.send(Do(desk_id="1", what=what), step=what, retry=again)
            elif verb == "wait":
                name, minutes = what.split(":")
                self.wait(name, within=timedelta(minutes=int(minutes)) if minutes else None)
            elif verb == "got":
                self.got(what)
            elif verb == "forget":
                self.forget(what)
            elif verb == "note":
                self.notes.append(f"{what} {self.now:%H:%M}")
            elif verb == "back":
                self.compensate(what)
            elif verb == "done":
                self.done()
            else:
                raise ValueError(said)

    @late("x")
    def no_x(self) -> None:
        self._do(["note late", "send late", "wait y:2"])

    @refused("a")
    def no_a(self, reason: str) -> None:
        self._do([f"note {reason}", "only b"])


class Stubborn(Scripted, by="job", begins=Begun, retry=MINUTES, on_failure="stuck"):
    pass


class Desk(Aggregate):
    def when_done(self, e: Done) -> None: ...


class World:
    """A log on which a saga runs, and a desk that answers as it is told."""

    def __init__(self, folder: str, kind: type[Saga]) -> None:
        self.clock = Clock("2026-03-01T12:00Z")
        self.log = esnb.create(Path(folder) / "log", clock=self.clock, maintain=False)
        self.sent: list[tuple[Any, ...]] = []
        self._answers: dict[type[Command], list[Any]] = {}

        @handles(Do, Undo, creates=None, of=Desk)
        def answer(desk: Desk, command: Do | Undo) -> Done | None:
            known = self._answers.get(type(command), [True])
            how = known.pop(0) if len(known) > 1 else known[0]
            fields = {"desk_id": command.desk_id, "what": command.what}
            self.sent.append((type(command).__name__, fields, how, self.clock.now))
            if isinstance(how, Exception):
                raise how
            return Done() if how else None

        self.sagas = self.log.saga(kind, self.log.commands(answer))
        self._stream = f"{kind.description.category}-1"

    def take(self, item: Any) -> None:
        if isinstance(item, timedelta):
            for _ in range(item // timedelta(minutes=1)):
                self.clock.advance(minutes=1)
                self.sagas.run()
        elif isinstance(item, Event):
            self.log.append("job-1", item)
            self.sagas.run()
        else:
            self._answers[item.command] = list(item.how)

    def state(self) -> dict[str, Any]:
        names = "status", "step", "waiting", "deadline", "tries", "error"
        rows = self.sagas.status().project(", ".join(names)).fetchall()
        told = dict(zip(names, rows[0], strict=True)) if rows else {}
        notes = self.sagas._reader.state(self._stream).fields["notes"]
        return {**told, "notes": notes}


DOES = st.sampled_from(
    [
        "send a", "send a", "send b", "only c", "again a", "again d", "wait x:3", "wait y:5",
        "wait z:", "got x", "got y", "forget a", "forget b", "note hm", "back enough", "done",
        "raise",
    ]
)  # fmt: skip
HOW = st.sampled_from([True, True, False, CommandRejected("no"), ConnectionError("away")])
ITEMS = st.one_of(
    st.builds(Told, does=st.lists(DOES, min_size=1, max_size=4)),
    st.builds(lambda minutes: timedelta(minutes=minutes), st.integers(1, 6)),
    st.builds(
        lambda command, how: answers(command, *how),
        st.sampled_from([Do, Undo]),
        st.lists(HOW, min_size=1, max_size=4),
    ),
)
EVERYTHING = [
    answers(Do, True, ConnectionError("away"), True, CommandRejected("no")),
    Told(does=["send b", "wait x:3", "note hm"]),
    timedelta(minutes=4),
    Told(does=["send a"]),
    timedelta(minutes=6),
]


BEGINS = st.lists(DOES, max_size=4)


@settings(max_examples=60)
@tried(BEGINS, st.lists(ITEMS, max_size=7), st.sampled_from([Scripted, Stubborn]))
@example(["send a"], EVERYTHING, Scripted)
@example(["send a"], EVERYTHING, Stubborn)
def test_as_on_a_log(begins: list[str], items: list[Any], kind: type[Saga]) -> None:
    items = [Begun(does=begins), *items]
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder, kind)
        with world.log:
            for item in items:
                world.take(item)
            found = world.state()
    for cut in (0, len(items) // 2):
        when = given(kind, *items[:cut], clock=Clock("2026-03-01T12:00Z")).when(*items[cut:])
        sent = [(one.name, dict(one.fields), one.ended, one.at) for one in when.commands]
        assert cut or len(sent) == len(world.sent)
        assert sent == world.sent[len(world.sent) - len(sent) :]
        assert when.fields == found
