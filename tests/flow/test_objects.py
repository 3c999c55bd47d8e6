"""Object-centric flows, held to plain Python and to pm4py's object-centric graph."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import FlowError
from esnb.flow import concerned
from tests.flow.told import HOUR, START, Told, histories, recorded, written

MICRO = timedelta(microseconds=1)
Object = tuple[str, str]
Happened = tuple[datetime, int, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    """Return new places for logs."""
    folder, numbers = tmp_path_factory.mktemp("logs"), count()
    return lambda: folder / str(next(numbers))


TAGS = [
    "customer:1",
    "customer:2",
    "item:1",
    "rush",
    ":x",
    "a:b:c",
    "customer:",
    "order:1",
    "ü:\"'",
]
events_of_objects = histories.flatmap(
    lambda events: st.lists(
        st.lists(st.sampled_from(TAGS), max_size=4).map(tuple),
        min_size=len(events),
        max_size=len(events),
    ).map(lambda tags: [event._replace(tags=own) for event, own in zip(events, tags, strict=True)])
)


def objects_of(event: Told) -> set[Object]:
    """The objects that an event concerns: that of its stream, and those of its tags."""
    category, _, number = event.stream.partition("-")
    tagged = (tag.partition(":") for tag in event.tags)
    return {(category, number)} | {(kind, own) for kind, colon, own in tagged if kind and colon}


def lives(
    events: list[Told],
    types: list[str] | None = None,
    clock: str = "occurred",
    wanted: Callable[[Told], bool] = lambda event: True,
) -> dict[Object, list[Happened]]:
    """What happened to each object, in order."""
    found: dict[Object, list[Happened]] = defaultdict(list)
    for position, event in enumerate(events):
        at = event.at if clock == "occurred" else recorded(position)
        for one in objects_of(event) if wanted(event) else ():
            if types is None or one[0] in types:
                found[one].append((at, position, event.event_type))
    for life in found.values():
        life.sort(key=lambda e: e[1] if clock == "recorded" else e[:2])
    return found


def quantile(waits: Iterable[timedelta], part: int, of: int) -> timedelta | None:
    ordered = sorted(wait // MICRO for wait in waits)
    if not ordered:
        return None
    low, rest = divmod(part * (len(ordered) - 1), of)
    high = min(low + 1, len(ordered) - 1)
    return (ordered[low] + ((ordered[high] - ordered[low]) * rest * 2 + of) // (2 * of)) * MICRO


Edge = tuple[str, str, str | None, str | None]


def edges(found: dict[Object, list[Happened]]) -> dict[Edge, tuple[Any, ...]]:
    """Events, objects, count and waits of every edge."""
    gone: dict[Edge, list[tuple[Object, int, timedelta | None]]] = defaultdict(list)
    for one, life in found.items():
        gone[one[0], "start", None, life[0][2]].append((one, life[0][1], None))
        gone[one[0], "end", life[-1][2], None].append((one, life[-1][1], None))
        for source, target in pairwise(life):
            gone[one[0], "step", source[2], target[2]].append(
                (one, target[1], target[0] - source[0])
            )
    return {
        edge: (
            len({position for _, position, _ in ways}),
            len({one for one, _, _ in ways}),
            len(ways),
            *(
                quantile((wait for *_, wait in ways if wait is not None), part, of)
                for part, of in ((1, 2), (19, 20))
            ),
        )
        for edge, ways in gone.items()
    }


def sharing(found: dict[Object, list[Happened]]) -> dict[tuple[str, str], tuple[Any, ...]]:
    """How events of each type and objects of each type share."""
    pairs: dict[tuple[str, str], list[tuple[int, Object]]] = defaultdict(list)
    for one, life in found.items():
        for _, position, event_type in life:
            pairs[event_type, one[0]].append((position, one))
    rows = {}
    for key, own in pairs.items():
        events = Counter(position for position, _ in own)
        objects = Counter(one for _, one in own)
        rows[key] = (
            len(events),
            len(objects),
            len(own),
            len(own) / len(events),
            max(events.values()),
            sum(n > 1 for n in events.values()),
            len(own) / len(objects),
            max(objects.values()),
            sum(n > 1 for n in objects.values()),
        )
    return rows


def keyed(relation: duckdb.DuckDBPyRelation, keys: int) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    rows = relation.fetchall()
    found = {row[:keys]: row[keys:] for row in rows}
    assert len(found) == len(rows)
    return found


some_types = st.none() | st.lists(
    st.sampled_from(["customer", "order", "item", "parcel", "ü", "a"]), min_size=1, unique=True
)


@settings(max_examples=30)
@given(events_of_objects, st.integers(0, 20), some_types, st.sampled_from(["occurred", "recorded"]))
def test_all_tables_are_those_counted_object_by_object(place, events, cut, types, clock):
    found = lives(events, types, clock)
    with written(place(), events, cut) as log:
        flow = log.object_flow(types, clock=clock)
        assert keyed(flow.directly_follows(), 4) == edges(found)
        assert keyed(flow.sharing(), 2) == sharing(found)
        assert flow.types == sorted({kind for kind, _ in found}, key=lambda kind: kind.encode())
        objects = {}
        for kind in flow.types:
            own = {one: life for one, life in found.items() if one[0] == kind}
            events_of = Counter(position for life in own.values() for _, position, _ in life)
            lengths = [len(life) for life in own.values()]
            times = [at for life in own.values() for at, *_ in life]
            objects[(kind,)] = (
                len(own),
                len(events_of),
                sum(lengths) / len(own),
                max(lengths),
                sum(lengths) / len(events_of),
                max(events_of.values()),
                sum(n > 1 for n in events_of.values()),
                min(times),
                max(times),
            )
        assert keyed(flow.objects(), 1) == objects
        activities = {}
        for kind in {kind for life in found.values() for *_, kind in life}:
            own = [(p, one) for one, life in found.items() for _, p, name in life if name == kind]
            events_of = Counter(position for position, _ in own)
            activities[(kind,)] = (
                len(events_of),
                len({one for _, one in own}),
                len({one[0] for _, one in own}),
                len(own) / len(events_of),
                max(events_of.values()),
            )
        assert keyed(flow.activities(), 1) == activities


OPTIONS: list[tuple[dict[str, Any], Callable[[Told], bool]]] = [
    ({"where": "actor = 'ann'"}, lambda event: event.actor == "ann"),
    (
        {"where": "stream IN (SELECT stream FROM events WHERE actor = 'no one')"},
        lambda event: False,
    ),
    ({"streams": ["order-1", "order-ü"]}, lambda event: event.stream in ("order-1", "order-ü")),
    ({"window": (START + 3 * HOUR, START + 12 * HOUR)}, lambda event: 3 <= event.hours < 12),
    ({"category": "parcel"}, lambda event: event.stream == "parcel-1"),
    (
        {"tag": ["customer:1"], "actor": "bob"},
        lambda e: "customer:1" in e.tags and e.actor == "bob",
    ),
]


@settings(max_examples=30)
@given(events_of_objects, st.integers(0, 20), st.sampled_from(OPTIONS))
def test_events_are_chosen_as_for_any_flow(place, events, cut, option):
    options, wanted = option
    found = lives(events, wanted=wanted)
    with written(place(), events, cut) as log:
        flow = log.object_flow(**options)
        assert keyed(flow.directly_follows(), 4) == edges(found)
        assert keyed(flow.sharing(), 2) == sharing(found)


@settings(max_examples=20)
@given(events_of_objects, st.integers(0, 20))
def test_files_are_read_one_by_one_or_together(place, events, cut):
    """A life of an object goes on from file to file, however many of them are read at once."""
    with written(place(), events, cut) as log:
        log.seal()
        log.append("order-1", esnb.DomainEvent("last", {}, occurred_on=START, tags=["item:1"]))
        tables = []
        for together in (1, 400_000):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(concerned, "_TOGETHER", together)
                tables.append(log.object_flow().directly_follows().fetchall())
        assert tables[0] == tables[1]
        last = Told("order-1", "last", 0, None, ("item:1",), "")
        assert keyed(log.object_flow().directly_follows(), 4) == edges(lives([*events, last]))


@settings(max_examples=20)
@given(events_of_objects, st.integers(0, 20))
def test_the_flow_of_one_type_is_that_by_its_tags(place, events, cut):
    # The same without streams that are such objects, too.
    with written(place(), events, cut) as log:
        flow = log.object_flow()
        by_tag = log.flow(by="customer:")
        if "customer" not in flow.types:
            assert by_tag.events().fetchall() == []
            return
        of_type = flow.flow("customer")
        assert of_type.events().fetchall() == by_tag.events().fetchall()
        assert of_type.variants().fetchall() == by_tag.variants().fetchall()
        assert of_type.between({"actor": "ann"}, (None, START + 9 * HOUR)).fetchall() == (
            by_tag.between({"actor": "ann"}, (None, START + 9 * HOUR)).fetchall()
        )


def test_a_stream_and_a_tag_name_one_object(place):
    told = [
        Told("order-1", "placed", 0, "ann", ("item:1", "item:2"), "new"),
        Told("parcel-9", "packed", 1, "bob", ("order:1", "item:1", "item:1"), "new"),
    ]
    with written(place(), told) as log:
        flow = log.object_flow()
        assert flow.flow("order").events().fetchall() == [
            ("order:1", 0, "placed", START, 0),
            ("order:1", 1, "packed", START + HOUR, 1),
        ]
        assert keyed(flow.sharing(), 2)["placed", "item"] == (1, 2, 2, 2.0, 2, 1, 1.0, 1, 0)
        assert keyed(flow.sharing(), 2)["packed", "item"] == (1, 1, 1, 1.0, 1, 0, 1.0, 1, 0)
        assert repr(flow) == (
            "ObjectFlow(all objects, by occurred_on, UTC; log at position 2, 4 objects of 3 types)"
        )
        assert repr(flow.flow("item")).startswith(
            "Flow(item, by occurred_on, UTC; log at position 2, 3"
        )


def test_what_is_shown_is_text(place):
    hostile = "<img src=x onerror=alert(1)>\u202e:1"
    with written(place(), [Told("order-1", "placed", 0, "ann", (hostile,), "new")]) as log:
        shown = log.object_flow()._repr_html_()
        assert "<img" not in shown
        assert "\u202e" not in shown
        assert "&lt;img src=x" in shown
        named = log.object_flow([hostile.partition(":")[0]])
        assert "<img" not in named._repr_html_()
        assert "\u202e" not in repr(named) + named._repr_html_()
        assert named.flow(named.types[0]).rework().fetchall() == [("placed", 1, 1, 0, 0, 0, 0, 0.0)]


def test_an_event_of_many_objects_is_counted_once(place):
    items = tuple(f"item:{number}" for number in range(50))
    told = [
        Told("order-1", "placed", 0, "ann", items, "new"),
        Told("order-1", "packed", 2, "ann", items, "new"),
    ]
    with written(place(), told) as log:
        found = log.object_flow(["item"]).directly_follows().fetchall()
    wait = timedelta(hours=2)
    assert found == [
        ("item", "end", "packed", None, 1, 50, 50, None, None),
        ("item", "start", None, "placed", 1, 50, 50, None, None),
        ("item", "step", "placed", "packed", 1, 50, 50, wait, wait),
    ]


def test_of_nothing_there_is_nothing(place):
    with written(place(), []) as log:
        flow = log.object_flow()
        for ask in (flow.directly_follows, flow.sharing, flow.objects, flow.activities):
            assert ask().fetchall() == []
            assert len(ask().columns) >= 6
        assert flow.types == []
        with pytest.raises(FlowError, match=r"no type of objects 'order'.*No event is selected"):
            flow.flow("order")


@pytest.mark.parametrize("types", [[], "order", [None], [1, "order"]])
def test_types_are_a_list_of_texts(place, types):
    with written(place(), []) as log, pytest.raises(FlowError, match="give a list of types"):
        log.object_flow(types)


def test_an_unknown_type_names_near_ones(place):
    with written(place(), [Told("order-1", "placed", 0, "ann", ("customer:1",), "new")]) as log:
        with pytest.raises(FlowError, match=r"no type of objects 'costumer'.*'customer'"):
            log.object_flow().flow("costumer")
        assert log.object_flow(["costumer"]).objects().fetchall() == []


def test_a_thousand_types(tmp_path):
    with esnb.create(tmp_path / "log", zone="UTC", maintain=False) as log:
        log.append_frame(
            pa.table(
                {
                    "stream": [f"order-{number}" for number in range(2000)],
                    "event_type": [f"t{number % 7}" for number in range(2000)],
                    "data": ["{}"] * 2000,
                    "tags": [[f"k{number % 1000}:{number % 3}"] for number in range(2000)],
                    "occurred_on": pa.array([START] * 2000, pa.timestamp("us", "UTC")),
                }
            )
        )
        flow = log.object_flow()
        assert len(flow.types) == 1001
        assert flow.objects().aggregate("sum(objects), sum(events)").fetchall() == [(4000, 4000)]
        starts = flow.directly_follows().filter("kind = 'start'")
        assert starts.aggregate("sum(events), sum(objects)").fetchall() == [(4000, 4000)]


# --- pm4py -----------------------------------------------------------------------------------


def same_as_pm4py(flow: Any, graph: dict[str, Any], types: Iterable[str]) -> None:
    """Hold a flow's graph to one of pm4py, which has sets of pairs of events and of objects."""
    found = keyed(flow.directly_follows(), 4)
    steps = {key: row for key, row in found.items() if key[1] == "step"}
    expected = {}
    for kind in types:
        couples = graph["edges"]["event_couples"].get(kind, {})
        for (source, target), pairs in couples.items():
            expected[kind, "step", source, target] = (
                len({second for _, second in pairs}),
                len(graph["edges"]["unique_objects"][kind][source, target]),
                len(graph["edges"]["total_objects"][kind][source, target]),
            )
    assert {key: row[:3] for key, row in steps.items()} == expected
    for name, end in (("start_activities", "start"), ("end_activities", "end")):
        theirs = {
            (kind, event_type): (
                len(graph[name]["events"][kind][event_type]),
                len(graph[name]["unique_objects"][kind][event_type]),
            )
            for kind in types
            for event_type in graph[name]["events"].get(kind, {})
        }
        ours = {
            (kind, source or target): row[:2]
            for (kind, which, source, target), row in found.items()
            if which == end
        }
        assert ours == theirs
    for (event_type, kind), row in keyed(flow.sharing(), 2).items():
        events = graph["activities_ot"]["events"][kind][event_type]
        objects = graph["activities_ot"]["unique_objects"][kind][event_type]
        pairs = graph["activities_ot"]["total_objects"][kind][event_type]
        assert row[:3] == (len(events), len(objects), len(pairs))


def ocdfg(events: list[tuple[str, str, datetime, list[Object]]]) -> dict[str, Any]:
    """Return pm4py's graph of events in order: id, type, time and objects."""
    import pandas as pd
    from pm4py.algo.discovery.ocel.ocdfg.variants import classic
    from pm4py.objects.ocel.obj import OCEL

    told = pd.DataFrame(
        {
            "ocel:eid": [event[0] for event in events],
            "ocel:activity": [event[1] for event in events],
            "ocel:timestamp": pd.to_datetime([event[2] for event in events], utc=True),
        }
    )
    related = [
        (eid, name, at, f"{kind}:{own}", kind)
        for eid, name, at, objects in events
        for kind, own in objects
    ]
    columns = ["ocel:eid", "ocel:activity", "ocel:timestamp", "ocel:oid", "ocel:type"]
    relations = pd.DataFrame(related, columns=columns)
    relations["ocel:timestamp"] = pd.to_datetime(relations["ocel:timestamp"], utc=True)
    objects = relations[["ocel:oid", "ocel:type"]].drop_duplicates()
    log = OCEL(told, objects, relations)
    graph: dict[str, Any] = classic.apply(log, {"compute_edges_performance": False})
    return graph


def logged(path: Path, events: list[tuple[str, str, datetime, list[Object]]]) -> esnb.EventLog:
    log = esnb.create(path, zone="UTC", maintain=False)
    log.append_frame(
        pa.table(
            {
                "stream": ["p2p-1"] * len(events),
                "event_id": [event[0] for event in events],
                "event_type": [event[1] for event in events],
                "data": ["{}"] * len(events),
                "occurred_on": pa.array([e[2] for e in events], pa.timestamp("us", "UTC")),
                "tags": pa.array(
                    [[f"{kind}:{own}" for kind, own in event[3]] for event in events],
                    pa.list_(pa.string()),
                ),
            }
        )
    )
    return log


@pytest.mark.shared
def test_procure_to_pay_is_as_pm4py_has_it(shared_data, tmp_path):
    packed = shared_data / "ocel2_p2p" / "ocel2-p2p-rebuilt.sqlite.gz"
    unpacked = tmp_path / "p2p.sqlite"
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    with sqlite3.connect(unpacked) as database:
        names = [name for (name,) in database.execute("SELECT ocel_type_map FROM event_map_type")]
        times = {}
        for name in names:
            times |= dict(database.execute(f'SELECT ocel_id, ocel_time FROM "event_{name}"'))
        kinds = dict(database.execute("SELECT ocel_id, ocel_type FROM object"))
        concerned = defaultdict(set)
        for event, one in database.execute(
            "SELECT ocel_event_id, ocel_object_id FROM event_object"
        ):
            concerned[event].add((kinds[one], one.partition(":")[2]))
        told = database.execute("SELECT ocel_id, ocel_type FROM event").fetchall()
    database.close()
    events = [
        (eid, name, datetime.fromisoformat(times[eid]), sorted(concerned[eid]))
        for eid, name in told
    ]
    events.sort(key=lambda event: (event[2], event[0]))
    types = sorted(set(kinds.values()))
    with logged(tmp_path / "log", events) as log:
        flow = log.object_flow(types)
        assert len(flow.types) == 7
        same_as_pm4py(flow, ocdfg(events), flow.types)
        # A receipt stands for many materials: as cases of a flow they are counted again.
        assert flow.sharing().filter("shared_events > 0").fetchall()


def test_the_shop_is_as_pm4py_has_it():
    shop = Path(__file__).parents[2] / "data" / "shop"
    if not shop.is_dir():
        pytest.skip("the sample log is not here; `make install` writes it")
    with esnb.open(shop, read_only=True) as log:
        told = log.events().project(
            "event_id, event_type, occurred_on, stream, to_json(tags)::VARCHAR, position"
        )
        rows = sorted(told.fetchall(), key=lambda row: (row[2], row[5]))
        events = [
            (
                row[0],
                row[1],
                row[2],
                sorted(objects_of(Told(row[3], row[1], 0, None, tuple(json.loads(row[4])), ""))),
            )
            for row in rows
        ]
        flow = log.object_flow()
        assert flow.types == ["customer", "order", "payment", "product", "shipment"]
        same_as_pm4py(flow, ocdfg(events), flow.types)
