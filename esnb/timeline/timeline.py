"""The timeline of a category: every state of every aggregate in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from esnb import instants
from esnb.aggregate import Aggregate
from esnb.aggregate.condition import condition_sql
from esnb.aggregate.explain import Explanation, explained
from esnb.errors import TimelineError, shown
from esnb.query.names import quote
from esnb.show import UNTYPESET, html_table
from esnb.timeline import blame, counts, cube, diff, pipeline
from esnb.timeline.breaches import breaches_sql
from esnb.timeline.build import interval_sql, one_row
from esnb.timeline.checking import Compared, compare
from esnb.timeline.classes import ClassDefinition, Unknown
from esnb.timeline.comparison import Comparison, side
from esnb.timeline.definition import Definition
from esnb.timeline.forms import Form, Mode, form
from esnb.timeline.infer import declared_type
from esnb.timeline.moment import LATEST, Moment, moment, ordered
from esnb.timeline.payloads import Inferred
from esnb.timeline.read import Read, Source
from esnb.timeline.replay import Order, replayed
from esnb.timeline.states import as_of_sql, history_sql
from esnb.timeline.table import Table
from esnb.timeline.text import unknown
from esnb.timeline.when import Periods, when_sql

if TYPE_CHECKING:
    from esnb.timeline.hypothetical import WhatIf

__all__ = ["FieldInfo", "Timeline"]

_COUNTED = ("event_type", "actor")


class FieldInfo(NamedTuple):
    """Where a field of a timeline comes from: its key in the payload, and its DuckDB type."""

    key: str
    type: str


class Timeline:
    """Every state of every aggregate of a category, and the questions asked of it.

    A state at a time is the fold of the events up to that time.  Within a stream
    the order is that of the revisions; time never breaks it: an event counts as
    recorded no earlier than the events before it in its stream.  Intervals are
    half-open, and a question about an instant includes that instant.

    Parameters
    ----------
    source
        A log with ``snapshot()``, ``session`` and ``zone``.
    definition
        A category, whose fields are then found in its payloads and which answers with empty
        tables as long as it has no events; an aggregate class; or a `Definition`, which takes
        no further options.
    fold
        ``"patch"``: each payload is a JSON merge patch (RFC 7396) of the state, so
        ``null`` removes a field.  ``"snapshot"``: each payload is the whole state.
        ``"before/after"``: each payload has the state before and after (change data
        capture); no state after ends the aggregate.  ``"attributes"``: each payload says
        the new value of one attribute.
    ends
        Event types that end the aggregate.  It is absent from then on, until a
        later event creates it anew from nothing.  Their payloads are not folded.
    fields
        Keys of the payload to fold: a list of names, or names with DuckDB types,
        which values must then fit.  All keys with inferred types by default.
    ignore
        Keys to leave out, such as those that tell the future.
    noop
        Payload key of failed operations (or several): an event that has it, other than
        null, changes nothing.  Or keys with their values, ``{"status": "failed"}``, all of
        which such an event has.
    before, after
        Keys of the two states, for ``fold="before/after"``; called so by default.
    attribute, value
        Keys of an attribute's name and new value, for ``fold="attributes"``; without them
        the first event that has ``attribute``, ``field`` or ``name``, and ``value`` or
        ``new_value``, decides.
    unknown
        For a class: an event whose type or version it does not know is an ``"error"``, or with
        ``"keep"`` a row of `history` that changes nothing.
    python
        For a class: fold all of it with Python.
    known
        For a class: further event types that are known and change nothing.

    Raises
    ------
    TimelineError
        If an argument cannot be one, here; later, if a key named in `fields` or
        `ignore` is in no payload, or a value does not fit a type given for it.
    """

    def __init__(
        self,
        source: Source,
        definition: str | type[Aggregate] | Definition,
        *,
        fold: Mode = "patch",
        ends: Iterable[str] = (),
        fields: Mapping[str, str] | Iterable[str] | None = None,
        ignore: Iterable[str] = (),
        noop: object = None,
        before: str | None = None,
        after: str | None = None,
        attribute: str | None = None,
        value: str | None = None,
        unknown: Unknown = "error",
        python: bool = False,
        known: Iterable[str] = (),
    ) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._last: Read | None = None
        if isinstance(definition, type) and issubclass(definition, Aggregate):
            definition = ClassDefinition(definition, unknown=unknown, python=python, known=known)
        if isinstance(definition, str) or not hasattr(definition, "fold"):
            said = form(fold, noop, before, after, attribute, value)
            definition = _inferred(definition, said, ends, fields, ignore)
        elif (
            (fold, tuple(ends), fields, tuple(ignore)) != ("patch", (), None, ())
            or noop is not None
            or {before, after, attribute, value} != {None}
        ):
            raise TimelineError("a definition says itself what is folded; leave the options out")
        self._definition: Definition = definition

    # --- questions -------------------------------------------------------------------------

    def as_of(self, when: object) -> duckdb.DuckDBPyRelation:
        """Return the state of every aggregate as the log stood at `when`.

        Parameters
        ----------
        when
            An instant on the system clock (``datetime``, ISO text, pandas
            ``Timestamp``); or a position, or a recorded event, which stands for its
            position.  Events at it are included.

        Returns
        -------
        duckdb.DuckDBPyRelation
            One row per aggregate: ``stream``, the ``revision``, ``position``,
            ``event_id``, ``event_type``, ``actor`` and ``occurred_on`` of its last
            event, ``system_from``, ``system_to``, ``next_position``, and the fields.

        Raises
        ------
        InstantError
            If `when` cannot be read, or has no zone and the log declares none.
        """
        at = self._moment(when)
        read = self._read()
        return read.ask(as_of_sql(read.table, at))

    def valid_at(self, when: object, as_of: object = None) -> duckdb.DuckDBPyRelation:
        """Return what was true at `when`, as far as it was known at `as_of`.

        The events known at `as_of` are folded in the order (``occurred_on``,
        ``position``), up to and including `when`.

        Parameters
        ----------
        when
            An instant on the valid clock; a position or a recorded event stands for
            the ``occurred_on`` of that event.
        as_of
            A moment as in `as_of`; now by default.

        Returns
        -------
        duckdb.DuckDBPyRelation
            One row per aggregate: the columns of its last event as in `as_of`,
            ``valid_from``, ``valid_to`` (when the next event known occurred, NULL for
            none), and the fields.
        """
        known = LATEST if as_of is None else self._moment(as_of)
        read = self._read()
        at = read.occurred(when, self._source.zone)
        if isinstance(self._definition, Inferred) and self._definition.fields is not None:
            _ = read.table  # says by name which value does not fit its type
        sql = pipeline.valid_sql(read.fold, at, known.reached("e"))
        cursor = self._source.session.fresh(read.snapshot)
        pipeline.register(cursor, read.fold)
        return cursor.sql(sql)

    def history(self, stream: str | None = None) -> duckdb.DuckDBPyRelation:
        """Return every state of `stream`, or of all streams: one row per event.

        Returns
        -------
        duckdb.DuckDBPyRelation
            The columns of `as_of` and ``ended``, by stream and position.  The row of
            an event that ended the aggregate has ``ended`` true and no fields.  A
            state that was replaced at its own instant has ``system_from =
            system_to``; questions by time don't see it, questions by position do.

        Raises
        ------
        TimelineError
            If there is no such stream.
        """
        read = self._read()
        if stream is not None:
            read.check_stream(stream)
        return read.ask(history_sql(read.table, stream))

    def replay(self, stream: str, clock: Order = "recorded") -> duckdb.DuckDBPyRelation:
        """Return the events of `stream` one after the other, each with the state after it.

        Parameters
        ----------
        stream
            One aggregate.
        clock
            ``"recorded"``: in the order in which they became known, as in `history`.
            ``"occurred"``: by ``occurred_on`` and position; the last state is the one that
            `valid_at` gives for a moment after all of them.

        Returns
        -------
        duckdb.DuckDBPyRelation
            One row per event: ``stream``, ``revision``, ``position``, ``event_id``,
            ``event_type``, ``actor``, ``occurred_on``, ``recorded_on``, ``system_from`` and
            ``system_to`` (or ``valid_from`` and ``valid_to``: the state counts from its event
            to the next one in this order), ``ended``, ``data`` (the payload; ``data_2`` where
            a field is called so), and the fields.

        Raises
        ------
        TimelineError
            If there is no such stream, or `clock` is another one.
        """
        if clock not in ("recorded", "occurred"):
            raise TimelineError(f"clock is 'recorded' or 'occurred', not {shown(clock)}")
        return replayed(self._read(), stream, clock)

    def diff(self, a: object, b: object) -> duckdb.DuckDBPyRelation:
        """Return what changed from `a` to `b`, and the event that did it.

        Parameters
        ----------
        a, b
            Moments as in `as_of`: two instants, or two positions.

        Returns
        -------
        duckdb.DuckDBPyRelation
            One row per stream and field: ``stream``, ``change`` (``added``,
            ``removed`` or ``changed``), ``field``, ``before``, ``after`` (as text),
            and ``position``, ``event_id``, ``event_type``, ``actor``, ``occurred_on``
            of the last event in (a, b] since which the field has its final value;
            for a removed stream, of the one that ended it.  A stream that came or
            went without any field has one row whose ``field`` is NULL.  The rows are sorted by
            stream and in the order of the fields if no more than 100,000 events lie between `a`
            and `b`; of more, they come in no order (``.order("stream, field")`` sorts them).

        Raises
        ------
        TimelineError
            If `a` lies after `b`, or one is an instant and the other a position.
        """
        first, second = self._moment(a), self._moment(b)
        ordered(first, second)
        read = self._read()
        sort = diff.to_be_read(read.cursor, read.table, first, second)
        return read.ask(diff.diff_sql(read.table, first, second, sort=sort))

    def diff_counts(self, a: object, b: object) -> duckdb.DuckDBPyRelation:
        """Return how many aggregates changed from `a` to `b`, by field: the sum of `diff`.

        Parameters
        ----------
        a, b
            Moments as in `diff`.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``change`` (``added``, ``removed`` or ``changed``), ``field``, and ``streams``:
            how many aggregates differ in it.  Where ``field`` is NULL, in anything at all.

        Raises
        ------
        TimelineError
            If `a` lies after `b`, or one is an instant and the other a position.
        """
        first, second = self._moment(a), self._moment(b)
        ordered(first, second)
        read = self._read()
        return read.ask(diff.counts_sql(read.table, first, second))

    def compare(self, a: object, b: object) -> Comparison:
        """Return what differs between two states, on either clock: counts, lists, one aggregate.

        Parameters
        ----------
        a, b
            Moments as in `diff`, in order; or pairs ``(as_of, valid_at)``: what was true at
            ``valid_at`` as far as it was known at ``as_of`` (None for now), in any order.

        Returns
        -------
        Comparison
            ``counts()``, ``streams()``, ``values()`` and ``rows()`` of all aggregates, ``of()``
            and ``states()`` of one.

        Raises
        ------
        TimelineError
            If `a` lies after `b`, one is an instant and the other a position, or a pair is none.
        """
        read, zone = self._read(), self._source.zone
        return Comparison(read, side(read, a, zone), side(read, b, zone))

    def blame(self, stream: str, at: object = None) -> duckdb.DuckDBPyRelation:
        """Return for each field of `stream` the event that gave it its value.

        Parameters
        ----------
        stream
            One aggregate.
        at
            A moment as in `as_of`; now by default.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``field``, ``value`` (as text; NULL for a field that an event took away),
            and ``position``, ``revision``, ``event_id``, ``event_type``, ``actor``,
            ``occurred_on``, ``recorded_on`` of the event since which the field has
            held that value without interruption.  Empty when the aggregate did not
            exist at `at`.

        Raises
        ------
        TimelineError
            If there is no such stream.
        """
        moment_at = LATEST if at is None else self._moment(at)
        read = self._read()
        read.check_stream(stream)
        return read.ask(blame.blame_sql(read.table, stream, moment_at))

    def when(self, condition: str | Callable[[Any], Any]) -> Periods:
        """Return the periods in which a condition on the state held.

        Parameters
        ----------
        condition
            SQL over the fields (``"status = 'pending' and total > 100"``), or, of a class,
            a function of the aggregate (``lambda o: o.status == "pending"``).

        Returns
        -------
        Periods
            A relation with `Periods.first`.  One row per period, by stream: ``stream``,
            ``number`` (from 1), ``system_from``, ``system_to`` (NULL while it holds),
            ``position`` of the event that began it and ``until_position`` of the one that
            ended it (NULL likewise), ``events`` in it, and ``revision``, ``event_id``,
            ``event_type``, ``actor``, ``occurred_on`` of the event that began it.

        Raises
        ------
        QueryError
            If the SQL is not one condition on the fields.
        AggregateError
            If the function cannot be made SQL.
        """
        read = self._read()
        if isinstance(condition, str):
            sql = read.condition(condition, [field.name for field in read.fold.fields])
        elif isinstance(self._definition, ClassDefinition):
            owner, plan = self._definition.owner, self._definition.plan
            sql = condition_sql(owner, plan, condition, lambda name: f"t.{quote(name)}")
        else:
            raise TimelineError("a function needs a class; say the condition in SQL")
        return Periods(read.ask, when_sql(read.table, sql))

    def what_if(
        self,
        *,
        drop: Any = None,
        insert: Iterable[Any] = (),
        replace: Mapping[Any, Any] | None = None,
        using: type[Aggregate] | None = None,
    ) -> WhatIf:
        """Return the timeline of another history: without some events, with others.

        Parameters
        ----------
        drop
            Events that did not happen: a condition in SQL over the columns of ``events``
            (``"event_type = 'PaymentFailed'"``), or positions, event ids or recorded
            events.
        insert
            Events that happened as well: one ``(stream, event)`` or ``(stream, event, at)``,
            or several; `at` is the moment after which it was recorded; when it occurred, by
            default.
        replace
            Events that were different, by position, event id or recorded event: a mapping
            of the payload keys that had another value, or a whole event.
        using
            Another class of aggregates that folds the history.

        Returns
        -------
        WhatIf
            A timeline.  ``.diff(t)`` shows the consequences, ``.divergence()`` the first
            event of each aggregate after which the two differ.

        Raises
        ------
        TimelineError
            If an event that is named is not there, or nothing is to be different.
        """
        from esnb.timeline.altered import altered
        from esnb.timeline.hypothetical import WhatIf

        one = isinstance(insert, tuple) and insert and isinstance(insert[0], str)
        given = [insert] if one else list(insert)
        if drop is None and not given and not replace and using is None:
            raise TimelineError("what if what? Say drop=, insert=, replace= or using=")
        read = self._read()
        history = altered(self._source, read, drop=drop, insert=given, replace=replace)
        definition = self._definition if using is None else ClassDefinition(using)
        return WhatIf(self, read, history, definition, same=using is None)

    def breaches(self) -> duckdb.DuckDBPyRelation:
        """Return the events that a guard in a handler turned away, with the state before.

        An event is turned away where a handler's condition on the state leads to a way
        through it that changes nothing, or says ``self.breach("the rule")``.  Of a handler
        that only Python can run, it is any event that changed nothing.

        Returns
        -------
        duckdb.DuckDBPyRelation
            By position: ``stream``, ``revision``, ``position``, ``event_id``,
            ``event_type``, ``actor``, ``occurred_on``, ``recorded_on``, ``rule``, and the
            fields as they were before the event.

        Raises
        ------
        TimelineError
            If the timeline is not of a class.
        """
        definition = self._definition_of("breaches")
        read = self._read()
        layout = definition.owner.description.layout
        plan = definition.plan_traced
        return read.ask_events(breaches_sql(read.table, plan, layout, definition.rows()))

    def check(self, sample: int = 1000) -> Compared:
        """Fold whole streams with Python and compare every state with that of the timeline.

        A smaller sample is compared when a timeline of a class is first built.

        Parameters
        ----------
        sample
            How many streams; those with the most events are among them.

        Raises
        ------
        TimelineError
            Naming stream, event and field where the two differ, or if the timeline is not
            of a class.
        """
        return compare(self._definition_of("check").owner, self._read(), sample=sample)

    def explain(self) -> Explanation:
        """Tell for each field how it is folded in this log, and why not faster."""
        definition = self._definition_of("explain")
        self._read()
        description = definition.owner.description
        settled = self._definition_of("explain").plan
        return explained(definition.owner.__name__, settled, description.layout)

    def counts(
        self,
        by: str,
        every: str | timedelta = "1 day",
        *,
        start: object = None,
        end: object = None,
    ) -> duckdb.DuckDBPyRelation:
        """Return how many aggregates there were at each tick, by the value of a field.

        Parameters
        ----------
        by
            A field, or ``event_type`` or ``actor`` of the last event.
        every
            Distance of the ticks, as DuckDB reads an INTERVAL (``"6 hours"``, ``"1
            month"``) or a ``timedelta``.  Days and longer are days in the log's zone,
            whatever its clocks did.
        start, end
            First and last instant.  By default from the begin of the first event's
            day (hour, week, month, year: as `every`) to the first tick that sees the
            last event.

        Returns
        -------
        duckdb.DuckDBPyRelation
            ``time``, the field, ``count``: for every tick every value that ever stood,
            zeros too.  A field called ``time`` or ``count`` has ``_2`` behind it.

        Raises
        ------
        TimelineError
            If there is no such field, `every` is no positive duration, or there
            would be more than 100,000 ticks.
        """
        zone = self._source.zone
        first = None if start is None else instants.instant(start, declared=zone)
        last = None if end is None else instants.instant(end, declared=zone)
        read = self._read()
        self._check_counted(read, by)
        table = read.table
        cursor = read.session.fresh()
        given = counts.ticks(cursor, table, every, first, last)
        hours = self._cube(read, table, by) if given.hours else None
        return read.ask(counts.counts_sql(table, by, given, hours))

    def population(self, by: str, when: object) -> duckdb.DuckDBPyRelation:
        """Return how many aggregates there were at a moment, by the value of a field.

        Parameters
        ----------
        by
            A field, or ``event_type`` or ``actor`` of the last event.
        when
            A moment as in `as_of`.  A whole hour is answered from counts that are kept.

        Returns
        -------
        duckdb.DuckDBPyRelation
            The field and ``count`` (``count_2`` if the field is called so): the values that
            stood then, the most frequent first.

        Raises
        ------
        TimelineError
            If there is no such field.
        """
        at = self._moment(when)
        read = self._read()
        self._check_counted(read, by)
        table = read.table
        hours = self._cube(read, table, by) if counts.whole_hour(at) else None
        return read.ask(counts.population_sql(table, by, at, hours))

    # --- what it is ------------------------------------------------------------------------

    @property
    def category(self) -> str:
        """The category whose streams are folded, or the name of another definition."""
        return self._definition.name

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """Fields by column name, each with its payload key and DuckDB type."""
        return {field.name: FieldInfo(field.key, field.type) for field in self._read().fold.fields}

    @property
    def source(self) -> Source:
        """The log whose events are folded."""
        return self._source

    @property
    def sql(self) -> str:
        """The SELECT over ``events`` that builds the interval table.

        Nested fields (see docs/timelines.md) are computed outside of SQL and come with the
        rows of a table ``rows``.
        """
        return interval_sql(self._read().fold)

    def drop(self) -> None:
        """Take away what is kept of the states; the next question builds it again."""
        self._read().store.drop()

    def __repr__(self) -> str:
        return f"Timeline({self._definition})"

    def _repr_html_(self) -> str:
        read = self._read()
        table = read.table
        alive, first, last = one_row(
            read.session.fresh(),
            "SELECT count(*) FILTER (t.next_position IS NULL AND NOT t.ended),"  # noqa: S608
            f" min(t.system_from)::VARCHAR, max(t.system_from)::VARCHAR FROM {table.source} AS t",
        )
        span = f", {escape(first)} to {escape(last)}" if first else ""
        if isinstance(self._definition, ClassDefinition):
            folds = {row.field: f"{row.fold} (tier {row.tier})" for row in self.explain()}
            names = ("field", "type", "fold")
            rows = [(field.name, field.type, folds[field.name]) for field in read.fold.fields]
        else:
            names = ("field", "payload key", "type")
            rows = [(field.name, field.key, field.type) for field in read.fold.fields]
        return (
            f"<p {UNTYPESET}><b>{escape(repr(self))}</b><br>{table.state.events:,} events, "
            f"{table.state.streams:,} streams, {alive:,} there now{span}</p>"
            f"{html_table(names, rows)}"
        )

    def built(self) -> Table:
        """Return the interval table as the log is now."""
        return self._read().table

    # --- within the package ----------------------------------------------------------------

    def _read(self) -> Read:
        """Return the log as it is now; what was read at the same position is kept."""
        with self._lock:
            snapshot = self._source.snapshot()
            last = self._last
            if last is None or last.next_position != snapshot.next_position:
                while True:
                    read = Read(self._source, snapshot)
                    fold = self._definition.fold(read)
                    read.of(fold, None if last is None else last.store)
                    settled = self._definition.settled(read)
                    if settled is self._definition:
                        break
                    self._definition = settled
                last = self._last = read
            return last

    def _cube(self, read: Read, table: Table, by: str) -> str | None:
        """Return SQL of the counts that are kept of a column; None if it has too many values."""
        kinds = {field.name: field.type for field in read.fold.fields}
        table, part = read.store.cube(read.session.fresh(), table, by)
        return None if part is None else cube.cube_sql(table.folder, part, kinds.get(by, "VARCHAR"))

    def _definition_of(self, question: str) -> ClassDefinition:
        if not isinstance(self._definition, ClassDefinition):
            raise TimelineError(
                f"{question}() needs an aggregate class; log.timeline(Order), not of a category"
            )
        return self._definition

    @staticmethod
    def _check_counted(read: Read, by: str) -> None:
        names = {field.name for field in read.fold.fields}
        if by not in names and by not in _COUNTED:
            raise unknown("field", by, names)

    def _moment(self, when: object) -> Moment:
        return moment(when, self._source.zone)


def _inferred(
    category: object,
    said: Form,
    ends: Iterable[str],
    fields: Mapping[str, str] | Iterable[str] | None,
    ignore: Iterable[str],
) -> Inferred:
    if not isinstance(category, str) or not category:
        raise TimelineError(f"{shown(category)} is not a category; say e.g. 'order'")
    wanted: dict[str, str | None] | None = None
    if isinstance(fields, Mapping):
        keys = _texts("fields", fields)
        wanted = {key: declared_type(fields[key]) for key in keys}
    elif fields is not None:
        wanted = dict.fromkeys(_texts("fields", fields))
    return Inferred(category, said, _texts("ends", ends), wanted, _texts("ignore", ignore))


def _texts(name: str, values: Iterable[str]) -> tuple[str, ...]:
    given = (values,) if isinstance(values, str) else tuple(values)
    for value in given:
        if not isinstance(value, str):
            raise TimelineError(f"{name} must be texts, not {shown(value)}")
    return tuple(dict.fromkeys(given))
