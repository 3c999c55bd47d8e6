"""The tail: the newest events, and the head of every stream, in SQLite.

Only Python's own ``sqlite3`` may touch the file: two SQLite libraries on one
write-ahead log in one process break each other's locks.  Every row carries a
checksum, because SQLite does not notice a flipped bit.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from esnb import instants
from esnb.errors import DamagedLogError, LogBusyError, ReadOnlyLogError, StorageError
from esnb.event import RecordedEvent
from esnb.log import wal
from esnb.log.files import storage_errors, sync_folder
from esnb.schema import EVENT_SCHEMA, NO_EVENTS, category_of

__all__ = ["Head", "Row", "State", "Tail", "recorded", "table"]

_TABLES = """
create table if not exists events(
  position integer primary key, event_id text not null unique, stream text not null,
  revision integer not null, event_type text not null, schema_version integer not null,
  occurred_on integer not null, recorded_on integer not null, actor text, correlation_id text,
  causation_id text, tags text not null, data text not null, metadata text not null,
  checksum integer not null, unique(stream, revision));
create table if not exists heads(
  stream text primary key, revision integer not null, position integer not null,
  checksum integer not null) without rowid;
create table if not exists state(
  one integer primary key check (one = 1), next_position integer not null,
  last_recorded_on integer not null, manifest integer not null, checksum integer not null);
"""
_INSERT = "insert into events values (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_PUT_HEAD = "insert or replace into heads values (?,?,?,?)"
_PUT_STATE = "update state set next_position=?, last_recorded_on=?, manifest=?, checksum=?"
# One statement is one transaction, and a third of the cost of three in one.
_GLANCE = """
select 0, next_position, last_recorded_on, manifest, checksum from state union all
select 1, stream, revision, position, checksum from heads where stream in ({}) union all
select 2, event_id, null, null, null from events where event_id in ({})"""
_BUSY_SECONDS = 60

_OPENING = threading.RLock()
_CONNECTIONS: Counter[str] = Counter()  # of this process, by real path


class Row(NamedTuple):
    """An event as a row of the tail: times in microseconds since 1970, tags as JSON text."""

    position: int
    event_id: str
    stream: str
    revision: int
    event_type: str
    schema_version: int
    occurred_on: int
    recorded_on: int
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    tags: str
    data: str
    metadata: str


class Head(NamedTuple):
    """The newest event of a stream."""

    revision: int
    position: int


class State(NamedTuple):
    """Where the log stands: the next position, the newest time, the newest manifest known."""

    next_position: int
    last_recorded_on: int
    manifest: int


def checksum(values: Sequence[object]) -> int:
    """Return a checksum of the values of a row."""
    return zlib.crc32(repr(tuple(values)).encode("utf-8", "surrogatepass"))


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))


def recorded(row: Row) -> RecordedEvent:
    """Return a row as an event."""
    return RecordedEvent(
        position=row.position,
        stream=row.stream,
        revision=row.revision,
        recorded_on=instants.from_micros(row.recorded_on),
        event_id=row.event_id,
        event_type=row.event_type,
        schema_version=row.schema_version,
        occurred_on=instants.from_micros(row.occurred_on),
        actor=row.actor,
        correlation_id=row.correlation_id,
        causation_id=row.causation_id,
        tags=tuple(orjson.loads(row.tags)) if row.tags != "[]" else (),
        data_text=row.data,
        metadata_text=row.metadata,
    )


def table(rows: Sequence[Row]) -> pa.Table:
    """Return rows as a table of EVENT_SCHEMA."""
    if not rows:
        return NO_EVENTS
    columns: dict[str, Any] = dict(zip(Row._fields, zip(*rows, strict=True), strict=True))
    columns["category"] = [category_of(stream) for stream in columns["stream"]]
    columns["tags"] = [orjson.loads(tags) if tags != "[]" else [] for tags in columns["tags"]]
    arrays = []
    for field in EVENT_SCHEMA:
        values = columns[field.name]
        if pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values, pa.int64()).cast(field.type))
        else:
            arrays.append(pa.array(values, field.type))
    return pa.Table.from_arrays(arrays, schema=EVENT_SCHEMA)


class Tail:
    """A connection to ``tail.sqlite``.

    Parameters
    ----------
    path
        The file.
    read_only
        Open for reading only; on a read-only medium this reads a private copy.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._key = os.path.realpath(path)
        self._named = False
        with _OPENING, self.errors("opening the tail"):
            # SQLite's locks are POSIX locks: this process gives them all up when it closes any
            # handle of the file.  So files are looked at only while it has no connection.
            if not _CONNECTIONS[self._key]:
                wal.check(path)
            self._db = self._open(read_only)
            self._cursor = self._db.cursor()  # one for all: whatever it asks is read at once
            _CONNECTIONS[self._key] += 1

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if not read_only:
            db = self._connect(self.path)
            # Of a new file.  A commit writes pages whole, and few bytes of each are new.
            db.execute("pragma page_size=2048")
            db.execute("pragma journal_mode=wal")
            db.execute("pragma synchronous=full")
            db.execute("pragma fullfsync=on")  # macOS; nothing elsewhere
            return db
        if not self.path.exists():
            raise DamagedLogError(self.path, "the file is missing")
        if _CONNECTIONS[self._key] or os.access(self.path.parent, os.W_OK):
            db = self._connect(self.path)
            try:
                db.execute("pragma query_only=on")
                db.execute("select 1 from state")
                return db
            except sqlite3.OperationalError:
                # A full disk, for one: SQLite has no room for its shared memory.
                db.close()
                if _CONNECTIONS[self._key]:
                    raise
        return self._connect(self._private_copy())

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        return sqlite3.connect(
            path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
        )

    def _private_copy(self) -> Path:
        # A WAL database cannot be read where SQLite cannot write beside it.
        self._copy = tempfile.TemporaryDirectory(prefix="esnb-")
        copy = Path(self._copy.name) / self.path.name
        for suffix in ("", "-wal"):
            original = self.path.with_name(self.path.name + suffix)
            if original.exists():
                with storage_errors(original, "reading"):
                    shutil.copyfile(original, copy.with_name(copy.name + suffix))
        return copy

    def create(self) -> None:
        """Make the tables of a new log."""
        with self.errors("creating the tail"):
            self._db.executescript(_TABLES)
            first = State(0, 0, 0)
            self._db.execute(
                "insert or ignore into state values (1, ?, ?, ?, ?)", (*first, checksum(first))
            )

    def check(self) -> None:
        """Check the structure of the newest events and their indexes."""
        with self.errors("checking the tail"):
            found = self._db.execute("pragma integrity_check(events)").fetchone()[0]
        if found != "ok":
            raise DamagedLogError(self.path, f"SQLite reports: {found.splitlines()[-1]}")

    def check_all(self) -> None:
        """Check the structure of the whole file and the checksum of every row."""
        with self.errors("checking the tail"):
            found = self._db.execute("pragma integrity_check").fetchone()[0]
            if found != "ok":
                raise DamagedLogError(self.path, f"SQLite reports: {found.splitlines()[-1]}")
        for _ in self.rows(0):
            pass
        for _ in self.heads():
            pass
        self.state()

    def close(self) -> None:
        """Close the connection."""
        with _OPENING:
            # A statement that is not done with would keep SQLite's files open.
            self._cursor.close()
            self._db.close()
            _CONNECTIONS[self._key] -= 1
        if self._copy is not None:
            self._copy.cleanup()

    # --- reading -------------------------------------------------------------------------

    def _read(self, question: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._cursor.execute(question, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.refused("reading the tail", error) from error

    def state(self) -> State:
        """Return where the log stands."""
        found = self._read("select next_position, last_recorded_on, manifest, checksum from state")
        if len(found) != 1:
            raise DamagedLogError(self.path, "its state is gone")
        return State(*self._intact(found[0]))

    def head(self, stream: str) -> Head | None:
        """Return the head of `stream`, or None when it has no events."""
        found = self._read(
            "select stream, revision, position, checksum from heads where stream = ?", (stream,)
        )
        return Head(*self._intact(found[0])[1:]) if found else None

    def glance(
        self, ids: Sequence[str], streams: Sequence[str]
    ) -> tuple[State, dict[str, Head], set[str]]:
        """Return the state, the heads of streams, and which ids are here, as of one moment.

        SQLite takes 32,766 names in all.
        """
        question = _GLANCE.format(_marks(streams), _marks(ids))
        state: State | None = None
        heads: dict[str, Head] = {}
        known: set[str] = set()
        for kind, *row in self._read(question, (*streams, *ids)):
            if kind == 2:
                known.add(row[0])
                continue
            first, second, third = self._intact(tuple(row))
            if kind == 1:
                heads[first] = Head(second, third)
            else:
                state = State(first, second, third)
        if state is None:
            raise DamagedLogError(self.path, "its state is gone")
        return state, heads, known

    def heads(self) -> Iterator[tuple[str, int, int]]:
        """Yield stream, revision and position of every head."""
        with self.errors("reading the tail"):
            for found in self._db.execute("select stream, revision, position, checksum from heads"):
                stream, revision, position = self._intact(found)
                yield stream, revision, position

    def neighbours(self, stream: str, count: int) -> list[str]:
        """Return the streams that stand before and after a name in the order of names."""
        select = "select stream, revision, position, checksum from heads where stream "
        before = self._read(f"{select}< ? order by stream desc limit ?", (stream, count))
        after = self._read(f"{select}>= ? order by stream limit ?", (stream, count))
        return [str(self._intact(row)[0]) for row in (*before, *after)]

    def count_heads(self) -> int:
        """Return how many streams there are."""
        return int(self._read("select count(*) from heads")[0][0])

    def rows(self, start: int, stop: int | None = None) -> list[Row]:
        """Return the events from position `start` up to, not including, `stop`."""
        found = self._read(
            "select * from events where position >= ? and position < ? order by position",
            (start, stop if stop is not None else 2**62),
        )
        return [Row(*self._intact(row)) for row in found]

    def by_id(self, event_id: str) -> Row | None:
        """Return the event with this id, if the tail still has it."""
        found = self._read("select * from events where event_id = ?", (event_id,))
        return Row(*self._intact(found[0])) if found else None

    def by_stream(self, stream: str, start: int, watermark: int) -> list[Row]:
        """Return the events of `stream` from revision `start` at or above the watermark."""
        found = self._read(
            "select * from events where stream = ? and revision >= ? and position >= ? "
            "order by revision",
            (stream, start, watermark),
        )
        return [Row(*self._intact(row)) for row in found]

    def has(self, stream: str, revision: int) -> bool:
        """Tell whether the tail still has an event of a stream."""
        question = "select 1 from events where stream = ? and revision = ?"
        return bool(self._read(question, (stream, revision)))

    def _intact(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if checksum(row[:-1]) != row[-1]:
            raise DamagedLogError(self.path, f"a row does not match its checksum ({row[0]!r})")
        return row[:-1]

    # --- writing -------------------------------------------------------------------------

    def _run(self, doing: str, statement: str, values: Sequence[object] = ()) -> None:
        try:
            self._cursor.execute(statement, values)
        except sqlite3.Error as error:
            raise self.refused(doing, error) from error

    def begin(self) -> None:
        self._run("opening a transaction", "begin immediate")

    def commit(self) -> None:
        self._run("committing", "commit")

    def sync_name(self) -> None:
        """Force the name of SQLite's journal to the disk, once for a connection.

        SQLite does so too, but says nothing when that fails.
        """
        if not self._named:
            with storage_errors(self.path.parent, "syncing"):
                sync_folder(self.path.parent)
            self._named = True

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._run("rolling back", "rollback")

    def begin_reading(self) -> None:
        """Open a transaction in which every read sees one state."""
        self._run("opening a transaction", "begin")

    def savepoint(self) -> None:
        self._run("opening a savepoint", "savepoint request")

    def release(self) -> None:
        self._run("releasing a savepoint", "release request")

    def undo(self) -> None:
        self._run("rolling back", "rollback to request")
        self._run("rolling back", "release request")

    def insert(self, rows: Sequence[Row]) -> None:
        """Insert events."""
        for row in rows:
            values = (*row, checksum(row))
            self._run("writing events", _INSERT, values)

    def insert_many(self, rows: Iterable[Row]) -> None:
        """Insert many events."""
        with self.errors("writing events"):
            self._cursor.executemany(_INSERT, ((*row, checksum(row)) for row in rows))

    def put_heads(self, heads: Iterable[tuple[str, int, int]]) -> None:
        """Set heads: stream, revision, position."""
        with self.errors("writing stream heads"):
            self._db.executemany(
                _PUT_HEAD,
                ((*head, checksum(head)) for head in heads),
            )

    def put_head(self, stream: str, revision: int, position: int) -> None:
        """Set the head of one stream."""
        head = (stream, revision, position)
        self._run("writing stream heads", _PUT_HEAD, (*head, checksum(head)))

    def put_state(self, state: State) -> None:
        self._run("writing the state", _PUT_STATE, (*state, checksum(state)))

    def purge(self, before: int) -> None:
        """Drop the events below a position: they are sealed."""
        with self.errors("purging sealed events"):
            self._db.execute("delete from events where position < ?", (before,))

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the file."""
        with self.errors("copying the tail"):
            target = sqlite3.connect(path, isolation_level=None)
            try:
                self._db.backup(target)
            finally:
                target.close()

    @contextmanager
    def errors(self, doing: str) -> Iterator[None]:
        """Turn SQLite's errors into ours, naming the file."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self.refused(doing, error) from error

    def refused(self, doing: str, error: sqlite3.Error | UnicodeDecodeError) -> Exception:
        """Return our error for one of SQLite."""
        if isinstance(error, UnicodeDecodeError):
            return DamagedLogError(self.path, "it holds bytes that are no text")
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        text = str(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LogBusyError(f"{self.path}: {doing}: another process held it too long")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
            return ReadOnlyLogError(f"{self.path}: {doing} was refused ({text})")
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM):
            return StorageError(
                f"{self.path}: {doing} failed ({text}). Nothing that was acknowledged is lost.",
                path=self.path,
            )
        return DamagedLogError(self.path, f"{doing} failed ({text})")
