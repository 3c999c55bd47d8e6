"""The write side: commands, aggregates loaded from the log and saved to it, read models, sagas."""

from esnb.write.command import Command
from esnb.write.commands import Batch, Commands, Sent
from esnb.write.dispatch import Outcome
from esnb.write.handlers import handles
from esnb.write.projection import Projection, Table, on
from esnb.write.readmodels import DuckDBSink, MongoDBSink, PostgreSQLSink, RedisSink, Sink
from esnb.write.readmodels.sink import DeadLetter
from esnb.write.repository import Repository
from esnb.write.runner import Lag, Runner
from esnb.write.saga import Retry, Saga, late, refused
from esnb.write.sagarunner import SagaReport, SagaRunner
from esnb.write.turns import Report

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
