"""Choosing events: the filters of ``events(...)``.

The values become constants of DuckDB's expressions, never text of a query: a
relation made from parameters would be run at once, and a lazy one keeps Parquet
statistics and Bloom filters in use.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression, Expression, FunctionExpression

from esnb import instants
from esnb.errors import QueryError, shown
from esnb.log.snapshot import Segment, Snapshot

__all__ = ["Filters"]

_TEXTS = (
    "stream",
    "category",
    "event_type",
    "event_id",
    "tag",
    "actor",
    "correlation_id",
    "causation_id",
)
_INSTANTS = ("occurred_from", "occurred_to", "recorded_from", "recorded_to")
_POSITIONS = ("after", "before")


@dataclass(frozen=True)
class Filters:
    """Which events are asked for; parts that are not given ask nothing.

    Attributes
    ----------
    texts
        ``stream``, ``category``, ``event_type``, ``event_id``, ``tag``, ``actor``,
        ``correlation_id``, ``causation_id``: any of these values.
    instants
        ``occurred_from``, ``occurred_to``, ``recorded_from``, ``recorded_to``:
        from this instant on, and before that one.
    positions
        ``after``, ``before``: both exclusive.
    """

    texts: Mapping[str, tuple[str, ...]]
    instants: Mapping[str, datetime]
    positions: Mapping[str, int]

    @property
    def by_id(self) -> bool:
        """Whether they ask for single events, wherever those are."""
        return "stream" not in self.texts and any(
            name in self.texts for name in ("event_id", "correlation_id", "causation_id")
        )

    @classmethod
    def read(cls, given: Mapping[str, Any], zone: str | None) -> Filters:
        """Read filters as an analyst gives them; None means that the filter is not given.

        Parameters
        ----------
        zone
            Zone of times that carry none.

        Raises
        ------
        QueryError
            If a name is unknown or a value has the wrong type.
        InstantError
            If a time is unreadable, or naive without a zone.
        """
        known = (*_TEXTS, *_INSTANTS, *_POSITIONS)
        for name in given:
            if name not in known:
                raise QueryError(f"there is no filter {shown(name)}; there are {', '.join(known)}")
        asked = {name: value for name, value in given.items() if value is not None}
        return cls(
            {name: _texts(name, asked[name]) for name in _TEXTS if name in asked},
            {
                name: instants.instant(asked[name], declared=zone)
                for name in _INSTANTS
                if name in asked
            },
            {name: _position(name, asked[name]) for name in _POSITIONS if name in asked},
        )

    def prune(self, segments: Sequence[Segment]) -> list[Segment]:
        """Return the segments that can hold such events."""
        return [segment for segment in segments if self._may_hold(segment)]

    def _may_hold(self, segment: Segment) -> bool:
        streams = self.texts.get("stream")
        if streams is not None:
            low, high = segment.stream
            if not any(low <= stream <= high for stream in streams):
                return False
        categories = self.texts.get("category")
        if (
            categories is not None
            and segment.categories is not None
            and not set(categories).intersection(segment.categories)
        ):
            return False
        for name, at in self.instants.items():
            clock, _, side = name.partition("_")
            first, last = segment.occurred_on if clock == "occurred" else segment.recorded_on
            if (last < at) if side == "from" else (first >= at):
                return False
        after, before = self.positions.get("after"), self.positions.get("before")
        return (after is None or segment.last > after) and (
            before is None or segment.first < before
        )

    def tail(self, snapshot: Snapshot) -> pa.Table:
        """Return the tail, or nothing of it when its positions are not asked for."""
        before = self.positions.get("before")
        wanted = before is None or before > snapshot.watermark
        return snapshot.tail if wanted else snapshot.tail.slice(0, 0)

    def apply(self, events: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
        """Return those of `events` that are asked for, by position."""
        conditions = [
            *(_any_of(name, values) for name, values in self.texts.items()),
            *(_bound(name, at) for name, at in self.instants.items()),
        ]
        position = ColumnExpression("position")
        if "after" in self.positions:
            conditions.append(position > ConstantExpression(self.positions["after"]))
        if "before" in self.positions:
            conditions.append(position < ConstantExpression(self.positions["before"]))
        if conditions:
            events = events.filter(reduce(operator.and_, conditions))
        return events.order("position")


def _any_of(name: str, values: tuple[str, ...]) -> Expression:
    if not values:
        return ConstantExpression(False)
    if name == "tag":
        wanted = ConstantExpression(list(values))
        return FunctionExpression("list_has_any", ColumnExpression("tags"), wanted)
    column = ColumnExpression(name)
    if len(values) == 1:
        return column == ConstantExpression(values[0])
    return column.isin(*(ConstantExpression(value) for value in values))


def _bound(name: str, at: datetime) -> Expression:
    clock, _, side = name.partition("_")
    column, limit = ColumnExpression(f"{clock}_on"), ConstantExpression(at)
    return column >= limit if side == "from" else column < limit


def _texts(name: str, value: object) -> tuple[str, ...]:
    given: Iterable[object]
    if isinstance(value, str):
        given = (value,)
    elif isinstance(value, Iterable) and not isinstance(value, bytes | Mapping):
        given = value
    else:
        raise QueryError(f"{name}={shown(value)}: give a text or a list of texts")
    texts = []
    for text in given:
        if not isinstance(text, str):
            raise QueryError(f"{name}: {shown(text)} is no text; give a text or a list of texts")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise QueryError(
                f"{name}: {shown(text)} holds a lone surrogate, which no event can have"
            ) from None
        texts.append(str(text))
    return tuple(dict.fromkeys(texts))


def _position(name: str, value: Any) -> int:
    try:
        position = operator.index(value)
    except TypeError:
        position = None
    if position is None or isinstance(value, bool):
        raise QueryError(f"{name}={shown(value)}: give a position, a whole number from 0")
    # Beyond the type of the column there are no positions either way.
    return max(min(position, 2**63 - 1), -(2**63))
