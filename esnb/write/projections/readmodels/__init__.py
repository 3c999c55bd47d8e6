"""Where read models stand: a DuckDB file, PostgreSQL, Redis, MongoDB.

The clients of the servers are imported when a sink is first opened.
"""

from esnb.write.projections.readmodels.duckdb import DuckDBSink
from esnb.write.projections.readmodels.mongodb import MongoDBSink
from esnb.write.projections.readmodels.postgresql import PostgreSQLSink
from esnb.write.projections.readmodels.redis import RedisSink
from esnb.write.projections.readmodels.sink import DeadLetter, Sink

__all__ = ["DeadLetter", "DuckDBSink", "MongoDBSink", "PostgreSQLSink", "RedisSink", "Sink"]
