"""Timelines in ad-hoc SQL: table macros such as ``order_as_of('2026-03-01')``.

The macros are temporary things of one cursor.  For a category ``order``:

- ``order_as_of(ts)``: the states that stood at `ts`;
- ``order_valid_at(ts, known := NULL)``: what was true at `ts`, as known then (or now);
- ``order_history()``: every state;
- ``order_diff(a, b)``: what changed from `a` to `b`.

Times are texts or TIMESTAMPTZ; texts without an offset are read in the session's zone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import duckdb

from esnb.errors import TimelineError
from esnb.query.names import quote
from esnb.timeline import pipeline
from esnb.timeline.diff import diff_sql
from esnb.timeline.moment import Moment
from esnb.timeline.states import as_of_sql, history_sql
from esnb.timeline.timeline import Timeline

__all__ = ["macro_names", "register", "wanted"]

_QUESTIONS = ("as_of", "valid_at", "history", "diff")


def macro_names(category: str) -> tuple[str, ...]:
    """Return the macro names of `category`; what cannot stand in a name becomes ``_``.

    >>> macro_names("purchase order")
    ('purchase_order_as_of', 'purchase_order_valid_at',
     'purchase_order_history', 'purchase_order_diff')
    """
    stem = _stem(category)
    return tuple(f"{stem}_{question}" for question in _QUESTIONS)


def wanted(sql: str, categories: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return which of `categories` have macros that `sql` may call, with their names.

    A name in a string or a comment counts too; a macro more does no harm.

    Raises
    ------
    TimelineError
        If `sql` uses a name that two categories share.
    """
    words = set(re.findall(r"\w+", sql.casefold()))
    found: dict[str, tuple[str, ...]] = {}
    owners: dict[str, str] = {}
    for category in sorted(set(categories)):
        names = tuple(name for name in macro_names(category) if name.casefold() in words)
        for name in names:
            other = owners.setdefault(name.casefold(), category)
            if other != category:
                raise TimelineError(
                    f"{name} would stand for the categories {other!r} and {category!r}; "
                    "ask log.timeline(…) for one of them instead"
                )
        if names:
            found[category] = names
    return found


def register(cursor: duckdb.DuckDBPyConnection, timeline: Timeline) -> tuple[str, ...]:
    """Make the macros of `timeline` on `cursor` and return their names.

    Parameters
    ----------
    cursor
        A cursor of the timeline's session that knows ``events`` as the log is now.
    timeline
        Its interval table is built when it is not there yet.

    Raises
    ------
    TimelineError
        As its questions do.
    """
    table = timeline.built()
    pipeline.register(cursor, table.fold)
    ts, known, a, b = (f"CAST({name} AS TIMESTAMPTZ)" for name in ("ts", "known", "a", "b"))
    bodies = (
        ("(ts)", as_of_sql(table, Moment.parameter(ts))),
        (
            "(ts, known := NULL)",
            pipeline.valid_sql(table.fold, ts, f"({known} IS NULL OR e.system_from <= {known})"),
        ),
        ("()", history_sql(table)),
        ("(a, b)", diff_sql(table, Moment.parameter(a), Moment.parameter(b))),
    )
    names = macro_names(timeline.category)
    for name, (parameters, body) in zip(names, bodies, strict=True):
        cursor.execute(f"CREATE OR REPLACE TEMP MACRO {quote(name)}{parameters} AS TABLE {body}")
    return names


def _stem(category: str) -> str:
    stem = re.sub(r"\W", "_", category)
    return f"_{stem}" if stem[0].isdigit() else stem
