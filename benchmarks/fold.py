"""Folds: from the events, from the interval table, beside replay, pandas and a mere scan.

The figures stand at 1, 3 and 10 M events; by hand, with ``--30``, at 30 M, of which nothing is
promised.  CPU seconds are medians of alternating runs, each beside its peer or limit.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import shop_events as shop
from measure import Bench

import esnb
from esnb.aggregate.bytecode import instructions
from esnb.aggregate.compile import said_of
from esnb.timeline.pipeline import every_sql, newest_sql, sided, system_rows

START = datetime(2024, 1, 1, tzinfo=UTC)
COLUMNS = (
    "d_customer", "d_currency", "d_qty", "d_price", "d_city", "d_zip", "d_tag", "d_amount",
    "d_carrier", "d_reason",
)  # fmt: skip
# The newest states as a person would write it for the typed columns.
BY_HAND = """
SELECT stream, max(revision) AS revision, max(position) AS position,
    arg_max(CASE handled WHEN 'OrderPlaced' THEN 'pending' WHEN 'OrderConfirmed' THEN 'confirmed'
        WHEN 'OrderShipped' THEN 'shipped' WHEN 'OrderDelivered' THEN 'delivered'
        WHEN 'OrderCancelled' THEN 'cancelled' END, position) AS status,
    arg_max(d_customer, position) FILTER (handled = 'OrderPlaced') AS customer,
    arg_max(d_currency, position) FILTER (handled = 'OrderPlaced') AS currency,
    arg_max(occurred_on, position) FILTER (handled = 'OrderPlaced') AS placed_on,
    coalesce(sum(CASE handled WHEN 'ItemAdded' THEN d_qty * d_price
        WHEN 'ItemRemoved' THEN -d_qty * d_price END), 0)::DECIMAL(28, 6) AS total,
    coalesce(sum(CASE handled WHEN 'ItemAdded' THEN d_qty
        WHEN 'ItemRemoved' THEN -d_qty END), 0)::BIGINT AS items,
    coalesce(sum(d_amount) FILTER (handled = 'PaymentReceived'), 0)::DECIMAL(28, 6) AS paid,
    arg_max(d_city, position) FILTER (handled = 'AddressChanged') AS city,
    arg_max_null(d_zip, position) FILTER (handled = 'AddressChanged') AS zip,
    arg_max(d_carrier, position) FILTER (handled = 'OrderShipped') AS carrier,
    arg_max(d_tag, position) FILTER (handled = 'TagAdded') AS tag,
    arg_max(d_reason, position) FILTER (handled = 'OrderCancelled') AS reason
FROM typed GROUP BY stream
"""
BUILD = """
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
import shop_events
import esnb
with esnb.open(sys.argv[2], maintain=False, memory_limit=sys.argv[4] or None) as log:
    wall, cpu = time.perf_counter(), time.process_time()
    line = log.timeline(getattr(shop_events, sys.argv[3]))
    count = line.as_of(0).aggregate("count(*)").fetchone()[0]
    used = time.process_time() - cpu, time.perf_counter() - wall
# The highest of this program alone: rusage has that of the one that started it, too.
try:
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
except OSError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([*used, peak / 1024]))
"""


def cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of this process that `work` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def paired(rounds: int, *works: Callable[[], object]) -> list[float]:
    """Return the median CPU seconds of each, run in turns, so that all see the same machine."""
    taken: list[list[float]] = [[] for _ in works]
    for _ in range(rounds):
        for times, work in zip(taken, works, strict=True):
            times.append(cpu(work))
    return [statistics.median(times) for times in taken]


def p95(work: Callable[[Any], object], given: list[Any]) -> float:
    """Return the 95th percentile of the milliseconds that `work` takes."""
    work(given[0])
    taken = []
    for one in given:
        start = time.perf_counter()
        work(one)
        taken.append((time.perf_counter() - start) * 1e3)
    return statistics.quantiles(taken, n=20)[-1]


def at_most(bench: Bench, what: str, value: float, unit: str, limit: float) -> None:
    """Note a figure beside the limit that was promised."""
    bench.row(what, value, unit, "limit", limit, value / limit, "≤ 1", value <= limit)


def beside(bench: Bench, what: str, value: float, peer: str, theirs: float, most: float) -> None:
    """Note CPU seconds beside those of something else, and how many times as many they may be."""
    ratio = value / theirs
    bench.row(what, value, "CPU s", peer, theirs, ratio, f"≤ {most:g}", ratio <= most)


def imported(bench: Bench, name: str, write: Callable[[Path], None]) -> Path:
    """Return the folder of a log of generated events."""
    parquet = bench.folder / f"{name}.parquet"
    write(parquet)
    place = bench.folder / name
    with esnb.create(place, zone="UTC", maintain=False) as log:
        log.append_frame(pq.ParquetFile(parquet).iter_batches(100_000))
    parquet.unlink()
    return place


def say(what: str) -> None:
    print(f"-- {time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


# --- from the events -------------------------------------------------------------------------


def from_events(bench: Bench, log: Any, millions: str) -> tuple[float, float]:
    """Measure the newest states from the events, typed and from JSON.

    Returns the CPU seconds and the seconds of an event, typed.
    """
    line = log.timeline(shop.Order)
    read = line._read()
    fold, cursor = read.fold, read.cursor
    own = "stream, revision, position, event_id, event_type, actor, occurred_on, recorded_on"
    folder = log._session.temporary / "typed.parquet"
    reader = cursor.execute(
        f"SELECT {own}, ended, handled, {', '.join(COLUMNS)} FROM ({line._definition.rows()})"
    ).to_arrow_reader(100_000)
    with pq.ParquetWriter(folder, reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
    cursor.execute(f"CREATE TEMP VIEW typed AS FROM read_parquet('{folder}')")
    typed = newest_sql(replace(fold, rows="FROM typed"), "(SELECT *, position AS turn FROM typed)")
    from_json = newest_sql(fold, f"({system_rows(fold)})")

    def totals(sql: str) -> Callable[[], object]:
        # The states are made, and looked at; a million of them are not made Python objects.
        looked = "count(*), count(customer), count(currency), max(placed_on), sum(total), "
        looked += "sum(items), sum(paid), count(city), count(zip), count(carrier), count(tag), "
        looked += "count(reason), max(status)"
        return lambda: cursor.execute(f"SELECT {looked} FROM ({sql})").fetchall()

    lengths = ", ".join(
        f"sum(strlen({name}))"
        for name in ("stream", "handled", *COLUMNS)
        if name not in ("d_qty", "d_price", "d_amount")
    )
    scan = (
        f"SELECT {lengths}, sum(d_qty), sum(d_price), sum(d_amount), max(occurred_on), "
        "max(position), max(revision) FROM typed"
    )
    limit = (
        "SELECT sum(strlen(stream)), sum(strlen(event_type)), sum(strlen(data)), max(occurred_on), "
        "max(position), max(revision), max(schema_version) FROM events"
    )
    assert totals(typed)() == totals(from_json)() == totals(BY_HAND)()
    rounds = 5 if log.next_position < 5_000_000 else 3
    compiled, hand, scanned = paired(
        rounds, totals(typed), totals(BY_HAND), lambda: cursor.execute(scan).fetchall()
    )
    of_json, read_all = paired(rounds, totals(from_json), lambda: cursor.execute(limit).fetchall())
    beside(bench, f"newest states, typed, {millions}", compiled, "scan", scanned, 4)
    beside(bench, f"newest states, compiled SQL, {millions}", compiled, "by hand", hand, 1.1)
    beside(bench, f"newest states, JSON, {millions}", of_json, "scan of typed", scanned, 7)
    bench.row(
        f"newest states, JSON, {millions}",
        of_json,
        "CPU s",
        "scan of JSON",
        read_all,
        of_json / read_all,
        "none",
        True,
    )
    walls = []
    for _ in range(rounds):
        start = time.perf_counter()
        totals(typed)()
        walls.append(time.perf_counter() - start)
    cursor.execute("DROP VIEW typed")
    return compiled / log.next_position, statistics.median(walls) / log.next_position


@cache
def replayed_class() -> Any:
    """Return the same order as an aggregate of the peer; it may be defined once."""
    from eventsourcing.domain import Aggregate, event

    class ReplayedOrder(Aggregate):
        @event("Placed")
        def __init__(self, customer: str, currency: str, placed_on: str) -> None:
            self.status, self.customer, self.currency = "pending", customer, currency
            self.placed_on = placed_on
            self.total = self.paid = Decimal(0)
            self.items = 0
            self.city = self.zip = self.carrier = self.tag = self.reason = None

        @event("Added")
        def add(self, qty: int, price: str) -> None:
            self.total += qty * Decimal(price)
            self.items += qty

        @event("Removed")
        def remove(self, qty: int, price: str) -> None:
            self.total -= qty * Decimal(price)
            self.items -= qty

        @event("Moved")
        def move(self, city: str, zip: str | None) -> None:
            self.city, self.zip = city, zip

        @event("Tagged")
        def tagged(self, tag: str) -> None:
            self.tag = tag

        @event("Untagged")
        def untagged(self, tag: str) -> None:
            pass

        @event("Confirmed")
        def confirm(self) -> None:
            self.status = "confirmed"

        @event("Paid")
        def pay(self, amount: str) -> None:
            self.paid += Decimal(amount)

        @event("Shipped")
        def ship(self, carrier: str) -> None:
            self.status, self.carrier = "shipped", carrier

        @event("Delivered")
        def deliver(self) -> None:
            self.status = "delivered"

        @event("Cancelled")
        def cancel(self, reason: str) -> None:
            self.status, self.reason = "cancelled", reason

    return ReplayedOrder


STEPS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "ItemAdded": lambda o, d: o.add(d["qty"], d["price"]),
    "ItemRemoved": lambda o, d: o.remove(d["qty"], d["price"]),
    "AddressChanged": lambda o, d: o.move(d["city"], d["zip"]),
    "TagAdded": lambda o, d: o.tagged(d["tag"]),
    "TagRemoved": lambda o, d: o.untagged(d["tag"]),
    "OrderConfirmed": lambda o, d: o.confirm(),
    "PaymentReceived": lambda o, d: o.pay(d.get("amount") or str(Decimal(d["amount_cents"]) / 100)),
    "OrderShipped": lambda o, d: o.ship(d["carrier"]),
    "OrderDelivered": lambda o, d: o.deliver(),
    "OrderCancelled": lambda o, d: o.cancel(d["reason"]),
}


def peers(bench: Bench, log: Any, each: float, wall: float) -> None:
    """Compare with a replay of the same streams, and with a reducer for groups of a frame."""
    streams = 3_000
    events = log.sql(
        "SELECT stream, event_type, data, occurred_on FROM events SEMI JOIN (SELECT DISTINCT "
        f"stream FROM events WHERE position < 60_000 ORDER BY stream LIMIT {streams}) "
        "USING (stream) ORDER BY stream, revision"
    ).df()
    os.environ |= {
        "PERSISTENCE_MODULE": "eventsourcing.sqlite",
        "SQLITE_DBNAME": str(bench.folder / "replayed.sqlite"),
    }
    from eventsourcing.application import Application

    ReplayedOrder = replayed_class()  # noqa: N806
    app: Any = Application()
    ids = []
    for _, rows in events.groupby("stream", sort=True):
        first, *others = zip(rows["event_type"], map(json.loads, rows["data"]), strict=True)
        data = first[1]
        order = ReplayedOrder(
            data.get("customer") or data["client"],
            data["currency"],
            str(rows["occurred_on"].iloc[0]),
        )
        for kind, said in others:
            STEPS[kind](order, said)
        app.save(order)
        ids.append(order.id)
    walls = []

    def replayed() -> None:
        start = time.perf_counter()
        for one in ids:
            app.repository.get(one)
        walls.append(time.perf_counter() - start)

    (replay,) = paired(3, replayed)
    slow = statistics.median(walls) / len(events)
    bench.row(
        "newest states, typed, against replay",
        1 / wall,
        "events/s",
        "eventsourcing repository.get",
        1 / slow,
        slow / wall,
        "≥ 100",
        slow / wall >= 100,
    )
    bench.row(
        "newest states, typed, against replay",
        1 / each,
        "events/CPU s",
        "eventsourcing repository.get",
        len(events) / replay,
        replay / len(events) / each,
        "none",
        True,
    )
    typed = log.sql(
        "SELECT stream, event_type, data->>'customer' AS customer, data->>'currency' AS currency, "
        "occurred_on, (data->>'qty')::BIGINT AS qty, (data->>'price')::DOUBLE AS price, "
        "data->>'city' AS city, data->>'zip' AS zip, data->>'tag' AS tag, "
        "coalesce((data->>'amount')::DOUBLE, (data->>'amount_cents')::DOUBLE / 100) AS amount, "
        "data->>'carrier' AS carrier, data->>'reason' AS reason FROM events SEMI JOIN (SELECT "
        f"DISTINCT stream FROM events WHERE position < 60_000 ORDER BY stream LIMIT {streams}) "
        "USING (stream) ORDER BY stream, revision"
    ).df()
    (grouped,) = paired(3, lambda: typed.groupby("stream").apply(reduced))
    bench.row(
        "newest states, typed, against a reducer for groups",
        1 / each,
        "events/CPU s",
        "pandas groupby.apply",
        len(typed) / grouped,
        grouped / len(typed) / each,
        "≥ 100",
        grouped / len(typed) / each >= 100,
    )


def reduced(rows: Any) -> dict[str, Any]:
    """Fold the rows of one order, a frame, row by row."""
    state: dict[str, Any] = {"total": 0.0, "items": 0, "paid": 0.0}
    for row in rows.itertuples(index=False):
        kind = row.event_type
        if kind == "OrderPlaced":
            state |= {"status": "pending", "customer": row.customer, "currency": row.currency}
            state["placed_on"] = row.occurred_on
        elif kind in ("ItemAdded", "ItemRemoved"):
            sign = 1 if kind == "ItemAdded" else -1
            state["total"] += sign * row.qty * row.price
            state["items"] += sign * row.qty
        elif kind == "AddressChanged":
            state |= {"city": row.city, "zip": row.zip}
        elif kind == "TagAdded":
            state["tag"] = row.tag
        elif kind == "PaymentReceived":
            state["paid"] += row.amount
        elif kind == "OrderConfirmed":
            state["status"] = "confirmed"
        elif kind == "OrderShipped":
            state |= {"status": "shipped", "carrier": row.carrier}
        elif kind == "OrderDelivered":
            state["status"] = "delivered"
        elif kind == "OrderCancelled":
            state |= {"status": "cancelled", "reason": row.reason}
    return state


# --- the interval table ----------------------------------------------------------------------


def built(
    bench: Bench, place: Path, kind: str, events: int, what: str, memory_limit: str = ""
) -> None:
    """Build the timeline in a process of its own, and note what it took."""
    here = str(Path(__file__).parent)
    arguments = [sys.executable, "-c", BUILD, here, str(place), kind, memory_limit]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    used, wall, peak = json.loads(done.stdout)
    at_most(bench, f"build {what}", used / events * 1e6, "CPU s a million", 5)
    bench.row(
        f"events folded a second, {what}", events / wall, "events/s", "none", 0, 0, "none", True
    )
    at_most(bench, f"memory of that build, {what}", peak, "MB", 2048)


def scrubbed(bench: Bench, log: Any, millions: str) -> None:
    """Ask for states at random instants, and what happened between them."""
    line = log.timeline(shop.Order)
    chance = random.Random(7)
    instants = [START + timedelta(seconds=chance.uniform(0, 498 * 86_400)) for _ in range(40)]

    def summary(at: datetime) -> object:
        return line.as_of(at).aggregate("status, count(*), sum(total)", "status").fetchall()

    def filtered(at: datetime) -> object:
        return line.as_of(at).filter("status = 'shipped' AND total > 900").fetchall()

    def top(at: datetime) -> object:
        return line.as_of(at).order("total DESC, stream").limit(50).fetchall()

    hours = [at.replace(minute=0, second=0, microsecond=0) for at in instants]
    line.population("status", hours[0]).fetchall()
    streams = [
        row[0]
        for row in log.sql(
            "SELECT DISTINCT stream FROM events USING SAMPLE reservoir(40 ROWS) REPEATABLE (7)"
        ).fetchall()
    ]
    window = timedelta(days=shop.DAYS / 50)
    # Every column is counted, so all of them are read.
    changes = "change, field, count(*), max(position), " + ", ".join(
        f"count({name})"
        for name in ("before", "after", "stream", "event_id", "event_type", "actor", "occurred_on")
    )
    for what, work, given, limit in (
        ("as-of summary by status", summary, instants, 60),
        ("as-of, filtered rows", filtered, instants, 60),
        ("as-of, top 50", top, instants, 60),
        ("population by status", lambda at: line.population("status", at).fetchall(), hours, 5),
        (
            "diff of 2 %, by field",
            lambda at: line.diff_counts(at, at + window).fetchall(),
            instants,
            100,
        ),
        (
            "diff of 2 %, every aggregate that changed",
            lambda at: line.compare(at, at + window).streams().fetchall(),
            instants,
            100,
        ),
        (
            "diff of 2 %, one field before and after",
            lambda at: line.compare(at, at + window).streams("total").fetchall(),
            instants,
            100,
        ),
        ("history of one", lambda one: line.history(one).fetchall(), streams, 60),
    ):
        at_most(bench, f"{what}, p95, {millions}", p95(work, given), "ms", limit)
    # Every change with its event: some 200,000 rows of ten million events.
    at_most(
        bench,
        f"diff of 2 %, every change with its event, p95, {millions}",
        p95(lambda at: line.diff(at, at + window).aggregate(changes).fetchall(), instants),
        "ms",
        100,
    )


def appended(bench: Bench, log: Any, millions: str) -> None:
    """Append 10,000 events, ask once more, and compare with states that are built anew."""
    line = log.timeline(shop.Order)
    line.as_of(0).fetchall()
    frame = log.sql(
        'SELECT stream, \'AddressChanged\' AS event_type, \'{"city":"Graz","zip":"8010"}\' '
        "AS data FROM (SELECT DISTINCT stream FROM events WHERE position % 977 = 0) "
        "ORDER BY hash(stream) LIMIT 10_000"
    ).to_arrow_table()
    if frame.num_rows < 10_000:
        frame = pa.concat_tables([frame] * (10_000 // frame.num_rows + 1)).slice(0, 10_000)
    taken = []
    for _ in range(3):
        log.append_frame(frame)
        start = time.perf_counter()
        line.as_of(log.next_position - 1).aggregate("count(*)").fetchall()
        taken.append(time.perf_counter() - start)
    at_most(
        bench, f"extend by 10,000 events and ask, {millions}", statistics.median(taken), "s", 0.5
    )
    if log.next_position < 5_000_000:
        columns = "stream, position, system_from, system_to, ended, " + ", ".join(
            f'"{name}"' for name in line.fields
        )
        hashed = f"count(*), bit_xor(hash(row({columns})))"
        extended = line.history().aggregate(hashed).fetchall()
        line.drop()
        anew = log.timeline(shop.Order).history().aggregate(hashed).fetchall()
        assert extended == anew, "the extended table is not the one that is built anew"
    done = line.check(1000)
    bench.row(
        f"states that Python folds to the same, {millions}",
        done.events,
        "states",
        "streams",
        done.streams,
        0,
        "all",
        True,
    )


# --- rules, and Python -----------------------------------------------------------------------


def tiers(bench: Bench, log: Any) -> None:
    """Measure rules that read the state beside none, and what is folded by Python."""
    cursors, works = [], []
    for kind in (shop.Guarded, shop.Unguarded):
        read = log.timeline(kind)._read()
        cursors.append(read.cursor)

        def work(read: Any = read) -> None:
            source = sided(read.cursor, read.fold, f"({system_rows(read.fold)})")
            read.cursor.execute(
                f"CREATE OR REPLACE TEMP TABLE folded AS {every_sql(read.fold, source)}"
            )

        works.append(work)
    guarded, unguarded = paired(3, *works)
    beside(bench, "every state, rules that read it", guarded, "without rules", unguarded, 2)
    line = log.timeline(shop.Guarded, python=True)
    read = line._read()
    (native,) = read.fold.sides
    streams, names = 30_000, ", ".join(f"e.{name}" for name, _ in native.columns)
    rows = read.cursor.execute(
        f"SELECT e.stream, e.ended, e.carried, {names}, CAST(NULL AS VARCHAR) AS was_n_state "
        f"FROM ({system_rows(read.fold)}) AS e SEMI JOIN (SELECT DISTINCT stream FROM events "
        f"ORDER BY stream LIMIT {streams}) AS s ON s.stream = e.stream ORDER BY e.stream, e.turn"
    ).to_arrow_table()
    batches = rows.to_batches(max_chunksize=10_000)
    rates, shares = [], []
    for _ in range(3):
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        before, wall = children.ru_utime + children.ru_stime, time.perf_counter()
        used = cpu(lambda: list(native.run(batches)))
        wall = time.perf_counter() - wall
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        used += children.ru_utime + children.ru_stime - before
        rates.append(rows.num_rows / used)
        shares.append(wall / used)
    rate, share = statistics.median(rates), statistics.median(shares)
    bench.row(
        "folded by Python", rate, "events/CPU s", "limit", 350_000, rate / 350_000, "≥ 1",
        rate >= 350_000,
    )  # fmt: skip
    at_most(bench, "wall of that for each CPU s", share, "s", 0.7)


def compiled(bench: Bench) -> None:
    """Measure how long it takes from a class to its SQL."""
    taken = []
    for _ in range(30):
        kind = type("Order", (shop.Order,), {"__annotations__": {}}, category="order")
        instructions.cache_clear()
        start = time.perf_counter()
        for field in kind.description.plan.fields.values():
            said_of(field, kind.description.layout)
        taken.append((time.perf_counter() - start) * 1e3)
    at_most(bench, "trace and compile 12 fields", statistics.median(taken), "ms", 2)


# --- long streams ----------------------------------------------------------------------------


def long_streams(bench: Bench) -> None:
    """Measure 2,000 accounts of 540 events each, all alive for the whole time."""
    place = imported(
        bench, "accounts", lambda path: shop.write_accounts(path, 2_000, 540, bench.folder)
    )
    built(bench, place, "Account", 1_080_000, "2,000 x 540 events")
    with esnb.open(place, maintain=False) as log:
        line = log.timeline(shop.Account)
        chance = random.Random(7)
        instants = [START + timedelta(days=chance.uniform(1, 499)) for _ in range(40)]
        taken = p95(
            lambda at: line.as_of(at).aggregate("count(*), sum(balance)").fetchall(), instants
        )
        at_most(bench, "as-of summary, p95, 2,000 x 540 events", taken, "ms", 60)
        line.check(20)


def loaded(bench: Bench) -> None:
    """Load aggregates of ever longer streams: with snapshots that takes no longer."""
    place = bench.folder / "loaded"
    lengths = (1_000, 10_000, 100_000)
    with esnb.create(place, zone="UTC", maintain=False) as log:
        for length in lengths:
            log.append_frame(
                pa.table(
                    {
                        "stream": [f"account-{length}"] * length,
                        "event_type": ["Deposited"] * length,
                        "data": ['{"amount":"12.50"}'] * length,
                    }
                )
            )
        accounts = esnb.Repository(log, shop.Account)
        medians = []
        for length in lengths:
            stream = f"account-{length}"
            assert accounts.get(stream).deposits == length
            taken = []
            for _ in range(15):
                start = time.perf_counter()
                accounts.get(stream)
                taken.append((time.perf_counter() - start) * 1e3)
            medians.append(statistics.median(taken))
    bench.row(
        "repository.get, 100,000 events",
        medians[-1],
        "ms",
        "of 1,000 events",
        medians[0],
        medians[-1] / medians[0],
        "≤ 2",
        medians[-1] <= 2 * medians[0],
    )


def main() -> None:
    by_hand = "--30" in sys.argv
    bench = Bench("fold30" if by_hand else "fold", promises=not by_hand)
    os.environ["XDG_CACHE_HOME"] = str(bench.folder / "cache")
    sizes = [30] if by_hand else [int(given) for given in sys.argv[1:]] or [1, 3, 10]
    if not by_hand:
        compiled(bench)
    for size in sizes:
        millions = f"{size} M events"
        say(f"{millions}: generating and importing")
        place = imported(
            bench,
            f"orders-{size}",
            lambda path, size=size: shop.write_orders(path, size * 100_000, bench.folder),
        )
        say(f"{millions}: building")
        with esnb.open(place, maintain=False) as log:
            events = log.next_position
        built(bench, place, "Order", events, millions)
        if size == sizes[-1]:
            say(f"{millions}: building once more, DuckDB having 500 MB")
            shutil.rmtree(place / "derived" / "timelines")
            built(bench, place, "Order", events, f"{millions}, in 500 MB", "500MB")
        with esnb.open(place, maintain=False) as log:
            say(f"{millions}: from the events")
            each, wall = from_events(bench, log, millions)
            if size == sizes[0] and not by_hand:
                peers(bench, log, each, wall)
                tiers(bench, log)
            say(f"{millions}: from the interval table")
            scrubbed(bench, log, millions)
            appended(bench, log, millions)
    if not by_hand:
        say("long streams")
        long_streams(bench)
        loaded(bench)
    bench.done()


if __name__ == "__main__":
    main()
