"""What DuckDB and PostgreSQL have in common as sinks: SQL with transactions.

For a projection's table ``orders`` there is a table ``orders@1`` of its first version and a
view ``orders`` of the current one; a switch replaces the views in one transaction.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from esnb import instants, jsontext
from esnb.errors import SinkError
from esnb.sqltext import quote
from esnb.write.projections.changes import Changes, Columns, Group
from esnb.write.projections.readmodels.sink import Checkpoint, DeadLetter, Moved, Sink, State

__all__ = ["VALUE", "SqlSink"]

# Stands for a value in a statement.  No name holds NUL, whatever else it holds.
VALUE = "\x00"
_BOOKS = {
    "esnb_projections": "name text not null, version integer not null, log_id text not null,"
    " position bigint not null, event_id text, shape text not null, current boolean not null,"
    " updated text not null, primary key (name, version)",
    "esnb_dead_letters": "name text not null, version integer not null, position bigint not null,"
    " event_id text not null, stream text not null, event_type text not null,"
    " handler text not null, error text not null, failed_on text not null,"
    " primary key (name, version, position)",
    "esnb_paused": "name text not null primary key",
}
_CHECKPOINT = "log_id, position, event_id, shape"
_LETTER = "position, event_id, stream, event_type, handler, error, failed_on"


class SqlSink(Sink):
    """A sink that speaks SQL."""

    types: Mapping[str, str] = {}

    # --- what a database adds ----------------------------------------------------------------

    @abstractmethod
    def _run(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a statement of ours; return its rows, none where there are none."""

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[None]:
        """Commit at the end of the block, or roll back; errors become those of sinks."""

    @abstractmethod
    def _source(self, group: Group, columns: Columns) -> tuple[str, list[Any]]:
        """Return a FROM of the rows of a group, with a column ``key``, and its values."""

    @abstractmethod
    def _delete(self, table: str, keys: Sequence[str]) -> None:
        """Delete rows by key."""

    def _table(self, name: str) -> str:
        """Return the quoted name of a table or view."""
        return quote(name)

    def _one_at_a_time(self) -> None:
        """Let others wait who are about to make the tables of the bookkeeping, too."""

    # --- bookkeeping -------------------------------------------------------------------------

    def _make_books(self) -> None:
        with self._transaction():
            self._one_at_a_time()
            for name, columns in _BOOKS.items():
                self._run(f"create table if not exists {self._table(name)} ({columns})")

    def state(self) -> State:
        with self._transaction():
            rows = self._run(
                f"select version, {_CHECKPOINT}, current from {self._table('esnb_projections')}"  # noqa: S608
                f" where name = {VALUE} order by version",
                [self._name],
            )
            paused = self._run(
                f"select 1 from {self._table('esnb_paused')} where name = {VALUE}",  # noqa: S608
                [self._name],
            )
        versions = {row[0]: Checkpoint(row[1], row[2], row[3], row[4]) for row in rows}
        current = next((row[0] for row in rows if row[5]), None)
        return State(current, versions, bool(paused))

    def create(self, version: int, checkpoint: Checkpoint) -> None:
        with self._transaction():
            self._check_names()
            for table, columns in self._tables.items():
                defined = [f"{quote('key')} text not null primary key"]
                defined += [f"{quote(c)} {self.types[kind]}" for c, kind in columns.items()]
                self._run(f"create table {self._version(table, version)} ({', '.join(defined)})")
            self._run(
                f"insert into {self._table('esnb_projections')} values"  # noqa: S608
                f" ({', '.join([VALUE] * 8)})",
                [
                    self._name, version, checkpoint.log_id, checkpoint.position,
                    checkpoint.event_id, checkpoint.shape, False, instants.iso(instants.now()),
                ],
            )  # fmt: skip

    def _check_names(self) -> None:
        """Refuse a table that another projection has: their views would take turns."""
        rows = self._run(
            f"select name, {_CHECKPOINT} from {self._table('esnb_projections')}"  # noqa: S608
            f" where name <> {VALUE}",
            [self._name],
        )
        ours = {table.lower(): table for table in self._tables}
        for name, *checkpoint in rows:
            for table in Checkpoint(*checkpoint).tables:
                if table.lower() in ours:
                    raise SinkError(
                        f"{self.kind} at {self.place}: the table {ours[table.lower()]!r} is that "
                        f"of the projection {name!r}; call it otherwise in {self._name!r}, or give "
                        "that a place of its own"
                    )

    def apply(
        self,
        version: int,
        old: Checkpoint,
        new: Checkpoint,
        changes: Changes,
        letters: Sequence[DeadLetter],
    ) -> None:
        with self._transaction():
            # First: whoever else moves or drops this version now waits, or is told.
            self._advance(version, old, new)
            self._change(version, changes)
            for letter in letters:
                self._run(
                    f"insert into {self._table('esnb_dead_letters')} (name, version, {_LETTER})"  # noqa: S608
                    f" values ({', '.join([VALUE] * 9)})",
                    [self._name, version, *_values(letter)],
                )

    def _advance(self, version: int, old: Checkpoint, new: Checkpoint) -> None:
        moved = self._run(
            f"update {self._table('esnb_projections')}"  # noqa: S608
            f" set position = {VALUE}, event_id = {VALUE}, updated = {VALUE}"
            f" where name = {VALUE} and version = {VALUE} and position = {VALUE}"
            f" and log_id = {VALUE} returning version",
            [
                new.position, new.event_id, instants.iso(instants.now()),
                self._name, version, old.position, old.log_id,
            ],
        )  # fmt: skip
        if not moved:
            raise Moved(f"version {version} is not at position {old.position} any more")

    def _change(self, version: int, changes: Changes) -> None:
        for table, keys in changes.gone.items():
            self._delete(self._version(table, version), keys)
        for group in changes.groups:
            columns = self._tables[group.table]
            source, values = self._source(group, columns)
            names = [*group.sets, *group.adds]
            listed = ", ".join(map(quote, ["key", *names]))
            self._run(
                f"insert into {self._version(group.table, version)} as t ({listed})"  # noqa: S608
                f" select {listed} from {source} on conflict ({quote('key')})"
                f" {_conflict(group, columns)}",
                values,
            )

    def switch(self, version: int) -> None:
        with self._transaction():
            books = self._table("esnb_projections")
            known = self._run(
                f"select version, shape, current from {books} where name = {VALUE}",  # noqa: S608
                [self._name],
            )
            shapes = {number: shape for number, shape, _ in known}
            same = any(current and shape == shapes.get(version) for _, shape, current in known)
            for table in self._tables:
                view = self._table(table)
                if not same:
                    self._run(f"drop view if exists {view}")
                rows = f"select * from {self._version(table, version)}"  # noqa: S608
                self._run(f"create or replace view {view} as {rows}")
            self._run(
                f"update {books} set current = (version = {VALUE}) where name = {VALUE}",  # noqa: S608
                [version, self._name],
            )

    def drop(self, version: int) -> None:
        known = self.state().versions.get(version)
        tables = dict.fromkeys([*self._tables, *(known.tables if known else ())])
        with self._transaction():
            for books in ("esnb_projections", "esnb_dead_letters"):
                self._run(
                    f"delete from {self._table(books)} where name = {VALUE} and version = {VALUE}",  # noqa: S608
                    [self._name, version],
                )
            for table in tables:
                if table not in self._tables:
                    self._run(f"drop view if exists {self._table(table)}")
                self._run(f"drop table if exists {self._version(table, version)}")

    def pause(self, paused: bool) -> None:
        with self._transaction():
            table = self._table("esnb_paused")
            self._run(f"delete from {table} where name = {VALUE}", [self._name])  # noqa: S608
            if paused:
                self._run(f"insert into {table} values ({VALUE})", [self._name])  # noqa: S608

    def letters(self, version: int) -> list[DeadLetter]:
        with self._transaction():
            rows = self._run(
                f"select {_LETTER} from {self._table('esnb_dead_letters')}"  # noqa: S608
                f" where name = {VALUE} and version = {VALUE} order by position",
                [self._name, version],
            )
        return [DeadLetter(*row) for row in rows]

    def settle(self, version: int, letter: DeadLetter, changes: Changes) -> None:
        with self._transaction():
            found = self._run(
                f"delete from {self._table('esnb_dead_letters')} where name = {VALUE}"  # noqa: S608
                f" and version = {VALUE} and position = {VALUE} returning position",
                [self._name, version, letter.position],
            )
            if found:
                self._change(version, changes)

    def rows(self, table: str, version: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        columns = self._tables[table]
        listed = ", ".join(
            f"cast({quote(name)} as varchar)" if kind == "json" else quote(name)
            for name, kind in {"key": "text", **columns}.items()
        )
        place = self._table(table) if version is None else self._version(table, version)
        with self._transaction():
            found = self._run(f"select {listed} from {place} order by {quote('key')}")  # noqa: S608
        for key, *values in found:
            yield (
                key,
                {
                    name: _read(kind, value)
                    for (name, kind), value in zip(columns.items(), values, strict=True)
                },
            )

    def _version(self, table: str, version: int) -> str:
        return self._table(f"{table}@{version}")

    def _refusal(self, error: Exception) -> SinkError:
        return SinkError(
            f"{self.kind} at {self.place} refuses what the projection {self._name!r} asks: "
            f"{' '.join(str(error).split())}"
        )


def _conflict(group: Group, columns: Columns) -> str:
    """Return what becomes of a row that is there already."""
    parts = []
    for name in columns:
        column = quote(name)
        if name in group.sets:
            new = f"excluded.{column}"
            parts.append(f"{column} = coalesce({new}, t.{column})" if group.sparse else
                         f"{column} = {new}")  # fmt: skip
        elif name in group.adds:
            parts.append(f"{column} = coalesce(t.{column} + excluded.{column},"
                         f" excluded.{column}, t.{column})")  # fmt: skip
        elif group.fresh:
            parts.append(f"{column} = null")
    return f"do update set {', '.join(parts)}" if parts else "do nothing"


def _values(letter: DeadLetter) -> list[Any]:
    return [
        letter.position, letter.event_id, letter.stream, letter.event_type,
        letter.handler, letter.error.replace("\x00", "\\x00"), letter.failed_on,
    ]  # fmt: skip


def _read(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "json":
        return jsontext.parse(value)
    return instants.instant(value) if kind == "instant" else value
