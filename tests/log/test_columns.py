"""What is worked out for whole columns at once equals the plain way, row by row."""

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from esnb.errors import EventError, JsonError
from esnb.jsontext import check_object
from esnb.log.frames import check_payloads
from esnb.log.ids import hash_of, hashes
from esnb.log.segment import divide, stable_order
from esnb.schema import INSTANT

_IDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=40)


def _in_chunks(values, kind, cuts):
    array = pa.array(values, kind)
    bounds = sorted({0, len(values), *(cut % (len(values) + 1) for cut in cuts)})
    pieces = [array[a:b] for a, b in pairwise(bounds)]
    return pa.chunked_array(pieces, kind)


@given(st.lists(_IDS, max_size=30), st.lists(st.integers(0, 30), max_size=3))
def test_keys_of_many_ids_are_those_of_one(ids, cuts):
    keys = hashes(_in_chunks(ids, pa.string(), cuts))
    assert keys.tolist() == [hash_of(each) for each in ids]


@given(st.integers(1, 45), st.integers(1, 9), st.randoms(use_true_random=False))
def test_keys_of_ids_of_one_length(length, count, chance):
    ids = ["".join(chance.choices("0123456789abcdef-é"[:17], k=length)) for _ in range(count)]
    assert hashes(pa.array(ids)).tolist() == [hash_of(each) for each in ids]
    assert hashes(pa.array(["x", *ids])[1:]).tolist() == [hash_of(each) for each in ids]


@given(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 2**32 - 1)), max_size=50))
@example([65536, 0, 65535, 65536, 131072, 1])
def test_stable_order(codes):
    expected = sorted(range(len(codes)), key=lambda row: codes[row])
    assert stable_order(np.array(codes, np.int64)).tolist() == expected


_DAYS = st.one_of(st.integers(0, 400), st.integers(0, 3_652_058))


@given(st.lists(st.tuples(_DAYS, st.integers(0, 3)), max_size=30), st.integers(1, 6))
def test_months_are_divided_as_a_calendar_says(rows, full):
    first = datetime(1, 1, 1, tzinfo=UTC)
    at = [first + timedelta(days=day, microseconds=day % 7) for day, _ in rows]
    table = pa.table(
        {
            "recorded_on": pa.array(at, INSTANT),
            "stream": [f"s-{stream}" for _, stream in rows],
            "revision": list(range(len(rows))),
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("esnb.log.segment._FULL_MONTH", full)
        patch.setattr("esnb.log.segment.MAX_ROWS", 4)
        found = [(name, part.tolist()) for name, part in divide(table)]
    months = sorted({(each.year, each.month) for each in at})
    groups, held = [], full
    for month in months:
        if held >= full:
            groups.append([])
            held = 0
        groups[-1].append(month)
        held += sum((each.year, each.month) == month for each in at)
    expected = []
    for group in groups:
        inside = [row for row in range(len(rows)) if (at[row].year, at[row].month) in group]
        inside.sort(key=lambda row: (rows[row][1], row))
        pieces = np.array_split(inside, -(-len(inside) // 4))
        name = "{:04d}-{:02d}".format(*group[0])
        expected += [(name, piece.tolist()) for piece in pieces]
    assert found == expected


_KEYS = st.sampled_from(
    ["a", "b", "a.b", "+", "$a", "é", "x y", "", "\n", '"', "\\", "a\\", "(a|b)"]
)
_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=4)
)
_VALUES = st.one_of(
    _LEAVES, st.lists(_LEAVES, max_size=2), st.dictionaries(_KEYS, _LEAVES, max_size=2)
)


def _object(members, plain):
    texts = [f"{json.dumps(k, ensure_ascii=plain)}: {json.dumps(v)}" for k, v in members]
    return "{" + ", ".join(texts) + "}"


_OBJECTS = st.builds(_object, st.lists(st.tuples(_KEYS, _VALUES), max_size=3), st.booleans())
_PAYLOADS = st.one_of(
    _OBJECTS,
    st.sampled_from(
        [
            "",
            "{}",
            "{ }",
            "[]",
            "null",
            '{"a":1,}',
            '{"a":01}',
            '{"a":1}{}',
            '{"a":1, "a":2}',
            '{"a": 1, "b": 2, "a": 3}',
            '{"a":"\n"}',
            '{"a":1}\n',
            '{"axb":1}',
            '{"a":1e400}',
        ]
    ),
)


@given(st.lists(_PAYLOADS, max_size=3), _PAYLOADS, st.integers(0, 20), st.randoms())
@example(['{"a": 1, "a": 2}'], '{"a": 1, "b": 2}', 9, None)
@example([], '{"a": 1, "a": 2}', 9, None)
def test_payloads_are_refused_as_one_by_one(others, usual, repeats, chance):
    texts = [*[usual] * repeats, *others]
    if chance is not None:
        chance.shuffle(texts)
    refused = None
    for row, text in enumerate(texts):
        try:
            check_object(text)
        except JsonError:
            refused = row
            break
    column = pa.chunked_array([pa.array(texts, pa.string())])
    if refused is None:
        check_payloads("data", column, 7)
    else:
        with pytest.raises(EventError) as error:
            check_payloads("data", column, 7)
        assert (error.value.field, error.value.row) == ("data", 7 + refused)
