"""A clock that stands still until it is told to go on."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import esnb
from esnb.errors import InputError, InstantError
from esnb.testing import Clock


def test_it_goes_on_when_it_is_told_to() -> None:
    clock = Clock("2026-03-01T12:00+01:00")
    start = datetime(2026, 3, 1, 11, tzinfo=UTC)
    assert clock() == clock() == clock.now == start
    assert clock.advance(days=1, hours=2) == clock() == start + timedelta(days=1, hours=2)
    clock.advance(timedelta(seconds=1))
    clock.sleep(59)
    assert clock() == start + timedelta(days=1, hours=2, minutes=1)
    assert clock.set("2026-01-01T00:00Z") == clock() == datetime(2026, 1, 1, tzinfo=UTC)
    assert repr(clock) == "Clock('2026-01-01T00:00:00.000000Z')"


def test_it_may_go_on_with_each_look() -> None:
    clock = Clock(datetime(2026, 1, 1, tzinfo=UTC), step=timedelta(minutes=1))
    assert [clock().minute for _ in range(3)] == [0, 1, 2]
    assert clock.now.minute == clock.now.minute == 3


def test_what_it_refuses() -> None:
    with pytest.raises(InstantError, match="no time zone"):
        Clock("2026-01-01")
    clock = Clock()
    with pytest.raises(InputError, match="would go back"):
        clock.advance(seconds=-1)
    with pytest.raises(InputError, match="say weeks, days"):
        clock.advance(fortnights=1)


def test_a_log_lives_by_it(tmp_path: Path) -> None:
    clock = Clock("2025-12-24T18:00Z")
    with esnb.create(tmp_path / "log", zone="UTC", clock=clock) as log:
        for _ in range(3):
            log.append("a-1", esnb.DomainEvent("T", occurred_on=clock()))
            clock.advance(days=1)
        log.seal()
        assert [event.recorded_on.day for event in log.read()] == [24, 25, 26]
        assert log.events(recorded_from="2025-12-25").aggregate("count(*)").fetchone() == (2,)
