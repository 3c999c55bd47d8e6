"""A log in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from esnb import instants
from esnb.log.layout import Identity, Layout
from esnb.log.snapshot import Snapshot

__all__ = ["LogInfo", "describe"]


@dataclass(frozen=True)
class LogInfo:
    """A log in numbers.

    Attributes
    ----------
    events, streams
        How many.
    sealed
        How many of the events are in segments.
    segments, bytes
        How many files, and their size together with the tail's.
    manifest
        Number of the newest manifest.
    recorded, occurred
        First and last instant on either clock (UTC), or None for an empty log.
    """

    path: Path
    log_id: str
    zone: str | None
    created: str
    events: int
    streams: int
    sealed: int
    segments: int
    bytes: int
    manifest: int
    recorded: tuple[str, str] | None
    occurred: tuple[str, str] | None


def describe(layout: Layout, identity: Identity, snapshot: Snapshot, streams: int) -> LogInfo:
    """Return the log in numbers, without reading a segment."""
    spans: dict[str, tuple[str, str] | None] = {}
    for name in ("recorded_on", "occurred_on"):
        ends = [at for item in snapshot.segments for at in getattr(item, name)]
        unsealed = snapshot.tail[name].cast(pa.int64()).to_pylist()
        ends += [instants.from_micros(at) for at in unsealed]
        spans[name] = (instants.iso(min(ends)), instants.iso(max(ends))) if ends else None
    return LogInfo(
        path=layout.root,
        log_id=identity.log_id,
        zone=identity.zone,
        created=identity.created,
        events=snapshot.next_position,
        streams=streams,
        sealed=snapshot.watermark,
        segments=len(snapshot.segments),
        bytes=sum(item.bytes for item in snapshot.segments) + layout.tail.stat().st_size,
        manifest=snapshot.manifest.number,
        recorded=spans["recorded_on"],
        occurred=spans["occurred_on"],
    )
