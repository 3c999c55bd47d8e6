"""The shop at work: months of commands, sent to a log whose clock is told the time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

from esnb.errors import CommandError, CommandRejected, EsnbError
from esnb.event import RecordedEvent
from esnb.eventlog import EventLog
from esnb.examples.shop import commands as c
from esnb.examples.shop.customer import Customer
from esnb.examples.shop.order import Order, WebOrder
from esnb.examples.shop.payment import CentPayment, Payment
from esnb.examples.shop.plan import Plan
from esnb.examples.shop.planted import Planted
from esnb.examples.shop.product import Product
from esnb.examples.shop.shipment import Shipment
from esnb.examples.shop.steps import Step
from esnb.examples.shop.world import NEW_YEAR, ORDERS, SEED, START
from esnb.log import Append, Log
from esnb.testing import Clock
from esnb.write import Commands, Outcome

__all__ = ["Calendar", "Simulated", "planted", "simulate"]

# A supplier needs longer than that, so nothing follows within a window from what was refused.
_WINDOW = timedelta(hours=6)
_EXPRESS = timedelta(hours=1)

_Key = tuple[str, str]


class Calendar(Clock):
    """A clock that can be told the time of each of its next looks."""

    def __init__(self, at: object = START) -> None:
        super().__init__(at)
        self._looks: deque[datetime] = deque()

    def appoint(self, times: Iterable[datetime]) -> None:
        """Say what time it will be, look by look; then it stands still."""
        self._looks = deque(times)

    def __call__(self) -> datetime:
        if self._looks:
            self.set(self._looks.popleft())
        return super().__call__()


@dataclass(frozen=True)
class Simulated:
    """What was done.

    Attributes
    ----------
    sent, accepted
        How many commands.
    refused
        How many, by rule.
    events
        How many events were written.
    planted
        What an audit should find.
    """

    orders: int
    sent: int
    accepted: int
    refused: Mapping[str, int]
    events: int
    planted: tuple[Planted, ...] = field(repr=False)


def simulate(log: EventLog, *, orders: int = ORDERS, seed: int = SEED) -> Simulated:
    """Let the shop work from September 2025 to March 2026, hundreds of commands in a commit.

    Parameters
    ----------
    log
        An empty log with a `Calendar` for its clock:
        ``esnb.create(path, zone="Europe/Berlin", clock=shop.Calendar())``.
    orders
        How many; more of them come from more customers in the same months.
    seed
        The same seed gives the same events, ids too.

    Raises
    ------
    CommandError
        If the log is not empty, or has another clock.
    """
    if not isinstance(log.clock, Calendar) or log.next_position:
        raise CommandError(
            "the shop needs an empty log and tells it the time: "
            "esnb.create(path, zone='Europe/Berlin', clock=shop.Calendar())"
        )
    return _Work(log, log.clock, Plan(orders, seed)).done(orders)


def planted(log: EventLog, *, orders: int = ORDERS, seed: int = SEED) -> list[Planted]:
    """Return what an audit of a simulated log should find.

    Parameters
    ----------
    log
        As `simulate` left it.
    orders, seed
        As they were given to `simulate`.
    """
    plan = Plan(orders, seed)
    for until in plan.windows(_WINDOW):
        plan.due(until)
    return [one for one in plan.planted if log.event(one.event_id) is not None]


class _Paced:
    """A log that is told the time of each append before it writes them."""

    def __init__(self, log: Log, clock: Calendar) -> None:
        self._log = log
        self._calendar = clock
        self.times: dict[str, datetime] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append_each(self, appends: Sequence[Append]) -> list[tuple[RecordedEvent, ...] | EsnbError]:
        self._calendar.appoint(self.times[append.events[0].event_id] for append in appends)
        return list(self._log.append_each(appends))


class _Work:
    """Sends the steps of a plan, and has goods delivered where they run short."""

    def __init__(self, log: EventLog, clock: Calendar, plan: Plan) -> None:
        self._log, self._plan = log, plan
        self._paced = _Paced(log, clock)
        self._refused: Counter[str] = Counter()
        self._sent = self._accepted = 0
        # Reservations that wait for goods, and those that are not wanted any more.
        self._short: dict[_Key, Step] = {}
        self._called_off: set[str] = set()
        # A look of a decision must not use up an appointed time: all say when they happen.
        options: dict[str, Any] = {"clock": lambda: clock.now}
        paced = cast(Log, self._paced)
        others = (Product, Shipment, Customer)
        self._until_2026 = Commands(paced, WebOrder, CentPayment, *others, **options)
        self._since_2026 = Commands(paced, Order, Payment, *others, **options)

    def done(self, orders: int) -> Simulated:
        """Do all of it."""
        for until in self._plan.windows(_WINDOW):
            for group in self._groups(self._plan.due(until)):
                self._send(group, until)
        kept = [one for one in self._plan.planted if self._log.event(one.event_id) is not None]
        return Simulated(
            orders,
            self._sent,
            self._accepted,
            dict(self._refused.most_common()),
            self._log.next_position,
            tuple(kept),
        )

    def _groups(self, steps: Iterable[Step]) -> Iterator[list[Step]]:
        """Yield steps that can be sent together; those of a group were sent when the next comes."""
        group: list[Step] = []
        reserving: set[_Key] = set()
        for step in steps:
            key = _stock(step)
            renewed = bool(group) and group[-1].at < NEW_YEAR <= step.at
            if renewed or key in reserving:
                yield group
                group, reserving = [], set()
            if key is not None:
                if isinstance(step.command, c.ReserveStock):
                    reserving.add(key)
                elif key in self._short:
                    self._called_off.add(self._short.pop(key).event_id)
                    continue
                if step.event_id in self._called_off:
                    continue
            group.append(step)
        if group:
            yield group

    def _send(self, group: list[Step], until: datetime) -> None:
        commands = self._until_2026 if group[0].at < NEW_YEAR else self._since_2026
        self._paced.times = {step.event_id: step.at for step in group}
        with commands.batch() as batch:
            sent = [batch.send(step.command, **step.envelope) for step in group]
        self._sent += len(group)
        for step, one in zip(group, sent, strict=True):
            ended = one.ended
            if isinstance(ended, CommandRejected):
                self._refused[ended.rule] += 1
                if not step.slip:
                    self._missed(step, ended, until)
            elif isinstance(ended, Outcome) and not step.slip:
                self._accepted += 1
                key = _stock(step)
                if key is not None:
                    self._short.pop(key, None)
            else:
                one.result()
                raise CommandError(f"no rule refused {step.command!r}, which is a slip")

    def _missed(self, step: Step, why: CommandRejected, until: datetime) -> None:
        """Do something about a step that a rule refused."""
        command, key = step.command, _stock(step)
        if isinstance(command, c.CountStock | c.ChangePrice):
            return  # somebody counted wrong, or did not hear that it is sold no more
        if key is None or not isinstance(command, c.ReserveStock):
            raise why
        # The supplier brings some more, and then it is tried again.
        at = max(until, step.at + _EXPRESS)
        self._plan.beside(
            c.DeliverStock,
            at,
            actor="supplier",
            after=step,
            tags=(),
            product_id=command.product_id,
            quantity=command.quantity + 4,
        )
        self._short[key] = self._plan.beside(
            c.ReserveStock,
            at + timedelta(minutes=1),
            actor=step.actor,
            after=step,
            product_id=command.product_id,
            order=command.order,
            quantity=command.quantity,
        )


def _stock(step: Step) -> _Key | None:
    """Return order and product of a step that is about goods for an order."""
    command = step.command
    if step.slip or not isinstance(command, c.ReserveStock | c.ReleaseStock):
        return None
    return command.order, command.product_id
