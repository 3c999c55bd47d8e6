"""Hostile names, no events, one of everything, a thousand types: in every chart of flows."""

import unicodedata

import pytest

from esnb.chart import (
    alluvial_chart,
    difference_map,
    dotted_chart,
    durations_chart,
    flow_map,
    funnel_chart,
    mimebundle,
    spectrum_chart,
    transition_matrix,
    types_over_time,
    variants_chart,
)
from esnb.chart.renderer import VEGA
from tests.chart.drawn import expressions, flow_of, layers
from tests.chart.test_over_time import HOSTILE, MARK, UNSEEN, hostile_names


def all_types(flow):
    return list(flow.built().types)


CHARTS = {
    "flow_map": lambda flow: flow_map(flow, 1),
    "transition_matrix": lambda flow: transition_matrix(flow, 60),
    "difference_map": lambda flow: difference_map(flow.between(flow, flow), 1),
    "variants_chart": variants_chart,
    "durations_chart": durations_chart,
    "alluvial_chart": alluvial_chart,
    "dotted_chart": dotted_chart,
    "dotted_chart, since": lambda flow: dotted_chart(flow, "since start", "duration"),
    "dotted_chart, density": lambda flow: dotted_chart(flow, most=1),
    "types_over_time": types_over_time,
    "funnel_chart": lambda flow: funnel_chart(flow, all_types(flow)[:12]),
    "spectrum_chart": lambda flow: spectrum_chart(flow, all_types(flow)[0], all_types(flow)[-1]),
    "spectrum_chart, eventually": lambda flow: spectrum_chart(
        flow, all_types(flow)[0], all_types(flow)[0], eventually=True
    ),
}
WITHOUT_TYPES = ("funnel_chart", "spectrum_chart", "spectrum_chart, eventually")
draws = pytest.mark.parametrize("draw", CHARTS.values(), ids=CHARTS.keys())
HOSTILE_TYPES = [*HOSTILE, f"{MARK}" + "é🦆" * 5_000 + MARK, f"{MARK}漢字の工程", f"{MARK}שלום"]


@draws
def test_hostile_names_are_data_and_nothing_else(draw):
    names = HOSTILE_TYPES + hostile_names(40)
    cases = [names[start : start + 9] for start in range(0, len(names), 4)]
    cases += [[name, name, names[0]] for name in names]
    spec = draw(flow_of(cases)).to_dict()
    bundle, _ = mimebundle(spec)
    assert bundle["image/png"].startswith(b"\x89PNG")
    for text in expressions(bundle[VEGA]):
        assert MARK not in text
        assert "é🦆" not in text
    assert "http" not in str({key: part for key, part in bundle[VEGA].items() if key != "$schema"})
    for _, rows in layers(spec):
        for row in rows:
            assert None not in row.values()
            for field, value in row.items():
                if isinstance(value, str) and field not in ("label", "p"):
                    assert not {unicodedata.category(sign) for sign in value} & UNSEEN
                    assert len(value) <= 2_500
                if isinstance(value, str) and field == "label":
                    assert len(value) <= 120


@draws
def test_names_stay_names_in_tooltips(draw):
    """Vega's tooltip makes a picture of a line called "image"; ours are titles of our own."""
    spec = draw(flow_of([["image", "title"], ["image", "image"]])).to_dict()
    for layer, _ in layers(spec):
        for tip in layer["encoding"].get("tooltip", []):
            assert tip["title"].strip().lower() not in ("image", "title")


@pytest.mark.parametrize("name", [name for name in CHARTS if name not in WITHOUT_TYPES])
def test_no_events_are_said_in_words(name):
    chart = CHARTS[name](flow_of([]))
    assert "no " in chart.to_dict()["title"]["subtitle"][0]
    assert mimebundle(chart.to_dict())[0]["image/png"].startswith(b"\x89PNG")


@draws
@pytest.mark.parametrize(
    "cases", [[["A"]], [["A", "A", "A"]], [["A"], ["A"]], [["A", "B", "A", "C"]]], ids=str
)
def test_one_of_everything_is_drawn(draw, cases):
    spec = draw(flow_of(cases)).to_dict()
    assert mimebundle(spec)[0]["image/png"].startswith(b"\x89PNG")
    assert any(rows for _, rows in layers(spec))


@draws
def test_a_thousand_types_are_drawn(draw):
    flow = flow_of(
        [[f"Type number {(start + step) * 7 % 1000}" for step in range(12)]
         for start in range(0, 1000, 5)] * 2
    )  # fmt: skip
    spec = draw(flow).to_dict()
    assert sum(len(rows) for _, rows in layers(spec)) <= 40_000
    assert mimebundle(spec, picture=False)[0][VEGA]


@draws
def test_charts_describe_themselves_and_stand_together(draw):
    chart = draw(flow_of([["A", "B", "C"], ["A", "C"], ["B"]]))
    spec = chart.to_dict()
    assert spec["description"].startswith(spec["title"]["text"] + ". ")
    other = flow_map(flow_of([["X", "Y"]]))
    bundle, _ = mimebundle((chart | other).to_dict())
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert bundle[VEGA]["background"] == "transparent"
