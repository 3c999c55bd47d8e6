"""Steps of a plan: who sends which command, and when, in the order in which they are sent."""

from __future__ import annotations

import heapq
import random
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from esnb.examples.shop.world import END
from esnb.write import Command
from esnb.write.commands.handlers import event_id_of

__all__ = ["Step", "Steps"]


@dataclass(slots=True)
class Step:
    """A command that somebody is going to send.

    Attributes
    ----------
    at
        When it is sent, and so when the shop hears of what happened.
    occurred_on
        When it happened.
    correlation_id, causation_id
        The conversation; the event that it follows from.
    slip
        A slip of somebody, which a rule has to refuse.
    """

    at: datetime
    command: Command
    actor: str
    occurred_on: datetime
    correlation_id: str
    causation_id: str | None
    tags: tuple[str, ...]
    slip: bool

    @property
    def event_id(self) -> str:
        """The id that its event will have."""
        return event_id_of(self.command.command_id, 0)

    @property
    def envelope(self) -> dict[str, Any]:
        """What is said beside the command when it is sent."""
        return {
            "actor": self.actor,
            "occurred_on": self.occurred_on,
            "correlation_id": self.correlation_id,
            "causation_id": self.causation_id,
            "tags": self.tags,
        }


class Steps:
    """Steps as they are planned; they come out by the time at which they are sent.

    What is planned for one moment comes out in the order in which it was planned.

    Parameters
    ----------
    seed
        Everything that is left to chance follows from it: ids too.
    """

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 (nothing secret)
        # Of its own, so that the storehouse does not change what customers do.
        self.aside = random.Random(f"storehouse {seed}")  # noqa: S311
        self._heap: list[tuple[datetime, int, Step]] = []
        self._planned = 0

    def between(self, shortest: timedelta, longest: timedelta) -> timedelta:
        """Return a span by chance, in whole milliseconds."""
        span = (longest - shortest) // timedelta(milliseconds=1)
        return shortest + timedelta(milliseconds=self.random.randrange(max(span, 1)))

    def chance(self, share: float) -> bool:
        """Tell whether something happens that does in a share of all cases."""
        return self.random.random() < share

    def plan(
        self,
        command: type[Command],
        at: datetime,
        *,
        actor: str,
        sent: datetime | None = None,
        after: Step | None = None,
        tags: tuple[str, ...] | None = None,
        slip: bool = False,
        **fields: Any,
    ) -> Step:
        """Note that a command is to be sent; return the step, to be given as cause of the next.

        Parameters
        ----------
        at
            When it happens.
        sent
            When the shop hears of it: within two seconds by default.
        after
            What it follows from.
        tags
            Those of `after` by default.
        **fields
            Of the command.
        """
        chosen = uuid.UUID(int=self.random.getrandbits(128), version=4)
        if sent is None:
            sent = at + self.between(timedelta(0), timedelta(seconds=2))
        return self._noted(command, chosen, at, sent, actor, after, tags, slip, fields)

    def beside(
        self,
        command: type[Command],
        at: datetime,
        *,
        actor: str,
        sent: datetime | None = None,
        after: Step | None = None,
        tags: tuple[str, ...] | None = None,
        slip: bool = False,
        **fields: Any,
    ) -> Step:
        """Note a step as `plan` does, without touching the chances of what customers do."""
        chosen = uuid.UUID(int=self.aside.getrandbits(128), version=4)
        return self._noted(command, chosen, at, sent or at, actor, after, tags, slip, fields)

    def _noted(
        self,
        command: type[Command],
        command_id: uuid.UUID,
        at: datetime,
        sent: datetime,
        actor: str,
        after: Step | None,
        tags: tuple[str, ...] | None,
        slip: bool,
        fields: dict[str, Any],
    ) -> Step:
        step = Step(
            sent,
            command(command_id=command_id, **fields),
            actor,
            at,
            after.correlation_id if after else str(command_id),
            after.event_id if after else None,
            (after.tags if after else ()) if tags is None else tags,
            slip,
        )
        self.put(step)
        return step

    def put(self, step: Step) -> None:
        """Note a step; what would be sent when all is over never is."""
        if step.at < END:
            heapq.heappush(self._heap, (step.at, self._planned, step))
            self._planned += 1

    def due(self, before: datetime) -> list[Step]:
        """Take out the steps that are sent before a moment, in order."""
        found = []
        while self._heap and self._heap[0][0] < before:
            found.append(heapq.heappop(self._heap)[2])
        return found

    @property
    def next(self) -> datetime | None:
        """When the next step is sent; None when there are no more."""
        return self._heap[0][0] if self._heap else None
