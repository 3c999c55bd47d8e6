"""Times and ids of whole columns at once equal the plain way, row by row."""

from __future__ import annotations

import uuid
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb import instants
from esnb.errors import InputError
from esnb.log import Log
from esnb.source import import_events, times

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
            digits = list(sha256(f"{first}/{number}".encode()).hexdigest()[:32])
            digits[12], digits[16] = "8", "a"
            assert other == str(uuid.UUID("".join(digits)))
