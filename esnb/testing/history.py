"""What would have been refused: a recorded history, met by a class that was changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from esnb import instants
from esnb.aggregate import Aggregate, Event
from esnb.errors import CommandError, CommandRejected, shown
from esnb.event import RecordedEvent
from esnb.eventlog import EventLog
from esnb.show import html_table
from esnb.write.commands.command import Command
from esnb.write.commands.handlers import Handlers, Letter
from esnb.write.commands.recent import copied

if TYPE_CHECKING:
    import pandas as pd

    from esnb.timeline.hypothetical import WhatIf

__all__ = ["Refused", "Replayed", "replay"]

_MANY = 20
# What is told of the event itself.
_ABOUT = (
    "stream", "revision", "position", "event_id", "event_type", "occurred_on", "actor",
)  # fmt: skip
Asks = Mapping[type[Event] | str, Callable[[Any], Command | None]]


@dataclass(frozen=True)
class Refused:
    """An event that would not have been.

    Attributes
    ----------
    stream, revision, position, event_id, event_type, occurred_on, actor
        Of the event, the first of those of its command.
    command
        Name of the command that was refused; None where a guard refused the event itself.
    rule, facts
        Why.
    """

    stream: str
    revision: int
    position: int
    event_id: str
    event_type: str
    occurred_on: datetime
    actor: str | None
    command: str | None
    rule: str
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Replayed:
    """What came of a replay.

    Attributes
    ----------
    refused
        The events that would not have been, by position.
    asked
        How many commands were decided on (of guards: how many events were looked at).
    events
        How many events of the category there are.
    """

    log: EventLog = field(repr=False)
    kind: type[Aggregate]
    refused: tuple[Refused, ...] = field(repr=False)
    asked: int
    events: int
    _gone: tuple[int, ...] = field(repr=False)

    @property
    def rules(self) -> dict[str, int]:
        """How often each rule refused, the most often first."""
        return dict(Counter(one.rule for one in self.refused).most_common())

    def df(self) -> pd.DataFrame:
        """Return the refused events as a DataFrame, a row each."""
        import pandas as pd

        names = [one.name for one in fields(Refused)]
        return pd.DataFrame(
            [[getattr(one, name) for name in names] for one in self.refused], columns=names
        )

    def what_if(self) -> WhatIf:
        """Return the timeline of the history without the events that were refused.

        Raises
        ------
        TimelineError
            If none was.
        """
        return self.log.timeline(self.kind, unknown="keep").what_if(drop=list(self._gone))

    def __repr__(self) -> str:
        rules = "".join(f"\n  {count:,} by {rule!r}" for rule, count in self.rules.items())
        return (
            f"Replayed({self.kind.__name__}: {len(self.refused):,} of {self.asked:,} would have "
            f"been refused, {self.events:,} events){rules}"
        )

    def _repr_html_(self) -> str:
        names = ["stream", "revision", "event_type", "occurred_on", "actor", "command", "rule"]
        zone = self.log.zone or "UTC"
        rows = []
        for one in self.refused[:_MANY]:
            told = {name: getattr(one, name) for name in names}
            local = one.occurred_on.astimezone(instants.zone(zone))
            rows.append((*(told | {"occurred_on": local.isoformat(" ", "milliseconds")}).values(),))
        left = f", the first {_MANY} shown" if len(self.refused) > _MANY else ""
        return html_table(
            names,
            rows,
            caption=f"{len(self.refused):,} of {self.asked:,} would have been refused{left}; "
            f"times in {zone}",
        )


def replay(
    log: EventLog,
    kind: type[Aggregate],
    commands: Asks | None = None,
    *,
    handlers: Sequence[Callable[..., Any]] = (),
    cascade: bool = False,
) -> Replayed:
    """Tell what a changed class would have refused of a recorded history.

    Parameters
    ----------
    log
        The log.
    kind
        The class as it is now.
    commands
        For an event class or type, a function that makes the command which it came from, of the
        event; None for none.  The command is decided on with the state before the event.  Of
        the events of one command (they have its id as ``causation_id``) the first is asked.
        Without `commands` the guards of the class are asked (see `Timeline.breaches`).
    handlers
        Functions that handle commands, beside the methods of the class.
    cascade
        Whether what was refused did not happen for what comes after it; by default it did, and
        each command is decided on with the history as it was.

    Returns
    -------
    Replayed
        ``.refused``, ``.rules``, ``.df()``, and ``.what_if()`` for the consequences.

    Raises
    ------
    CommandError
        If a command that is made has no handler, or is for another stream, or if neither the
        class nor the log knows an event type of `commands`.

    Examples
    --------
    >>> replay(log, StrictOrder, {                                          # doctest: +SKIP
    ...     OrderConfirmed: lambda e: ConfirmOrder(order_id=e.stream)})
    Replayed(StrictOrder: 12 of 4,210 would have been refused, 31,004 events)
      12 by 'an order above 500 needs a check'
    """
    category = kind.description.category
    if commands is None:
        return _guards(log, kind)
    asks = {one if isinstance(one, str) else one.event_type: make for one, make in commands.items()}
    there = log.events(category=category).project("event_type").distinct().fetchall()
    for name in asks.keys() - kind.description.known - {name for (name,) in there}:
        raise CommandError(
            f"commands: {kind.__name__} and the log know no event type {shown(name)}; there are "
            f"{', '.join(map(shown, sorted(kind.description.known)))}"
        )
    deciding = _Deciding(kind, Handlers(kind, *handlers), asks, cascade)
    for event in log.read():
        if event.category == category:
            deciding.take(event)
    return Replayed(
        log, kind, tuple(deciding.refused), deciding.asked, deciding.events, tuple(deciding.gone)
    )


class _Deciding:
    """Decides on what was recorded, event after event."""

    def __init__(
        self,
        kind: type[Aggregate],
        handlers: Handlers,
        asks: Mapping[str, Callable[[Any], Command | None]],
        cascade: bool,
    ) -> None:
        self._kind, self._handlers, self._asks, self._cascade = kind, handlers, asks, cascade
        self._states: dict[str, Aggregate] = {}
        # Of each stream: the cause of its newest event, and whether that was refused.
        self._causes: dict[str, tuple[str | None, bool]] = {}
        self.refused: list[Refused] = []
        self.gone: list[int] = []
        self.asked = self.events = 0

    def take(self, recorded: RecordedEvent) -> None:
        self.events += 1
        stream = recorded.stream
        state = self._states.get(stream)
        if state is None:
            state = self._states[stream] = self._kind(stream)
        cause, gone = self._causes.get(stream, (None, False))
        if cause is None or cause != recorded.causation_id:
            gone = self._is_refused(state, recorded)
            self._causes[stream] = (recorded.causation_id, gone)
        if gone:
            self.gone.append(recorded.position)
        if not (gone and self._cascade) and (recorded.event_type in self._kind.description.known):
            state.replay(recorded)
            state.revision = recorded.revision

    def _is_refused(self, state: Aggregate, recorded: RecordedEvent) -> bool:
        make = self._asks.get(recorded.event_type)
        command = None if make is None else make(self._event(recorded))
        if command is None:
            return False
        if not isinstance(command, Command):
            raise CommandError(f"{recorded.event_type}: {shown(command)} is no command")
        handler = self._handlers.of(command)
        stream = command.stream_in(self._kind.description.category)
        if stream != recorded.stream:
            raise CommandError(
                f"the command made of the event at position {recorded.position} is for "
                f"{shown(stream)}, and the event is of {shown(recorded.stream)}"
            )
        self.asked += 1
        letter = Letter(command, actor=recorded.actor, occurred_on=recorded.occurred_on)
        try:
            handler.decide(copied(state), letter, recorded.occurred_on)
        except CommandRejected as error:
            about = {name: getattr(recorded, name) for name in _ABOUT}
            self.refused.append(
                Refused(**about, command=type(command).__name__, rule=error.rule, facts=error.facts)
            )
            return True
        return False

    def _event(self, recorded: RecordedEvent) -> Event | RecordedEvent:
        handled = self._kind.description.handlers.get(recorded.event_type)
        return recorded if handled is None else handled[0].from_recorded(recorded)


def _guards(log: EventLog, kind: type[Aggregate]) -> Replayed:
    """Ask the guards in the handlers of events."""
    timeline = log.timeline(kind, unknown="keep")
    rows = timeline.breaches().project(", ".join((*_ABOUT, "rule"))).fetchall()
    refused = [
        Refused(**dict(zip(_ABOUT, about, strict=True)), command=None, rule=rule)
        for *about, rule in rows
    ]
    found = log.events(category=kind.description.category).aggregate("count(*)").fetchone()
    count = 0 if found is None else int(found[0])
    return Replayed(log, kind, tuple(refused), count, count, tuple(one.position for one in refused))
