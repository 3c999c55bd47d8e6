"""Read models in MongoDB, without transactions: every change is idempotent by position.

Before a batch is written, the checkpoint notes how far it goes; a batch that was cut off is
done over exactly as it was cut.  Each row carries the position through which it is known
(``_v``), and is changed only from an older one, so that doing a batch over changes no row
twice, and a runner that lost its lease changes nothing that another did since.  A row that was
deleted leaves ``{_id, _v, _gone: true}``: without it, such a runner could bring the row back.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

from esnb import instants, jsontext
from esnb.errors import SinkError
from esnb.write.projections.changes import Changes
from esnb.write.projections.readmodels.sink import (
    Checkpoint,
    DeadLetter,
    Down,
    Moved,
    Refused,
    Sink,
    State,
)

__all__ = ["MongoDBSink"]

_TWICE = 11000
# Not to be found in names of fields and collections: what MongoDB gives a meaning to.
_MEANING = {character: f"%{ord(character):02X}" for character in "%$.\x00_"}
_TOO_LARGE = (10334, 17280)
_HOPELESS = (13, 18)


class MongoDBSink(Sink):
    """Read models in a database of MongoDB.

    Parameters
    ----------
    url
        ``mongodb://host:27017``.
    database
        Its name.
    lease
        Seconds after which another runner takes over from one that is silent.
    timeout
        Seconds to find the server, and for an answer.
    """

    kind = "MongoDB"
    atomic = False

    def __init__(
        self, url: str, *, database: str = "esnb", lease: float = 10, timeout: float = 30
    ) -> None:
        self._url = url
        self._database = database
        self.lease = lease
        self._timeout = timeout
        self._client: Any = None
        self._holder = ""
        self._tokens: dict[int, int] = {}
        self._seen: dict[int, tuple[Any, float]] = {}

    @property
    def place(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.netloc.rpartition('@')[2]}/{self._database}"

    # --- names -------------------------------------------------------------------------------

    def collection(self, table: str, version: int) -> str:
        """Return the name of the collection of a table; ``{_gone: true}`` marks deleted rows."""
        return f"{field(table)}@{version}"

    def _rows(self, table: str, version: int) -> Any:
        return self._client[self._database][self.collection(table, version)]

    @property
    def _books(self) -> Any:
        return self._client[self._database]["esnb_projections"]

    @property
    def _dead(self) -> Any:
        return self._client[self._database]["esnb_dead_letters"]

    def _id(self, version: int) -> dict[str, Any]:
        return {"name": self._name, "version": version}

    def _mine(self, version: int) -> dict[str, Any]:
        return {"_id": self._id(version), "token": self._tokens.get(version, -1)}

    # --- connection and lease ----------------------------------------------------------------

    def open(self) -> None:
        if self._client is None:
            import pymongo

            milliseconds = int(self._timeout * 1000)
            self._client = pymongo.MongoClient(
                self._url,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
                retryWrites=False,
                w="majority",
                journal=True,
                tz_aware=True,
            )
            self._holder = secrets.token_hex(8)
            with self._errors():
                self._client.admin.command("ping")

    def close(self) -> None:
        self._tokens.clear()
        if self._client is not None:
            with suppress(Exception):
                self._client.close()
            self._client = None

    def acquire(self, version: int) -> bool:
        """Take the lease if it is free, or its holder was silent for the time of a lease.

        Silence is measured by the clock of who waits: no two clocks are compared.
        """
        import pymongo

        with self._errors():
            if version in self._tokens:
                self.beat(version)
                return True
            found = self._books.find_one({"_id": self._id(version)}, {"token": 1, "holder": 1,
                                                                      "beat": 1})  # fmt: skip
            if found is None:
                with suppress(pymongo.errors.DuplicateKeyError):
                    self._books.insert_one(
                        {"_id": self._id(version), "token": 0, "holder": None, "beat": 0}
                    )
                return self.acquire(version)
            sign = (found["token"], found["beat"])
            if found["holder"] is not None:
                seen, since = self._seen.get(version, (None, 0.0))
                if seen != sign:
                    self._seen[version] = (sign, time.monotonic())
                    return False
                if time.monotonic() - since < self.lease:
                    return False
            taken = self._books.update_one(
                {"_id": self._id(version), "token": sign[0], "beat": sign[1]},
                {"$inc": {"token": 1, "beat": 1}, "$set": {"holder": self._holder}},
            )
        if taken.matched_count:
            self._tokens[version] = sign[0] + 1
            return True
        return False

    def beat(self, version: int) -> None:
        with self._errors():
            found = self._books.update_one(self._mine(version), {"$inc": {"beat": 1}})
        if not found.matched_count:
            self._tokens.pop(version, None)
            raise Moved("the lease was lost")

    def release(self, version: int) -> None:
        if version in self._tokens and self._client is not None:
            with self._errors():
                self._books.update_one(
                    self._mine(version), {"$set": {"holder": None}, "$inc": {"beat": 1}}
                )
            self._tokens.pop(version, None)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        import pymongo.errors as errors

        if self._client is None:
            raise Down("not connected")
        try:
            yield
        except errors.OperationFailure as error:
            if error.code in _HOPELESS:
                raise SinkError(f"MongoDB at {self.place} refuses: {error}") from None
            if getattr(error, "timeout", False) or error.has_error_label("RetryableWriteError"):
                self.close()
                raise Down(str(error)) from error
            raise Refused(_line(error)) from error
        except (errors.ConnectionFailure, errors.ExecutionTimeout, errors.WTimeoutError) as error:
            self.close()
            raise Down(_line(error)) from error
        except errors.ConfigurationError as error:
            raise SinkError(f"MongoDB at {self.place}: {error}") from None
        except (errors.DocumentTooLarge, errors.InvalidOperation, OverflowError) as error:
            raise Refused(_line(error)) from error

    # --- bookkeeping -------------------------------------------------------------------------

    def state(self) -> State:
        with self._errors():
            found = list(self._books.find({"_id.name": self._name}))
        versions: dict[int, Checkpoint] = {}
        current, paused = None, False
        for one in found:
            version = one["_id"]["version"]
            if version == 0:
                current, paused = one.get("current"), bool(one.get("paused"))
            elif "position" in one:
                versions[version] = Checkpoint(
                    one["log_id"], one["position"], one["event_id"], one["shape"], one["through"]
                )
        return State(current, versions, paused)

    def create(self, version: int, checkpoint: Checkpoint) -> None:
        with self._errors():
            found = self._books.update_one(
                self._mine(version) | {"position": {"$exists": False}},
                {"$set": asdict(checkpoint)},
            )
        if not found.matched_count:
            raise Moved(f"version {version} was made by somebody else")

    def claim(self, version: int, old: Checkpoint, through: int) -> Checkpoint:
        with self._errors():
            found = self._books.update_one(
                self._mine(version)
                | {"position": old.position, "log_id": old.log_id, "through": old.through},
                {"$set": {"through": through}, "$inc": {"beat": 1}},
            )
        if not found.matched_count:
            raise Moved(f"version {version} is not at position {old.position} any more")
        return replace(old, through=through)

    def apply(
        self,
        version: int,
        old: Checkpoint,
        new: Checkpoint,
        changes: Changes,
        letters: Sequence[DeadLetter],
    ) -> None:
        if old.through is None:
            old = self.claim(version, old, new.position)
        if old.through != new.position:
            raise Moved(f"a batch through position {old.through} has to be done over first")
        with self._errors():
            for table, operations in self._operations(version, changes, new.position).items():
                self._write(table, version, operations)
            for letter in letters:
                self._dead.replace_one(
                    {"_id": self._id(version) | {"position": letter.position}},
                    {"_id": self._id(version) | {"position": letter.position}, **asdict(letter)},
                    upsert=True,
                )
            done = self._books.update_one(
                self._mine(version) | {"position": old.position, "through": old.through},
                {
                    "$set": {
                        "position": new.position,
                        "event_id": new.event_id,
                        "through": None,
                        "updated": instants.iso(instants.now()),
                    }
                },
            )
        if not done.matched_count:
            raise Moved("the lease was lost")

    def _operations(
        self, version: int, changes: Changes, position: int
    ) -> dict[str, list[tuple[str, dict[str, Any]]]]:
        """Return the update of each row that changes, by table."""
        found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
        for group in changes.groups:
            columns = self._tables[group.table]
            operations = found.setdefault(group.table, [])
            for key, sets, adds in group.rows():
                put = {"_v": position}
                unset = {"_gone": ""}
                if group.fresh:
                    unset |= dict.fromkeys((field(name) for name in columns), "")
                for name, value in sets.items():
                    if value is None:
                        unset[field(name)] = ""
                    else:
                        put[field(name)] = _bson(value)
                        unset.pop(field(name), None)
                update: dict[str, Any] = {"$set": put, "$unset": unset}
                if adds:
                    update["$inc"] = {field(name): _bson(value) for name, value in adds.items()}
                operations.append((key, update))
        for table, keys in changes.gone.items():
            nothing = dict.fromkeys(map(field, self._tables[table]), "")
            gone: dict[str, Any] = {"$set": {"_v": position, "_gone": True}}
            if nothing:
                gone["$unset"] = nothing
            found.setdefault(table, []).extend((key, gone) for key in keys)
        return found

    def _write(
        self, table: str, version: int, operations: Sequence[tuple[str, dict[str, Any]]]
    ) -> None:
        """Update rows, each only from a position before."""
        import pymongo

        updates = [
            pymongo.UpdateOne(
                {"_id": key, "_v": {"$lt": update["$set"]["_v"]}}, update, upsert=True
            )
            for key, update in operations
        ]
        if updates:
            self._bulk(table, version, updates)

    def _bulk(self, table: str, version: int, updates: Sequence[Any]) -> None:
        import pymongo.errors as errors

        try:
            self._rows(table, version).bulk_write(updates, ordered=False)
        except errors.BulkWriteError as error:
            # The row is there and newer: the guard found nothing, so that MongoDB tried to insert.
            wrong = [one for one in error.details["writeErrors"] if one["code"] != _TWICE]
            if wrong:
                raise Refused(f"{wrong[0]['errmsg']}") from error
            if error.details.get("writeConcernErrors"):
                raise Down(str(error.details["writeConcernErrors"])) from error

    def switch(self, version: int) -> None:
        with self._errors():
            self._books.update_one(
                {"_id": self._id(0)}, {"$set": {"current": version}}, upsert=True
            )

    def drop(self, version: int) -> None:
        known = self.state().versions.get(version)
        tables = {*self._tables, *(known.tables if known else ())}
        with self._errors():
            # First: nobody writes to it any more.
            self._books.update_one(
                {"_id": self._id(version)}, {"$unset": {"position": "", "through": ""}}
            )
            for table in tables:
                self._rows(table, version).drop()
            self._dead.delete_many({"_id.name": self._name, "_id.version": version})

    def pause(self, paused: bool) -> None:
        with self._errors():
            self._books.update_one({"_id": self._id(0)}, {"$set": {"paused": paused}}, upsert=True)

    def letters(self, version: int) -> list[DeadLetter]:
        with self._errors():
            found = list(self._dead.find({"_id.name": self._name, "_id.version": version}))
        for one in found:
            del one["_id"]
        return sorted((DeadLetter(**one) for one in found), key=lambda letter: letter.position)

    def settle(self, version: int, letter: DeadLetter, changes: Changes) -> None:
        import pymongo

        self.beat(version)
        with self._errors():
            for table, rows in self._operations(version, changes, letter.position).items():
                updates = []
                for key, update in rows:
                    del update["$set"]["_v"]
                    late = update | {
                        "$addToSet": {"_late": letter.position},
                        "$max": {"_v": letter.position},
                    }
                    if not late["$set"]:
                        del late["$set"]
                    # Later events were seen by this row: what tells a repetition is the letter.
                    guard = {"_id": key, "_late": {"$ne": letter.position}}
                    updates.append(pymongo.UpdateOne(guard, late, upsert=True))
                self._bulk(table, version, updates)
            self._dead.delete_one({"_id": self._id(version) | {"position": letter.position}})

    def rows(self, table: str, version: int | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        columns = self._tables[table]
        shown = self.state().current if version is None else version
        if shown is None:
            return
        with self._errors():
            found = self._rows(table, shown).find({"_gone": {"$exists": False}}).sort("_id")
            for row in found:
                yield (
                    row["_id"],
                    {name: _read(kind, row.get(field(name))) for name, kind in columns.items()},
                )


def field(name: str) -> str:
    """Return a name as MongoDB takes it for a field or collection: ``$``, ``.``… as in URLs."""
    return "".join(_MEANING.get(character, character) for character in name)


def name_of(escaped: str) -> str:
    """Return the name behind `field`."""
    return unquote(escaped)


def _bson(value: Any) -> Any:
    if isinstance(value, Decimal):
        import bson

        return bson.Decimal128(value)
    if isinstance(value, datetime):
        # Dates of BSON have milliseconds only.
        return instants.iso(value)
    return value.isoformat() if isinstance(value, date) else value


def _read(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind == "decimal":
        return value.to_decimal()
    readers: Mapping[str, Any] = {
        "instant": instants.instant,
        "date": date.fromisoformat,
        "json": jsontext.parse,
    }
    return readers[kind](value) if kind in readers else value


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
