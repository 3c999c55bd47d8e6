"""Ways through the steps: place by place, along a funnel, from one event to another, and back.

Nothing is sorted by time here: the number of a row tells its place, since the rows lie by case
and place.  All lengths of time are in whole microseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from esnb.errors import FlowError, shown
from esnb.flow.groups import quantiles
from esnb.flow.names import type_id
from esnb.flow.spans import micros
from esnb.flow.steps import Bools, Ints, Steps, instants_of, ranges

__all__ = ["funnel", "funnel_cases", "places", "rework", "spectrum"]

# So many numbers are counted in a table of all of them.
_FEW = 1_000_000


def places(steps: Steps, most: int = 8) -> Any:
    """Count what comes after each of the first places of a case.

    Parameters
    ----------
    most
        How many places are looked at, from the first one on.

    Returns
    -------
    pyarrow.Table
        ``place`` (1 to `most`), ``source`` (type of the event at this place), ``target``
        (that of the next one, NULL where the case ended), ``cases``.  The cases of a place
        are all those with so many events.  By place, then most cases first.

    Raises
    ------
    FlowError
        If `most` is no whole number from 1 on.
    """
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise FlowError(f"most={shown(most)}: give a number of places, from 1 on")
    types = len(steps.types)
    lengths = np.minimum(steps.lengths, min(most, len(steps)))
    rows = ranges(steps.firsts[:-1], lengths)
    # One more than there are: the case ended.
    next_ = np.full(len(rows), types, np.int64)
    followed = np.ones(len(rows), np.bool_)
    followed[np.cumsum(lengths) - 1] = steps.lengths > most
    next_[followed] = steps.type_ids[rows[followed] + 1]
    pair = steps.type_ids[rows].astype(np.int64) * (types + 1) + next_
    place = rows - np.repeat(steps.firsts[:-1], lengths)
    found, pairs = None, types * (types + 1)
    if (int(place.max(initial=0)) + 1) * pairs >= 2**63:
        found, pair = np.unique(pair, return_inverse=True)
        pairs = len(found)
    keys, cases = _counted(place * max(pairs, 1) + pair)
    place, pair = np.divmod(keys, max(pairs, 1))
    source, target = np.divmod(pair if found is None else found[pair], types + 1)
    order = np.lexsort((target, source, -cases, place))
    names = pa.array(steps.types, pa.string())
    target = target[order]
    return pa.table(
        {
            "place": place[order] + 1,
            "source": names.take(pa.array(source[order])),
            "target": names.take(pa.array(target, mask=target == types)),
            "cases": cases[order],
        }
    )


def _counted(keys: Ints) -> tuple[Ints, Ints]:
    """Return the different numbers of `keys`, in order, and how often each comes."""
    if int(keys.max(initial=0)) < _FEW:
        counts = np.bincount(keys)
        found = np.flatnonzero(counts)
        return found, counts[found]
    keys.sort()
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[starts], np.diff(starts, append=len(keys))


@dataclass(frozen=True)
class _Rows:
    """The events of one type: number of the row, case and microseconds since 1970, by row."""

    row: Ints
    case: Ints
    at: Ints

    @classmethod
    def of(cls, steps: Steps, event_type: object) -> _Rows:
        row = np.flatnonzero(steps.type_ids == type_id(steps, event_type))
        return cls(row, steps.case_numbers[row], steps.at[row])

    def take(self, chosen: Ints | Bools) -> _Rows:
        return _Rows(self.row[chosen], self.case[chosen], self.at[chosen])

    def first(self) -> _Rows:
        """Return the first one of each case."""
        first = np.ones(len(self.case), bool)
        first[1:] = self.case[1:] != self.case[:-1]
        return self.take(first)

    def after(self, other: _Rows, *, directly: bool = False) -> tuple[Bools, _Rows]:
        """Return which of `other` are followed by one of these in their case, and the first such.

        With `directly`, by one in the very next row.
        """
        if not len(self.row):
            return np.zeros(len(other.row), bool), self
        place = np.searchsorted(self.row, other.row, side="right")
        there = place < len(self.row)
        place[~there] = 0
        there &= self.case[place] == other.case
        if directly:
            there &= self.row[place] == other.row + 1
        return there, self.take(place[there])


@dataclass(frozen=True)
class _Walk:
    """How far cases come in a funnel.

    Attributes
    ----------
    start
        First step of each case that has one.
    reached
        For each of these cases, how many steps it takes.
    last
        For each of these cases, when the last of these steps was.
    waits
        For each step but the first, what those who take it waited since the one before.
    """

    start: _Rows
    reached: Ints
    last: Ints
    waits: tuple[Ints, ...]


def _walk(
    steps: Steps,
    types: Sequence[str],
    within: str | timedelta | None,
) -> _Walk:
    if isinstance(types, str) or not isinstance(types, Sequence) or not types:
        raise FlowError(
            f"types={shown(types)}: give a list of event types in the order of the funnel"
        )
    limit = None if within is None else micros(within)
    rows = {name: _Rows.of(steps, name) for name in dict.fromkeys(types)}
    start = rows[types[0]].first()
    reached = np.ones(len(start.row), np.int64)
    last = start.at.copy()
    waits: list[Ints] = []
    alive, here = np.arange(len(start.row)), start
    for number, name in enumerate(types[1:], start=2):
        there, next_ = rows[name].after(here)
        alive, here = alive[there], here.take(there)
        if limit is not None:
            soon = next_.at - start.at[alive] <= limit
            alive, here, next_ = alive[soon], here.take(soon), next_.take(soon)
        reached[alive] = number
        last[alive] = next_.at
        waits.append(next_.at - here.at)
        here = next_
    return _Walk(start, reached, last, tuple(waits))


def funnel(
    steps: Steps,
    types: Sequence[str],
    within: str | timedelta | None = None,
) -> Any:
    """Count the cases that take steps in an order, each after the one before it.

    The first step is the first event of its type in the case; each further one is the first
    event of its type *after the event of the step before*, whatever lies between.  Cases are
    counted, not attempts: a case has one way through the funnel, from the first event of
    the first type.  A type may stand twice; then two events are needed.

    Parameters
    ----------
    types
        Event types.
    within
        Length of time since the first step, both ends included: a step that comes later is not
        taken, nor any after it.  See `esnb.flow.spans.micros`.

    Returns
    -------
    pyarrow.Table
        A row a step: ``step`` (from 1), ``event_type``, ``cases``, ``share`` (of all cases
        of the flow), ``of_previous`` (of the cases of the step before; NULL for the first one,
        or when there are none), ``median_wait`` and ``p95_wait`` since the step before (NULL for
        the first one).

    Raises
    ------
    FlowError
        If no event has such a type, or `within` is no length of time.
    """
    walk = _walk(steps, types, within)
    counts = [len(walk.start.row), *(len(waits) for waits in walk.waits)]
    return pa.table(
        {
            "step": pa.array(range(1, len(counts) + 1), pa.int64()),
            "event_type": pa.array(list(types), pa.string()),
            "cases": pa.array(counts, pa.int64()),
            "share": pa.array([n / max(steps.cases, 1) for n in counts], pa.float64()),
            "of_previous": pa.array(
                [None, *(n / of if of else None for of, n in pairwise(counts))], pa.float64()
            ),
            "median_wait": pa.array([None, *(_quantile(w, 1, 2) for w in walk.waits)], pa.int64()),
            "p95_wait": pa.array([None, *(_quantile(w, 19, 20) for w in walk.waits)], pa.int64()),
        }
    )


def _quantile(waits: Ints, part: int, of: int) -> int | None:
    if not len(waits):
        return None
    start, count = np.zeros(1, np.int64), np.array([len(waits)])
    return int(quantiles(np.sort(waits), start, count, part, of)[0])


def funnel_cases(
    steps: Steps,
    types: Sequence[str],
    within: str | timedelta | None = None,
) -> Any:
    """Return how far each case comes in a `funnel`: the cases behind its numbers.

    Returns
    -------
    pyarrow.Table
        A row a case that takes the first step: ``case_id``, ``reached`` (the last step that it
        takes, from 1), ``first_at``, ``last_at`` (instants of its first and last step).  By case.
        The cases of step 3 are ``.filter("reached >= 3")``, those lost after step 2
        ``.filter("reached = 2")``.

    Raises
    ------
    FlowError
        As `funnel`.
    """
    walk = _walk(steps, types, within)
    return pa.table(
        {
            "case_id": _names(steps, walk.start.case),
            "reached": walk.reached,
            "first_at": instants_of(walk.start.at),
            "last_at": instants_of(walk.last),
        }
    )


def spectrum(steps: Steps, a: str, b: str, *, eventually: bool = False) -> Any:
    """Return every step from an event of type `a` to one of type `b`: the performance spectrum.

    Parameters
    ----------
    a, b
        Event types; they may be the same one.
    eventually
        Not only an `a` directly followed by a `b`: each `a` with the first `b` after it in its
        case, whatever lies between.  Several of `a` may meet in one `b`.

    Returns
    -------
    pyarrow.Table
        ``case_id``, ``source_at``, ``target_at``, ``wait``.  By case and place.

    Raises
    ------
    FlowError
        If no event has such a type.

    References
    ----------
    Denisov, Fahland, van der Aalst: Unbiased, fine-grained description of processes
    performance from event data (BPM 2018).
    """
    sources = _Rows.of(steps, a)
    targets = sources if a == b else _Rows.of(steps, b)
    there, target = targets.after(sources, directly=not eventually)
    source = sources.take(there)
    return pa.table(
        {
            "case_id": _names(steps, source.case),
            "source_at": instants_of(source.at),
            "target_at": instants_of(target.at),
            "wait": target.at - source.at,
        }
    )


def rework(steps: Steps) -> Any:
    """Count, for each event type, how often it comes again in a case.

    Returns
    -------
    pyarrow.Table
        ``event_type``, ``cases`` (that have it), ``count`` (events), ``repeats`` (events after
        the first one in their case), ``self_loops`` (repeats right after an event of the same
        type), ``loops`` (the other repeats: back after something else), ``cases_with_rework``
        (that have it more than once), ``share`` (these, of the cases that have it).  Most
        repeats first, then by name; types that never come again stand there with zeros.
    """
    types, cases = len(steps.types), max(steps.cases, 1)
    count = np.bincount(steps.type_ids, minlength=types)
    followed = steps.followed
    same = steps.type_ids[followed] == steps.type_ids[followed + 1]
    self_loops = np.bincount(steps.type_ids[followed[same]], minlength=types)
    del followed, same
    # By type and case: what comes more than once in a case stands side by side.
    keys = steps.type_ids.astype(np.int64) * cases
    keys += steps.case_numbers
    keys.sort()
    first = np.ones(len(keys), np.bool_)
    first[1:] = keys[1:] != keys[:-1]
    second = ~first
    second[1:] &= first[:-1]
    having = np.bincount(keys[first] // cases, minlength=types)
    reworked = np.bincount(keys[second] // cases, minlength=types)
    repeats = count - having
    there = np.flatnonzero(count)
    order = there[np.argsort(-repeats[there], kind="stable")]
    columns = {
        "cases": having,
        "count": count,
        "repeats": repeats,
        "self_loops": self_loops,
        "loops": repeats - self_loops,
        "cases_with_rework": reworked,
        "share": reworked / np.maximum(having, 1),
    }
    names = pa.array(steps.types, pa.string()).take(pa.array(order))
    return pa.table({"event_type": names, **{name: of[order] for name, of in columns.items()}})


def _names(steps: Steps, cases: Ints) -> Any:
    return steps.names.take(pa.array(cases))
