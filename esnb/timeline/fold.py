"""What is folded: which events, which fields, and what each event says of each field.

A `Fold` is only a description.  `esnb.timeline.build` makes the table of all
states from it, `esnb.timeline.valid` the states on the other clock; neither knows
where the description came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from esnb.query.names import quote
from esnb.timeline.infer import Payload
from esnb.timeline.text import literal, literals, pointer

__all__ = ["Field", "Fold", "Mode", "inferred"]

# What an event says that takes a value away.
BOXED_NULL = "{'v': NULL}"
Mode = Literal["patch", "snapshot"]


@dataclass(frozen=True)
class Field:
    """One field of the state.

    Attributes
    ----------
    name
        Its column.
    key
        Where it stands in the payload.
    type
        DuckDB type.
    said
        SQL over an event ``e``: what the event says of the field, NULL where it
        says nothing.  Where it may say NULL, that is ``{'v': NULL}`` (`boxed`).
        Empty for a nested field.
    boxed
        See `said`.
    whole
        Each event says all there is to say: silence is NULL.
    nested
        The state of the field is merged value by value, outside of SQL.
    """

    name: str
    key: str
    type: str
    said: str
    boxed: bool = False
    whole: bool = False
    nested: bool = False

    def windowed(self, said: str, window: str) -> str:
        """Return SQL of the state after each event, `said` being a column of what each says."""
        if self.whole:
            return said
        last = f"last_value({said} IGNORE NULLS) OVER {window}"
        return f"struct_extract({last}, 'v')" if self.boxed else last

    def aggregated(self, said: str, turn: str) -> str:
        """Return SQL of the state after all events of a group, in the order of `turn`."""
        if self.whole:
            return f"arg_max_null({said}, {turn})"
        last = f"arg_max({said}, {turn})"
        return f"struct_extract({last}, 'v')" if self.boxed else last


@dataclass(frozen=True)
class Fold:
    """A category of streams, folded.

    Attributes
    ----------
    category
        Whose streams.
    mode
        ``"patch"`` or ``"snapshot"``.
    fields
        The fields of the state.
    ends
        Types of the events after which there is no state.
    extracts
        Columns that the fields' SQL needs of each event ``e``: name to SQL.
    """

    category: str
    mode: Mode
    fields: tuple[Field, ...]
    ends: tuple[str, ...]
    extracts: tuple[tuple[str, str], ...] = ()

    @property
    def nested(self) -> tuple[Field, ...]:
        """The fields that are merged outside of SQL."""
        return tuple(field for field in self.fields if field.nested)

    @property
    def ended(self) -> str:
        """SQL over an event ``e``: it ends the aggregate."""
        return ending("e", self.ends)

    @property
    def where(self) -> str:
        """SQL over an event ``e``: it is of the category."""
        return f"e.category = {literal(self.category)}"


def ending(event: str, ends: Sequence[str]) -> str:
    """Return SQL that tells whether `event` (an alias) is of a type in `ends`."""
    if not ends:
        return "false"
    return f"{event}.event_type IN ({', '.join(map(literal, ends))})"


def inferred(category: str, mode: Mode, payloads: Sequence[Payload], ends: Sequence[str]) -> Fold:
    """Return the fold of `payloads` whose keys are the fields.

    ``patch`` merges each payload into the state (RFC 7396); in ``snapshot`` each
    payload is the state.
    """
    plain = [payload for payload in payloads if not payload.nested]
    fields = []
    for payload in payloads:
        whole = mode == "snapshot"
        if payload.nested:
            field = Field(
                payload.name, payload.key, payload.type, "", boxed=True, whole=whole, nested=True
            )
        else:
            value = _value(payload, plain.index(payload) + 1)
            boxed = bool(payload.nulls or ends) and not whole
            if boxed:
                present = f"e.found[{plain.index(payload) + 1}] IS NOT NULL"
                value = f"CASE WHEN {present} THEN {{'v': {value}}} END"
            field = Field(payload.name, payload.key, payload.type, value, boxed=boxed, whole=whole)
        fields.append(field)
    extracts: list[tuple[str, str]] = []
    if plain:
        paths = literals(pointer(payload.key) for payload in plain)
        extracts.append(("found", f"json_extract(e.data, {paths})"))
        if any(_reads_text(payload) for payload in plain):
            extracts.append(("texts", f"json_extract_string(e.data, {paths})"))
    return Fold(category, mode, tuple(fields), tuple(ends), tuple(extracts))


def nested_value(field: Field, text: str) -> str:
    """Return SQL that gives canonical JSON `text` the type of `field`."""
    if field.type == "VARCHAR":
        return unquoted(text)
    if field.type == "JSON":
        return f"CAST({text} AS JSON)"
    if field.type.endswith("]"):
        return f"CAST(CAST({text} AS JSON) AS {field.type})"
    return f"CAST({unquoted(text)} AS {field.type})"


def unquoted(text: str) -> str:
    """Return SQL of JSON `text`, without its quotes where it is a JSON string."""
    return f"""CASE WHEN {text}[1] = '"' THEN json_extract_string({text}, '$') ELSE {text} END"""


def _reads_text(payload: Payload) -> bool:
    if payload.declared:
        return payload.type != "JSON" and not payload.type.endswith("]")
    return payload.type == "VARCHAR"


def _value(payload: Payload, index: int) -> str:
    """Return SQL of the value, NULL for JSON's ``null`` and for silence."""
    found, kind = f"e.found[{index}]", payload.type
    if kind == "JSON":
        return f"CASE WHEN CAST({found} AS VARCHAR) <> 'null' THEN {found} END"
    if _reads_text(payload):
        text = f"e.texts[{index}]"
        return text if kind == "VARCHAR" else f"CAST({text} AS {kind})"
    if payload.declared:
        return f"CAST({found} AS {kind})"
    return f"CAST(nullif(CAST({found} AS VARCHAR), 'null') AS {kind})"


def column(field: Field) -> str:
    """Return the quoted column of `field`."""
    return quote(field.name)
