"""Which upcasters are seen through, and that what is seen is what they do."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import esnb
from esnb import Aggregate, Event
from esnb.aggregate.upcasting import Taken, traced_upcasters

OTHER = "Decimal"


def event(function: Callable[[Any], Any], **annotations: Any) -> type[Event]:
    """Return an event class of version 2 with one upcaster."""
    fields = {"__annotations__": annotations or {"name": str}, "version": 2, "from1": function}
    return type("Told", (Event,), fields)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda d: {"name": d.title}, Taken("title")),
        (lambda d: {"name": d["title"]}, Taken("title")),
        (lambda d: {"name": d.get("title")}, Taken("title")),
        (lambda d: {"name": d.pop("title", "x")}, Taken("title")),
        (lambda d: d | {"name": d.title}, Taken("title")),
        (lambda d: {**d, "name": "none"}, "none"),
        (lambda d: d, Taken("name")),
        (lambda d: dict(d, name=None), None),
    ],
)
def test_straight_code_is_seen_through(function: Callable[[Any], Any], expected: object) -> None:
    assert traced_upcasters(event(function)) == {1: {"name": expected}}


@pytest.mark.parametrize(
    "function",
    [
        lambda d: {"name": d.title.upper()},
        lambda d: {"name": f"{d.title}"},
        lambda d: {"name": "%s" % d.title},  # noqa: UP031 (what others write)
        lambda d: {"name": d.title or "none"},
        lambda d: {"name": d.title if "title" in d else "none"},
        lambda d: {"name": str(d.title)},
        lambda d: {"name": d.first + d.last},
        lambda d: {"name": d.title.taken},
        lambda d: {"name": d.needed} if d else {},
        lambda d: {d.key: "name", "name": "x"},
        lambda d: {"name": d["title"]["de"]},
        lambda d: {key: value for key, value in d.items()},  # noqa: C416 (as above)
        lambda d: {"other": d.title},
        lambda d: {"name": len(d)},
        lambda d: {"name": d.setdefault("title", "x")},
        lambda d: [d.title],
        lambda d: {"name": [d.title]},
        lambda d: {"name": OTHER},
        lambda d: {"name": d.title, "seen": d.other},
        lambda d: {"name": Decimal(d.title) + 1},
        lambda d: {"name": Decimal(d.title) / 3},
    ],
)
def test_anything_else_is_called(function: Callable[[Any], Any]) -> None:
    assert traced_upcasters(event(function)) == {}


def test_a_name_that_means_something_else_is_not_trusted() -> None:
    scope: dict[str, Any] = {"Decimal": lambda value: 7}
    exec("def from1(d): return {'name': Decimal(d.title)}", scope)  # noqa: S102 (our own text)
    assert traced_upcasters(event(scope["from1"], name=Decimal)) == {}


class Priced(Event):
    version = 4
    name: str
    price: Decimal
    note: str | None
    count: int
    kind: str

    def from1(d):
        return {"title": d.title, "cents": d.cents, "number": d.number}

    def from2(d):
        return {"name": d.title, "price": Decimal(d.cents) / 100, "count": d.number, "note": None}

    def from3(d):
        return d | {"kind": "plain"}


class Thing(Aggregate):
    name: str
    price: Decimal = Decimal(0)
    note: str | None
    count: int = 0
    kind: str

    def when_priced(self, e: Priced):
        self.name = e.name
        self.price += e.price
        self.note = e.note
        self.count += e.count
        self.kind = e.kind


def test_a_chain_is_seen_through() -> None:
    assert traced_upcasters(Priced) == {
        1: {
            "name": Taken("title"), "price": Taken("cents", 2), "note": None,
            "count": Taken("number"), "kind": "plain",
        },
        2: {
            "name": Taken("title"), "price": Taken("cents", 2), "note": None,
            "count": Taken("number"), "kind": "plain",
        },
        3: {
            "name": Taken("name"), "price": Taken("price"), "note": Taken("note"),
            "count": Taken("count"), "kind": "plain",
        },
    }  # fmt: skip


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=5)
cents = st.one_of(
    st.integers(-(10**12), 10**12),
    st.integers(-(10**6), 10**6).map(str),
    st.sampled_from(["007", "12.5", "-0", 12.25, 1e3, "1e2"]),
)


@st.composite
def old(draw: st.DrawFn) -> tuple[int, dict[str, Any]]:
    """Return a payload of some version, now and then with a key more or in another order."""
    version = draw(st.integers(1, 4))
    count = draw(st.one_of(st.integers(-9, 9), st.integers(-(2**62), 2**62)))
    if version <= 2:
        payload: dict[str, Any] = {
            "title": draw(texts), "cents": draw(cents), "number": count,
        }  # fmt: skip
    else:
        payload = {
            "name": draw(texts), "price": draw(st.sampled_from(["1.25", 2, "-3"])),
            "note": draw(st.one_of(st.none(), texts)), "count": count,
        }  # fmt: skip
        if version == 4:
            payload["kind"] = draw(texts)
    if draw(st.booleans()):
        payload["more"] = draw(st.one_of(st.none(), texts))
    keys = draw(st.permutations(list(payload)))
    return version, {key: payload[key] for key in keys}


@settings(max_examples=40)
@given(st.lists(old(), min_size=1, max_size=25))
def test_old_payloads_are_read_as_the_class_reads_them(given: list[tuple[int, Any]]) -> None:
    frame = pa.table(
        {
            "stream": [f"thing-{number}" for number in range(len(given))],
            "event_type": ["Priced"] * len(given),
            "schema_version": pa.array([version for version, _ in given], pa.int32()),
            "data": [json.dumps(payload, ensure_ascii=False) for _, payload in given],
        }
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        esnb.create(Path(folder) / "log", zone="UTC", maintain=False) as log,
    ):
        log.append_frame(frame)
        for line in (log.timeline(Thing), log.timeline(Thing, python=True)):
            for row in line.as_of(len(given) - 1).to_arrow_table().to_pylist():
                expected = Thing.fold(log.read_stream(row["stream"])).state()
                assert {name: row[name] for name in expected} == expected
