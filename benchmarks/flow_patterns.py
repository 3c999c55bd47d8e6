"""Patterns and rules in a flow, beside Python's ``re`` over the same events; for flow.py."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from measure import Bench

import esnb

FOUR = "OrderPlaced ... OrderConfirmed ... PaymentReceived ... OrderShipped"
ROUNDS = 3


def patterns(bench: Bench, place: Path, millions: str) -> None:
    """Measure a pattern of four steps with and without limits, a condition, and rules."""
    promised = millions.startswith("10 ")

    def row(what: str, value: float, unit: str, peer: str, other: float, most: float = 0) -> None:
        kept = value <= most if promised and most else True
        promise = f"≤ {most:g} s" if promised and most else "none"
        bench.row(f"{what}, {millions}", value, unit, peer, other, other / value, promise, kept)

    with esnb.open(place, maintain=False, read_only=True) as log:
        walls = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            found = log.match(FOUR, "order")
            walls.append(time.perf_counter() - start)
        flow = log.flow("order")
        steps = flow.built()
        # One letter for each event: what a person would give to `re`, made before the clock runs.
        letters = np.array([ord("a") + number for number in range(len(steps.types))], np.uint8)
        text = letters[steps.type_ids].tobytes().decode("ascii")
        bounds = steps.firsts.tolist()
        cases = [text[first:end] for first, end in pairwise(bounds)]
        of = {name: chr(letters[number]) for number, name in enumerate(steps.types)}
        expression = re.compile(".*?".join(of[name] for name in FOUR.split(" ... ")))
        matches, by_re = taken(lambda: sum(1 for one in cases for _ in expression.finditer(one)), 1)
        assert matches == found.count
        wall = statistics.median(walls)
        row("pattern of four steps, with the order of events", wall, "s", "re alone", by_re, 5)
        for what, pattern, options in (
            ("pattern of four steps", FOUR, {}),
            ("pattern of four steps in three days", FOUR, {"within": "3d"}),
            ("the longest of many ways in a day", "ItemAdded .* OrderShipped", {"within": "1d"}),
            ("a pattern that hangs re", "((ItemAdded|.)*)* OrderPlaced $", {}),
        ):
            _, mine = taken(lambda p=pattern, o=options: flow.match(p, **o).count)
            row(what, mine, "CPU s", "re, four steps", by_re, 5)
        _, mine = taken(lambda: flow.match("ItemAdded[data.qty > 3] ... OrderShipped").count, 1)
        row("a condition on the payload", mine, "CPU s", "re, four steps", by_re)
        rules = [
            esnb.rules.response("OrderPlaced", "OrderShipped", within="7d"),
            esnb.rules.precedence("PaymentReceived", "OrderShipped"),
            esnb.rules.alternate_succession("ItemAdded", "ItemRemoved"),
            esnb.rules.not_coexistence("OrderCancelled", "OrderShipped"),
        ]
        checked, mine = taken(lambda: flow.check(rules))
        assert not checked.ok
        row("four rules", mine, "CPU s", "re, four steps", by_re, 5)


def taken(work: Callable[[], object], rounds: int = ROUNDS) -> tuple[object, float]:
    """Return what `work` gives and the median of the CPU seconds that it takes."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        found = work()
        times.append(time.process_time() - start)
    return found, statistics.median(times)
