"""Read models in PostgreSQL: rows and checkpoint in one transaction.

The lease is an advisory lock of the session that writes: when the session ends, so does the
lock, and with it every transaction of its holder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from esnb.errors import SinkError
from esnb.sqltext import quote
from esnb.write.projections.changes import Columns, Group
from esnb.write.projections.readmodels.sink import Down, Refused
from esnb.write.projections.readmodels.sql import VALUE, SqlSink

if TYPE_CHECKING:
    import psycopg

__all__ = ["PostgreSQLSink"]

# A server that was the primary and is a standby now: reads only.
_STANDBY = "25006"
# Wrong password, no such database or schema: waiting does not help.
_HOPELESS_STATES = ("28", "3D", "3F", "42501")
_HOPELESS = ("authentication failed", "no password supplied", "does not exist", "pg_hba.conf")


class PostgreSQLSink(SqlSink):
    """Read models in a schema of PostgreSQL.

    Parameters
    ----------
    conninfo
        As libpq takes it: a URL ``postgresql://user@host/database`` or ``host=… dbname=…``.
    schema
        Schema of the tables; it has to be there.
    timeout
        Seconds for a connection, and for a statement.
    """

    kind = "PostgreSQL"
    nul = False
    types = {  # noqa: RUF012 (never changed)
        "text": "text",
        "int": "bigint",
        "decimal": "numeric",
        "float": "double precision",
        "bool": "boolean",
        "instant": "timestamptz",
        "date": "date",
        "json": "json",
    }

    def __init__(self, conninfo: str, *, schema: str = "public", timeout: float = 30) -> None:
        self._conninfo = conninfo
        self._schema = schema
        self._timeout = timeout
        self._connection: psycopg.Connection[Any] | None = None
        self._held: set[int] = set()

    @property
    def place(self) -> str:
        return f"{_public(self._conninfo)} schema {self._schema}"

    def open(self) -> None:
        if self._connection is not None:
            return
        import psycopg

        try:
            self._connection = psycopg.connect(
                self._conninfo,
                autocommit=True,
                connect_timeout=max(2, int(self._timeout)),
                options=f"-c statement_timeout={int(self._timeout * 1000)} -c TimeZone=UTC"
                " -c client_min_messages=warning",
            )
        except psycopg.OperationalError as error:
            text = _line(error)
            if any(hopeless in text for hopeless in _HOPELESS):
                raise SinkError(f"PostgreSQL at {self.place} refuses the connection: {text}") from (
                    None
                )
            raise Down(text) from error
        try:
            self._make_books()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._held.clear()
        if self._connection is not None:
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def acquire(self, version: int) -> bool:
        if version not in self._held:
            with self._errors():
                ((taken,),) = self._run(
                    f"select pg_try_advisory_lock({VALUE})", [self._number(version)]
                )
            if not taken:
                return False
            self._held.add(version)
        return True

    def beat(self, version: int) -> None:
        with self._errors():
            self._run("select 1")

    def release(self, version: int) -> None:
        if version in self._held:
            self._held.discard(version)
            with self._errors():
                self._run(f"select pg_advisory_unlock({VALUE})", [self._number(version)])

    def _number(self, version: int) -> int:
        text = repr((self._schema, self._name if version else "", version))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], signed=True)

    def _one_at_a_time(self) -> None:
        # "if not exists" is no help against somebody who is making it.
        self._run(f"select pg_advisory_xact_lock({VALUE})", [self._number(0)])

    def _run(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._connection is None:
            raise Down("not connected")
        # A "%" in a name would be taken for a place of a value.
        text = text.replace("%", "%%").replace(VALUE, "%s")
        # The names in it are quoted, and every value is a parameter.
        done = self._connection.execute(text.encode(), tuple(values), prepare=False)
        return done.fetchall() if done.description else []

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._connection is None:
            raise Down("not connected")
        with self._errors(), self._connection.transaction():
            yield

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self.close()
            if (error.sqlstate or "").startswith(_HOPELESS_STATES):
                raise self._refusal(error) from error
            raise Down(_line(error)) from error
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            raise Refused(_line(error)) from error
        except psycopg.Error as error:
            if error.sqlstate == _STANDBY:
                self.close()
                raise Down(_line(error)) from error
            raise self._refusal(error) from error

    def _table(self, name: str) -> str:
        return f"{quote(self._schema)}.{quote(name)}"

    def _source(self, group: Group, columns: Columns) -> tuple[str, list[Any]]:
        arrays: list[Any] = [_list(group.keys)]
        casts = [f"{VALUE}::text[]"]
        names = ["key"]
        for name, values in {**group.sets, **group.adds}.items():
            arrays.append(_list(values))
            casts.append(f"{VALUE}::{self.types[columns[name]]}[]")
            names.append(name)
        listed = ", ".join(map(quote, names))
        return f"unnest({', '.join(casts)}) as s({listed})", arrays

    def _delete(self, table: str, keys: Sequence[str]) -> None:
        self._run(f"delete from {table} where key = any({VALUE}::text[])", [list(keys)])  # noqa: S608


def _list(values: Any) -> list[Any]:
    return values.to_pylist() if hasattr(values, "to_pylist") else list(values)


def _public(conninfo: str) -> str:
    """Return where a database is, without user and password."""
    if "://" in conninfo:
        parts = urlsplit(conninfo)
        return f"{parts.hostname or 'socket'}{f':{parts.port}' if parts.port else ''}{parts.path}"
    import psycopg.conninfo

    found = psycopg.conninfo.conninfo_to_dict(conninfo)
    return f"{found.get('host', 'socket')}/{found.get('dbname', '')}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
