"""How payloads tell of a state: as patches, snapshots, before and after, attribute by attribute.

Patches and snapshots stand in the payload itself.  Of the others this module knows the keys,
which events say nothing, and which end the aggregate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import duckdb
import pyarrow as pa

from esnb.duck import interruptible
from esnb.errors import TimelineError, shown
from esnb.timeline import infer
from esnb.timeline.infer import Facts
from esnb.timeline.merge import DATA, canonical_text, parsed
from esnb.timeline.text import literal, literals, pointer

__all__ = [
    "MODES",
    "Form",
    "Mode",
    "Noop",
    "Told",
    "attribute_sql",
    "form",
    "guessed",
    "look_at_attributes",
    "noop",
]

Mode = Literal["patch", "snapshot", "before/after", "attributes"]
MODES: tuple[Mode, ...] = ("patch", "snapshot", "before/after", "attributes")
# Where the name and the new value of an attribute stand if nobody says so.
_ATTRIBUTES = ("attribute", "field", "name")
_VALUES = ("value", "new_value")


@dataclass(frozen=True)
class Noop:
    """By what an event tells that it failed and changes nothing.

    Attributes
    ----------
    keys
        One of these payload keys is there and not null.
    equal
        Or, all of these payload keys have these values.
    """

    keys: tuple[str, ...] = ()
    equal: tuple[tuple[str, str | int | bool], ...] = ()

    @property
    def sql(self) -> str:
        """The condition over an event ``e``, never NULL."""
        parts = [
            f"coalesce(json_type(e.data, {literal(pointer(key))}), 'NULL') <> 'NULL'"
            for key in self.keys
        ]
        if self.equal:
            parts.append(" AND ".join(_equal(key, value) for key, value in self.equal))
        return f"({' OR '.join(parts)})"

    def __str__(self) -> str:
        if self.equal:
            return repr(dict(self.equal))
        return repr(self.keys[0] if len(self.keys) == 1 else list(self.keys))


def noop(given: object) -> Noop | None:
    """Return what a user said of failed events.

    Raises
    ------
    TimelineError
        If it is neither a key, nor keys, nor keys with texts, whole numbers or booleans.
    """
    if given is None:
        return None
    if isinstance(given, Mapping):
        pairs = tuple(given.items())
        if pairs and all(
            isinstance(key, str) and isinstance(value, str | int) for key, value in pairs
        ):
            return Noop(equal=pairs)
    elif isinstance(given, Iterable):
        keys = (given,) if isinstance(given, str) else tuple(given)
        if keys and all(isinstance(key, str) for key in keys):
            return Noop(keys=keys)
    raise TimelineError(
        f"noop={shown(given)} names no failed events; say the payload key that they have, such as "
        "'errorCode', or its value, such as {'status': 'failed'}"
    )


def _equal(key: str, value: str | int | bool) -> str:
    place = literal(pointer(key))
    if isinstance(value, str):
        return (
            f"(coalesce(json_type(e.data, {place}), '') = 'VARCHAR'"
            f" AND json_extract_string(e.data, {place}) = {literal(value)})"
        )
    text = str(value).lower() if isinstance(value, bool) else str(int(value))
    return f"coalesce(CAST(json_extract(e.data, {place}) AS VARCHAR) = {literal(text)}, false)"


@dataclass(frozen=True)
class Form:
    """What a payload is to the state.

    Attributes
    ----------
    mode
        See `esnb.timeline.Timeline`.
    keys
        Of ``before/after`` the two keys; of ``attributes`` those of the name and the value,
        None for one that is to be guessed.
    noop
        Which events change nothing.
    """

    mode: Mode = "patch"
    keys: tuple[str | None, str | None] = (None, None)
    noop: Noop | None = None

    @property
    def whole(self) -> bool:
        """Each event says the whole state."""
        return self.mode in ("snapshot", "before/after")

    @property
    def at(self) -> str | None:
        """The key under which the state stands; None where it is the payload."""
        return self.keys[1] if self.mode == "before/after" else None

    @property
    def under(self) -> str:
        """JSON Pointer to the object whose keys are the fields."""
        return "" if self.at is None else pointer(self.at)

    @property
    def pauses(self) -> bool:
        """Some event may leave everything as it was."""
        return self.noop is not None or self.at is not None

    def ended(self, ends: Collection[str]) -> str:
        """Return SQL over an event ``e``: it ends the aggregate; NULL: it changes nothing."""
        cases = []
        if self.noop is not None:
            cases.append(f"WHEN {self.noop.sql} THEN NULL")
        if ends:
            cases.append(f"WHEN e.event_type IN ({', '.join(map(literal, ends))}) THEN true")
        rest = "false"
        if self.at is not None:
            kinds = f"json_type(e.data, {literals(pointer(key) for key in self.keys if key)})"
            rest = (
                f"CASE WHEN {kinds}[2] = 'OBJECT' THEN false"
                f" WHEN coalesce({kinds}[2], 'NULL') = 'NULL'"
                f" AND coalesce({kinds}[1], 'NULL') <> 'NULL' THEN true END"
            )
        return f"CASE {' '.join(cases)} ELSE {rest} END" if cases else rest

    def pair(self) -> str:
        """Return SQL over an event ``e`` of an attribute's name and value, as JSON."""
        return f"json_extract(e.data, {literals(pointer(key or '') for key in self.keys)})"


def form(
    mode: Mode,
    noop_given: object,
    before: str | None,
    after: str | None,
    attribute: str | None,
    value: str | None,
) -> Form:
    """Return what a user said of the payloads.

    Raises
    ------
    TimelineError
        If a key is none, or is given to a fold that has no use for it.
    """
    if mode not in MODES:
        known = ", ".join(map(repr, MODES[:-1]))
        raise TimelineError(f"fold={shown(mode)} is unknown; say {known} or {MODES[-1]!r}")
    given = {"before": before, "after": after, "attribute": attribute, "value": value}
    own = {"before/after": ("before", "after"), "attributes": ("attribute", "value")}.get(mode, ())
    for name, key in given.items():
        if key is not None and name not in own:
            where = "before/after" if name in ("before", "after") else "attributes"
            raise TimelineError(f"{name}={shown(key)} belongs to fold={where!r}, not to {mode!r}")
        if key is not None and not isinstance(key, str):
            raise TimelineError(f"{name} must be a payload key, not {shown(key)}")
    keys: tuple[str | None, str | None] = (None, None)
    if mode == "before/after":
        keys = ("before" if before is None else before, "after" if after is None else after)
    elif mode == "attributes":
        keys = (attribute, value)
    if keys[0] is not None and keys[0] == keys[1]:
        names = " and ".join(own)
        raise TimelineError(f"{names} are both {shown(keys[0])}; name two keys")
    return Form(mode, keys, noop(noop_given))


def attribute_sql(pair: str) -> str:
    """Return SQL of the name of the attribute of which a `Form.pair` says a value, or NULL."""
    return (
        f"CASE WHEN ascii(CAST({pair}[1] AS VARCHAR)) = {ord(chr(34))}"
        f" AND {pair}[2] IS NOT NULL THEN json_extract_string({pair}[1], '$') END"
    )


@interruptible()
def guessed(
    cursor: duckdb.DuckDBPyConnection, selected: str, keys: tuple[str | None, str | None]
) -> tuple[str, str] | None:
    """Return the keys of an attribute's name and value, None if no event has a likely pair.

    The first event that has one decides, so that the answer stays as the log grows.

    Parameters
    ----------
    selected
        SELECT of ``position`` and ``data``.
    keys
        Those that are given.
    """
    likely = [
        tuple(key for key in known if key not in keys) if given is None else (given,)
        for given, known in zip(keys, (_ATTRIBUTES, _VALUES), strict=True)
    ]
    conditions = " AND ".join(
        f"list_has_any(json_keys(e.data), {literals(names)})" for names in likely
    )
    row = cursor.execute(
        f"SELECT json_keys(e.data) FROM ({selected}) AS e WHERE {conditions}"  # noqa: S608
        " ORDER BY e.position LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    name, value = (next(key for key in names if key in row[0]) for names in likely)
    return name, value


@interruptible()
def look_at_attributes(
    cursor: duckdb.DuckDBPyConnection,
    selected: str,
    form: Form,
    known: Facts,
    next_position: int,
    *,
    fields: Collection[str] | None,
    ignore: Collection[str],
) -> Facts:
    """Return what is `known` of the attributes with what newer events say (see `infer.look`).

    Raises
    ------
    TimelineError
        If there are more than 1,000 attributes to look at.
    """
    told = (
        f"SELECT e.data, e.position, e.pair[2] AS value, {attribute_sql('e.pair')} AS attribute"  # noqa: S608
        f" FROM (SELECT e.*, {form.pair()} AS pair FROM ({selected}) AS e"
        f" WHERE e.position >= {known.next_position}) AS e"
    )
    bits = infer.bits_of("e.text")
    here = dict(
        cursor.execute(
            f"SELECT e.attribute, coalesce(bit_or({bits}), 0) FROM ("  # noqa: S608
            f"SELECT e.*, CAST(e.value AS VARCHAR) AS text FROM ({told}) AS e"
            " WHERE e.attribute IS NOT NULL"
            ") AS e GROUP BY e.attribute ORDER BY min(e.position), e.attribute"
        ).fetchall()
    )
    keys = tuple(dict.fromkeys((*known.keys, *here)))
    wanted = [key for key in infer.chosen_of(keys, fields, ignore) if key in here]
    seen = dict(known.seen)
    for key in wanted:
        seen[key] = seen.get(key, 0) | int(here[key])
    doubtful = infer.doubtful_of(seen, wanted)
    if doubtful:
        place, listed = literal(pointer(form.keys[1] or "")), literals(doubtful)
        each = (
            f"SELECT list_position({listed}, q.attribute) - 1 AS i, json_type(q.value) AS kind,"  # noqa: S608
            " json_extract_string(q.value, '$') AS value,"
            f" json_extract_string(q.text, {place}) AS written"
            f" FROM ({infer.quoted_sql(told)}) AS q WHERE list_contains({listed}, q.attribute)"
        )
        infer.mark_inexact(cursor, each, doubtful, seen)
    return Facts(next_position, keys, seen)


@dataclass(frozen=True)
class Told:
    """The value that an event says, as canonical JSON text: a `esnb.timeline.fold.Side`.

    It adds ``told``, NULL for ``null``, for the events whose payload stands in `DATA`.
    """

    key: str

    @property
    def identity(self) -> str:
        return f"told 1 {self.key!r}"

    @property
    def columns(self) -> tuple[tuple[str, str], ...]:
        return ((DATA, "VARCHAR"),)

    @property
    def adds(self) -> tuple[tuple[str, str], ...]:
        return (("told", "VARCHAR"),)

    @property
    def keeps(self) -> tuple[str, ...]:
        return ()

    def run(self, batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            told = [
                None if data is None else canonical_text(parsed(data)[self.key])
                for data in batch.column(DATA).to_pylist()
            ]
            yield pa.RecordBatch.from_arrays([pa.array(told, pa.string())], names=["told"])
