"""Sealed segments: immutable Parquet files, sorted by stream and revision.

The choices (20,480 rows a group, zstd 3, Bloom filters by pyarrow, page
checksums) are the measured ones of docs/architecture.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from esnb import instants
from esnb.errors import DamagedLogError
from esnb.log import files
from esnb.schema import COLUMNS, EVENT_SCHEMA

__all__ = ["MAX_ROWS", "Segment", "months", "read_segment", "write_month"]

MAX_ROWS = 1_000_000
_GROUP_ROWS = 20_480
_FULL_MONTH = 10_000
_MANY_CATEGORIES = 256
_BLOOM = ("event_id", "stream", "correlation_id", "causation_id")
_ENCODING = {
    "position": "DELTA_BINARY_PACKED",
    "revision": "DELTA_BINARY_PACKED",
    "occurred_on": "DELTA_BINARY_PACKED",
    "recorded_on": "DELTA_BINARY_PACKED",
    "stream": "DELTA_BYTE_ARRAY",
}


@dataclass(frozen=True)
class Segment:
    """One sealed file, as its manifest describes it.

    Ranges are inclusive: positions, stream names (by code point), instants.
    """

    path: Path
    name: str
    first: int
    last: int
    rows: int
    bytes: int
    sha256: str
    stream: tuple[str, str]
    occurred_on: tuple[datetime, datetime]
    recorded_on: tuple[datetime, datetime]
    categories: tuple[str, ...] | None

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.name,
            "first": self.first,
            "last": self.last,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "stream": list(self.stream),
            "occurred_on": [instants.iso(at) for at in self.occurred_on],
            "recorded_on": [instants.iso(at) for at in self.recorded_on],
            "categories": None if self.categories is None else list(self.categories),
        }

    @classmethod
    def from_json(cls, folder: Path, fields: dict[str, Any]) -> Segment:
        span = {
            name: (instants.instant(fields[name][0]), instants.instant(fields[name][1]))
            for name in ("occurred_on", "recorded_on")
        }
        categories = fields["categories"]
        return cls(
            path=folder / fields["path"],
            name=fields["path"],
            first=fields["first"],
            last=fields["last"],
            rows=fields["rows"],
            bytes=fields["bytes"],
            sha256=fields["sha256"],
            stream=(fields["stream"][0], fields["stream"][1]),
            categories=None if categories is None else tuple(categories),
            **span,
        )


def months(events: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Split events by the month (UTC) in which they were recorded.

    Sparse months share a part, named after the first of them: a history of
    decades must not become hundreds of files with a handful of rows.
    """
    at = events["recorded_on"]
    month = pc.add(pc.multiply(pc.year(at), 12), pc.subtract(pc.month(at), 1))
    counts = sorted((item["values"], item["counts"]) for item in pc.value_counts(month).to_pylist())
    parts: list[list[int]] = []
    rows = _FULL_MONTH
    for number, count in counts:
        if rows >= _FULL_MONTH:
            parts.append([])
            rows = 0
        parts[-1].append(number)
        rows += count
    for numbers in parts:
        name = f"{numbers[0] // 12:04d}-{numbers[0] % 12 + 1:02d}"
        whole = len(parts) == 1
        yield name, events if whole else events.filter(pc.is_in(month, pa.array(numbers)))


def write_month(folder: Path, month: str, events: pa.Table) -> Iterator[tuple[Segment, pa.Table]]:
    """Write the events of one month as synced segments of at most MAX_ROWS rows.

    Yields each segment with the events in it.
    """
    events = events.select(COLUMNS).cast(EVENT_SCHEMA)
    events = events.take(
        pc.sort_indices(events, sort_keys=[("stream", "ascending"), ("revision", "ascending")])
    )
    pieces = -(-events.num_rows // MAX_ROWS)
    size = -(-events.num_rows // pieces)
    for start in range(0, events.num_rows, size):
        part = events.slice(start, size)
        yield _write(folder, month, part), part


def _write(folder: Path, month: str, events: pa.Table) -> Segment:
    place = folder / f"recorded_month={month}"
    if not place.is_dir():
        with suppress(FileExistsError):
            place.mkdir()
        files.sync_folder(folder)
    unfinished = files.temporary(place)
    try:
        pq.write_table(
            events,
            unfinished,
            row_group_size=_GROUP_ROWS,
            compression="zstd",
            compression_level=3,
            use_dictionary=["category", "event_type", "schema_version", "actor"],
            column_encoding=_ENCODING,
            write_page_checksum=True,
            write_page_index=True,
            bloom_filter_options={
                name: {"ndv": min(_GROUP_ROWS, events.num_rows), "fpp": 0.01} for name in _BLOOM
            },
            store_schema=False,
        )
        sha256 = files.digest(unfinished)
        files.sync_file(unfinished)
        positions = pc.min_max(events["position"]).as_py()
        first, last = positions["min"], positions["max"]
        name = f"{place.name}/{first:012d}-{last:012d}-{sha256[:12]}.parquet"
        size = unfinished.stat().st_size
        os.rename(unfinished, folder / name)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    files.sync_folder(place)
    categories = pc.unique(events["category"]).to_pylist()
    return Segment(
        path=folder / name,
        name=name,
        first=first,
        last=last,
        rows=events.num_rows,
        bytes=size,
        sha256=sha256,
        stream=_range(events["stream"]),
        occurred_on=_span(events["occurred_on"]),
        recorded_on=_span(events["recorded_on"]),
        categories=tuple(sorted(categories)) if len(categories) <= _MANY_CATEGORIES else None,
    )


def _range(column: Any) -> tuple[str, str]:
    found = pc.min_max(column).as_py()
    return found["min"], found["max"]


def _span(column: Any) -> tuple[datetime, datetime]:
    found = pc.min_max(column.cast(pa.int64())).as_py()
    return instants.from_micros(found["min"]), instants.from_micros(found["max"])


def read_segment(segment: Segment, columns: Sequence[str] = COLUMNS) -> pa.Table:
    """Read columns of a segment, checking the checksum of every page.

    Raises
    ------
    DamagedLogError
        If it is missing or altered.
    """
    try:
        table = pq.read_table(
            segment.path, columns=list(columns), partitioning=None, page_checksum_verification=True
        )
    except FileNotFoundError:
        raise DamagedLogError(segment.path, "the file is missing") from None
    except (OSError, pa.ArrowException) as error:
        raise DamagedLogError(segment.path, f"it cannot be read ({error})") from error
    if table.num_rows != segment.rows:
        raise DamagedLogError(
            segment.path, f"it has {table.num_rows} rows, its manifest says {segment.rows}"
        )
    schema = pa.schema([EVENT_SCHEMA.field(name) for name in columns])
    return table.cast(schema)
