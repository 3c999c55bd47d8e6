"""What a projection does to its rows: noted event by event, and brought together by row.

However many events of a batch speak of a row, the database is told of it once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from esnb.errors import InputError, shown
from esnb.write.projections.columns import EXACT, check_key, checked

__all__ = ["Changes", "Group", "Rows", "Work"]

Columns = Mapping[str, str]  # kind by name


class Rows:
    """The rows of one table, as a handler changes them.  Nothing is read back."""

    def __init__(self, name: str, columns: Columns, work: Work) -> None:
        self._name = name
        self._columns = columns
        self._work = work

    def put(self, key: str, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Set columns of the row `key`; it is made if it is not there, the others NULL."""
        self._work.note(self._name, key, "put", self._checked(values, named))

    def add(self, key: str, values: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Add to columns of the row `key`, where nothing counts as 0; it is made if need be.

        Raises
        ------
        InputError
            If a column holds neither whole numbers nor amounts: a sum of floats depends on
            where batches are cut.
        """
        amounts = self._checked(values, named)
        for name, amount in amounts.items():
            if self._columns[name] not in ("int", "decimal"):
                raise InputError(f"column {shown(name)} is no int and no Decimal to add to")
            if amount is None:
                raise InputError(f"column {shown(name)}: nothing (None) cannot be added")
        self._work.note(self._name, key, "add", amounts)

    def delete(self, key: str) -> None:
        """Take the row `key` away; it need not be there."""
        self._work.note(self._name, key, "delete", {})

    def _checked(self, values: Mapping[str, Any] | None, named: dict[str, Any]) -> dict[str, Any]:
        given = {**values, **named} if values else named
        found = {}
        for name, value in given.items():
            kind = self._columns.get(name)
            if kind is None:
                raise InputError(
                    f"table {shown(self._name)} has no column {shown(name)}; "
                    f"there are {', '.join(map(shown, self._columns))}"
                )
            try:
                found[name] = checked(kind, value, nul=self._work.nul)
            except InputError as error:
                raise InputError(f"column {shown(name)}: {error}") from None
        return found


@dataclass(slots=True)
class _Patch:
    """What becomes of one row: deleted first (`fresh`), then set and added to; or gone."""

    fresh: bool = False
    gone: bool = False
    sets: dict[str, Any] = field(default_factory=dict)
    adds: dict[str, Any] = field(default_factory=dict)

    def put(self, values: dict[str, Any]) -> None:
        self.gone = False
        self.sets.update(values)
        for name in values:
            self.adds.pop(name, None)

    def add(self, amounts: dict[str, Any]) -> None:
        self.gone = False
        for name, amount in amounts.items():
            if name in self.sets or self.fresh:
                self.sets[name] = _sum(self.sets.get(name), amount)
            else:
                self.adds[name] = _sum(self.adds.get(name), amount)

    def delete(self) -> None:
        self.fresh = self.gone = True
        self.sets, self.adds = {}, {}


def _sum(a: Any, b: Any) -> Any:
    if a is None:
        return b
    return EXACT.add(a, b) if isinstance(b, Decimal) else a + b


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of one table that are changed alike.

    Attributes
    ----------
    table
        Its name.
    fresh
        What was in the rows is gone: columns that are not set are NULL.
    keys
        One a row, each once.
    sets, adds
        Values to set and amounts to add, by column; lists or Arrow arrays as long as `keys`.
    sparse
        A NULL among `sets` leaves the column as it is (set-based projections).
    """

    table: str
    fresh: bool
    keys: Sequence[str]
    sets: Mapping[str, Any]
    adds: Mapping[str, Any]
    sparse: bool = False

    def rows(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield key, values to set and amounts to add of each row."""
        keys = _plain(self.keys)
        sets = {name: _plain(values) for name, values in self.sets.items()}
        adds = {name: _plain(values) for name, values in self.adds.items()}
        for number, key in enumerate(keys):
            put = {name: values[number] for name, values in sets.items()}
            if self.sparse:
                put = {name: value for name, value in put.items() if value is not None}
            more = {name: values[number] for name, values in adds.items()}
            yield key, put, {name: value for name, value in more.items() if value is not None}


def _plain(values: Any) -> list[Any]:
    found: list[Any] = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return found


@dataclass(frozen=True, eq=False)
class Changes:
    """All that a batch does to the tables.

    Attributes
    ----------
    groups
        A row stands in one group at most.
    gone
        Keys of the rows to take away, by table.
    """

    groups: Sequence[Group] = ()
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many rows change."""
        return sum(len(g.keys) for g in self.groups) + sum(len(k) for k in self.gone.values())


class Work:
    """What the handlers ask for: of the event at hand, and of the batch so far.

    Parameters
    ----------
    nul
        Whether text may hold NUL characters.
    """

    def __init__(self, *, nul: bool = True) -> None:
        self.nul = nul
        self._event: list[tuple[str, str, str, dict[str, Any]]] = []
        self._patches: dict[str, dict[str, _Patch]] = {}

    def note(self, table: str, key: str, what: str, values: dict[str, Any]) -> None:
        self._event.append((table, check_key(key, nul=self.nul), what, values))

    def keep(self) -> None:
        """The event at hand went well: what it asked for is part of the batch."""
        for table, key, what, values in self._event:
            rows = self._patches.setdefault(table, {})
            patch = rows.get(key)
            if patch is None:
                patch = rows[key] = _Patch()
            if what == "put":
                patch.put(values)
            elif what == "add":
                patch.add(values)
            else:
                patch.delete()
        self._event.clear()

    def forget(self) -> None:
        """The event at hand failed: nothing of it counts."""
        self._event.clear()

    def changes(self) -> Changes:
        """Return what the batch asks for, and begin the next one."""
        alike: dict[tuple[str, bool, tuple[str, ...], tuple[str, ...]], list[Any]] = {}
        gone: dict[str, list[str]] = {}
        for table, rows in self._patches.items():
            for key, patch in rows.items():
                if patch.gone:
                    gone.setdefault(table, []).append(key)
                    continue
                shape = (table, patch.fresh, tuple(sorted(patch.sets)), tuple(sorted(patch.adds)))
                alike.setdefault(shape, []).append((key, patch.sets, patch.adds))
        self._patches = {}
        groups = [
            Group(
                table,
                fresh,
                [key for key, _, _ in rows],
                {name: [values[name] for _, values, _ in rows] for name in sets},
                {name: [amounts[name] for _, _, amounts in rows] for name in adds},
            )
            for (table, fresh, sets, adds), rows in alike.items()
        ]
        return Changes(groups, gone)
