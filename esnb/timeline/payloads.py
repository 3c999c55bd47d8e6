"""Folds that nobody wrote: fields and their types are found in the payloads of a category."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import duckdb

from esnb.errors import TimelineError, shown
from esnb.timeline import infer
from esnb.timeline.fold import CARRIED, Field, Fold, Side
from esnb.timeline.forms import Form, Told, attribute_sql, guessed, look_at_attributes
from esnb.timeline.infer import Facts, Payload
from esnb.timeline.merge import DATA, SILENT, Merge
from esnb.timeline.text import literal, literals, pointer

if TYPE_CHECKING:
    from esnb.timeline.read import Read

__all__ = ["Inferred", "Log", "inferred"]


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
    form
        What a payload is to the state.
    ends
        Types of the events after which there is no state.
    fields
        Keys to take, each with its type or ``None`` to infer it; all without it.
    ignore
        Keys to leave out.
    """

    name: str
    form: Form = field(default_factory=Form)
    ends: tuple[str, ...] = ()
    fields: Mapping[str, str | None] | None = None
    ignore: Collection[str] = ()

    def settled(self, read: Read) -> Inferred:
        """Return itself: any payload can be folded.

        Raises
        ------
        TimelineError
            Naming field, value and event where a value does not fit the type that was declared.
        """
        if any(self._given().values()):
            try:
                read.table  # noqa: B018 (it is built)
            except TimelineError as error:
                raise TimelineError(f"{self._misfit(read)}{error}") from error
        return self

    def _misfit(self, log: Log) -> str:
        """Return which value does not fit the type that is declared for its field."""
        form = self._form(log)
        for key, kind in self._given().items():
            if kind is None:
                continue
            at, also = form.under + pointer(key), ""
            if form.mode == "attributes":
                at = pointer(form.keys[1] or "")
                also = f" AND {attribute_sql(form.pair())} = {literal(key)}"
            said, told = (f"json_extract_string({of}.data, {literal(at)})" for of in "ev")
            found = log.cursor.execute(
                f"SELECT v.position, v.stream, {told} FROM events AS v"  # noqa: S608
                f" WHERE v.position IN (SELECT min(e.position) FROM ({self._selected(form)}) AS e"
                f" WHERE {said} IS NOT NULL AND TRY_CAST({said} AS {kind}) IS NULL{also})"
            ).fetchone()
            if found is not None:
                position, stream, value = found
                return (
                    f"{shown(key)} is declared {kind} and is {shown(value)} in the event at "
                    f"position {position} of {shown(stream)}: "
                )
        return ""

    def fold(self, log: Log) -> Fold:
        """Return the fold of the events in `log`."""
        infer.check_types(log.cursor, sorted({kind for kind in self._given().values() if kind}))
        form = self._form(log)
        key = self._key("facts", form)
        known = Facts()
        noted = log.recall(key)
        if noted is not None:
            known = Facts.from_json(noted)
        if known.next_position > log.next_position:
            known = Facts()
        if known.next_position < log.next_position:
            known = self._look(log, form, known)
            log.note(key, known.to_json())
        payloads = infer.payloads(known, fields=self.fields, ignore=self.ignore)
        return inferred(self.name, form, payloads, self.ends)

    def _form(self, log: Log) -> Form:
        """Return the form with the keys that had to be guessed."""
        if self.form.mode != "attributes" or None not in self.form.keys:
            return self.form
        key = self._key("guessed", self.form)
        noted = log.recall(key)
        if noted is None or noted["next_position"] > log.next_position:
            keys = guessed(log.cursor, self._selected(self.form), self.form.keys)
            if keys is None:
                name, value = self.form.keys
                return replace(self.form, keys=(name or "attribute", value or "value"))
            noted = {"next_position": log.next_position, "keys": list(keys)}
            log.note(key, noted)
        name, value = noted["keys"]
        return replace(self.form, keys=(name, value))

    def _look(self, log: Log, form: Form, known: Facts) -> Facts:
        selected = self._selected(form)
        if form.mode == "attributes":
            return look_at_attributes(
                log.cursor,
                selected,
                form,
                known,
                log.next_position,
                fields=self.fields,
                ignore=self.ignore,
            )
        return infer.look(
            log.cursor,
            selected,
            known,
            log.next_position,
            fields=self.fields,
            ignore=self.ignore,
            under=form.under,
        )

    def _selected(self, form: Form) -> str:
        """Return the SELECT of the payloads that say something."""
        return (
            "SELECT e.position, e.data FROM events AS e"  # noqa: S608 (constants by `text`)
            f" WHERE e.category = {literal(self.name)} AND NOT {form.ended(self.ends)}"
        )

    def _given(self) -> Mapping[str, str | None]:
        return self.fields or {}

    def _key(self, kind: str, form: Form) -> str:
        """Return the name under which something is noted: of all that decides it."""
        taken = None if self.fields is None else sorted(self.fields)
        parts = [kind, 2, self.name, sorted(self.ends), taken, sorted(self.ignore), asdict(form)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        ends = f", ends={self.ends!r}" if self.ends else ""
        noop = f", noop={self.form.noop}" if self.form.noop is not None else ""
        return f"{self.name!r}, fold={self.form.mode!r}{ends}{noop}"


def inferred(category: str, form: Form, payloads: Sequence[Payload], ends: Sequence[str]) -> Fold:
    """Return the fold of `payloads` whose keys are the fields."""
    may_end = bool(ends) or form.pauses
    if form.mode == "attributes":
        fields, columns, side = _of_attributes(form, payloads)
    else:
        fields, columns, side = _of_keys(form, payloads, may_end)
    # What an ending event says is not folded, so it need not fit the types either.
    extracts = [
        f"CASE WHEN NOT e.ended THEN {sql} END AS {name}" if may_end else f"{sql} AS {name}"
        for name, sql in columns
    ]
    if form.pauses:
        extracts.append(f"e.ended IS NULL AS {SILENT}")
    carried = [f"e.{name}" for name in CARRIED]
    rows = (
        f"SELECT {', '.join([*carried, 'e.ended', *extracts])}\n"  # noqa: S608 (constants by `text`)
        f"FROM (SELECT e.*, {form.ended(ends)} AS ended FROM events AS e"
        f" WHERE e.category = {literal(category)}) AS e"
    )
    sides = () if side is None else (side,)
    return Fold(rows, tuple(fields), may_end, sides, form.pauses)


# Fields, further columns of the rows (name and SQL over an event ``e``), and a side.
Parts = tuple[list[Field], list[tuple[str, str]], Side | None]


def _of_keys(form: Form, payloads: Sequence[Payload], may_end: bool) -> Parts:
    """Return what is folded where the fields are keys of an object."""
    # An event that says nothing of a whole state leaves it: then the last one said counts.
    whole = form.whole and not form.pauses
    nested = [p for p in payloads if p.nested]
    texts = [p for p in payloads if not p.nested and not _needs_json(p)]
    found = [
        p for p in payloads if not p.nested and (_needs_json(p) or (p.nulls and not form.whole))
    ]
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
        boxed = not whole and (form.whole or payload.nulls or may_end)
        if boxed:
            says = (
                f"NOT e.{SILENT}"
                if form.whole
                else f"{json_of.get(key) or text_of[key]} IS NOT NULL"
            )
            value = f"CASE WHEN {says} THEN {{'v': {value}}} END"
        fields.append(Field(name, key, kind, value, "whole" if whole else "latest", boxed))
    columns: list[tuple[str, str]] = []
    for name, function, wanted in (
        ("texts", "json_extract_string", texts),
        ("found", "json_extract", found),
    ):
        if wanted:
            columns.append((name, f"{function}(e.data, {_paths(form, wanted)})"))
    if not nested:
        return fields, columns, None
    touches = f"list_bool_or(json_exists(e.data, {_paths(form, nested)}))"
    columns.append((DATA, f"CASE WHEN {touches} THEN e.data END"))
    side = Merge(tuple(p.key for p in nested), form.whole, form.at, form.pauses)
    return fields, columns, side


def _of_attributes(form: Form, payloads: Sequence[Payload]) -> Parts:
    """Return what is folded where each event says one field's value."""
    pair = form.pair()
    columns = [
        ("attribute", attribute_sql(pair)),
        ("found", f"{pair}[2]"),
        ("text", f"json_extract_string(e.data, {literal(pointer(form.keys[1] or ''))})"),
    ]
    fields = []
    for payload in payloads:
        kind = payload.type
        value = _typed(kind, "e.told") if payload.nested else _value(payload, "e.text", "e.found")
        said = f"CASE WHEN e.attribute = {literal(payload.key)} THEN {{'v': {value}}} END"
        fields.append(Field(payload.name, payload.key, kind, said, "latest", boxed=True))
    nested = [p.key for p in payloads if p.nested]
    if not nested:
        return fields, columns, None
    touches = f"list_contains({literals(nested)}, {attribute_sql(pair)})"
    columns.append((DATA, f"CASE WHEN {touches} THEN e.data END"))
    return fields, columns, Told(form.keys[1] or "")


def _paths(form: Form, payloads: Sequence[Payload]) -> str:
    return literals(form.under + pointer(payload.key) for payload in payloads)


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
