"""The performance spectrum: every way from one event to another, as a line from then to then.

After Denisov, Fahland and van der Aalst, "Unbiased, fine-grained description of processes
performance from event data" (BPM 2018).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.axes import reading, time_axis, wall
from esnb.chart.frame import base, nothing, pick_name, tips, tooltips
from esnb.chart.graph import clock_said
from esnb.chart.measure import wrapped
from esnb.chart.relations import column, relation, zone_of
from esnb.chart.words import Classes, counted, duration, share, tip, wait_classes
from esnb.errors import QueryError
from esnb.flow.steps import Ints, instants_of, interval_sql

if TYPE_CHECKING:
    import altair as alt

__all__ = ["spectrum_chart", "spectrum_lines"]

# More lines than these are one grey area.
MOST_LINES = 5_000
_BINS = 120
_WIDTH, _HEIGHT = 680, 220
_COLOURS = ("#8ea6bb", "#d9a514", "#e2722e", "#d0314a")
_COLUMNS = ("case_id", "source_at", "target_at", "wait")


@dataclass(frozen=True)
class _Lines:
    """Ways from an event to another: microseconds since 1970, and class of the wait."""

    cases: Any
    start: Ints
    end: Ints
    classes: Classes
    kind: Ints
    zone: str

    def __len__(self) -> int:
        return len(self.start)


def spectrum_chart(
    flow: Any, a: str = "a", b: str = "b", *, eventually: bool = False, most: int = MOST_LINES
) -> alt.Chart:
    """Draw each way from `a` to `b` as a line: when it began on top, when it ended below.

    Steep lines are fast, crossing ones overtake, and lines that end together waited for the
    same thing.  `spectrum_lines` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow; or the table that its ``spectrum()`` returned, when `a` and `b` only name it.
    a, b
        Event types.
    eventually
        See `esnb.flow.Flow.spectrum`.
    most
        Of more lines than these, at most 5,000, bars are drawn: how many ways began when, by
        how long they took.

    Returns
    -------
    altair.Chart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If a column is missing, or `most` is out of range.
    FlowError
        If no event has such a type.
    """
    import altair as alt

    found = _asked(flow, a, b, eventually, most)
    title = f"From {_name(a)} to {_name(b)}"
    if not len(found):
        return nothing(title, "no case goes this way in this selection")
    waits = (found.end - found.start) / 1e6
    half, most_of = np.quantile(waits, [0.5, 0.95])
    clock = clock_said(flow) or found.zone
    said = [
        f"{counted(len(found), 'ways')}, half within {duration(float(half))}, 95 % within "
        f"{duration(float(most_of))} · {clock}"
    ]
    names = [*found.classes.names]
    pick = alt.selection_point(name=pick_name(title, said), fields=["c"], bind="legend")
    colour = alt.Color(
        "c:N",
        scale=alt.Scale(domain=names, range=[*_COLOURS[: len(names)]]),
        legend=alt.Legend(title="wait", orient="bottom", direction="horizontal", symbolOpacity=1),
    )
    if len(found) > most:
        said.append(f"more than {most:,} lines, so bars are drawn: the ways by when they began")
        return _bars(found, title, said, colour, pick)
    rows = _line_rows(found, names)
    thin = 0.9 if len(rows) < 300 else 0.45 if len(rows) < 1500 else 0.22
    made: alt.Chart = (
        base(rows, title, said, _WIDTH, _HEIGHT)
        .add_params(pick)
        .mark_rule(strokeWidth=1.2)
        .encode(
            x=time_axis("x"),
            x2="x2:T",
            y=alt.Y(
                "y:Q",
                title=None,
                scale=alt.Scale(domain=[0, 1], nice=False),
                axis=alt.Axis(
                    values=[0, 1],
                    labelExpr="datum.value == 1 ? 'begins' : 'ends'",
                    grid=False,
                    ticks=False,
                ),
            ),
            y2=alt.datum(0),
            color=colour,
            opacity=alt.when(pick).then(alt.value(thin)).otherwise(alt.value(0.03)),
            tooltip=tooltips(dict.fromkeys(("case", _FROM, _TO, "wait"), "")),
        )
    )
    return made


_FROM, _TO = "begins", "ends"


def spectrum_lines(
    flow: Any, a: str = "a", b: str = "b", *, eventually: bool = False, most: int = MOST_LINES
) -> DuckDBPyRelation:
    """Return the lines, or the bars, that `spectrum_chart` draws, from the same parameters.

    Parameters
    ----------
    flow, a, b, eventually, most
        See `spectrum_chart`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        Lines: ``case_id``, ``source_at``, ``target_at``, ``wait``, by ``source_at``.  Bars:
        ``source_from``, ``source_to`` (instants, from the one on and before the other), ``wait``
        (its class, as text), ``count``.

    Raises
    ------
    QueryError, FlowError
        As `spectrum_chart`.
    """
    found = _asked(flow, a, b, eventually, most)
    cursor = duck.connect()
    cursor.execute("set TimeZone = ?", [found.zone])
    if len(found) <= most:
        table = pa.table(
            {
                "case_id": found.cases,
                "source_at": instants_of(found.start),
                "target_at": instants_of(found.end),
                "wait": found.end - found.start,
            }
        )
        wait = interval_sql('"wait"')
        return cursor.from_arrow(table).project(f"case_id, source_at, target_at, {wait} as wait")
    cells = _cells(found)
    return cursor.from_arrow(
        pa.table(
            {
                "source_from": instants_of(cells["from"]),
                "source_to": instants_of(cells["to"]),
                "wait": pa.array([found.classes.names[kind] for kind in cells["kind"].tolist()]),
                "count": cells["count"],
            }
        )
    )


def _asked(flow: Any, a: str, b: str, eventually: bool, most: int) -> _Lines:
    if not 1 <= most <= MOST_LINES:
        raise QueryError(f"most={most}: a chart has from 1 to {MOST_LINES:,} lines")
    ask = getattr(flow, "spectrum", None)
    table = relation(ask(a, b, eventually=eventually) if callable(ask) else flow)
    for name in _COLUMNS:
        column(table, name)
    chosen = getattr(flow, "selection", None)
    zone = zone_of(flow, table, None if chosen is None else chosen.zone)
    rows = (
        table.project(
            "case_id, epoch_us(source_at) as start, epoch_us(target_at) as stop, "
            "row_number() over () as row"
        )
        .order('start, "row"')
        .to_arrow_table()
    )
    start, end = rows["start"].to_numpy(), rows["stop"].to_numpy()
    waits = (end - start) / 1e6
    # Hundredths stand for all: the classes are cut between usual lengths anyway.
    parts = np.unique(np.quantile(waits, np.linspace(0, 1, 101))) if len(waits) else waits
    classes = wait_classes(parts.tolist())
    kind = np.searchsorted(np.array(classes.edges), waits, side="right")
    return _Lines(rows["case_id"], start, end, classes, kind, zone)


def _line_rows(found: _Lines, names: list[str]) -> list[dict[str, Any]]:
    rows = []
    for case, start, end, kind in zip(
        found.cases.to_pylist(), found.start.tolist(), found.end.tolist(), found.kind.tolist(),
        strict=True,
    ):  # fmt: skip
        line = {
            "case": tip(case),
            _FROM: reading(start, found.zone),
            _TO: reading(end, found.zone),
            "wait": duration((end - start) / 1e6),
        }
        x, x2 = wall(start, found.zone), wall(end, found.zone)
        rows.append({"x": x, "x2": x2, "y": 1, "c": names[kind], **tips(line)})
    return rows


def _cells(found: _Lines) -> dict[str, Ints]:
    """Return the ways by when they began and by the class of their wait."""
    low = int(found.start.min())
    wide = -(-(int(found.start.max()) - low + 1) // _BINS)
    classes = len(found.classes.names)
    cell, counts = np.unique((found.start - low) // wide * classes + found.kind, return_counts=True)
    place, kind = np.divmod(cell, classes)
    start = low + place * wide
    return {"from": start, "to": start + wide, "kind": kind, "count": counts.astype(np.int64)}


def _bars(found: _Lines, title: str, said: list[str], colour: Any, pick: Any) -> alt.Chart:
    import altair as alt

    cells = {name: values.tolist() for name, values in _cells(found).items()}
    rows, heights = [], dict.fromkeys(cells["from"], 0)
    for start, stop, kind, count in zip(
        *(cells[name] for name in ("from", "to", "kind", "count")), strict=True
    ):
        low = heights[start]
        heights[start] = low + count
        line = {
            "from": reading(start, found.zone),
            "to before": reading(stop, found.zone),
            "wait": found.classes.names[kind],
            "ways": f"{count:,}",
            "of all ways": share(count, len(found)),
        }
        rows.append(
            {
                "x": wall(start, found.zone), "x2": wall(stop, found.zone), "y": low,
                "y2": low + count, "c": found.classes.names[kind], **tips(line),
            }
        )  # fmt: skip
    made: alt.Chart = (
        base(rows, title, said, _WIDTH, _HEIGHT)
        .add_params(pick)
        .mark_rect()
        .encode(
            x=time_axis("x"),
            x2="x2:T",
            y=alt.Y("y:Q", title="ways that begin", axis=alt.Axis(tickMinStep=1)),
            y2="y2:Q",
            color=colour,
            opacity=alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.12)),
            tooltip=tooltips(dict.fromkeys(line, "")),
        )
    )
    return made


def _name(event_type: str) -> str:
    return wrapped(event_type, 13, 260, lines=1)[0]
