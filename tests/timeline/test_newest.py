"""Grouping gives the newest states that the interval table gives."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import Aggregate, Event
from esnb.query.names import quote
from esnb.timeline import Timeline
from esnb.timeline.pipeline import newest_sql, sided, system_rows
from tests.timeline.standin import MemoryLog, logs


def newest(line: Timeline) -> list[tuple[Any, ...]]:
    read = line._read()
    source = sided(read.cursor, read.fold, f"({system_rows(read.fold)})")
    sql = newest_sql(read.fold, source)
    return sorted(read.cursor.execute(sql).fetchall(), key=lambda row: row[2])


def standing(line: Timeline, last: int) -> list[tuple[Any, ...]]:
    names = ", ".join(["stream", "revision", "position", *map(quote, line.fields)])
    rows = line.as_of(last).project(names)
    return sorted(rows.fetchall(), key=lambda row: row[2])


@settings(max_examples=60)
@given(logs(), st.sampled_from(["patch", "snapshot"]), st.sampled_from([(), ("Gone",)]))
def test_of_a_category(log: MemoryLog, mode: Any, ends: tuple[str, ...]) -> None:
    line = Timeline(log, "order", fold=mode, ends=ends)
    assert newest(line) == standing(line, 2**40)


class Opened(Event):
    owner: str | None


class Moved(Event):
    by: Decimal


class Closed(Event):
    pass


class Purse(Aggregate, ends=[Closed]):
    owner: str | None
    held: Decimal = Decimal(0)
    moves: int = 0
    greatest: Decimal | None
    open: bool = False
    late: int = 0

    def when_opened(self, e: Opened):
        self.owner = e.owner
        self.open = True

    def when_moved(self, e: Moved):
        self.held += e.by
        self.moves += 1
        if not self.open:
            self.late += 1


SAID = st.one_of(
    st.sampled_from(['{"owner":null}', '{"owner":"Zoë"}']).map(lambda data: ("Opened", data)),
    st.integers(-99, 99).map(lambda by: ("Moved", f'{{"by":"{by}.5"}}')),
    st.just(("Closed", "{}")),
)


@settings(max_examples=40, deadline=None)
@given(events=st.lists(st.tuples(st.integers(0, 3), SAID), min_size=1, max_size=30))
def test_of_a_class(tmp_path_factory: Any, events: list[tuple[int, tuple[str, str]]]) -> None:
    folder: Path = tmp_path_factory.mktemp("newest")
    with esnb.create(folder / "log", zone="UTC", maintain=False) as log:
        log.append_frame(
            pa.table(
                {
                    "stream": [f"purse-{number}" for number, _ in events],
                    "event_type": [kind for _, (kind, _) in events],
                    "data": [data for _, (_, data) in events],
                }
            )
        )
        line = log.timeline(Purse)
        assert newest(line) == standing(line, len(events) - 1)
