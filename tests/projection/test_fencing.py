"""Whoever lost the lease, or goes on from an old checkpoint, changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from esnb.write.projections.changes import Changes, Work
from esnb.write.projections.columns import KINDS as COLUMN_KINDS
from esnb.write.projections.readmodels import MongoDBSink, RedisSink, Sink
from esnb.write.projections.readmodels.sink import Checkpoint, Moved

from .conftest import Place, place_on
from .services import MongoDBServer, RedisServer

TABLES = {"rows": {"n": COLUMN_KINDS[int]}}
NOTHING = Checkpoint("log", -1, None, "shape")


def at(position: int) -> Checkpoint:
    return replace(NOTHING, position=position, event_id=f"e{position}")


def one_more(key: str = "a") -> Changes:
    work = Work()
    work.note("rows", key, "add", {"n": 1})
    work.keep()
    return work.changes()


def gone(key: str) -> Changes:
    work = Work()
    work.note("rows", key, "delete", {})
    work.keep()
    return work.changes()


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def opened(place: Place, **more: Any) -> Sink:
    sink = place.sink(**more)
    sink.bind("counts", TABLES)
    sink.open()
    return sink


def taken_over(place: Place) -> tuple[Sink, Sink]:
    """Return a sink whose lease another has taken, and that other."""
    more = {"lease": 0.5} if "lease" in place.arguments else {}
    first, second = opened(place, **more), opened(place, **more)
    assert first.acquire(1)
    first.create(1, NOTHING)
    first.switch(1)
    if not more:
        assert not second.acquire(1)
        first.release(1)
    until(lambda: second.acquire(1))
    return first, second


def test_who_lost_the_lease_is_refused(place: Place) -> None:
    first, second = taken_over(place)
    second.apply(1, NOTHING, at(4), one_more(), [])
    with pytest.raises(Moved):
        first.apply(1, NOTHING, at(9), one_more(), [])
    with pytest.raises(Moved):
        second.apply(1, NOTHING, at(9), one_more(), [])
    if "lease" in place.arguments:
        # It knows the checkpoint, and is not the one to move it.
        first.open()
        with pytest.raises(Moved):
            first.apply(1, at(4), at(9), one_more(), [])
        with pytest.raises(Moved):
            first.beat(1)
        until(lambda: second.acquire(1))
    assert second.state().versions[1] == at(4)
    assert dict(second.rows("rows")) == {"a": {"n": 1}}
    second.apply(1, at(4), at(9), one_more(), [])
    assert dict(second.rows("rows")) == {"a": {"n": 2}}
    assert second.acquire(2)
    second.create(2, NOTHING)
    second.switch(2)
    second.drop(1)
    with pytest.raises(Moved):
        second.apply(1, at(9), at(10), one_more(), [])
    assert dict(second.rows("rows")) == {}
    first.close()
    second.close()


def test_redis_is_taken_over_in_the_middle_of_a_batch(
    redis_server: RedisServer, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = place_on("redis", redis_server, tmp_path)
    first, second = opened(place, lease=5), opened(place, lease=5)
    assert isinstance(first, RedisSink)
    assert first.acquire(1)
    first.create(1, NOTHING)
    first.switch(1)
    read = first._sums

    def late(version: int, changes: Changes) -> Any:
        sums = read(version, changes)
        first._redis.delete(first._lock(1))  # as when it expires
        assert second.acquire(1)
        second.apply(1, NOTHING, at(4), one_more(), [])
        return sums

    monkeypatch.setattr(first, "_sums", late)
    with pytest.raises(Moved):
        first.apply(1, NOTHING, at(9), one_more(), [])
    assert dict(second.rows("rows")) == {"a": {"n": 1}}
    assert second.state().versions[1] == at(4)
    first.close()
    second.close()


def test_mongodb_is_taken_over_in_the_middle_of_a_batch(
    mongodb_server: MongoDBServer, tmp_path: Any
) -> None:
    """The first runner has begun a batch; the second does it over; then the first wakes."""
    place = place_on("mongodb", mongodb_server, tmp_path)
    first, second = opened(place, lease=0.05), opened(place, lease=0.05)
    assert isinstance(first, MongoDBSink)
    assert isinstance(second, MongoDBSink)
    assert first.acquire(1)
    first.create(1, NOTHING)
    first.switch(1)
    begun = first.claim(1, NOTHING, 9)
    late = first._operations(1, one_more("a"), 9)["rows"]
    late += first._operations(1, one_more("b"), 9)["rows"]
    first._write("rows", 1, late[:1])  # half of it
    until(lambda: second.acquire(1))
    known = second.state().versions[1]
    assert known == begun
    assert known.through == 9
    with pytest.raises(Moved):  # cut in another way
        second.apply(1, known, at(5), one_more("a"), [])
    both = one_more("a")
    both = Changes([*both.groups, *one_more("b").groups])
    second.apply(1, known, at(9), both, [])
    second.apply(1, at(9), at(12), gone("b"), [])
    first._write("rows", 1, late)
    assert dict(second.rows("rows")) == {"a": {"n": 1}}
    with pytest.raises(Moved):
        first.apply(1, begun, at(9), both, [])
    assert second.state().versions[1] == at(12)
    assert dict(second.rows("rows")) == {"a": {"n": 1}}
    first.close()
    second.close()
