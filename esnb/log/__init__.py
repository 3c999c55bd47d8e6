"""The log on disk: a SQLite tail, immutable Parquet segments, hash-chained manifests."""

from esnb.log.bulk import BulkResult
from esnb.log.finder import EventQuery
from esnb.log.info import LogInfo
from esnb.log.log import Glance, Log
from esnb.log.segment import Segment
from esnb.log.snapshot import Snapshot
from esnb.log.verify import Finding, VerifyReport
from esnb.log.writer import ANY, EXISTS, NO_STREAM, Append, Expected

__all__ = [
    "ANY",
    "EXISTS",
    "NO_STREAM",
    "Append",
    "BulkResult",
    "EventQuery",
    "Expected",
    "Finding",
    "Glance",
    "Log",
    "LogInfo",
    "Segment",
    "Snapshot",
    "VerifyReport",
]
