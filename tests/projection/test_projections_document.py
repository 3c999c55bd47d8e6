"""The examples of docs/projections.md run as they stand there."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from esnb import DomainEvent, EventLog

DOCUMENT = Path(__file__).parents[2] / "docs" / "projections.md"


def test_the_examples_run(log: EventLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log.append(
        "order-1",
        [
            DomainEvent("OrderPlaced", {"customer": "ann", "total": "10.50"}),
            DomainEvent("PaymentReceived", {"paid": "4"}),
            DomainEvent("PaymentReceived", {"paid": "6.50"}),
        ],
    )
    log.append("order-2", DomainEvent("OrderPlaced", {"customer": "ann", "total": "1"}))
    log.append("order-2", DomainEvent("OrderDeleted"))
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {"__name__": "projections", "log": log}
    for block in blocks:
        ended = block.replace("follow=True", "follow=False")
        exec(compile(ended, "projections.md", "exec", dont_inherit=True), names)  # noqa: S102
    assert names["runner"].rows("orders")["order-1"]["paid"] == Decimal("10.50")
    assert names["runner"].rows("customers") == {"ann": {"orders": 2}}
    revenue = log.project(names["Revenue"], into=names["DuckDBSink"]("revenue.duckdb"))
    revenue.run()
    assert [row["revenue"] for row in revenue.rows().values()] == [Decimal("11.50")]
    names["runner"].close()
    revenue.close()
