"""Payloads that one pattern proves are read as the class reads them, and so are all others."""

from __future__ import annotations

import json
import tempfile
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import Aggregate, Event
from esnb.timeline.usual import usual_pattern


class Colour(Enum):
    RED = "red"
    GREEN = "green"


class Said(Event):
    zone: str
    text: str | None
    count: int
    rate: float
    yes: bool
    money: Decimal
    at: datetime
    day: date
    colour: Colour
    size: Literal[1, 2]


class Thing(Aggregate):
    zone: str
    text: str | None
    count: int
    rate: float
    yes: bool
    money: Decimal
    at: datetime
    day: date
    colour: Colour
    size: int

    def when_said(self, e: Said):
        self.zone = e.zone
        self.text = e.text
        self.count = e.count
        self.rate = e.rate
        self.yes = e.yes
        self.money = e.money
        self.at = e.at
        self.day = e.day
        self.colour = e.colour
        self.size = e.size


texts = st.one_of(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=6).map(
        lambda text: json.dumps(text, ensure_ascii=False)
    ),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=6).map(json.dumps),
)
small = st.from_regex(r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?", fullmatch=True)
instants = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(datetime.isoformat)
VALUES = {
    "zone": texts,
    "text": st.one_of(st.just("null"), texts),
    "count": st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), st.sampled_from(["0", "-1"])),
    "rate": st.one_of(small, st.floats(allow_nan=False, allow_infinity=False).map(json.dumps)),
    "yes": st.sampled_from(["true", "false"]),
    "money": st.one_of(small, small.map(lambda number: f'"{number}"')),
    "at": st.builds(
        lambda text, zone: f'"{text}{zone}"', instants, st.sampled_from(["Z", "+02:00", "-13:30"])
    ),
    "day": st.dates(date(2, 1, 1)).map(lambda day: f'"{day}"'),
    "colour": st.sampled_from(['"red"', '"green"']),
    "size": st.sampled_from(["1", "2"]),
}


@st.composite
def payloads(draw: st.DrawFn) -> str:
    keys = draw(st.sampled_from([list(VALUES), sorted(VALUES), list(reversed(VALUES))]))
    members = [f'"{key}":{draw(st.sampled_from(["", " "]))}{draw(VALUES[key])}' for key in keys]
    if draw(st.booleans()):
        members.insert(draw(st.integers(0, len(members))), '"more": "null"')
    return "{" + draw(st.sampled_from([",", ", "])).join(members) + "}"


@settings(max_examples=60, deadline=None)
@given(st.lists(payloads(), min_size=1, max_size=40))
def test_payloads_are_read_as_the_class_reads_them(given: list[str]) -> None:
    frame = pa.table(
        {
            "stream": [f"thing-{number}" for number in range(len(given))],
            "event_type": ["Said"] * len(given),
            "data": given,
        }
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        esnb.create(Path(folder) / "log", zone="UTC", maintain=False) as log,
    ):
        log.append_frame(frame)
        states = log.timeline(Thing).as_of(len(given) - 1).to_arrow_table().to_pylist()
        assert len(states) == len(given)
        for state in states:
            expected = Thing.fold(log.read_stream(state["stream"])).state()
            assert {name: state[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("payload", "usual"),
    [
        ('{"number":"12.50","text":"Zoë"}', True),
        ('{"number": 12.5, "text": null}', True),
        ('{"text":"a","number":"12.50"}', True),
        ('{"text":"a\\u0062","number":"1"}', False),
        ('{"number":"12.50"}', False),
        ('{"number":"12.50","text":"a","more":1}', False),
        ('{"number":"1e3","text":"a"}', False),
        ('{"number":123456789012345678,"text":"a"}', False),
        ('{"number":-0,"text":"a"}', False),
        ('{"number":01,"text":"a"}', False),
    ],
)
def test_the_usual_is_plain(payload: str, usual: bool) -> None:
    class Noted(Event):
        text: str | None
        number: Decimal

    pattern = usual_pattern(Noted)
    with esnb.duck.connect() as database:
        found = database.execute("SELECT regexp_full_match($1, $2)", [payload, pattern]).fetchone()
    assert found == (usual,)


def test_some_classes_have_no_pattern() -> None:
    class Odd(Event):
        items: list[int]

    class Cases(Event):
        amount: int
        Amount: int

    assert usual_pattern(Odd) is None
    assert usual_pattern(Cases) is None
