"""Object-centric flows: events that concern several objects, of several types, counted once.

A flow of one kind of case counts an event of three items three times when items are the cases
(*convergence*), and in the case of an order mixes what happened to different items
(*divergence*).  Here each type of object has its own directly-follows graph over the same
events, and how much is shared stands beside it.

References
----------
W.M.P. van der Aalst: Object-centric process mining: dealing with divergence and convergence in
event data (SEFM 2019).  OCEL 2.0, https://www.ocel-standard.org.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb import progress
from esnb.flow import graph
from esnb.flow.concerned import NUL, ObjectSelection
from esnb.flow.flow import Flow
from esnb.flow.names import unknown
from esnb.flow.steps import Ints, Steps, instants_of, interval_sql, ordered
from esnb.show import UNTYPESET, html_table

__all__ = ["ObjectFlow"]

# So many numbers are counted in a table of all of them.
_FEW = 1_000_000
_SHOWN = 12


@dataclass(frozen=True)
class _Spread:
    """How pairs of a group and a thing are spread: per group, all of them in NumPy arrays.

    Attributes
    ----------
    distinct
        How many things there are.
    several
        How many of them come more than once.
    most
        How often the one comes that comes most.
    """

    distinct: Ints
    several: Ints
    most: Ints

    @classmethod
    def of(cls, group: Ints, thing: Ints, groups: int) -> _Spread:
        # Groups and things are fewer than events each, so that the product has room.
        things = int(thing.max(initial=0)) + 1
        keys = group * things + thing
        keys.sort()
        starts = np.flatnonzero(np.diff(keys, prepend=-1))
        lengths = np.diff(starts, append=len(keys))
        owner = keys[starts] // things
        most = np.zeros(groups, np.int64)
        if len(owner):
            begins = np.flatnonzero(np.diff(owner, prepend=-1))
            most[owner[begins]] = np.maximum.reduceat(lengths, begins)
        return cls(
            np.bincount(owner, minlength=groups),
            np.bincount(owner[lengths > 1], minlength=groups),
            most,
        )


class ObjectFlow:
    """How the objects went that events concern: a graph for each type of them.

    Nothing is read before the first question.  An event that concerns several objects is one
    event: ``events`` always counts events, ``objects`` objects, and ``count`` pairs of them.

    Parameters
    ----------
    selection
        The events; see `esnb.eventlog.EventLog.object_flow`.
    """

    def __init__(self, selection: ObjectSelection) -> None:
        self.selection = selection
        self._lock = threading.Lock()
        self._steps: Steps | None = None

    def built(self) -> Steps:
        """Return the events of every object in order; they are read once."""
        with self._lock:
            if self._steps is None:
                chosen = self.selection
                with progress.bar(None, None, " events", f"flow of {chosen.of}") as seen:
                    by_time = chosen.clock == "occurred"
                    self._steps = ordered(chosen.batches(), by_time=by_time, seen=seen)
            return self._steps

    @cached_property
    def _parts(self) -> dict[str, Steps]:
        """The steps of the objects of each type, which lie together."""
        steps = self.built()
        kinds = pc.list_element(pc.split_pattern(steps.names, NUL, max_splits=1), 0)
        found = kinds.dictionary_encode()
        firsts = np.searchsorted(found.indices.to_numpy(), np.arange(len(found.dictionary) + 1))
        return {
            kind: _cut(steps, int(first), int(last))
            for kind, first, last in zip(
                found.dictionary.to_pylist(), firsts[:-1], firsts[1:], strict=True
            )
        }

    def _each(self) -> Iterable[tuple[str, Steps]]:
        """The types with their steps; of no objects one of nothing, which has all columns."""
        return self._parts.items() or [("", self.built())]

    @property
    def types(self) -> list[str]:
        """The types of objects that there are, sorted."""
        return list(self._parts)

    def flow(self, object_type: str) -> Flow:
        """Return the flow of the objects of one type, each of which is a case ``type:id``.

        Raises
        ------
        FlowError
            If there are no such objects; it names near types.
        """
        if object_type not in self._parts:
            raise unknown("type of objects", object_type, self._parts)
        return Flow(self.selection.only(object_type), self._parts[object_type], whole=True)

    def directly_follows(self) -> duckdb.DuckDBPyRelation:
        """Return which event comes after which, for each type of object.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``object_type``, ``kind`` ('start', 'step' or 'end'), ``source``, ``target`` (NULL
            before the first event of an object, and behind its last), ``events`` (different
            events that come so: targets, for 'end' sources), ``objects`` (that go so),
            ``count`` (how often objects go so), ``median_wait``, ``p95_wait`` (over these; NULL
            but for steps).  By object type, then by count from the highest.
        """
        tables = []
        for kind, part in self._each():
            edges = graph.edges(part)
            events = _events_of_edges(part)
            own = zip(
                *(edges[name].to_pylist() for name in ("kind", "source", "target")), strict=True
            )
            tables.append(
                edges.drop_columns(["mean_wait"])
                .add_column(0, "object_type", pa.array([kind] * len(edges), pa.string()))
                .append_column("events", pa.array([events[edge] for edge in own], pa.int64()))
            )
        return self._answer(
            "SELECT f.object_type, f.kind, f.source, f.target, f.events, f.cases AS objects,"  # noqa: S608
            f' f."count", {interval_sql("f.median_wait")} AS median_wait,'
            f" {interval_sql('f.p95_wait')} AS p95_wait FROM found AS f",
            pa.concat_tables(tables),
        )

    def activities(self) -> duckdb.DuckDBPyRelation:
        """Return the event types, each event counted once however many objects it concerns.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``event_type``, ``events``, ``objects`` (of any type), ``object_types``,
            ``mean_objects``, ``max_objects`` (of an event).  By events from the highest.
        """
        steps = self.built()
        groups = len(steps.types)
        kinds = steps.type_ids.astype(np.int64)
        events = _Spread.of(kinds, steps.positions, groups)
        objects = _Spread.of(kinds, steps.case_numbers, groups)
        sorts = np.zeros(groups, np.int64)
        for _, part in self._each():
            sorts += np.bincount(part.type_ids, minlength=groups) > 0
        there = np.flatnonzero(events.distinct)
        pairs = np.bincount(steps.type_ids, minlength=groups)
        columns = {
            "events": events.distinct,
            "objects": objects.distinct,
            "object_types": sorts,
            "mean_objects": pairs / np.maximum(events.distinct, 1),
            "max_objects": events.most,
        }
        found = pa.table(
            {
                "event_type": pa.array(steps.types, pa.string()).take(pa.array(there)),
                **{name: column[there] for name, column in columns.items()},
            }
        )
        return self._answer("FROM found ORDER BY events DESC, event_type", found)

    def sharing(self) -> duckdb.DuckDBPyRelation:
        """Return how events are shared by objects, for each event type and type of object.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``event_type``, ``object_type``; ``events`` (that concern such an object),
            ``objects`` (that such an event concerns), ``count`` (pairs of both).
            Convergence, one event of many objects: ``mean_objects``, ``max_objects`` (of an
            event), ``shared_events`` (with more than one object of the type: a flow of these
            cases counts them again).  Divergence, one object with many such events:
            ``mean_events``, ``max_events`` (of an object), ``repeated_objects`` (with more than
            one).  By event type and object type.
        """
        tables = []
        for kind, part in self._each():
            groups = len(part.types)
            kinds = part.type_ids.astype(np.int64)
            events = _Spread.of(kinds, part.positions, groups)
            objects = _Spread.of(kinds, part.case_numbers, groups)
            count = np.bincount(part.type_ids, minlength=groups)
            there = np.flatnonzero(count)
            columns = {
                "events": events.distinct,
                "objects": objects.distinct,
                "count": count,
                "mean_objects": count / np.maximum(events.distinct, 1),
                "max_objects": events.most,
                "shared_events": events.several,
                "mean_events": count / np.maximum(objects.distinct, 1),
                "max_events": objects.most,
                "repeated_objects": objects.several,
            }
            tables.append(
                pa.table(
                    {
                        "event_type": pa.array(part.types, pa.string()).take(pa.array(there)),
                        "object_type": pa.array([kind] * len(there), pa.string()),
                        **{name: column[there] for name, column in columns.items()},
                    }
                )
            )
        return self._answer("FROM found ORDER BY event_type, object_type", pa.concat_tables(tables))

    def objects(self) -> duckdb.DuckDBPyRelation:
        """Return the types of objects.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``object_type``, ``objects``, ``events`` (that concern one of them), ``mean_events``,
            ``max_events`` (of an object), ``mean_objects``, ``max_objects`` (of an event),
            ``shared_events`` (with more than one such object), ``first_seen``, ``last_seen``.
            By objects from the most.
        """
        rows = []
        for kind, part in self._parts.items():
            spread = _Spread.of(np.zeros(len(part), np.int64), part.positions, 1)
            events = int(spread.distinct[0])
            rows.append(
                (
                    kind,
                    part.cases,
                    events,
                    len(part) / part.cases,
                    int(part.lengths.max()),
                    len(part) / events,
                    int(spread.most[0]),
                    int(spread.several[0]),
                    int(part.at.min()),
                    int(part.at.max()),
                )
            )
        columns = list(zip(*rows, strict=True)) or [()] * len(_OBJECTS)
        found = pa.table(
            {
                name: pa.array(column, kind)
                for (name, kind), column in zip(_OBJECTS.items(), columns, strict=True)
            }
        )
        for name in ("first_seen", "last_seen"):
            place = found.column_names.index(name)
            found = found.set_column(place, name, instants_of(found[name].to_numpy()))
        return self._answer("FROM found ORDER BY objects DESC, object_type", found)

    def __repr__(self) -> str:
        return f"ObjectFlow({self.selection.described}, {self._counted()})"

    def _repr_html_(self) -> str:
        names = ["object_type", "objects", "events", "mean_events", "max_events", "max_objects"]
        rows = self.objects().project(", ".join(names)).limit(_SHOWN).fetchall()
        left_out = f" ({_SHOWN} of {len(self.types):,} types)" if len(self.types) > _SHOWN else ""
        return (
            f"<p {UNTYPESET}><b>Flow of objects</b> {escape(self.selection.described)}<br>"
            f"{self._counted()}{left_out}</p>"
            + html_table(
                [
                    "type of object",
                    "objects",
                    "events",
                    "of one, mean",
                    "of one, most",
                    "sharing one",
                ],
                [(*row[:3], f"{row[3]:,.1f}", *row[4:]) for row in rows],
            )
        )

    def _counted(self) -> str:
        return f"{self.built().cases:,} objects of {len(self.types):,} types"

    def _answer(self, sql: str, found: Any) -> duckdb.DuckDBPyRelation:
        cursor = self.selection.cursor()
        cursor.register("found", found)
        return cursor.sql(sql)


_OBJECTS = {
    "object_type": pa.string(),
    "objects": pa.int64(),
    "events": pa.int64(),
    "mean_events": pa.float64(),
    "max_events": pa.int64(),
    "mean_objects": pa.float64(),
    "max_objects": pa.int64(),
    "shared_events": pa.int64(),
    "first_seen": pa.int64(),
    "last_seen": pa.int64(),
}


def _cut(steps: Steps, first: int, last: int) -> Steps:
    """Return the steps of the cases from one on and before another."""
    begin, end = int(steps.firsts[first]), int(steps.firsts[last])
    return Steps(
        steps.types,
        steps.type_ids[begin:end],
        steps.at[begin:end],
        steps.positions[begin:end],
        steps.firsts[first : last + 1] - begin,
        pc.replace_substring(steps.names[first:last], NUL, ":", max_replacements=1),
    )


def _events_of_edges(steps: Steps) -> dict[tuple[str, str | None, str | None], int]:
    """Return how many different events each edge has, by its kind, source and target."""
    types = len(steps.types)
    kinds = steps.type_ids.astype(np.int64)
    followed = steps.followed
    first, last = steps.firsts[:-1], steps.firsts[1:] - 1
    pairs, group = _coded(kinds[followed] * types + kinds[followed + 1])
    found: dict[tuple[str, str | None, str | None], int] = {}
    steps_of = _Spread.of(group, steps.positions[followed + 1], len(pairs)).distinct
    for pair, events in zip(pairs.tolist(), steps_of.tolist(), strict=True):
        found["step", steps.types[pair // types], steps.types[pair % types]] = events
    begun = _Spread.of(kinds[first], steps.positions[first], types).distinct
    ended = _Spread.of(kinds[last], steps.positions[last], types).distinct
    for name, starts, ends in zip(steps.types, begun.tolist(), ended.tolist(), strict=True):
        found["start", None, name] = starts
        found["end", name, None] = ends
    return found


def _coded(keys: Ints) -> tuple[Ints, Ints]:
    """Return the different numbers of `keys`, in order, and the place of each key among them."""
    size = int(keys.max(initial=-1)) + 1
    if size > _FEW:
        found, group = np.unique(keys, return_inverse=True)
        return found, group
    found = np.flatnonzero(np.bincount(keys, minlength=size))
    number = np.zeros(size, np.int64)
    number[found] = np.arange(len(found))
    return found, number[keys]
