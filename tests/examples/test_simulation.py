"""The shop at work: it replays, its rules are seen, its books are right, its secrets are found."""

import ast
import inspect
from collections import Counter
from pathlib import Path

import pytest

import esnb
from esnb.errors import CommandError
from esnb.examples import shop
from esnb.examples.shop import customer, order, payment, product, shipment

ORDERS, SEED = 600, 6
KINDS = [shop.Order, shop.Payment, shop.Product, shop.Shipment, shop.Customer]


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "log"
    log = esnb.create(path, zone="Europe/Berlin", clock=shop.Calendar(), maintain=False)
    with log:
        yield log, shop.simulate(log, orders=ORDERS, seed=SEED)


@pytest.fixture
def log(worked):
    return worked[0]


@pytest.fixture
def done(worked):
    return worked[1]


def rules_written() -> set[str]:
    """Return the rules in the code of the shop, apart from those of an audit."""
    found = set()
    for module in (order, payment, product, shipment, customer):
        tree = ast.parse(inspect.getsource(module))
        for part in tree.body:
            if isinstance(part, ast.ClassDef) and part.name.startswith("Audited"):
                continue
            for node in ast.walk(part):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "CommandRejected":
                    found.add(ast.literal_eval(node.args[0]))
    return found


def test_every_rule_refuses_somebody(done):
    written = rules_written()
    assert len(written) > 20
    assert written <= set(done.refused)
    # Beside them only those that esnb has itself.
    assert set(done.refused) - written <= {
        "the order is there already", "the shipment is there already",
    }  # fmt: skip
    assert sum(done.refused.values()) + done.accepted == done.sent


def test_what_is_refused_leaves_nothing_behind(log, done):
    assert log.next_position == done.events
    commands = {event.causation_id for event in log.read()}
    assert len(commands) == done.events <= done.accepted


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_aggregate_folds_in_python_and_in_sql_alike(log, kind):
    category = kind.description.category
    timeline = log.timeline(kind)
    assert timeline.breaches().fetchall() == []
    compared = timeline.check(sample=100_000)
    streams = {event.stream for event in log.read() if event.category == category}
    assert compared.streams == len(streams) > 20


def test_orders_are_counted(log):
    assert len({event.stream for event in log.read() if event.category == "order"}) == ORDERS


def test_an_audit_finds_what_was_planted_and_nothing_else(log, done):
    kinds = Counter(one.kind for one in done.planted)
    assert set(kinds) == {
        "quiet correction", "own refund", "refund without return", "late count",
    }  # fmt: skip
    assert shop.planted(log, orders=ORDERS, seed=SEED) == list(done.planted)
    breaches = []
    for kind in (shop.AuditedOrder, shop.AuditedProduct):
        breaches += log.timeline(kind).breaches().project("rule, event_id, actor").fetchall()
    rules = {
        "quiet correction": "the total of a paid order changes only with a note",
        "own refund": "who confirmed an order does not refund it",
        "late count": "a count is typed in within two days",
    }
    expected = {
        (rules[one.kind], one.event_id, one.actor) for one in done.planted if one.kind in rules
    }
    assert {(rule, str(event), actor) for rule, event, actor in breaches} == expected
    assert len(breaches) == len(expected)


def test_refunds_without_a_return_are_those_planted(log, done):
    found = log.sql("""
        select r.event_id from events r
        where r.event_type = 'RefundIssued'
          and exists (select 1 from events d where d.stream = r.stream
                      and d.event_type = 'OrderDelivered')
          and not exists (select 1 from events b where b.event_type = 'ParcelReturned'
                          and (b.data->>'$.order') = r.stream)
    """).fetchall()
    planted = {one.event_id for one in done.planted if one.kind == "refund without return"}
    assert {str(event_id) for (event_id,) in found} == planted


def test_the_money_adds_up(log):
    """An order is paid what its payment captured, and what goes back comes from there."""
    rows = {
        stream: (paid, refunded)
        for stream, paid, refunded in log.timeline(shop.Order)
        .as_of("2026-04-01")
        .project("stream, paid, refunded")
        .fetchall()
    }
    taken = {
        of: (captured, refunded)
        for of, captured, refunded in log.timeline(shop.Payment)
        .as_of("2026-04-01")
        .project('"order", captured, refunded')
        .fetchall()
    }
    assert {of: rows[of] for of in taken} == taken
    assert all(rows[of] == (0, 0) for of in rows.keys() - taken.keys())
    assert sum(paid for paid, _ in rows.values()) > sum(back for _, back in rows.values()) > 0
    assert all(0 <= back <= paid for paid, back in rows.values())


def test_what_was_paid_is_what_the_items_come_to(log):
    found = log.sql("""
        with paid as (select stream, revision, (data->>'$.paid')::decimal(12, 2) as paid
                      from events where event_type = 'PaymentReceived'),
        lists as (select e.stream, e.revision, e.data from events e
                  where e.event_type in ('OrderPlaced', 'ItemAdded', 'ItemRemoved'))
        select paid.stream, paid.paid,
               (select sum((i->>'$.quantity')::int * (i->>'$.price')::decimal(12, 2))
                from unnest(cast(arg_max(lists.data->'$.items', lists.revision) as json[])) t(i))
        from paid join lists on lists.stream = paid.stream and lists.revision < paid.revision
        group by paid.stream, paid.paid
    """).fetchall()
    assert len(found) > 400
    assert [row for row in found if row[1] != row[2]] == []


def test_stock_is_never_below_zero_and_adds_up(log):
    states = log.timeline(shop.Product).history()
    assert states.aggregate("min(stock), max(stock) > 50").fetchone() == (0, True)
    rows = log.sql("""
        select stream,
               sum(case event_type when 'StockDelivered' then (data->>'$.quantity')::int
                   when 'StockReleased' then (data->>'$.quantity')::int
                   when 'StockReserved' then -(data->>'$.quantity')::int
                   when 'StockCounted' then -(data->>'$.missing')::int else 0 end)
        from events where category = 'product' group by stream
    """).fetchall()
    known = dict(log.timeline(shop.Product).as_of("2026-04-01").project("stream, stock").fetchall())
    assert known == dict(rows)


def test_what_is_shipped_was_reserved_and_what_is_cancelled_released(log):
    held = log.sql("""
        select data->>'$.order' as "order",
               sum(case event_type when 'StockReserved' then 1 else -1 end
                   * (data->>'$.quantity')::int) as held
        from events where event_type in ('StockReserved', 'StockReleased') group by 1
    """).fetchall()
    held = dict(held)
    states = dict(log.timeline(shop.Order).as_of("2026-04-01").project("stream, status").fetchall())
    assert [s for s, status in states.items() if status == "cancelled" and held.get(s)] == []
    sent = {"shipped", "delivered"}
    assert [s for s, status in states.items() if status in sent and not held.get(s)] == []


def test_goods_that_run_short_come_by_express(log):
    """Whoever waits for goods gets them; nothing is sent before."""
    express = log.sql("""
        select count(*), count(distinct stream) from events
        where event_type = 'StockDelivered' and actor = 'supplier'
    """).fetchone()
    assert express[0] >= express[1] > 0
    early = log.sql("""
        select count(*) from events r join events p
            on (p.data->>'$.order') = (r.data->>'$.order') and p.event_type = 'ParcelSent'
        where r.event_type = 'StockReserved' and r.position > p.position
    """).fetchone()
    assert early == (0,)


def test_two_clocks_two_versions_and_who_did_it(log):
    found = log.sql("""
        select count(*) filter (recorded_on < occurred_on) as impossible,
               count(*) filter (recorded_on - occurred_on > interval 3 days) as very_late,
               count(*) filter (event_type = 'OrderPlaced' and
                   (schema_version = 2) = (recorded_on < timestamptz '2026-01-01 00:00:00+00')),
               count(*) filter (event_type = 'PaymentRequested' and
                   (schema_version = 2) = (recorded_on < timestamptz '2026-01-01 00:00:00+00')),
               count(distinct schema_version),
               count(*) filter (actor is null or causation_id is null or correlation_id is null)
        from events""").fetchone()
    impossible, late, wrong_orders, wrong_payments, versions, unknown = found
    assert (impossible, wrong_orders, wrong_payments, unknown) == (0, 0, 0, 0)
    assert late > 10
    assert versions == 2


def test_what_belongs_together_is_linked(log):
    """An order and its payment and parcel are one conversation, each step with its cause."""
    linked = log.sql("""
        select count(*) from events p join events o on o.stream = (p.data->>'$.order')
        where p.event_type in ('PaymentRequested', 'ParcelSent', 'StockReserved')
          and o.event_type = 'OrderPlaced' and p.correlation_id != o.correlation_id
    """).fetchone()
    assert linked == (0,)
    orphans = log.sql("""
        select count(*) from events e
        where (e.metadata->>'$.caused_by') not in (select event_id from events)
          and e.category in ('order', 'payment', 'shipment')
    """).fetchone()
    assert orphans == (0,)


def test_the_same_seed_gives_the_same_events_and_another_one_others(tmp_path):
    tables = []
    for number, seed in enumerate((1, 1, 2)):
        place = tmp_path / f"log-{number}"
        with esnb.create(place, zone="UTC", clock=shop.Calendar(), maintain=False) as log:
            shop.simulate(log, orders=40, seed=seed)
            tables.append(log.events().to_arrow_table())
    assert tables[0].equals(tables[1])
    assert not tables[0].equals(tables[2])


def test_a_log_that_is_no_log_of_its_own_is_refused(tmp_path):
    with (
        esnb.create(tmp_path / "a", zone="UTC") as log,
        pytest.raises(CommandError, match=r"shop\.Calendar"),
    ):
        shop.simulate(log, orders=5)
    with esnb.create(tmp_path / "b", zone="UTC", clock=shop.Calendar()) as log:
        log.append("order-1", esnb.DomainEvent("OrderPlaced", {}))
        with pytest.raises(CommandError, match="empty log"):
            shop.simulate(log, orders=5)


def test_the_sample_log_is_made_by_the_shop():
    script = Path(__file__).parents[2] / "data" / "generate_shop.py"
    assert "shop.simulate(log)" in script.read_text()
