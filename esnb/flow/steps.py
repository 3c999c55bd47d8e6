"""Steps: the events of a selection, case by case, in order, with whole numbers for names.

This is the one place that orders events.  Everything else reads them in this order, from the
arrays here or from the tables that `Steps.register` puts on a cursor.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from esnb.errors import FlowError
from esnb.log.segment import stable_order

__all__ = ["Bools", "Ints", "Steps", "interval_sql", "ordered", "ranges"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
TypeIds = npt.NDArray[np.int32]

_INSTANT = pa.timestamp("us", "UTC")
_DAY = 86_400_000_000
# Runs of fewer events than these, on average, are disorder.
_SHORT = 4
_WRITERS = 2
_NEEDED = {"event_type": "type", "case_id": "case", "time": "time"}


@dataclass(frozen=True, eq=False)
class Steps:
    """The events of some cases: by case, and within a case in the order in which they happened.

    Attributes
    ----------
    types
        Names of the event types, by their type id, sorted.
    type_ids
        Type of each event.
    at
        When each happened on the clock of the flow, in microseconds since 1970-01-01 UTC.
    positions
        Its position in the log; in a relation of an analyst's own the number of its row.
    firsts
        Row of the first event of each case, and at the end how many events there are.
    names
        Names of the cases, by their case number, sorted.
    """

    types: tuple[str, ...]
    type_ids: TypeIds
    at: Ints
    positions: Ints
    firsts: Ints
    names: Any

    def __len__(self) -> int:
        return len(self.type_ids)

    @property
    def cases(self) -> int:
        """How many cases there are."""
        return len(self.firsts) - 1

    @cached_property
    def lengths(self) -> Ints:
        """How many events each case has."""
        return np.diff(self.firsts)

    @cached_property
    def case_numbers(self) -> Ints:
        """Number of the case of each event."""
        return np.repeat(np.arange(self.cases, dtype=np.int64), self.lengths)

    @cached_property
    def places(self) -> TypeIds:
        """Place of each event in its case, from 0."""
        starts = np.repeat(self.firsts[:-1].astype(np.int32), self.lengths)
        return np.arange(len(self), dtype=np.int32) - starts

    @cached_property
    def followed(self) -> Ints:
        """Rows of the events that another one of the same case follows, in the next row."""
        last = np.zeros(len(self), np.bool_)
        last[self.firsts[1:] - 1] = True
        return np.flatnonzero(~last)

    def only(self, chosen: Bools) -> Steps:
        """Return the steps of some cases; `chosen` says for each whether it is one of them.

        The types stay as they are, so that one which none of these cases has is still known.
        """
        lengths = self.lengths[chosen]
        rows = ranges(self.firsts[:-1][chosen], lengths)
        return Steps(
            self.types,
            self.type_ids[rows],
            self.at[rows],
            self.positions[rows],
            _firsts(lengths),
            self.names.filter(pa.array(chosen)),
        )

    # --- as tables -------------------------------------------------------------------------

    @cached_property
    def _tables(self) -> dict[str, Any]:
        ends = self.firsts[1:] - 1
        return {
            "steps": pa.table(
                {
                    "case_number": self.case_numbers,
                    "place": self.places,
                    "type_id": self.type_ids,
                    "time": instants_of(self.at),
                    "position": self.positions,
                }
            ),
            "cases": pa.table(
                {
                    "case_number": np.arange(self.cases, dtype=np.int64),
                    "case_id": self.names,
                    "events": self.lengths,
                    "started": instants_of(self.at[self.firsts[:-1]]),
                    "ended": instants_of(self.at[ends]),
                    "first_row": self.firsts[:-1],
                }
            ),
            "types": pa.table(
                {
                    "type_id": np.arange(len(self.types), dtype=np.int32),
                    "event_type": pa.array(self.types, pa.string()),
                    "count": np.bincount(self.type_ids, minlength=len(self.types)),
                }
            ),
        }

    def register(self, cursor: duckdb.DuckDBPyConnection) -> None:
        """Put the tables ``steps``, ``cases`` and ``types`` on a cursor.

        - ``steps``: case_number BIGINT, place INTEGER (from 0), type_id INTEGER, time TIMESTAMPTZ,
          position BIGINT; by case_number and place.
        - ``cases``: case_number BIGINT (from 0, by name), case_id VARCHAR, events BIGINT, started
          and ended TIMESTAMPTZ, first_row BIGINT (row of ``steps``); by case_number.
        - ``types``: type_id INTEGER (from 0, by name), event_type VARCHAR, count BIGINT.

        Nothing is copied: DuckDB reads the arrays where they are.
        """
        for name, table in self._tables.items():
            cursor.register(name, table)


def instants_of(micros: Ints) -> Any:
    """Return microseconds since 1970 as instants for Arrow, without a copy."""
    return pa.array(micros, pa.int64()).view(_INSTANT)


def interval_sql(micros: str) -> str:
    """Return SQL of a column of microseconds as an INTERVAL of days and time."""
    return f"(to_days(({micros} // {_DAY})::INTEGER) + to_microseconds({micros} % {_DAY}))"


def ranges(starts: Ints, lengths: Ints | TypeIds) -> Ints:
    """Return the rows of ranges, one range after the other.

    >>> ranges(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    ends: Ints = np.cumsum(lengths, dtype=np.int64)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total, dtype=np.int64)


# --- ordering ------------------------------------------------------------------------------


def ordered(
    batches: Iterable[Any], *, by_time: bool, seen: Callable[[int], object] = lambda _: None
) -> Steps:
    """Return the events of `batches` as steps.

    Parameters
    ----------
    batches
        Record batches: ``case_id`` and ``event_type`` (texts, or dictionaries of texts), ``time``
        (int64, microseconds since 1970-01-01 UTC) and ``position`` (int64), in any order.
        Where the events of a case follow one another, as on disk, little has to be sorted.
    by_time
        Whether a case goes by time, equal times by position; else by position alone.
    seen
        Called with the number of events of each batch.

    Raises
    ------
    FlowError
        If an event has no type, no case or no time.
    """
    gathered = _Gathered()
    for batch in batches:
        gathered.add(batch)
        seen(batch.num_rows)
    return gathered.steps(by_time)


class _Gathered:
    """Batches, taken apart: runs of cases, numbers for types."""

    def __init__(self) -> None:
        self._runs = _Runs()
        self._codes: dict[str, int] = {}
        self._type_ids: deque[TypeIds] = deque()
        self._at: deque[Ints] = deque()
        self._positions: deque[Ints] = deque()
        self._missing: Counter[str] = Counter()

    def add(self, batch: Any) -> None:
        if not batch.num_rows:
            return
        missing = {name: batch.column(name).null_count for name in _NEEDED}
        self._missing.update(missing)
        if any(missing.values()):
            return
        self._runs.add(batch.column("case_id"))
        self._type_ids.append(self._coded(batch.column("event_type")))
        self._at.append(batch.column("time").to_numpy())
        self._positions.append(batch.column("position").to_numpy())

    def _coded(self, event_type: Any) -> TypeIds:
        if not pa.types.is_dictionary(event_type.type):
            event_type = event_type.dictionary_encode()
        codes = self._codes
        own = [codes.setdefault(name, len(codes)) for name in event_type.dictionary.to_pylist()]
        type_ids: TypeIds = np.array(own, np.int32)[event_type.indices.to_numpy()]
        return type_ids

    def steps(self, by_time: bool) -> Steps:
        for name, what in _NEEDED.items():
            if self._missing[name]:
                raise FlowError(
                    f"{self._missing[name]:,} events have no {what}, so that they have no place in"
                    f" a flow. Leave them out, or give them one (coalesce({name}, …))"
                )
        if not self._at:
            none = np.zeros(0, np.int64)
            empty = pa.array([], pa.large_string())
            return Steps((), none.astype(np.int32), none, none, np.zeros(1, np.int64), empty)
        firsts, names, places = self._runs.placed()
        total = int(firsts[-1])
        type_ids = np.empty(total, np.int32)
        at, positions = np.empty(total, np.int64), np.empty(total, np.int64)

        def put(place: tuple[Ints, TypeIds], own_types: TypeIds, own_at: Ints, own: Ints) -> None:
            rows = ranges(*place)
            type_ids[rows], at[rows], positions[rows] = own_types, own_at, own

        # Batch by batch: what is written at once stays within the caches.
        with ThreadPoolExecutor(_WRITERS, "esnb-flow") as writers:
            given: tuple[deque[Any], ...] = (self._type_ids, self._at, self._positions)
            deque(writers.map(put, places, *map(_emptied, given)), maxlen=0)
        _settle(type_ids, at, positions, firsts, by_time)
        used = np.flatnonzero(np.bincount(type_ids, minlength=len(self._codes))).tolist()
        by_code = list(self._codes)
        used.sort(key=by_code.__getitem__)
        number = np.zeros(len(by_code), np.int32)
        number[used] = np.arange(len(used), dtype=np.int32)
        types = tuple(by_code[code] for code in used)
        return Steps(types, number[type_ids], at, positions, firsts, names)


def _emptied(batches: deque[Any]) -> Iterator[Any]:
    """Yield what is in `batches`, and keep none of it."""
    while batches:
        yield batches.popleft()


class _Runs:
    """Runs of events of one case, batch by batch."""

    def __init__(self) -> None:
        self._lengths: list[TypeIds] = []
        # Names of cases in each batch, and which of them each run is of, if not one each.
        self._names: list[Any] = []
        self._which: list[TypeIds | None] = []

    def add(self, case: Any) -> None:
        """Take in the cases of the events of a batch."""
        starts = np.flatnonzero(_changes(case))
        names, which = case.take(pa.array(starts)), None
        if pa.types.is_dictionary(names.type):
            names = names.dictionary_decode()
        if len(starts) * _SHORT > len(case):
            # In disorder, and then a name comes again and again: each is kept once a batch.
            coded = names.dictionary_encode()
            names, which = coded.dictionary, coded.indices.to_numpy()
        self._names.append(names.cast(pa.large_string()))
        self._which.append(which)
        self._lengths.append(np.diff(starts, append=len(case)).astype(np.int32))

    def placed(self) -> tuple[Ints, Any, Iterator[tuple[Ints, TypeIds]]]:
        """Return where the cases begin, their names, and for each batch where its runs go.

        A run goes behind those of smaller names, and behind those of its case before it.
        """
        ranks, names = self._ranked()
        lengths = np.concatenate(self._lengths)
        firsts = _firsts(np.bincount(ranks, lengths, len(names)).astype(np.int64))
        order = stable_order(ranks)
        del ranks
        lengths = lengths[order]
        ends = np.cumsum(lengths, dtype=np.int64)
        ends -= lengths
        places = np.empty(len(order), np.int64)
        places[order] = ends
        cuts = np.cumsum([len(own) for own in self._lengths])[:-1]
        return firsts, names, zip(np.split(places, cuts), self._lengths, strict=True)

    def _ranked(self) -> tuple[Ints, Any]:
        """Return for each run the place of its case among the sorted names, and these names."""
        coded = pa.chunked_array(self._names).dictionary_encode()
        known = coded.chunk(0).dictionary
        order = pc.sort_indices(known)
        rank = np.empty(len(order), np.int64)
        rank[order.to_numpy()] = np.arange(len(order))
        ranks = [rank[chunk.indices.to_numpy()] for chunk in coded.chunks]
        runs = [
            own if which is None else own[which]
            for own, which in zip(ranks, self._which, strict=True)
        ]
        return np.concatenate(runs), known.take(order)


def _changes(case: Any) -> Bools:
    """Return where a case begins that is not the one before."""
    if pa.types.is_dictionary(case.type):
        case = case.indices
    changes = np.ones(len(case), np.bool_)
    changes[1:] = pc.not_equal(case[1:], case[:-1]).to_numpy(zero_copy_only=False)
    return changes


def _settle(type_ids: TypeIds, at: Ints, positions: Ints, firsts: Ints, by_time: bool) -> None:
    """Put the cases in order whose events are not: those told late, or out of several files."""
    wrong = positions[1:] < positions[:-1]
    if by_time:
        wrong &= at[1:] == at[:-1]
        wrong |= at[1:] < at[:-1]
    wrong[firsts[1:-1] - 1] = False
    found = np.flatnonzero(wrong)
    if not len(found):
        return
    cases = np.unique(np.searchsorted(firsts, found, "right") - 1)
    lengths = firsts[cases + 1] - firsts[cases]
    rows = ranges(firsts[cases], lengths)
    starts = np.cumsum(lengths) - lengths
    order = rows[_order(at[rows], positions[rows], starts, lengths, by_time)]
    for column in (type_ids, at, positions):
        column[rows] = column[order]


def _order(at: Ints, positions: Ints, starts: Ints, lengths: Ints, by_time: bool) -> Ints:
    """Return the order of events that lie case after case."""
    case = np.repeat(np.arange(len(starts)), lengths)
    later = positions[1:] > positions[:-1]
    later[starts[1:] - 1] = True
    if by_time and later.all():
        # Late events alone: nearly sorted numbers, of case and time since its first event, are
        # a tenth of the work of a sort by columns.
        since = at - np.repeat(np.minimum.reduceat(at, starts), lengths)
        span = int(since.max()) + 1
        if len(starts) * span < 2**63:
            return np.argsort(case * span + since, kind="stable")
    return np.lexsort((positions, at, case) if by_time else (positions, case))


def _firsts(lengths: Ints) -> Ints:
    firsts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=firsts[1:])
    return firsts
