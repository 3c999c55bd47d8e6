"""Every tier gives what the plain fold gives, however the log grew, on either clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from esnb.aggregate import Aggregate
from tests.aggregate.zoo import (
    HISTORIES,
    HOURS,
    START,
    ZOO,
    Happened,
    plain_fold,
    rows_of,
    shown,
    state_of,
    write,
    written,
)

asked = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def check(owner: type[Aggregate], log: Any, **options: Any) -> None:
    expected = plain_fold(owner, log)
    found = rows_of(log.timeline(owner, **options).history())
    assert len(found) == len(expected)
    for row in found:
        wanted = expected[row["stream"], row["position"]]
        assert row["ended"] == (wanted is None)
        if wanted is not None:
            assert state_of(owner, row) == wanted, (row["stream"], row["position"])


@pytest.mark.parametrize("owner", ZOO)
@asked
@given(HISTORIES, HISTORIES)
def test_every_state_is_that_of_the_plain_fold(
    owner: type[Aggregate], first: list[Happened], second: list[Happened]
) -> None:
    with written(first) as log:
        check(owner, log)
        write(log, second)
        check(owner, log)
        log.seal()
        write(log, first[:3])
        check(owner, log)


@pytest.mark.parametrize("owner", ZOO)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(HISTORIES, HISTORIES)
def test_python_alone_gives_the_same(
    owner: type[Aggregate], first: list[Happened], second: list[Happened]
) -> None:
    with written(first) as log:
        check(owner, log, python=True)
        write(log, second)
        check(owner, log, python=True)


@pytest.mark.parametrize("owner", ZOO)
@asked
@given(HISTORIES, HOURS, st.one_of(st.none(), st.integers(-1, 14)))
def test_valid_at_folds_by_the_other_clock(
    owner: type[Aggregate], history: list[Happened], hour: int, known: int | None
) -> None:
    when = START + timedelta(hours=hour)
    with written(history) as log:
        events = [e for e in log.read() if known is None or e.position <= known]
        past = sorted(
            (e for e in events if e.occurred_on <= when), key=lambda e: (e.occurred_on, e.position)
        )
        expected = {}
        for stream in {event.stream for event in past}:
            aggregate = owner.fold(event for event in past if event.stream == stream)
            if not aggregate.ended:
                expected[stream] = shown(aggregate)
        found = rows_of(log.timeline(owner).valid_at(when, known))
        assert {row["stream"]: state_of(owner, row) for row in found} == expected


def test_the_tiers_are_what_they_are_here_for() -> None:
    tiers = {owner.__name__: {row.field: row.tier for row in owner.explain()} for owner in ZOO}
    assert set(tiers["Scalars"].values()) == {1}
    assert set(tiers["Sums"].values()) == {1}
    assert set(tiers["Collections"].values()) == {1}
    assert set(tiers["Guarded"].values()) == {2}
    assert tiers["Mixed"] == {
        "status": 1, "customer": 1, "label": 3, "share": 3, "tags": 3, "biggest": 3,
    }  # fmt: skip
