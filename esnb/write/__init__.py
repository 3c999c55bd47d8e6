"""The write side: commands, aggregates loaded from the log and saved to it, read models, sagas."""

from esnb.write.commands.command import Command
from esnb.write.commands.commands import Batch, Commands, Sent
from esnb.write.commands.dispatch import Outcome
from esnb.write.commands.handlers import handles
from esnb.write.commands.repository import Repository
from esnb.write.projections.projection import Projection, Table, on
from esnb.write.projections.readmodels import (
    DuckDBSink,
    MongoDBSink,
    PostgreSQLSink,
    RedisSink,
    Sink,
)
from esnb.write.projections.readmodels.sink import DeadLetter
from esnb.write.projections.runner import Lag, Runner
from esnb.write.projections.turns import Report
from esnb.write.sagas.runner import SagaReport, SagaRunner
from esnb.write.sagas.saga import Retry, Saga, late, refused

__all__ = [
    "Batch",
    "Command",
    "Commands",
    "DeadLetter",
    "DuckDBSink",
    "Lag",
    "MongoDBSink",
    "Outcome",
    "PostgreSQLSink",
    "Projection",
    "RedisSink",
    "Report",
    "Repository",
    "Retry",
    "Runner",
    "Saga",
    "SagaReport",
    "SagaRunner",
    "Sent",
    "Sink",
    "Table",
    "handles",
    "late",
    "on",
    "refused",
]
