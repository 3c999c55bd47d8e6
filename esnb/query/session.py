"""The session: one locked DuckDB in memory that reads one log.

It may read the log's folder and a temporary folder of its own, writes to nothing but
that folder, and none of this can be changed once it is open.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from esnb import duck
from esnb.errors import DamagedLogError, QueryError
from esnb.log.snapshot import Segment, Snapshot
from esnb.query import adhoc, gate, select
from esnb.query.names import literal
from esnb.query.table import events_sql

__all__ = ["Session"]

# Each holds a tail; the newest few are those in use.
_CURSORS = 4
# Look-ups by id are narrowed beyond so many files, to so many events.
_FEW_FILES, _MANY_EVENTS = 4, 1000
_MAX_TEMPORARY = "16GB"
_KEPT = "kept"


class Session:
    """Answers questions to one log; one DuckDB for all of its snapshots.

    Parameters
    ----------
    log_path
        Folder of the log: the only one of the user's that can be read.
    zone
        Declared zone (IANA name) of the log, in which DuckDB shows instants and
        reads texts without a zone.  UTC without one.
    memory_limit
        As DuckDB writes it (``"4GB"``); DuckDB's own default without one.
    derived
        Folder within the log for what is derived from it; a temporary one without it.
    """

    def __init__(
        self,
        log_path: Path,
        *,
        zone: str | None = None,
        memory_limit: str | None = None,
        derived: Path | None = None,
    ) -> None:
        self._path = Path(log_path).absolute()
        self._zone = zone
        self._memory_limit = memory_limit
        self._lock = threading.RLock()
        self._closed = False
        self._remove: weakref.finalize[[str, bool], Session] | None = None
        self._derived = derived
        self._locked: duckdb.DuckDBPyConnection | None = None
        self._unlocked: duckdb.DuckDBPyConnection | None = None
        self._cursors: OrderedDict[tuple[bool, int, int], duckdb.DuckDBPyConnection] = OrderedDict()

    def close(self) -> None:
        """Close every cursor and remove the temporary folder.  Relations end with it."""
        with self._lock:
            self._closed = True
            for cursor in (*self._cursors.values(), self._locked, self._unlocked):
                if cursor is not None:
                    cursor.close()
            self._cursors.clear()
            self._locked = self._unlocked = None
            if self._remove is not None:
                self._remove()

    def cursor(self, snapshot: Snapshot) -> duckdb.DuckDBPyConnection:
        """Return the locked cursor on which ``events`` is the log as in `snapshot`.

        One snapshot has one cursor, for questions that are answered at once: a lazy
        relation wants a `fresh` one, since a cursor has one answer under way.

        Raises
        ------
        DamagedLogError
            If a file of the log is missing or altered.
        """
        return self._cursor(snapshot, locked=True)

    def fresh(self, snapshot: Snapshot | None = None) -> duckdb.DuckDBPyConnection:
        """Return a new locked cursor, on which ``events`` is the log as in `snapshot` if given."""
        if snapshot is None:
            return self._connection(locked=True).cursor()
        return self._new_cursor(snapshot, locked=True)

    @property
    def derived(self) -> Path:
        """Folder for what is derived from the log, which every locked cursor may read.

        That of the log, or one that goes when the session is closed.
        """
        with self._lock:
            self._connection(locked=True)
            return self._derived or Path(self._temporary, _KEPT)

    @property
    def temporary(self) -> Path:
        """Folder that every locked cursor may read, and that goes when the session is closed."""
        with self._lock:
            self._connection(locked=True)
            return Path(self._temporary, _KEPT)

    def events(self, snapshot: Snapshot, **filters: Any) -> duckdb.DuckDBPyRelation:
        """Return events as a relation with the canonical columns, by position.

        Nothing is read before the relation is; but for a few ids the places of their
        events are looked up, so that only the files that hold them are.

        Parameters
        ----------
        **filters
            See `esnb.query.select.Filters`; they are joined by "and".

        Raises
        ------
        QueryError
            If there is no filter of this name, or its value cannot be one.
        InstantError
            If a time has no zone and the log declares none, or is unreadable.
        DamagedLogError
            If a file to be read is missing or altered.
        """
        chosen = select.Filters.read(filters, self._zone)
        segments: Sequence[Segment] = chosen.prune(snapshot.segments)
        snapshot.touch(segments)
        tail = chosen.tail(snapshot)
        try:
            if chosen.by_id and len(segments) > _FEW_FILES:
                segments = self._holding(chosen, segments, tail)
            return self._chosen(chosen, segments, tail)
        except duckdb.Error as error:
            raise self._unreadable(segments, error) from error

    def _chosen(
        self, chosen: select.Filters, segments: Sequence[Segment], tail: pa.Table
    ) -> duckdb.DuckDBPyRelation:
        # A cursor of its own: a reader of this relation is not cut off by the next question.
        cursor = self._connection(locked=True).cursor()
        return chosen.apply(cursor.sql(events_sql(cursor, segments, tail)))

    def _holding(
        self, chosen: select.Filters, segments: Sequence[Segment], tail: pa.Table
    ) -> Sequence[Segment]:
        """Return the segments with events of these ids; all of them if there are many events.

        A column costs a millisecond over hundreds of row groups, whatever is in it: one is
        looked at for where the events are, and all of them only there.
        """
        found = self._chosen(chosen, segments, tail.slice(0, 0)).project("position")
        positions = found.limit(_MANY_EVENTS).fetchall()
        if len(positions) == _MANY_EVENTS:
            return segments
        return [
            segment
            for segment in segments
            if any(segment.first <= position <= segment.last for (position,) in positions)
        ]

    @duck.interruptible()
    def sql(
        self,
        snapshot: Snapshot,
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        macros: Callable[[duckdb.DuckDBPyConnection], Collection[str]] | None = None,
        unsafe: bool = False,
    ) -> duckdb.DuckDBPyRelation:
        """Ask in SQL; the table is ``events``.

        Parameters
        ----------
        text
            One SELECT (or FROM, PIVOT, DESCRIBE, SUMMARIZE, SHOW TABLES).
        params
            Values for ``?`` and ``$1`` (a list) or ``$name`` (a mapping).
        timeout
            Seconds after which the query is stopped.
        macros
            Makes table macros of ours on a cursor, and returns the names that the
            text may use.
        unsafe
            Skip the gate, on a second connection that may read and write files.

        Returns
        -------
        duckdb.DuckDBPyRelation
            Lazy when there are neither `params` nor a `timeout`; then an error in the
            rows comes from DuckDB when the relation is read.

        Raises
        ------
        QueryError
            If the gate refuses the text, DuckDB cannot run it, or it takes too long.
        DamagedLogError
            If a file of the log is missing or altered.
        """
        # A cursor of its own: a reader of this relation is not cut off by the next question.
        cursor = self._new_cursor(snapshot, locked=not unsafe)
        if not unsafe:
            allowed = macros(cursor) if macros is not None else ()
            gate.check(self._connection(locked=True), text, allowed)
        return adhoc.run(cursor, text, params, timeout=timeout, log_path=self._path)

    @duck.interruptible()
    def rows(
        self,
        snapshot: Snapshot,
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        limit: int | None,
        timeout: float | None = None,
        prepare: Callable[[duckdb.DuckDBPyConnection], Collection[str]] | None = None,
    ) -> tuple[pa.Table, bool]:
        """Ask in SQL, and return the first rows of the answer and whether there are more.

        Parameters
        ----------
        limit
            How many rows; None for all.
        prepare
            Makes tables and macros of ours on a cursor, and returns the names of the
            table functions that the text may use.

        Raises
        ------
        QueryError, DamagedLogError
            As `sql` does.
        """
        cursor = self._new_cursor(snapshot, locked=True)
        allowed = prepare(cursor) if prepare is not None else ()
        gate.check(self._connection(locked=True), text, allowed)
        return adhoc.rows(cursor, text, params, limit=limit, timeout=timeout, log_path=self._path)

    @duck.interruptible()
    def parameters(self, text: str) -> list[str]:
        """Return the names of the parameters of `text` (see `esnb.query.gate.parameters`)."""
        return gate.parameters(self._connection(locked=True), text)

    def _cursor(self, snapshot: Snapshot, *, locked: bool) -> duckdb.DuckDBPyConnection:
        key = (locked, snapshot.manifest.number, snapshot.next_position)
        with self._lock:
            cursor = self._cursors.get(key)
            if cursor is None:
                cursor = self._new_cursor(snapshot, locked=locked)
                self._cursors[key] = cursor
                while len(self._cursors) > _CURSORS:
                    self._cursors.popitem(last=False)
            else:
                # Each time: the log's policy may be to check always.
                snapshot.touch(snapshot.segments)
            self._cursors.move_to_end(key)
            return cursor

    def _new_cursor(self, snapshot: Snapshot, *, locked: bool) -> duckdb.DuckDBPyConnection:
        snapshot.touch(snapshot.segments)
        cursor = self._connection(locked=locked).cursor()
        try:
            rows = events_sql(cursor, snapshot.segments, snapshot.tail)
            cursor.execute(f"create temp view events as {rows}")
        except duckdb.Error as error:
            raise self._unreadable(snapshot.segments, error) from error
        return cursor

    def _connection(self, *, locked: bool) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._closed:
                raise QueryError("the log is closed; open it again to ask it something")
            if locked:
                if self._locked is None:
                    self._locked = self._open(locked=True)
                return self._locked
            if self._unlocked is None:
                self._unlocked = self._open(locked=False)
            return self._unlocked

    def _open(self, *, locked: bool) -> duckdb.DuckDBPyConnection:
        if self._remove is None:
            folder = tempfile.mkdtemp(prefix="esnb-query-")
            self._remove = weakref.finalize(self, shutil.rmtree, folder, True)
            self._temporary = folder
        kept = Path(self._temporary, _KEPT)
        kept.mkdir(exist_ok=True)
        connection = duck.connect()
        settings = {
            "TimeZone": literal(self._zone or "UTC"),
            "parquet_metadata_cache": "true",
            "python_enable_replacements": "false",
            "max_temp_directory_size": literal(_MAX_TEMPORARY),
            "temp_directory": literal(str(Path(self._temporary, "locked" if locked else "open"))),
        }
        if self._memory_limit is not None:
            settings["memory_limit"] = literal(self._memory_limit)
        if locked:
            settings |= {
                "allowed_directories": f"[{literal(f'{self._path}/')}, {literal(f'{kept}/')}]",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "allow_persistent_secrets": "false",
                "enable_external_access": "false",
                "lock_configuration": "true",  # the last one
            }
        try:
            for name, value in settings.items():
                # Global: a plain "set" of some of them would not reach the cursors.
                connection.execute(f"set global {name}={value}")
        except duckdb.Error as error:
            connection.close()
            raise QueryError(f"DuckDB refuses a setting of the session: {error}") from error
        return connection

    def _unreadable(self, segments: Sequence[Segment], error: duckdb.Error) -> DamagedLogError:
        place = segments[0].path.parent if segments else self._path
        return DamagedLogError(place, f"it cannot be read ({error})")
