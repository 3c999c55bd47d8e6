"""The waiting room of an import: a DuckDB database on disk that orders rows and names events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esnb import jsontext
from esnb.schema import EVENT_SCHEMA
from esnb.source.ledger import Ledger

__all__ = ["Store"]

_BATCH = 50_000
# Rows wait in memory until they are so many bytes: a small source never touches the disk.
_HOLD = 96 << 20
_FIELDS = (
    "stream",
    "event_type",
    "schema_version",
    "occurred_on",
    "recorded_on",
    "actor",
    "correlation_id",
    "causation_id",
    "tags",
    "data",
    "metadata",
)
_DEFAULTS = {"schema_version": "1", "metadata": "'{}'", "tags": "[]"}
# How each field goes into the content: (SQL where it is given, SQL where it is not).
_CONTENT = {
    "stream": ("stream", "''"),
    "event_type": ("event_type", "''"),
    "schema_version": ("schema_version", "'1'"),
    "occurred_on": ("epoch_us(occurred_on)", "''"),
    "recorded_on": ("epoch_us(recorded_on)", "''"),
    "actor": ("coalesce(actor, '')", "''"),
    "correlation_id": ("coalesce(correlation_id, '')", "''"),
    "causation_id": ("coalesce(causation_id, '')", "''"),
    "tags": ("to_json(tags)", "'[]'"),
    "data": ("data", "'{}'"),
    "metadata": ("metadata", "'{}'"),
}


class Store:
    """Holds the good rows of one import until all are read.

    Parameters
    ----------
    folder
        Empty folder for the database and what spills from memory.
    ids
        The source gives event ids; without it they are made from the content.
    ordered
        The source gives the order within a stream.
    """

    def __init__(self, folder: Path, *, ids: bool, ordered: bool) -> None:
        self._ids = ids
        self._ordered = ordered
        self.rows = 0
        self._in_order = True
        self._latest: Any = None
        self._folder = folder
        self._held: list[Any] = []
        self._size = 0
        self._opened: duckdb.DuckDBPyConnection | None = None

    @property
    def _db(self) -> duckdb.DuckDBPyConnection:
        """The database: on disk if rows have spilled there, else in memory."""
        if self._opened is None:
            self._opened = self._connect(":memory:")
        return self._opened

    def _connect(self, path: str) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect(
            path,
            config={
                "threads": 2,
                "memory_limit": "400MB",
                "temp_directory": str(self._folder / "spill"),
                "preserve_insertion_order": True,
            },
        )
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(
            "create macro as_uuid(h) as"
            " (substr(h, 1, 12) || '8' || substr(h, 14, 3) || 'a' || substr(h, 18, 15))::uuid"
        )
        connection.execute(
            "create table staged (row bigint, line bigint, event_id varchar, content uuid,"
            " stream varchar, event_type varchar, schema_version integer,"
            " occurred_on timestamptz, recorded_on timestamptz, actor varchar,"
            " correlation_id varchar, causation_id varchar, tags varchar[], data varchar,"
            " metadata varchar, sequence decimal(38,10), sequence_text varchar)"
        )
        return connection

    def close(self) -> None:
        """Let go of the database."""
        if self._opened is not None:
            self._opened.close()

    def add(self, part: Any) -> None:
        """Take in rows in canonical columns."""
        count = part.num_rows
        if not count:
            return
        rows = pa.array(range(self.rows, self.rows + count), pa.int64())
        self.rows += count
        self._watch(part["recorded_on"])
        self._held.append(part.append_column("row", rows))
        self._size += part.nbytes
        if self._size > _HOLD:
            if self._opened is None:
                self._opened = self._connect(str(self._folder / "rows.duckdb"))
            self._insert()

    def _insert(self) -> None:
        """Move the held rows into the database."""
        if not self._held:
            return
        part = self._release()
        self._db.register("part", part)
        self._db.execute(f"insert into staged {self._select(part, ', '.join(_FIELDS))}")
        self._db.unregister("part")

    def _release(self) -> Any:
        """Return the held rows as one table and hold them no longer."""
        part = pa.concat_tables(self._held, promote_options="default")
        self._held, self._size = [], 0
        return part

    def _select(self, part: Any, kept: str) -> str:
        """Return SQL that makes rows of `staged` from the table `part`."""
        names = set(part.column_names)
        fields = [
            f"coalesce({name if name in names else 'null'}, {_DEFAULTS[name]}) as {name}"
            if name in _DEFAULTS
            else name
            if name in names
            else f"null as {name}"
            for name in _FIELDS
        ]
        order = '"order"' if "order" in names else "null"
        event_id = "event_id" if self._ids else "null"
        # Text fields hold no NUL, nor does JSON text: joined by NUL, no two events give one text.
        parts = [given if name in names else absent for name, (given, absent) in _CONTENT.items()]
        content = "null" if self._ids else f"as_uuid(sha256(concat_ws(chr(0), {', '.join(parts)})))"
        return (
            f"select row, line, {event_id} as event_id, {content} as content, {kept},"  # noqa: S608
            f" try_cast({order} as decimal(38,10)) as sequence, {order} as sequence_text"
            f' from (select row, line, {event_id} as event_id, {order} as "order",'
            f" {', '.join(fields)} from part)"
        )

    def refuse_twins(self, ledger: Ledger) -> int:
        """Refuse rows whose id another row gave to other content; return how many repeat one.

        A later row with the id and the content of an earlier one is no new event.
        """
        if not self._ids:
            return 0
        self._insert()
        twins = self._db.execute(
            "with twice as (select hash(event_id) as h from staged group by h having count(*) > 1)"
            " select row, line, event_id, * exclude (row, line, event_id, content, recorded_on,"
            " sequence, sequence_text, data, metadata), data, metadata from staged"
            " where hash(event_id) in (select h from twice) order by row"
        ).to_arrow_table()
        first: dict[str, tuple[int, dict[str, Any]]] = {}
        drop: list[int] = []
        repeats = 0
        for batch in twins.to_batches(max_chunksize=1000):
            for row in batch.to_pylist():
                number, line, event_id = row.pop("row"), row.pop("line"), row.pop("event_id")
                earlier = first.setdefault(event_id, (line, row))
                if earlier[1] is row:
                    continue
                drop.append(number)
                differing = [n for n in row if not _same(n, row[n], earlier[1][n])]
                if differing:
                    reason = f"line {earlier[0]} gave this id another {', '.join(differing)}"
                    ledger.reject(line, "event_id", reason, event_id)
                else:
                    repeats += 1
        if drop:
            self._db.register("dropped", pa.table({"row": pa.array(drop, pa.int64())}))
            self._db.execute("delete from staged where row in (select row from dropped)")
            self._db.unregister("dropped")
        ledger.enter(ledger.take())
        return repeats

    def events(self) -> Iterator[pa.RecordBatch]:
        """Yield the events in the order of their positions.

        Within a stream the order is the source's own; streams are laid side by side by
        the latest recorded_on seen so far in each, then by row.
        """
        part = None
        if self._opened is None and self._held:
            # Only what decides ids and places goes through DuckDB; the rows follow in Arrow.
            part = self._release()
            self._db.execute("drop table staged")
            self._db.register("part", part)
            self._db.execute(f"create table staged as {self._select(part, 'stream, recorded_on')}")
        else:
            self._insert()
        event_id = "event_id"
        source = "staged"
        if not self._ids:
            event_id, source = self._content_ids()
        order = "row"
        if self._ordered:
            self._db.execute(
                "create table places as select row, max(recorded_on) over w as latest,"
                " max(row) over w as last, row_number() over w as place from staged"
                " window w as (partition by stream order by sequence nulls last, sequence_text,"
                " row rows between unbounded preceding and current row)"
            )
            source += " join places using (row)"
            order = "latest, last, place"
        elif not self._in_order:
            order = "recorded_on, row"
        if part is not None:
            sql = f"select row, {event_id} as event_id from {source} order by {order}"  # noqa: S608
            placed = self._db.execute(sql).to_arrow_table()
            fields = [name for name in _FIELDS if name in part.column_names]
            rows = part.select(fields).combine_chunks().take(placed["row"])
            rows = rows.append_column("event_id", placed["event_id"])
            yield from rows.to_batches(max_chunksize=_BATCH)
            return
        sql = f"select {event_id} as event_id, {', '.join(_FIELDS)} from {source} order by {order}"  # noqa: S608
        schema = pa.schema([EVENT_SCHEMA.field(name) for name in ("event_id", *_FIELDS)])
        for batch in self._db.execute(sql).to_arrow_reader(_BATCH):
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

    def _watch(self, recorded: Any) -> None:
        """Notice whether rows come in order of time, which spares the sort."""
        if not self._in_order:
            return
        number = pa.chunked_array(recorded.chunks).combine_chunks().cast(pa.int64())
        falls = len(number) > 1 and pc.any(pc.less(number[1:], number[:-1])).as_py()
        early = self._latest is not None and number[0].as_py() < self._latest
        self._in_order = not falls and not early
        self._latest = number[len(number) - 1].as_py()

    def _content_ids(self) -> tuple[str, str]:
        """Return the SQL of event ids made from content, with a counter among the like.

        The id is a UUID of version 8 (RFC 9562): 120 bits of SHA-256.
        """
        self._db.execute(
            "create table likes as select row, as_uuid(sha256(content || '/' || nth)) as other from"
            " (select row, content,"
            " row_number() over (partition by content order by row) - 1 as nth"
            " from staged where content in"
            " (select content from staged group by content having count(*) > 1)) where nth > 0"
        )
        alike = self._db.execute("select count(*) from likes").fetchone()
        if alike and alike[0]:
            return "coalesce(other, content)::varchar", "staged left join likes using (row)"
        return "content::varchar", "staged"


def _same(name: str, new: Any, old: Any) -> bool:
    if name in ("data", "metadata"):
        return new == old or bool(jsontext.parse(new) == jsontext.parse(old))
    return bool(new == old)
