"""Variants: the ways that cases went, each with its share, of which one can be chosen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import duckdb

from esnb.chart.frame import COLORS
from esnb.chart.variants import short_names, variants_chart
from esnb.chart.words import share, tip
from esnb.duck import connect
from esnb.errors import QueryError, shown
from esnb.eventlog import EventLog
from esnb.flow import Flow
from esnb.show import visible
from esnb.widget.base.piece import intent
from esnb.widget.base.session import Session, Streams
from esnb.widget.flows.cases import FlowPiece, named, session_flow, way
from esnb.widget.flows.sql import variants_sql

__all__ = ["Variants"]

# Rows stand in the page, each with its steps.
_MOST_ROWS = 500
_MOST_STEPS = 40
_IN_PICTURE = 25
# What can be sorted by, and how it is called.
_SORTS = {
    "cases": "cases", "length": "steps", "median_duration": "median duration",
    "first_seen": "first seen", "last_seen": "last seen",
}  # fmt: skip


class _Chosen(NamedTuple):
    """A variant that was chosen here, and which streams were chosen before."""

    variant_id: str
    words: str
    flow: Flow
    streams: Streams | None
    before: Streams | None


class Variants(FlowPiece):
    """The ways that cases went: share, steps, cases, median duration, first and last seen.

    A click (or Enter) on a row chooses its cases, another one gives them back; the list itself
    goes on showing all variants.

    Parameters
    ----------
    source
        A `Session`, whose window and streams it follows; an `EventLog`; or a `Flow`.
    limit
        How many variants to show, up to 500.
    sort
        ``"cases"``, ``"length"``, ``"median_duration"``, ``"first_seen"`` or ``"last_seen"``;
        of all variants, not of those shown.
    descending
        Whether the highest come first.
    words
        ``"whole"`` names of event types, or ``"short"`` ones of two or three letters.
    category, session, key
        See `esnb.widget.flows.cases.FlowPiece`.

    Raises
    ------
    QueryError
        If it cannot be set so.
    """

    name = "variants"
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"limit": 50, "sort": "cases", "descending": True, "words": "whole"}
    )

    def __init__(
        self,
        source: Session | EventLog | Flow,
        *,
        limit: int = 50,
        sort: str = "cases",
        descending: bool = True,
        words: str = "whole",
        category: str | None = None,
        session: Session | None = None,
        key: str | None = None,
    ) -> None:
        self._chosen: _Chosen | None = None
        given = {"limit": limit, "sort": sort, "descending": descending, "words": words}
        super().__init__(source, category=category, session=session, key=key, **given)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "limit" and (
            isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= _MOST_ROWS
        ):
            raise QueryError(f"limit={shown(value)}: say how many variants, from 1 to {_MOST_ROWS}")
        if name == "sort" and value not in _SORTS:
            raise QueryError(f"sort={shown(value)}: say {', '.join(map(repr, _SORTS))}")
        if name == "descending" and not isinstance(value, bool):
            raise QueryError(f"descending={shown(value)}: say True or False")
        if name == "words" and value not in ("whole", "short"):
            raise QueryError(f"words={shown(value)}: say 'whole' or 'short'")
        return value

    # --- what it shows -----------------------------------------------------------------------

    def flow(self) -> Flow:
        """Return the flow of which it shows the variants."""
        if self._flow is not None or self.session is None:
            return super().flow()
        return self._of(self._before(), self.session.window)

    def _before(self) -> Streams | None:
        """Return the streams that narrow the list: not those that were chosen in it."""
        if self.session is None:
            return None
        chosen = self._in_force()
        return self.session.streams if chosen is None else chosen.before

    def _in_force(self) -> _Chosen | None:
        chosen = self._chosen
        if chosen is None or self.session is None or chosen.streams is None:
            return chosen
        return chosen if self.session.streams is chosen.streams else None

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the variants that it shows.

        Returns
        -------
        duckdb.DuckDBPyRelation
            The columns of ``flow.variants()``, as the list is sorted.
        """
        limit, sort = self.settings["limit"], self.settings["sort"]
        if sort == "cases" and self.settings["descending"]:
            return self.flow().variants(limit)
        way_up = "desc" if self.settings["descending"] else "asc"
        order = f"{sort} {way_up}, cases desc, variant"
        return self.flow().variants().order(order).limit(limit)

    @property
    def sql(self) -> str:
        """SQL of the same variants over the events of the log, slower and without examples.

        Of a flow that was given it is that of `data`.
        """
        if self._flow is not None or self.session is None:
            return super().sql
        sort = f"{self.settings['sort']} {'DESC' if self.settings['descending'] else 'ASC'}"
        streams = self._before()
        flow = self._asked_of(streams, self.session.window)
        return variants_sql(flow, streams, sort, self.settings["limit"])

    def streams(self) -> duckdb.DuckDBPyRelation:
        """Return the cases that were chosen, or all: a column ``stream``."""
        chosen = self._in_force()
        return connect().from_arrow(named(self.flow() if chosen is None else chosen.flow))

    def _session_code(self, session: Session) -> str:
        if self._in_force() is None:
            return session.code
        traits = {name: getattr(session, name) for name in session.trait_names()}
        return Session(session.log, session.category, **{**traits, "streams": self._before()}).code

    def chart(self) -> Any:
        """Return the most frequent of them as a chart of Altair: see `esnb.chart`."""
        return variants_chart(self.flow(), min(self.settings["limit"], _IN_PICTURE))

    def title(self) -> str:
        """Return what stands above the static picture."""
        return f"Variants of {self.flow().selection.described}"

    # --- with the browser --------------------------------------------------------------------

    @intent
    def ask_rows(self) -> Mapping[str, Any]:
        """Return the rows, lengths and instants in microseconds, steps as numbers of types."""
        flow = self.flow()
        columns = (
            "variant, length, cases, epoch_us(median_duration) AS median, "
            "epoch_us(first_seen) AS first, epoch_us(last_seen) AS last, variant_id AS id"
        )
        table = self.data().project(columns).to_arrow_table()
        steps = flow.built()
        # By how often they occur: a type keeps its colour however the list is sorted.
        types = [name for name, *_ in flow.activities().project("event_type").fetchall()]
        number = {name: place for place, name in enumerate(types)}
        codes = short_names(types)
        rows = []
        for row in table.to_pylist():
            names = row.pop("variant")
            row["share"] = share(row["cases"], steps.cases)
            row["steps"] = [number[name] for name in names[:_MOST_STEPS]]
            rows.append(row)
        cases = sum(row["cases"] for row in rows)
        chosen = self._in_force()
        return {
            "rows": rows,
            "types": [
                {"name": tip(name), "code": code, "tone": place if place < len(COLORS) else "rest"}
                for place, (name, code) in enumerate(zip(types, codes, strict=True))
            ],
            "variants": flow.variant_count,
            "cases": steps.cases,
            "said": f"{len(rows):,} of {flow.variant_count:,} variants, "
            f"{share(cases, steps.cases)} of {steps.cases:,} cases",
            "clock": f"{flow.selection.clock}_on",
            "zone": self.zone,
            "chosen": chosen and chosen.variant_id,
            "chips": self.chips(),
            "more": len(rows) < min(flow.variant_count, _MOST_ROWS),
        }

    @intent
    def ask_choose(self, variant: str) -> Mapping[str, Any]:
        """Choose the cases of a variant, by its id; or give them back if they were chosen."""
        before = self._before()
        chosen = self._in_force()
        if chosen is not None and chosen.variant_id == variant:
            self._chosen = None
            if self.session is not None and chosen.streams is not None:
                self.session.streams = before
            return {"cases": 0}
        flow = self.flow().only(variant=variant)
        names = [
            name for (names,) in flow.variants(1).project("variant").fetchall() for name in names
        ]
        words = f"variant {variant}: {_words(names)}"
        streams = None
        if self.session is not None and not getattr(flow.selection, "by", None):
            label = words if before is None else f"{before.label}, {words}"
            streams = Streams(label, named(flow))
            if self._flow is None:
                window = self.session.window
                session_flow(
                    self.session, self._category, streams=streams, window=window, found=flow
                )
        self._chosen = _Chosen(variant, words, flow, streams, before)
        if self.session is not None and streams is not None:
            self.session.streams = streams
        return {"cases": flow.built().cases}

    @intent
    def ask_all(self) -> Mapping[str, Any]:
        """Take back the choice of cases."""
        self._chosen = None
        return super().ask_all()

    def chips(self) -> list[dict[str, str]]:
        """Return how cases were chosen, in words, as `Session.chips` does."""
        chosen = self._in_force()
        if chosen is not None and (self.session is None or chosen.streams is None):
            words = f"{chosen.words} ({chosen.flow.built().cases:,})"
            return [{"trait": "streams", "words": words}]
        if self.session is None:
            return []
        return [one for one in self.session.chips() if one["trait"] == "streams"]


def _words(names: list[str]) -> str:
    """Return a variant in a few words.

    >>> _words(["OrderPlaced", "OrderConfirmed", "OrderShipped", "OrderDelivered"])
    'OrderPlaced → OrderConfirmed → … → OrderDelivered (4 steps)'
    """
    if len(names) < 4:
        return f"{way(*names)} ({len(names)} step{'' if len(names) == 1 else 's'})"
    last = visible(names[-1], 40) or "(empty)"
    return f"{way(*names[:2])} → … → {last} ({len(names):,} steps)"
