"""The slow fold: plain Python, one event after the other, written from the documentation alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from esnb import jsontext


@dataclass
class Event:
    position: int
    stream: str
    category: str
    revision: int
    event_type: str
    occurred_on: datetime
    recorded_on: datetime
    actor: str | None
    data: str
    schema_version: int = 1

    @property
    def event_id(self) -> str:
        return f"id-{self.position}"


@dataclass
class Row:
    event: Event
    system_from: datetime
    system_to: datetime | None
    next_position: int | None
    ended: bool
    state: dict[str, Any]


def patched(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, as it stands there."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = patched(result.get(name), value)
    return result


def thawed(value: Any) -> Any:
    if hasattr(value, "items"):
        return {key: thawed(item) for key, item in value.items()}
    return [thawed(item) for item in value] if isinstance(value, tuple) else value


def fold(events: list[Event], mode: str, ends: tuple[str, ...]) -> list[dict[str, Any] | None]:
    """Return the state after each event, ``None`` after one that ended it."""
    states: list[dict[str, Any] | None] = []
    state: dict[str, Any] = {}
    for event in events:
        if event.event_type in ends:
            state = {}
            states.append(None)
            continue
        payload = thawed(jsontext.parse_object(event.data))
        if mode == "patch":
            state = patched(state, payload)
        else:
            state = {key: value for key, value in payload.items() if value is not None}
        states.append(state)
    return states


def streams_of(events: list[Event], category: str) -> dict[str, list[Event]]:
    result: dict[str, list[Event]] = {}
    for event in events:
        if event.category == category:
            result.setdefault(event.stream, []).append(event)
    return result


def rows(
    events: list[Event], category: str, mode: str, ends: tuple[str, ...]
) -> dict[str, list[Row]]:
    result: dict[str, list[Row]] = {}
    for stream, own in streams_of(events, category).items():
        made: list[Row] = []
        for event, state in zip(own, fold(own, mode, ends), strict=True):
            start = max([event.recorded_on] + [row.system_from for row in made])
            made.append(Row(event, start, None, None, state is None, state or {}))
        for row, after in pairwise(made):
            row.system_to, row.next_position = after.system_from, after.event.position
        result[stream] = made
    return result


def upto(own: list[Row], when: datetime | int) -> list[Row]:
    if isinstance(when, int):
        return [row for row in own if row.event.position <= when]
    return [row for row in own if row.system_from <= when]


def as_of(table: dict[str, list[Row]], when: datetime | int) -> dict[str, Row]:
    result = {}
    for stream, own in table.items():
        past = upto(own, when)
        if past and not past[-1].ended:
            result[stream] = past[-1]
    return result


def valid_at(
    events: list[Event],
    category: str,
    mode: str,
    ends: tuple[str, ...],
    when: datetime,
    known: datetime | int | None,
) -> dict[str, tuple[Event, datetime | None, dict[str, Any]]]:
    """Return the last event, the end of its validity and the state, by stream."""
    result = {}
    for stream, own in rows(events, category, mode, ends).items():
        arrived = own if known is None else upto(own, known)
        ordered = sorted(
            (row.event for row in arrived), key=lambda event: (event.occurred_on, event.position)
        )
        past = [event for event in ordered if event.occurred_on <= when]
        if past and (state := fold(past, mode, ends)[-1]) is not None:
            later = ordered[len(past) :]
            result[stream] = (past[-1], later[0].occurred_on if later else None, state)
    return result


def text_of(value: Any) -> str:
    """A value as one text, equal for equal JSON values."""
    return jsontext.canonical(value)


def diff(
    table: dict[str, list[Row]], a: datetime | int, b: datetime | int
) -> set[tuple[str, str, str | None, str, str, int]]:
    """Return (stream, change, key, before, after, position of the cause)."""
    before, after = as_of(table, a), as_of(table, b)
    result = set()
    for stream, own in table.items():
        old, new = before.get(stream), after.get(stream)
        if old is None and new is None:
            continue
        window = upto(own, b)[len(upto(own, a)) :]
        change = "added" if old is None else "removed" if new is None else "changed"
        was, now = old.state if old else {}, new.state if new else {}
        turned = None
        if old is None or new is None:
            turned = since(window, lambda row, gone=new is None: row.ended == gone)
        named = False
        for key in sorted(was.keys() | now.keys()):
            x, y = text_of(was.get(key)), text_of(now.get(key))
            if x == y:
                continue
            named = True
            cause = (
                turned
                if new is None
                else since(window, lambda row, k=key, v=y: text_of(row.state.get(k)) == v)
            )
            result.add((stream, change, key, x, y, cause))
        if change != "changed" and not named:
            result.add((stream, change, None, "null", "null", turned))
    return result


def since(window: list[Row], holds: Any) -> int:
    """Return the position of the first event of the last run for which something holds."""
    first = None
    for row in reversed(window):
        if not holds(row):
            break
        first = row.event.position
    assert first is not None
    return first


def blame(own: list[Row], at: datetime | int | None) -> dict[str, tuple[str, int]]:
    """Return key to (value, position) of what was set or taken away in the present life."""
    past = own if at is None else upto(own, at)
    life: list[Row] = []
    for row in past:
        life = [] if row.ended else [*life, row]
    result = {}
    for key in {key for row in life for key in row.state}:
        value = text_of(life[-1].state.get(key))
        cause = since(life, lambda row, k=key, v=value: text_of(row.state.get(k)) == v)
        result[key] = (value, cause)
    return result


def ticks(table: dict[str, list[Row]], every: str, zone: ZoneInfo) -> list[datetime]:
    """Return the ticks from the begin of the first event's day to one that sees the last."""
    starts = [row.system_from for own in table.values() for row in own]
    if not starts:
        return []
    local = min(starts).astimezone(zone)
    last = max(starts)
    if every.endswith("day"):
        begin = datetime(local.year, local.month, local.day)
        steps = [(begin + timedelta(days=i)).replace(tzinfo=zone) for i in range(400)]
    elif every.endswith("month"):
        steps = [
            datetime(
                local.year + (local.month - 1 + i) // 12,
                (local.month - 1 + i) % 12 + 1,
                1,
                tzinfo=zone,
            )
            for i in range(40)
        ]
    else:
        begin = local.replace(minute=0, second=0, microsecond=0).astimezone(ZoneInfo("UTC"))
        steps = [begin + timedelta(hours=int(every.split()[0])) * i for i in range(2000)]
    result = []
    for step in steps:
        result.append(step)
        if step >= last:
            return result
    raise AssertionError("the test's events are too far apart")


def counts(
    table: dict[str, list[Row]], key: str, at: list[datetime]
) -> dict[tuple[datetime, str], int]:
    """Return the counts that are not zero."""
    result: dict[tuple[datetime, str], int] = {}
    for tick in at:
        for row in as_of(table, tick).values():
            kind = (tick, text_of(row.state.get(key)))
            result[kind] = result.get(kind, 0) + 1
    return result
