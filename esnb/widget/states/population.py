"""Replay of all aggregates: how many were in which state, at every tick of a clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import numpy as np
import pyarrow as pa
from duckdb import ColumnExpression, ConstantExpression

from esnb import instants
from esnb.errors import TimelineError, shown
from esnb.eventlog import EventLog
from esnb.sqltext import quote
from esnb.timeline import Timeline
from esnb.timeline.moment import moment
from esnb.timeline.read import Source
from esnb.timeline.text import shown_sql
from esnb.widget.base.piece import Answer, intent
from esnb.widget.base.session import Session, Streams
from esnb.widget.states.whose import StatePiece

if TYPE_CHECKING:
    from esnb.aggregate import Aggregate

__all__ = ["Population"]

STEPS = ("hour", "day", "week", "month", "year")
_TICKS = 20_000
_CELLS = 4_000_000  # ticks times values
_KINDS = 60  # values with a line of their own
_ROWS = 50
_TEXT = 200  # characters of a cell
_ALSO = ("event_type", "actor")


class Population(StatePiece):
    """How many aggregates were in which state: a time to move, counts that move with it.

    Parameters
    ----------
    source
        A timeline; a log; or a session, whose moment it follows.
    by
        The field by which they are counted, or ``event_type`` or ``actor`` of the last event.
    every
        Distance of the ticks: ``"hour"``, ``"day"``, ``"week"``, ``"month"``, ``"year"``, or as
        `esnb.timeline.Timeline.counts` reads it, ``"6 hours"``.
    of
        Category or aggregate class, where `source` is a log or a session.
    session
        Session that it follows and writes to, where `source` is another thing.
    key
        A name under which its settings are kept.
    at
        The instant to begin with; the last by default.

    Attributes
    ----------
    taken
        The aggregates that were taken last, as `esnb.widget.Streams`; None before.

    Raises
    ------
    TimelineError
        If there is no such field, or nothing says what is counted.
    InstantError
        If `at` is no instant.
    """

    name = "population"
    defaults: ClassVar[Mapping[str, Any]] = {
        "by": None,
        "every": "day",
        "at": None,
        "speed": "1",
        "begun": None,
    }
    follows = ("as_of",)

    def __init__(
        self,
        source: Timeline | EventLog | Session,
        by: str,
        *,
        every: str = "day",
        of: str | type[Aggregate] | None = None,
        session: Session | None = None,
        key: str | None = None,
        at: object = None,
        **settings: Any,
    ) -> None:
        self._source = source
        self._of = of
        if isinstance(source, Session):
            session = session or source
        self.timeline = source if isinstance(source, Timeline) else _timeline(source, of)
        self._log: Source = self.timeline.source
        self.taken: Streams | None = None
        self._writing = False
        self._check(by)
        begin = {"by": by, "every": every, "at": self._instant(at)}
        super().__init__(session=session, key=key, **begin, begun=begin, **settings)
        if self.settings["begun"] != begin:
            # Kept from a cell that asked for something else.
            self.change(**begin, begun=begin)
        if self.settings["at"] is None and session is not None and session.as_of is not None:
            self.change(at=self._instant(session.as_of))

    # --- what it shows -----------------------------------------------------------------------

    @property
    def by(self) -> str:
        """The field by which the aggregates are counted."""
        return str(self.settings["by"])

    @property
    def every(self) -> str:
        """The distance of the ticks, as `esnb.timeline.Timeline.counts` takes it."""
        said = str(self.settings["every"])
        return f"1 {said}" if said in STEPS else said

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the counts at every tick, as `esnb.timeline.Timeline.counts` does."""
        return self.timeline.counts(self.by, self.every)

    @property
    def code(self) -> str:
        """The call that makes it anew, at the time that is shown."""
        return self._called([repr(self.by)], ("every", "at", "speed"))

    def chart(self) -> Any:
        """Return the chart of the counts over time."""
        from esnb.chart import states_over_time

        counts = self.data()
        if counts.limit(1).fetchone() is None:
            return None
        return states_over_time(counts, counts.columns[1])

    def title(self) -> str:
        """Return what is counted."""
        return f"{self.timeline.category} by {self.by}, every {self.every.removeprefix('1 ')}"

    # --- what the browser asks ---------------------------------------------------------------

    @intent
    def ask_cube(self, by: str | None = None, every: str | None = None) -> Answer:
        """Return the counts at all ticks, and what else could be asked for.

        Parameters
        ----------
        by, every
            Another field, another distance; those of the settings by default.

        Returns
        -------
        Answer
            Buffers: the ticks (float64, microseconds since 1970), and the counts (uint32), all
            ticks of the first value, of the second, and so on, the largest values first.
        """
        before = dict(self.settings)
        if by is not None:
            self._check(by)
        self.settings = {**before, "by": by or self.by, "every": every or before["every"]}
        try:
            told, times, counts = self._cube()
        except BaseException:
            self.settings = before
            raise
        self.change()
        if before["at"] is not None:
            told["at"] = instants.micros(instants.instant(before["at"]))
        return Answer(told, (times.tobytes(), counts.tobytes()))

    @intent
    def ask_moment(
        self, at: int, kind: list[str | None] | None = None, tell: bool = True
    ) -> Mapping[str, Any]:
        """Return the exact counts at a time, and the first aggregates.

        Parameters
        ----------
        at
            Microseconds since 1970.
        kind
            One value: only the aggregates that had it.
        tell
            Tell the session.
        """
        when = instants.from_micros(at)
        counts = self.timeline.population(self.by, when)
        found = counts.project(f"CAST({quote(counts.columns[0])} AS VARCHAR), {counts.columns[1]}")
        rows = found.fetchall()
        states = self._standing(when, kind)
        fields = self.timeline.fields
        own = ("stream", "revision", "event_type", "system_from")
        parts = ["stream", "revision", "event_type", "epoch_us(system_from)"]
        for name, field in fields.items():
            text = shown_sql(quote(name), field.type)
            parts.append(f"left({text}, {_TEXT})")
        first = states.limit(_ROWS).project(", ".join(parts)).fetchall()
        first.sort()
        self.change(at=instants.iso(when))
        if tell:
            self._tell(when)
        chosen = None if kind is None else kind[0]
        return {
            "at": at,
            "counts": [list(row) for row in rows[:1000]],
            "left_out": sum(row[1] for row in rows[1000:]),
            "total": sum(row[1] for row in rows),
            "of": None if kind is None else sum(n for value, n in rows if value == chosen),
            "columns": [*own, *fields],
            "rows": [list(row) for row in first],
        }

    @intent
    def ask_take(self, at: int, kind: list[str | None] | None = None) -> Mapping[str, Any]:
        """Choose the aggregates that were there at a time, all or those of one value."""
        when = instants.from_micros(at)
        table = self._standing(when, kind).project("stream").order("stream").to_arrow_table()
        local = when.astimezone(instants.zone(self._log.zone or "UTC"))
        words = f"as of {local.strftime('%Y-%m-%d %H:%M')}"
        if kind is not None:
            words = f"{self.by} {'—' if kind[0] is None else kind[0]} {words}"
        self.taken = Streams(words, pa.table({"stream": table["stream"]}))
        if self.session is not None:
            self.session.streams = self.taken
        return {"count": table.num_rows, "session": self.session is not None}

    @intent
    def ask_when(self, text: str) -> Mapping[str, Any]:
        """Return a time that was typed, in microseconds since 1970."""
        at = instants.instant(text.strip(), declared=self._log.zone or "UTC")
        return {"at": instants.micros(at)}

    @intent
    def ask_follow(self) -> Mapping[str, Any]:
        """Return the moment of the session, in microseconds since 1970."""
        if self.session is None or self.session.as_of is None:
            return {"at": None}
        text = self._instant(self.session.as_of)
        return {"at": None if text is None else instants.micros(instants.instant(text))}

    # --- within ------------------------------------------------------------------------------

    def _session_changed(self, change: Any) -> None:
        if not self._writing:
            super()._session_changed(change)

    def _tell(self, when: Any) -> None:
        if self.session is None:
            return
        self._writing = True
        try:
            self.session.as_of = when
        finally:
            self._writing = False

    def _check(self, by: object) -> None:
        if by not in self.timeline.fields and by not in _ALSO:
            known = ", ".join(map(shown, [*self.timeline.fields, *_ALSO]))
            raise TimelineError(f"no field {shown(by)} to count by; there are {known}")

    def _instant(self, at: object) -> str | None:
        """Return an instant as the settings keep it; a position is when its event was recorded."""
        if at is None:
            return None
        read = moment(at, self._log.zone)
        if read.clock == "instant":
            return instants.iso(instants.from_micros(read.order))
        cursor = self._log.session.fresh(self._log.snapshot())
        row = cursor.execute(
            "SELECT recorded_on FROM events WHERE position = ?", [read.order]
        ).fetchone()
        return None if row is None else instants.iso(row[0])

    def _standing(self, when: Any, kind: list[str | None] | None) -> duckdb.DuckDBPyRelation:
        """Return the states at a time, all or those with one value."""
        states = self.timeline.as_of(when)
        if kind is None:
            return states
        column = ColumnExpression(quote(self.by))
        if kind[0] is None:
            return states.filter(column.isnull())
        field = self.timeline.fields.get(self.by)
        if field is not None and field.type != "VARCHAR":
            column = column.cast("VARCHAR")
        return states.filter(column == ConstantExpression(kind[0]))

    def _cube(self) -> tuple[dict[str, Any], Any, Any]:
        relation = self.data()
        names = [quote(name) for name in relation.columns]
        ticks, kinds = self._size()
        if ticks > _TICKS or ticks * kinds > _CELLS:
            raise TimelineError(
                f"{ticks:,} ticks of about {kinds:,} values are too many to draw; say a longer "
                f"`every`, or count by a field of fewer values than {shown(self.by)}"
            )
        table = relation.project(
            f"epoch_us({names[0]}) AS at, CAST({names[1]} AS VARCHAR) AS kind, {names[2]} AS n"
        ).to_arrow_table()
        at = table["at"].to_numpy()
        number = len(np.unique(at))
        each = table.num_rows // number if number else 0
        times = at.reshape(number, each)[:, 0] if number else at
        counts = table["n"].to_numpy().reshape(number, each).T if number else np.zeros((0, 0), int)
        labels = table["kind"].slice(0, each).to_pylist()
        order = np.argsort(-counts.sum(axis=1), kind="stable").tolist()
        kept, rest = order[:_KINDS], order[_KINDS:]
        shipped = counts[kept]
        if rest:
            shipped = np.vstack([shipped, counts[rest].sum(axis=0)])
        told = {
            "by": self.by,
            "every": self.every.removeprefix("1 "),
            "category": self.timeline.category,
            "kinds": [labels[place] for place in kept],
            "rest": len(rest),
            "ticks": number,
            "fields": [*self.timeline.fields, *_ALSO],
            "zone": self._log.zone or "UTC",
        }
        return told, times.astype(np.float64), shipped.astype(np.uint32)

    def _size(self) -> tuple[int, int]:
        """Return how many ticks there are, and about how many values."""
        cursor = self._log.session.fresh()
        rows = self.timeline.built().source
        found = cursor.execute(
            f"SELECT approx_count_distinct(t.{quote(self.by)}),"  # noqa: S608 (quoted)
            f" (epoch(max(t.system_from)) - epoch(min(t.system_from)))"
            f" / epoch(CAST($1 AS INTERVAL)) FROM {rows} AS t",
            [self.every],
        ).fetchone()
        kinds, ticks = found if found is not None else (0, 0)
        return int(ticks or 0) + 1, int(kinds)


def _timeline(source: EventLog | Session, of: str | type[Aggregate] | None) -> Timeline:
    log = source.log if isinstance(source, Session) else source
    category = of or (source.category if isinstance(source, Session) else None)
    if category is None:
        names = log.categories()
        if len(names) != 1:
            raise TimelineError(
                f"say of=, what is counted; there are {', '.join(map(shown, names)) or 'none'}"
            )
        category = names[0]
    return log.timeline(category)
