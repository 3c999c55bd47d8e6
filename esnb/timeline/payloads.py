"""Folds that nobody wrote: each payload is a patch of the state, or the state itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import duckdb

from esnb.timeline import infer
from esnb.timeline.fold import CARRIED, Field, Fold, Side
from esnb.timeline.infer import Facts, Payload
from esnb.timeline.merge import DATA, Merge
from esnb.timeline.text import literal, literals, pointer

__all__ = ["Inferred", "Log", "Mode", "inferred"]

Mode = Literal["patch", "snapshot"]


class Log(Protocol):
    """The log at one position, as a definition looks at it to make its fold."""

    @property
    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Cursor that knows ``events``."""
        ...

    @property
    def next_position(self) -> int: ...

    def recall(self, key: str) -> Mapping[str, Any] | None:
        """Return what was noted under `key`, by whichever process; it may always be gone."""
        ...

    def note(self, key: str, content: Mapping[str, Any]) -> None:
        """Keep what is dear to find out again (as JSON) beside the timelines of the log."""
        ...


@dataclass(frozen=True)
class Inferred:
    """The definition of a timeline whose fields are found in the payloads of a category.

    Attributes
    ----------
    name
        The category.
    mode
        ``"patch"`` merges each payload into the state (RFC 7396); in ``"snapshot"`` each
        payload is the state.
    ends
        Types of the events after which there is no state.
    fields
        Keys to take, each with its type or ``None`` to infer it; all without it.
    ignore
        Keys to leave out.
    """

    name: str
    mode: Mode = "patch"
    ends: tuple[str, ...] = ()
    fields: Mapping[str, str | None] | None = None
    ignore: Collection[str] = ()

    def fold(self, log: Log) -> Fold:
        """Return the fold of the events in `log`."""
        infer.check_types(log.cursor, sorted({kind for kind in self._given().values() if kind}))
        key = hashlib.sha256(json.dumps(self._looks_at()).encode()).hexdigest()[:32]
        known = Facts()
        noted = log.recall(key)
        if noted is not None:
            known = Facts.from_json(noted)
        if known.next_position > log.next_position:
            known = Facts()
        if known.next_position < log.next_position:
            known = infer.look(
                log.cursor,
                "SELECT e.position, e.data FROM events AS e"  # noqa: S608 (constants by `text`)
                f" WHERE e.category = {literal(self.name)} AND NOT {_ending(self.ends)}",
                known,
                log.next_position,
                fields=self.fields,
                ignore=self.ignore,
            )
            log.note(key, known.to_json())
        payloads = infer.payloads(known, fields=self.fields, ignore=self.ignore)
        return inferred(self.name, self.mode, payloads, self.ends)

    def _given(self) -> Mapping[str, str | None]:
        return self.fields or {}

    def _looks_at(self) -> list[Any]:
        """All that decides which values are looked at."""
        taken = None if self.fields is None else sorted(self.fields)
        return ["facts", 1, self.name, sorted(self.ends), taken, sorted(self.ignore)]

    def __str__(self) -> str:
        ends = f", ends={self.ends!r}" if self.ends else ""
        return f"{self.name!r}, fold={self.mode!r}{ends}"


def inferred(category: str, mode: Mode, payloads: Sequence[Payload], ends: Sequence[str]) -> Fold:
    """Return the fold of `payloads` whose keys are the fields."""
    whole = mode == "snapshot"
    nested = [p for p in payloads if p.nested]
    texts = [p for p in payloads if not p.nested and not _needs_json(p)]
    found = [p for p in payloads if not p.nested and (_needs_json(p) or (p.nulls and not whole))]
    place = {p.key: f"e.h{i}" for i, p in enumerate(nested)}
    text_of = {p.key: f"e.texts[{i}]" for i, p in enumerate(texts, start=1)}
    json_of = {p.key: f"e.found[{i}]" for i, p in enumerate(found, start=1)}
    fields = []
    for payload in payloads:
        name, key, kind = payload.name, payload.key, payload.type
        if payload.nested:
            fields.append(Field(name, key, kind, _typed(kind, place[key]), "whole"))
            continue
        value = _value(payload, text_of.get(key, ""), json_of.get(key, ""))
        boxed = bool(payload.nulls or ends) and not whole
        if boxed:
            value = (
                f"CASE WHEN {json_of.get(key) or text_of[key]} IS NOT NULL"
                f" THEN {{'v': {value}}} END"
            )
        fields.append(Field(name, key, kind, value, "whole" if whole else "latest", boxed))
    extracts: list[tuple[str, str]] = []
    for name, function, wanted in (
        ("texts", "json_extract_string", texts),
        ("found", "json_extract", found),
    ):
        if wanted:
            extracts.append((name, f"{function}(e.data, {_paths(wanted)})"))
    if nested:
        touches = f"list_bool_or(json_exists(e.data, {_paths(nested)}))"
        extracts.append((DATA, f"CASE WHEN {touches} THEN e.data END"))
    ended = _ending(ends)
    columns = [f"e.{name}" for name in CARRIED] + [f"{ended} AS ended"]
    # What an ending event says is not folded, so it need not fit the types either.
    columns += [
        f"CASE WHEN NOT {ended} THEN {sql} END AS {name}" if ends else f"{sql} AS {name}"
        for name, sql in extracts
    ]
    rows = f"SELECT {', '.join(columns)}\nFROM events AS e WHERE e.category = {literal(category)}"
    sides: tuple[Side, ...] = (Merge(tuple(p.key for p in nested), whole),) if nested else ()
    return Fold(rows, tuple(fields), bool(ends), sides)


def _ending(ends: Sequence[str]) -> str:
    """Return SQL that tells whether event ``e`` is of a type in `ends`."""
    if not ends:
        return "false"
    return f"(e.event_type IN ({', '.join(map(literal, ends))}))"


def _paths(payloads: Sequence[Payload]) -> str:
    return literals(pointer(payload.key) for payload in payloads)


def _needs_json(payload: Payload) -> bool:
    return payload.type == "JSON" or payload.type.endswith("]")


def _value(payload: Payload, text: str, found: str) -> str:
    """Return SQL of the value, NULL for JSON's ``null`` and for silence."""
    if payload.type == "JSON":
        return f"CASE WHEN CAST({found} AS VARCHAR) <> 'null' THEN {found} END"
    if payload.type.endswith("]"):
        return f"CAST({found} AS {payload.type})"
    return text if payload.type == "VARCHAR" else f"CAST({text} AS {payload.type})"


def _typed(kind: str, text: str) -> str:
    """Return SQL that gives canonical JSON `text` a type."""
    if kind == "VARCHAR":
        return _unquoted(text)
    if kind == "JSON":
        return f"CAST({text} AS JSON)"
    if kind.endswith("]"):
        return f"CAST(CAST({text} AS JSON) AS {kind})"
    return f"CAST({_unquoted(text)} AS {kind})"


def _unquoted(text: str) -> str:
    """Return SQL of JSON `text`, without its quotes where it is a JSON string."""
    return f"""CASE WHEN {text}[1] = '"' THEN json_extract_string({text}, '$') ELSE {text} END"""
