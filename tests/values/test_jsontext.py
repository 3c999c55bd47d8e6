"""The one door for payloads: strict reading, canonical writing."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import duckdb
import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from esnb import jsontext
from esnb.errors import InstantError, JsonError

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    ),
    max_leaves=20,
)
objects = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, max_size=5)


@given(values)
def test_canonical_is_rfc_8785(value: Any) -> None:
    assert jsontext.canonical(jsontext.freeze(value)) == rfc8785.dumps(value).decode()


plain_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.decimals(-9, 9), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text("aBé\x7f_ü𐐀 ", max_size=3), inner, max_size=4),
    ),
    max_leaves=20,
)


@given(plain_values)
def test_usual_values_are_written_as_frozen_ones_are(value: Any) -> None:
    found = jsontext.usual(value)
    if found is not None:
        assert found == jsontext.canonical(jsontext.freeze(value))


def test_which_values_are_usual() -> None:
    assert jsontext.usual([{"sku": "a", "quantity": 2, "gift": False}]) is not None
    assert jsontext.usual({"b": [1, None], "a": ("x",)}) == '{"a":["x"],"b":[1,null]}'
    others = (1.5, Decimal(1), {1: 2}, {"ä": 1}, {1}, 2**70, "\ud800", [[[[[[[[[[1]]]]]]]]]])
    assert [jsontext.usual(one) for one in others] == [None] * len(others)


@given(objects)
def test_what_is_written_is_read_again(value: dict[str, Any]) -> None:
    frozen = jsontext.freeze(value)
    text = jsontext.canonical(frozen)
    assert jsontext.parse(text) == frozen
    assert jsontext.canonical(jsontext.parse(text)) == text
    jsontext.check_object(text)
    jsontext.check_object(json.dumps(value))
    jsontext.check_object(json.dumps(value, ensure_ascii=False, indent=2))


BAD = [
    ("", "Expecting value"),
    ("[1]", "must be a JSON object"),
    ("7", "must be a JSON object"),
    ("null", "must be a JSON object"),
    ('{"a":1,}', "Expecting|Illegal"),
    ('{"a":1,"a":2}', "'a' stands twice"),
    ('{"a" :1,"a":2}', "'a' stands twice"),
    ('{"x":{"a":1,"a":2}}', "'a' stands twice"),
    ('{"x":[{"a":1,"a":2}]}', "'a' stands twice"),
    ('{"\\u0061":1,"a":2}', "'a' stands twice"),
    ('{"a":"\\":","a":2}', "'a' stands twice"),
    ('{"a":NaN}', "NaN is not"),
    ('{"a":Infinity}', "Infinity is not"),
    ('{"a":-Infinity}', "-Infinity is not"),
    ('{"a":1e400}', "out of range"),
    ('{"a":"\\ud800"}', "surrogate"),
    ('{"\\udc00":1}', "surrogate"),
    ('{"a":"\ud800"}', "surrogate"),
    ('{"a":"\x00"}', "control character"),
    ('{"a":01}', "Expecting"),
    ("{'a':1}", "Expecting"),
    ('{"a":1}x', "Extra data"),
    ("\ufeff{}", "BOM|Expecting"),
    ('{"a":' * 65 + "1" + "}" * 65, "64 levels"),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, "64 levels"),
    ('{"a":' + "[" * 100_000, "64 levels"),
    ('{"a":' + "9" * 5000 + "}", "5000 digits"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_what_is_refused(text: str, reason: str) -> None:
    for read in (jsontext.parse_object, jsontext.check_object):
        with pytest.raises(JsonError, match=reason):
            read(text)


GOOD = [
    "{}",
    '{"a":{"b":1},"c":{"b":1}}',
    '{"a":"x\\":y","b":"\\\\"}',
    '{ "a" : [ 1 , { "b" : null } ] }',
    '{"a":' * 64 + "1" + "}" * 64,
    '{"a":"' + "{[" * 1000 + '"}',
    '{"a":12345678901234567890123}',
    '{"":1," ":2,"ü":"\\u00fc\\ud83d\\ude00"}',
]


@pytest.mark.parametrize("text", GOOD)
def test_what_is_accepted(text: str) -> None:
    jsontext.check_object(text)
    jsontext.parse_object(text)


@given(st.text('{}[]":,\\ 01e.-aun\ud800\x00', max_size=12))
def test_the_fast_check_is_the_strict_one(text: str) -> None:
    def accepts(read: Any) -> bool:
        try:
            read(text)
        except JsonError:
            return False
        return True

    assert accepts(jsontext.check_object) == accepts(jsontext.parse_object)


@given(objects)
def test_duckdb_reads_the_same_values(value: dict[str, Any]) -> None:
    text = jsontext.canonical(jsontext.freeze(value))
    (valid,) = duckdb.execute("select json_valid(?)", [text]).fetchone() or (False,)
    assert valid


def test_numbers_keep_their_digits() -> None:
    read = jsontext.parse('{"m":100.10,"big":12345678901234567.89,"int":9007199254740993}')
    assert read["m"] == 100.10
    assert read["big"] == Decimal("12345678901234567.89")
    assert read["int"] == 9007199254740993
    assert '"int":9007199254740993' in jsontext.canonical(read)
    assert jsontext.canonical(-0.0) == "0"


class Colour(Enum):
    RED = "red"


def test_python_values_become_json_once() -> None:
    frozen = jsontext.freeze(
        {
            "money": Decimal("100.10"),
            "at": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "day": date(2026, 3, 1),
            "id": UUID(int=7),
            "colour": Colour.RED,
            "list": [1, (2, 3)],
        }
    )
    assert frozen == {
        "money": "100.10",
        "at": "2026-03-01T12:00:00.000000Z",
        "day": "2026-03-01",
        "id": "00000000-0000-0000-0000-000000000007",
        "colour": "red",
        "list": (1, (2, 3)),
    }


@pytest.mark.parametrize(
    "value", [{1: 2}, {"a": {1}}, {"a": b""}, {"a": math.nan}, {"a": object()}]
)
def test_what_has_no_json_form(value: Any) -> None:
    with pytest.raises(JsonError):
        jsontext.freeze(value)
    with pytest.raises(InstantError, match="zone"):
        jsontext.freeze({"at": datetime(2026, 3, 1)})
