"""Charts over time.  Names from events are data here: never a field, never an expression."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from esnb import instants
from esnb.chart.counts import TOP, Shown, count_events, count_states, other_label
from esnb.chart.renderer import enable
from esnb.chart.steps import Step
from esnb.chart.text import field_title, labels

if TYPE_CHECKING:
    import altair as alt

__all__ = ["MOST_MARKS", "draw_events", "events_over_time", "states_over_time"]

# Above this the browser slows down and no eye gains anything.
MOST_MARKS = 20_000
_MOST_INSTANTS = 1_000
_WIDTH, _HEIGHT = 620, 240
# Told apart on white as on black, and by most of those who see fewer colours.
_COLORS = (
    "#3b82c4", "#e08a1e", "#2a9d7c", "#cf5c8d", "#8467c6", "#c9a227", "#4fa8b8", "#b5583c",
    "#7a9a3a", "#5f6caf", "#a0785a",
)  # fmt: skip
_REST = "#8a8a8a"


def events_over_time(
    events: Any,
    by: str = "event_type",
    every: str = "auto",
    *,
    clock: str = "occurred_on",
    top: int = TOP,
    zone: str | None = None,
) -> alt.Chart:
    """Draw how many events there were over time, as stacked bars.

    `event_counts` returns what it draws, from the same parameters; a click in the
    legend picks a name.

    Parameters
    ----------
    events
        A log, a DuckDB relation, or a pandas, Polars or Arrow table of events.
    by, every, clock, top, zone
        See `event_counts`.  Bins so short that more than 20,000 marks would
        be drawn are made longer, and the subtitle says so.

    Returns
    -------
    altair.Chart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError, InstantError
        As `event_counts`.
    """
    shown = count_events(events, by, every, clock=clock, top=top, zone=zone, most_rows=MOST_MARKS)
    return draw_events(shown, every, clock)


def draw_events(shown: Shown, every: str, clock: str) -> alt.Chart:
    """Draw counted events; `every` and `clock` (empty if nobody knows) are what was asked for."""
    import altair as alt

    title = f"Events over time by {field_title(shown.by)}"
    if not shown.rows.num_rows or shown.step is None:
        return _nothing(title, "no events in this selection")
    said = [_names_said(shown, "events", shown.total)]
    width = f"1 bar = {shown.step}"
    if every not in ("auto", str(shown.step)) and shown.rows.num_rows and _longer(shown, every):
        width += f" (every {every} would be more than {MOST_MARKS:,} marks)"
    named = [field_title(clock)] if clock else []
    said.append(", ".join([width, *named, f"times in {shown.zone}"]))
    names, rows = _rows(shown)
    heights: dict[str, int] = {}
    for row in rows:
        row["f1"] = _wall_text(_end(row.pop("wall"), shown.step))
        # Vega-Lite stacks no bars that have two ends in time.
        row["f6"] = heights.get(row["f0"], 0)
        heights[row["f0"]] = row["f7"] = row["f6"] + row["f3"]
    pick = _pick(title, said)
    chart: alt.Chart = (
        _base(rows, title, said)
        .add_params(pick)
        .mark_rect()
        .encode(
            x=_time_axis(),
            x2="f1:T",
            y=alt.Y("f6:Q", title="events", axis=alt.Axis(tickMinStep=1)),
            y2="f7:Q",
            **_shared(names, shown, "events", pick),
        )
    )
    return chart


def states_over_time(
    counts: Any, by: str | None = None, *, top: int = TOP, zone: str | None = None
) -> alt.Chart:
    """Draw how many aggregates were in which state over time, as stacked areas.

    `state_counts` returns what it draws, from the same parameters; a click in the
    legend picks a name.

    Parameters
    ----------
    counts
        As ``timeline.counts("status", every="1 day")`` returns them.
    by, top, zone
        See `state_counts`.  Of more than 1,000 instants every n-th is drawn, and the
        subtitle says so.

    Returns
    -------
    altair.Chart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        As `state_counts`.
    """
    import altair as alt

    shown = count_states(counts, by, top=top, zone=zone, most_instants=_MOST_INSTANTS)
    title = f"States over time by {field_title(shown.by)}"
    if not shown.rows.num_rows:
        return _nothing(title, "no states in this selection")
    said = [_names_said(shown, "aggregates at the end", shown.total)]
    drawn = "" if shown.thinned == 1 else f"1 instant of {shown.thinned} drawn, "
    said.append(f"{drawn}times in {shown.zone}")
    names, rows = _rows(shown)
    for row in rows:
        del row["wall"]
    pick = _pick(title, said)
    chart: alt.Chart = (
        _base(rows, title, said)
        .add_params(pick)
        # Between two instants nothing is known; a slope would claim something.
        .mark_area(interpolate="step-after", strokeWidth=0)
        .encode(
            x=_time_axis(),
            y=alt.Y("f3:Q", title="aggregates", stack="zero", axis=alt.Axis(tickMinStep=1)),
            **_shared(names, shown, "aggregates", pick),
        )
    )
    return chart


def _rows(shown: Shown) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the labels, largest first, and the rows under the names ``f0`` to ``f7``.

    ``f0`` is the start on the clocks of the zone, ``f2`` the label, ``f3`` the count,
    ``f4`` the place in the stack, ``f5`` the start as a reader would write it; the bars
    add the end ``f1`` and the heights ``f6`` and ``f7``.
    """
    keys: list[str | None] = [*shown.keys]
    if shown.left_out:
        keys.append(f"{other_label(shown.keys)} ({shown.left_out})")
    names = labels(keys)
    place = {key: number for number, key in enumerate(shown.keys)}
    rows = []
    for row in shown.rows.to_pylist():
        number = len(names) - 1 if row["rest"] else place[row["key"]]
        wall = row["wall"]
        rows.append(
            {
                "wall": wall,
                "f0": _wall_text(wall),
                "f2": names[number],
                "f3": row["count"],
                "f4": number,
                "f5": _reading(wall, row["time"], shown),
            }
        )
    return names, rows


def _base(rows: list[dict[str, Any]], title: str, said: list[str]) -> alt.Chart:
    import altair as alt

    enable()
    data = alt.InlineData(values=rows)
    return alt.Chart(
        data,
        title=alt.TitleParams(title, subtitle=said, anchor="start", frame="group", offset=12),
        width=_WIDTH,
        height=_HEIGHT,
        description=". ".join([title, *said]),
    )


def _pick(title: str, said: list[str]) -> alt.Parameter:
    """Return the selection by a click in the legend, named so that charts can stand together."""
    import altair as alt

    name = f"pick_{zlib.crc32(repr((title, said)).encode()):08x}"
    pick: alt.Parameter = alt.selection_point(name=name, fields=["f2"], bind="legend")
    return pick


def _time_axis() -> alt.X:
    import altair as alt

    axis = alt.Axis(grid=False, labelOverlap=True, labelFlush=True)
    return alt.X("f0:T", scale=alt.Scale(type="utc"), title=None, axis=axis)


def _shared(names: list[str], shown: Shown, what: str, pick: alt.Parameter) -> dict[str, Any]:
    """Return the encodings that both charts have."""
    import altair as alt

    colors = [_COLORS[number % len(_COLORS)] for number in range(len(names))]
    if shown.left_out:
        colors[-1] = _REST
    return {
        "color": alt.Color(
            "f2:N",
            scale=alt.Scale(domain=names, range=colors),
            legend=alt.Legend(title=field_title(shown.by), labelLimit=0, titleLimit=0),
        ),
        "opacity": alt.when(pick).then(alt.value(1)).otherwise(alt.value(0.15)),
        "order": alt.Order("f4:Q"),
        "tooltip": [
            alt.Tooltip("f5:N", title="from" if shown.step else "at"),
            alt.Tooltip("f2:N", title=field_title(shown.by)),
            alt.Tooltip("f3:Q", title=what, format=",d"),
        ],
    }


def _nothing(title: str, said: str) -> alt.Chart:
    chart: alt.Chart = (
        _base([{"f0": said}], title, [said])
        .mark_text(fontSize=14)
        .encode(text="f0:N")
        .properties(height=80)
    )
    return chart


def _names_said(shown: Shown, what: str, total: int) -> str:
    said = f"{total:,} {what}"
    names = len(shown.keys) + shown.left_out
    if not shown.left_out:
        return f"{said}, {names} {'name' if names == 1 else 'names'}"
    counted = sum(shown.rows["count"].to_pylist())
    share = 100 * shown.left_out_count / counted if counted else 0
    return (
        f"{said}; {len(shown.keys)} of {names} names, the other {shown.left_out} together "
        f"({share:.1f} %)"
    )


def _longer(shown: Shown, every: str) -> bool:
    from esnb.chart.steps import step

    return shown.step is not None and shown.step != step(every)


def _end(start: datetime, width: Step) -> datetime:
    """Return the end of a bin on the calendar."""
    try:
        if width.unit in ("month", "year"):
            months = start.month - 1 + width.number * (12 if width.unit == "year" else 1)
            return start.replace(year=start.year + months // 12, month=months % 12 + 1)
        return start + timedelta(seconds=width.seconds)
    except (OverflowError, ValueError):
        return datetime.max


def _wall_text(wall: datetime) -> str:
    """Return a time on the clocks of the zone as if it were UTC: the browser's zone is not ours."""
    return instants.iso(wall.replace(tzinfo=UTC))


def _reading(wall: datetime, at: datetime, shown: Shown) -> str:
    local = at.astimezone(instants.zone(shown.zone))
    if shown.step is not None and shown.step.civil:
        return wall.strftime("%Y-%m-%d")
    return local.isoformat(sep=" ", timespec="minutes")
