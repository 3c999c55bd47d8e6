"""What the benchmarks share: data, clocks, and the table of results."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

RESULTS = Path(__file__).parent / "results"


def seconds(work: Callable[[], Any]) -> float:
    """Return how long `work` took."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def orders(count: int, start: int = 0, total: int | None = None) -> pa.Table:
    """Return `count` events from number `start` of an order process with `total` events.

    In time order over 24 months; the 11 events of an order lie within 11,000 of the whole.
    """
    total = total or start + count
    return duckdb.sql(
        f"""
        select 'order-' || (i // 11000 * 1000 + (i * 7919) % 1000)::varchar as stream,
               ['OrderPlaced','ItemAdded','ItemRemoved','AddressChanged','OrderConfirmed',
                'PaymentReceived','OrderShipped'][1 + i % 7] as event_type,
               '{{"sku":"SKU' || (i % 500) || '","qty":' || (i % 5) || ',"price":' ||
               (i % 10000 / 100)::decimal(9, 2) || '}}' as data,
               uuidv7()::varchar as event_id,
               uuid()::varchar as correlation_id,
               timestamptz '2024-01-01 00:00:00+00'
                 + to_microseconds(i * {63_072_000_000_000 // total}) as occurred_on
        from range({start}, {start + count}) t(i)
        """
    ).to_arrow_table()


class Bench:
    """Collects the rows of one benchmark and writes them for ``run.py``.

    Without `promises`, its limits only stand beside its figures.
    """

    def __init__(self, name: str, *, promises: bool = True) -> None:
        self.name, self.promises = name, promises
        self.folder = Path(tempfile.mkdtemp(prefix="esnb-bench-"))
        self._rows: list[dict[str, Any]] = []

    def row(
        self,
        what: str,
        value: float,
        unit: str,
        peer: str,
        peer_value: float,
        ratio: float,
        promise: str,
        kept: bool,
    ) -> None:
        """Note one figure beside its peer or limit."""
        if not self.promises:
            promise, kept = "none", True
        self._rows.append(
            {
                "what": what,
                "value": value,
                "unit": unit,
                "peer": peer,
                "peer_value": peer_value,
                "ratio": ratio,
                "promise": promise,
                "kept": kept,
            }
        )
        mark = "kept" if kept else "MISSED"
        print(
            f"{what}: {value:,.4g} {unit}; {peer}: {peer_value:,.4g}; ratio {ratio:,.3g} "
            f"({promise}: {mark})",
            file=sys.stderr,
            flush=True,
        )

    def done(self) -> None:
        """Write the results and take the files away."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        RESULTS.mkdir(exist_ok=True)
        content = {"name": self.name, "peak_mb": peak, "rows": self._rows}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(content, indent=1) + "\n")
        shutil.rmtree(self.folder, ignore_errors=True)
