"""The query box: SQL typed in the browser, asked of the log through its gate."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import traitlets

from esnb.duck import connect
from esnb.errors import QueryError, shown
from esnb.eventlog import EventLog
from esnb.widget.base.piece import Piece, intent
from esnb.widget.base.session import Session

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Query"]

_LONGEST = 50_000
_EXAMPLE = """select event_type, count(*) as events
from events
group by all
order by events desc"""
# A window without an end, as parameters: all that there can be.
_ENDS = {"first": datetime(1, 1, 2, tzinfo=UTC), "last": datetime(9999, 12, 30, tzinfo=UTC)}


class Query(Piece):
    """A box for a question in SQL, as `esnb.EventLog.df` takes it.

    The text passes the gate of the log: one SELECT over ``events``, the macros and the tables of
    states.  ``$first`` and ``$last`` stand for the ends of the session's window.

    Parameters
    ----------
    source
        An event log, or a session.
    text
        The question to begin with.  Nothing is asked before somebody says so.
    key
        A name under which the text is kept for a cell that is run again.

    Attributes
    ----------
    result
        The last answer, a pandas DataFrame that knows its origin, or None.  It can be observed.

    Raises
    ------
    QueryError
        If `source` is neither.
    """

    name = "query"
    defaults = MappingProxyType({"text": _EXAMPLE})

    result = traitlets.Any(None, allow_none=True)

    def __init__(
        self, source: EventLog | Session, text: str | None = None, *, key: str | None = None
    ) -> None:
        if not isinstance(source, EventLog | Session):
            raise QueryError(f"a query box is of a log or a session, not {shown(source)}")
        self._of = source
        self._text = ""
        given = {} if text is None else {"text": text}
        session = source if isinstance(source, Session) else None
        super().__init__(session=session, key=key, **given)

    @property
    def log(self) -> EventLog:
        """The log that is asked."""
        return self._of.log if isinstance(self._of, Session) else self._of

    def run(self, text: str | None = None) -> pd.DataFrame:
        """Ask, and return the answer, which is then the `result` too.

        Parameters
        ----------
        text
            The question; that of the box without one.

        Raises
        ------
        QueryError, TimelineError, InstantError
            If it cannot be asked so.
        """
        asked = self.settings["text"] if text is None else text
        if len(asked) > _LONGEST:
            raise QueryError(f"a question has at most {_LONGEST:,} characters, not {len(asked):,}")
        self.change(text=asked)
        with warnings.catch_warnings():
            # What was cut off is told beside the table.
            warnings.simplefilter("ignore", UserWarning)
            found = self.log.df(asked, self._parameters(asked))
        self._text = asked
        self.result = found
        return found

    def _parameters(self, text: str) -> dict[str, Any] | None:
        named = set(self.log.session.parameters(text)) & set(_ENDS)
        if not named:
            return None
        window = None if self.session is None else self.session.window
        ends = dict(zip(_ENDS, window or (None, None), strict=True))
        return {name: ends[name] or _ENDS[name] for name in named}

    @intent
    def ask_run(self, text: str) -> Mapping[str, Any]:
        """Ask; the rows are shown by whom observes `result`."""
        began = time.perf_counter()
        found = self.run(text)
        return {
            "rows": len(found),
            "columns": len(found.columns),
            "more": found.attrs.get("row_limit"),
            "position": found.attrs["position"],
            "seconds": time.perf_counter() - began,
        }

    def data(self) -> duckdb.DuckDBPyRelation:
        """Return the last answer as a relation; no rows before there is one."""
        if self.result is None:
            return connect().from_arrow(pa.table({"answer": pa.array([], pa.string())}))
        return connect().from_df(self.result)

    @property
    def sql(self) -> str:
        """The question that was asked last, or stands in the box."""
        return self._text or str(self.settings["text"])

    @property
    def code(self) -> str:
        """The call that asks the same."""
        given = self._parameters(self.sql) if self._text else None
        params = "" if given is None else f", {_written(given)}"
        return f"log.df({self.sql!r}{params})"

    def title(self) -> str:
        """Return what stands above the static table."""
        return f"Query: {' '.join(self.sql.split())}"


def _written(given: Mapping[str, Any]) -> str:
    pairs = ", ".join(f"{name!r}: {at.isoformat()!r}" for name, at in given.items())
    return "{" + pairs + "}"
