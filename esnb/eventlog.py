"""The log as an analyst meets it: the record on disk, with the questions attached."""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from esnb import ask
from esnb.aggregate import Aggregate, Event
from esnb.errors import AggregateError, LogError, TimelineError, shown
from esnb.event import RecordedEvent
from esnb.flow import Flow, ObjectFlow
from esnb.flow.concerned import ObjectSelection
from esnb.flow.selection import Clock, LogSelection
from esnb.log import Append, Log
from esnb.query.session import Session
from esnb.show import UNTYPESET, html_table
from esnb.source import ImportResult
from esnb.timeline import Timeline, macros
from esnb.write import Commands
from esnb.write.projections.projection import Projection
from esnb.write.projections.readmodels import Sink
from esnb.write.projections.runner import Runner
from esnb.write.sagas.runner import SagaRunner
from esnb.write.sagas.saga import Saga

if TYPE_CHECKING:
    from datetime import timedelta

    import duckdb
    import pandas as pd

    from esnb.flow.checked import Checked, Open
    from esnb.flow.matches import Matches
    from esnb.flow.rules import Rule

__all__ = ["EventLog"]

_MANY = 12


class EventLog(Log):
    """An event log: `Log` writes and keeps it, this class answers questions.

    Parameters
    ----------
    memory_limit
        How much memory questions may take (``"500MB"``, ``"4GB"``); what does not fit is put
        on disk meanwhile.  DuckDB's own limit, four fifths of the machine's, without one.
        What runs outside of SQL (imports, fields that Python folds) is not counted.
    **options
        Those of `Log`.

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

    def __init__(self, *arguments: Any, memory_limit: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._memory_limit = memory_limit
        self._session: Session | None = None
        self._timelines: dict[str, Timeline] = {}
        self._made: dict[Any, Timeline] = {}
        self._events: dict[str, type[Event]] = {}
        self.imported: ImportResult | None = None

    @property
    def session(self) -> Session:
        """The locked DuckDB session in which questions to this log are answered."""
        if self._closed:
            raise LogError(f"the log {self.path} was closed; open it again with esnb.open(path)")
        if self._session is None:
            derived = None if self.read_only else self._layout.derived
            self._session = Session(
                self.path, zone=self.zone, memory_limit=self._memory_limit, derived=derived
            )
        return self._session

    def close(self) -> None:
        """Seal what is in the tail and let go of the log; relations of it end."""
        if self._session is not None:
            self._session.close()
            self._session = None
        self._made.clear()
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
        they answer as the `timeline` last made for it does.  An aggregate class that was
        given to `timeline` or `register` has such macros under its category.

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
            for category in macros.wanted(text, {*self.categories(), *self._timelines}):
                timeline = self._timelines.get(category) or self.timeline(category)
                names += macros.register(cursor, timeline)
            return names

        return self.session.sql(
            self.snapshot(), text, params, timeout=timeout, macros=made, unsafe=unsafe
        )

    def df(
        self,
        text: str,
        params: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        as_of: object = None,
        valid_at: object = None,
        known: object = None,
        limit: int | None = ask.LIMIT,
        timeout: float | None = None,
    ) -> pd.DataFrame:
        """Ask in SQL as in `sql`, and return a pandas DataFrame that knows its origin.

        Beside ``events`` and the macros there is a table ``order_states`` for each category
        ``order``: the states now, or at the moment that is asked for.  With such a moment
        ``events`` holds what was known, or true, then, and the macros are not there.

        Parameters
        ----------
        params
            As in `sql`.
        as_of
            What was known at a moment: an instant, a position or a recorded event.
        valid_at, known
            What was true at a moment, as it was known at another (or now).
        limit
            Most rows to return; a warning tells when there are more.  None for all.
        timeout
            Seconds after which the query is stopped.

        Returns
        -------
        pandas.DataFrame
            Its ``attrs`` hold ``sql``, ``params``, ``log``, ``log_id``, ``position`` (of the
            next event when it was asked), the moments asked for, and ``row_limit`` if
            there are more rows.  No number loses a digit: whole numbers with gaps are
            nullable, decimals stay decimals where doubles would be inexact.

        Raises
        ------
        QueryError, TimelineError, InstantError
            If it cannot be asked so.
        """
        found = ask.frame(
            self,
            text,
            params,
            as_of=as_of,
            valid_at=valid_at,
            known=known,
            limit=limit,
            timeout=timeout,
        )
        if "row_limit" in found.attrs:
            warnings.warn(f"{found.attrs['row_limit']}; say limit=…", stacklevel=2)
        return found

    def timelines(self) -> dict[str, Timeline]:
        """Return the timelines by name: those that were asked for, and of every other category."""
        names = {*self.categories(), *self._timelines}
        return {name: self._timelines.get(name) or self.timeline(name) for name in sorted(names)}

    def timeline(self, of: str | type[Aggregate], **options: Any) -> Timeline:
        """Return every state of every aggregate, folded from the events.

        Parameters
        ----------
        of
            A category, ``"order"`` for the streams ``order-…``, whose states are found in
            the payloads; or an aggregate class.
        **options
            For a category ``fold="patch"`` (payloads are merged, RFC 7396),
            ``"snapshot"`` (each payload is the whole state), ``"before/after"`` or
            ``"attributes"``; ``ends``: event types that end an aggregate; ``fields``,
            ``ignore``: which payload fields to fold; ``noop``: which events failed.
            For a class ``unknown="keep"``: events of types and versions that it does not know
            change nothing.
            See `Timeline`.
        """
        if not isinstance(of, str):
            if not (isinstance(of, type) and issubclass(of, Aggregate)):
                raise TimelineError(f"{shown(of)} is neither a category nor an aggregate class")
            options = {"known": frozenset(self._events), **options}
            of.description.renew()
        made_of = of if isinstance(of, str) else (of, of.description.fingerprint)
        key = (made_of, repr(sorted(options.items(), key=repr)))
        timeline = self._made.get(key)
        if timeline is None:
            timeline = Timeline(self, of, **options)
            self._made[key] = timeline
        self._timelines[timeline.category] = timeline
        return timeline

    def flow(
        self,
        category: str | Iterable[str] | None = None,
        *,
        by: str | None = None,
        clock: Clock = "occurred",
        window: tuple[object, object] | None = None,
        streams: Any = None,
        where: str | None = None,
        **filters: Any,
    ) -> Flow:
        """Return how cases went: the events of each, one after the other.

        Parameters
        ----------
        category
            Category of the streams, each of which is a case; or several; all without one.
        by
            Beginning of tags, ``"customer:"``: each such tag is a case, and an event with two
            of them belongs to two cases.
        clock
            ``"occurred"``: events of a case go by the time at which they occurred, those of one
            time as the log has them, and waits are measured between these times.
            ``"recorded"``: they go as the log has them, whatever their times say, and waits are
            measured between the times at which they were recorded.
        window
            A pair of instants on this clock, from the first on and before the second; either
            may be None.  Events outside are left out: a case that is cut by the window counts
            with its part inside.
        streams
            Only these cases: names, or a table (frame, relation) with a column ``stream`` or
            ``case_id``, such as ``timeline.when(...)`` or ``flow.streams(...)``.
        where
            Only events for which this SQL condition on their columns holds.
        **filters
            As in `events`.

        Raises
        ------
        FlowError, QueryError, InstantError
            If it cannot be asked so.
        """
        return Flow(
            LogSelection(
                self,
                category,
                by=by,
                clock=clock,
                window=window,
                streams=streams,
                where=where,
                filters=filters,
            )
        )

    def object_flow(
        self,
        types: Iterable[str] | None = None,
        *,
        category: str | Iterable[str] | None = None,
        clock: Clock = "occurred",
        window: tuple[object, object] | None = None,
        streams: Any = None,
        where: str | None = None,
        **filters: Any,
    ) -> ObjectFlow:
        """Return how all objects went that events concern, each event counted once.

        An object is ``type:id``.  A tag ``customer:7`` names one, and so does the stream:
        ``order-17`` is the order 17, the same one that a tag ``order:17`` names.  Tags without a
        ``:``, or with nothing before it, name none.

        Parameters
        ----------
        types
            Types of objects, ``["order", "customer"]``; all without.
        category, clock, window, streams, where, **filters
            As in `flow`: they choose the events.

        Raises
        ------
        FlowError, QueryError, InstantError
            If it cannot be asked so.
        """
        return ObjectFlow(
            ObjectSelection(
                self,
                types,
                category=category,
                clock=clock,
                window=window,
                streams=streams,
                where=where,
                filters=filters,
            )
        )

    def match(
        self,
        pattern: str,
        category: str | Iterable[str] | None = None,
        *,
        within: str | timedelta | None = None,
        state: str | type[Aggregate] | Timeline | None = None,
        **options: Any,
    ) -> Matches:
        """Return where a sequence of events is found in the cases of a flow.

        Parameters
        ----------
        pattern
            A regular expression whose letters are events, for example
            ``"OrderPlaced (PaymentFailed){3,} OrderConfirmed"``; see ``docs/patterns.md``.
        category
            As in `flow`.
        within
            How long after the first event of a match its last one may happen, as ``"2d"``.
        state
            Timeline, or what `timeline` makes one of, for conditions on the state after an
            event: ``"OrderShipped[state.status = 'cancelled']"``.
        **options
            As in `flow`: ``by``, ``clock``, ``window``, ``streams``, ``where`` and filters
            choose the events before anything is looked for.

        Raises
        ------
        FlowError
            If the pattern is none, with a caret under the place.
        """
        known = self.timeline(state) if isinstance(state, str | type) else state
        return self.flow(category, **options).match(pattern, within=within, state=known)

    def check(
        self,
        rules: Rule | str | Iterable[Rule | str],
        category: str | Iterable[str] | None = None,
        *,
        state: str | type[Aggregate] | Timeline | None = None,
        open: Open = "broken",
        until: object = None,
        **options: Any,
    ) -> Checked:
        """Check rules in the cases of a flow: which held, which were broken, by which events.

        Parameters
        ----------
        rules
            One or several, of `esnb.flow.rules` (``response("OrderPlaced", "OrderShipped",
            within="7d")``), or sentences (``"OrderShipped never before OrderPaid"``).
        category
            As in `flow`.
        state
            Timeline, or what `timeline` makes one of, for conditions on the state after an
            event.
        open, until
            Whether an event may still wait at the end of what is known; see
            `esnb.flow.Flow.check`.
        **options
            As in `flow`.

        Raises
        ------
        FlowError
            If a rule is none, or names an unknown event type.
        """
        known = self.timeline(state) if isinstance(state, str | type) else state
        flow = self.flow(category, **options)
        return flow.check(rules, state=known, open=open, until=until)

    def register(self, *classes: type[Aggregate] | type[Event]) -> None:
        """Make classes known to this log object.

        An event class makes its type known: an aggregate class that does not handle it leaves it
        alone, and an event of this type is refused by `append` where the class cannot read it.
        An aggregate class gets SQL macros under its category.

        Raises
        ------
        AggregateError
            If two of the classes read one event type.
        """
        named: dict[str, type[Event]] = {}
        for one in classes:
            if issubclass(one, Event):
                for name in (one.event_type, *one.aliases):
                    other = named.setdefault(name, one)
                    if other is not one:
                        raise AggregateError(
                            f"{other.__qualname__} and {one.__qualname__} both read events "
                            f"{shown(name)}; register one of them"
                        )
        self._events |= named
        for one in classes:
            if not issubclass(one, Event):
                self.timeline(one)

    def commands(self, *handlers: type[Aggregate] | Callable[..., Any], **options: Any) -> Commands:
        """Return what sends commands to aggregates of this log (see `esnb.Commands`).

        Parameters
        ----------
        *handlers
            Aggregate classes, whose methods handle commands, and functions that do.
        **options
            ``clock``, ``snapshot_every``, ``hold``, ``tries``, as `Commands` has them.
        """
        return Commands(self, *handlers, **options)

    def project(self, projection: type[Projection], *, into: Sink, **options: Any) -> Runner:
        """Return what keeps a read model up to date with this log.

        Parameters
        ----------
        projection
            The class that says what its tables hold.
        into
            `DuckDBSink`, `PostgreSQLSink`, `RedisSink` or `MongoDBSink`.
        **options
            ``on_error``, ``batch``, ``poll``, ``patience``; see `Runner`.

        Examples
        --------
        >>> log.project(Board, into=DuckDBSink("shop.duckdb")).run()     # doctest: +SKIP
        """
        return Runner(self, projection, into, **options)

    def saga(self, saga: type[Saga], commands: Commands, **options: Any) -> SagaRunner:
        """Return what runs the sagas of a class on this log.

        Parameters
        ----------
        saga
            The class that says which commands follow from which events.
        commands
            Sends the commands.
        **options
            ``after``, ``actor``, ``clock``, ``batch``, ``poll``; see `SagaRunner`.

        Examples
        --------
        >>> log.saga(Fulfilment, log.commands(Order, Payment)).run()     # doctest: +SKIP
        """
        return SagaRunner(self, saga, commands, **options)

    def append_many(self, *appends: Append, **conditions: Any) -> tuple[RecordedEvent, ...]:
        """Append to several streams in one commit, as `Log.append_many` does.

        Raises
        ------
        EventError, SchemaError
            Beside the errors of `Log.append`: if a registered event class cannot read the
            payload of an event.  Nothing was written.
        """
        if self._events:
            for event in (event for append in appends for event in append.events):
                known = self._events.get(event.event_type)
                if known is not None:
                    known.from_payload(event.data, version=event.schema_version)
        return super().append_many(*appends, **conditions)

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
        return (
            f"<div {UNTYPESET}><b>esnb event log</b> "
            f"<code>{html.escape(str(self.path))}</code>{table}</div>"
        )
