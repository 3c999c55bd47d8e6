"""Aggregates that were asked for lately, so that a command need not fold them again."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from esnb.aggregate import Aggregate
from esnb.event import RecordedEvent
from esnb.log import Log
from esnb.log.tail import Head
from esnb.write.commands.repository import Loaded, Repository, replayed

__all__ = ["Recent", "copied"]

_Key = tuple[type[Aggregate], str]

# Values that nobody can change.
_FIXED = frozenset({type(None), bool, int, float, str, bytes, Decimal, UUID, date, datetime})


class Recent:
    """The states of some streams, each the fold of what was recorded and of nothing else.

    A state is used only if the log has, at its revision, the event that it was made after, and
    is brought up to date with the events that came since.

    Parameters
    ----------
    log
        The log.
    most
        How many are held; those that were not asked for the longest time go.
    """

    def __init__(self, log: Log, most: int) -> None:
        self._log = log
        self._most = most
        self._held: OrderedDict[_Key, Loaded[Aggregate]] = OrderedDict()
        # Events that came after the state that is held; they are folded when it is asked for.
        self._pending: dict[_Key, list[RecordedEvent]] = {}
        self._lock = threading.Lock()

    def load(
        self, repository: Repository[Any], stream: str, head: Head | None
    ) -> Loaded[Aggregate] | None:
        """Return a copy of an aggregate as it stands, yours to change; None if it is not there.

        Parameters
        ----------
        head
            Where the stream stands, if that is known.
        """
        key = (repository.kind, stream)
        with self._lock:
            held = self._caught_up(key)
            if held is not None:
                self._held.move_to_end(key)
                held = Loaded(copied(held.aggregate), held.event_id, held.position, 0)
        if held is not None:
            if head is not None and head == (held.aggregate.revision, held.position):
                return held
            since = self._log.read_stream(stream, after=held.aggregate.revision - 1)
            first = next(since, None)
            if first is not None and first.event_id == held.event_id:
                newer = replayed(held.aggregate, since, None)
                return held if newer is None else self._hold(newer)
            self.forget(*key)
        loaded = repository.load(stream)
        return None if loaded is None else self._hold(loaded)

    def take(self, kind: type[Aggregate], stream: str, events: Sequence[RecordedEvent]) -> None:
        """Take in events that were just recorded, if the state before them is held."""
        key = (kind, stream)
        with self._lock:
            held = self._held.get(key)
            if held is None and events[0].revision == 0:
                self._put(Loaded(kind(stream), "", -1, 0))
                held = self._held.get(key)
            if held is None:
                return
            pending = self._pending.setdefault(key, [])
            newest = pending[-1].revision if pending else held.aggregate.revision
            if newest == events[0].revision - 1:
                pending.extend(events)

    def held(self, kind: type[Aggregate], stream: str) -> Loaded[Aggregate] | None:
        """Return a copy of the state that is held, which may not be the newest."""
        with self._lock:
            held = self._caught_up((kind, stream))
            if held is None:
                return None
            self._held.move_to_end((kind, stream))
            return Loaded(copied(held.aggregate), held.event_id, held.position, 0)

    def _caught_up(self, key: _Key) -> Loaded[Aggregate] | None:
        """Fold what was taken in, now that it is asked for."""
        held = self._held.get(key)
        pending = self._pending.pop(key, None)
        if held is not None and pending:
            # Should an event not fit, nothing half moved stays behind.
            del self._held[key]
            held = replayed(held.aggregate, iter(pending), None)
            if held is not None:
                self._held[key] = held
        return held

    def forget(self, kind: type[Aggregate], stream: str) -> None:
        """Hold a state no longer."""
        with self._lock:
            self._held.pop((kind, stream), None)
            self._pending.pop((kind, stream), None)

    def _hold(self, loaded: Loaded[Aggregate]) -> Loaded[Aggregate]:
        """Hold a state; return a copy of it."""
        copy_ = replace(loaded, aggregate=copied(loaded.aggregate))
        with self._lock:
            self._put(loaded)
        return copy_

    def _put(self, loaded: Loaded[Aggregate]) -> None:
        key = (type(loaded.aggregate), loaded.aggregate.stream)
        held = self._held.get(key)
        if held is None or held.aggregate.revision < loaded.aggregate.revision:
            self._held[key] = loaded
            self._held.move_to_end(key)
            self._pending.pop(key, None)
        while len(self._held) > self._most:
            gone, _ = self._held.popitem(last=False)
            self._pending.pop(gone, None)


class _NotPlain(Exception):
    """A value that is copied by the means of Python itself."""


def copied(aggregate: Aggregate) -> Aggregate:
    """Return an aggregate that shares nothing with the given one that can change."""
    made = object.__new__(type(aggregate))
    held = vars(aggregate)
    try:
        seen: set[int] = set()
        made.__dict__ = {
            name: value if type(value) in _FIXED else _own(value, seen)
            for name, value in held.items()
        }
    except _NotPlain:
        made.__dict__ = copy.deepcopy(held)
    return made


def _own(value: Any, seen: set[int]) -> Any:
    kind = type(value)
    if isinstance(value, Enum) or (kind is tuple and not value):
        return value
    if kind not in (dict, list, set) or id(value) in seen:
        raise _NotPlain
    # One list that two fields share is still one in the copy.
    seen.add(id(value))
    if kind is dict:
        return {
            key: item if type(item) in _FIXED else _own(item, seen) for key, item in value.items()
        }
    if kind is list:
        return [item if type(item) in _FIXED else _own(item, seen) for item in value]
    return set(value)
