"""Collecting made-up events, seeded, and putting them in the order in which they were known."""

from __future__ import annotations

import json
import random
import uuid
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

Payload = dict[str, Any]


class Recorder:
    """Collects events; a chain of them hangs together by causation and correlation."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.rows: list[Payload] = []

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def between(self, shortest: timedelta, longest: timedelta) -> timedelta:
        span = (longest - shortest) // timedelta(milliseconds=1)
        return shortest + timedelta(milliseconds=self.random.randrange(max(span, 1)))

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def event(
        self,
        stream: str,
        event_type: str,
        at: datetime,
        data: Payload,
        *,
        actor: str,
        recorded: datetime | None = None,
        after: Payload | None = None,
        tags: list[str] | None = None,
        version: int = 1,
    ) -> Payload:
        """Note one event; return it, to be given as the cause of the next."""
        event_id = self.new_id()
        row = {
            "event_id": event_id,
            "stream": stream,
            "event_type": event_type,
            "schema_version": version,
            "occurred_on": at,
            "recorded_on": recorded or at + self.between(timedelta(0), timedelta(seconds=2)),
            "actor": actor,
            "correlation_id": after["correlation_id"] if after else event_id,
            "causation_id": after["event_id"] if after else None,
            "tags": after["tags"] if after and tags is None else tags or [],
            "data": json.dumps(data, ensure_ascii=False),
        }
        self.rows.append(row)
        return row

    def table(self, end: datetime) -> pa.Table:
        """Return the events that were known before `end`, in the order of their recording."""
        # What was not known by the end is not in the log.
        known = [row for row in self.rows if row["recorded_on"] < end]
        known.sort(key=lambda row: row["recorded_on"])
        clock = pa.timestamp("us", tz="UTC")
        schema = pa.schema(
            {name: pa.string() for name in known[0]}
            | {"schema_version": pa.int32(), "tags": pa.list_(pa.string())}
            | {"occurred_on": clock, "recorded_on": clock}
        )
        return pa.Table.from_pylist(known, schema)
