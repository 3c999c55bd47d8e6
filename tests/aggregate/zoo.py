"""Event and aggregate classes of all kinds, histories for them, and the plain fold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

import esnb
from esnb import DomainEvent
from esnb.aggregate import Aggregate, Event

START = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)


class Speed(Enum):
    SLOW = "slow"
    FAST = "fast"


class Level(StrEnum):
    LOW = "low"
    HIGH = "high"


class Placed(Event):
    version = 3
    customer: str
    currency: str = "EUR"

    def from1(self):
        return {"client": {"name": self.name}}

    def from2(self):
        return {"customer": self.client.name}


class Added(Event):
    sku: str
    qty: int
    price: Decimal


class Tagged(Event):
    tag: str


class Untagged(Event):
    tag: str


class Paid(Event, aliases=("PaymentTaken",)):
    amount: Decimal


class Cancelled(Event):
    reason: str | None = None


class Moved(Event):
    speed: Speed
    level: Level = Level.LOW
    at: datetime | None = None
    weight: float = 0.5
    express: bool = False
    mode: Literal["air", "sea"] = "sea"


class Removed(Event):
    pass


class Scalars(Aggregate, category="order", ignores=[Tagged, Untagged], ends=[Removed]):
    """Tier 1: every kind of fold that is one DuckDB aggregate, and sums that are set anew."""

    status: str
    customer: str
    placed_on: datetime
    by: str
    total: Decimal = Decimal("1.5")
    count: int = 0
    paid: Decimal
    most: int
    least: int = 3
    reason: str | None = None
    last_reason: str | None = "none yet"
    weight: float = 0.0
    speed: Speed
    level: Level = Level.LOW
    fast: int = 0

    def when_placed(self, e: Placed):
        self.status = "pending"
        self.customer = e.customer.strip()
        self.placed_on = e.occurred_on
        self.by = e.actor
        self.paid = Decimal(0)

    def when_added(self, e: Added):
        self.total += e.qty * e.price
        self.total -= Decimal("0.25")
        self.count += self._worth(e.qty)
        self.most = e.qty if self.most is None else max(self.most, e.qty)
        self.least = min(self.least, e.qty)

    def _worth(self, qty):
        return qty // 3 + qty % 3 if qty > 0 else -abs(qty)

    def when_paid(self, e: Paid):
        self.status = "paid" if e.amount > 2 else "partly paid"

    def when_cancelled(self, e: Cancelled):
        if self.reason is None:
            self.reason = e.reason
        self.last_reason = e.reason

    def when_moved(self, e: Moved):
        self.weight += e.weight
        self.speed = e.speed
        self.level = e.level
        if (e.express and e.mode in ("air",)) or e.speed == Speed.FAST:
            self.fast += 1
        if e.at is not None and e.at > e.occurred_on + timedelta(hours=3):
            self.fast -= 1


class Sums(Aggregate, category="order", ignores=[Tagged, Untagged, Moved], ends=[Removed]):
    """A sum that has no value before it is set: adding to it earlier raises in Python."""

    paid: Decimal | None = None
    owed: Decimal = Decimal(0)
    seen: int = 0

    def when_placed(self, e: Placed):
        self.paid = Decimal(0)
        self.seen = 0

    def when_added(self, e: Added):
        self.owed += e.qty * e.price
        self.seen += 1

    def when_paid(self, e: Paid):
        if self.paid is not None:
            self.paid += e.amount
        self.owed -= e.amount

    def when_cancelled(self, e: Cancelled):
        self.owed = Decimal(0)
        self.paid = None


class Collections(Aggregate, category="order", ignores=[Paid, Moved], ends=[Removed]):
    """Sets, dicts and lists, changed step by step."""

    tags: set[str]
    lines: dict[str, int]
    prices: dict[str, Decimal]
    notes: list[str]
    stack: list[str]

    def when_placed(self, e: Placed):
        self.notes.append(e.customer)
        self.stack = []

    def when_added(self, e: Added):
        self.lines[e.sku] = self.lines.get(e.sku, 0) + e.qty
        self.prices[e.sku] = e.price
        if e.qty < 0:
            self.prices.pop(e.sku, None)
        self.stack += [e.sku]

    def when_tagged(self, e: Tagged):
        self.tags.add(e.tag)
        self.tags.update(["all", "of them"])

    def when_untagged(self, e: Untagged):
        self.tags.discard(e.tag)

    def when_cancelled(self, e: Cancelled):
        self.tags.clear()
        self.lines.setdefault("cancelled", 0)
        self.lines["cancelled"] -= 1


class Guarded(Aggregate, category="order", ignores=[Tagged, Untagged], ends=[Removed]):
    """Tier 2: rules on fields of few values, one of them on another."""

    status: str
    speed: Speed
    urgent: bool = False
    was: str = "nothing"
    total: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    refused: int = 0
    last: str | None = None

    def when_placed(self, e: Placed):
        if self.status in ("paid", "cancelled"):
            self.breach("placed again")
            return
        self.status = "pending"

    def when_added(self, e: Added):
        if self.status == "pending" and e.qty > 0:
            self.total += e.qty * e.price
        elif self.urgent:
            self.total += e.price
        else:
            self.refused += 1

    def when_paid(self, e: Paid):
        match self.status:
            case "pending":
                self.status = "paid"
                self.paid += e.amount
            case "cancelled":
                self.breach("paid after it was cancelled")

    def when_cancelled(self, e: Cancelled):
        self.was = self.status if self.status is not None else "nothing"
        if not self.urgent:
            self.status = "cancelled"
            self.last = e.reason

    def when_moved(self, e: Moved):
        if self.speed is None or self.speed != Speed.FAST:
            self.speed = e.speed
        self.urgent = e.express if self.status == "pending" else False


class Mixed(Aggregate, category="order", ignores=[Untagged], ends=[Removed]):
    """Tier 3 beside tier 1: what only Python does."""

    status: str
    label: str = ""
    share: float = 0.0
    customer: str
    tags: dict[str, list[int]]
    biggest: Decimal = Decimal(0)

    def when_placed(self, e: Placed):
        self.status = "pending"
        self.customer = e.customer

    def when_added(self, e: Added):
        for _ in range(max(0, e.qty)):
            self.biggest = max(self.biggest, e.price)

    def when_paid(self, e: Paid):
        self.label = f"{self.status}/{e.amount:f}/{e.occurred_on:%H}"
        self.share = float(e.amount) / 3

    def when_tagged(self, e: Tagged):
        self.tags.setdefault(e.tag, []).append(len(self.tags))

    def when_cancelled(self, e: Cancelled):
        try:
            self.label = e.reason.upper()
        except AttributeError:
            self.label = "?"

    def when_moved(self, e: Moved):
        self.label = e.level.value + e.mode


class Loose(Aggregate, category="order", ignores=[Placed, Cancelled], ends=[Removed]):
    """Tier 3: annotations that do not say what a field holds, of which all else depends."""

    last: Any = None
    either: int | str | Decimal = 0
    seen: list[Any]
    by: dict[str, Any]
    kinds: str = ""

    def when_added(self, e: Added):
        self._see(e.price)
        self.either = e.price if e.qty > 2 else e.qty
        self.by[e.sku] = (e.price, e.qty, {e.sku: e.price})

    def when_tagged(self, e: Tagged):
        self._see(e.tag)
        self.either = e.tag

    def when_untagged(self, e: Untagged):
        self._see({e.tag, 1} if e.tag else frozenset([e.tag, 2.5]))

    def when_paid(self, e: Paid):
        self._see(e.amount)
        self.last = [self.last, e.amount] if isinstance(self.last, Decimal) else None

    def when_moved(self, e: Moved):
        self._see(e.at)
        self._see(e.occurred_on.date())
        self._see(e.weight)
        # A member of an Enum cannot be kept: then everything is folded anew.
        self._see(e.speed)

    def _see(self, value: Any):
        kinds = [type(one).__name__ for one in (self.last, self.either, *self.seen[-3:])]
        self.kinds = ",".join(kinds)
        self.last = value
        self.seen.append(str(value) if isinstance(value, Enum | set | frozenset) else value)


ZOO: tuple[type[Aggregate], ...] = (Scalars, Sums, Collections, Guarded, Mixed, Loose)

TEXTS = st.sampled_from(["", "a", " b\u2003", "é", "it's", '"q"', "🜁", "x\ty", "null", "1"])
DECIMALS = st.sampled_from(["0", "1.5", "-2.25", "1e1", "0.000001", 3, 2.5, -7, "12345678901.5"])
INTS = st.sampled_from([0, 1, 2, 3, 7, -1, -5, "4", 2.0])
HOURS = st.sampled_from([0, 1, 1, 2, 3, 26, 49])


def _with_missing(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


PAYLOADS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "Placed": _with_missing({"customer": TEXTS}, {"currency": TEXTS, "more": st.just([1])}),
    "Added": _with_missing({"sku": TEXTS, "qty": INTS, "price": DECIMALS}, {}),
    "Tagged": _with_missing({"tag": TEXTS}, {}),
    "Untagged": _with_missing({"tag": TEXTS}, {}),
    "Paid": _with_missing({"amount": DECIMALS}, {}),
    "PaymentTaken": _with_missing({"amount": DECIMALS}, {}),
    "Cancelled": _with_missing({}, {"reason": st.one_of(st.none(), TEXTS)}),
    "Moved": _with_missing(
        {"speed": st.sampled_from(["slow", "fast"])},
        {
            "level": st.sampled_from(["low", "high"]),
            "at": st.sampled_from(
                [None, "2026-03-29T05:00:00+02:00", "2026-03-28T22:30:00.5Z", 1774800000]
            ),
            "weight": st.sampled_from([0.1, 3, 2.5e-3, 1e16]),
            "express": st.sampled_from([True, False, "true", 0]),
            "mode": st.sampled_from(["air", "sea"]),
        },
    ),
    "Removed": st.just({}),
}


@dataclass
class Happened:
    """One event of a history to be written."""

    stream: str
    event_type: str
    data: dict[str, Any]
    occurred: int
    version: int = 1
    actor: str | None = None
    tags: tuple[str, ...] = field(default=())

    def event(self) -> DomainEvent:
        return DomainEvent(
            self.event_type,
            self.data,
            schema_version=self.version,
            occurred_on=START + timedelta(hours=self.occurred),
            actor=self.actor,
            tags=self.tags,
        )


@st.composite
def happenings(draw: st.DrawFn, types: tuple[str, ...] = tuple(PAYLOADS)) -> Happened:
    event_type = draw(st.sampled_from(types))
    data, version = draw(PAYLOADS[event_type]), 1
    if event_type == "Placed":
        version = draw(st.sampled_from([3, 3, 2, 1]))
        old = {1: {"name": data["customer"]}, 2: {"client": {"name": data["customer"]}}}
        data = old.get(version, data)
    return Happened(
        draw(st.sampled_from(["order-1", "order-2", "order-é'"])),
        event_type,
        data,
        draw(HOURS),
        version,
        draw(st.sampled_from([None, "ann"])),
    )


HISTORIES = st.lists(happenings(), max_size=14)


@contextmanager
def written(history: list[Happened]) -> Iterator[esnb.EventLog]:
    """Write a history into a log of its own."""
    with (
        tempfile.TemporaryDirectory() as folder,
        esnb.create(Path(folder, "log"), zone="UTC", maintain=False) as log,
    ):
        write(log, history)
        yield log


def write(log: esnb.EventLog, history: list[Happened]) -> None:
    with log.batch():
        for one in history:
            log.append(one.stream, one.event())


def plain_fold(owner: type[Aggregate], log: esnb.EventLog) -> dict[tuple[str, int], Any]:
    """Return the state after each event, None after one that ended it: one by one, in Python."""
    states: dict[tuple[str, int], Any] = {}
    aggregates: dict[str, Aggregate] = {}
    for event in log.read():
        aggregate = aggregates.setdefault(event.stream, owner(event.stream))
        aggregate.replay(event)
        states[event.stream, event.position] = None if aggregate.ended else shown(aggregate)
    return states


def shown(aggregate: Aggregate) -> dict[str, Any]:
    return {name: comparable(value) for name, value in Aggregate.state(aggregate).items()}


def comparable(value: Any) -> Any:
    """A value as it compares, whether it comes from Python or from DuckDB."""
    if isinstance(value, dict):
        return [tuple(item) for item in value.items()]
    if isinstance(value, list):
        return [tuple(item) if isinstance(item, list) else item for item in value]
    return value


def rows_of(relation: Any) -> list[dict[str, Any]]:
    names = relation.columns
    return [dict(zip(names, row, strict=True)) for row in relation.fetchall()]


def state_of(owner: type[Aggregate], row: dict[str, Any]) -> dict[str, Any]:
    return {name: comparable(row[name]) for name in owner.description.fields}
