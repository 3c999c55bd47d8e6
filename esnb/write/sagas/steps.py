"""What a saga decides: of an event, of a time that has come, of how a command ended."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from esnb import instants, jsontext
from esnb.errors import CommandRejected, SagaError, StreamNotFoundError, shown
from esnb.event import RecordedEvent
from esnb.write.commands.dispatch import Outcome
from esnb.write.sagas.saga import Asked, Description, Retry
from esnb.write.sagas.state import (
    BEGAN,
    COMPENSATING,
    ENDED,
    FAILED,
    LATE,
    REACTED,
    REFUSED,
    RESUMED,
    SENT,
    STUCK,
    Head,
    State,
    text_of,
)

__all__ = ["Steps"]

_LONGEST = 500


class Steps:
    """The decisions of one saga class; each leaves its events pending in the state."""

    def __init__(self, description: Description) -> None:
        self._description = description

    def new(self, stream: str) -> State:
        """Return a saga that has not begun."""
        return State(stream, dict(self._description.initial))

    def react(self, state: State, event: RecordedEvent, now: datetime) -> None:
        """Ask the saga about an event of another stream."""
        begins = state.status == "new"
        handled = self._description.handlers.get(event.event_type)
        if state.still or handled is None or event.position <= state.seen:
            return
        if (begins and event.event_type not in self._description.begins) or (
            state.status == "compensating"
        ):
            state.seen = event.position
            return
        kind, function = handled
        on = {
            "event_id": event.event_id,
            "event_type": event.event_type,
            "position": event.position,
            "stream": event.stream,
        }
        talk = event.correlation_id or state.correlation_id or event.event_id

        def ask(saga: Any) -> None:
            function(saga, kind.from_recorded(event))

        moves = self._asked(
            state, now, function.__qualname__, ask, event.event_id, talk, at=event.position
        )
        if moves is None:
            return
        did, asked = moves
        if begins or did or asked.reason is not None:
            self._decided(
                state, BEGAN if begins else REACTED, {"on": on, **did}, asked, now,
                event.event_id, talk,
            )  # fmt: skip
        else:
            state.seen = event.position

    def late(self, state: State, what: str, now: datetime) -> None:
        """Tell the saga that something did not come in time."""
        told = {"what": what, "deadline": _iso(state.waits[what])}
        function = self._description.late.get(what)
        if function is None:
            state.add(LATE, told, now, cause=None)
            self._go_back(state, f"{what} did not come in time", now)
            return
        moves = self._asked(state, now, function.__qualname__, function, None, None)
        if moves is not None:
            did, asked = moves
            self._decided(state, LATE, {**told, **did}, asked, now, None, None)

    def ended(self, state: State, head: Head, how: Outcome | Exception, now: datetime) -> None:
        """Note how a command ended."""
        about = {
            "step": head.item["step"],
            "attempt": head.item["attempt"],
            "command": head.command,
            "command_id": str(head.command_id),
            "undoes": head.undoes,
        }
        if isinstance(how, Outcome):
            about |= {"stream": how.stream, "revision": how.revision, "events": len(how.events)}
            state.add(SENT, about, now, cause=str(head.command_id), correlation_id=_talk(head))
            self.settle(state, now)
            return
        refusal = isinstance(how, CommandRejected | StreamNotFoundError)
        reason = _clean(how.rule) if isinstance(how, CommandRejected) else _told(how)
        kind, field = (REFUSED, "rule") if refusal else (FAILED, "error")
        about[field] = reason
        told = head.item.get("retry")
        retry = self._description.retry if told is None else Retry.of(told)
        tries = state.tries + 1
        again = None
        if tries < retry.times and (not refusal or retry.refusals or head.undoes):
            again = now + retry.pause(tries)
        about |= {"tries": tries, "again": None if again is None else instants.iso(again)}

        def note(more: dict[str, Any]) -> None:
            state.add(
                kind, about | more, now, cause=str(head.command_id), correlation_id=_talk(head)
            )

        if again is not None:
            note({})
            return
        self._given_up(state, head, reason, now, note)

    def _given_up(
        self,
        state: State,
        head: Head,
        reason: str,
        now: datetime,
        note: Callable[[dict[str, Any]], None],
    ) -> None:
        """Decide what becomes of a step that failed for good."""
        step = head.item["step"]
        told = f"{'undoing ' if head.undoes else ''}{step}: {reason}"
        function = None if head.undoes else self._description.refused.get(step)
        if function is not None:

            def ask(saga: Any) -> None:
                function(saga, reason)

            cause, talk = head.item["cause"], head.item["talk"]
            moves = self._asked(state, now, function.__qualname__, ask, cause, talk, stuck=False)
            if isinstance(moves, str):
                note({})
                state.add(STUCK, {"reason": moves}, now, cause=None)
                return
            assert moves is not None  # noqa: S101 (said to the checker of types)
            did, asked = moves
            note({"dropped": True, **did})
            self._after(state, asked, now)
            return
        note({})
        if head.undoes or self._description.on_failure == "stuck":
            state.add(STUCK, {"reason": told}, now, cause=None)
        else:
            self._go_back(state, told, now)

    def resume(self, state: State, now: datetime, *, back: str | None = None) -> None:
        """Let a saga that is stuck go on, or go back."""
        if state.status != "stuck":
            raise SagaError(f"{shown(state.stream)} is {state.status}, and not stuck")
        state.add(RESUMED, {}, now, cause=None)
        if back is not None and state.status == "running":
            self._go_back(state, back, now)
        elif back is not None:
            raise SagaError(
                f"{shown(state.stream)} has nothing to take back: it is {state.status}; resume it"
            )

    def settle(self, state: State, now: datetime) -> None:
        """End a saga that has nothing more to do."""
        if state.status == "running" and state.finishing and not state.outbox:
            state.add(ENDED, {"status": "done"}, now, cause=None)
        elif state.status == "compensating" and not state.undo:
            state.add(ENDED, {"status": "compensated"}, now, cause=None)

    # --- within ------------------------------------------------------------------------------

    def _decided(
        self,
        state: State,
        kind: str,
        did: dict[str, Any],
        asked: Asked,
        now: datetime,
        cause: str | None,
        talk: str | None,
    ) -> None:
        state.add(kind, did, now, cause=cause, correlation_id=talk)
        self._after(state, asked, now)

    def _after(self, state: State, asked: Asked, now: datetime) -> None:
        if asked.reason is not None:
            self._go_back(state, asked.reason, now)
        else:
            self.settle(state, now)

    def _go_back(self, state: State, reason: str, now: datetime) -> None:
        state.add(COMPENSATING, {"reason": _clean(reason)}, now, cause=None)
        self.settle(state, now)

    def _asked(
        self,
        state: State,
        now: datetime,
        name: str,
        ask: Callable[[Any], None],
        cause: str | None,
        talk: str | None,
        *,
        at: int | None = None,
        stuck: bool = True,
    ) -> Any:
        """Return what a handler asks for, as JSON and as it was said; or get stuck.

        What cannot be written is the handler's error too.
        """
        try:
            description = self._description
            saga = object.__new__(description.owner)
            asked = Asked()
            held = vars(saga)
            held.update(description.read(state.fields))
            held["id"] = state.stream[len(description.category) + 1 :]
            held["stream"], held["now"], held["_asked"] = state.stream, now, asked
            ask(saga)
            did = self._did(state, asked, now, description.write(saga))
            jsontext.check_object(text_of({"did": did}))
        except Exception as error:
            reason = f"{name}: {_told(error)}"
            if not stuck:
                return reason
            # Resumed, it is asked about this event first.
            seen = {} if at is None else {"seen": at - 1}
            state.add(STUCK, {"reason": reason, **seen}, now, cause=cause, correlation_id=talk)
            return None
        return did, asked

    def _did(
        self, state: State, asked: Asked, now: datetime, fields: dict[str, Any]
    ) -> dict[str, Any]:
        did: dict[str, Any] = {}
        changed = {
            name: value
            for name, value in fields.items()
            # 1, 1.0 and True are equal, and not the same JSON.
            if repr(state.fields.get(name)) != repr(value)
        }
        if changed:
            did["set"] = changed
        attempts = dict(state.attempts)
        for item in asked.send:
            attempts[item["step"]] = item["attempt"] = attempts.get(item["step"], 0) + 1
        waits = {
            what: None if within is None else _iso(now + within)
            for what, within in asked.wait.items()
        }
        got = [what for what in asked.got if what in state.waits]
        for name, said in (
            ("send", asked.send), ("wait", waits), ("got", got), ("forget", asked.forget),
        ):  # fmt: skip
            if said:
                did[name] = said
        if asked.done:
            did["done"] = True
        return did


def _iso(at: datetime | None) -> str | None:
    return None if at is None else instants.iso(at)


def _talk(head: Head) -> str | None:
    talk: str | None = head.item["talk"]
    return talk


def _told(error: BaseException) -> str:
    return _clean(f"{type(error).__name__}: {' '.join(str(error).split())}")


def _clean(text: str) -> str:
    """Return a text of somebody else as one that can be written."""
    return text[:_LONGEST].encode(errors="replace").decode().replace("\x00", "\ufffd")
