"""What is folded: which rows, which fields, and what each row says of each field.

A `Fold` is only a description.  `esnb.timeline.pipeline` makes states from it, in one
order or another; it does not know where the description came from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from esnb.errors import TimelineError
from esnb.query.names import quote

__all__ = ["CARRIED", "Field", "Fold", "Kind", "Side", "column"]

# Columns of a row that its state carries along.
CARRIED = (
    "stream",
    "revision",
    "position",
    "event_id",
    "event_type",
    "actor",
    "occurred_on",
    "recorded_on",
)
# How states follow from a description.  Raised with every change to that: tables that an
# older version made are then made anew.
VERSION = 1

# What a row says that takes a value away.
BOXED_NULL = "{'v': NULL}"
Kind = Literal["latest", "whole", "sum", "min", "max", "first"]
_INEXACT = ("DOUBLE", "FLOAT", "REAL")


@dataclass(frozen=True)
class Field:
    """One field of the state.

    Attributes
    ----------
    name
        Its column; any text.
    key
        Where it comes from, for people: the key in the payload, or its name.
    type
        DuckDB type.
    said
        SQL over a row ``e`` of `Fold.rows` (and what the sides add): what the row says of
        the field, NULL where it says nothing.
    kind
        How the state follows from what was said so far in this life of the aggregate:

        ``latest``
            what was said last; where a row may say NULL, it says ``{'v': NULL}`` (`boxed`);
        ``whole``
            what this row says: silence is NULL;
        ``sum``
            `default` and all that was said, added; whole numbers and DECIMAL only;
        ``min``, ``max``
            over `default` and all that was said;
        ``first``
            `default` where it is not NULL, else what was said first.
    boxed
        What is said of a ``latest`` field is ``{'v': value}``.
    default
        SQL of the value, of type `type`, before a row has said anything; not for ``whole``.
        It is a constant, and not NULL for a ``sum``.
    """

    name: str
    key: str
    type: str
    said: str
    kind: Kind = "latest"
    boxed: bool = False
    default: str = "NULL"

    def __post_init__(self) -> None:
        if self.kind == "sum" and self.type.upper() in _INEXACT:
            raise TimelineError(
                f"{self.name!r} sums values of type {self.type}, whose sum depends on the order of "
                "addition; take DECIMAL, or compute it row by row"
            )
        if self.kind == "sum" and self.default == "NULL":
            raise TimelineError(f"{self.name!r} is a sum without a default to begin from; say 0")

    @property
    def plain(self) -> bool:
        """An end of the aggregate can be said to it as a NULL."""
        return self.default == "NULL" and (
            self.kind == "whole" or (self.kind == "latest" and self.boxed)
        )

    def carry(self, was: str) -> str:
        """Return SQL of what a row says that stands for all before it, `was` being the state."""
        if self.kind == "latest" and self.boxed:
            return f"{{'v': {was}}}"
        if self.kind == "sum" and self.default != "0":
            return f"{was} - {self._default}"
        return was

    def windowed(self, said: str, window: str) -> str:
        """Return SQL of the state after each row, `said` being a column of what each says."""
        if self.kind == "whole":
            return said
        if self.kind == "latest":
            return self._latest(f"last_value({said} IGNORE NULLS) OVER {window}")
        if self.kind == "first":
            return self._first(f"first_value({said} IGNORE NULLS) OVER {window}")
        return self._over(f"{self.kind}({said}) OVER {window}")

    def aggregated(self, said: str, turn: str) -> str:
        """Return SQL of the state after all rows of a group, in the order of `turn`."""
        if self.kind == "whole":
            return f"arg_max_null({said}, {turn})"
        if self.kind == "latest":
            return self._latest(f"arg_max({said}, {turn})")
        if self.kind == "first":
            return self._first(f"arg_min({said}, {turn})")
        return self._over(f"{self.kind}({said})")

    @property
    def _default(self) -> str:
        return f"CAST({self.default} AS {self.type})"

    def _latest(self, last: str) -> str:
        value = f"struct_extract({last}, 'v')" if self.boxed else last
        if self.default == "NULL":
            return value
        return f"CASE WHEN {last} IS NULL THEN {self._default} ELSE {value} END"

    def _first(self, first: str) -> str:
        return first if self.default == "NULL" else f"coalesce({self._default}, {first})"

    def _over(self, said: str) -> str:
        if self.kind == "sum":
            return f"CAST({self._default} + coalesce({said}, 0) AS {self.type})"
        if self.default == "NULL":
            return said
        function = "least" if self.kind == "min" else "greatest"
        return f"{function}({self._default}, {said})"


class Side(Protocol):
    """A computation outside of SQL over the rows in the order in which they are folded.

    Attributes
    ----------
    identity
        Text that changes whenever what `run` does changes; part of the fingerprint.
    columns
        Names and DuckDB types of the columns of `Fold.rows` (or of a side before) it reads.
    adds
        Names and DuckDB types of the columns it adds, for `Field.said` to read as ``e.name``.
    keeps
        Those of `adds` that it wants back from the newest row of a stream when the fold
        goes on from there.
    """

    @property
    def identity(self) -> str: ...

    @property
    def columns(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def adds(self) -> tuple[tuple[str, str], ...]: ...

    @property
    def keeps(self) -> tuple[str, ...]: ...

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yield for each Arrow record batch one of as many rows with the columns of `adds`.

        The batches are ordered by stream, and within it in the order of the fold.  They have
        ``stream`` (text), ``ended`` (the row ends the aggregate: what follows begins from
        nothing), ``carried`` (the row stands for all rows before it), `columns`, and for
        each name in `keeps` ``was_<name>``: what was added to the row for which a carried
        one stands, NULL in all others.  For a carried row the same is to be added again.
        Each call begins from nothing; a stream may go on from one batch to the next.
        """
        ...


@dataclass(frozen=True)
class Fold:
    """Rows and fields: all that decides the states.

    Attributes
    ----------
    rows
        SELECT over ``events`` of the rows to fold: the columns of `CARRIED` under their
        names, ``ended`` (BOOLEAN: the row ends the aggregate), and whatever
        the fields' SQL and the sides read.  ``stream`` is the aggregate; ``(stream,
        position)`` is unique.  Filters on ``stream`` and ``position`` are put around it.
        Names of further columns are plain identifiers, none of them ``carried``,
        ``known``, ``turn``, ``life``, ``row`` or beginning with ``was_``.
    fields
        The fields of the state.
    ends
        Some row may have ``ended``.  Then there is no state, and the next row begins a new
        life from the defaults.
    sides
        See `Side`; they run in this order.
    pauses
        ``ended`` of some row may be NULL, as it is in no other fold: whether the aggregate
        is there stays as it was, and at the begin of a stream it is not.  Such a row says
        nothing of any field.  Needs `ends`.
    """

    rows: str
    fields: tuple[Field, ...]
    ends: bool = False
    sides: tuple[Side, ...] = ()
    pauses: bool = False

    @property
    def lives(self) -> bool:
        """Whether the lives of an aggregate have to be told apart."""
        return self.ends and not all(field.plain for field in self.fields)

    @property
    def memory(self) -> tuple[tuple[str, str], ...]:
        """Names and types of what the sides want to be kept of the newest rows."""
        return tuple(
            (name, kind) for side in self.sides for name, kind in side.adds if name in side.keeps
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of all that decides the states."""
        parts = [
            VERSION,
            self.rows,
            self.ends,
            self.pauses,
            [[f.name, f.type, f.said, f.kind, f.boxed, f.default] for f in self.fields],
            [[side.identity, side.columns, side.adds, side.keeps] for side in self.sides],
        ]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def column(field: Field) -> str:
    """Return the quoted column of `field`."""
    return quote(field.name)
