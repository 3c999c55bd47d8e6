"""Every error that esnb raises, in one tree.

Names end in ``Error`` except where the field has a settled word.  Each error
carries its facts as attributes and says what to do next.

::

    EsnbError
    ├── InputError (ValueError)        a value that cannot be accepted
    │   ├── InstantError               a time that is naive, out of range or unreadable
    │   ├── JsonError                  a payload that is not strict JSON
    │   ├── EventError                 an event with a missing or wrong field
    │   ├── SourceError                a file or frame that cannot be imported
    │   ├── SchemaError                an event class that cannot be, or does not know an event
    │   ├── AggregateError             an aggregate class that cannot be, or cannot fold an event
    │   ├── TimelineError              a question that a timeline cannot answer
    │   ├── CommandError               a command or handler that cannot be, or cannot be sent
    │   ├── SagaError                  a saga class that cannot be, or what a saga cannot do
    │   └── FlowError                  a flow, pattern or rule that cannot be asked
    ├── QueryError                     SQL that is refused or fails
    ├── ProjectionError                an event that a projection cannot take; it stops before it
    ├── SinkError                      the database of a read model is away, or refuses
    ├── CommandRejected                a command that a business rule refused
    └── LogError                       the log on disk
        ├── LogExistsError / LogNotFoundError / LogFormatError / LogBusyError
        ├── ReadOnlyLogError           a write on a read-only log or medium
        ├── StorageError (OSError)     the disk refused: full, read-only, failing
        ├── DamagedLogError            a file is missing, cut short or altered
        ├── CommitUncertain            published or not is unknown; retry with the same ids
        ├── StreamNotFoundError        no stream has this name
        ├── RevisionConflictError      the stream moved on
        ├── AppendConditionError       events matching the condition have arrived
        └── DuplicateEventError        one id, two contents
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "AggregateError",
    "AppendConditionError",
    "CommandError",
    "CommandRejected",
    "CommitUncertain",
    "DamagedLogError",
    "DuplicateEventError",
    "EsnbError",
    "EventError",
    "FlowError",
    "InputError",
    "InstantError",
    "JsonError",
    "LogBusyError",
    "LogError",
    "LogExistsError",
    "LogFormatError",
    "LogNotFoundError",
    "ProjectionError",
    "QueryError",
    "ReadOnlyLogError",
    "RevisionConflictError",
    "SagaError",
    "SchemaError",
    "SinkError",
    "SourceError",
    "StorageError",
    "StreamNotFoundError",
    "TimelineError",
]


class EsnbError(Exception):
    """Base of every error of esnb."""


class InputError(EsnbError, ValueError):
    """A value given to esnb cannot be accepted."""


class InstantError(InputError):
    """A time is naive where no zone is declared, out of range, or unreadable."""

    def __init__(self, value: object, reason: str) -> None:
        super().__init__(f"{shown(value)} is not an instant: {reason}")
        self.value = value
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.value, self.reason))


class JsonError(InputError):
    """A payload is not JSON as esnb accepts it (RFC 8259, unique keys, finite numbers).

    Attributes
    ----------
    reason
        What is wrong.
    offset
        Character where it is wrong, from 0, or ``None``.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason if offset is None else f"{reason} (at character {offset})")
        self.reason = reason
        self.offset = offset

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.reason, self.offset))


class EventError(InputError):
    """An event lacks a field or has one that cannot be accepted.

    Attributes
    ----------
    field
        The field at fault.
    row
        Row of the frame, from 0, when the event came in a frame.
    """

    def __init__(self, field: str, reason: str, *, row: int | None = None) -> None:
        where = "" if row is None else f"row {row}: "
        super().__init__(f"{where}{field}: {reason}")
        self.field = field
        self.reason = reason
        self.row = row

    def __reduce__(self) -> tuple[object, ...]:
        return (_event_error, (self.field, self.reason, self.row))


def _event_error(field: str, reason: str, row: int | None) -> EventError:
    return EventError(field, reason, row=row)


class SourceError(InputError):
    """A file or frame cannot be imported at all (a bad row is rejected in the ledger instead)."""


class SchemaError(InputError):
    """An event class cannot be made, or does not know a type or version of an event."""


class AggregateError(InputError):
    """An aggregate class cannot be made, or one of its handlers cannot take an event."""


class TimelineError(InputError):
    """A timeline cannot answer the question as it was asked."""


class FlowError(InputError):
    """A flow, a pattern or a rule cannot be asked as it was."""


class CommandError(InputError):
    """A command or a handler cannot be made, or a command cannot be sent."""


class SagaError(InputError):
    """A saga class cannot be made, or a saga cannot do what it is told to."""


class CommandRejected(EsnbError):
    """A business rule refused a command; nothing happened.

    A handler raises it with the rule, and with facts worth telling; whoever runs the handler
    adds the command, the stream and the revision on which it was decided.

    Parameters
    ----------
    rule
        The rule, in words: ``"only a pending order is confirmed"``.
    **facts
        What was found instead: ``status="shipped"``.

    Attributes
    ----------
    rule, facts
        As given.
    command
        The command, None until it is known.
    stream, revision
        The aggregate, and its newest event when it was decided; -1 for none.

    Examples
    --------
    >>> str(CommandRejected("only a pending order is confirmed", status="shipped"))
    "refused: only a pending order is confirmed (status='shipped')"
    """

    def __init__(self, rule: str, /, **facts: object) -> None:
        super().__init__(rule)
        self.rule = rule
        self.facts = facts
        self.command: object = None
        self.stream: str | None = None
        self.revision: int | None = None

    def __str__(self) -> str:
        about = ""
        if self.command is not None:
            about = f"{type(self.command).__name__} "
        if self.stream is not None:
            about += f"to {shown(self.stream)} (revision {self.revision}) "
        told = ", ".join(f"{name}={shown(value)}" for name, value in self.facts.items())
        return f"{about}{'was ' if about else ''}refused: {self.rule}" + (told and f" ({told})")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rejected, (self.rule, self.facts, self.command, self.stream, self.revision))


def _rejected(
    rule: str, facts: dict[str, object], command: object, stream: str, revision: int
) -> CommandRejected:
    error = CommandRejected(rule, **facts)
    error.command, error.stream, error.revision = command, stream, revision
    return error


class QueryError(EsnbError):
    """SQL is refused by the gate, or DuckDB cannot run it."""


class ProjectionError(EsnbError):
    """A projection cannot be made, or cannot take an event: it stops before that event.

    Attributes
    ----------
    projection
        Its name.
    position, event_id, event_type, stream
        The event, or None where it is not about one.
    handler
        Name of the handler at fault, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        projection: str | None = None,
        position: int | None = None,
        event_id: str | None = None,
        event_type: str | None = None,
        stream: str | None = None,
        handler: str | None = None,
    ) -> None:
        super().__init__(message)
        self.projection = projection
        self.position = position
        self.event_id = event_id
        self.event_type = event_type
        self.stream = stream
        self.handler = handler


class SinkError(EsnbError):
    """The database of a read model is away for too long, or refuses what is asked of it."""


class LogError(EsnbError):
    """Something about the log on disk."""


class LogExistsError(LogError):
    """A log is already there."""


class LogNotFoundError(LogError):
    """No log is there."""


class LogFormatError(LogError):
    """The log is of a format that this version of esnb does not know."""


class LogBusyError(LogError):
    """Another process holds a lock for too long."""


class ReadOnlyLogError(LogError):
    """The log is open for reading, or stands on a read-only folder or medium."""


class StorageError(LogError, OSError):
    """The operating system refused a read or a write (disk full, read-only, failing)."""

    def __init__(
        self, message: str, *, path: Path | str | None = None, code: int | None = None
    ) -> None:
        super().__init__(message)
        self.path = None if path is None else Path(path)
        self.errno = code

    def __str__(self) -> str:
        return str(self.args[0])


class DamagedLogError(LogError):
    """A file of the log is missing, cut short or altered.

    Attributes
    ----------
    path
        The file at fault.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason}. Nothing was read from it. "
            "Run `esnb verify` for the whole picture and restore the file from a backup."
        )
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.path, self.reason))


class CommitUncertain(LogError):
    """An error came after the events may have become durable.

    Append again with the same event ids: events that did arrive are not
    written twice.

    Attributes
    ----------
    event_ids
        Ids of the events in question.
    """

    def __init__(self, event_ids: Sequence[str], reason: str) -> None:
        super().__init__(
            f"it is not known whether {len(event_ids)} event(s) were written: {reason}. "
            "Append them again with the same event ids; what did arrive is not written twice."
        )
        self.event_ids = tuple(event_ids)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.event_ids, self.reason))


class StreamNotFoundError(LogError):
    """There is no stream of this name.

    Attributes
    ----------
    stream
        The name.
    near
        Streams that are there and are called much like it.
    """

    def __init__(self, stream: str, near: Sequence[str] = ()) -> None:
        advice = f"Did you mean {' or '.join(map(repr, near))}?" if near else "Check its name."
        super().__init__(f"there is no stream {shown(stream)}. {advice}")
        self.stream = stream
        self.near = tuple(near)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.stream, self.near))


class RevisionConflictError(LogError):
    """The stream is not at the revision that the writer expected.

    Attributes
    ----------
    stream
        The stream.
    expected
        What the writer expected: a revision, or ``NO_STREAM`` / ``EXISTS`` as text.
    actual
        Revision of the newest event, or ``None`` when the stream has none.
    """

    def __init__(self, stream: str, expected: int | str, actual: int | None) -> None:
        at = "does not exist" if actual is None else f"is at revision {actual}"
        super().__init__(
            f"stream {stream!r} {at}, expected {expected}. "
            "Load it again and decide on the new state."
        )
        self.stream = stream
        self.expected = expected
        self.actual = actual

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.stream, self.expected, self.actual))


class AppendConditionError(LogError):
    """Events that match the append condition have arrived after the given position.

    Attributes
    ----------
    position
        Position of the first such event.
    """

    def __init__(self, position: int, after: int) -> None:
        super().__init__(
            f"the event at position {position} matches the append condition and came after "
            f"position {after}. Read again from there and decide anew."
        )
        self.position = position
        self.after = after

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.position, self.after))


class DuplicateEventError(LogError):
    """An event id is in the log already, with other content.

    Attributes
    ----------
    event_id
        The id.
    fields
        Names of the fields that differ.
    """

    def __init__(self, event_id: str, fields: Sequence[str]) -> None:
        super().__init__(
            f"event id {event_id!r} is in the log already with another {', '.join(fields)}. "
            "An id names one event for ever: give the new event an id of its own."
        )
        self.event_id = event_id
        self.fields = tuple(fields)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.event_id, self.fields))


def shown(value: object, limit: int = 80) -> str:
    """Return ``repr(value)``, cut to `limit` characters, for an error text."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
