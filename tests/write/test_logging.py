"""Structured logs: a line for each command, nothing of what it says, nothing unless asked for."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

import esnb
from esnb import Command, CommandError, CommandRejected, EventLog, StreamNotFoundError, handles
from esnb.write import logging
from tests.write.orders import ConfirmOrder, ItemAdded, Order, OrderConfirmed, PlaceOrder

CANARY = "canary-4111-1111"
HOSTILE = 'x"\n{"level":"error"}\x1b[31m\u202e\u2028<script>'


@pytest.fixture
def log(tmp_path: Path) -> Iterator[EventLog]:
    with esnb.create(tmp_path / "log", zone="UTC") as opened:
        yield opened
    logging.silence()


def lines(file: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_nothing_is_written_unless_asked_for(
    log: EventLog, capfd: pytest.CaptureFixture[str]
) -> None:
    commands = log.commands(Order)
    commands.send(PlaceOrder(order_id="1", customer="ann"))
    logging.say("error", "command", stream="order-1")
    assert not logging.active()
    assert capfd.readouterr() == ("", "")
    logging.configure()
    commands.send(ConfirmOrder(order_id="1"))
    out, err = capfd.readouterr()
    assert out == ""
    assert json.loads(err)["command"] == "ConfirmOrder"


def test_each_command_is_a_line(log: EventLog) -> None:
    file = io.StringIO()
    logging.configure(file)
    commands = log.commands(Order)
    place = PlaceOrder(order_id="1", customer="ann")
    commands.send(place, correlation_id="checkout-8", causation_id="event-1", actor="bo")
    commands.send(place)
    commands.send(ConfirmOrder(order_id="1"))
    with pytest.raises(CommandRejected):
        commands.send(ConfirmOrder(order_id="1"))
    with pytest.raises(StreamNotFoundError):
        commands.send(ConfirmOrder(order_id="2"))
    asyncio.run(commands.asend(PlaceOrder(order_id="3", customer="ann")))
    commands.send_many(
        [ConfirmOrder(order_id="3"), ConfirmOrder(order_id="3"), ConfirmOrder(order_id="4")]
    )
    told = lines(file)
    assert [line["outcome"] for line in told] == [
        "accepted", "repeated", "accepted", "rejected", "failed", "accepted", "accepted",
        "rejected", "failed",
    ]  # fmt: skip
    first = told[0]
    assert first.pop("duration_ms") > 0
    assert first.pop("timestamp").endswith("Z")
    assert first == {
        "event": "command",
        "level": "info",
        "command": "PlaceOrder",
        "command_id": str(place.command_id),
        "correlation_id": "checkout-8",
        "causation_id": "event-1",
        "stream": "order-1",
        "revision": 0,
        "events": 1,
        "conflicts": 0,
        "outcome": "accepted",
    }
    assert told[3]["rule"] == "only a pending order is confirmed"
    assert (told[4]["level"], told[4]["error"]) == ("error", "StreamNotFoundError")


def test_payloads_are_never_in_it(log: EventLog) -> None:
    file = io.StringIO()
    logging.configure(file, level="debug")

    class Charge(Command):
        order_id: str
        card: str

    @handles(Charge)
    def charge(order: Order, command: Charge) -> ItemAdded:
        if order.status == "confirmed":
            raise CommandRejected("once", card=command.card)
        if order.items:
            raise ValueError(command.card)
        return ItemAdded(sku=command.card, quantity=1)

    commands = log.commands(Order, charge)
    commands.send(PlaceOrder(order_id="1", customer=CANARY), metadata={"note": CANARY})
    commands.send(Charge(order_id="1", card=CANARY))
    with pytest.raises(ValueError, match=CANARY):
        commands.send(Charge(order_id="1", card=CANARY))
    log.append("order-1", OrderConfirmed())
    with pytest.raises(CommandRejected):
        commands.send(Charge(order_id="1", card=CANARY))
    with pytest.raises(CommandError):
        commands.send(Charge(order_id=f"{CANARY}\0", card=CANARY))
    commands.send_many([Charge(order_id="1", card=CANARY)])
    assert len(lines(file)) == 6
    assert CANARY not in file.getvalue()


def test_hostile_names_stay_text(log: EventLog) -> None:
    file = io.StringIO()
    logging.configure(file)
    log.commands(Order).send(PlaceOrder(order_id=HOSTILE, customer="ann"), correlation_id=HOSTILE)
    text = file.getvalue()
    assert text.isascii()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    (line,) = lines(file)
    assert (line["stream"], line["correlation_id"]) == (f"order-{HOSTILE}", HOSTILE)


def test_levels_and_what_is_bound(log: EventLog) -> None:
    file = io.StringIO()
    logging.configure(file, level="error")
    commands = log.commands(Order)
    with logging.bound(request="r-1"):
        commands.send(PlaceOrder(order_id="1", customer="ann"))
        with pytest.raises(StreamNotFoundError):
            commands.send(ConfirmOrder(order_id="2"))
        asyncio.run(commands.asend(PlaceOrder(order_id="3", customer="ann")))
    with pytest.raises(StreamNotFoundError):
        commands.send(ConfirmOrder(order_id="2"))
    assert [line.get("request") for line in lines(file)] == ["r-1", None]
    with pytest.raises(ValueError, match="no level 'loud'; say debug"):
        logging.configure(level="loud")


def test_a_logger_of_ones_own(log: EventLog) -> None:
    with structlog.testing.capture_logs() as said:
        logging.configure(logger=structlog.get_logger())
        log.commands(Order).send(PlaceOrder(order_id="1", customer="ann"))
    assert [(one["event"], one["outcome"], one["log_level"]) for one in said] == [
        ("command", "accepted", "info")
    ]
