"""esnb: the event-history toolkit for JupyterLab.

    A state at a time is the fold of the events up to that time.

>>> import esnb, tempfile
>>> log = esnb.create(tempfile.mkdtemp() + "/log", zone="UTC")
>>> log.append("order-1", esnb.DomainEvent("OrderPlaced", {"status": "pending", "total": 10}))
(RecordedEvent(position=0, 'order-1', revision=0, 'OrderPlaced', ...),)
>>> log.append("order-1", esnb.DomainEvent("OrderPaid", {"status": "paid"}), expected_revision=0)
(RecordedEvent(position=1, 'order-1', revision=1, 'OrderPaid', ...),)
>>> log.timeline("order").as_of(0).project("stream, status, total").fetchall()
[('order-1', 'pending', 10)]
>>> log.close()
"""

from importlib import import_module

from esnb._face import create, flow, open, read, restore
from esnb.aggregate import Aggregate, Event
from esnb.errors import (
    AggregateError,
    AppendConditionError,
    CommandError,
    CommandRejected,
    CommitUncertain,
    DamagedLogError,
    DuplicateEventError,
    EsnbError,
    EventError,
    FlowError,
    InputError,
    InstantError,
    JsonError,
    LogBusyError,
    LogError,
    LogExistsError,
    LogFormatError,
    LogNotFoundError,
    ProjectionError,
    QueryError,
    ReadOnlyLogError,
    RevisionConflictError,
    SagaError,
    SchemaError,
    SinkError,
    SourceError,
    StorageError,
    StreamNotFoundError,
    TimelineError,
)
from esnb.event import DomainEvent, RecordedEvent
from esnb.eventlog import EventLog
from esnb.flow import Flow, ObjectFlow, rules
from esnb.log import ANY, EXISTS, NO_STREAM, Append, EventQuery
from esnb.source import constant, import_events
from esnb.timeline import Timeline
from esnb.timeline.sketch import sketch
from esnb.write import Command, Commands, Outcome, Repository, Retry, Saga, handles, late, refused

__all__ = [
    "ANY",
    "EXISTS",
    "NO_STREAM",
    "Aggregate",
    "AggregateError",
    "Append",
    "AppendConditionError",
    "Command",
    "CommandError",
    "CommandRejected",
    "Commands",
    "CommitUncertain",
    "DamagedLogError",
    "DomainEvent",
    "DuplicateEventError",
    "EsnbError",
    "Event",
    "EventError",
    "EventLog",
    "EventQuery",
    "Flow",
    "FlowError",
    "InputError",
    "InstantError",
    "JsonError",
    "LogBusyError",
    "LogError",
    "LogExistsError",
    "LogFormatError",
    "LogNotFoundError",
    "ObjectFlow",
    "Outcome",
    "ProjectionError",
    "QueryError",
    "ReadOnlyLogError",
    "RecordedEvent",
    "Repository",
    "Retry",
    "RevisionConflictError",
    "Saga",
    "SagaError",
    "SchemaError",
    "SinkError",
    "SourceError",
    "StorageError",
    "StreamNotFoundError",
    "Timeline",
    "TimelineError",
    "constant",
    "create",
    "flow",
    "handles",
    "import_events",
    "late",
    "open",
    "read",
    "refused",
    "restore",
    "rules",
    "sketch",
]


def load_ipython_extension(shell: object) -> None:
    """Make ``%%esql`` and ``df.es`` known to a notebook: ``%load_ext esnb``."""
    from esnb import magic

    magic.load(shell)
    import_module("esnb.pandas")


def __getattr__(name: str) -> object:
    """Load the widgets when somebody asks for them: they cost a second."""
    if name == "widget":
        return import_module("esnb.widget")
    if name == "explore":
        return import_module("esnb.widget.explore").explore
    raise AttributeError(f"module 'esnb' has no attribute {name!r}")
