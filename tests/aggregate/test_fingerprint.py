"""Whatever decides the states of a class is in its fingerprint, and is looked at again."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import esnb
from esnb import Aggregate, Repository

WRITTEN = {
    "default": "0",
    "constant": "3",
    "handler": "self.total += e.n",
    "field": "int",
    "rule": "value",
    "bound": "Field(default=1)",
    "inner": "1",
    "upcaster": "d.number",
    "factory": "list",
    "annotation": "value",
    "word": "'a'",
    "helper": "value",
    "imported": "value",
    "setter": "value",
    "table": "value",
}
SOURCE = """
import functools
from enum import Enum
from typing import Annotated
from pydantic import BaseModel, BeforeValidator, Field, field_validator
import rules_of_ours
from esnb import Aggregate, Event

def helper(value):
    return {helper}

def listed(value):
    return {table}

TABLE = {{"a": listed}}

class Word(Enum):
    ONE = {word}

class Inner(BaseModel):
    n: int = {inner}

class Set(Event):
    version = 2
    n: {field}
    m: int = {bound}
    inner: Inner = Inner()
    word: Word = Word.ONE
    many: list[int] = Field(default_factory={factory})
    other: Annotated[int, BeforeValidator(lambda value: {annotation})] = 1

    @field_validator("n")
    def ruled(cls, value):
        return {rule}

    def from1(d):
        return {{"n": {upcaster}}}

class Thing(Aggregate, category="thing"):
    LIMIT = {constant}
    total: int = {default}

    @property
    def half(self):
        return self.total

    @half.setter
    def half(self, value):
        self.total = {setter}

    def when_set(self, e: Set):
        if e.n < self.LIMIT:
            {handler}
            self.total += helper(e.n) + rules_of_ours.twice(e.n) + TABLE["a"](1)
"""


def run(cell: str, names: dict[str, Any]) -> None:
    exec(cell, names)  # noqa: S102 (as a notebook does it)


def made(**changed: str) -> type[Aggregate]:
    told = WRITTEN | changed
    ours = ModuleType("rules_of_ours")
    run(f"def twice(value):\n    return {told.pop('imported')}", vars(ours))
    before = sys.modules.get("rules_of_ours")
    sys.modules["rules_of_ours"] = ours
    try:
        names: dict[str, Any] = {"__name__": "__main__"}
        run(SOURCE.format(**told), names)
    finally:
        if before is None:
            del sys.modules["rules_of_ours"]
    thing: type[Aggregate] = names["Thing"]
    return thing


def test_the_same_class_has_the_same_fingerprint_wherever_it_runs() -> None:
    assert made().description.fingerprint == made().description.fingerprint
    told = {
        subprocess.run(
            [
                sys.executable,
                "-c",
                "from tests.aggregate.zoo import ZOO\n"
                "print([one.description.fingerprint for one in ZOO])",
            ],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 1


@pytest.mark.parametrize(
    ("place", "other"),
    [
        ("default", "1"),
        ("constant", "4"),
        ("handler", "self.total -= e.n"),
        ("field", "int | None"),
        ("rule", "value + 1"),
        ("bound", "Field(default=1, ge=0)"),
        ("inner", "2"),
        ("upcaster", "d.count"),
        ("factory", "lambda: [1]"),
        ("annotation", "value + 1"),
        ("word", "'b'"),
        ("helper", "value * 2"),
        ("imported", "value * 2"),
        ("setter", "value * 2"),
        ("table", "value * 2"),
    ],
)
def test_another_class_has_another_fingerprint(place: str, other: str) -> None:
    assert made(**{place: other}).description.fingerprint != made().description.fingerprint


CELLS = """
from esnb import Aggregate, Event

LIMIT = 3

def worth(n):
    return n

class Came(Event):
    n: int

class Visit(Aggregate):
    count: int = 0

    def when(self, e: Came):
        if e.n > LIMIT:
            self.count += worth(e.n)
"""


def test_a_cell_that_is_run_again_changes_the_classes_that_use_it(tmp_path: Path) -> None:
    """A constant or a function of the notebook, not the class: states and snapshots follow."""
    cells: dict[str, Any] = {"__name__": "__main__"}
    run(textwrap.dedent(CELLS), cells)
    visit, came = cells["Visit"], cells["Came"]

    def count(log: esnb.EventLog) -> int:
        (found,) = log.timeline(visit).as_of(99).project("count").fetchone() or ()
        assert Repository(log, visit, snapshot_every=1).get("1").count == found
        return int(found)

    with esnb.create(tmp_path / "log", zone="UTC") as log:
        log.append("visit-1", [came(n=n) for n in (2, 4, 5)])
        assert count(log) == 9
        assert visit.explain()["count"].tier == 1
        run("LIMIT = 1", cells)
        assert count(log) == 11
        run("def worth(n):\n    return 10 * n", cells)
        assert count(log) == 110
        run("def worth(n):\n    return int(str(n))", cells)
        assert visit.explain()["count"].tier == 3
        assert count(log) == 11
