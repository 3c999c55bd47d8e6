"""A dotted chart: each event a dot, by its case and its time; where too many, their density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.axes import Lengths, reading, time_axis, wall
from esnb.chart.frame import (
    BLUE,
    COLORS,
    MOST_MARKS,
    REST,
    base,
    nothing,
    pick_name,
    tips,
    tooltips,
)
from esnb.chart.measure import fitted
from esnb.chart.words import counted, duration, tip
from esnb.errors import QueryError, shown
from esnb.flow.flow import Flow
from esnb.flow.steps import Ints, Steps, instants_of, interval_sql

if TYPE_CHECKING:
    import altair as alt

__all__ = ["dots", "dotted_chart"]

_TITLE = "Dotted chart"
_TYPES = 9
_WIDTH, _HEIGHT = 680, 420
# Of the picture of density.
_ACROSS, _DOWN = 136, 84

Time = Literal["absolute", "since start"]
Order = Literal["start", "duration", "events"]


@dataclass(frozen=True)
class _Dots:
    """Events with the rank of their case and their time.

    Attributes
    ----------
    rank, x
        Of each event: rank of its case, and microseconds since 1970 or since its case began.
    """

    steps: Steps
    rank: Ints
    x: Ints

    def __len__(self) -> int:
        return len(self.x)


def dotted_chart(
    flow: Flow, time: Time = "absolute", order: Order = "start", *, most: int = MOST_MARKS
) -> alt.Chart:
    """Draw each event as a dot: cases from top to bottom, time from left to right.

    `dots` returns what it draws, from the same parameters.  A click in the legend picks an
    event type.

    Parameters
    ----------
    flow
        A flow.
    time
        ``"absolute"``, or ``"since start"`` of each case.
    order
        What the cases are ordered by, least on top: their ``"start"``, their ``"duration"``,
        or how many ``"events"`` they have.
    most
        Of more events than these, at most 20,000, a picture of density is drawn: darker where
        there are more.

    Returns
    -------
    altair.Chart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If `flow` is none, or one of the others cannot be.
    """
    found = _asked(flow, time, order, most)
    if not len(found):
        return nothing(_TITLE, "no events in this selection")
    selection = flow.selection
    said = [
        f"{counted(len(found), 'events')} of {counted(found.steps.cases, 'cases')}, by {order}",
        f"{selection.clock}_on, {selection.zone}"
        if time == "absolute"
        else f"time since the first event of the case, on {selection.clock}_on",
    ]
    if len(found) <= most:
        return _drawn_dots(found, time, selection.zone, said)
    said[0] += f": more than {most:,} dots, so density is drawn, {_ACROSS} by {_DOWN} cells"
    return _drawn_density(found, time, selection.zone, said)


def dots(
    flow: Flow, time: Time = "absolute", order: Order = "start", *, most: int = MOST_MARKS
) -> DuckDBPyRelation:
    """Return the dots, or the cells of density, that `dotted_chart` draws.

    Parameters
    ----------
    flow, time, order, most
        See `dotted_chart`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        Dots: ``rank`` (of the case, from 1), ``case_id``, ``event_type``, ``time``, ``since``
        (INTERVAL since the case began).  By rank and place in the case.  Cells: ``rank_from``,
        ``rank_to``, and ``time_from``, ``time_to`` or ``since_from``, ``since_to``; ``events``.

    Raises
    ------
    QueryError
        As `dotted_chart`.
    """
    found = _asked(flow, time, order, most)
    cursor = duck.connect()
    if len(found) <= most:
        rows = np.argsort(found.rank, kind="stable")
        steps = found.steps
        cases = steps.case_numbers[rows]
        names = pa.array(steps.types, pa.string())
        table = pa.table(
            {
                "rank": found.rank[rows] + 1,
                "case_id": steps.names.take(pa.array(cases)),
                "event_type": names.take(pa.array(steps.type_ids[rows])),
                "time": instants_of(steps.at[rows]),
                "micros": steps.at[rows] - steps.at[steps.firsts[:-1][cases]],
            }
        )  # fmt: skip
        since = interval_sql("micros")
        return cursor.from_arrow(table).project(
            f"rank, case_id, event_type, time, {since} as since"
        )
    cells = _cells(found)
    kind = "time" if time == "absolute" else "since"
    if time == "absolute":
        sides = {f"time_{end}": instants_of(cells[end]) for end in ("from", "to")}
    else:
        sides = {f"since_{end}": pa.array(cells[end]) for end in ("from", "to")}
    table = pa.table(
        {"rank_from": cells["top"] + 1, "rank_to": cells["bottom"], **sides,
         "events": cells["events"]}
    )  # fmt: skip
    spans = ", ".join(
        f"{kind}_{end}" if kind == "time" else f"{interval_sql(f'since_{end}')} as since_{end}"
        for end in ("from", "to")
    )
    return cursor.from_arrow(table).project(f"rank_from, rank_to, {spans}, events")


def _asked(flow: object, time: str, order: str, most: int) -> _Dots:
    if not isinstance(flow, Flow):
        raise QueryError(
            f"a dotted chart needs a flow, not a {type(flow).__name__}: log.flow('order'), or "
            "esnb.flow(table, ...) for a table of your own"
        )
    if time not in ("absolute", "since start"):
        raise QueryError(f"time={shown(time)}: say 'absolute' or 'since start'")
    if order not in ("start", "duration", "events"):
        raise QueryError(f"order={shown(order)}: say 'start', 'duration' or 'events'")
    if not 1 <= most <= MOST_MARKS:
        raise QueryError(f"most={most}: a chart has from 1 to {MOST_MARKS:,} dots")
    steps = flow.built()
    if not len(steps):
        none = np.zeros(0, np.int64)
        return _Dots(steps, none, none)
    # Events on the system clock need not be in the order of their times.
    first = np.minimum.reduceat(steps.at, steps.firsts[:-1])
    last = np.maximum.reduceat(steps.at, steps.firsts[:-1])
    by = {"start": first, "duration": last - first, "events": steps.lengths}[order]
    rank = np.empty(steps.cases, np.int64)
    rank[np.lexsort((first, by))] = np.arange(steps.cases)
    case = steps.case_numbers
    x = steps.at if time == "absolute" else steps.at - steps.at[steps.firsts[:-1]][case]
    return _Dots(steps, rank[case], x)


def _cells(found: _Dots) -> dict[str, Ints]:
    """Return the cells that have events: ends in time and in ranks, and how many events."""
    low, high = int(found.x.min()), int(found.x.max())
    across = -(-(high - low + 1) // _ACROSS)
    down = -(-found.steps.cases // _DOWN)
    cell, counts = np.unique(
        (found.rank // down) * _ACROSS + (found.x - low) // across, return_counts=True
    )
    row, place = np.divmod(cell, _ACROSS)
    return {
        "from": low + place * across,
        "to": low + (place + 1) * across,
        "top": row * down,
        "bottom": np.minimum((row + 1) * down, found.steps.cases),
        "events": counts.astype(np.int64),
    }


def _drawn_dots(found: _Dots, time: str, zone: str, said: list[str]) -> alt.Chart:
    import altair as alt

    steps = found.steps
    counts = np.bincount(steps.type_ids, minlength=len(steps.types))
    ranked = sorted(range(len(counts)), key=lambda n: (-counts[n], steps.types[n]))
    ranked = [number for number in ranked if counts[number]]
    kept = ranked if len(ranked) <= _TYPES + 1 else ranked[:_TYPES]
    names = fitted([steps.types[number] for number in kept], 10, 200)
    colours = [*COLORS[: len(names)]]
    label = dict(zip(kept, names, strict=True))
    rest = fitted([*names, f"other ({len(ranked) - len(kept):,})"], 10, 200)[-1]
    if len(ranked) > len(kept):
        names, colours = [*names, rest], [*colours, REST]
        said = [*said, f"{len(kept)} of {len(ranked):,} event types told apart"]
    whole = [tip(name) for name in steps.types]
    cases = [tip(name) for name in steps.names.to_pylist()]
    starts = steps.at[steps.firsts[:-1]][steps.case_numbers]
    x_axis, place = _x_axis(found, time)
    rows = []
    for rank, x, kind, case, at, start in zip(
        *(column.tolist() for column in
          (found.rank, found.x, steps.type_ids, steps.case_numbers, steps.at, starts)), strict=True,
    ):  # fmt: skip
        line = {
            "case": cases[case],
            "event type": whole[kind],
            "at": reading(at, zone),
            "since the first": duration((at - start) / 1e6),
        }
        rows.append({"x": place(x, zone), "y": rank + 1, "c": label.get(kind, rest), **tips(line)})
    pick = alt.selection_point(name=pick_name(_TITLE, said), fields=["c"], bind="legend")
    down = alt.Y(
        "y:Q",
        title="cases",
        scale=alt.Scale(domain=[steps.cases + 0.5, 0.5], nice=False, zero=False),
        axis=_cases_axis(found),
    )
    made: alt.Chart = (
        base(rows, _TITLE, said, _WIDTH, _HEIGHT)
        .add_params(pick)
        .mark_circle(size=max(9, min(60, _HEIGHT / steps.cases * 12)))
        .encode(
            x=x_axis,
            y=down,
            color=alt.Color(
                "c:N",
                scale=alt.Scale(domain=names, range=colours),
                legend=alt.Legend(title="event type", labelLimit=0, titleLimit=0, symbolOpacity=1),
            ),
            opacity=alt.when(pick).then(alt.value(0.75)).otherwise(alt.value(0.05)),
            tooltip=tooltips(dict.fromkeys(line, "")),
        )
    )
    return made


def _drawn_density(found: _Dots, time: str, zone: str, said: list[str]) -> alt.Chart:
    import altair as alt

    cells = {name: column.tolist() for name, column in _cells(found).items()}
    highest = max(cells["events"])
    x_axis, place = _x_axis(found, time)
    rows = []
    for start, stop, top, bottom, events in zip(
        *(cells[name] for name in ("from", "to", "top", "bottom", "events")), strict=True
    ):
        x, x2 = place(start, zone), place(stop, zone)
        if time == "absolute":
            line = {"from": reading(start, zone), "to before": reading(stop, zone)}
        else:
            line = {"from": duration(start / 1e6), "to before": duration(stop / 1e6)}
        line |= {"cases": f"{top + 1:,} to {bottom:,}", "events": f"{events:,}"}
        strength = 0.12 + 0.88 * float(np.log1p(events) / np.log1p(highest))
        rows.append(
            {"x": x, "x2": x2, "y": top + 0.5, "y2": bottom + 0.5, "s": strength, **tips(line)}
        )
    made: alt.Chart = (
        base(rows, _TITLE, [*said, f"up to {highest:,} events in a cell"], _WIDTH, _HEIGHT)
        .mark_rect(color=BLUE)
        .encode(
            x=x_axis,
            x2="x2:T" if time == "absolute" else "x2:Q",
            y=alt.Y(
                "y:Q",
                title="cases",
                scale=alt.Scale(domain=[found.steps.cases + 0.5, 0.5], nice=False, zero=False),
                axis=_cases_axis(found),
            ),
            y2="y2:Q",
            opacity=alt.Opacity("s:Q", scale=None, legend=None),
            tooltip=tooltips(dict.fromkeys(line, "")),
        )
    )
    return made


def _x_axis(found: _Dots, time: str) -> tuple[Any, Any]:
    """Return the encoding of the time ``x``, and what makes a number of microseconds one."""
    zone_free = Lengths(float(found.x.min()) / 1e6, float(found.x.max()) / 1e6)
    if time == "absolute":
        return time_axis("x"), wall
    return (
        zone_free.encoding("x", "since the first event of the case"),
        lambda micros, _: zone_free.place(micros / 1e6),
    )


def _cases_axis(found: _Dots) -> Any:
    import altair as alt

    return alt.Axis(grid=False, format=",d", tickCount=min(8, found.steps.cases))
