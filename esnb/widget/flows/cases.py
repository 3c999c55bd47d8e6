"""What pieces of flows share: where the cases come from, and how some are chosen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, cast
from weakref import WeakKeyDictionary

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from esnb import instants
from esnb.duck import connect
from esnb.errors import QueryError, shown
from esnb.eventlog import EventLog
from esnb.flow import Flow
from esnb.flow.cases import Conditions
from esnb.flow.selection import Clock
from esnb.show import visible
from esnb.widget.base.piece import Piece, intent
from esnb.widget.base.session import Session, Streams, Window

__all__ = [
    "FlowPiece",
    "declared_zone",
    "named",
    "read_window",
    "session_flow",
    "type_id",
    "way",
    "window_words",
]

# So many flows of a session are kept: of it as it is, of both sides of a comparison, of it before
# the last choice.
_KEPT = 5
_LABEL = 80
_HOURS = timedelta(hours=2)


class _Kept(NamedTuple):
    key: tuple[Any, ...]
    streams: Streams | None
    flow: Flow


_FLOWS: WeakKeyDictionary[Session, list[_Kept]] = WeakKeyDictionary()


def session_flow(
    session: Session,
    category: str | None = None,
    *,
    streams: Streams | None = None,
    window: Window | None = None,
    found: Flow | None = None,
) -> Flow:
    """Return a flow of a session's log, on its clock; pieces that ask for the same one share it.

    Parameters
    ----------
    category
        Category of the streams; that of the session without one.
    streams, window
        What narrows it, instead of what narrows the session.
    found
        The flow, where it is known already.
    """
    category = session.category if category is None else category
    key = (category, session.clock, window, session.log.snapshot().next_position)
    kept = _FLOWS.setdefault(session, [])
    place = next(
        (n for n, one in enumerate(kept) if one.key == key and one.streams is streams), None
    )
    if place is not None and found is None:
        kept.append(kept.pop(place))
        return kept[-1].flow
    if found is None and streams is not None:
        # What is in memory is narrowed there: of a large log that is a tenth of the time.
        whole = next((one.flow for one in kept if one.key == key and one.streams is None), None)
        found = None if whole is None else _narrowed(whole, streams)
    if found is None:
        found = _asked(session, category, streams, window)
    kept.append(_Kept(key, streams, found))
    del kept[:-_KEPT]
    return found


def _narrowed(flow: Flow, streams: Streams) -> Flow:
    steps = flow.built()
    names = streams.table["stream"].combine_chunks()
    which = pc.is_in(steps.names.cast(pa.string()), value_set=names).to_numpy(zero_copy_only=False)
    return Flow(flow.selection, steps.only(which))


def _asked(
    session: Session, category: str | None, streams: Streams | None, window: Window | None
) -> Flow:
    return session.log.flow(
        session.category if category is None else category,
        clock=cast(Clock, session.clock),
        window=window,
        streams=None if streams is None else streams.table,
    )


def type_id(name: str | None) -> str | None:
    """Return what the browser calls an event type: short, whatever the name is."""
    return None if name is None else hashlib.sha256(name.encode()).hexdigest()[:16]


def way(*names: str | None, limit: int = _LABEL) -> str:
    """Return types in words, in a few letters.

    >>> way("PaymentFailed", None)
    'PaymentFailed → end'
    """
    last = len(names) - 1
    each = max(limit // max(len(names), 1), 8)
    words = [
        ("end" if place == last else "start") if name is None else visible(name, each) or "(empty)"
        for place, name in enumerate(names)
    ]
    return " → ".join(words)


class FlowPiece(Piece):
    """A piece of a flow.

    Parameters
    ----------
    source
        A `Session`, whose window and streams it follows; an `EventLog`; or a `Flow`, which is
        shown as it is.
    category
        Category of the streams of a log; all without.
    session
        The session that cases are chosen in.  Without one, and without a `Session` as the source,
        a piece has its own: chosen cases narrow what it shows, and `streams` returns them.
    key, settings
        See `Piece`.
    """

    follows: ClassVar[tuple[str, ...]] = ("window", "streams", "clock")

    def __init__(
        self,
        source: Session | EventLog | Flow,
        *,
        category: str | None = None,
        session: Session | None = None,
        key: str | None = None,
        **settings: Any,
    ) -> None:
        if isinstance(source, Session):
            if session not in (None, source):
                raise QueryError("the source is a session, and session= another; give one of them")
            session = source
        elif isinstance(source, EventLog):
            session = Session(source, category) if session is None else session
        elif not isinstance(source, Flow):
            raise QueryError(
                f"{type(self).__name__}({shown(source)}): give a Session, an EventLog or a Flow"
            )
        if category is not None and not isinstance(source, EventLog):
            raise QueryError("category= is for a log; this source has its own")
        self._flow = source if isinstance(source, Flow) else None
        self._category = category
        # Of a flow that is given: what was chosen in it, with words for it.
        self._picks: list[tuple[str, Conditions]] = []
        super().__init__(session=session, key=key, **self._all_checked(settings))

    # --- settings ----------------------------------------------------------------------------

    def change(self, **settings: Any) -> None:
        """Change settings, from Python; the browser follows.

        Raises
        ------
        QueryError
            If a value is none that the setting can have.
        """
        super().change(**self._all_checked(settings))

    def _checked(self, name: str, value: Any) -> Any:
        """Return a setting as it is kept, or refuse it."""
        raise NotImplementedError

    def _all_checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._checked(name, value) for name, value in settings.items()}

    # --- what is looked at -------------------------------------------------------------------

    @property
    def zone(self) -> str:
        """The zone in which times are shown."""
        if self._flow is not None:
            return self._flow.selection.zone
        return cast(Session, self.session).zone

    def flow(self) -> Flow:
        """Return the flow that it shows."""
        if self._flow is not None:
            flow = self._flow
            for _, conditions in self._picks:
                flow = flow.only(**conditions)
            return flow
        session = cast(Session, self.session)
        return self._of(session.streams, session.window)

    def streams(self) -> duckdb.DuckDBPyRelation:
        """Return the cases that it shows, or that were chosen in it: a column ``stream``."""
        table = self.flow().streams().select("case_id AS stream").to_arrow_table()
        return connect().from_arrow(table)

    def _of(self, streams: Streams | None, window: Window | None) -> Flow:
        return session_flow(
            cast(Session, self.session), self._category, streams=streams, window=window
        )

    def _asked_of(self, streams: Streams | None, window: Window | None) -> Flow:
        """Return a flow of the log that nothing is chosen in, for its SQL; it reads nothing."""
        session = cast(Session, self.session)
        return _asked(session, self._category, streams, window)

    # --- cases are chosen --------------------------------------------------------------------

    def choose(self, words: str, conditions: Conditions, flow: Flow | None = None) -> int:
        """Choose those cases of a flow for which conditions hold; return how many there are.

        None are never chosen.  With a session they become its streams.

        Parameters
        ----------
        words
            How they are chosen, in words.
        conditions
            As of `Flow.streams`.
        flow
            The flow; what is shown without one.
        """
        flow = self.flow() if flow is None else flow
        chosen = flow.only(**conditions)
        count = chosen.built().cases
        if not count:
            return 0
        session = self.session
        # With cases by tags there are no streams to look at elsewhere.
        in_session = session is not None and not getattr(flow.selection, "by", None)
        if self._flow is not None:
            self._picks.append((words, conditions))
        if session is not None and in_session:
            streams = Streams(self._words(words), named(chosen))
            if self._flow is None:
                session_flow(
                    session, self._category, streams=streams, window=session.window, found=chosen
                )
            session.streams = streams
        return count

    def _words(self, words: str) -> str:
        """Return words for a choice within what was chosen before."""
        session = cast(Session, self.session)
        if self._flow is not None:
            return ", ".join(said for said, _ in self._picks)
        before = session.streams
        return words if before is None else f"{visible(before.label, 200)}, {words}"

    def _session_changed(self, change: Any) -> None:
        # Taken back, or chosen elsewhere: what was chosen here does not hold any more.
        if change["name"] == "streams" and self._picks:
            said = ", ".join(words for words, _ in self._picks)
            if change["new"] is None or change["new"].label != said:
                self._picks.clear()
        super()._session_changed(change)

    @intent
    def ask_all(self) -> Mapping[str, Any]:
        """Take back the choice of cases."""
        self._picks.clear()
        if self.session is not None:
            self.session.streams = None
        return {}

    def chips(self) -> list[dict[str, str]]:
        """Return how cases were chosen, in words, as `Session.chips` does."""
        if self._flow is None:
            return [one for one in cast(Session, self.session).chips() if one["trait"] == "streams"]
        if not self._picks:
            return []
        words = ", ".join(said for said, _ in self._picks)
        return [{"trait": "streams", "words": f"{words} ({self.flow().built().cases:,})"}]

    # --- in code -----------------------------------------------------------------------------

    def _session_code(self, session: Session) -> str:
        return session.code

    @property
    def code(self) -> str:
        """The call that makes this piece anew."""
        if self._flow is None:
            session = cast(Session, self.session)
            source = self._session_code(session)
            if self._category is not None and self._category != session.category:
                source = f"log, category={self._category!r}, session={source}"
        else:
            source = "flow" + "".join(
                f".only({', '.join(f'{name}={value!r}' for name, value in conditions.items())})"
                for _, conditions in self._picks
            )
        arguments = [source, *self.altered()]
        return f"esnb.widget.{type(self).__name__}({', '.join(arguments)})"


def declared_zone(source: object) -> str | None:
    """Return the zone of times that carry none, if the source of a piece declares one."""
    if isinstance(source, Flow):
        return source.selection.declared
    log = source.log if isinstance(source, Session) else source
    return log.zone if isinstance(log, EventLog) else None


def named(flow: Flow) -> Any:
    """Return the cases of a flow as a table of one column, ``stream``."""
    names = flow.built().names
    return pa.table({"stream": names.cast(pa.string())})


def read_window(given: object, declared: str | None) -> Window:
    """Return a pair of instants, either of which may be None.

    Raises
    ------
    QueryError
        If it is no pair, or has no end at all.
    InstantError
        If an instant cannot be read.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise QueryError(f"a window is a pair of instants, not {shown(given)}")
    ends = [None if one is None else instants.instant(one, declared=declared) for one in given]
    if len(ends) != 2 or ends == [None, None]:
        raise QueryError(f"a window is a pair of instants, not {shown(given)}")
    first, second = ends
    if first is not None and second is not None and first > second:
        first, second = second, first
    return first, second


def window_words(window: Window, zone: str) -> str:
    """Return a window in words, in a zone; one of more than two hours to the minute.

    >>> window_words(read_window(("2026-01-01", None), "UTC"), "UTC")
    '2026-01-01 to …'
    """
    first, second = window
    fine = first is not None and second is not None and second - first < _HOURS
    return " to ".join(_moment(at, zone, fine) for at in window)


def _moment(at: datetime | None, zone: str, fine: bool) -> str:
    if at is None:
        return "…"
    text = at.astimezone(instants.zone(zone)).isoformat(sep=" ", timespec="microseconds")
    text = text[: 26 if fine else 16]
    if not fine:
        return text.removesuffix(" 00:00")
    return text.removesuffix(".000000").removesuffix(":00").removesuffix(" 00:00")
