"""Times and ids of whole columns at once equal the plain way, row by row."""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esnb import instants
from esnb.errors import InputError
from esnb.log import Log
from esnb.schema import INSTANT
from esnb.source import import_events, times
from esnb.source.opened import Opened
from esnb.source.store import Store
from esnb.source.xes import Xes

_AWARE = st.builds(
    lambda at, sign, offset: at.isoformat(sign) + offset,
    st.datetimes(),
    st.sampled_from(" T"),
    st.sampled_from(["Z", "+00:00", "-00:00", "+05:30", "-15:59", "+15:59", "+16:00", "+01"]),
)
_ODD = st.sampled_from(
    [
        "2020-02-30T00:00:00Z",
        "2020-02-29T24:00:00Z",
        "0000-01-01T00:00:00Z",
        "2020-01-01T00:00:60Z",
        "2020-01-01T00:00:00.1234567Z",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "",
        " 2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z\n",
        "٢٠٢٠-01-01T00:00:00Z",
        None,
    ]
)


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@given(st.lists(_AWARE, min_size=1, max_size=5), st.lists(_ODD, max_size=2))
def test_times_are_those_of_one_text(zone: str | None, plain: list[str], odd: list[str]) -> None:
    texts = [*plain, *odd]
    expected = []
    for text in texts:
        try:
            expected.append(None if text is None else instants.instant(text, declared=zone))
        except InputError:
            expected.append(None)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        column = pa.chunked_array([pa.array(texts, pa.string())])
        found, reasons = times.column(connection, column, zone, None)
    assert found.cast(pa.int64()).to_pylist() == [
        None if at is None else instants.micros(at) for at in expected
    ]
    refused = {row for row, at in enumerate(expected) if at is None and texts[row] is not None}
    assert set(reasons) == refused


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=5)
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "stream": st.sampled_from(["a-1", "a-2", "ü"]),
            "event_type": _TEXT,
            "schema_version": st.sampled_from([None, 1, 2]),
            "occurred_on": st.sampled_from([datetime(1, 1, 1, tzinfo=UTC), datetime.now(UTC)]),
            "actor": st.sampled_from([None, "ann"]),
            "tags": st.lists(st.text("aü ,\"\\'", min_size=1, max_size=3), max_size=2),
            "data": st.sampled_from(["{}", '{"a":"ü"}']),
            "metadata": st.sampled_from([None, '{"b":1}']),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=40)
@given(_ROWS, st.sets(st.sampled_from(["schema_version", "actor", "tags", "metadata"])))
def test_ids_are_made_of_the_content(rows: list[dict[str, Any]], absent: set[str]) -> None:
    rows = [{name: row[name] for name in row if name not in absent} for row in rows]
    ids = []
    times: dict[str, int] = defaultdict(int)
    for row in rows:
        at = str(instants.micros(row["occurred_on"]))
        fields = [
            row["stream"],
            row["event_type"],
            str(row.get("schema_version") or 1),
            at,
            at,
            row.get("actor") or "",
            "",
            "",
            json.dumps(row.get("tags", []), ensure_ascii=False, separators=(",", ":")),
            row["data"],
            row.get("metadata") or "{}",
        ]
        first = _uuid("\0".join(fields))
        ids.append(_uuid(f"{first}/{times[first]}") if times[first] else first)
        times[first] += 1
    kinds = {
        "schema_version": pa.int32(),
        "occurred_on": INSTANT,
        "tags": pa.list_(pa.string()),
    }
    columns = {
        name: pa.array([row[name] for row in rows], kinds.get(name, pa.string()))
        for name in rows[0]
    }
    part = pa.table(columns | {"recorded_on": columns["occurred_on"], "line": range(len(rows))})
    with (
        TemporaryDirectory() as folder,
        closing(Store(Path(folder), ids=False, ordered=False)) as s,
    ):
        s.add(part.slice(0, 3))
        s.add(part.slice(3))
        found = [row["event_id"] for batch in s.events() for row in batch.to_pylist()]
    order = sorted(range(len(rows)), key=lambda row: rows[row]["occurred_on"])
    assert found == [ids[row] for row in order]


def _uuid(text: str) -> str:
    digits = list(sha256(text.encode()).hexdigest()[:32])
    digits[12], digits[16] = "8", "a"
    return str(uuid.UUID("".join(digits)))


@pytest.mark.parametrize("hold", [96 << 20, 1000])
def test_equal_rows_each_have_an_id_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: int
) -> None:
    monkeypatch.setattr("esnb.source.store._HOLD", hold)
    start = datetime(2026, 3, 1, tzinfo=UTC)
    numbers = [(row * row + 7 * row) % 23 for row in range(700)]
    given = pa.table(
        {
            "case": [f"c-{number % 5}" for number in numbers],
            "what": ["Seen"] * len(numbers),
            "time": pa.array([start - timedelta(seconds=number // 2) for number in numbers]),
            "note": [str(number) for number in numbers],
        }
    )
    with Log.create(tmp_path / "log") as log:
        roles = {"stream": "case", "event_type": "what", "occurred_on": "time"}
        result = import_events(given.to_reader(max_chunksize=99), log, **roles)
        assert result.kept == len(numbers)
        ids = defaultdict(list)
        for event in log.read():
            ids[event.data["note"]].append(event.event_id)
        again = import_events(given, log, **roles)
        assert (again.kept, again.duplicates) == (0, len(numbers))
    assert {note: len(made) for note, made in ids.items()} == {
        str(number): numbers.count(number) for number in numbers
    }
    for first, *others in ids.values():
        for number, other in enumerate(others, 1):
            assert other == _uuid(f"{first}/{number}")


_KEY = st.sampled_from(["concept:name", "time:timestamp", "cost", "case:cost", "a&amp;b"])
_ATTRIBUTE = st.builds('<string key="{}" value="x"/>'.format, _KEY)
_NESTED = st.builds('<list key="{0}"><string key="inner" value="x"/></list>'.format, _KEY)
_ATTRIBUTES = st.lists(st.one_of(_ATTRIBUTE, _ATTRIBUTE, _ATTRIBUTE, _NESTED), max_size=3)
_TRACE = st.builds(
    lambda own, events: "<trace>{}{}</trace>\n".format(
        "".join(own), "".join(f"<event>{''.join(event)}</event>" for event in events)
    ),
    _ATTRIBUTES,
    st.lists(_ATTRIBUTES, max_size=3),
)


@given(st.lists(_TRACE, min_size=1, max_size=6))
def test_the_keys_of_an_xes_file_are_found_in_its_order(traces: list[str]) -> None:
    text = f'<log><string key="of the log" value="x"/>{"".join(traces)}</log>'
    found = dict.fromkeys(("case:concept:name", "concept:name", "time:timestamp", "org:resource"))
    for trace in ElementTree.fromstring(text):  # noqa: S314 (made above)
        for item in trace if trace.tag == "trace" else ():
            if item.tag == "event":
                found.update(dict.fromkeys(child.attrib["key"] for child in item))
            else:
                found["case:" + item.attrib["key"]] = None
    with TemporaryDirectory() as folder:
        path = Path(folder) / "made.xes"
        path.write_text(text)
        assert Xes(Opened(path)).columns == tuple(found)
