"""How long cases took: a histogram with the durations that half, most and nearly all stay under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from duckdb import DuckDBPyRelation

from esnb import duck
from esnb.chart.axes import Lengths, named_axis
from esnb.chart.frame import BLUE, COLORS, data, layered, nothing, tips, tooltips
from esnb.chart.relations import column, relation
from esnb.chart.words import counted, duration, linear_ticks, log_ticks, share
from esnb.errors import QueryError, shown
from esnb.flow.steps import interval_sql

if TYPE_CHECKING:
    import altair as alt

__all__ = ["duration_bins", "durations_chart"]

_TITLE = "Durations of cases"
_BINS = 40
_QUANTILES = ((0.5, "half"), (0.9, "90 %"), (0.95, "95 %"))
_HEIGHT, _HEAD = 240, 48
# Lengths that lie this far apart need an axis of powers.
_FAR = 30

Scale = Literal["auto", "log", "linear"]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Bins:
    """A histogram of lengths in seconds: where bins begin and end, and how many are in each."""

    start: Floats
    end: Floats
    cases: npt.NDArray[np.int64]
    log: bool
    quantiles: tuple[float, ...]

    @property
    def total(self) -> int:
        return int(self.cases.sum())


def durations_chart(
    flow: Any, bins: int = _BINS, scale: Scale = "auto"
) -> alt.LayerChart | alt.Chart:
    """Draw how long cases took from the first event to the last, as a histogram.

    `duration_bins` returns what it draws, from the same parameters.

    Parameters
    ----------
    flow
        A flow, or a table with a column ``duration`` (INTERVAL), as its ``durations()`` has.
    bins
        How many bars, at most 200.
    scale
        ``"linear"`` or ``"log"``; by itself powers where lengths lie far apart.  On an axis of
        powers the cases of no length (those of one event) have a bar of their own.

    Returns
    -------
    altair.LayerChart
        To be combined with others by ``|``, ``&`` and ``+``.

    Raises
    ------
    QueryError
        If there is no such column or scale, or `bins` is not from 1 to 200.
    """
    import altair as alt

    found = _binned(flow, bins, scale)
    if not found.total:
        return nothing(_TITLE, "no cases in this selection")
    rows, low, high, zero = _places(found)
    # Vega-Lite's own ticks are powers of ten of a second; nobody thinks in them.
    ticks = _ticks(found, low, high) | ({zero: "0"} if zero is not None else {})
    span = high - low or 1
    x_scale = alt.Scale(domain=[low - span * 0.01, high + span * 0.01], nice=False, zero=False)
    axis = named_axis(ticks)
    highest = int(found.cases.max())
    y = alt.Y(
        "cases:Q",
        title="cases",
        axis=alt.Axis(tickCount=min(5, highest)),
        # Room for the words above the bars.
        scale=alt.Scale(domain=[0, highest * _HEIGHT / (_HEIGHT - _HEAD)], nice=False),
    )
    bars = (
        alt.Chart(data(rows))
        .mark_rect(color=BLUE, fillOpacity=0.8)
        .encode(
            x=alt.X("x0:Q", scale=x_scale, axis=axis, title="from the first event to the last"),
            x2="x1:Q",
            y=y,
            y2=alt.datum(0),
            tooltip=tooltips({"from": "", "to before": "", "cases": "", "of all cases": ""}),
        )
    )
    # The highest words belong to the rule that stands outermost on their side, so that none
    # is crossed by another's rule.
    places = [_place(found, length, zero) for length in found.quantiles]
    left = places[-1] < low + 0.75 * span
    marks = [
        {
            "x": place,
            "y": 8 + 15 * (number if left else len(places) - 1 - number),
            "text": f"{name} within {duration(length)}",
        }
        for number, (place, (_, name), length) in enumerate(
            zip(places, _QUANTILES, found.quantiles, strict=True)
        )
    ]
    layers: list[Any] = [
        bars,
        alt.Chart(data(marks))
        .mark_rule(color=COLORS[1], strokeWidth=1.5)
        .encode(x=alt.X("x:Q", scale=x_scale), y=alt.Y("y:Q", scale=None), y2=alt.value(_HEIGHT)),
    ]
    layers.append(
        alt.Chart(data(marks))
        .mark_text(align="left" if left else "right", dx=5 if left else -5, fontSize=11)
        .encode(x=alt.X("x:Q", scale=x_scale), y=alt.Y("y:Q", scale=None), text="text:N")
    )
    kind = "an axis of powers" if found.log else "a linear axis"
    said = [f"{counted(found.total, 'cases')} in {counted(len(rows), 'bars')} on {kind}"]
    if zero is not None:
        said[0] += f", {int(found.cases[0]):,} of no length"
    made: alt.LayerChart = layered(
        layers,
        _TITLE,
        said,
        resolve={"scale": {"y": "independent"}},
        width=620,
        height=_HEIGHT,
    )
    return made


def duration_bins(flow: Any, bins: int = _BINS, scale: Scale = "auto") -> DuckDBPyRelation:
    """Return the bars that `durations_chart` draws, from the same parameters.

    Parameters
    ----------
    flow, bins, scale
        See `durations_chart`.

    Returns
    -------
    duckdb.DuckDBPyRelation
        ``duration_from``, ``duration_to`` (INTERVAL; the last bar has its end in it, those of no
        length have a bar from 0 to 0), ``cases``.  From the shortest.

    Raises
    ------
    QueryError
        As `durations_chart`.
    """
    found = _binned(flow, bins, scale)
    micros = {
        name: pa.array(np.round(side * 1e6).astype(np.int64))
        for name, side in (("start", found.start), ("stop", found.end))
    }
    table = pa.table({**micros, "cases": found.cases})
    start, stop = interval_sql("start"), interval_sql("stop")
    return (
        duck.connect()
        .from_arrow(table)
        .project(f"{start} AS duration_from, {stop} AS duration_to, cases")
    )


def _binned(flow: Any, bins: int, scale: str) -> _Bins:
    if not 1 <= bins <= 200:
        raise QueryError(f"bins={bins}: say how many bars to draw, from 1 to 200")
    if scale not in ("auto", "log", "linear"):
        raise QueryError(f"scale={shown(scale)}: say 'auto', 'log' or 'linear'")
    ask = getattr(flow, "durations", None)
    table = relation(ask() if callable(ask) else flow)
    column(table, "duration")
    micros = table.filter("duration is not null").project(
        "greatest(epoch_us(duration), 0) as micros"
    )
    lengths = micros.to_arrow_table()["micros"].to_numpy() / 1e6
    if not len(lengths):
        none = np.zeros(0)
        return _Bins(none, none, np.zeros(0, np.int64), False, (0.0, 0.0, 0.0))
    parts = np.quantile(lengths, [part for part, _ in _QUANTILES])
    some = lengths[lengths > 0]
    if scale == "auto":
        low, high = np.quantile(some, [0.05, 0.95]) if len(some) else (1, 1)
        log = bool(high / low > _FAR)
    else:
        log = scale == "log" and len(some) > 0
    if log:
        edges = np.geomspace(some.min(), some.max() * (1 + 1e-9), bins + 1)
        # Powers and roots are not exact: the ends are what they are.
        edges[0], edges[-1] = some.min(), some.max()
        cases = np.histogram(some, np.unique(edges) if some.min() < some.max() else 1)
        start, end, counts = cases[1][:-1], cases[1][1:], cases[0]
        if some.min() == some.max():
            start, end = some[:1], some[:1]
        if len(some) < len(lengths):
            start, end = np.append(0, start), np.append(0, end)
            counts = np.append(len(lengths) - len(some), counts)
    else:
        highest = lengths.max() or 1.0
        counts, edges = np.histogram(lengths, bins, (0, highest))
        start, end = edges[:-1], edges[1:]
    return _Bins(start, end, counts.astype(np.int64), log, tuple(parts.tolist()))


def _places(found: _Bins) -> tuple[list[dict[str, Any]], float, float, float | None]:
    """Return the bars with their places on the axis, its ends, and the place of 0 on powers."""
    zero = None
    if found.log:
        positive = found.start > 0
        low, high = np.log10(found.start[positive][0]), np.log10(found.end[-1])
        if high <= low:
            low, high = low - 0.1, high + 0.1
        width = (high - low) / max(int(positive.sum()), 1)
        if not positive[0]:
            low -= 2.5 * width
            zero = float(low + width / 2)
    else:
        low, high, width = 0.0, 1000.0, 1000 / len(found.end)
    rows = []
    for start, end, cases in zip(
        found.start.tolist(), found.end.tolist(), found.cases.tolist(), strict=True
    ):
        if found.log and end == 0:
            x0, x1 = low, low + width
        else:
            x0, x1 = _place(found, start, zero), _place(found, end, zero)
            if x0 == x1:
                x0, x1 = x0 - 0.05, x1 + 0.05
        line = {
            "from": duration(start),
            "to before": duration(end),
            "cases": f"{cases:,}",
            "of all cases": share(cases, found.total),
        }
        rows.append({"x0": x0, "x1": x1, "cases": cases, **tips(line)})
    return rows, float(low), float(high), zero


def _place(found: _Bins, length: float, zero: float | None) -> float:
    if not found.log:
        return _lengths(found).place(length)
    return float(np.log10(length)) if length > 0 else zero or 0.0


def _ticks(found: _Bins, low: float, high: float) -> dict[float, str]:
    if not found.log:
        lengths = _lengths(found)
        return {lengths.place(at): name for at, name in linear_ticks(0, lengths.high).items()}
    first = next(start for start in found.start.tolist() if start > 0)
    return {float(np.log10(place)): name for place, name in log_ticks(first, 10**high).items()}


def _lengths(found: _Bins) -> Lengths:
    return Lengths(0, float(found.end[-1]))
