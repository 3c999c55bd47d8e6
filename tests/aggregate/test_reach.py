"""What a handler that Python runs may change, however it does so; and what it must not keep."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import esnb
from esnb import Aggregate, DomainEvent, Event
from esnb.errors import AggregateError
from tests.aggregate.zoo import plain_fold, rows_of, state_of


class Came(Event):
    n: int


def handing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*args: Any, **named: Any) -> Any:
        return function(*args, **named)

    return wrapped


class Visit(Aggregate, category="visit"):
    n: int = 0
    text: str = ""
    ratio: float = 0.0
    names: list[str]

    @property
    def number(self):
        return self.n

    @number.setter
    def number(self, value):
        self.n = value

    def add(self, value, more):
        self.n += value + more

    add_three = functools.partialmethod(add, more=3)

    @handing_on
    def put(self, value):
        self.n = value


class BySetter(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.number = e.n
        self.text = str(e.n)


class ByPartial(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.add_three(e.n)
        self.text = str(e.n)


class ByDecorated(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.put(e.n)
        self.text = str(e.n)


class Decorated(Visit, category="visit"):
    @handing_on
    def when(self, e: Came) -> None:
        self.n = e.n
        self.text = str(e.n)


class ByDict(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.__dict__["n"] = e.n
        self.text = str(e.n)


class ByDictAlone(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.__dict__["n"] = e.n


class BySetattr(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.__setattr__("n", e.n)


class ByDump(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.n = e.model_dump()["n"]


class Infinite(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.ratio = float("inf") if e.n else float("nan")
        self.n = e.n


@pytest.mark.parametrize(
    "owner",
    [
        BySetter,
        ByPartial,
        ByDecorated,
        Decorated,
        ByDict,
        ByDictAlone,
        BySetattr,
        ByDump,
    ],
)
@pytest.mark.parametrize("python", [False, True])
def test_what_a_handler_changes_is_seen(
    owner: type[Aggregate], python: bool, tmp_path: Path
) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        for cut in (0, 3):
            for n in range(cut, cut + 3):
                log.append(f"visit-{n % 2}", Came(n=n))
            found = rows_of(log.timeline(owner, python=python).history())
            states = {(row["stream"], row["position"]): state_of(owner, row) for row in found}
            assert states == plain_fold(owner, log)


def test_what_is_no_number_is_the_same_on_both_sides(tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append("visit-1", [Came(n=0), Came(n=1)])
        rows = log.timeline(Infinite).history().project("ratio, n").fetchall()
        assert [(str(ratio), n) for ratio, n in rows] == [("nan", 0), ("inf", 1)]
        assert log.timeline(Infinite).check().events == 2


class ByName(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self._seen = getattr(self, "_seen", 0) + e.n
        self.n = self._seen


class ByClass(Visit, category="visit"):
    _seen = 0

    def when(self, e: Came) -> None:
        self._note(e.n)
        self.text = str(self._seen)

    def _note(self, n: int) -> None:
        self._seen += n


@pytest.mark.parametrize("owner", [ByName, ByClass])
def test_what_no_field_holds_is_refused(owner: type[Aggregate], tmp_path: Path) -> None:
    """Going on after new events would begin without it, and give another state than Python."""
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append("visit-1", Came(n=2))
        with pytest.raises(AggregateError, match=r"self\._seen, which is no field.*Declare it"):
            log.timeline(owner).as_of(9)


def test_a_handler_that_does_nothing_when_it_is_called_is_refused() -> None:
    with pytest.raises(AggregateError, match=r"Waits\.when is async or yields"):

        class Waits(Aggregate):
            async def when(self, e: Came) -> None: ...

    with pytest.raises(AggregateError, match=r"Yields\.when is async or yields"):

        class Yields(Aggregate):
            def when(self, e: Came) -> Any:
                yield


class Removing(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.names.append("a")
        self.names.remove("a" if e.n else "b")


def test_a_step_that_python_refuses_is_told_with_its_event(tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append("visit-1", [Came(n=1), Came(n=0)])
        with pytest.raises(AggregateError, match=r"ValueError.*position 1 of 'visit-1'"):
            log.timeline(Removing).as_of(9)


class Telling(Visit, category="visit"):
    def when(self, e: Came) -> None:
        self.n += len(e.tags)
        self.text = f"{e.metadata.get('by', {})} {self.n}"


@pytest.mark.parametrize("python", [False, True])
def test_what_an_event_knows_beside_its_payload(python: bool, tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        for _ in range(2):
            told = {"tags": ["a:1", "b:2"], "metadata": {"by": {"x": [1]}}}
            log.append("visit-1", [DomainEvent("Came", {"n": 1}, **told), Came(n=1)])
            found = rows_of(log.timeline(Telling, python=python).history())
            states = {(row["stream"], row["position"]): state_of(Telling, row) for row in found}
            assert states == plain_fold(Telling, log)


class Wrong(Visit, category="visit"):
    at: datetime | None = None

    def when(self, e: Came) -> None:
        if e.n == 1:
            self.text = e.n
        if e.n == 2:
            self.at = "2026-01-01"


@pytest.mark.parametrize(
    ("n", "told"), [(1, "text is declared text"), (2, "at is declared instant")]
)
def test_a_value_of_another_type_is_told_with_its_event(n: int, told: str, tmp_path: Path) -> None:
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append("visit-1", [Came(n=0), Came(n=n)])
        with pytest.raises(AggregateError, match=rf"Wrong\.{told}.*position 1 of 'visit-1'"):
            log.timeline(Wrong).as_of(9)
