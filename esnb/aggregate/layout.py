"""The columns in which the fields of events stand, and the fields of the state before them.

Event types whose fields have the same path and type share a column.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from esnb.aggregate.event import Event
from esnb.aggregate.kinds import Kind, kind_of

__all__ = ["Column", "Layout", "paths_of"]

Path = tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A column of event fields: its name, and its DuckDB type."""

    name: str
    type: str


class Layout:
    """Columns for the scalar fields of some event classes.

    Parameters
    ----------
    events
        Event classes by event type.
    """

    def __init__(self, events: Mapping[str, type[Event]]) -> None:
        self._names: dict[tuple[type[Event], Path], Column] = {}
        self._events = dict(events)
        taken: dict[tuple[Path, str], Column] = {}
        used: set[str] = set()
        for event in dict.fromkeys(events.values()):
            for path, kind in paths_of(event):
                kind_sql = column_type(kind)
                column = taken.get((path, kind_sql))
                if column is None:
                    column = Column(_unique("d_" + "_".join(path), used), kind_sql)
                    taken[path, kind_sql] = column
                self._names[event, path] = column
        self._before: dict[str, str] = {}
        self._used = used

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, once each."""
        return tuple(dict.fromkeys(self._names.values()))

    def of(self, event: type[Event]) -> dict[Path, Column]:
        """Return the columns of one event class by path."""
        return {path: column for (owner, path), column in self._names.items() if owner is event}

    def data(self, event_type: str, path: Path) -> str:
        """Return the column of a field of the event."""
        return self._names[self._events[event_type], path].name

    def before(self, field: str) -> str:
        """Return the column of a field of the state before the event."""
        if field not in self._before:
            self._before[field] = _unique(f"b_{field}", self._used)
        return self._before[field]


def column_type(kind: Kind) -> str:
    """Return the DuckDB type in which a field of an event stands."""
    return f"DECIMAL(18, {kind.scale})" if kind.name == "decimal" else kind.sql


def paths_of(model: Any, path: Path = ()) -> Iterator[tuple[Path, Kind]]:
    """Yield path and kind of each scalar field of a model, those of models within it too."""
    for name, field in model.model_fields.items():
        kind = kind_of(field.annotation)
        if kind.name == "model" and not kind.nullable:
            yield from paths_of(kind.python, (*path, name))
        elif kind.scalar:
            yield (*path, name), kind


def _unique(name: str, used: set[str]) -> str:
    """Return a name that needs no quotes and that no other has, DuckDB not telling cases apart."""
    stem = re.sub(r"[^A-Za-z0-9_]", "_", name)
    found, count = stem, 1
    while found.lower() in used:
        count += 1
        found = f"{stem}_{count}"
    used.add(found.lower())
    return found
