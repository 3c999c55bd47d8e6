"""Read models in Redis: rows and checkpoint in one MULTI, under a lock with a token.

A row is a hash; the set ``…:ids`` of its table holds the keys of all rows, also of those whose
columns are all NULL, of which Redis keeps no hash.  Values are text: numbers in digits, True
and False as ``1`` and ``0``, instants and dates in ISO 8601; NULL is a field that is not there.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from esnb import instants, jsontext
from esnb.errors import SinkError
from esnb.write.projections.changes import Changes
from esnb.write.projections.columns import EXACT
from esnb.write.projections.readmodels.sink import (
    Checkpoint,
    DeadLetter,
    Down,
    Moved,
    Refused,
    Sink,
    State,
)

if TYPE_CHECKING:
    import redis as client

__all__ = ["RedisSink"]

_MANY = 1000
_INT = 2**63
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end"
_RENEW = (
    "if redis.call('get', KEYS[1]) == ARGV[1] then"
    " return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
)


class RedisSink(Sink):
    """Read models in Redis.

    Parameters
    ----------
    url
        ``redis://host:6379/0``.
    lease
        Seconds after which another runner may take over from one that is silent.
    timeout
        Seconds for a connection, and for an answer.
    """

    kind = "Redis"

    def __init__(self, url: str, *, lease: float = 10, timeout: float = 30) -> None:
        self._url = url
        self.lease = lease
        self._timeout = timeout
        self._redis: Any = None
        self._tokens: dict[int, bytes] = {}

    @property
    def place(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.hostname or 'socket'}{f':{parts.port}' if parts.port else ''}{parts.path}"

    # --- names -------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """What the keys of the projection begin with; of one slot in a cluster."""
        return f"esnb:{{{quote(self._name, safe='')}}}"

    def row_key(self, table: str, key: str, version: int) -> str:
        """Return the Redis key of a row."""
        return f"{self.prefix}:{version}:{quote(table, safe='')}:row:{key}"

    def _ids(self, table: str, version: int) -> str:
        return f"{self.prefix}:{version}:{quote(table, safe='')}:ids"

    def _lock(self, version: int) -> str:
        return f"{self.prefix}:{version}:lock"

    def _letters(self, version: int) -> str:
        return f"{self.prefix}:{version}:letters"

    @property
    def _state(self) -> str:
        return f"{self.prefix}:state"

    # --- connection and lease ----------------------------------------------------------------

    def open(self) -> None:
        if self._redis is None:
            import redis

            # One try each: who runs the projection waits and tries again, and says so.
            self._redis = redis.Redis.from_url(
                self._url,
                socket_timeout=self._timeout,
                socket_connect_timeout=self._timeout,
                retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0),
            )
            with self._errors():
                self._redis.ping()
            self._finish_drops()

    def close(self) -> None:
        self._tokens.clear()
        if self._redis is not None:
            with suppress(Exception):
                self._redis.close()
            self._redis = None

    def acquire(self, version: int) -> bool:
        token = secrets.token_bytes(16)
        with self._errors():
            if version in self._tokens and self._renewed(version):
                return True
            taken = self._redis.set(self._lock(version), token, nx=True, px=self._milliseconds)
        if taken:
            self._tokens[version] = token
        return bool(taken)

    def beat(self, version: int) -> None:
        with self._errors():
            if not self._renewed(version):
                self._tokens.pop(version, None)
                raise Moved("the lease was lost")

    def release(self, version: int) -> None:
        token = self._tokens.pop(version, None)
        if token is not None and self._redis is not None:
            with self._errors():
                self._redis.eval(_RELEASE, 1, self._lock(version), token)

    def _renewed(self, version: int) -> bool:
        token = self._tokens.get(version, b"")
        return bool(self._redis.eval(_RENEW, 1, self._lock(version), token, self._milliseconds))

    @property
    def _milliseconds(self) -> int:
        return max(1, int(self.lease * 1000))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import redis.exceptions as errors

        if self._redis is None:
            raise Down("not connected")
        try:
            yield
        except errors.WatchError as error:
            raise Moved("somebody else works on it") from error
        except errors.AuthenticationError as error:
            raise SinkError(f"Redis at {self.place} refuses the connection: {error}") from None
        except (
            errors.ConnectionError,
            errors.TimeoutError,
            errors.ReadOnlyError,
            OSError,
        ) as error:
            self.close()
            raise Down(str(error)) from error
        except errors.RedisError as error:
            text = str(error)
            if text.startswith(("OOM", "EXECABORT", "MISCONF", "LOADING", "CLUSTERDOWN", "NOREPL")):
                self.close()
                raise Down(text) from error
            raise SinkError(
                f"Redis at {self.place} refuses what the projection {self._name!r} asks: {text}"
            ) from error

    # --- bookkeeping -------------------------------------------------------------------------

    def state(self) -> State:
        with self._errors():
            found = self._redis.hgetall(self._state)
        versions = {
            int(name[1:]): _checkpoint(value) for name, value in found.items() if name[:1] == b"v"
        }
        current = found.get(b"current")
        return State(None if current is None else int(current), versions, b"paused" in found)

    def create(self, version: int, checkpoint: Checkpoint) -> None:
        with self._errors():
            self._redis.hset(self._state, f"v{version}", _text(checkpoint))

    def apply(
        self,
        version: int,
        old: Checkpoint,
        new: Checkpoint,
        changes: Changes,
        letters: Sequence[DeadLetter],
    ) -> None:
        with self._errors(), self._guarded(version) as commands:
            known = commands.hget(self._state, f"v{version}")
            if known is None or _checkpoint(known) != old:
                raise Moved(f"version {version} is not at position {old.position} any more")
            sums = self._sums(version, changes)
            commands.multi()
            commands.pexpire(self._lock(version), self._milliseconds)
            commands.hset(self._state, f"v{version}", _text(new))
            self._change(commands, version, changes, sums)
            for letter in letters:
                commands.hset(self._letters(version), str(letter.position), _json(letter))
            commands.execute()

    @contextmanager
    def _guarded(self, version: int) -> Iterator[client.client.Pipeline]:
        """Give a pipeline that is executed only if lease and checkpoint stay what they are."""
        with self._redis.pipeline(transaction=True) as commands:
            commands.watch(self._state, self._lock(version))
            if commands.get(self._lock(version)) != self._tokens.get(version, b""):
                self._tokens.pop(version, None)
                raise Moved("the lease was lost")
            yield commands

    def _sums(self, version: int, changes: Changes) -> dict[tuple[str, str, str], Any]:
        """Return what the sums become, by table, key and column.

        Worked out here, and not by HINCRBY: a command that fails within a MULTI leaves the
        others done, and Redis has no decimals.
        """
        asked: list[tuple[str, str, dict[str, Any]]] = [
            (group.table, key, adds)
            for group in changes.groups
            if group.adds
            for key, _, adds in group.rows()
            if adds
        ]
        with self._redis.pipeline(transaction=False) as reading:
            for table, key, adds in asked:
                reading.hmget(self.row_key(table, key, version), list(adds))
            found = reading.execute()
        sums: dict[tuple[str, str, str], Any] = {}
        for (table, key, adds), values in zip(asked, found, strict=True):
            for (name, amount), value in zip(adds.items(), values, strict=True):
                kind = self._tables[table][name]
                total = _sum(kind, value, amount)
                if kind == "int" and not -_INT <= total < _INT:
                    raise Refused(f"the sum in {name!r} of row {key!r} does not fit into 64 bits")
                sums[table, key, name] = total
        return sums

    def _change(
        self,
        commands: Any,
        version: int,
        changes: Changes,
        sums: dict[tuple[str, str, str], Any],
    ) -> None:
        for table, keys in changes.gone.items():
            for start in range(0, len(keys), _MANY):
                some = keys[start : start + _MANY]
                commands.unlink(*(self.row_key(table, key, version) for key in some))
                commands.srem(self._ids(table, version), *some)
        for group in changes.groups:
            ids: list[str] = []
            for key, sets, adds in group.rows():
                place = self.row_key(group.table, key, version)
                ids.append(key)
                if group.fresh:
                    commands.unlink(place)
                values = {name: _write(value) for name, value in sets.items() if value is not None}
                values |= {name: _write(sums[group.table, key, name]) for name in adds}
                if values:
                    commands.hset(place, mapping=values)
                nothing = [name for name, value in sets.items() if value is None]
                if nothing and not group.fresh:
                    commands.hdel(place, *nothing)
            for start in range(0, len(ids), _MANY):
                commands.sadd(self._ids(group.table, version), *ids[start : start + _MANY])

    def switch(self, version: int) -> None:
        with self._errors():
            self._redis.hset(self._state, "current", version)

    def drop(self, version: int) -> None:
        known = self.state().versions.get(version)
        tables = sorted({*self._tables, *(known.tables if known else ())})
        with self._errors(), self._redis.pipeline(transaction=True) as commands:
            # From now on nobody writes to it; who is cut off here finds the note.
            commands.hdel(self._state, f"v{version}")
            commands.hset(self._state, f"drop{version}", json.dumps(tables))
            commands.execute()
        self._finish_drops()

    def _finish_drops(self) -> None:
        with self._errors():
            found = self._redis.hgetall(self._state)
            for name, tables in found.items():
                if not name.startswith(b"drop"):
                    continue
                version = int(name[4:])
                for table in json.loads(tables):
                    self._clear(table, version)
                self._redis.delete(self._letters(version))
                self._redis.hdel(self._state, name)

    def _clear(self, table: str, version: int) -> None:
        ids = self._ids(table, version)
        some: list[str] = []
        for key in self._redis.sscan_iter(ids, count=_MANY):
            some.append(self.row_key(table, key.decode(), version))
            if len(some) == _MANY:
                self._redis.unlink(*some)
                some.clear()
        if some:
            self._redis.unlink(*some)
        self._redis.unlink(ids)

    def pause(self, paused: bool) -> None:
        with self._errors():
            if paused:
                self._redis.hset(self._state, "paused", 1)
            else:
                self._redis.hdel(self._state, "paused")

    def letters(self, version: int) -> list[DeadLetter]:
        with self._errors():
            found = self._redis.hgetall(self._letters(version))
        letters = [DeadLetter(**json.loads(value)) for value in found.values()]
        return sorted(letters, key=lambda letter: letter.position)

    def settle(self, version: int, letter: DeadLetter, changes: Changes) -> None:
        with self._errors(), self._guarded(version) as commands:
            if not commands.hexists(self._letters(version), str(letter.position)):
                return
            sums = self._sums(version, changes)
            commands.multi()
            commands.hdel(self._letters(version), str(letter.position))
            self._change(commands, version, changes, sums)
            commands.execute()

    def rows(self, table: str, version: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        columns = self._tables[table]
        shown = self.state().current if version is None else version
        if shown is None:
            return
        with self._errors():
            keys = sorted(key.decode() for key in self._redis.smembers(self._ids(table, shown)))
        for start in range(0, len(keys), _MANY):
            some = keys[start : start + _MANY]
            with self._errors(), self._redis.pipeline(transaction=False) as reading:
                for key in some:
                    reading.hgetall(self.row_key(table, key, shown))
                found = reading.execute()
            for key, row in zip(some, found, strict=True):
                yield (
                    key,
                    {name: _read(kind, row.get(name.encode())) for name, kind in columns.items()},
                )


def _sum(kind: str, value: bytes | None, amount: Any) -> Any:
    if value is None:
        return amount
    known = _read(kind, value)
    return EXACT.add(known, amount) if kind == "decimal" else known + amount


def _write(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, datetime):
        return instants.iso(value)
    if isinstance(value, date):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def _read(kind: str, value: bytes | None) -> Any:
    if value is None:
        return None
    text = value.decode()
    if kind == "bool":
        return text == "1"
    readers: dict[str, Any] = {
        "int": int,
        "decimal": Decimal,
        "float": float,
        "instant": instants.instant,
        "date": date.fromisoformat,
        "json": jsontext.parse,
    }
    return readers[kind](text) if kind in readers else text


def _text(checkpoint: Checkpoint) -> str:
    return json.dumps(asdict(checkpoint), sort_keys=True)


def _checkpoint(value: Any) -> Checkpoint:
    return Checkpoint(**json.loads(value))


def _json(letter: DeadLetter) -> str:
    return json.dumps(asdict(letter))
