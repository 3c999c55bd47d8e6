"""`sketch`: the classes that a category of events suggests, as source to go on from.

Names of event types and keys are whatever somebody once wrote.  They get into the source as
identifiers made here, or as the `repr` of a text, never as they stand.
"""

from __future__ import annotations

import io
import keyword
import re
import tokenize
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import duckdb

from esnb.aggregate import Aggregate, Event
from esnb.duck import interruptible
from esnb.errors import TimelineError
from esnb.timeline import infer
from esnb.timeline.read import Source
from esnb.timeline.text import literal, literals, pointer, unknown

__all__ = ["Sketch", "sketch"]

MAX_VERSIONS = 100
# What is imported or named in the annotations of the source.
_WORDS = {
    "Aggregate",
    "Any",
    "Decimal",
    "Event",
    "Field",
    "bool",
    "datetime",
    "float",
    "int",
    "str",
}
_FIELDS = (
    {*_WORDS, *dir(Event), *dir(Aggregate), *infer.OWN_COLUMNS, "description", "uncommitted"}
)  # fmt: skip
_NOT_A_FIELD = re.compile(r"_|model_validate|model_dump|from[0-9]+$", re.ASCII)
# More bits of a text: see `infer.bits_of`.
_NO_MONEY, _POINT, _NO_INSTANT = (1 << i for i in range(20, 23))
_MONEY = r"-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,6})?"
_INSTANT = (
    r"[12][0-9]{3}-[01][0-9]-[0-3][0-9]T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
    r"(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)
_PYTHON = {"BOOLEAN": "bool", "BIGINT": "int", "DOUBLE": "float"}
_COLOURS = {
    tokenize.STRING: "--jp-mirror-editor-string-color",
    tokenize.COMMENT: "--jp-mirror-editor-comment-color",
    tokenize.NUMBER: "--jp-mirror-editor-number-color",
}


@dataclass(frozen=True)
class Sketch:
    """Source of event classes and of the aggregate class that folds them.

    ``str(sketch)`` is the source; a notebook shows it in colours.

    Attributes
    ----------
    source
        Python, to be pasted into a cell or a module, and made better.
    name
        Of the aggregate class.
    fields
        Its fields, each with the payload key that it comes from.
    """

    source: str
    name: str
    fields: Mapping[str, str]

    def run(self, namespace: dict[str, Any] | None = None) -> type[Aggregate]:
        """Execute the source, and return the aggregate class.

        Parameters
        ----------
        namespace
            Where the classes are to be defined, such as ``globals()``.
        """
        place: dict[str, Any] = {"__name__": "esnb_sketch"} if namespace is None else namespace
        # Our own text: nothing of the log's stands in it but names made here and constants.
        exec(compile(self.source, "<esnb.sketch>", "exec", dont_inherit=True), place)  # noqa: S102
        made: type[Aggregate] = place[self.name]
        return made

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        return self.source

    def _repr_html_(self) -> str:
        return f"<pre style='text-align:left'>{''.join(_coloured(self.source))}</pre>"


def sketch(log: Source, category: str) -> Sketch:
    """Return classes that fold a category as `esnb.Timeline` does with ``fold="patch"``.

    Parameters
    ----------
    log
        A log.
    category
        ``"order"`` for the streams ``order-…``.

    Returns
    -------
    Sketch
        An event class for each event type: a field for each key of its payloads, as
        narrow as all values allow (``str``, ``int``, ``float``, ``bool``; ``Decimal`` for
        amounts in texts, ``datetime`` for ISO texts with a zone; ``Any`` for the rest), and
        None where it was missing or null.  An aggregate with all of the keys, whose handlers
        assign them.  An object or array replaces the one before as a whole.

    Raises
    ------
    TimelineError
        If there are no events of the category, more than 1,000 different keys, or more than
        100 schema versions of an event type.

    Examples
    --------
    >>> print(esnb.sketch(log, "order"))              # doctest: +SKIP
    >>> Order = esnb.sketch(log, "order").run()       # doctest: +SKIP
    """
    cursor = log.session.fresh(log.snapshot())
    types = _types(cursor, category)
    if not types:
        names = cursor.execute("SELECT DISTINCT e.category FROM events AS e").fetchall()
        raise unknown("category", category, [name for (name,) in names])
    return _written(category, types)


# --- what there is -------------------------------------------------------------------------


@dataclass
class _Key:
    """A key in the payloads of one event type."""

    bits: int
    missing: bool

    @property
    def nulls(self) -> bool:
        return bool(self.bits & infer.NULL)


@dataclass
class _Type:
    """An event type: its versions, its keys in the order in which they came."""

    name: str
    events: int
    oldest: int
    newest: int
    keys: dict[str, _Key]


@interruptible()
def _types(cursor: duckdb.DuckDBPyConnection, category: str) -> list[_Type]:
    selected = (
        "SELECT e.position, e.event_type, e.schema_version, e.data FROM events AS e"  # noqa: S608
        f" WHERE e.category = {literal(category)}"
    )
    found = {
        name: _Type(name, events, oldest, newest, {})
        for name, events, oldest, newest in cursor.execute(
            "SELECT e.event_type, count(*), min(e.schema_version), max(e.schema_version)"  # noqa: S608
            f" FROM ({selected}) AS e GROUP BY e.event_type ORDER BY min(e.position)"
        ).fetchall()
    }
    present: dict[tuple[str, str], int] = {}
    for name, keys, count in cursor.execute(
        "SELECT e.event_type, e.keys, count(*) FROM ("  # noqa: S608 (our own text)
        f"SELECT e.event_type, e.position, json_keys(e.data) AS keys FROM ({selected}) AS e"
        ") AS e GROUP BY e.event_type, e.keys ORDER BY min(e.position)"
    ).fetchall():
        for key in keys:
            present[name, key] = present.get((name, key), 0) + count
    every = infer.chosen_of(dict.fromkeys(key for _, key in present), None, ())
    bits = _bits(cursor, selected, every)
    for (name, key), count in present.items():
        found[name].keys[key] = _Key(bits[name][key], count < found[name].events)
    for one in found.values():
        if one.newest > MAX_VERSIONS:
            raise TimelineError(
                f"{one.name!r} has the schema version {one.newest:,}; a sketch has an upcaster for "
                f"each, and takes {MAX_VERSIONS}"
            )
    return list(found.values())


def _bits(
    cursor: duckdb.DuckDBPyConnection, selected: str, keys: list[str]
) -> dict[str, dict[str, int]]:
    """Return for each event type what the values of each key have in common."""
    if not keys:
        return {}
    paths = literals(map(pointer, keys))
    values = [f"e.v[{i}]" for i in range(1, len(keys) + 1)]
    of_values = ", ".join(
        f"coalesce(bit_or({infer.bits_of(v)} + {_text_bits(v)}), 0)" for v in values
    )
    found = {
        name: dict(zip(keys, map(int, bits), strict=True))
        for name, *bits in cursor.execute(
            f"SELECT e.event_type, {of_values} FROM (SELECT e.event_type,"  # noqa: S608
            f" CAST(json_extract(e.data, {paths}) AS VARCHAR[]) AS v FROM ({selected}) AS e"
            ") AS e GROUP BY e.event_type"
        ).fetchall()
    }
    # Whether a number keeps all its digits as a double is asked of all types at once.
    union = dict.fromkeys(keys, 0)
    for own in found.values():
        union = {key: union[key] | own[key] for key in keys}
    known = dict(union)
    infer.look_closer(cursor, selected, keys, union)
    return {
        name: {key: bits | (union[key] & ~known[key]) for key, bits in own.items()}
        for name, own in found.items()
    }


def _text_bits(value: str) -> str:
    inside = f"substr({value}, 2, length({value}) - 2)"
    return (
        f"CASE WHEN ascii({value}) = {ord(chr(34))} THEN"
        f" CASE WHEN NOT regexp_full_match({inside}, {literal(_MONEY)}) THEN {_NO_MONEY}"
        f" WHEN contains({value}, '.') THEN {_POINT} ELSE 0 END"
        f" + CASE WHEN regexp_full_match({inside}, {literal(_INSTANT)})"
        f" AND TRY_CAST({inside} AS TIMESTAMPTZ) IS NOT NULL THEN 0 ELSE {_NO_INSTANT} END"
        " ELSE 0 END"
    )


def _kind(bits: int, *, plain: bool = False) -> str:
    """Return the annotation that fits all values; of texts ``str`` if `plain`."""
    if not infer.any_value(bits):
        return "Any"
    if infer.only_text(bits):
        if not plain and bits & _POINT and not bits & _NO_MONEY:
            return "Decimal"
        if not plain and not bits & _NO_INSTANT:
            return "datetime"
        return "str"
    return _PYTHON.get(infer.type_of(bits), "Any")


# --- what is written -----------------------------------------------------------------------


def _written(category: str, types: list[_Type]) -> Sketch:
    classes = _names((one.name for one in types), _WORDS, _class_name)
    owner = _unique(_capitals(category) or "Thing", {*_WORDS, *classes.values()}, set())
    keys = dict.fromkeys(key for one in types for key in one.keys)
    # In the body of a class its fields would hide the classes that the handlers name.
    fields = _names(keys, {*_FIELDS, *classes.values()}, _field_name)
    union = dict.fromkeys(keys, 0)
    for one in types:
        for key, own in one.keys.items():
            union[key] |= own.bits
    kinds = {key: _kind(bits) for key, bits in union.items()}
    body = [_event_class(one, classes[one.name], fields, kinds) for one in types]
    body.append(_aggregate_class(category, owner, types, classes, fields, kinds))
    text = "\n\n\n".join(body)
    imports = [
        *(["from datetime import datetime"] if re.search(r"\bdatetime\b", text) else []),
        *(["from decimal import Decimal"] if re.search(r"\bDecimal\b", text) else []),
        *(["from typing import Any"] if re.search(r"\bAny\b", text) else []),
        "",
        *(["from pydantic import Field", ""] if re.search(r"\bField\b", text) else []),
        "from esnb import Aggregate, Event",
    ]
    lines = "\n".join(imports).lstrip("\n")
    events = sum(one.events for one in types)
    head = (
        f"# Sketched from {events:,} events of {_constant(category)}: a beginning, make it yours."
    )
    return Sketch(f"{head}\n{lines}\n\n\n{text}\n", owner, {fields[key]: key for key in keys})


def _event_class(one: _Type, name: str, fields: dict[str, str], kinds: dict[str, str]) -> str:
    option = "" if name == one.name else f", name={_constant(one.name)}"
    lines = [f"class {name}(Event{option}):"]
    if one.newest > 1:
        lines.append(f"    version = {one.newest}")
    for key, own in one.keys.items():
        kind = kinds[key]
        if kind == "Any":
            kind = _kind(own.bits, plain=True)
        if kind != "Any" and (own.nulls or own.missing):
            kind += " | None"
        field, default = fields[key], " = None" if own.missing else ""
        if field != key:
            given = "None, " if own.missing else ""
            default = f" = Field({given}alias={_constant(key)})"
        lines.append(f"    {field}: {kind}{default}")
    if one.oldest < one.newest:
        for number in range(1, one.newest):
            lines += [
                "",
                f"    def from{number}(d):",
                f"        # Passes the payload on; say here what version {number + 1} changed.",
                "        return d",
            ]
    if len(lines) == 1:
        lines.append("    pass")
    return "\n".join(lines)


def _aggregate_class(
    category: str,
    owner: str,
    types: list[_Type],
    classes: dict[str, str],
    fields: dict[str, str],
    kinds: dict[str, str],
) -> str:
    lines = [f"class {owner}(Aggregate, category={_constant(category)}):"]
    if "Any" in kinds.values():
        lines.append(
            "    # Handlers that read an Any are run by Python: give it a type, or leave it out."
        )
    for key, kind in kinds.items():
        lines.append(f"    {fields[key]}: {kind if kind == 'Any' else f'{kind} | None'} = None")
    handlers: set[str] = {*fields.values()}
    for one in types:
        name = f"when_{_snake(classes[one.name])}"
        handler = _unique(name, {*_FIELDS, *classes.values()}, handlers)
        handlers.add(handler)
        lines += ["", f"    def {handler}(self, e: {classes[one.name]}):"]
        for key, own in one.keys.items():
            field = fields[key]
            assigned = f"self.{field} = e.{field}"
            if own.missing and own.nulls:
                # A null takes the value away; where the key is missing the value stays.
                lines += [
                    f"        if {_constant(field)} in e.model_fields_set:",
                    f"            {assigned}",
                ]
            elif own.missing:
                lines += [f"        if e.{field} is not None:", f"            {assigned}"]
            else:
                lines.append(f"        {assigned}")
        if not one.keys:
            lines.append("        pass")
    return "\n".join(lines)


# --- names ---------------------------------------------------------------------------------


def _names(texts: Iterable[str], reserved: set[str], make: Any) -> dict[str, str]:
    """Return an identifier for each text: itself where it can be one, else one made of it.

    No two are equal to DuckDB, which does not tell ``A`` from ``a``; none is another text.
    """
    every = list(texts)
    names: dict[str, str] = {}
    taken: set[str] = set()
    for text in every:
        if _plain(text) and make(text) == _unique(text, reserved, taken) == text:
            names[text] = text
            taken.add(text)
    # A class takes values by the names of its fields too: none may be the key of another.
    taken |= set(every)
    for text in every:
        if text not in names:
            names[text] = _unique(make(text), reserved, taken)
            taken.add(names[text])
    return {text: names[text] for text in every}


def _plain(text: str) -> bool:
    return text.isidentifier() and unicodedata.normalize("NFKC", text) == text


def _class_name(text: str) -> str:
    if _plain(text) and not text.startswith("_") and len(text) <= 60:
        return text
    return _capitals(text) or "Something"


def _field_name(text: str) -> str:
    name = text
    if not _plain(name) or len(name) > 60:
        name = "_".join(_parts(text))
    if not name or name[0].isdigit() or _NOT_A_FIELD.match(name):
        name = "_".join(["field", *_parts(name)])
    return name


def _capitals(text: str) -> str:
    name = "".join(part[0].upper() + part[1:] for part in _parts(text))
    return f"Event{name}" if name[:1].isdigit() else name


def _parts(text: str) -> list[str]:
    ascii_only = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.findall(r"[A-Za-z0-9]+", ascii_only[:60])


def _unique(name: str, reserved: set[str], taken: set[str]) -> str:
    """Return `name`, or with something behind it, so that it is neither reserved nor taken."""
    folded = {other.casefold() for other in taken}
    made, number = name, 1
    while keyword.iskeyword(made) or made in reserved or made.casefold() in folded:
        made = f"{name}_" if number == 1 else f"{name}_{number}"
        number += 1
    return made


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _constant(text: str) -> str:
    """Return a string constant of Python, in double quotes where that is simple."""
    written = repr(text)
    return f'"{text}"' if written == f"'{text}'" and '"' not in text else written


# --- colours -------------------------------------------------------------------------------


def _coloured(source: str) -> Iterator[str]:
    """Yield the source as HTML, by JupyterLab's own colours."""
    lines = source.splitlines(keepends=True)
    row, column = 1, 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        while (row, column) < token.start:
            end = token.start[1] if row == token.start[0] else len(lines[row - 1])
            yield escape(lines[row - 1][column:end])
            row, column = (row, end) if row == token.start[0] else (row + 1, 0)
        colour = _COLOURS.get(token.type)
        if token.type == tokenize.NAME and keyword.iskeyword(token.string):
            colour = "--jp-mirror-editor-keyword-color"
        text = escape(token.string)
        yield f"<span style='color:var({colour})'>{text}</span>" if colour else text
        row, column = token.end
