"""Checking a whole log: chain, digests, positions, revisions, tail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from esnb import duck
from esnb.errors import DamagedLogError, EsnbError
from esnb.log import manifest, segment
from esnb.log.layout import Identity, Layout
from esnb.log.snapshot import Segment, Snapshot, Snapshots
from esnb.log.tail import Tail

__all__ = ["Finding", "VerifyReport", "verify"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: the file, and what."""

    path: Path
    problem: str


@dataclass(frozen=True)
class VerifyReport:
    """What `Log.verify` found.

    Attributes
    ----------
    events, segments, manifests
        How many were checked.
    full
        Whether every page was decoded and every number recounted.
    findings
        What is wrong; empty for a whole log.
    """

    events: int
    segments: int
    manifests: int
    full: bool
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.findings

    def __str__(self) -> str:
        counted = (
            f"{self.events:,} events in {self.segments} segments and the tail, "
            f"{self.manifests} manifests"
        )
        if self.ok:
            depth = "every row" if self.full else "digests and chain"
            return f"The log is whole ({depth} checked): {counted}."
        lines = [f"The log is damaged: {len(self.findings)} finding(s); {counted}."]
        return "\n".join(lines + [f"  {found.path}: {found.problem}" for found in self.findings])


def verify(layout: Layout, snapshots: Snapshots, tail: Tail, *, full: bool) -> VerifyReport:
    """Check everything that can be checked; see `Log.verify`."""
    findings: list[Finding] = []
    sound: list[Segment] = []
    count = 0

    def attempt(action: object, *arguments: object) -> bool:
        try:
            action(*arguments)  # type: ignore[operator]
        except DamagedLogError as error:
            findings.append(Finding(error.path, error.reason))
        except EsnbError as error:
            findings.append(Finding(layout.root, str(error)))
        else:
            return True
        return False

    attempt(Identity.read, layout)
    attempt(tail.check_all)
    try:
        for _ in manifest.chain(layout):
            count += 1
        snapshot = snapshots.take(tail)
    except DamagedLogError as error:
        findings.append(Finding(error.path, error.reason))
        return VerifyReport(0, 0, count, full, _unique(findings))
    for item in snapshot.segments:
        intact = attempt(snapshots.verified.check, item)
        if intact and full:
            intact = attempt(segment.read_segment, item)
        if intact:
            sound.append(item)
    if len(sound) == len(snapshot.segments):
        findings += _numbers(layout, snapshot.segments, snapshot.watermark, full=full)
        findings += _seam(layout, tail, snapshot.watermark)
        if full and not findings:
            findings += _heads(layout, tail, snapshot)
    return VerifyReport(
        snapshot.next_position, len(snapshot.segments), count, full, _unique(findings)
    )


def _unique(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(findings))


def _numbers(
    layout: Layout, segments: tuple[Segment, ...], watermark: int, *, full: bool
) -> list[Finding]:
    """Recount positions and revisions of the sealed events."""
    if sum(item.rows for item in segments) != watermark:
        return [Finding(layout.manifests, "the segments do not hold as many events as sealed")]
    if not full or not segments:
        return []
    paths = [str(item.path) for item in segments]
    with duck.connect() as connection:
        counted = connection.execute(
            "select count(*), count(distinct position), min(position), max(position)"
            " from read_parquet(?, hive_partitioning=false)",
            [paths],
        ).fetchone()
        broken = connection.execute(
            "select stream from read_parquet(?, hive_partitioning=false) group by stream"
            " having min(revision) <> 0 or max(revision) + 1 <> count(*)"
            " or count(distinct revision) <> count(*) limit 5",
            [paths],
        ).fetchall()
    findings = []
    if counted != (watermark, watermark, 0, watermark - 1):
        findings.append(Finding(layout.events, "positions have gaps or stand twice"))
    for (stream,) in broken:
        findings.append(Finding(layout.events, f"revisions of {stream!r} have gaps or stand twice"))
    return findings


def _seam(layout: Layout, tail: Tail, watermark: int) -> list[Finding]:
    """Check that the tail continues what is sealed."""
    findings = []
    revision: dict[str, int] = {}
    for row in tail.rows(watermark):
        before = revision.get(row.stream)
        if before is not None and row.revision != before + 1:
            findings.append(Finding(layout.tail, f"revisions of {row.stream!r} have gaps"))
        revision[row.stream] = row.revision
    return findings


def _heads(layout: Layout, tail: Tail, snapshot: Snapshot) -> list[Finding]:
    """Compare the head of every stream with its newest event."""
    noted: dict[str, list[object]] = {"stream": [], "revision": [], "position": []}
    for head in tail.heads():
        for column, value in zip(noted.values(), head, strict=True):
            column.append(value)
    kinds = {"stream": pa.string(), "revision": pa.int64(), "position": pa.int64()}
    paths = [str(item.path) for item in snapshot.segments]
    sealed = "select stream, revision, position from read_parquet(?, hive_partitioning=false)"
    with duck.connect() as connection:
        connection.register(
            "noted", pa.table({name: pa.array(noted[name], kinds[name]) for name in kinds})
        )
        connection.register("tail", snapshot.tail.select(["stream", "revision", "position"]))
        wrong = connection.execute(
            "select coalesce(noted.stream, real.stream) from noted full join ("  # noqa: S608
            " select stream, max(revision) as revision, max(position) as position from ("
            + (f"{sealed} union all " if paths else "")
            + " select * from tail) group by stream) as real on noted.stream = real.stream"
            " where (noted.revision, noted.position) is distinct from"
            " (real.revision, real.position) limit 5",
            [paths] if paths else [],
        ).fetchall()
    return [
        Finding(layout.tail, f"the head of stream {stream!r} is not its newest event")
        for (stream,) in wrong
    ]
