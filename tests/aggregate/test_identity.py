"""What a value is taken for while it is traced: `isinstance`, `super()`, `type()`, `repr`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import Aggregate, Event


class Came(Event):
    number: int
    maybe: int | None = None


class Went(Event):
    number: int


class ByClass(Aggregate, category="visit"):
    count: int = 0

    def when(self, e: Came | Went) -> None:
        if isinstance(e, Came) and isinstance(e.number, int):
            self.count += e.number
        else:
            self.count -= e.number


class Base(Aggregate, category="visit"):
    status: str = "new"
    count: int = 0

    def when_came(self, e: Came) -> None:
        self.status = "here"
        self.count += e.number

    def when_went(self, e: Went) -> None:
        self.status = "gone"


class Extended(Base, category="visit"):
    def when_came(self, e: Came) -> None:
        if self.status != "here" and isinstance(self, Base):
            super().when_came(e)


class ByType(Aggregate, category="visit"):
    count: int = 0

    def when(self, e: Came | Went) -> None:
        if type(e) is Came:
            self.count += e.number


class ByNone(Aggregate, category="visit"):
    count: int = 0

    def when_came(self, e: Came) -> None:
        if isinstance(e.maybe, int):
            self.count += e.maybe

    def when_went(self, e: Went) -> None:
        self.count = 0


class Spelled(Aggregate, category="visit"):
    text: str = ""

    def when(self, e: Came | Went) -> None:
        self.text = repr(e.number)


@pytest.mark.parametrize(
    ("owner", "field", "tier", "why"),
    [
        (ByClass, "count", 1, ""),
        (Extended, "count", 2, "reads status"),
        (ByType, "count", 3, "type()"),
        (ByNone, "count", 3, "isinstance() of a value that may be None"),
        (Spelled, "text", 3, "repr() of a value"),
    ],
)
def test_what_a_value_is_is_seen_or_left_to_python(
    owner: type[Aggregate], field: str, tier: int, why: str, tmp_path: Path
) -> None:
    explained = owner.explain()[field]
    assert explained.tier == tier
    assert why in explained.why
    with esnb.create(tmp_path / "log", zone="UTC") as log:
        for number in range(4):
            log.append(
                f"visit-{number}",
                [Came(number=number, maybe=number or None), Came(number=5), Went(number=2)],
            )
        expected: dict[str, Any] = {
            f"visit-{number}": owner.fold(log.read_stream(f"visit-{number}")).state()[field]
            for number in range(4)
        }
        found = log.timeline(owner).as_of("9999-01-01T00:00Z").project(f"stream, {field}")
        assert dict(found.fetchall()) == expected
