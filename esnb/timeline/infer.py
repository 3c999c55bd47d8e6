"""Which fields the payloads of a category hold, and of which types: asked of DuckDB, not guessed.

Two passes over the events in SQL, and a third over the few numbers of so many
digits that a double may not hold them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb

from esnb.duck import interruptible
from esnb.errors import TimelineError, shown
from esnb.timeline.text import literals, pointer, unknown

__all__ = ["OWN_COLUMNS", "Payload", "declared_type", "infer"]

# Names that the tables of a timeline use themselves.
OWN_COLUMNS = (
    "stream",
    "revision",
    "position",
    "event_id",
    "event_type",
    "actor",
    "occurred_on",
    "recorded_on",
    "system_from",
    "system_to",
    "next_position",
    "ended",
    "valid_from",
    "valid_to",
)
MAX_FIELDS = 1000

_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_ ]*(\(\s*\d+\s*(,\s*\d+\s*)?\))?(\[\])*", re.ASCII)
# Text in which a number may stand that a double does not hold: 16 digits or an exponent.
_SUSPECT = r"[0-9][0-9.]{15}|[0-9][eE]"
# All up to a number outside of strings, and the number; or the rest of the text.
_NUMBERS = r'((?:[^"0-9-]|"(?:[^"\\]|\\.)*")*)(-?[0-9][0-9.eE+-]*|$)'
_LONG_IN_ARRAY = r'"-?[0-9][0-9.]{15,}"|"-?[0-9]+\.?[0-9]*[eE][-+]?[0-9]+"'
_EXACT_WHOLE = 2**53


@dataclass(frozen=True)
class Payload:
    """One top-level key of the payloads, as a column.

    Attributes
    ----------
    name
        Column in the tables of the timeline.
    key
        Key in the payload.
    type
        DuckDB type of the column.
    declared
        The type was given, not inferred.
    nested
        Its values need the exact pass of `esnb.timeline.merge`.
    text
        Its values, as a JSON value, are text (not JSON) unless an array or object.
    nulls
        Some event says ``null``.
    """

    name: str
    key: str
    type: str
    declared: bool = False
    nested: bool = False
    text: bool = True
    nulls: bool = True


@dataclass
class _Seen:
    """What all the values of one key have in common."""

    kinds: set[str]
    nulls: bool = False
    beyond_64: bool = False  # an integer past BIGINT
    beyond_53: bool = False  # an integer past the exact ones of a double
    fraction: bool = False
    inexact: bool = False

    def type(self) -> str:
        numbers = self.kinds <= {"UBIGINT", "BIGINT", "DOUBLE"}
        if not self.kinds or self.kinds == {"VARCHAR"}:
            return "VARCHAR"
        if self.kinds == {"BOOLEAN"}:
            return "BOOLEAN"
        if numbers and not self.fraction:
            return "VARCHAR" if self.beyond_64 else "BIGINT"
        if numbers:
            return "VARCHAR" if self.inexact or self.beyond_53 else "DOUBLE"
        return "JSON"

    def nested(self, kind: str) -> bool:
        return "OBJECT" in self.kinds or self.inexact or (self.fraction and kind != "DOUBLE")


def declared_type(text: str) -> str:
    """Return the name of a DuckDB type if `text` is one.

    Raises
    ------
    TimelineError
        If it is none.
    """
    if not isinstance(text, str) or not _TYPE.fullmatch(text.strip()):
        raise TimelineError(
            f"{shown(text)} is not a type for a field; say e.g. 'VARCHAR' or 'DECIMAL(18, 2)'"
        )
    return text.strip()


@interruptible()
def infer(
    cursor: duckdb.DuckDBPyConnection,
    selected: str,
    *,
    fields: Mapping[str, str | None] | None,
    ignore: Collection[str],
) -> tuple[Payload, ...]:
    """Return the fields of the events in `selected`.

    Parameters
    ----------
    cursor
        A cursor that knows ``events``.
    selected
        SELECT of ``position`` and ``data`` (JSON text of an object).
    fields
        Keys to take, each with its type or ``None`` to infer it; all keys without it.
    ignore
        Keys to leave out.

    Raises
    ------
    TimelineError
        If a key is named that no payload has, or there are more than 1,000.
    """
    for kind in set((fields or {}).values()) - {None}:
        try:
            cursor.execute(f"SELECT CAST(NULL AS {kind})")
        except duckdb.Error as error:
            raise TimelineError(
                f"{shown(kind)} is not a type for a field: {str(error).splitlines()[0]}"
            ) from error
    first_seen = _keys(cursor, selected)
    keys = list(first_seen)
    if first_seen:
        wanted = [key for key, kind in (fields or {}).items() if kind is None]
        for key in (*wanted, *ignore):
            if key not in first_seen:
                raise unknown("field", key, first_seen)
    if fields is not None:
        keys = [key for key in fields if key in first_seen or fields[key] is not None]
    keys = [key for key in keys if key not in ignore]
    if len(keys) > MAX_FIELDS:
        raise TimelineError(
            f"the payloads have {len(keys):,} different keys; a timeline takes {MAX_FIELDS:,}. "
            "Name the ones you need: fields=[…]"
        )
    seen = _look(cursor, selected, keys) if keys and first_seen else {}
    result = []
    for key, name in zip(keys, _names(keys), strict=True):
        facts = seen.get(key, _Seen(set()))
        own = facts.type()
        given = (fields or {}).get(key)
        result.append(
            Payload(
                name=name,
                key=key,
                type=given or own,
                declared=given is not None,
                nested=facts.nested(own),
                text=own != "JSON",
                nulls=facts.nulls,
            )
        )
    return tuple(result)


def _keys(cursor: duckdb.DuckDBPyConnection, selected: str) -> dict[str, int]:
    """Return all keys in the order in which the log came to know them.

    That order never changes as the log grows; neither do names that depend on it.
    """
    rows = cursor.execute(
        f"""
        WITH each AS (
            SELECT e.position, unnest(json_keys(e.data)) AS key,
                   unnest(range(len(json_keys(e.data)))) AS place
            FROM ({selected}) AS e
        )
        SELECT each.key, min(each.position) AS first, arg_min(each.place, each.position) AS place
        FROM each GROUP BY each.key ORDER BY first, place, each.key
        """  # noqa: S608 (our own text)
    ).fetchall()
    return {key: place for place, (key, _, _) in enumerate(rows)}


def _names(keys: Sequence[str]) -> list[str]:
    """Return a column name for each key: itself, or with ``_2``, ``_3``… where it clashes."""
    taken = set(OWN_COLUMNS)
    result = []
    for key in keys:
        plain = key.replace("\x00", "␀") or "empty_key"
        name, count = plain, 1
        while name.casefold() in taken:
            count += 1
            name = f"{plain}_{count}"
        taken.add(name.casefold())
        result.append(name)
    return result


def _look(
    cursor: duckdb.DuckDBPyConnection, selected: str, keys: Sequence[str]
) -> dict[str, _Seen]:
    paths = literals(map(pointer, keys))
    rows = cursor.execute(
        f"""
        WITH each AS (
            SELECT unnest(range({len(keys)})) AS i,
                   unnest(json_type(e.data, {paths})) AS kind,
                   unnest(json_extract(e.data, {paths}))::VARCHAR AS value
            FROM ({selected}) AS e
        )
        SELECT each.i, each.kind,
               coalesce(bool_or(each.kind = 'UBIGINT' AND TRY_CAST(each.value AS BIGINT) IS NULL),
                        false),
               coalesce(bool_or(each.kind IN ('UBIGINT', 'BIGINT')
                                AND abs(TRY_CAST(each.value AS HUGEINT)) > {_EXACT_WHOLE}), false),
               bool_or(each.kind = 'DOUBLE' AND NOT regexp_matches(each.value, '[^0-9-]')),
               bool_or(each.kind = 'DOUBLE' AND regexp_matches(each.value, '[^0-9-]'))
        FROM each WHERE each.kind IS NOT NULL GROUP BY each.i, each.kind
        """  # noqa: S608 (pointers are constants)
    ).fetchall()
    seen: dict[str, _Seen] = {}
    for i, kind, beyond_64, beyond_53, whole, fraction in rows:
        facts = seen.setdefault(keys[i], _Seen(set()))
        if kind == "NULL":
            facts.nulls = True
            continue
        facts.kinds.add(kind)
        # An integer past 64 bits has the type DOUBLE, but keeps its digits.
        facts.beyond_64 |= beyond_64 or whole
        facts.beyond_53 |= beyond_53 or whole
        facts.fraction |= fraction
    doubtful = [
        key
        for key, facts in seen.items()
        if "OBJECT" not in facts.kinds and (facts.fraction or "ARRAY" in facts.kinds)
    ]
    if doubtful:
        for key in _inexact(cursor, selected, doubtful):
            seen[key].inexact = True
    return seen


def _inexact(cursor: duckdb.DuckDBPyConnection, selected: str, keys: Sequence[str]) -> set[str]:
    """Return the keys with a number that a double does not hold to the last digit.

    DuckDB reads a number with a fraction as a double, whatever is asked of it.  So
    the numbers of suspect payloads are put in quotes first, and read as they stand.
    """
    paths = literals(map(pointer, keys))
    rows: Any = cursor.execute(
        f"""
        WITH quoted AS (
            SELECT e.data, regexp_replace(e.data, $numbers, '\\1"\\2"', 'g') AS text
            FROM ({selected}) AS e WHERE regexp_matches(e.data, $suspect)
        ), each AS (
            SELECT unnest(range({len(keys)})) AS i,
                   unnest(json_type(q.data, {paths})) AS kind,
                   unnest(json_extract_string(q.data, {paths})) AS value,
                   unnest(json_extract_string(left(q.text, -2), {paths})) AS written
            FROM quoted AS q
        )
        SELECT DISTINCT each.i,
               CASE WHEN each.kind = 'DOUBLE' THEN each.written END AS written
        FROM each
        WHERE (each.kind = 'DOUBLE' AND each.written <> each.value
               AND rtrim(each.written, '0') <> each.value
               AND regexp_matches(each.written, '[0-9.]{{16}}|[eE]'))
           OR (each.kind = 'ARRAY' AND regexp_matches(each.written, $in_array))
        """,  # noqa: S608 (pointers are constants)
        {"numbers": _NUMBERS, "suspect": _SUSPECT, "in_array": _LONG_IN_ARRAY},
    )
    found: set[str] = set()
    while len(found) < len(keys) and (batch := rows.fetchmany(10_000)):
        for i, written in batch:
            if keys[i] not in found and (written is None or not _is_double(written)):
                found.add(keys[i])
    return found


def _is_double(written: str) -> bool:
    return Decimal(repr(float(written))) == Decimal(written)
