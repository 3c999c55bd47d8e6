"""Sealing the tail into segments, merging small segments, taking old files away.

Any of it can stop anywhere: before its manifest is linked nothing has changed,
after it everything has.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa

from esnb.errors import CommitUncertain, DamagedLogError, LogError
from esnb.log import files, locks, manifest, segment
from esnb.log.ids import IdIndex
from esnb.log.layout import Layout
from esnb.log.manifest import Manifest
from esnb.log.segment import MAX_ROWS, Segment
from esnb.log.snapshot import Snapshots
from esnb.log.tail import Tail, table
from esnb.log.writer import Writer

__all__ = ["Maintenance", "discard"]

_SEAL_ROWS = 65_536
_SEAL_BYTES = 256 * 1024 * 1024
_FAN_IN = 8
_SMALLEST = 10_000
_KEPT_MANIFESTS = 20


class Maintenance:
    """Seals, compacts and cleans one log; one process at a time does."""

    def __init__(
        self, layout: Layout, snapshots: Snapshots, writer: Writer, ids: IdIndex, timeout: float
    ) -> None:
        self._layout = layout
        self._snapshots = snapshots
        self._writer = writer
        self._ids = ids
        self._timeout = timeout

    def seal(self, *, wait: bool = True) -> int:
        """Move the tail into segments; return how many events were sealed.

        Without `wait`, 0 is returned when another process is at it.
        """
        with (
            locks.held(self._layout.maintain_lock, self._timeout)
            if wait
            else locks.try_held(self._layout.maintain_lock) as mine
        ):
            return 0 if mine is False else self._seal()

    def _seal(self) -> int:
        before = self._snapshots.newest_manifest()
        made, end = self.write_tail(before)
        if not made:
            return 0
        self.publish(before, [*before.segments, *made], end, "seal", made)
        with self._writer.transaction([]) as (tail, state):
            # Readers may still hold the manifest before, so what it left to the tail stays.
            tail.purge(before.watermark)
            tail.put_state(state)
        return end - before.watermark

    def write_tail(self, before: Manifest, end: int | None = None) -> tuple[list[Segment], int]:
        """Write the tail as segments; return them and the position after the last event."""
        made: list[Segment] = []
        tail = Tail(self._layout.tail)
        try:
            end = tail.state().next_position if end is None else end
            start = before.watermark
            while start < end:
                rows = _portion(tail, start, end)
                made += self._write(rows)
                start += rows.num_rows
        except BaseException:
            discard(made)
            raise
        finally:
            tail.close()
        return made, end

    def _write(self, rows: pa.Table) -> list[Segment]:
        made = []
        with files.storage_errors(self._layout.events, "sealing"):
            for month, chosen in segment.divide(rows):
                part = rows.take(pa.array(chosen))
                item = segment.write(self._layout.events, month, part)
                made.append(item)
                self._ids.add(item, part["event_id"])
        return made

    def compact(self, *, wait: bool = True, everything: bool = True, grace: float = 3600) -> int:
        """Merge small segments of a month; return how many files fewer there are.

        With `everything`, each month becomes as few files as possible; without,
        only groups of eight of like size are merged, so that each event is
        rewritten a few times in its life.
        """
        with (
            locks.held(self._layout.maintain_lock, self._timeout)
            if wait
            else locks.try_held(self._layout.maintain_lock) as mine
        ):
            if mine is False:
                return 0
            before = self._snapshots.newest_manifest()
            groups = _all_small(before.segments) if everything else _like_sized(before.segments)
            segments = list(before.segments)
            made: list[Segment] = []
            with files.storage_errors(self._layout.events, "compacting"):
                for group in groups:
                    merged = self._merge(group)
                    made += merged
                    segments = [item for item in segments if item not in group] + merged
            if made:
                self.publish(before, segments, before.watermark, "compact", made)
                with self._writer.transaction([]) as (tail, state):
                    tail.put_state(state)
            self._clean(grace)
            return len(before.segments) - len(segments)

    def publish(
        self,
        before: Manifest,
        segments: Sequence[Segment],
        watermark: int,
        operation: str,
        made: Sequence[Segment],
    ) -> Manifest:
        """Publish a manifest; take the files made for it away when that surely failed."""
        path = self._layout.manifest(before.number + 1)
        try:
            done = manifest.publish(self._layout, before, segments, watermark, operation)
        except FileExistsError:
            discard(made)
            raise LogError(f"{path} is there already: another process changed the log") from None
        except OSError as error:
            if getattr(error, "published", False):
                raise CommitUncertain([], str(files.refused(path, "publishing", error))) from error
            discard(made)
            raise files.refused(path, "publishing", error) from error
        self._snapshots.verified.trust(made)
        return done

    def _merge(self, group: Sequence[Segment]) -> list[Segment]:
        for item in group:
            self._snapshots.verified.check(item)
        whole = pa.concat_tables([segment.read_segment(item) for item in group])
        made = self._write(whole)
        if sum(item.rows for item in made) != sum(item.rows for item in group):
            discard(made)
            raise LogError("compaction would have lost events; nothing was changed")
        return made

    def _clean(self, grace: float) -> None:
        """Take away files that no recent manifest names, once no reader can need them."""
        newest = self._snapshots.newest_manifest()
        with files.storage_errors(self._layout.root, "cleaning up"):
            self._take_away(newest, grace)
        self._ids.keep(newest.segments)

    def _take_away(self, newest: Manifest, grace: float) -> None:
        now = time.time()
        wanted: set[Path] = set()
        for number in range(newest.number, 0, -1):
            path = self._layout.manifest(number)
            young = now - path.stat().st_mtime < grace
            if not young and newest.number - number >= _KEPT_MANIFESTS:
                break
            if young or number == newest.number or grace > 0:
                wanted |= manifest.paths([manifest.read(self._layout, number)])
        for folder in (self._layout.events, self._layout.manifests, self._layout.derived / "ids"):
            for path in folder.rglob("*"):
                unfinished = path.name.startswith(files.TEMPORARY)
                dead = path.suffix == ".parquet" and path not in wanted
                with suppress(FileNotFoundError):
                    if (unfinished or dead) and now - path.stat().st_mtime >= grace:
                        path.unlink()


def discard(made: Sequence[Segment]) -> None:
    """Take away segments that no manifest names."""
    for item in made:
        with suppress(OSError):
            item.path.unlink()


def _portion(tail: Tail, start: int, end: int) -> pa.Table:
    """Return the next rows to seal: not too many, not too large, none missing."""
    rows = tail.rows(start, min(end, start + _SEAL_ROWS))
    if not rows or rows[-1].position - start + 1 != len(rows):
        raise DamagedLogError(tail.path, f"events after position {start} are not all there")
    size = 0
    for count, row in enumerate(rows):
        size += len(row.data) + len(row.metadata)
        if size > _SEAL_BYTES and count:
            return table(rows[:count])
    return table(rows)


def _by_month(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = defaultdict(list)
    for item in segments:
        found[Path(item.name).parent.name].append(item)
    return found


def _all_small(segments: Sequence[Segment]) -> list[list[Segment]]:
    months = _by_month([item for item in segments if item.rows < MAX_ROWS // 2])
    return [group for group in months.values() if len(group) > 1]


def _like_sized(segments: Sequence[Segment]) -> list[list[Segment]]:
    groups = []
    for month in _by_month([item for item in segments if item.rows < MAX_ROWS // 2]).values():
        classes: dict[int, list[Segment]] = defaultdict(list)
        for item in month:
            rank = 0
            while item.rows > _SMALLEST * _FAN_IN**rank:
                rank += 1
            classes[rank].append(item)
        groups += [group for group in classes.values() if len(group) >= _FAN_IN]
    return groups
