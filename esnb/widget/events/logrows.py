"""The events of a log as numbered rows: a row's number is its position.

Segments are sorted by stream, so that a few positions in a row stand all over a file, and DuckDB
finds them by looking at the positions of that file.  Positions far from each other would make it
look at all files: they are found through a directory of where each event stands.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from duckdb import ColumnExpression, ConstantExpression

from esnb.duck import interruptible
from esnb.eventlog import EventLog
from esnb.log.snapshot import Snapshot
from esnb.schema import COLUMNS, EVENT_SCHEMA
from esnb.sqltext import quote
from esnb.widget.events.rows import Ints, Rows

__all__ = ["LogRows"]

# Positions within such a span are looked for by DuckDB.
_NEAR = 20_000
_GROUPS = 32  # row groups that are kept


class LogRows(Rows):
    """The events of a log, as in one snapshot.

    Parameters
    ----------
    log
        The log.
    snapshot
        Where it stands.
    """

    table = "events"
    number = "position"
    names = COLUMNS

    def __init__(self, log: EventLog, snapshot: Snapshot) -> None:
        self.log = log
        self.snapshot = snapshot
        self.total = snapshot.next_position
        self.zone = log.zone or "UTC"
        shown = self.cursor().execute("SELECT * FROM events LIMIT 0").description or []
        self.types = tuple(str(column[1]) for column in shown)
        self._directory: _Directory | None = None

    def cursor(self) -> duckdb.DuckDBPyConnection:
        return self.log.session.fresh(self.snapshot)

    @interruptible()
    def take(self, numbers: Ints, names: Sequence[str]) -> pa.Table:
        """Return columns of the events at some positions, in this order."""
        if not len(numbers):
            return EVENT_SCHEMA.empty_table().select(list(names))
        low, high = int(numbers.min()), int(numbers.max())
        if high - low >= _NEAR:
            if self._directory is None:
                self._directory = _Directory(self.snapshot)
            return self._directory.take(numbers, names)
        events = self.log.session.events(self.snapshot, after=low - 1, before=high + 1)
        if high - low + 1 > len(numbers):
            wanted = [ConstantExpression(int(number)) for number in numbers]
            events = events.filter(ColumnExpression("position").isin(*wanted))
        columns = ", ".join(quote(name) for name in ("position", *names))
        found = events.project(columns).to_arrow_table()
        places = np.searchsorted(found.column(0).to_numpy(), numbers)
        # By place: a column may be asked for beside the position that is there anyway.
        return (
            found.take(pa.array(places))
            .select(range(1, len(names) + 1))
            .rename_columns(list(names))
        )


class _Directory:
    """Where each sealed event of a snapshot stands: in which file, and there in which row."""

    def __init__(self, snapshot: Snapshot) -> None:
        snapshot.touch(snapshot.segments)
        self._snapshot = snapshot
        self._files = [pq.ParquetFile(segment.path) for segment in snapshot.segments]
        # Rows are counted through all files; where each of their groups begins.
        self._starts: list[int] = []
        self._groups: list[tuple[int, int]] = []
        self._rows = np.zeros(snapshot.watermark, np.int64)
        first = 0
        for place, file in enumerate(self._files):
            positions = file.read(columns=["position"])["position"].to_numpy()
            self._rows[positions] = np.arange(first, first + len(positions))
            for group in range(file.num_row_groups):
                self._starts.append(first)
                self._groups.append((place, group))
                first += file.metadata.row_group(group).num_rows
        self._kept: OrderedDict[tuple[Any, ...], pa.Table] = OrderedDict()

    def take(self, numbers: Ints, names: Sequence[str]) -> pa.Table:
        """Return columns of the events at some positions, in this order."""
        sealed = numbers < self._snapshot.watermark
        rows = self._rows[numbers[sealed]]
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        parts = []
        origin = np.zeros(len(numbers), np.int64)
        origin_sealed = np.zeros(len(rows), np.int64)
        done = 0
        for group in np.unique(groups):
            inside = np.flatnonzero(groups == group)
            part = self._group(int(group), names)
            parts.append(part.take(pa.array(rows[inside] - self._starts[group])))
            origin_sealed[inside] = np.arange(done, done + len(inside))
            done += len(inside)
        origin[sealed] = origin_sealed
        late = numbers[~sealed] - self._snapshot.watermark
        origin[~sealed] = np.arange(done, done + len(late))
        tail = self._snapshot.tail.select(list(names)).take(pa.array(late))
        return pa.concat_tables([*parts, tail]).take(pa.array(origin))

    def _group(self, group: int, names: Sequence[str]) -> pa.Table:
        key = (group, *names)
        if key not in self._kept:
            place, inner = self._groups[group]
            asked = list(dict.fromkeys(names))
            found = self._files[place].read_row_group(inner, columns=asked, use_threads=False)
            schema = pa.schema([EVENT_SCHEMA.field(name) for name in names])
            self._kept[key] = found.select(list(names)).cast(schema)
            if len(self._kept) > _GROUPS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
