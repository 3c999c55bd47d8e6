"""Patterns over real events: what `re` finds in the same sequences, case by case."""

from __future__ import annotations

import json
import random
import re
from itertools import pairwise
from pathlib import Path

import pytest

import esnb
from esnb.eventlog import EventLog
from esnb.flow import Flow

ROOT = Path(__file__).parents[2]
SHAPES = [
    "{a} {b}", "{a} ... {b}", "{a} ... {b} ... {c} ... {d}", "{a}{{2,}} !{b}", "^ {a} .* {b} $",
    "({a}|{b})+ {c}?", "!({a}|{b})+ $", "{a} (!{b})* {c}", "({a} ... {b}){{2,3}}", ".{{3}} {a}",
    "({a}? ({b}|{a} {c})*)* {d}",
]  # fmt: skip


def equal(flow: Flow, rounds: int) -> int:
    """Hold patterns of types that are frequent to `re`; return how many matches were compared."""
    steps = flow.built()
    letters = [chr(0x4E00 + number) for number in range(len(steps.types))]
    text = "".join(letters[number] for number in steps.type_ids.tolist())
    cases = [text[first:end] for first, end in pairwise(steps.firsts.tolist())]
    chosen = random.Random(7)
    compared = 0
    for _ in range(rounds):
        for shape in SHAPES:
            some = chosen.sample(range(len(letters)), 4)
            ours = {key: json.dumps(steps.types[n]) for key, n in zip("abcd", some, strict=True)}
            theirs = {key: letters[n] for key, n in zip("abcd", some, strict=True)}
            pattern = shape.format(**ours)
            expression = shape.replace("...", "§").replace(" ", "").replace("§", ".*?")
            expression = re.sub(r"!\(([^)]*)\)", r"[^\1]", expression)
            expression = re.sub(r"!(\{.\})", r"[^\1]", expression).format(**theirs)
            found = (
                flow.match(pattern).matches().project("first_position, last_position").fetchall()
            )
            expected = [
                (steps.positions[first + start], steps.positions[first + end - 1])
                for case, first in zip(cases, steps.firsts.tolist(), strict=False)
                for start, end in (m.span() for m in re.finditer(expression, case) if m[0])
            ]
            assert found == expected, pattern
            compared += len(found)
    return compared


def test_the_shop() -> None:
    place = ROOT / "data" / "shop"
    if not (place / "log.json").exists():
        pytest.skip("the sample log is not there yet; make install")
    with esnb.open(place, read_only=True) as log:
        assert equal(log.flow("order"), 6) > 10_000
        assert equal(log.flow(by="customer:"), 2) > 1_000


@pytest.mark.shared
def test_bpic_2019(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "xes_bpic2019" / "bpic2019_one_trace_per_variant.xes.gz"
    with EventLog.create(tmp_path / "log", maintain=False) as log:
        esnb.import_events(path, log)
        flow = log.flow()
        assert equal(flow, 3) > 10_000
        rules = [
            esnb.rules.precedence("Record Goods Receipt", "Clear Invoice"),
            esnb.rules.response("Record Invoice Receipt", "Clear Invoice", within="60d"),
        ]
        checked = flow.check(rules)
        for rule in rules:
            broken = {case for (case,) in checked.broken(rule).project("case_id").fetchall()}
            assert len(broken) == checked.streams(rule).aggregate("count(*)").fetchall()[0][0]
            assert broken
