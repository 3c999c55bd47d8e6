"""Events do not change, and instants are read in one place."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esnb import instants
from esnb.errors import EventError, InstantError
from esnb.event import DomainEvent, RecordedEvent, new_event_id


def test_an_event_is_frozen_to_the_last_leaf() -> None:
    event = DomainEvent("OrderPlaced", {"items": [{"sku": "A", "tags": ["x"]}]}, tags=["a"])
    with pytest.raises(AttributeError):
        event.actor = "eve"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del event.data
    with pytest.raises(TypeError):
        event.data["items"][0]["sku"] = "B"
    with pytest.raises(AttributeError):
        event.data["items"].append(1)
    with pytest.raises(AttributeError):
        event.data._items = {}  # type: ignore[misc]


def test_hash_pickle_and_replace() -> None:
    event = DomainEvent("OrderPlaced", {"items": [{"sku": "A"}], "n": 1.5}, metadata={"a": 1})
    again = pickle.loads(pickle.dumps(event))  # noqa: S301
    assert again == event
    assert hash(again) == hash(event)
    assert again.data == {"items": ({"sku": "A"},), "n": 1.5}
    assert event.replace() == event
    assert event.replace(actor="ann") != event
    recorded = RecordedEvent(
        position=1,
        stream="a-b-1",
        revision=2,
        recorded_on=event.occurred_on,
        **{name: getattr(event, name) for name in DomainEvent._fields},
    )
    assert pickle.loads(pickle.dumps(recorded)) == recorded  # noqa: S301
    assert len({recorded, pickle.loads(pickle.dumps(recorded))}) == 1  # noqa: S301
    assert recorded.category == "a"
    assert recorded.data is recorded.data


def test_ids_sort_by_time() -> None:
    ids = [new_event_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert [i[:8] for i in ids] == sorted(i[:8] for i in ids)
    assert all(i[14] == "7" and i[19] in "89ab" for i in ids)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"event_type": ""}, "event_type: is empty"),
        ({"event_type": 7}, "event_type: must be text"),
        ({"event_type": "A", "event_id": ""}, "event_id: is empty"),
        ({"event_type": "A", "schema_version": 0}, "schema_version"),
        ({"event_type": "A", "schema_version": True}, "schema_version"),
        ({"event_type": "A", "tags": "vip"}, r"say \['vip'\]"),
        ({"event_type": "A", "tags": [""]}, "tag: is empty"),
        ({"event_type": "A", "actor": "a\x00"}, "actor: holds a NUL"),
        ({"event_type": "A", "data": "[1]"}, "data: must be a JSON object"),
        ({"event_type": "A", "data": [1]}, "data: must be a mapping"),
        ({"event_type": "A", "metadata": '{"a":NaN}'}, "metadata: NaN"),
        ({"event_type": "A", "occurred_on": "2026-03-01"}, "no time zone"),
    ],
)
def test_what_an_event_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises((EventError, InstantError), match=message):
        DomainEvent(**fields)


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
        "2026-03-01T12:00:00Z",
        "2026-03-01 13:00+01:00",
        "2026-03-01T13:00:00.000000000+0100",
        "2026-03-01T07:00:00,0-05",
        pd.Timestamp("2026-03-01T12:00:00Z"),
    ],
)
def test_one_instant(value: object) -> None:
    assert instants.instant(value) == NOON
    assert instants.instant(value).tzinfo is UTC


def test_declared_zone() -> None:
    for value in ("2026-03-01 13:00", datetime(2026, 3, 1, 13), np.datetime64("2026-03-01T13:00")):
        with pytest.raises(InstantError, match="no time zone"):
            instants.instant(value)
        assert instants.instant(value, declared="Europe/Berlin") == NOON
    assert instants.instant(date(2026, 3, 1), declared="Europe/Berlin").hour == 23
    with pytest.raises(InstantError, match="skipped"):
        instants.instant("2026-03-29 02:30", declared="Europe/Berlin")
    with pytest.raises(InstantError, match="no time zone has this name"):
        instants.zone("Mars/Olympus")


@pytest.mark.parametrize(
    "value",
    [
        "soon",
        "2026-02-30Z",
        "2026-03-01T24:00Z",
        "2026-03-01T12:00+25:00",
        "2026-03-01T12:00:60Z",
        "0000-01-01T00:00Z",
        "10000-01-01T00:00Z",
        "infinity",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-01:00",
        "2026-03-01T12:00:00.0000001Z",
        "٢٠٢٦-03-01T12:00Z",
        pd.NaT,
        np.datetime64("NaT"),
        pd.Timestamp("2026-03-01T12:00:00.000000001Z"),
        7,
        None,
    ],
)
def test_what_is_no_instant(value: object) -> None:
    with pytest.raises(InstantError):
        instants.instant(value, declared="UTC")


@given(st.datetimes(timezones=st.just(UTC)))
def test_iso_and_micros_round_trip(value: datetime) -> None:
    assert instants.instant(instants.iso(value)) == value
    assert len(instants.iso(value)) == 27
    assert instants.from_micros(instants.micros(value)) == value
