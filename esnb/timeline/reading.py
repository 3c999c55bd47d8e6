"""The events of an aggregate class as typed rows.

A payload that is plainly what its event class says is read by SQL.  Any other (an older
version, a number as text, a value with a rule of its own) is read by the class itself,
through a function that SQL calls for such rows only, so that both give the same values and
a bad one is refused with its event, field and value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Any

from pydantic_core import PydanticUndefined

from esnb.aggregate.event import Event
from esnb.aggregate.kinds import Kind
from esnb.aggregate.layout import Column, Layout, paths_of
from esnb.aggregate.render import constant
from esnb.aggregate.root import Aggregate, Description
from esnb.aggregate.upcasting import Taken, traced_upcasters
from esnb.sqltext import among, literal
from esnb.timeline.fold import CARRIED
from esnb.timeline.odd import columns_of, function_name
from esnb.timeline.usual import (
    key_and_default,
    old_pattern,
    old_shape,
    old_value,
    shape_of,
    usual_pattern,
    value_of,
)

__all__ = ["rows_sql"]

_NUMBERS = "('UBIGINT', 'BIGINT')"
# Digits of which a double may not hold all: 16 and more, or an exponent.
_MANY_DIGITS = "[0-9][0-9.]{15}|[0-9][eE]"
_DECIMAL = r"-?[0-9]{1,12}(\.[0-9]{1,6})?"
_DATE = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_INSTANT = (
    _DATE + r"[T ]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])"
)
Path = tuple[str, ...]


class _Shapes:
    """The shapes in which DuckDB reads payloads: keys and types, as few passes as they need."""

    def __init__(self, name: str, condition: str, *, rare: bool = False) -> None:
        self._name, self._condition, self._rare = name, condition, rare
        self._groups: list[dict[str, Any]] = []
        self._types: list[set[str]] = []

    def place(self, path: Path, kind: str, event_types: Iterable[str]) -> str:
        """Return SQL of the value at `path`, read as `kind`."""
        fitting = (n for n, shape in enumerate(self._groups) if self._fits(shape, path, kind))
        number = next(fitting, len(self._groups))
        if number == len(self._groups):
            self._groups.append({})
            self._types.append(set())
        shape = self._groups[number]
        self._types[number].update(event_types)
        for key in path[:-1]:
            shape = shape.setdefault(key, {})
        shape[path[-1]] = kind
        return f"e.{self._name}{number}" + "".join(f"[{literal(key)}]" for key in path)

    def _fits(self, shape: Any, path: Path, kind: str) -> bool:
        for depth, key in enumerate(path):
            # DuckDB does not tell `Amount` from `amount` in one shape.
            if any(other != key and other.lower() == key.lower() for other in shape):
                return False
            if key not in shape:
                return True
            shape = shape[key]
            if isinstance(shape, str) != (depth == len(path) - 1):
                return False
        return bool(shape == kind)

    def columns(self) -> list[str]:
        """Return the columns of the rows ``e``."""
        found = []
        for number, shape in enumerate(self._groups):
            read = among("e.handled", self._types[number])
            here = f"CASE WHEN {self._condition} AND {read} THEN"
            kinds = literal(json.dumps(shape))
            shaped = f"from_json({here} e.data END, {kinds})"
            if self._rare:
                # Of rows for which it does not hold not even a NULL is read; where it holds for
                # most, the values would be copied for nothing.
                shaped = f"{here} from_json(e.data, {kinds}) END"
            found.append(f"{shaped} AS {self._name}{number}")
        return found


class _Reading:
    """SQL that reads the payloads of some event classes."""

    def __init__(self, description: Description, wanted: Callable[[str], bool]) -> None:
        self.description = description
        self._wanted = wanted
        self.layout: Layout = description.layout
        self.usual_shapes = _Shapes("u", "e.usual")
        self.shapes = _Shapes("j", "NOT e.usual", rare=True)
        self.pointers: dict[str, int] = {}
        self.types: dict[type[Event], list[str]] = {}
        for event_type, (event, _) in description.handlers.items():
            self.types.setdefault(event, []).append(event_type)

    def usually(self) -> str:
        """Return SQL that says whether one look at the text shows that SQL may read it.

        True of what is not handled.
        """
        branches = []
        self.usual: dict[str, dict[str, list[str]]] = {}
        # The columns for which each place in a shape is read, and the place of a value that is
        # the same in all versions.
        self._readers: dict[str, set[str]] = {}
        self._places: dict[str, str] = {}
        for event, event_types in self.types.items():
            pattern = usual_pattern(event)
            if not _is_plain(event) or (pattern is None and event.model_fields):
                continue
            whole = {} if pattern is None else {event.version: pattern}
            reads: dict[str, dict[int, str]] = {}
            for path, kind in paths_of(event):
                column = self.layout.of(event)[path].name
                if not self._wanted(column):
                    continue
                read = self._usually(path, shape_of(kind), event_types, column)
                reads[column] = {event.version: value_of(read, kind)}
                self._places[reads[column][event.version]] = read
            for version, old, values in self._old(event):
                whole[version] = old
                self._read_old(event, version, values, reads)
            by_version = {
                version: f"regexp_full_match(e.data, {literal(text)})"
                for version, text in whole.items()
            }
            condition = _versions(by_version or {event.version: "true"}, "false")
            branches.append(_branch(event_types, condition))
            for column, ways in reads.items():
                value = _versions(ways, "NULL") if len(ways) > 1 else ways[event.version]
                self.usual.setdefault(column, {}).setdefault(value, []).extend(event_types)
        return _case(branches)

    def _old(self, event: type[Event]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
        """Yield the old versions that SQL can read: pattern, and what becomes of the payload."""
        for version, values in traced_upcasters(event).items():
            pattern = old_pattern(event, values)
            if pattern is not None:
                yield version, pattern, values

    def _read_old(
        self,
        event: type[Event],
        version: int,
        values: Mapping[str, Any],
        reads: Mapping[str, dict[int, str]],
    ) -> None:
        for path, kind in paths_of(event):
            column, taken = self.layout.of(event)[path].name, values[path[0]]
            if not self._wanted(column):
                continue
            if type(taken) is not Taken:
                reads[column][version] = constant(taken)
                continue
            shape = old_shape(kind, taken)
            read = self._usually((taken.key,), shape, self.types[event], column)
            reads[column][version] = old_value(read, kind, taken)

    def _usually(self, path: Path, shape: str, event_types: list[str], column: str) -> str:
        read = self.usual_shapes.place(path, shape, event_types)
        self._readers.setdefault(read, set()).add(column)
        return read

    def plainly(self) -> str:
        """Return SQL that says of a handled event that is not usual whether SQL may read it."""
        branches = []
        self.values: dict[str, dict[str, list[str]]] = {}
        for event, event_types in self.types.items():
            plain = self.plain(event)
            if plain is None:
                continue
            condition, values = plain
            branches.append(_branch(event_types, condition))
            for name, value in values.items():
                self.values.setdefault(name, {}).setdefault(value, []).extend(event_types)
        return _case(branches)

    def value(self, column: Column) -> str:
        """Return SQL of one column: read by SQL where ``e.plain``, else by Python in ``e.odd``."""
        usual = self._read(self.usual.get(column.name, {}), usual=True)
        plain = self._read(self.values.get(column.name, {}))
        odd = f"e.odd[{literal(column.name)}]"
        return f"CASE WHEN e.usual THEN {usual} WHEN e.plain THEN {plain} ELSE {odd} END"

    def _read(self, ways: Mapping[str, list[str]], *, usual: bool = False) -> str:
        if not ways:
            return "NULL"
        if len(ways) == 1:
            ((value, types),) = ways.items()
            # In an event of another type a key of this name may be anything, unless all its
            # keys are known.
            if set(types) >= set(self.description.handlers) or (usual and self._alone(value)):
                return value
        return f"CASE{''.join(_branch(types, value) for value, types in ways.items())} END"

    def _alone(self, value: str) -> bool:
        """Tell whether a value that is read from usual payloads belongs to one column."""
        return len(self._readers.get(self._places.get(value, ""), ())) == 1

    def plain(self, event: type[Event]) -> tuple[str, dict[str, str]] | None:
        """Return when SQL may read a payload of `event`, and SQL of each column."""
        if not _is_plain(event):
            return None
        conditions = [f"e.schema_version = {event.version}"]
        values: dict[str, str] = {}
        columns = self.layout.of(event)
        for path, kind in paths_of(event):
            key, default = key_and_default(event, path)
            if key is None:
                return None
            condition, value = self.read(key, kind, default, self.types[event])
            conditions.append(condition)
            values[columns[path].name] = value
            if key != path and len(path) == 1 and default is not PydanticUndefined:
                # Where the alias is missing, pydantic looks for the name.
                conditions.append(f"{self.kind(path)} IS NULL")
        for name, field in event.model_fields.items():
            # What SQL has no type for has to be there, at least, if it is needed.
            if not any(path[0] == name for path in columns) and field.is_required():
                wanted = name if field.alias is None else field.alias
                conditions.append(f"{self.kind((wanted,))} IS NOT NULL")
        return " AND ".join(conditions), values

    def kind(self, path: Path) -> str:
        """Return SQL of the kind of JSON at a path, NULL where there is nothing."""
        pointer = "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in path)
        number = self.pointers.setdefault(pointer, len(self.pointers) + 1)
        return f"e.k[{number}]"

    def read(
        self, path: Path, kind: Kind, default: Any, event_types: Iterable[str]
    ) -> tuple[str, str]:
        found = self.kind(path)
        condition, value = self._typed(path, kind, found, event_types)
        if kind.nullable:
            condition = f"({found} = 'NULL' OR ({condition}))"
        if default is not PydanticUndefined:
            condition = f"({found} IS NULL OR {condition})"
            if default is not None:
                value = f"CASE WHEN {found} IS NULL THEN {constant(default)} ELSE {value} END"
        return f"coalesce({condition}, false)", value

    def _typed(
        self, path: Path, kind: Kind, found: str, event_types: Iterable[str]
    ) -> tuple[str, str]:
        name = kind.name
        shape = "VARCHAR" if name in ("decimal", "instant", "date") else kind.sql
        value = self.shapes.place(path, shape, event_types)
        if name == "decimal":
            exact = (
                f"{found} = 'VARCHAR' OR {found} IN {_NUMBERS} OR ({found} = 'DOUBLE'"
                f" AND NOT regexp_matches(e.data, '{_MANY_DIGITS}'))"
            )
            return (
                f"({exact}) AND regexp_full_match({value}, '{_DECIMAL}')",
                f"CAST({value} AS DECIMAL(18, {kind.scale}))",
            )
        if name in ("instant", "date"):
            pattern = _INSTANT if name == "instant" else _DATE
            read = f"TRY_CAST({value} AS {kind.sql})"
            return (
                f"{found} = 'VARCHAR' AND regexp_full_match({value}, '{pattern}')"
                f" AND {read} IS NOT NULL AND {value} >= '0001-01-02'",
                read,
            )
        if name == "float":
            return f"{found} IN ('DOUBLE', 'UBIGINT', 'BIGINT')", value
        if name == "bool":
            return f"{found} = 'BOOLEAN'", value
        wanted = f"IN {_NUMBERS}" if kind.sql == "BIGINT" else "= 'VARCHAR'"
        condition = f"{found} {wanted} AND {value} IS NOT NULL"
        if kind.domain is not None:
            allowed = ", ".join(
                constant(one.value if isinstance(one, Enum) else one) for one in kind.domain
            )
            condition += f" AND {value} IN ({allowed})"
        return condition, value


def _readable(types: Mapping[type[Event], Iterable[str]]) -> str:
    """Return SQL that leaves out the versions that no class reads."""
    branches = []
    for event, names in types.items():
        oldest = min(event.upcasters(), default=event.version)
        versions = f"e.schema_version BETWEEN {oldest} AND {event.version}"
        branches.append(f" WHEN {among('e.event_type', names)} THEN {versions}")
    return f" AND CASE{''.join(branches)} END" if branches else ""


def _branch(event_types: Iterable[str], sql: str) -> str:
    return f"\n                WHEN {among('e.handled', event_types)} THEN {sql}"


def _versions(ways: Mapping[int, str], otherwise: str) -> str:
    """Return the CASE that goes by the version of the schema."""
    branches = "".join(f" WHEN {version} THEN {sql}" for version, sql in ways.items())
    return f"CASE e.schema_version{branches} ELSE {otherwise} END"


def _case(branches: list[str]) -> str:
    """Return the CASE that is true of what is not handled, and false of what no branch is for."""
    if not branches:
        return "e.handled IS NULL"
    return f"CASE{''.join(branches)}\n                ELSE e.handled IS NULL END"


def rows_sql(
    owner: type[Aggregate],
    extra: Mapping[str, str],
    *,
    read: str | None = None,
    guard: str | None = None,
    unknown: str = "error",
    known: Iterable[str] = (),
    lenient: bool = False,
) -> str:
    """Return the SELECT of the rows of an aggregate class (see `esnb.timeline.fold.Fold`).

    Parameters
    ----------
    extra
        Further columns: name to SQL over the row ``e`` with the columns of the layout.
    read
        SQL of all that reads the rows: columns that it does not name are left out.  All
        are there without it.
    guard
        SQL over such a row that fails where a handler raises, and is NULL elsewhere.
    unknown
        ``"keep"``: events of types and versions that the class does not know are rows that
        change nothing.
    known
        Event types that are known beside those of the class.
    lenient
        Values that no column holds are left out: nothing but Python reads them.
    """
    description = owner.description
    words = None if read is None else _read_in(read)
    wanted = None if words is None else words | _read_in(" ".join((*extra.values(), guard or "")))
    reading = _Reading(description, lambda name: wanted is None or name in wanted)
    usual = reading.usually()
    plain = reading.plainly()
    done = "false"
    if description.noop is not None:
        pointer = literal("/" + description.noop.replace("~", "~0").replace("/", "~1"))
        done = f"coalesce(json_type(e.data, {pointer}), 'NULL') <> 'NULL'"
    failing = "e.event_type" if done == "false" else f"CASE WHEN NOT {done} THEN e.event_type END"
    handled = among(failing, description.handlers)
    readable = _readable(reading.types) if unknown == "keep" else ""
    pointers = ", ".join(map(literal, reading.pointers))
    kinds = ""
    if reading.pointers:
        kinds = f", CASE WHEN NOT e.usual THEN json_type(e.data, [{pointers}]) END AS k"
    shapes = "".join(
        f", {column}" for column in (*reading.usual_shapes.columns(), *reading.shapes.columns())
    )
    ended = among("e.event_type", description.ends)
    if description.noop is not None:
        # NULL: as before, and absent at the begin of a stream.
        ended = f"CASE WHEN NOT {done} THEN {ended} END"
    call = (
        f"{function_name(description, lenient=lenient)}"
        "(e.event_type, e.schema_version, e.data, e.position, e.stream)"
    )
    checked = "e.plain OR e.odd IS NOT NULL"
    if unknown == "error" and description.by is None:
        inside = among("e.event_type", {*description.known, *known})
        failed = f"NOT ({done}) AND " if done != "false" else ""
        # One in the other: both sides of an AND are looked at for every row.
        checked = (
            f"({checked}) AND CASE WHEN e.handled IS NULL THEN"
            f" CASE WHEN {failed}NOT ({inside}) THEN {call} IS NOT NULL ELSE true END ELSE true END"
        )
    columns = columns_of(description)
    values = "".join(f",\n        {reading.value(c)} AS {c.name}" for c in columns)
    others = (
        "plain", "correlation_id", "causation_id", "schema_version", "data", "tags", "metadata"
    )  # fmt: skip
    names = [*others, *(column.name for column in columns)]
    if words is not None:
        names = [name for name in names if name in words]
    kept = "".join(f", e.{name}" for name in names)
    more = "".join(f", {sql} AS {name}" for name, sql in extra.items())
    if guard is not None:
        checked = f"({checked}) AND {guard} IS NULL"
    # A row is checked where its time is read, which no fold does without: merely counting
    # rows reads no payload.
    carried = ", ".join(
        f"CASE WHEN {checked} THEN e.occurred_on END AS occurred_on"
        if name == "occurred_on"
        else f"e.{name}"
        for name in CARRIED
    )
    return f"""
SELECT {carried}, e.ended, e.handled{kept}{more}
FROM (
    SELECT e.*{values}
    FROM (
        SELECT e.*, CASE WHEN NOT e.plain THEN {call} END AS odd
        FROM (
            SELECT e.*, CASE WHEN e.usual THEN true ELSE {plain} END AS plain
            FROM (
                SELECT e.*{kinds}{shapes}
                FROM (
                    SELECT e.*, {usual} AS usual
                    FROM (
                        SELECT e.* EXCLUDE (category),
                            CASE WHEN {handled}{readable} THEN e.event_type END
                                AS handled,
                            {ended} AS ended
                        FROM {_of(description)} AS e
                    ) AS e
                ) AS e
            ) AS e
        ) AS e
    ) AS e
) AS e
""".strip()  # noqa: S608 (identifiers are ours, constants made by `literal`)


def _of(description: Description) -> str:
    """Return SQL of the events of an aggregate, ``stream`` being what names it."""
    if description.by is None:
        return f"(SELECT * FROM events WHERE category = {literal(description.category)})"  # noqa: S608
    by = description.by
    prefix = literal(f"{by}:")
    pointer = literal("/" + by.replace("~", "~0").replace("/", "~1"))
    tags = f"list_distinct(list_filter(e.tags, t -> starts_with(t, {prefix})))"
    said = (
        f"CASE WHEN json_type(e.data, {pointer}) IN ('VARCHAR', 'UBIGINT', 'BIGINT')"
        f" THEN [{prefix} || json_extract_string(e.data, {pointer})] END"
    )
    types = _listed({*description.handlers, *description.ends}) or "NULL"
    return (
        f"(SELECT e.* REPLACE (unnest(CASE WHEN len({tags}) > 0 THEN list_sort({tags})"  # noqa: S608
        f" ELSE {said} END) AS stream) FROM events AS e WHERE e.event_type IN ({types}))"
    )


def _read_in(sql: str) -> set[str]:
    """Return the columns of the row ``e`` that SQL names."""
    return set(re.findall(r"\be\.(\w+)", sql))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(literal, sorted(names)))


_BASE_CONFIG = dict(Event.model_config)


def _is_plain(event: type[Event]) -> bool:
    """Tell whether a class reads its fields as their types say, with no rule of its own."""
    rules: Any = event.__pydantic_decorators__
    if any(
        getattr(rules, name)
        for name in ("validators", "field_validators", "root_validators", "model_validators")
    ):
        return False
    if dict(event.model_config) != _BASE_CONFIG:
        return False
    return (
        not event.__pydantic_root_model__
        and all(not field.metadata for field in event.model_fields.values())
        and event.__init__ is Event.__init__
    )
