"""Which fields the payloads of a category hold, and of which types: asked of DuckDB, not guessed.

Two passes over the events in SQL, and a third over the few numbers of so many
digits that a double may not hold them.  As the log grows only its new events are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import duckdb

from esnb.duck import interruptible
from esnb.errors import TimelineError, shown
from esnb.timeline.text import literal, literals, pointer, unknown

__all__ = [
    "NULL",
    "OWN_COLUMNS",
    "Facts",
    "Payload",
    "any_value",
    "bits_of",
    "check_types",
    "chosen_of",
    "declared_type",
    "doubtful_of",
    "look",
    "look_closer",
    "mark_inexact",
    "only_text",
    "payloads",
    "quoted_sql",
    "type_of",
]

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
    nulls
        Some event says ``null``.
    """

    name: str
    key: str
    type: str
    declared: bool = False
    nested: bool = False
    nulls: bool = True


@dataclass(frozen=True)
class Facts:
    """What is known of the payloads up to a position of the log.

    Attributes
    ----------
    next_position
        The first position that was not looked at.
    keys
        All keys in the order in which the log came to know them.
    seen
        What all the values of a key have in common, as bits.
    """

    next_position: int = 0
    keys: tuple[str, ...] = ()
    seen: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "next_position": self.next_position,
            "keys": list(self.keys),
            "seen": dict(self.seen),
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Facts:
        return cls(fields["next_position"], tuple(fields["keys"]), dict(fields["seen"]))


# Bits of `Facts.seen`.
_TEXT, _BOOLEAN, _WHOLE, _FRACTION, _NULL, _ARRAY, _OBJECT = (1 << i for i in range(7))
_BEYOND_64 = 1 << 7  # an integer past BIGINT
_BEYOND_53 = 1 << 8  # an integer past the exact ones of a double
_INEXACT = 1 << 9  # a number with a fraction that no double holds
_KINDS = _TEXT | _BOOLEAN | _WHOLE | _FRACTION | _ARRAY | _OBJECT
NULL = _NULL


def type_of(seen: int) -> str:
    """Return the narrowest DuckDB type that holds all values that were seen."""
    kinds = seen & _KINDS
    if kinds in (0, _TEXT):
        return "VARCHAR"
    if kinds == _BOOLEAN:
        return "BOOLEAN"
    if kinds == _WHOLE:
        return "VARCHAR" if seen & _BEYOND_64 else "BIGINT"
    if kinds in (_FRACTION, _FRACTION | _WHOLE):
        return "VARCHAR" if seen & (_INEXACT | _BEYOND_53) else "DOUBLE"
    return "JSON"


def only_text(seen: int) -> bool:
    """Tell whether all values were texts, or null."""
    return seen & _KINDS == _TEXT


def any_value(seen: int) -> bool:
    """Tell whether a value other than null was seen."""
    return bool(seen & _KINDS)


def _nested(seen: int) -> bool:
    fraction = seen & _FRACTION and type_of(seen) != "DOUBLE"
    return bool(seen & (_OBJECT | _INEXACT) or fraction)


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
def look(
    cursor: duckdb.DuckDBPyConnection,
    selected: str,
    known: Facts,
    next_position: int,
    *,
    fields: Collection[str] | None,
    ignore: Collection[str],
    under: str = "",
) -> Facts:
    """Return what is `known` with what the events from `known.next_position` on say.

    Parameters
    ----------
    cursor
        A cursor that knows ``events``.
    selected
        SELECT of ``position`` and ``data`` (JSON text of an object).
    next_position
        End of the log that the cursor knows.
    fields
        Keys to look at; all keys without it.
    ignore
        Keys to leave out.
    under
        JSON Pointer to the object whose keys are meant; the payload itself without it.

    Raises
    ------
    TimelineError
        If there are more than 1,000 keys to look at.
    """
    new = f"SELECT * FROM ({selected}) AS e WHERE e.position >= {known.next_position}"  # noqa: S608
    here = _keys(cursor, new, under)
    keys = tuple(dict.fromkeys((*known.keys, *here)))
    wanted = [key for key in chosen_of(keys, fields, ignore) if key in here]
    seen = dict(known.seen)
    if wanted:
        for key, bits in zip(wanted, _bits(cursor, new, wanted, under), strict=True):
            seen[key] = seen.get(key, 0) | bits
        look_closer(cursor, new, wanted, seen, under)
    return Facts(next_position, keys, seen)


def chosen_of(
    keys: Iterable[str], fields: Collection[str] | None, ignore: Collection[str]
) -> list[str]:
    """Return the keys to look at; raises `TimelineError` if they are too many."""
    chosen = [key for key in keys if (fields is None or key in fields) and key not in ignore]
    if len(chosen) > MAX_FIELDS:
        raise TimelineError(
            f"the payloads have {len(chosen):,} different keys; a timeline takes {MAX_FIELDS:,}. "
            "Name the ones you need: fields=[…]"
        )
    return chosen


def look_closer(
    cursor: duckdb.DuckDBPyConnection,
    selected: str,
    keys: Iterable[str],
    seen: dict[str, int],
    under: str = "",
) -> None:
    """Mark those of `keys` in `seen` with a number that a double does not hold."""
    doubtful = doubtful_of(seen, keys)
    if not doubtful:
        return
    paths = literals(under + pointer(key) for key in doubtful)
    each = (
        f"SELECT unnest(range({len(doubtful)})) AS i,"  # noqa: S608 (pointers are constants)
        f" unnest(json_type(q.data, {paths})) AS kind,"
        f" unnest(json_extract_string(q.data, {paths})) AS value,"
        f" unnest(json_extract_string(q.text, {paths})) AS written"
        f" FROM ({quoted_sql(selected)}) AS q"
    )
    mark_inexact(cursor, each, doubtful, seen)


def doubtful_of(seen: Mapping[str, int], keys: Iterable[str]) -> list[str]:
    """Return those of `keys` among whose values may be a number that no double holds."""
    return [
        key
        for key in keys
        if not seen[key] & (_OBJECT | _INEXACT) and seen[key] & (_FRACTION | _ARRAY)
    ]


def payloads(
    facts: Facts, *, fields: Mapping[str, str | None] | None, ignore: Collection[str]
) -> tuple[Payload, ...]:
    """Return the fields that follow from `facts`.

    Parameters
    ----------
    fields
        Keys to take, each with its type or ``None`` to infer it; all keys without it.
    ignore
        Keys to leave out.

    Raises
    ------
    TimelineError
        If a key is named that no payload has.
    """
    keys = list(facts.keys)
    if keys:
        wanted = [key for key, kind in (fields or {}).items() if kind is None]
        for key in (*wanted, *ignore):
            if key not in facts.keys:
                raise unknown("field", key, facts.keys)
    if fields is not None:
        keys = [key for key in fields if key in facts.keys or fields[key] is not None]
    keys = [key for key in keys if key not in ignore]
    result = []
    for key, name in zip(keys, _names(keys), strict=True):
        seen = facts.seen.get(key, 0)
        own, given = type_of(seen), (fields or {}).get(key)
        result.append(
            Payload(
                name=name,
                key=key,
                type=given or own,
                declared=given is not None,
                nested=_nested(seen),
                nulls=bool(seen & _NULL),
            )
        )
    return tuple(result)


def check_types(cursor: duckdb.DuckDBPyConnection, types: Iterable[str]) -> None:
    """Refuse names that DuckDB does not know as types."""
    for kind in types:
        try:
            cursor.execute(f"SELECT CAST(NULL AS {kind})")
        except duckdb.Error as error:
            raise TimelineError(
                f"{shown(kind)} is not a type for a field: {str(error).splitlines()[0]}"
            ) from error


def _keys(cursor: duckdb.DuckDBPyConnection, selected: str, under: str) -> list[str]:
    """Return all keys in the order in which the log came to know them.

    That order never changes as the log grows; neither do names that depend on it.
    """
    path = f", {literal(under)}" if under else ""
    shapes = cursor.execute(
        f"""
        SELECT each.keys, min(each.position) AS first
        FROM (SELECT json_keys(e.data{path}) AS keys, e.position FROM ({selected}) AS e) AS each
        GROUP BY each.keys ORDER BY first
        """  # noqa: S608 (our own text)
    ).fetchall()
    return list(dict.fromkeys(key for keys, _ in shapes for key in keys or ()))


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


def _bits(
    cursor: duckdb.DuckDBPyConnection, selected: str, keys: Sequence[str], under: str
) -> list[int]:
    """Return what the values of each key have in common."""
    paths = literals(under + pointer(key) for key in keys)
    of_values = ", ".join(
        f"coalesce(bit_or({bits_of(f'e.v[{i}]')}), 0)" for i in range(1, len(keys) + 1)
    )
    (row,) = cursor.execute(
        f"""
        SELECT {of_values}
        FROM (
            SELECT CAST(json_extract(e.data, {paths}) AS VARCHAR[]) AS v FROM ({selected}) AS e
        ) AS e
        """  # noqa: S608 (pointers are constants)
    ).fetchall()
    return list(map(int, row))


def bits_of(value: str) -> str:
    """Return SQL of the bits of one JSON text; an integer of any length keeps its digits."""
    first = {'"': _TEXT, "t": _BOOLEAN, "f": _BOOLEAN, "n": _NULL, "[": _ARRAY, "{": _OBJECT}
    kinds = " ".join(f"WHEN {ord(char)} THEN {bit}" for char, bit in first.items())
    return (
        f"CASE WHEN {value} IS NOT NULL THEN CASE ascii({value}) {kinds}"
        f" ELSE CASE WHEN regexp_matches({value}, '[^0-9-]') THEN {_FRACTION}"
        f" WHEN length({value}) <= 15 THEN {_WHOLE}"
        f" ELSE {_WHOLE} + CASE WHEN TRY_CAST({value} AS BIGINT) IS NULL THEN {_BEYOND_64} ELSE 0"
        f" END + CASE WHEN abs(TRY_CAST({value} AS HUGEINT)) <= {_EXACT_WHOLE} THEN 0"
        f" ELSE {_BEYOND_53} END END END END"
    )


def quoted_sql(selected: str) -> str:
    """Return the SELECT of suspect payloads: ``data``, and ``text`` with numbers in quotes.

    DuckDB reads a number with a fraction as a double, whatever is asked of it.  So
    the numbers of suspect payloads are put in quotes first, and read as they stand.
    Further columns of `selected` are there as well.
    """
    numbers, suspect = literal(_NUMBERS), literal(_SUSPECT)
    return (
        f"SELECT e.*, left(regexp_replace(e.data, {numbers}, '\\1\"\\2\"', 'g'), -2) AS text"  # noqa: S608
        f" FROM ({selected}) AS e WHERE regexp_matches(e.data, {suspect})"
    )


def mark_inexact(
    cursor: duckdb.DuckDBPyConnection, each: str, keys: Sequence[str], seen: dict[str, int]
) -> None:
    """Mark the keys with a number that a double does not hold to the last digit.

    Parameters
    ----------
    each
        SELECT of the values of suspect payloads: ``i`` (the key's place in `keys`), ``kind``
        (JSON type), ``value`` and ``written`` (text, as read and as it stands).
    """
    rows: Any = cursor.execute(
        f"""
        SELECT DISTINCT each.i,
               CASE WHEN each.kind = 'DOUBLE' THEN each.written END AS written
        FROM ({each}) AS each
        WHERE (each.kind = 'DOUBLE' AND each.written <> each.value
               AND rtrim(each.written, '0') <> each.value
               AND regexp_matches(each.written, '[0-9.]{{16}}|[eE]'))
           OR (each.kind = 'ARRAY' AND regexp_matches(each.written, $in_array))
        """,  # noqa: S608 (our own text)
        {"in_array": _LONG_IN_ARRAY},
    )
    found: set[str] = set()
    while len(found) < len(keys) and (batch := rows.fetchmany(10_000)):
        for i, written in batch:
            if keys[i] not in found and (written is None or not _is_double(written)):
                found.add(keys[i])
    for key in found:
        seen[key] |= _INEXACT


def _is_double(written: str) -> bool:
    return Decimal(repr(float(written))) == Decimal(written)
