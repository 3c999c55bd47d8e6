"""The session: what an analyst looks at now, in which all pieces of a notebook agree.

It can be used without a browser: its traits narrow `Session.events` and `Session.flow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import traitlets

from esnb import instants
from esnb.errors import QueryError, shown
from esnb.eventlog import EventLog
from esnb.flow import Flow
from esnb.flow.selection import Clock
from esnb.show import visible

if TYPE_CHECKING:
    import duckdb

__all__ = ["Session", "Streams"]

Window = tuple[datetime | None, datetime | None]


class Streams(NamedTuple):
    """A choice of streams, and in words how it was made.

    Attributes
    ----------
    label
        Words for people: ``"PaymentFailed → OrderConfirmed"``.
    table
        One column, ``stream``.
    """

    label: str
    table: pa.Table

    def __len__(self) -> int:
        return int(self.table.num_rows)


class Session(traitlets.HasTraits):
    """What is looked at: a window, moments, event types, streams, and one event.

    Parameters
    ----------
    log
        The event log.
    category
        Only streams of this category, ``"order"``; all without.

    Attributes
    ----------
    window
        A pair of instants on the clock, from the first on and before the second; either may be
        None.  None for all time.
    as_of, valid_at
        Moments on the two clocks for states, or None for now.
    event_types
        A tuple of event types, empty for all.
    streams
        Names of streams, or a table (frame, relation) with a column ``stream``; becomes
        `Streams`.  None for all.
    event_id
        The event that is looked at, or None.
    clock
        ``"occurred"`` or ``"recorded"``: which time the window is on.

    Notes
    -----
    Each can be set, and observed with ``session.observe(function, names="window")``.
    """

    window = traitlets.Any(None, allow_none=True)
    as_of = traitlets.Any(None, allow_none=True)
    valid_at = traitlets.Any(None, allow_none=True)
    event_types = traitlets.Tuple()
    streams = traitlets.Any(None, allow_none=True)
    event_id = traitlets.Unicode(None, allow_none=True)
    clock = traitlets.Enum(("occurred", "recorded"), "occurred")

    def __init__(self, log: EventLog, category: str | None = None, **traits: Any) -> None:
        self.log = log
        self.category = category
        super().__init__(**traits)

    # --- values are read where they come in --------------------------------------------------

    @traitlets.validate("window")
    def _window(self, proposal: Any) -> Window | None:
        value = proposal["value"]
        if value is None:
            return None
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise QueryError(f"a window is a pair of instants, not {shown(value)}")
        ends = tuple(None if one is None else self._instant(one) for one in value)
        if len(ends) != 2:
            raise QueryError(f"a window is a pair of instants, not {len(ends)} of them")
        first, second = ends
        if first is not None and second is not None and first > second:
            first, second = second, first
        return None if first is None and second is None else (first, second)

    @traitlets.validate("as_of", "valid_at")
    def _moment(self, proposal: Any) -> object:
        value = proposal["value"]
        whole = isinstance(value, int) and not isinstance(value, bool)
        return value if value is None or whole else self._instant(value)

    @traitlets.validate("event_types")
    def _types(self, proposal: Any) -> tuple[str, ...]:
        value = proposal["value"]
        return (value,) if isinstance(value, str) else tuple(dict.fromkeys(map(str, value)))

    @traitlets.validate("streams")
    def _streams(self, proposal: Any) -> Streams | None:
        value = proposal["value"]
        if value is None or isinstance(value, Streams):
            return value
        if isinstance(value, str):
            value = [value]
        if hasattr(value, "to_arrow_table"):
            value = value.to_arrow_table()
        elif hasattr(value, "columns") and not isinstance(value, pa.Table):
            value = pa.Table.from_pandas(value)
        if isinstance(value, pa.Table):
            if "stream" not in value.column_names:
                raise QueryError("a table of streams needs a column stream")
            table = pa.table({"stream": value.column("stream").cast(pa.string()).unique()})
        else:
            names = list(dict.fromkeys(map(str, value)))
            table = pa.table({"stream": pa.array(names, pa.string())})
        label = table["stream"][0].as_py() if table.num_rows == 1 else f"{table.num_rows:,} streams"
        return Streams(str(label), table)

    def _instant(self, value: object) -> datetime:
        return instants.instant(value, declared=self.log.zone)

    # --- what they choose --------------------------------------------------------------------

    @property
    def zone(self) -> str:
        """The zone in which times are shown: that of the log, or UTC."""
        return self.log.zone or "UTC"

    def events(self, *, without: Iterable[str] = ()) -> duckdb.DuckDBPyRelation:
        """Return the events that are looked at, as `EventLog.events` does.

        Parameters
        ----------
        without
            Traits to leave out, as a histogram leaves out its own window.
        """
        return self.log.events(**self.filters(without=without))

    def filters(self, *, without: Iterable[str] = ()) -> dict[str, Any]:
        """Return what `EventLog.events` takes as filters."""
        left_out = set(without)
        found: dict[str, Any] = {}
        if self.category is not None:
            found["category"] = self.category
        if self.window is not None and "window" not in left_out:
            for end, at in zip(("from", "to"), self.window, strict=True):
                if at is not None:
                    found[f"{self.clock}_{end}"] = at
        if self.event_types and "event_types" not in left_out:
            found["event_type"] = list(self.event_types)
        if self.streams is not None and "streams" not in left_out:
            found["stream"] = self.streams.table["stream"].to_pylist()
        return found

    def flow(self, *, without: Iterable[str] = (), **options: Any) -> Flow:
        """Return how the cases went that are looked at, as `EventLog.flow` does.

        Event types are not narrowed: a flow without some of its steps is another flow.
        """
        left_out = set(without)
        clock: Clock = "recorded" if self.clock == "recorded" else "occurred"
        window = None if "window" in left_out else self.window
        streams = None
        if self.streams is not None and "streams" not in left_out:
            streams = self.streams.table
        return self.log.flow(self.category, clock=clock, window=window, streams=streams, **options)

    # --- in words ----------------------------------------------------------------------------

    def chips(self) -> list[dict[str, str]]:
        """Return what narrows the view: for each, the trait and words for it."""
        found = []
        if self.window is not None:
            first, second = ("…" if at is None else _short(at, self.zone) for at in self.window)
            words = f"{first} to {second} ({self.clock}, {self.zone})"
            found.append({"trait": "window", "words": words})
        for trait, word in (("as_of", "as of"), ("valid_at", "valid at")):
            at = getattr(self, trait)
            if at is not None:
                moment = f"position {at:,}" if isinstance(at, int) else _short(at, self.zone)
                found.append({"trait": trait, "words": f"{word} {moment}"})
        if self.event_types:
            few = ", ".join(self.event_types[:3])
            more = len(self.event_types) - 3
            found.append({"trait": "event_types", "words": few + (f" +{more}" if more > 0 else "")})
        if self.streams is not None:
            words = self.streams.label
            many = f"{len(self.streams):,}"
            if len(self.streams) != 1 and not words.startswith(f"{many} "):
                words += f" ({many})"
            found.append({"trait": "streams", "words": words})
        if self.event_id is not None:
            found.append({"trait": "event_id", "words": f"event {self.event_id}"})
        return found

    def clear(self, *traits: str) -> None:
        """Take back what narrows the view: these traits, or all."""
        with self.hold_trait_notifications():
            for trait in traits or ("window", "as_of", "valid_at", "streams", "event_id"):
                setattr(self, trait, None)
            if not traits:
                self.event_types = ()

    @property
    def code(self) -> str:
        """The call that makes this session anew; of many streams, the choice is left to you."""
        given = [] if self.category is None else [repr(self.category)]
        if self.window is not None:
            ends = (None if at is None else at.isoformat() for at in self.window)
            given.append(f"window=({', '.join(map(repr, ends))})")
        for trait in ("as_of", "valid_at"):
            at = getattr(self, trait)
            if at is not None:
                given.append(f"{trait}={at if isinstance(at, int) else at.isoformat()!r}")
        if self.event_types:
            given.append(f"event_types={self.event_types!r}")
        if self.streams is not None and len(self.streams) <= 20:
            given.append(f"streams={self.streams.table['stream'].to_pylist()!r}")
        elif self.streams is not None:
            # In one line: words out of an event must not leave the comment.
            said = visible(self.streams.label, 100)
            given.append(f"streams=chosen  # {said}: {len(self.streams):,} streams\n")
        if self.event_id is not None:
            given.append(f"event_id={self.event_id!r}")
        if self.clock != "occurred":
            given.append(f"clock={self.clock!r}")
        return f"esnb.widget.Session({', '.join(['log', *given])})"

    def __repr__(self) -> str:
        words = "; ".join(chip["words"] for chip in self.chips()) or "everything"
        return f"Session({self.category or 'all streams'}: {words})"


def _short(at: datetime, zone: str) -> str:
    """Return an instant in words, in a zone, no longer than it needs."""
    local = at.astimezone(instants.zone(zone))
    text = local.isoformat(sep=" ", timespec="microseconds")[:26]
    for end in (".000000", ":00"):
        text = text.removesuffix(end)
    return text.removesuffix(" 00:00")
