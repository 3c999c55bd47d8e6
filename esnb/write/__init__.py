"""The write side: commands, aggregates loaded from the log and saved to it, read models, sagas."""

from esnb.write.command import Command
from esnb.write.commands import Batch, Commands, Sent
from esnb.write.dispatch import Outcome
from esnb.write.handlers import handles
from esnb.write.projection import Projection, Table, on
from esnb.write.readmodels import DuckDBSink, MongoDBSink, PostgreSQLSink, RedisSink
from esnb.write.repository import Repository
from esnb.write.runner import Runner
from esnb.write.saga import Retry, Saga, late, refused
from esnb.write.sagarunner import SagaReport, SagaRunner

__all__ = [
    "Batch",
    "Command",
    "Commands",
    "DuckDBSink",
    "MongoDBSink",
    "Outcome",
    "PostgreSQLSink",
    "Projection",
    "RedisSink",
    "Repository",
    "Retry",
    "Runner",
    "Saga",
    "SagaReport",
    "SagaRunner",
    "Sent",
    "Table",
    "handles",
    "late",
    "on",
    "refused",
]
