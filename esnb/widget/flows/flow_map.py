"""The map of a flow, from which cases are chosen; or what differs between two windows."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import duckdb

from esnb.chart.difference import compared, difference_edges, difference_map, difference_of
from esnb.chart.drawing import MARGIN, Map, place
from esnb.chart.flow_map import COLOURS, flow_map, map_of
from esnb.chart.graph import MOST_EDGES, flow_edges, graph_of
from esnb.chart.layout import available
from esnb.errors import QueryError, shown
from esnb.eventlog import EventLog
from esnb.flow import Flow
from esnb.flow.cases import Conditions
from esnb.widget.base.piece import intent
from esnb.widget.base.session import Session, Window
from esnb.widget.flows.cases import (
    FlowPiece,
    declared_zone,
    read_window,
    type_id,
    way,
    window_words,
)
from esnb.widget.flows.sql import difference_sql, edges_sql

__all__ = ["FlowMap"]

Choice = Literal["with", "without", "starting", "ending", "along", "never along"]

_BEFORE = "before"
_TONES = {"wait": "wait", "count": "number", "cases": "number"}


class FlowMap(FlowPiece):
    """The map of a flow: which event comes after which, how often, and after how long.

    A click (or Enter) on a box or an arrow asks which cases to look at: those with it, without
    it, that start or end there.

    Parameters
    ----------
    source
        A `Session`, whose window and streams it follows; an `EventLog`; or a `Flow`, which is
        shown as it is.
    coverage, edges
        Which part of all transitions the arrows stand for, and how many arrows there are at
        most: see `esnb.chart.flow_edges`.
    show
        What colours and numbers say: the median ``"wait"``, the ``"count"`` of transitions, or
        the ``"cases"`` with it.
    compare
        A pair of windows, each a pair of instants: the map shows what changed from the first to
        the second.  ``"before"``: the window of the session, against the time of the same
        length before it.
    view
        ``"map"`` or ``"table"``, its twin.
    category, session, key
        See `esnb.widget.flows.cases.FlowPiece`.

    Raises
    ------
    QueryError
        If it cannot be set so.
    """

    name = "flow_map"
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"coverage": 0.9, "edges": 60, "show": "wait", "compare": None, "view": "map"}
    )

    def __init__(
        self,
        source: Session | EventLog | Flow,
        *,
        coverage: float = 0.9,
        edges: int = 60,
        show: str = "wait",
        compare: Any = None,
        view: str = "map",
        category: str | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> None:
        self._difference: tuple[Any, Any] | None = None
        self._declared = declared_zone(source)
        given = {
            "coverage": coverage, "edges": edges, "show": show, "compare": compare, "view": view,
        }  # fmt: skip
        super().__init__(source, category=category, session=session, key=key, **given)

    # --- settings ----------------------------------------------------------------------------

    def _checked(self, name: str, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if name == "coverage" and not (number and 0 <= value <= 1):
            raise QueryError(f"coverage={shown(value)}: say a number from 0 to 1, as 0.9")
        if name == "edges" and not (isinstance(value, int) and number and 0 < value <= MOST_EDGES):
            raise QueryError(f"edges={shown(value)}: say how many edges, from 1 to {MOST_EDGES}")
        if name == "show" and value not in COLOURS:
            raise QueryError(f"show={shown(value)}: say 'wait', 'count' or 'cases'")
        if name == "view" and value not in ("map", "table"):
            raise QueryError(f"view={shown(value)}: say 'map' or 'table'")
        if name == "compare" and value not in (None, _BEFORE):
            return [[at and at.isoformat() for at in one] for one in self._windows_of(value)]
        return value

    def _windows_of(self, given: Any) -> tuple[Window, Window]:
        if isinstance(given, str | bytes) or not hasattr(given, "__len__") or len(given) != 2:
            raise QueryError(
                f"compare={shown(given)}: give two windows, each a pair of instants, or 'before'"
            )
        first, second = (read_window(one, self._declared) for one in given)
        return first, second

    # --- what it shows -----------------------------------------------------------------------

    def windows(self) -> tuple[Window, Window] | None:
        """Return the two windows that are compared, or None."""
        given = self.settings["compare"]
        if given is None:
            return None
        if given != _BEFORE:
            return self._windows_of(given)
        window = None if self.session is None else self.session.window
        if window is None or None in window:
            raise QueryError("nothing comes before all time: choose a window with two ends first")
        first, second = window
        return (first - (second - first), first), (first, second)

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the edges that it shows.

        Returns
        -------
        duckdb.DuckDBPyRelation
            The columns of ``flow.directly_follows()``; of a comparison those of
            ``flow.between(a, b)``.
        """
        coverage, edges = self.settings["coverage"], self.settings["edges"]
        windows = self.windows()
        if windows is None:
            return flow_edges(self.flow(), coverage, edges)
        return difference_edges(self._differences(windows), coverage, edges)

    @property
    def sql(self) -> str:
        """SQL of all edges over the events of the log: slower, and without a coverage.

        Of a flow that was given it is that of `data`.
        """
        if self._flow is not None or self.session is None:
            return super().sql
        streams, windows = self.session.streams, self.windows()
        if windows is None:
            return edges_sql(self._asked_of(streams, self.session.window), streams)
        a, b = (self._asked_of(streams, window) for window in windows)
        return difference_sql(a, b, streams)

    def chart(self) -> Any:
        """Return the same as a chart of Altair: see `esnb.chart.flow_map`."""
        coverage, edges = self.settings["coverage"], self.settings["edges"]
        windows = self.windows()
        if windows is None:
            return flow_map(self.flow(), coverage, edges, colour=self.settings["show"])
        return difference_map(
            self._differences(windows), coverage, edges, names=self._names(windows)
        )

    def title(self) -> str:
        """Return what stands above the static picture."""
        windows = self.windows()
        if windows is None:
            return f"Flow map of {self.flow().selection.described}"
        return "Flow map, {} against {}".format(*reversed(self._names(windows)))

    def _names(self, windows: tuple[Window, Window]) -> tuple[str, str]:
        first, second = (window_words(window, self.zone) for window in windows)
        return first, second

    def _differences(self, windows: tuple[Window, Window]) -> Any:
        """Return ``flow.between`` of two windows, as a table; the last one is kept."""
        if self._flow is not None or self.session is None:
            flow = self.flow()
            sides: tuple[Any, ...] = (flow, *windows)
        else:
            # Each side is read alone: a window of some weeks is a small part of a log.
            flow, other = (self._of(self.session.streams, window) for window in windows)
            sides = (flow, flow, other)
        if self._difference is None or self._difference[0] != sides:
            self._difference = sides, sides[0].between(*sides[1:]).to_arrow_table()
        return self._difference[1]

    # --- with the browser --------------------------------------------------------------------

    @intent
    def ask_map(self, coverage: float | None = None, show: str | None = None) -> Mapping[str, Any]:
        """Return boxes and arrows with their places, and what is to be said of them.

        Parameters
        ----------
        coverage, show
            Instead of those of the settings: while somebody drags, nothing is set yet.
        """
        coverage = self._checked(
            "coverage", self.settings["coverage"] if coverage is None else coverage
        )
        show = self._checked("show", self.settings["show"] if show is None else show)
        windows = self.windows()
        window = None if self.session is None or self._flow is not None else self.session.window
        about = {
            "chips": self.chips(),
            "zone": self.zone,
            "before": window is not None and None not in window,
        }
        if windows is None:
            graph = graph_of(self.flow(), coverage, self.settings["edges"])
            made = map_of(graph, show) if graph.all_edges else None
        else:
            found = compared(self._differences(windows), coverage, self.settings["edges"])
            names = self._names(windows)
            made = difference_of(found, coverage, names) if found.of_edges else None
        if made is None:
            return {**about, "empty": True}
        found_map = drawn(made, _TONES[show] if windows is None else "change")
        if windows is not None:
            found_map["legend"]["title"] = "change of the share"
        return {**about, **found_map}

    @intent
    def ask_choose(
        self, how: Choice, source: str | None = None, target: str | None = None
    ) -> Mapping[str, Any]:
        """Choose the cases of a box (`source`) or an arrow, by the ids of their event types."""
        flow = self._chosen_from()
        known = {type_id(name): name for name in flow.built().types}
        ends = [known.get(one) if one is not None else None for one in (source, target)]
        lost = [one for one, end in zip((source, target), ends, strict=True) if one and end is None]
        if lost or ends == [None, None]:
            raise QueryError("the map has changed meanwhile; choose again")
        words, conditions = _choice(how, *ends)
        count = self.choose(words, conditions, flow)
        return {"cases": count, "words": words}

    def _chosen_from(self) -> Flow:
        windows = self.windows()
        if windows is None or self._flow is not None or self.session is None:
            return self.flow()
        # Of both windows, and of what may lie between.
        firsts = [first for first, _ in windows if first is not None]
        lasts = [last for _, last in windows if last is not None]
        window = (
            min(firsts) if len(firsts) == len(windows) else None,
            max(lasts) if len(lasts) == len(windows) else None,
        )
        return self._of(self.session.streams, window)


def _choice(how: Choice, source: str | None, target: str | None) -> tuple[str, Conditions]:
    """Return in words which cases are chosen, and the conditions."""
    if how in ("along", "never along"):
        words = way(source, target)
        if how == "along":
            return words, {"edge": (source, target)}
        return f"never {words}", {"without_edge": (source, target)}
    if source is None:
        raise QueryError("choose a box; start and end are in all cases")
    words = f"{how} {way(source)}"
    if how == "with":
        return words, {"with_": source}
    if how == "without":
        return words, {"without": source}
    return words, {"starting": source} if how == "starting" else {"ending": source}


def drawn(made: Map, tone: str) -> dict[str, Any]:
    """Return a map for the browser: boxes and arrows with places, texts and tones.

    Without pygraphviz nothing has a place, and the browser draws a matrix.
    """
    tones = {
        name: "plain" if name in made.colours.hidden else f"{tone}-{place}"
        for place, name in enumerate(made.colours.by_name)
    }
    ids = [None, None, *(type_id(node.name) for node in made.nodes)]
    answer: dict[str, Any] = {
        "boxes": [
            {"id": type_id(node.name), "name": next(iter(node.tips.values())),
             "count": node.count, "tips": _texts(node.tips)}
            for node in made.nodes
        ],
        "ends": [{"text": text} for text in made.ends],
        "edges": [
            {"from": edge.source, "to": edge.target, "ids": [ids[edge.source], ids[edge.target]],
             "text": edge.label, "weight": edge.weight, "tone": tones[edge.colour],
             "tips": _texts(edge.tips)}
            for edge in made.edges
        ],
        "legend": {
            "title": made.colours.title,
            "items": [
                [tones[name], name]
                for name in made.colours.by_name
                if name not in made.colours.hidden
            ],
        },
        "said": [*made.said],
        "placed": None,
    }  # fmt: skip
    if available():
        placed = place(made)
        for box, lines, (size, (x, y)) in zip(
            answer["boxes"], placed.texts, placed.boxes[2:], strict=True
        ):
            box |= {"x": x, "y": y, "width": size.width, "height": size.height, "lines": lines}
        for end, (_, (x, y)), (word_x, word_y) in zip(
            answer["ends"], placed.boxes[:2], placed.words, strict=True
        ):
            end |= {"x": x, "y": y, "word": [word_x, word_y]}
        for line in placed.lines:
            answer["edges"][line.number] |= {
                "stroke": line.stroke, "line": line.line, "head": line.head, "label": line.label,
            }  # fmt: skip
        answer["placed"] = {
            "width": placed.width, "height": placed.height, "margin": MARGIN,
            "order": [line.number for line in placed.lines],
        }  # fmt: skip
    return answer


def _texts(tips: Mapping[str, Any]) -> list[list[str]]:
    return [
        [name, f"{value:,}" if isinstance(value, int) else str(value)]
        for name, value in tips.items()
    ]
