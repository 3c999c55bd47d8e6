"""The functions with which everybody begins."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path
from typing import Any

from esnb.eventlog import EventLog
from esnb.flow import Flow
from esnb.flow.frame import FrameSelection
from esnb.log import backup
from esnb.source import import_events

__all__ = ["create", "flow", "open", "read", "restore"]

Place = str | os.PathLike[str]


def create(path: Place, *, zone: str | None = None, **options: Any) -> EventLog:
    """Create an event log in a new or empty folder and open it.

    Parameters
    ----------
    path
        The folder.
    zone
        Time zone (IANA name such as ``"Europe/Berlin"``) that times without one are
        in.  Without it such times are refused.
    **options
        See `EventLog`.

    Raises
    ------
    LogExistsError
        If the folder holds a log or anything else.
    """
    return EventLog.create(path, zone=zone, **options)


def open(path: Place, **options: Any) -> EventLog:
    """Open an event log.

    Parameters
    ----------
    path
        Its folder.
    **options
        ``verify`` (``"once"``, ``"always"``, ``"never"``), ``read_only``, ``maintain``,
        ``timeout``, ``memory_limit`` (of questions, ``"500MB"``); see `EventLog`.

    Raises
    ------
    LogNotFoundError, LogFormatError, DamagedLogError
        Nothing was changed.
    """
    return EventLog.open(path, **options)


def restore(backup_folder: Place, path: Place) -> EventLog:
    """Copy a backup to a new folder, check that it is whole, and open it.

    Raises
    ------
    DamagedLogError
        Naming what is missing or altered in the backup; nothing is left behind.
    """
    backup.restore(Path(backup_folder).absolute(), Path(path).absolute())
    return EventLog.open(path)


def read(source: Any, *, zone: str | None = None, **roles: Any) -> EventLog:
    """Import a file or frame into a temporary log, which goes when it is no longer used.

    See `import_events` for the roles.  What the import did is in ``log.imported``.
    """
    folder = tempfile.TemporaryDirectory(prefix="esnb-")
    log = EventLog.create(Path(folder.name) / "log", zone=zone, maintain=False)
    log.imported = import_events(source, log, **roles)
    weakref.finalize(log, folder.cleanup)
    return log


def flow(table: Any, *, case_id: str, event_type: str, time: str, zone: str | None = None) -> Flow:
    """Return how the cases of a table went, each row of which is an event.

    For events in a log there is `EventLog.flow`.

    Parameters
    ----------
    table
        A relation of DuckDB, or a frame of pandas, Polars or Arrow.
    case_id, event_type, time
        Its columns: to which case an event belongs, what happened and when.  Events of a case at
        one time stay in the order of the table.
    zone
        Time zone (IANA name) of times that carry none, and in which times are shown; UTC
        without one.

    Raises
    ------
    FlowError
        If there is no such column; when it is read also if a value is missing, or a time has no
        zone.

    Examples
    --------
    >>> import duckdb, esnb
    >>> rows = duckdb.sql(
    ...     "SELECT 'a' AS job, unnest(['begun', 'done']) AS what, now() AS time"
    ... )
    >>> jobs = esnb.flow(rows, case_id="job", event_type="what", time="time")
    >>> jobs.directly_follows().filter("kind = 'step'").project("source, target, count").fetchall()
    [('begun', 'done', 1)]
    """
    return Flow(FrameSelection(table, case_id=case_id, event_type=event_type, time=time, zone=zone))
