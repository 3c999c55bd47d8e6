"""Rules beside Declare as pm4py checks it: broken in the same cases.

pm4py is free under the AGPL: it is run as a program of its own, and never imported.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import esnb
from esnb import rules

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pm4py") is None, reason="pm4py is not installed"
)

ROOT = Path(__file__).parents[2]
# Theirs of nonchainsuccession misses cases: half of those in which one follows the other.
TEMPLATES = {
    "response": "response",
    "precedence": "precedence",
    "succession": "succession",
    "altresponse": "alternate_response",
    "altprecedence": "alternate_precedence",
    "altsuccession": "alternate_succession",
    "chainresponse": "chain_response",
    "chainprecedence": "chain_precedence",
    "chainsuccession": "chain_succession",
    "responded_existence": "responded_existence",
    "coexistence": "coexistence",
    "noncoexistence": "not_coexistence",
    "nonsuccession": "not_succession",
}
PAIRS = [
    ("OrderConfirmed", "PaymentReceived"),
    ("ItemAdded", "ItemRemoved"),
]
THEIRS = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pandas as pd
import pm4py
frame = pm4py.format_dataframe(
    pd.read_parquet(sys.argv[1]), case_id="name", activity_key="event_type", timestamp_key="time"
)
frame = frame.sort_values(["name", "place"], kind="stable")
names = list(dict.fromkeys(frame["name"]))
found = []
for template, a, b in json.loads(sys.argv[2]):
    model = {template: {(a, b): {"support": 1, "confidence": 1}}}
    checked = pm4py.conformance_declare(frame, model)
    found.append(sorted(n for n, one in zip(names, checked) if one["deviations"]))
json.dump(found, open(sys.argv[3], "w"))
"""


def test_the_shop(tmp_path: Path) -> None:
    place = ROOT / "data" / "shop"
    if not (place / "log.json").exists():
        pytest.skip("the sample log is not there yet; make install")
    asked = [(template, *pair) for template in TEMPLATES for pair in PAIRS]
    with esnb.open(place, read_only=True) as log:
        flow = log.flow("order")
        table = flow.events().project("case_id AS name, place, event_type, time").to_arrow_table()
        pq.write_table(table, tmp_path / "events.parquet")
        subprocess.run(
            [
                sys.executable, "-c", THEIRS, tmp_path / "events.parquet", json.dumps(asked),
                tmp_path / "found.json",
            ],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        found = json.loads((tmp_path / "found.json").read_text())
        checked = flow.check([getattr(rules, TEMPLATES[kind])(a, b) for kind, a, b in asked])
        for rule, theirs in zip(checked.rules, found, strict=True):
            ours = checked.streams(rule).project("case_id").fetchall()
            assert sorted(name for (name,) in ours) == theirs, rule
        assert sum(map(len, found)) > 5_000
        # The one that is not compared, by the graph.
        never = rules.not_chain_succession("ItemAdded", "OrderConfirmed")
        broken = flow.check(never).streams().project("case_id").fetchall()
        edge = flow.streams(edge=("ItemAdded", "OrderConfirmed")).project("case_id").fetchall()
        assert broken == edge
