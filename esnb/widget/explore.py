"""One panel with everything: the five-minute way into a log."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import duckdb
import ipywidgets

from esnb.errors import EsnbError, QueryError, shown
from esnb.eventlog import EventLog
from esnb.show import visible
from esnb.widget.base import cells, mainthread
from esnb.widget.base.piece import Piece, let_go, looks_of, show
from esnb.widget.base.session import Session
from esnb.widget.chips import Chips
from esnb.widget.events.bins import Question
from esnb.widget.events.query import Query
from esnb.widget.events.table import EventTable
from esnb.widget.events.timeline import Timeline
from esnb.widget.flows.flow_map import FlowMap
from esnb.widget.flows.variants import Variants
from esnb.widget.states.replay import Replay
from esnb.widget.states.state_diff import StateDiff

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PANES", "Explore", "explore"]

PANES = ("Events", "Streams", "Flow", "Replay", "Changes", "Query")
_NARROWING = ["window", "event_types", "streams", "clock"]
_KEPT: dict[str, str] = {}


class Explore(ipywidgets.VBox):  # type: ignore[misc]  # no types there
    """A panel of linked pieces, as `explore` makes it.

    Attributes
    ----------
    session
        What all pieces follow.
    timeline
        The timeline.
    """

    made: cells.Run | None = None
    _open = False  # a panel that was refused is closed too, when it goes

    def __init__(
        self,
        source: EventLog | Session,
        category: str | None = None,
        *,
        pane: str | None = None,
        key: str | None = None,
    ) -> None:
        if isinstance(source, Session):
            if category is not None and category != source.category:
                raise QueryError("the session has a category of its own; leave category= out")
            self.session = source
        elif isinstance(source, EventLog):
            self.session = Session(source, category)
        else:
            raise QueryError(f"explore a log or a session, not {shown(source)}")
        kept = _KEPT.get(key) if key is not None else None
        first = kept or pane or PANES[0]
        if first not in PANES:
            raise QueryError(f"pane={shown(first)}: say one of {', '.join(PANES)}")
        self.made = cells.here()
        self._of_key = key
        self._made: dict[str, tuple[ipywidgets.Widget, ...]] = {}
        self.timeline = Timeline(self.session, key=key)
        self._panes = [ipywidgets.VBox(layout={"width": "auto"}) for _ in PANES]
        self._tabs = ipywidgets.Tab(
            children=self._panes,
            titles=PANES,
            selected_index=PANES.index(first),
            layout={"width": "auto"},
        )
        self._show()
        super().__init__(
            children=(Chips(self.session), self.timeline, self._tabs), layout={"width": "auto"}
        )
        self.add_class("esnb-explore")
        self._tabs.observe(self._opened, "selected_index")

    @property
    def pane(self) -> str:
        """Name of the pane in sight; it can be set."""
        return PANES[self._tabs.selected_index or 0]

    @pane.setter
    def pane(self, name: str) -> None:
        if name not in PANES:
            raise QueryError(f"there is no pane {shown(name)}; there are {', '.join(PANES)}")
        self._tabs.selected_index = PANES.index(name)

    def piece(self, name: str) -> tuple[ipywidgets.Widget, ...]:
        """Return the pieces of a pane; they are made when first asked for."""
        if name not in self._made:
            try:
                self._made[name] = self._pieces(name)
            except EsnbError as error:
                # The other panes work all the same.
                text = html.escape(visible(f"{type(error).__name__}: {error}", 2_000))
                return (ipywidgets.HTML(f'<p class="tex2jax_ignore">{text}</p>'),)
        return self._made[name]

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the events in sight: the columns of `esnb.EventLog.events`."""
        return self.session.events()

    @property
    def code(self) -> str:
        """The call that makes this panel anew."""
        given = [self.session.code]
        if self.pane != PANES[0]:
            given.append(f"pane={self.pane!r}")
        return f"esnb.explore({', '.join(given)})"

    def open(self) -> None:
        """Be there for the browser, and follow the session; also again, after `close`."""
        for one in self._parts():
            for looks in looks_of(one):
                looks.open()
            one.open()
        self.layout.open()
        super().open()
        if not self._open:
            self._open = True
            self.session.observe(self._narrowed, _NARROWING)

    def close(self) -> None:
        """Let go of the session and the browser."""
        if self._open:
            self._open = False
            self.session.unobserve(self._narrowed, _NARROWING)
            for one in self._parts():
                if isinstance(one, Piece):
                    one.close()
                else:
                    let_go(one)
        let_go(self)

    def _parts(self) -> list[ipywidgets.DOMWidget]:
        """Return all that the panel is made of, what is inside of others before them."""
        pieces = (one for made in self._made.values() for one in made)
        inside = (one for pane in self._panes for one in pane.children)
        parts = (*pieces, *inside, *self._panes, *self.children)
        return list({id(one): one for one in parts}.values())

    def _pieces(self, name: str) -> tuple[ipywidgets.Widget, ...]:
        session, key = self.session, self._of_key
        if name == "Events":
            return (EventTable(session, key=key),)
        if name == "Streams":
            table = EventTable(self._streams())
            table.observe(self._stream_chosen, "chosen")
            return (table,)
        if name == "Flow":
            return (FlowMap(session, key=key), Variants(session, key=key))
        if name == "Replay":
            return (Replay(session, key=key),)
        if name == "Changes":
            of = session.category or _largest(session.log)
            return (StateDiff(session, of=of, key=key),)
        query = Query(session, key=key)
        query.observe(self._answered, "result")
        return (query,)

    def _streams(self) -> duckdb.DuckDBPyRelation:
        """Return the streams in sight, those with most events first."""
        question = Question(self.session)
        return question.cursor.sql(
            "SELECT e.stream, count(*) AS events,"  # noqa: S608
            " min(e.occurred_on) AS first_occurred, max(e.occurred_on) AS last_occurred"
            f" FROM events AS e WHERE {question.where} GROUP BY e.stream"
            " ORDER BY events DESC, e.stream"
        )

    def _show(self) -> None:
        """Fill the pane in sight and empty the others: what is hidden asks nothing."""
        for name, pane in zip(PANES, self._panes, strict=True):
            wanted = self.piece(name) if name == self.pane else ()
            if pane.children != wanted:
                pane.children = wanted

    def _opened(self, _: Any) -> None:
        if self._of_key is not None:
            _KEPT[self._of_key] = self.pane
        mainthread.run(self._show)

    def _narrowed(self, _: Any) -> None:
        """Take in that other streams are in sight."""
        old = self._made.pop("Streams", None)
        if self.pane == "Streams":
            self._show()
        for one in old or ():
            one.close()

    def _stream_chosen(self, change: Mapping[str, Any]) -> None:
        """Look at the last event of a stream that was chosen, so that all pieces find it."""
        if change["new"] is None:
            return
        row = change["owner"].selected
        if row is None:
            return
        last = self.session.log.events(stream=row["stream"]).order("revision DESC").limit(1)
        found = last.project("event_id").fetchone()
        if found is not None:
            self.session.event_id = found[0]

    def _answered(self, change: Mapping[str, Any]) -> None:
        query, *old = self._made["Query"]
        self._made["Query"] = (query, EventTable(change["new"]))
        self._show()
        for one in old:
            one.close()

    def _ipython_display_(self) -> None:
        # The timeline is always in sight.
        show(self, self.timeline)


def explore(
    source: EventLog | Session,
    category: str | None = None,
    *,
    pane: str | None = None,
    key: str | None = None,
) -> Explore:
    """Look at a log in one panel: what narrows one part narrows all.

    On top what narrows the view, and the timeline; below, one at a time, the events and the
    streams in sight, how cases went, one stream replayed, what changed within the window, and a
    box for questions in SQL.

    Parameters
    ----------
    source
        An event log, or a session that other pieces of the notebook share.
    category
        Only streams of this category, ``"order"``.
    pane
        The pane to begin with: ``"Events"``, ``"Streams"``, ``"Flow"``, ``"Replay"``,
        ``"Changes"`` or ``"Query"``.
    key
        A name under which the settings are kept for a cell that is run again.

    Returns
    -------
    Explore
        A widget with ``session``, ``code`` and ``data()``.

    Raises
    ------
    QueryError
        If `source` is neither, or there is no such pane.
    """
    return Explore(source, category, pane=pane, key=key)


def _largest(log: EventLog) -> str | None:
    """Return the category with most events."""
    found = log.events().aggregate("category, count(*) AS events", "category")
    row = found.order("events DESC, category").limit(1).fetchone()
    return None if row is None else str(row[0])
