"""Flows in plain Python: dicts of lists, sorted, walked; slow and plain to see."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, NamedTuple

from esnb.event import RecordedEvent

MICRO = timedelta(microseconds=1)


class Event(NamedTuple):
    """An event of a case, on the clock of the flow."""

    event_type: str
    at: datetime
    position: int


Cases = dict[str, list[Event]]


def cases_of(
    events: Iterable[RecordedEvent],
    category: str | None = None,
    *,
    by: str | None = None,
    clock: str = "occurred",
) -> Cases:
    """Return the cases of a log by name, each in its order."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if category is not None and event.category != category:
            continue
        at = event.occurred_on if clock == "occurred" else event.recorded_on
        names = [event.stream] if by is None else {t for t in event.tags if t.startswith(by)}
        for name in names:
            found[name].append(Event(event.event_type, at, event.position))
    return ordered(found, clock)


def ordered(cases: Cases, clock: str = "occurred") -> Cases:
    def turn(event: Event) -> Any:
        return (event.at, event.position) if clock == "occurred" else event.position

    return {name: sorted(cases[name], key=turn) for name in sorted(cases, key=str.encode)}


def rounded(value: Fraction) -> timedelta:
    """Return microseconds, halves up."""
    return timedelta(
        microseconds=(2 * value.numerator + value.denominator) // (2 * value.denominator)
    )


def quantile(values: Sequence[timedelta], part: Fraction) -> timedelta:
    inside = sorted(value // MICRO for value in values)
    place = part * (len(inside) - 1)
    lower = int(place)
    upper = min(lower + 1, len(inside) - 1)
    return rounded(inside[lower] + (inside[upper] - inside[lower]) * (place - lower))


def three(values: Sequence[timedelta]) -> tuple[timedelta, timedelta, timedelta]:
    """Return median, mean and 95th percentile."""
    mean = rounded(Fraction(sum(value // MICRO for value in values), len(values)))
    return quantile(values, Fraction(1, 2)), mean, quantile(values, Fraction(19, 20))


def directly_follows(cases: Cases) -> list[tuple[Any, ...]]:
    """Return kind, source, target, count, cases, median, mean and p95 wait."""
    waits: dict[tuple[Any, ...], list[timedelta]] = defaultdict(list)
    having: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for name, events in cases.items():
        for edge in (("start", None, events[0].event_type), ("end", events[-1].event_type, None)):
            waits[edge].append(timedelta())
            having[edge].add(name)
        for source, target in pairwise(events):
            edge = ("step", source.event_type, target.event_type)
            waits[edge].append(target.at - source.at)
            having[edge].add(name)
    rows = [
        (*edge, len(found), len(having[edge]))
        + (three(found) if edge[0] == "step" else (None, None, None))
        for edge, found in waits.items()
    ]
    return sorted(rows, key=lambda r: (-r[3], r[0], (r[1] or "").encode(), (r[2] or "").encode()))


def activities(cases: Cases) -> list[tuple[Any, ...]]:
    """Return event type, count, cases, starts, ends, first and last seen."""
    having: dict[str, list[tuple[str, Event]]] = defaultdict(list)
    for name, events in cases.items():
        for event in events:
            having[event.event_type].append((name, event))
    starts = Counter(events[0].event_type for events in cases.values())
    ends = Counter(events[-1].event_type for events in cases.values())
    rows = [
        (
            event_type,
            len(found),
            len({name for name, _ in found}),
            starts[event_type],
            ends[event_type],
            min(event.at for _, event in found),
            max(event.at for _, event in found),
        )
        for event_type, found in having.items()
    ]
    return sorted(rows, key=lambda row: (-row[1], row[0].encode()))


def way(events: Sequence[Event]) -> tuple[str, ...]:
    return tuple(event.event_type for event in events)


def variant_id(types: Sequence[str]) -> str:
    text = json.dumps(list(types), ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def variants(cases: Cases) -> list[tuple[Any, ...]]:
    """Return the columns of `Flow.variants`."""
    having: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name, events in cases.items():
        having[way(events)].append(name)
    rows = []
    for types, names in having.items():
        inside = [cases[name] for name in names]
        rows.append(
            (
                list(types),
                len(types),
                len(names),
                len(names) / len(cases),
                *three([events[-1].at - events[0].at for events in inside]),
                min(events[0].at for events in inside),
                max(events[-1].at for events in inside),
                names[:3],
                variant_id(types),
            )
        )
    return sorted(rows, key=lambda row: (-row[2], [name.encode() for name in row[0]]))


def durations(cases: Cases) -> list[tuple[Any, ...]]:
    """Return the columns of `Flow.durations`."""
    return [
        (
            name,
            events[0].at,
            events[-1].at,
            events[-1].at - events[0].at,
            len(events),
            events[0].event_type,
            events[-1].event_type,
        )
        for name, events in cases.items()
    ]


def events(cases: Cases) -> list[tuple[Any, ...]]:
    """Return the columns of `Flow.events`."""
    return [
        (name, place, *event[:2], event.position)
        for name, inside in cases.items()
        for place, event in enumerate(inside)
    ]


def chosen(
    cases: Cases,
    *,
    edge: tuple[str | None, str | None] | None = None,
    without_edge: tuple[str | None, str | None] | None = None,
    variant: Sequence[str] | None = None,
    with_: Sequence[str] = (),
    without: Sequence[str] = (),
    starting: Sequence[str] | None = None,
    ending: Sequence[str] | None = None,
) -> list[str]:
    """Return the names of the cases for which all that is said holds."""
    found = []
    for name, events in cases.items():
        types = way(events)
        edges = {(None, types[0]), (types[-1], None), *pairwise(types)}
        if (
            (edge is None or edge in edges)
            and (without_edge is None or without_edge not in edges)
            and (variant is None or types == tuple(variant))
            and set(with_) <= set(types)
            and not set(without) & set(types)
            and (starting is None or types[0] in starting)
            and (ending is None or types[-1] in ending)
        ):
            found.append(name)
    return found
