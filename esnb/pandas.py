"""``df.es``: event histories in a pandas frame, without a log of one's own.

``import esnb.pandas``, or ``%load_ext esnb``, makes it known.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import pandas as pd

from esnb import _face, instants
from esnb.duck import connect
from esnb.errors import InstantError, SourceError
from esnb.eventlog import EventLog
from esnb.flow import Flow
from esnb.source.guess import guess
from esnb.timeline import Timeline

if TYPE_CHECKING:
    import duckdb

    from esnb.aggregate import Aggregate
    from esnb.widget import EventTable

__all__ = ["Events"]

_NEEDED = ("stream", "event_type", "occurred_on")


@pd.api.extensions.register_dataframe_accessor("es")
class Events:
    """The events of a frame, each row of which is one.

    Which columns say what is guessed from their names, as `esnb.import_events` does; `roles`
    says it.  Each call reads the frame as it is then: who asks more than once says
    ``log = df.es.log()`` and asks the log.

    Examples
    --------
    >>> import pandas, esnb.pandas
    >>> df = pandas.DataFrame({
    ...     "order": ["order-1", "order-1", "order-2"],
    ...     "what": ["Placed", "Paid", "Placed"],
    ...     "time": pandas.to_datetime(["2026-01-01", "2026-01-03", "2026-01-02"], utc=True),
    ...     "status": ["placed", "paid", "placed"],
    ... })
    >>> events = df.es.roles(stream="order", event_type="what")
    >>> states = events.timeline("order").as_of("2026-01-03")
    >>> states.order("stream").project("stream, status").fetchall()
    [('order-1', 'paid'), ('order-2', 'placed')]
    >>> events.flow().directly_follows().filter("kind = 'step'").project("source, count").fetchall()
    [('Placed', 1)]
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame
        self._options: dict[str, Any] = {}

    def roles(self, **roles: Any) -> Events:
        """Return the same events, with columns named that cannot be guessed.

        Parameters
        ----------
        **roles
            As `esnb.import_events` takes them: ``stream``, ``category``, ``event_type``,
            ``occurred_on``, … and ``zone`` for times without one.
        """
        made = Events(self._frame)
        made._options = {**self._options, **roles}
        return made

    def log(self) -> EventLog:
        """Return the events as a temporary log, which goes when it is no longer used.

        What could not be read is in ``log.imported``; a warning tells when there is such.

        Raises
        ------
        SourceError
            If the frame holds no events, or a role is not a column.
        """
        roles = self._checked()
        options = {"progress": False, "zone": self._zone(roles["occurred_on"]), **self._options}
        log = _face.read(self._frame, **options)
        done = log.imported
        if done is not None and done.rejected:
            reason = next(iter(done.reasons()))
            told = f"{done.rejected:,} of {done.read:,} rows are no events ({reason})"
            if not done.kept:
                raise SourceError(f"{told}; say what the columns are: df.es.roles(…)")
            warnings.warn(f"{told}; df.es.log().imported lists them", stacklevel=2)
        return log

    def events(self) -> duckdb.DuckDBPyRelation:
        """Return the events with the canonical columns, as `EventLog.events` does."""
        # Held: the log goes with this call.
        return connect().from_arrow(self.log().events().to_arrow_table())

    def flow(self, category: str | None = None, **options: Any) -> Flow:
        """Return how the cases went, as `EventLog.flow` does."""
        return self.log().flow(category, **options)

    def timeline(self, of: str | type[Aggregate] | None = None, **options: Any) -> Timeline:
        """Return every state of every aggregate, as `EventLog.timeline` does.

        Parameters
        ----------
        of
            A category or aggregate class; needless where the streams are of one category.

        Raises
        ------
        SourceError
            If it is not said, and there are several categories.
        """
        log = self.log()
        if of is None:
            categories = log.categories()
            if len(categories) != 1:
                some = ", ".join(map(repr, categories[:8]))
                raise SourceError(f"say of which category: df.es.timeline({some or '…'})")
            of = categories[0]
        return log.timeline(of, **options)

    def table(self, **options: Any) -> EventTable:
        """Return the events as a widget, `esnb.widget.EventTable`."""
        from esnb.widget import EventTable

        return EventTable(self.log(), **options)

    def explore(self, **options: Any) -> Any:
        """Return all that there is to see, in one panel: `esnb.explore`."""
        from esnb.widget.explore import explore

        return explore(self.log(), **options)

    def _zone(self, column: object) -> str | None:
        """Return the zone of a column of times, in which the log then shows them."""
        held = self._frame.get(column) if isinstance(column, str) else None
        zone = str(getattr(getattr(held, "dtype", None), "tz", None))
        try:
            instants.zone(zone)
        except InstantError:
            return None
        return zone

    def _checked(self) -> dict[str, Any]:
        """Return the roles; say what is missing in terms of the frame."""
        names = [str(name) for name in self._frame.columns]
        names += [str(name) for name in self._frame.index.names if name is not None]
        found = guess(self._options, names)
        missing = [role for role in _NEEDED if role not in found]
        if missing:
            some = ", ".join(map(repr, names[:12])) + (", …" if len(names) > 12 else "")
            roles = ", ".join(f"{role}=…" for role in missing)
            raise SourceError(
                f"this frame does not say which column is {' and '.join(missing)}; "
                f"name it: df.es.roles({roles}). Its columns are {some or 'none'}"
            )
        return found

    def __repr__(self) -> str:
        found = ", ".join(f"{role}={value!r}" for role, value in self._options.items())
        return f"df.es.roles({found})" if found else "df.es"
