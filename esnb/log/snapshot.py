"""A snapshot: one consistent view of the log, segments and tail together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pyarrow as pa

from esnb.errors import DamagedLogError
from esnb.log import manifest as manifests
from esnb.log.layout import Layout
from esnb.log.manifest import Manifest
from esnb.log.segment import Segment
from esnb.log.tail import Tail, table
from esnb.log.verified import Verified
from esnb.schema import NO_EVENTS

__all__ = ["Segment", "Snapshot", "Snapshots"]

_TRIES = 20


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The log at one moment.

    Attributes
    ----------
    next_position
        Number of events; positions run from 0 to one less.
    watermark
        Positions below it are in `segments`, the others in `tail`.
    segments
        Sealed files, in order of their first position.
    tail
        Table of EVENT_SCHEMA: the events from the watermark on.
    """

    manifest: Manifest
    next_position: int
    tail: pa.Table = field(repr=False)
    verified: Verified = field(repr=False)

    @property
    def watermark(self) -> int:
        return self.manifest.watermark

    @property
    def segments(self) -> tuple[Segment, ...]:
        return self.manifest.segments

    def touch(self, segments: Iterable[Segment]) -> None:
        """Check segments as the log's policy says; call it before reading their rows.

        Raises
        ------
        DamagedLogError
            Naming the file that is missing or altered.
        """
        self.verified.touch(segments)


class Snapshots:
    """Takes snapshots; keeps the last tail so that only new rows are read."""

    def __init__(self, layout: Layout, verified: Verified) -> None:
        self._layout = layout
        self.verified = verified
        self._manifest: Manifest | None = None
        self._start = 0
        self._rows: pa.Table = NO_EVENTS
        self._last: Snapshot | None = None

    def newest_manifest(self) -> Manifest:
        """Return the newest manifest."""
        self._manifest = manifests.newest(self._layout, self._manifest)
        return self._manifest

    def known_manifest(self) -> Manifest:
        """Return the newest manifest that was seen, without looking for a newer one."""
        return self._manifest or self.newest_manifest()

    def take(self, tail: Tail) -> Snapshot:
        """Return the log as it stands now."""
        for _ in range(_TRIES):
            manifest = self.newest_manifest()
            tail.begin_reading()
            try:
                state = tail.state()
                end = max(state.next_position, manifest.watermark)
                last = self._last
                if last is not None and last.manifest is manifest and last.next_position == end:
                    return last
                rows = self._tail_rows(tail, manifest.watermark, end)
            finally:
                tail.rollback()
            if state.manifest > manifest.number:
                if manifests.newest(self._layout, manifest) is manifest:
                    missing = self._layout.manifest(state.manifest)
                    raise DamagedLogError(missing, "the manifest is missing")
                continue
            if rows is not None:
                self._last = Snapshot(manifest, end, rows, self.verified)
                return self._last
            if manifests.newest(self._layout, manifest) is manifest:
                break
        raise DamagedLogError(
            tail.path, f"events from position {manifest.watermark} to {end - 1} are not all there"
        )

    def _tail_rows(self, tail: Tail, start: int, end: int) -> pa.Table | None:
        """Return rows start to end, or None when some are not there (sealed meanwhile, or lost)."""
        held_end = self._start + self._rows.num_rows
        if not self._start <= start <= held_end <= end:
            self._start, self._rows = start, NO_EVENTS
            held_end = start
        fresh = tail.rows(held_end, end)
        if len(fresh) != end - held_end:
            return None
        if fresh:
            # A position is the primary key, so as many rows as numbers are all of them.
            self._rows = pa.concat_tables([self._rows, table(fresh)])
            if self._rows.column(0).num_chunks > 64:
                self._rows = self._rows.combine_chunks()
        if start > self._start:
            self._rows = self._rows.slice(start - self._start)
            self._start = start
        return self._rows
