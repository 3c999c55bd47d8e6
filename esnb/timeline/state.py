"""What a store of states holds, as its state file says it.

::

    derived/timelines/<fingerprint>/
      state.json       which files, up to which position; written last
      *.parquet        closed rows, open rows, slots of open rows that are open no more, cubes
      lock             held by the process that builds or extends

A file is named after its own digest and never changes.  Nothing here is trusted: what is
missing, altered or not understood is as if it were not there, and the store is built anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from esnb.errors import DamagedLogError, LogFormatError
from esnb.log import files
from esnb.log.layout import FORMAT, read_sealed, sealed_json

if TYPE_CHECKING:
    from esnb.timeline.moment import Bound

__all__ = ["Part", "State", "intact", "key_of", "mark", "read", "write"]

_STATE = "state.json"
# Of the files that a state names: those of another layout are not understood.
_LAYOUT = 3


@dataclass(frozen=True)
class Part:
    """One file of a store.

    Attributes
    ----------
    name
        File name.
    rows, bytes, sha256
        Of the file.
    streams
        Least and greatest stream, by code point; None without rows.
    spans
        By column: the least and the greatest moment in it, a position or microseconds since 1970.
        Of columns that the file has not, or only without values, nothing.
    level
        How often its rows have been merged from smaller files.
    """

    name: str
    rows: int
    bytes: int
    sha256: str
    streams: tuple[str, str] | None = None
    spans: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    level: int = 0

    @property
    def known(self) -> tuple[int, int] | None:
        """Least and greatest ``system_from``, in microseconds since 1970; None without rows."""
        return self.spans.get("system_from")

    def may_hold(self, stream: str) -> bool:
        return self.streams is not None and self.streams[0] <= stream <= self.streams[1]

    def may_meet(self, bounds: Sequence[Bound]) -> bool:
        """Tell whether all `bounds` can hold for any of its rows."""
        return all(bound.may_hold(self.spans) for bound in bounds)


@dataclass(frozen=True)
class State:
    """A generation of a store.

    Attributes
    ----------
    next_position
        The first position of the log that is not folded.
    anchor
        Id of the event before it, None for none: another log with as many events has another.
    slots
        Number of the next open row.
    closed, open
        Files of the rows that were replaced, and of those that were not when they were written.
    gone
        File of the slots of open rows that have been replaced since.
    numbers
        Number of the next new aggregate.
    longest
        The most rows that an aggregate has; None where some rows do not tell the ages of their
        fields (`esnb.timeline.ages`).
    cubes
        By field (or other column): the file with its counts, or None where it has too many
        different values for one.
    previous
        Names of the files of the generation before.
    """

    next_position: int
    anchor: str | None
    slots: int
    closed: tuple[Part, ...]
    open: tuple[Part, ...]
    gone: Part | None = None
    numbers: int = 0
    longest: int | None = None
    cubes: Mapping[str, Part | None] = field(default_factory=dict)
    previous: tuple[str, ...] = ()

    def parts(self) -> Iterator[Part]:
        yield from (*self.closed, *self.open)
        if self.gone is not None:
            yield self.gone
        yield from (part for part in self.cubes.values() if part is not None)

    def names(self) -> set[str]:
        return {part.name for part in self.parts()}

    @property
    def events(self) -> int:
        """Number of rows that were folded: one a row and event."""
        gone = self.gone.rows if self.gone is not None else 0
        return sum(part.rows for part in (*self.closed, *self.open)) - gone

    @property
    def known(self) -> tuple[int, int] | None:
        """Least and greatest ``system_from`` of all rows, as in `Part`."""
        spans = [part.known for part in (*self.closed, *self.open) if part.known is not None]
        if not spans:
            return None
        return min(first for first, _ in spans), max(last for _, last in spans)

    @property
    def streams(self) -> int:
        """Number of aggregates that ever were."""
        gone = self.gone.rows if self.gone is not None else 0
        return sum(part.rows for part in self.open) - gone

    def after(self, **changes: Any) -> State:
        """Return the generation that follows this one."""
        return replace(self, **changes, previous=tuple(sorted(self.names())))


def read(folder: Path, fingerprint: str) -> State | None:
    """Return the newest generation of the store in `folder`; None if there is none to trust."""
    path = folder / _STATE
    try:
        fields = read_sealed(path, path.read_bytes())
    except (OSError, DamagedLogError, LogFormatError):
        return None
    if fields.get("fingerprint") != fingerprint or fields.get("layout") != _LAYOUT:
        return None

    try:
        return State(
            next_position=fields["next_position"],
            anchor=fields["anchor"],
            slots=fields["slots"],
            closed=tuple(map(_part, fields["closed"])),
            open=tuple(map(_part, fields["open"])),
            gone=fields["gone"] and _part(fields["gone"]),
            numbers=fields["numbers"],
            longest=fields["longest"],
            cubes={name: given and _part(given) for name, given in fields["cubes"]},
            previous=tuple(fields["previous"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def _part(given: Any) -> Part:
    spans = {name: (int(least), int(most)) for name, (least, most) in given["spans"].items()}
    streams = given["streams"] and tuple(given["streams"])
    part = Part(**{**given, "streams": streams, "spans": spans})
    if os.path.basename(part.name) != part.name:
        raise ValueError(part.name)
    return part


def write(folder: Path, fingerprint: str, state: State) -> None:
    """Make `state` the newest generation: all of its files are there already."""
    content = sealed_json(
        asdict(state)
        | {
            "format": FORMAT,
            "fingerprint": fingerprint,
            "layout": _LAYOUT,
            # Names of columns are any text, so they are values here and not keys.
            "cubes": [
                [name, None if part is None else asdict(part)] for name, part in state.cubes.items()
            ],
        }
    )
    unfinished = files.temporary(folder)
    try:
        unfinished.write_bytes(content)
        os.replace(unfinished, folder / _STATE)
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def mark(folder: Path) -> tuple[int, int, int] | None:
    """Return what changes when another generation is written; None where there is none."""
    try:
        status = os.stat(folder / _STATE)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def key_of(folder: Path, part: Part) -> tuple[Any, ...]:
    """Return what changes when a file does; raises ``OSError`` where there is none."""
    path = folder / part.name
    status = os.stat(path)
    return str(path), part.sha256, status.st_size, status.st_mtime_ns, status.st_ino


def intact(folder: Path, part: Part, checked: set[tuple[Any, ...]]) -> bool:
    """Tell whether a file is what the state says; `checked` remembers what was read for that."""
    try:
        key = key_of(folder, part)
        if key in checked:
            return True
        if files.digest(folder / part.name) != part.sha256:
            return False
    except OSError:
        return False
    checked.add(key)
    return True
