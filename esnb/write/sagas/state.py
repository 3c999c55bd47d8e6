"""Where a saga stands: the fold of its own events, each of which says what it changed.

A payload has ``status``, ``step``, ``waiting``, ``deadline``, ``tries`` and ``error`` as they are
after the event, so that a timeline of the category tells how every saga stood at any time; and
under ``did`` what the event changed, of which the state here is made, and of nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

from esnb import instants
from esnb.errors import SagaError, shown
from esnb.event import RecordedEvent

__all__ = [
    "BEGAN", "COMPENSATING", "ENDED", "FAILED", "LATE", "REACTED", "REFUSED", "RESUMED",
    "SENT", "STUCK", "TOLD", "Due", "Head", "State", "text_of",
]  # fmt: skip

BEGAN = "SagaBegan"
REACTED = "SagaReacted"
LATE = "SagaTimedOut"
SENT = "SagaSent"
REFUSED = "SagaRefused"
FAILED = "SagaFailed"
COMPENSATING = "SagaCompensating"
STUCK = "SagaStuck"
RESUMED = "SagaResumed"
ENDED = "SagaEnded"

# What every payload tells of the state, for timelines.
TOLD = ("status", "step", "waiting", "deadline", "tries", "error")

_NAMES = uuid5(NAMESPACE_URL, "esnb:saga")


class Head(NamedTuple):
    """The command of a saga that comes next.

    Attributes
    ----------
    command_id
        The same for this attempt at this step of this saga, whoever sends it, and how often.
    undoes
        Whether it takes a step back.
    """

    item: dict[str, Any]
    command: str
    fields: dict[str, Any]
    command_id: UUID
    undoes: bool


class Due(NamedTuple):
    """What a saga does when its time has come, and nothing else happened before.

    Attributes
    ----------
    what
        What was waited for; None where a command is to be tried again.
    """

    at: datetime
    what: str | None


@dataclass(slots=True)
class Pending:
    """An event that is not recorded yet."""

    kind: str
    data: dict[str, Any]
    event_id: str
    occurred_on: datetime
    correlation_id: str | None
    causation_id: str | None


@dataclass
class State:
    """A saga.

    Attributes
    ----------
    revision
        Of its newest event, pending ones too; -1 for none.
    status
        ``"new"``, ``"running"``, ``"compensating"``, ``"stuck"``, ``"done"``,
        ``"compensated"``.
    seen
        Position of the newest event that it was asked about.
    outbox
        Commands that are not accepted yet, in their order; the first may have been tried.
    undo
        Steps that are to be taken back should it go back, the newest last.
    waits
        What it waits for, and until when.
    pending
        Its events that are not recorded yet.
    """

    stream: str
    fields: dict[str, Any]
    revision: int = -1
    status: str = "new"
    step: str | None = None
    seen: int = -1
    outbox: list[dict[str, Any]] = field(default_factory=list)
    undo: list[dict[str, Any]] = field(default_factory=list)
    waits: dict[str, datetime | None] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    tries: int = 0
    again: datetime | None = None
    error: str | None = None
    finishing: bool = False
    correlation_id: str | None = None
    before: str = "new"
    pending: list[Pending] = field(default_factory=list)

    def replayed(self, events: Iterable[RecordedEvent]) -> State:
        """Take in recorded events, and return the saga."""
        for event in events:
            self.replay(
                event.revision, event.event_type, event.data_text, event.event_id,
                event.correlation_id, event.causation_id,
            )  # fmt: skip
        return self

    def replay(
        self,
        revision: int,
        kind: str,
        text: str,
        event_id: str,
        correlation_id: str | None,
        causation_id: str | None,
    ) -> None:
        """Take in a recorded event.

        Raises
        ------
        SagaError
            If it is none of a saga.
        """
        self.revision = revision
        did = json.loads(text).get("did")
        if did is None:
            raise SagaError(
                f"{shown(self.stream)} is the stream of a saga, and {shown(kind)} at revision "
                f"{revision} is no event of one; give the saga class another category"
            )
        self._take(kind, did, event_id, correlation_id, causation_id)

    def add(
        self,
        kind: str,
        did: dict[str, Any],
        now: datetime,
        *,
        cause: str | None,
        correlation_id: str | None = None,
    ) -> None:
        """Let something happen to the saga, to be recorded."""
        revision = self.revision + 1
        event_id = str(uuid5(_NAMES, f"{self.stream}@{revision}"))
        talk = correlation_id or self.correlation_id
        # Also what it was asked about and did nothing at, so that it is never asked again.
        seen = did["on"]["position"] if kind in (BEGAN, REACTED) else self.seen
        did = {"seen": seen, **did}
        self.revision = revision
        self._take(kind, did, event_id, talk, cause)
        data = {**self.told(), "did": did}
        self.pending.append(Pending(kind, data, event_id, now, talk, cause))

    def told(self) -> dict[str, Any]:
        """Return what its payloads tell of it."""
        until = min((at for at in self.waits.values() if at is not None), default=None)
        return {
            "status": self.status,
            "step": self.step,
            "waiting": ", ".join(self.waits) or None,
            "deadline": None if until is None else instants.iso(until),
            "tries": self.tries,
            "error": self.error,
        }

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.status in ("done", "compensated")

    @property
    def still(self) -> bool:
        """Whether it does nothing by itself any more."""
        return self.ended or self.status == "stuck"

    def head(self) -> Head | None:
        """Return the command that comes next."""
        if self.status == "running" and self.outbox:
            item, undoes = self.outbox[0], False
        elif self.status == "compensating" and self.undo:
            item, undoes = self.undo[-1], True
        else:
            return None
        said = item["undo"] if undoes else item
        name = "\x00".join(
            (self.stream, "undo" if undoes else "step", item["step"], str(item["attempt"]))
        )
        return Head(item, said["command"], said["fields"], _uuid(name), undoes)

    def ready(self, until: datetime | None) -> bool:
        """Tell whether a command is to be sent now: a fresh one, or again until a moment."""
        if self.head() is None:
            return False
        if not self.tries:
            return True
        due = None if until is None else self.due()
        return due is not None and due.what is None and until is not None and due.at <= until

    def due(self) -> Due | None:
        """Return what comes when nothing else does, the earliest."""
        found = [Due(at, what) for what, at in self.waits.items() if at is not None]
        if self.tries and self.again is not None and self.head() is not None:
            found.append(Due(self.again, None))
        if self.still or not found:
            return None
        return min(found, key=lambda due: (due.at, due.what or ""))

    # --- the fold ----------------------------------------------------------------------------

    def _take(
        self, kind: str, did: dict[str, Any], event_id: str, talk: str | None, cause: str | None
    ) -> None:
        self.seen = did["seen"]
        if kind in (BEGAN, REACTED):
            self.status = "running"
            self.correlation_id = talk
            self._moved(did, cause, talk)
        elif kind == LATE:
            self.waits.pop(did["what"], None)
            self._moved(did, event_id, talk)
        elif kind == SENT:
            self._sent(did)
        elif kind in (REFUSED, FAILED):
            self.tries += 1
            self.again = _instant(did.get("again"))
            self.step = did["step"]
            self.error = did.get("rule", did.get("error"))
            if did.get("dropped"):
                self.outbox.pop(0)
                self.tries, self.again = 0, None
                self._moved(did, event_id, talk)
        elif kind == COMPENSATING:
            self.status, self.error = "compensating", did["reason"]
            self.outbox.clear()
            self.waits.clear()
            self.finishing = False
            self.tries, self.again = 0, None
            for item in self.undo:
                item["cause"] = event_id
        elif kind == STUCK:
            self.before, self.status = self.status, "stuck"
            self.error, self.again = did["reason"], None
        elif kind == RESUMED:
            self.status = self.before
            self.error, self.tries, self.again = None, 0, None
        elif kind == ENDED:
            self.status = did["status"]
            self.waits.clear()

    def _moved(self, did: dict[str, Any], cause: str | None, talk: str | None) -> None:
        """Take in what a handler asked for."""
        self.fields.update(did.get("set", {}))
        for step in did.get("forget", ()):
            self.undo = [item for item in self.undo if item["step"] != step]
        for item in did.get("send", ()):
            self.attempts[item["step"]] = item["attempt"]
            self.outbox.append({**item, "cause": cause, "talk": talk})
        for what in did.get("got", ()):
            self.waits.pop(what, None)
        for what, at in did.get("wait", {}).items():
            self.waits[what] = _instant(at)
        self.finishing = self.finishing or bool(did.get("done"))

    def _sent(self, did: dict[str, Any]) -> None:
        self.step = did["step"]
        self.tries, self.again = 0, None
        if self.status == "compensating":
            self.undo.pop()
            return
        self.error = None
        item = self.outbox.pop(0)
        if did["events"] and "undo" in item:
            self.undo = [other for other in self.undo if other["step"] != item["step"]]
            self.undo.append(item)


def text_of(data: dict[str, Any]) -> str:
    """Return JSON values as text, several times faster than an event makes it of a mapping.

    Raises
    ------
    ValueError
        If there is a number among them that JSON does not have.
    """
    return json.dumps(
        data, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else instants.instant(text)


def _uuid(name: str) -> UUID:
    # What uuid5 does; the name may hold what no text of a command line can.
    digest = hashlib.sha1(_NAMES.bytes + name.encode(), usedforsecurity=False).digest()
    return UUID(bytes=digest[:16], version=5)
