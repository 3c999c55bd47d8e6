"""The waiting room of an import: a DuckDB database on disk that orders rows and names events."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from esnb import duck, jsontext
from esnb.log.ids import Hashes, hashes
from esnb.log.rawtext import raw_chunks
from esnb.log.segment import stable_order
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
# The fields of the content, and how one that is not given stands in it.
_CONTENT = {
    "stream": "",
    "event_type": "",
    "schema_version": "1",
    "occurred_on": "",
    "recorded_on": "",
    "actor": "",
    "correlation_id": "",
    "causation_id": "",
    "tags": "[]",
    "data": "{}",
    "metadata": "{}",
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
        self._keys: list[Hashes] = []  # of the contents, 64 bits each
        self._repeating = True
        self._spilled = False
        self._opened: duckdb.DuckDBPyConnection | None = None

    @property
    def _db(self) -> duckdb.DuckDBPyConnection:
        """The database: on disk if rows have spilled there, else in memory."""
        if self._opened is None:
            self._opened = self._connect(":memory:")
        return self._opened

    def _connect(self, path: str) -> duckdb.DuckDBPyConnection:
        connection = duck.connect(
            path,
            threads=2,
            memory_limit="400MB",
            temp_directory=str(self._folder / "spill"),
            preserve_insertion_order=True,
        )
        connection.execute("set TimeZone = 'UTC'")
        connection.execute(
            "create table staged (row bigint, line bigint, event_id varchar, content varchar,"
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
        rows = pa.array(np.arange(self.rows, self.rows + count))
        self.rows += count
        self._watch(part["recorded_on"])
        part = part.append_column("row", rows)
        if not self._ids:
            part = self._with_content(part)
            self._keys.append(hashes(part["content"]))
        self._held.append(part)
        self._size += part.nbytes
        if self._size > _HOLD:
            if not self._spilled:
                self.close()
                self._opened = self._connect(str(self._folder / "rows.duckdb"))
                self._spilled = True
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
        event_id, content = ("event_id", "null") if self._ids else ("null", "content")
        return (
            f"select row, line, {event_id} as event_id, {content} as content, {kept},"  # noqa: S608
            f" try_cast({order} as decimal(38,10)) as sequence, {order} as sequence_text"
            f" from (select row, line, {event_id} as event_id, {content} as content,"
            f' {order} as "order", {", ".join(fields)} from part)'
        )

    def _with_content(self, part: Any) -> Any:
        """Add what stands for the content of each row: a UUID of version 8 (RFC 9562) as text.

        It is made while more is read, of 120 bits of SHA-256.
        """
        # Text fields hold no NUL, nor does JSON text: joined by NUL, no two events give one text.
        texts = [self._content(part, name) for name in _CONTENT]
        content = pc.binary_join_element_wise(*texts, "\0")
        return part.append_column("content", self._hashed(content))

    def _content(self, part: Any, name: str) -> Any:
        """Return a field as text of the content: times in microseconds, tags as JSON."""
        if name not in part.column_names:
            return _CONTENT[name]
        column = part[name]
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        elif name == "tags":
            self._db.register("part", part.select([name]))
            made = self._db.execute("select to_json(tags)::varchar as tags from part")
            column = made.to_arrow_table()["tags"]
            self._db.unregister("part")
        return pc.fill_null(column.cast(pa.string()), _CONTENT[name])

    def _hashed(self, texts: Any) -> Any:
        """Return the ids of texts; where many come again, each is hashed once."""
        if not self._repeating:
            return _ids_of(texts)
        whole = texts.combine_chunks().dictionary_encode()
        self._repeating = len(whole.dictionary) < 0.9 * len(whole)
        return _ids_of(whole.dictionary).take(whole.indices)

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
        if self._held and not self._spilled:
            yield from self._placed(self._release())
            return
        self._insert()
        event_id, source = "event_id", "staged"
        if not self._ids:
            event_id, source = "coalesce(other, content)", "staged left join others using (row)"
            self._db.register("others", self._others())
        source, order = self._order(source)
        sql = f"select {event_id} as event_id, {', '.join(_FIELDS)} from {source} order by {order}"  # noqa: S608
        schema = pa.schema([EVENT_SCHEMA.field(name) for name in ("event_id", *_FIELDS)])
        for batch in self._db.execute(sql).to_arrow_reader(_BATCH):
            yield from pa.Table.from_batches([batch]).cast(schema).to_batches()

    def _placed(self, part: Any) -> Iterator[pa.RecordBatch]:
        """Yield the events of a source that fits into memory: only what orders them moves."""
        ids = part["event_id" if self._ids else "content"].combine_chunks()
        with ThreadPoolExecutor(1, "esnb-import") as pool:
            others = None if self._ids else pool.submit(self._others_held, ids)
            rows = self._rows_in_order(part)
            fields = [name for name in _FIELDS if name in part.column_names]
            part = part.select(fields).combine_chunks()
            if rows is not None:
                part = part.take(rows)
            if others is not None:
                ids = pc.replace_with_mask(ids, *others.result())
        part = part.append_column("event_id", ids if rows is None else ids.take(rows))
        yield from part.to_batches(max_chunksize=_BATCH)

    def _rows_in_order(self, part: Any) -> Any:
        """Return the rows of a table in the order of their positions; None if they stand so."""
        if self._ordered:
            self._db.execute("drop table staged")
            self._db.register("part", part)
            self._db.execute(f"create view staged as {self._select(part, 'stream, recorded_on')}")
            source, order = self._order("staged")
            placed = self._db.execute(f"select row from {source} order by {order}")  # noqa: S608
            return placed.to_arrow_table()["row"]
        if self._in_order:
            return None
        at = part["recorded_on"].combine_chunks().cast(pa.int64()).to_numpy()
        return pa.array(np.argsort(at, kind="stable"))

    def _order(self, source: str) -> tuple[str, str]:
        """Return what to read rows from, and what to order them by."""
        if self._ordered:
            self._db.execute(
                "create table places as select row, max(recorded_on) over w as latest,"
                " max(row) over w as last, row_number() over w as place from staged"
                " window w as (partition by stream order by sequence nulls last, sequence_text,"
                " row rows between unbounded preceding and current row)"
            )
            return f"{source} join places using (row)", "latest, last, place"
        return source, "row" if self._in_order else "recorded_on, row"

    def _watch(self, recorded: Any) -> None:
        """Notice whether rows come in order of time, which spares the sort."""
        if not self._in_order:
            return
        number = pa.chunked_array(recorded.chunks).combine_chunks().cast(pa.int64())
        falls = len(number) > 1 and pc.any(pc.less(number[1:], number[:-1])).as_py()
        early = self._latest is not None and number[0].as_py() < self._latest
        self._in_order = not falls and not early
        self._latest = number[len(number) - 1].as_py()

    def _others(self) -> Any:
        """Return the ids of rows that are not the first of their content: each has its number.

        Table of ``row`` and ``other``, by row.
        """
        self._db.register("likely", pa.table({"row": self._likely_twins()}))
        found = self._db.execute(
            "select row, sha256(content || '/' || nth) as other from (select row, content,"
            " row_number() over (partition by content order by row) - 1 as nth"
            " from staged join likely using (row)) where nth > 0 order by row"
        ).to_arrow_table()
        return found.set_column(1, "other", _uuids(found["other"]))

    def _others_held(self, contents: Any) -> tuple[Any, Any]:
        """Return the same of contents in memory: which rows they are, and their ids."""
        rows = self._likely_twins()
        codes = contents.take(pa.array(rows)).dictionary_encode().indices.to_numpy()
        order = stable_order(codes)
        counts = np.bincount(codes)
        nth = np.empty(len(rows), np.int64)
        nth[order] = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows, nth = rows[nth > 0], nth[nth > 0]
        numbers = pa.array(nth).cast(pa.string())
        texts = pc.binary_join_element_wise(contents.take(pa.array(rows)), numbers, "/")
        mask = np.zeros(len(contents), np.bool_)
        mask[rows] = True
        return pa.array(mask), _ids_of(texts)

    def _likely_twins(self) -> npt.NDArray[np.intp]:
        """Return the rows whose content may stand twice, by the keys of the contents."""
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        order = np.argsort(keys)
        pairs = np.flatnonzero(keys[order[1:]] == keys[order[:-1]])
        likely = np.zeros(len(keys), np.bool_)
        likely[order[pairs]] = likely[order[pairs + 1]] = True
        return np.flatnonzero(likely)


def _ids_of(texts: Any) -> Any:
    """Return for each text the UUID that is made of its SHA-256."""
    # hashlib uses what the processor has for it: a third of the time of DuckDB's own.
    digests = [sha256(text).digest() for text in texts.cast(pa.binary()).to_pylist()]
    return _uuids_of(np.frombuffer(b"".join(digests).hex().encode(), np.uint8))


def _uuids(hashes: Any) -> Any:
    """Return UUIDs made of hashes in hex."""
    chunks = [_uuids_of(digits) for digits, _ in raw_chunks(hashes)]
    return pa.chunked_array(chunks, pa.string())


def _uuids_of(digits: npt.NDArray[np.uint8]) -> Any:
    """Return UUIDs of version 8 (RFC 9562), as text, made of 120 bits of each 64 digits in hex."""
    digits = digits.reshape(-1, 64)
    text = np.full((len(digits), 36), ord("-"), np.uint8)
    for start, stop, place in ((0, 8, 0), (8, 12, 9), (12, 16, 14), (16, 20, 19), (20, 32, 24)):
        text[:, place : place + stop - start] = digits[:, start:stop]
    text[:, 14], text[:, 19] = ord("8"), ord("a")
    offsets = np.arange(0, text.size + 1, 36, dtype=np.int32)
    return pa.StringArray.from_buffers(len(digits), pa.py_buffer(offsets), pa.py_buffer(text))


def _same(name: str, new: Any, old: Any) -> bool:
    if name in ("data", "metadata"):
        return new == old or bool(jsontext.parse(new) == jsontext.parse(old))
    return bool(new == old)
