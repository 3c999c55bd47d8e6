"""The log as an analyst meets it: the record on disk, with the questions attached."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esnb.errors import LogError
from esnb.log import Log
from esnb.query.session import Session
from esnb.show import html_table
from esnb.source import ImportResult
from esnb.timeline import Timeline, macros

if TYPE_CHECKING:
    import duckdb

__all__ = ["EventLog"]

_MANY = 12


class EventLog(Log):
    """An event log: `Log` writes and keeps it, this class answers questions.

    Attributes
    ----------
    imported
        What the import did, for a log made by `esnb.read`.

    Examples
    --------
    >>> log.events(category="order").df()                       # doctest: +SKIP
    >>> log.timeline("order").as_of("2026-03-01T00:00:00Z")     # doctest: +SKIP
    >>> log.sql("from order_as_of('2026-03-01T00:00:00Z')")     # doctest: +SKIP
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._session: Session | None = None
        self._timelines: dict[str, Timeline] = {}
        self.imported: ImportResult | None = None

    @property
    def session(self) -> Session:
        """The locked DuckDB session in which questions to this log are answered."""
        if self._closed:
            raise LogError(f"the log {self.path} was closed; open it again with esnb.open(path)")
        if self._session is None:
            derived = None if self.read_only else self._layout.derived
            self._session = Session(self.path, zone=self.zone, derived=derived)
        return self._session

    def close(self) -> None:
        """Seal what is in the tail and let go of the log; relations of it end."""
        if self._session is not None:
            self._session.close()
            self._session = None
        super().close()

    def events(self, **filters: Any) -> duckdb.DuckDBPyRelation:
        """Return events as a DuckDB relation with the canonical columns, by position.

        Parameters
        ----------
        **filters
            ``stream``, ``category``, ``event_type``, ``event_id``, ``tag``, ``actor``,
            ``correlation_id``, ``causation_id``: one value or a list.
            ``occurred_from``, ``occurred_to``, ``recorded_from``, ``recorded_to``:
            instants, half-open.  ``after``, ``before``: positions, exclusive.

        Raises
        ------
        QueryError
            If a filter has an unknown name.
        DamagedLogError
            If a file to be read is missing or altered.
        """
        return self.session.events(self.snapshot(), **filters)

    def sql(
        self,
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        unsafe: bool = False,
    ) -> duckdb.DuckDBPyRelation:
        """Ask in SQL: the table ``events``, and four table macros for each category.

        For a category ``order`` they are ``order_as_of(ts)``,
        ``order_valid_at(ts, known)``, ``order_history()`` and ``order_diff(a, b)``;
        they answer as `timeline` last made for the category does.

        Parameters
        ----------
        params
            Values for ``?`` and ``$1`` (a list) or ``$name`` (a mapping).
        timeout
            Seconds after which the query is stopped.
        unsafe
            Run without the gate, on a connection that may read and write files.

        Raises
        ------
        QueryError
            If the text is not one plain SELECT, or DuckDB cannot run it.
        """

        def made(cursor: duckdb.DuckDBPyConnection) -> list[str]:
            names: list[str] = []
            for category in macros.wanted(text, self.categories()):
                timeline = self._timelines.get(category) or self.timeline(category)
                names += macros.register(cursor, timeline)
            return names

        return self.session.sql(
            self.snapshot(), text, params, timeout=timeout, macros=made, unsafe=unsafe
        )

    def timeline(self, category: str, **options: Any) -> Timeline:
        """Return every state of every aggregate of a category, folded from its events.

        Parameters
        ----------
        category
            ``"order"`` for the streams ``order-…``.
        **options
            ``fold="patch"`` (payloads are merged, RFC 7396) or ``"snapshot"`` (each
            payload is the whole state); ``ends``: event types that end an aggregate;
            ``fields``, ``ignore``: which payload fields to fold (see `Timeline`).
        """
        timeline = Timeline(self, category, **options)
        self._timelines[category] = timeline
        return timeline

    def categories(self) -> list[str]:
        """Return the names of the categories in the log, sorted."""
        snapshot = self.snapshot()
        found = set(snapshot.tail["category"].unique().to_pylist())
        for segment in snapshot.segments:
            if segment.categories is None:
                rows = self.events().aggregate("category").fetchall()
                return sorted(category for (category,) in rows)
            found.update(segment.categories)
        return sorted(found)

    def _repr_html_(self) -> str:
        info = self.info()
        counts = (
            self.events()
            .aggregate(
                "category, count(distinct stream) as streams, count(*) as events,"
                " count(distinct event_type) as event_types,"
                " min(recorded_on) as first_recorded, max(recorded_on) as last_recorded",
                "category",
            )
            .order("events desc, category")
            .fetchall()
        )
        left_out = f" ({_MANY} of {len(counts)} categories)" if len(counts) > _MANY else ""
        title = (
            f"{info.events:,} events in {info.streams:,} streams, {info.bytes / 1e6:,.1f} MB, "
            f"times in UTC{left_out}"
        )
        names = ["category", "streams", "events", "event types", "first recorded", "last recorded"]
        table = html_table(names, counts[:_MANY], caption=title)
        return f"<div><b>esnb event log</b> <code>{html.escape(str(self.path))}</code>{table}</div>"
