"""Read models in a DuckDB file: rows and checkpoint in one transaction.

The file is open only while there is something to do, so that others can read it meanwhile.
Whoever reads it keeps a runner of another process waiting: close it when you have read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from esnb import duck
from esnb.errors import LogBusyError, SinkError
from esnb.log.locks import Lock
from esnb.schema import INSTANT
from esnb.sqltext import quote
from esnb.write.projections.changes import Columns, Group
from esnb.write.projections.columns import SCALE
from esnb.write.projections.readmodels.sink import Down, Moved, Refused
from esnb.write.projections.readmodels.sql import VALUE, SqlSink

__all__ = ["DuckDBSink"]

_ARROW = {
    "text": pa.string(),
    "int": pa.int64(),
    "decimal": pa.decimal128(38, SCALE),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "instant": INSTANT,
    "date": pa.date32(),
    "json": pa.string(),
}
_CHANGES = "_esnb_changes"
# The file is held by another process, or the disk refuses; a lost connection is made anew.
_AWAY = (duckdb.IOException, duckdb.ConnectionException, duckdb.FatalException)
_HOPELESS = ("not a valid DuckDB database", "version number", "Is a directory")
_BAD = (duckdb.DataError, duckdb.IntegrityError, pa.ArrowException, OverflowError)


class DuckDBSink(SqlSink):
    """Read models in a DuckDB file.

    Parameters
    ----------
    path
        The file; made when it is not there, in a folder that is there.
    """

    kind = "DuckDB"
    watched = False  # others can read the file while it is closed
    types = {  # noqa: RUF012 (never changed)
        "text": "VARCHAR",
        "int": "BIGINT",
        "decimal": f"DECIMAL(38, {SCALE})",
        "float": "DOUBLE",
        "bool": "BOOLEAN",
        "instant": "TIMESTAMPTZ",
        "date": "DATE",
        "json": "JSON",
    }

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path).absolute()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._locks: dict[int, Lock] = {}

    @property
    def place(self) -> str:
        return str(self._path)

    def open(self) -> None:
        if self._connection is None and not self._path.parent.is_dir():
            raise SinkError(f"there is no folder {self._path.parent} for the file of a read model")
        if self._connection is None:
            self._connect()
            try:
                self._make_books()
            except BaseException:
                self.rest()
                raise

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            try:
                self._connection = duck.connect(str(self._path))
            except (*_AWAY, duckdb.BinderException) as error:
                # Binder: another thread of this process is just closing the file.
                if any(hopeless in str(error) for hopeless in _HOPELESS):
                    raise SinkError(f"{self._path}: {_line(error)}") from None
                raise Down(_line(error)) from error
        return self._connection

    def rest(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.rest()
        for lock in self._locks.values():
            lock.close()
        self._locks.clear()

    def acquire(self, version: int) -> bool:
        if version in self._locks:
            return True
        lock = Lock(Path(f"{self._path}.{self._tag()}.{version}.lock"))
        try:
            lock.take(0)
        except LogBusyError:
            lock.close()
            return False
        self._locks[version] = lock
        return True

    def beat(self, version: int) -> None:
        """The lock is the system's: it goes with the process, and never before."""

    def release(self, version: int) -> None:
        lock = self._locks.pop(version, None)
        if lock is not None:
            lock.give_back()
            lock.close()

    def _run(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        connection = self._connect()
        done = connection.execute(text.replace(VALUE, "?"), list(values) or None)
        return done.fetchall() if done.description else []

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        connection = self._connect()
        try:
            connection.execute("begin")
            yield
            connection.execute("commit")
        except BaseException as error:
            with suppress(duckdb.Error):
                connection.execute("rollback")
            if isinstance(error, _AWAY):
                self.rest()
                raise Down(_line(error)) from error
            if isinstance(error, _BAD):
                raise Refused(_line(error)) from error
            if isinstance(error, duckdb.TransactionException):
                raise Moved(_line(error)) from error
            if isinstance(error, duckdb.Error):
                raise self._refusal(error) from error
            raise

    def _source(self, group: Group, columns: Columns) -> tuple[str, list[Any]]:
        arrays = {"key": _array(group.keys, "text")}
        for name, values in {**group.sets, **group.adds}.items():
            arrays[name] = _array(values, columns[name])
        self._connect().register(_CHANGES, pa.table(arrays))
        return quote(_CHANGES), []

    def _delete(self, table: str, keys: Sequence[str]) -> None:
        self._run(f"delete from {table} where key in (select unnest({VALUE}))", [list(keys)])  # noqa: S608


def _array(values: Any, kind: str) -> Any:
    if isinstance(values, pa.ChunkedArray | pa.Array):
        return values
    return pa.array(values, _ARROW[kind])


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
