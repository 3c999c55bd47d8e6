"""A saga that crashes anywhere ends as one that never did, and sends no command twice."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from hypothesis import example, given, settings
from hypothesis import strategies as st

from esnb import Event, EventLog
from esnb.testing import Clock
from esnb.write import SagaReport
from tests.write.trade import (
    DOMAIN,
    Filled,
    Fulfilment,
    OrderPlaced,
    PaymentDeclined,
    PaymentReceived,
    ShipmentLeft,
    ShipmentLost,
    carriers,
)

# In memory where there is such a place: power cuts are not what is tried here.
SHM = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
BEGIN = "2026-03-01T12:00Z"
REPLIES: dict[str, tuple[str, type[Event]]] = {
    "pays": ("payment", PaymentReceived),
    "declines": ("payment", PaymentDeclined),
    "leaves": ("shipment", ShipmentLeft),
    "is lost": ("shipment", ShipmentLost),
}


class Crash(BaseException):
    """The end of the process, as far as whoever runs in it can tell."""


@contextmanager
def crashing(log: EventLog, at: int | None, *, after: bool = False) -> Iterator[list[int]]:
    """Let what writes to the log crash at its n-th commit from 0; count them."""
    count = [0]

    def wrapped(write: Callable[..., Any]) -> Callable[..., Any]:
        def writes(*arguments: Any, **options: Any) -> Any:
            number = count[0]
            count[0] += 1
            if number == at and not after:
                raise Crash
            done = write(*arguments, **options)
            if number == at:
                raise Crash
            return done

        return writes

    log.append_many = wrapped(log.append_many)  # type: ignore[method-assign]
    log.append_each = wrapped(log.append_each)  # type: ignore[method-assign]
    try:
        yield count
    finally:
        del log.append_many, log.append_each


class World:
    """What happens around the sagas, the same each time."""

    def __init__(self, folder: str, *, batch: int = 2000, books: int = 2, lamps: int = 1) -> None:
        self.clock = Clock(BEGIN)
        carriers.clock, carriers.begun = self.clock, self.clock.now
        self.log = EventLog.create(Path(folder) / "log", clock=self.clock, maintain=False)
        self.batch = batch
        self._count = 0
        self._happens("stock-book", Filled(count=books))
        self._happens("stock-lamp", Filled(count=lamps))

    def _happens(self, stream: str, event: Event, number: int | None = None) -> None:
        self._count += 1
        name = f"{stream}:{self._count if number is None else number}"
        event_id = str(uuid5(NAMESPACE_OID, name))
        self.log.append(
            stream,
            event.to_domain_event(event_id=event_id, occurred_on=datetime.fromisoformat(BEGIN)),
        )

    def act(self, action: tuple[Any, ...]) -> None:
        what, *rest = action
        if what == "places":
            number, sku, carrier = rest
            order = OrderPlaced(amount=number + 1, sku=sku, carrier=carrier)
            # Placing the same order twice is placing it once.
            if next(self.log.read_stream(f"order-{number}"), None) is None:
                self._happens(f"order-{number}", order)
        elif what == "passes":
            self.clock.advance(minutes=rest[0])
        elif what != "run":
            category, kind = REPLIES[what]
            number, again = rest
            # The same message once more: with the same id, or as a new one.
            reply = kind(order_id=str(number))
            self._happens(f"{category}-{number}", reply)
            if again == "same id":
                self._count -= 1
                self._happens(f"{category}-{number}", reply)
            elif again:
                self._happens(f"{category}-{number}", reply)

    def run(self) -> SagaReport:
        """Run the sagas in what might be a new process."""
        commands = self.log.commands(*DOMAIN)
        return self.log.saga(Fulfilment, commands, batch=self.batch).run()

    def end(self) -> dict[str, list[Any]]:
        """Return everything that is in the log, but for the places of the events."""
        found: dict[str, list[Any]] = {}
        commands: Counter[str] = Counter()
        for event in self.log.read():
            data = dict(event.data)
            if event.category == "fulfilment":
                did = dict(data["did"])
                did.pop("seen")
                if "on" in did:
                    did["on"] = {k: v for k, v in did["on"].items() if k != "position"}
                data["did"] = did
            elif event.causation_id is not None:
                commands[event.causation_id] += 1
            found.setdefault(event.stream, []).append(
                (
                    event.revision, event.event_type, data, event.event_id, event.causation_id,
                    event.correlation_id, event.actor, event.occurred_on,
                )
            )  # fmt: skip
        # In this domain a command that is accepted leads to one event.
        assert set(commands.values()) <= {1}
        return found


def live(
    actions: list[tuple[Any, ...]], crashes: list[tuple[int, bool]], batch: int
) -> tuple[dict[str, list[Any]], int, int]:
    """Let a history happen; return how it ended, and how many commits and crashes there were."""
    left = list(crashes)
    commits = 0
    with tempfile.TemporaryDirectory(dir=SHM) as folder:
        world = World(folder, batch=batch)
        with world.log:
            for action in [*actions, *TAIL]:
                world.act(action)
                if action[0] != "run":
                    continue
                while True:
                    at, after = left[0] if left else (None, False)
                    with crashing(world.log, at, after=after) as count:
                        try:
                            world.run()
                            commits += count[0]
                            if left:
                                left[0] = (left[0][0] - count[0], after)
                            break
                        except Crash:
                            commits += count[0]
                            left.pop(0)
            return world.end(), commits, len(crashes) - len(left)


TAIL: list[tuple[Any, ...]] = [
    ("run",),
    *[action for days in (1, 4, 4) for action in (("passes", days * 1440), ("run",))],
]
ORDERS = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(
        st.just("places"),
        ORDERS,
        st.sampled_from(["book", "lamp", "none"]),
        st.sampled_from(["post", "shaky", "down"]),
    ),
    st.tuples(st.sampled_from([*REPLIES]), ORDERS, st.sampled_from(["", "same id", "twice"])),
    st.tuples(st.just("passes"), st.sampled_from([1, 30, 60, 61, 3000])),
    st.just(("run",)),
    st.just(("run",)),
)
CRASHES = st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=12)

# Everything once: paid and sent, no stock, declined thrice, late, carriers that do not answer.
EVERYTHING: list[tuple[Any, ...]] = [
    ("places", 0, "book", "post"),
    ("places", 1, "lamp", "shaky"),
    ("places", 2, "lamp", "post"),
    ("run",),
    ("pays", 0, "twice"),
    ("pays", 1, ""),
    ("pays", 2, ""),
    ("run",),
    ("places", 3, "book", "down"),
    ("passes", 1),
    ("run",),
    ("leaves", 0, "same id"),
    ("pays", 3, ""),
    ("run",),
    ("places", 4, "book", "post"),
    ("places", 5, "book", "post"),
    ("run",),
    ("declines", 4, ""),
    ("run",),
    ("declines", 4, "same id"),
    ("passes", 61),
    ("run",),
    ("declines", 4, ""),
    ("is lost", 1, ""),
    ("run",),
]


@settings(max_examples=60)
@given(st.lists(ACTIONS, max_size=25), CRASHES, st.sampled_from([1, 3, 2000]))
@example(EVERYTHING, [(number, number % 2 == 0) for number in (0, 1, 2, 3, 4, 5, 1, 2, 3)], 2000)
@example([("places", 0, "none", "post"), ("pays", 0, ""), ("run",)], [(1, True)] * 9, 1)
def test_crashes_change_nothing(
    actions: list[tuple[Any, ...]], crashes: list[tuple[int, bool]], batch: int
) -> None:
    whole, _, _ = live(actions, [], batch)
    crashed, _, _ = live(actions, crashes, batch)
    assert crashed == whole


def test_a_crash_at_every_commit() -> None:
    whole, commits, _ = live(EVERYTHING, [], 2000)
    ends = {stream: events[-1][2].get("status") for stream, events in whole.items()}
    assert [ends[f"fulfilment-{number}"] for number in range(6)] == [
        "done", "compensated", "compensated", "compensated", "compensated", "compensated",
    ]  # fmt: skip
    assert commits > 40
    for number in range(commits):
        for after in (False, True):
            crashed, _, happened = live(EVERYTHING, [(number, after)], 2000)
            assert happened == 1
            assert crashed == whole, (number, after)


@settings(max_examples=25)
@given(st.lists(ACTIONS.filter(lambda one: one[:1] != ("places",)), max_size=20))
def test_how_much_is_read_at_a_time_makes_no_difference(actions: list[tuple[Any, ...]]) -> None:
    """Of one order: several compete for the stock, and who is read first gets it."""
    only = [one for one in actions if one[0] in ("passes", "run") or one[1] == 0]
    history = [("places", 0, "book", "shaky"), *only]
    assert live(history, [], 1)[0] == live(history, [], 2000)[0]
