"""The difference of two states: of the whole population, of one aggregate, and as raw JSON."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import duckdb

from esnb import instants
from esnb.duck import connect
from esnb.errors import TimelineError, shown
from esnb.eventlog import EventLog
from esnb.sqltext import literal
from esnb.timeline import Timeline
from esnb.timeline.comparison import CHANGES, Comparison, Listed
from esnb.timeline.read import Source
from esnb.widget.base.export import csv_text, file_name, json_text
from esnb.widget.base.piece import Answer, intent
from esnb.widget.base.session import Session, Streams
from esnb.widget.states import ends
from esnb.widget.states.diff_chart import difference_bars
from esnb.widget.states.paths import beside, lines, plain, walk
from esnb.widget.states.whose import StatePiece

if TYPE_CHECKING:
    from esnb.aggregate import Aggregate

__all__ = ["StateDiff"]

_VALUES = 8  # most frequent pairs of values that are shown
_LONG = 300  # characters of a value in a list
_PATHS = 500  # of one aggregate
_EXPORTED = 200_000  # rows of a file
_ALLOWED: dict[str, tuple[object, ...]] = {
    "clock": ("recorded", "occurred"),
    "view": ("side", "unified"),
    "change": (None, *CHANGES),
    "raw": (False, True),
}
Clock = Literal["recorded", "occurred"]


class StateDiff(StatePiece):
    """What differs between two states, A and B.

    First the whole population: how many aggregates came, went and changed, field by field;
    then one aggregate: each path with both values and the event that made the difference; then
    both states as JSON.

    Parameters
    ----------
    source
        A timeline; a log, whose timeline `of` is then taken; or a session, whose window's ends
        are A and B.
    a, b
        Moments as `esnb.timeline.Timeline.as_of` takes them, the earlier one first; or pairs
        ``(as_of, valid_at)``, either of which may be None for now.  None: before the first
        event, and after the last.
    of
        Category or aggregate class whose states are compared; the session's category by
        default, or the only one of the log.
    stream
        One aggregate to begin with.
    session
        Session that it follows and writes to, where `source` is another thing.
    key
        A name under which its settings are kept.
    clock
        ``"recorded"``: states as they were known at A and B; ``"occurred"``: what was true
        then, as it is known now.  Pairs say it themselves.
    field, change
        Only what differs in this field; only what was ``"added"``, ``"removed"`` or
        ``"changed"``.
    view
        ``"side"`` (side by side) or ``"unified"``.
    raw
        Both states of the aggregate as JSON, beside the paths.

    Raises
    ------
    InstantError
        If a moment cannot be read.
    TimelineError
        If a pair is none, or there is no such category.
    """

    name = "state_diff"
    defaults: ClassVar[Mapping[str, Any]] = {
        "a": None,
        "b": None,
        "of": None,
        "clock": "recorded",
        "field": None,
        "change": None,
        "stream": None,
        "view": "side",
        "raw": False,
        "begun": None,
    }
    follows = ("window",)

    def __init__(
        self,
        source: Timeline | EventLog | Session,
        a: object = None,
        b: object = None,
        *,
        of: str | type[Aggregate] | None = None,
        stream: str | None = None,
        session: Session | None = None,
        key: str | None = None,
        clock: Clock = "recorded",
        **settings: Any,
    ) -> None:
        self._source, self._of = source, of
        if isinstance(source, Session):
            session = session or source
        if isinstance(source, Timeline):
            if of is not None:
                raise TimelineError("a timeline says itself what it is of; leave of= out")
            self.timeline = source
        else:
            log = source.log if isinstance(source, Session) else source
            category = of or (source.category if isinstance(source, Session) else None)
            self.timeline = log.timeline(category or _only(log))
        self._log: Source = self.timeline.source
        # The lab answers browsers in a thread of their own, beside the cells.
        self._lock = threading.RLock()
        self._listed: Listed | None = None
        self._age = 0
        self._compared: tuple[Any, Comparison] | None = None
        window = session.window if session is not None and a is None and b is None else None
        first, second = (ends.kept(one, self._zone) for one in window or (a, b))
        begin = {
            "a": first,
            "b": second,
            "of": of if isinstance(of, str) else None,
            "clock": clock,
            "stream": stream,
            **settings,
        }
        _check(begin)
        super().__init__(session=session, key=key, begun=begin, **begin)
        kept = self.settings["of"]
        known = kept == begin["of"] or kept in self._offered()
        if self.settings["begun"] != begin or not known:
            # Kept from a cell that asked for something else.
            self.change(**{**self.defaults, **begin, "begun": begin})
        elif kept != begin["of"]:
            self._take(kept)

    def change(self, **settings: Any) -> None:
        """Change settings, from Python; the browser follows.

        Raises
        ------
        InstantError, TimelineError
            If `a` or `b` is no moment, or the timeline has no such `field`.
        """
        for end in ("a", "b"):
            if end in settings:
                settings[end] = ends.kept(settings[end], self._zone)
        _check(settings)
        super().change(**settings)
        # What the browser changes itself it need not be told.
        self.say({"event": "changed"})

    # --- what it shows, without a browser ----------------------------------------------------

    def compared(self) -> Comparison:
        """Return what `Timeline.compare` says of A and B, for the log as it is now."""
        a, b = self._sides()
        key = (a, b, self._log.snapshot().next_position)
        if self._compared is None or self._compared[0] != key:
            self._compared = (key, self.timeline.compare(a, b))
            self._listed = None
        return self._compared[1]

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return what is looked at.

        Returns
        -------
        duckdb.DuckDBPyRelation
            Of one aggregate the columns of `esnb.timeline.Timeline.diff`.  With a field or a
            change chosen, the aggregates: ``stream``, ``change``, ``fields``, of a field also
            ``before``, ``after``, ``size``.  Else the counts: ``change``, ``field``,
            ``streams``.
        """
        stream = self.settings["stream"]
        if stream is not None:
            with self._lock:
                return connect().from_arrow(self.compared().of(stream))
        return self._looked_at(self.timeline.compare(*self._sides()))

    def changes(self) -> duckdb.DuckDBPyRelation:
        """Return every difference of the field and change that are chosen, aggregate by aggregate.

        The columns are those of `esnb.timeline.Timeline.diff`; on the valid clock without the
        event, which `data` names for one aggregate.
        """
        with self._lock:
            return self.compared().rows(self.settings["field"], self.settings["change"])

    @property
    def sql(self) -> str:
        """The SQL of `data`; of one aggregate, that of its rows among `changes`."""
        stream = self.settings["stream"]
        compared = self.timeline.compare(*self._sides()).inline()
        if stream is None:
            return str(self._looked_at(compared).sql_query())
        rows = compared.rows().sql_query()
        return f"SELECT d.* FROM ({rows}) AS d WHERE d.stream = {literal(stream)}"  # noqa: S608

    def _looked_at(self, compared: Comparison) -> duckdb.DuckDBPyRelation:
        field, change = self.settings["field"], self.settings["change"]
        if field is None and change is None:
            return compared.counts()
        return compared.streams(field, change)

    @property
    def code(self) -> str:
        """The call that makes it anew, as it is set now."""
        said = self.settings
        given: list[str] = []
        if said["a"] is not None or said["b"] is not None:
            given = [ends.written(said["a"]), ends.written(said["b"])]
        return self._called(given, ("stream", "clock", "field", "change", "view", "raw"))

    def title(self) -> str:
        """Return what is compared, in words."""
        a, b = (self._words(end) for end in ("a", "b"))
        return f"Difference of {self.timeline.category}: {a} to {b} ({self._clock_words()})"

    def chart(self) -> Any:
        """Return bars of how many aggregates were added, removed and changed, by field."""
        with self._lock:
            compared = self.compared()
            return difference_bars(compared.counts(), compared.population(), self.title())

    # --- with the browser --------------------------------------------------------------------

    def _answered(self, name: str, arguments: Any) -> Answer:
        with self._lock:
            return super()._answered(name, arguments)

    @intent
    def ask_set(self, changes: dict[str, Any]) -> Mapping[str, Any]:
        """Take over how it is shown: view, raw, clock."""
        names = {"view", "raw", "clock"}
        wanted = {name: value for name, value in changes.items() if name in names}
        _check(wanted)
        super().change(**wanted)
        return {}

    @intent
    def ask_open(self) -> Mapping[str, Any]:
        """Return the first level: how many aggregates differ, and in which fields."""
        compared = self.compared()
        fields: dict[str, dict[str, int]] = {}
        streams = dict.fromkeys(CHANGES, 0)
        for change, field, count in compared.counts().fetchall():
            if field is None:
                streams[change] = count
            else:
                fields.setdefault(field, {})[change] = count
        rows = [[name, *(of.get(c, 0) for c in CHANGES)] for name, of in fields.items()]
        return {
            "a": self._words("a"),
            "b": self._words("b"),
            "clock": self._clock_words(),
            "paired": self._paired,
            "zone": self._log.zone or "UTC",
            "category": self.timeline.category,
            "categories": self._offered(),
            "population": compared.population(),
            "streams": streams,
            "fields": sorted(rows, key=lambda row: (-sum(row[1:]), row[0])),
            "position": self._log.snapshot().next_position,
        }

    @intent
    def ask_list(self, field: str | None = None, change: str | None = None) -> Mapping[str, Any]:
        """Make the list of aggregates; return how long it is, and the commonest values."""
        super().change(field=field, change=change)
        compared = self.compared()
        self._listed = compared.listed(field, change)
        self._age += 1
        values: list[Any] = []
        if field is not None:
            values = compared.values(field, change).limit(_VALUES + 1).fetchall()
        return {
            "age": self._age,
            "count": len(self._listed),
            "numeric": self._listed.sized,
            "values": [[_cut(a), _cut(b), n] for a, b, n in values[:_VALUES]],
            "more": len(values) > _VALUES,
        }

    @intent
    def ask_rows(self, age: int, first: int, count: int) -> Mapping[str, Any]:
        """Return rows of the list."""
        if self._listed is None or age != self._age:
            raise TimelineError("this list is an older one; ask for it anew")
        found = self._listed.rows(max(0, first), max(0, min(count, 1000)))
        names = found.columns
        rows = (dict(zip(names, row, strict=True)) for row in found.fetchall())
        return {
            "rows": [
                [
                    row["stream"],
                    row["change"],
                    row["fields"],
                    _cut(row.get("before")),
                    _cut(row.get("after")),
                    row.get("size"),
                ]
                for row in rows
            ]
        }

    @intent
    def ask_one(self, stream: str) -> Mapping[str, Any]:
        """Return the second level: what differs in one aggregate, and which events did it."""
        compared = self.compared()
        found = compared.of(stream).to_pylist()
        super().change(stream=stream)
        before, after = compared.states(stream)
        kinds = {name: field.type for name, field in self.timeline.fields.items()}
        causes: dict[Any, int] = {}
        events: list[dict[str, Any]] = []
        rows: list[Any] = []
        for row in found:
            at = row["position"]
            if at is not None and at not in causes:
                causes[at] = len(events)
                events.append(
                    {
                        "type": row["event_type"],
                        "actor": row["actor"],
                        "time": instants.micros(row["occurred_on"]),
                        "position": at,
                        "id": row["event_id"],
                    }
                )
            for path, old, new in _paths(row, before, after, kinds):
                rows.append([path, _cut(old), _cut(new), causes.get(at, -1)])
        return {
            "stream": stream,
            "change": found[0]["change"] if found else None,
            "there": [before is not None, after is not None],
            "rows": rows[:_PATHS],
            "left": max(0, len(rows) - _PATHS),
            "events": events,
        }

    @intent
    def ask_raw(self, stream: str) -> Mapping[str, Any]:
        """Return the third level: both states as lines of JSON beside each other."""
        kinds = {name: field.type for name, field in self.timeline.fields.items()}
        both = [
            None if state is None else {n: plain(v, kinds[n]) for n, v in state.items()}
            for state in self.compared().states(stream)
        ]
        made, left = beside(*(lines(state) for state in both))
        return {"lines": [[sign, _cut(a, 2000), _cut(b, 2000)] for sign, a, b in made],
                "left": left}  # fmt: skip

    @intent
    def ask_of(self, category: str) -> Mapping[str, Any]:
        """Compare the states of another category."""
        if category not in self._offered():
            raise TimelineError(f"there is no category {shown(category)} to compare")
        self._take(category)
        super().change(of=category, field=None, change=None, stream=None)
        return {}

    @intent
    def ask_at(self, a: str, b: str) -> Mapping[str, Any]:
        """Take over what was typed for A and B."""
        # What was not typed stays as exact as it was.
        first, second = (
            self.settings[end] if text == self._words(end) else ends.typed(text, self._zone)
            for end, text in (("a", a.strip()), ("b", b.strip()))
        )
        before = {end: self.settings[end] for end in ("a", "b")}
        super().change(a=first, b=second)
        try:
            self.compared()
        except Exception:
            super().change(**before)
            raise
        plain_ends = [one for one in (first, second) if isinstance(one, str)]
        if self.session is not None and len(plain_ends) == 2:
            self.session.window = (first, second)
        return {}

    @intent
    def ask_choose(self, stream: str | None = None) -> Mapping[str, Any]:
        """Have the session look at one aggregate, or at all of the list."""
        if self.session is None:
            return {}
        if stream is not None:
            self.session.streams = stream
        elif self._listed is not None:
            said = self.settings
            words = " ".join(w for w in (said["field"], said["change"] or "differs") if w)
            label = f"{words}: {self._words('a')} to {self._words('b')}"
            self.session.streams = Streams(label, self._listed.names())
        return {}

    @intent
    def ask_event(self, event_id: str) -> Mapping[str, Any]:
        """Have the session look at an event."""
        if self.session is not None:
            self.session.event_id = event_id
        return {}

    @intent
    def ask_export(self, kind: Literal["csv", "json"], stream: str | None = None) -> Answer:
        """Return a file of the differences: of one aggregate, or of all that are chosen."""
        if stream is not None:
            found = connect().from_arrow(self.compared().of(stream))
        else:
            found = self.changes()
        names = found.columns
        rows = found.limit(_EXPORTED + 1).fetchall()
        more = len(rows) > _EXPORTED
        about = {
            "category": self.timeline.category,
            "a": self._words("a"),
            "b": self._words("b"),
            "clock": self._clock_words(),
            "zone": self._log.zone or "UTC",
            "log_position": self._log.snapshot().next_position,
            "field": self.settings["field"],
            "change": self.settings["change"],
            "code": self.code,
            "cut_off": _EXPORTED if more else None,
        }
        rows = rows[:_EXPORTED]
        text = csv_text(names, rows) if kind == "csv" else json_text(names, rows, about)
        name = file_name("diff", self.timeline.category, stream or "", end=kind)
        made = {"name": name, "rows": len(rows), "more": more}
        return Answer({**made, "type": f"text/{kind}"}, (text.encode(errors="replace"),))

    # --- A and B -----------------------------------------------------------------------------

    def _session_changed(self, change: Any) -> None:
        begun = self.settings["begun"]
        window = change["new"] or (begun["a"], begun["b"])
        kept = (ends.kept(one, self._zone) for one in window)
        super().change(**dict(zip("ab", kept, strict=True)))
        super()._session_changed(change)

    def _offered(self) -> list[str]:
        """Return the categories that can be looked at; none where one was given for good."""
        source = self._source
        if isinstance(source, Session) and source.category is None:
            source = source.log
        if isinstance(source, EventLog) and isinstance(self._of, str | None):
            return source.categories()
        return []

    def _take(self, category: str) -> None:
        log = self._source.log if isinstance(self._source, Session) else self._source
        if isinstance(log, EventLog):
            self.timeline = log.timeline(category)
            self._of, self._log, self._compared = category, self.timeline.source, None

    @property
    def _paired(self) -> bool:
        return any(isinstance(self.settings[end], list) for end in ("a", "b"))

    @property
    def _zone(self) -> str | None:
        return self._log.zone

    def _sides(self) -> tuple[Any, Any]:
        said = self.settings
        return ends.sides(said["a"], said["b"], said["clock"])

    def _words(self, end: str) -> str:
        return ends.words(self.settings[end], end, self._zone)

    def _clock_words(self) -> str:
        if self._paired:
            return "true at, as of"
        return "as recorded" if self.settings["clock"] == "recorded" else "as it was true"


def _check(settings: Mapping[str, Any]) -> None:
    for name, allowed in _ALLOWED.items():
        if name in settings and settings[name] not in allowed:
            said = " or ".join(map(repr, allowed))
            raise TimelineError(f"{name} is {said}, not {shown(settings[name])}")


def _only(log: EventLog) -> str:
    found = log.categories()
    if len(found) == 1:
        return found[0]
    some = ", ".join(map(repr, found[:8])) or "none yet"
    raise TimelineError(f"of what? Say of= a category or an aggregate class; there are: {some}")


def _cut(text: str | None, longest: int = _LONG) -> str | None:
    if text is None or len(text) <= longest:
        return text
    return f"{text[: longest - 1]}…"


def _paths(
    row: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    kinds: Mapping[str, str],
) -> list[tuple[str, str | None, str | None]]:
    """Return the paths of one field that differ: several, where it holds objects or lists."""
    field = row["field"]
    if field is None:
        return [("(no fields)", None, None)]
    values = [plain((side or {}).get(field), kinds[field]) for side in (before, after)]
    if all(isinstance(value, dict | list) or value is None for value in values):
        empty: Any = {} if any(isinstance(value, dict) for value in values) else []
        old, new = (empty if value is None else value for value in values)
        if type(old) is type(new):
            inner = [(path, a, b) for path, a, b in walk(old, new, (field,))]
            if inner:
                return inner
    return [(field, row["before"], row["after"])]
