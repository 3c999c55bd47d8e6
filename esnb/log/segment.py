"""Sealed segments: immutable Parquet files, sorted by stream and revision.

The choices (20,480 rows a group, zstd, Bloom filters by pyarrow, page
checksums) are the measured ones of docs/architecture.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from esnb import instants
from esnb.errors import DamagedLogError
from esnb.log import files
from esnb.schema import COLUMNS, EVENT_SCHEMA

__all__ = ["MAX_ROWS", "Rows", "Segment", "divide", "read_segment", "stable_order", "write"]

Rows = npt.NDArray[np.intp]

MAX_ROWS = 1_000_000
_GROUP_ROWS = 20_480
_FULL_MONTH = 10_000
_MANY_CATEGORIES = 256
_BLOOM = ("event_id", "stream", "correlation_id", "causation_id")
# Ids are noise that no level makes smaller.
_LEVELS = {name: 1 if name in _BLOOM else 3 for name in COLUMNS}
_LEVELS["tags.list.element"] = _LEVELS.pop("tags")
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


def divide(events: pa.Table, order: Rows | None = None) -> list[tuple[str, Rows]]:
    """Divide events into segments: by the month (UTC) in which they were recorded.

    Sparse months share a part, named after the first of them: a history of
    decades must not become hundreds of files with a handful of rows.

    Parameters
    ----------
    order
        The rows by stream and revision, where the caller knows them.

    Returns
    -------
    list of (str, array)
        The name of the month and the rows, by stream and revision; at most MAX_ROWS.
    """
    if not events.num_rows:
        return []
    if order is None:
        keys = [("stream", "ascending"), ("revision", "ascending")]
        order = pc.sort_indices(events, sort_keys=keys).to_numpy().astype(np.intp)
    month = _month_numbers(events["recorded_on"])
    first = int(month.min())
    counts = np.bincount(month - first)
    part_of = np.zeros(len(counts), np.int64)
    names: list[str] = []
    rows = _FULL_MONTH
    for place in np.flatnonzero(counts).tolist():
        if rows >= _FULL_MONTH:
            number = first + place
            names.append(f"{number // 12:04d}-{number % 12 + 1:02d}")
            rows = 0
        part_of[place] = len(names) - 1
        rows += int(counts[place])
    part = part_of[month - first]
    ends = np.cumsum(np.bincount(part))
    found = []
    for name, inside in zip(
        names, np.split(order[stable_order(part[order])], ends[:-1]), strict=True
    ):
        pieces = -(-len(inside) // MAX_ROWS)
        found += [(name, piece) for piece in np.array_split(inside, pieces)]
    return found


def stable_order(codes: npt.NDArray[np.int64]) -> Rows:
    """Return the order of numbers from 0 to 2**32, equal ones as they stand.

    NumPy sorts numbers of 16 bits by counting, in a fraction of the time of others.
    """
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    if len(codes) and int(codes.max()) > 0xFFFF:
        order = order[np.argsort((codes[order] >> 16).astype(np.uint16), kind="stable")]
    return order


def _month_numbers(at: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return years times 12 plus months from 0."""
    micros = at.cast(pa.int64()).to_numpy().view("datetime64[us]")
    since_1970: npt.NDArray[np.int64] = micros.astype("datetime64[M]").astype(np.int64)
    return since_1970 + 1970 * 12


def write(folder: Path, month: str, events: pa.Table) -> Segment:
    """Write events, by stream and revision, as one synced segment."""
    events = events.select(COLUMNS).cast(EVENT_SCHEMA)
    place = folder / f"recorded_month={month}"
    if not place.is_dir():
        with suppress(FileExistsError):
            place.mkdir()
        files.sync_folder(folder)
    unfinished = files.temporary(place)
    try:
        # A file of our own: a failed writer of pyarrow holds its file open for a while.
        with pa.OSFile(str(unfinished), "wb") as file:
            pq.write_table(
                events,
                file,
                row_group_size=_GROUP_ROWS,
                compression="zstd",
                compression_level=_LEVELS,
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
        stream=(events["stream"][0].as_py(), events["stream"][-1].as_py()),
        occurred_on=_span(events["occurred_on"]),
        recorded_on=_span(events["recorded_on"]),
        categories=tuple(sorted(categories)) if len(categories) <= _MANY_CATEGORIES else None,
    )


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
