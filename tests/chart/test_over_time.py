"""The charts: what they say, what they never run, how they are shown."""

import json
import random
import unicodedata
from datetime import UTC, datetime, timedelta

import altair as alt
import pyarrow as pa
import pytest

from esnb.chart import (
    enable,
    event_counts,
    events_over_time,
    mimebundle,
    state_counts,
    states_over_time,
)
from esnb.chart.renderer import INK, VEGA

CLOCK = pa.timestamp("us", tz="UTC")
START = datetime(2026, 3, 27, tzinfo=UTC)
UNSEEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
MARK = "zqx"  # stands in every hostile name, so that it can be found again
HOSTILE = [
    f"{MARK}</script><script>alert(1)</script>",
    f"<img src=x onerror=alert('{MARK}')>",
    f"{MARK}' || true || '",
    f"datum['{MARK}']",
    f"{MARK}\"]; alert(1); //",
    f"{{{{{MARK}}}}} ${{{MARK}}} $x^2$",
    f"javascript:alert('{MARK}')",
    f"{MARK}\u202eevil\u200b\x00\r\n\x1b[31m".replace("\x00", ""),
    f"{MARK}[0].\\.\\[x",
    f"{MARK}é🦆" * 30,
    "image", "title", "url", "href", "signal", "constructor", "__proto__", "toString", "",
]  # fmt: skip


def events(names, by="event_type", step=timedelta(hours=7)):
    times = [START + number * step for number in range(len(names))]
    return pa.table({"occurred_on": pa.array(times, CLOCK), by: pa.array(names, pa.string())})


def states(names, days=4):
    entries = [(START + timedelta(day), name, 1 + day) for day in range(days) for name in names]
    return pa.table(
        {
            "time": pa.array([at for at, _, _ in entries], CLOCK),
            "status": pa.array([name for _, name, _ in entries], pa.string()),
            "count": pa.array([n for _, _, n in entries], pa.int64()),
        }
    )


def drawn(chart):
    return chart.to_dict()["data"].get("values") or next(iter(chart.to_dict()["datasets"].values()))


def subtitle(chart):
    return " | ".join(chart.to_dict()["title"]["subtitle"])


def hostile_names(number):
    dice = random.Random(7)
    alphabet = [chr(n) for n in [*range(1, 0x250), *range(0x200B, 0x2070), *range(0x4E00, 0x4E20)]]
    return [MARK + "".join(dice.choices(alphabet, k=dice.randint(1, 30))) for _ in range(number)]


def test_the_bars_are_the_table():
    source = events([*"aabbbcaabz", None])
    table = event_counts(source, every="1 day", top=2, zone="Europe/Berlin").to_arrow_table()
    bars = drawn(events_over_time(source, every="1 day", top=2, zone="Europe/Berlin"))
    assert [bar["f3"] for bar in bars] == table["count"].to_pylist()
    assert [bar["f2"].replace("other (3)", "other") for bar in bars] == table[1].to_pylist()
    for bar in bars:
        assert bar["f7"] - bar["f6"] == bar["f3"]


def test_the_areas_are_the_table():
    source = states(["placed", None, "paid"])
    table = state_counts(source).to_arrow_table()
    areas = drawn(states_over_time(source))
    assert [area["f3"] for area in areas] == table["count"].to_pylist()
    assert {area["f2"] for area in areas} == {"placed", "(none)", "paid"}


def test_bars_lie_on_the_calendar_of_the_zone_through_a_change_of_clocks():
    chart = events_over_time(events([*"aaaaaaaaaa"]), every="1 day", zone="Europe/Berlin")
    starts = [bar["f0"] for bar in drawn(chart)]
    ends = [bar["f1"] for bar in drawn(chart)]
    assert starts == [f"2026-03-{day}T00:00:00.000000Z" for day in (27, 28, 29)]
    assert ends[:-1] == starts[1:]
    assert "Europe/Berlin" in subtitle(chart)


@pytest.mark.parametrize("every", ["1 second", "2 hours", "1 week", "1 month", "1 year", "auto"])
def test_bars_of_any_length_begin_before_they_end(every):
    for bar in drawn(events_over_time(events([*"aabb"]), every=every)):
        assert bar["f0"] < bar["f1"]


def test_what_is_left_out_is_said():
    chart = events_over_time(events([*"aaabbbcd"]), top=2)
    assert "8 events; 2 of 4 names, the other 2 together (25.0 %)" in subtitle(chart)
    assert drawn(chart)[-1]["f2"] == "other (2)"
    chart = states_over_time(states([*"abcde"]), top=3)
    assert "3 of 5 names, the other 2 together" in subtitle(chart)


def test_too_many_marks_are_drawn_in_longer_bins_and_that_is_said():
    chart = events_over_time(events(["a"] * 20_001, step=timedelta(seconds=1)), every="1 second")
    assert len(drawn(chart)) <= 121
    assert "1 bar = 5 minutes (every 1 second would be more than 20,000 marks)" in subtitle(chart)


def test_too_many_instants_are_thinned_and_that_is_said():
    chart = states_over_time(states(["a"], days=2_500))
    assert len(drawn(chart)) <= 1_000
    assert "1 instant of 3 drawn" in subtitle(chart)


@pytest.mark.parametrize(
    "chart", [lambda: events_over_time(events([])), lambda: states_over_time(states([]))]
)
def test_nothing_is_drawn_as_words(chart):
    assert "in this selection" in json.dumps(chart().to_dict())
    assert mimebundle(chart().to_dict())[0]["image/png"].startswith(b"\x89PNG")


def expressions(node, key=""):
    """Yield every text of a Vega chart that is run as an expression."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name in ("expr", "signal", "update", "test", "as", "field", "fields"):
                yield json.dumps(value)
            if name not in ("values", "domain"):
                yield from expressions(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from expressions(value, key)


@pytest.mark.parametrize("draw", [events_over_time, states_over_time])
def test_hostile_names_are_data_and_nothing_else(draw):
    names = HOSTILE + hostile_names(500)
    for start in range(0, len(names), 60):
        some = names[start : start + 60]
        chart = draw(events(some) if draw is events_over_time else states(some), top=60)
        bundle, _ = mimebundle(chart.to_dict(), picture=start == 0)
        for text in expressions(bundle[VEGA]):
            assert MARK not in text
        for row in drawn(chart):
            assert not {unicodedata.category(letter) for letter in row["f2"]} & UNSEEN
        assert len({row["f2"] for row in drawn(chart)}) == len(set(some))


@pytest.mark.parametrize("name", HOSTILE[:-1])
def test_hostile_columns_are_titles_and_nothing_else(name):
    chart = events_over_time(events(["a", "b"], by=name), by=name)
    bundle, _ = mimebundle(chart.to_dict(), picture=False)
    titles = {tip["title"] for tip in chart.to_dict()["encoding"]["tooltip"]}
    assert not titles & {"image", "title"}
    for text in expressions(bundle[VEGA]):
        if "tooltip" not in text and "datum" not in text:
            assert MARK not in text


def test_the_bundle_is_for_the_lab_and_for_everything_else():
    bundle, metadata = mimebundle(events_over_time(events([*"ab"])).to_dict())
    assert set(bundle) == {"text/plain", VEGA, "image/png"}
    assert bundle["text/plain"].startswith("Chart: Events over time by event_type\n2 events")
    assert bundle[VEGA]["$schema"].endswith("/vega/v5.json")
    assert bundle[VEGA]["background"] == "transparent"
    assert INK in json.dumps(bundle[VEGA])
    assert metadata[VEGA]["embed_options"] == {"renderer": "svg", "actions": False}
    text = json.dumps({k: v for k, v in bundle[VEGA].items() if k != "$schema"})
    assert "http" not in text


def test_the_chart_describes_itself_to_a_screen_reader():
    chart = events_over_time(events([*"ab"])).to_dict()
    assert chart["description"].startswith("Events over time by event_type. 2 events, 2 names.")


def test_charts_are_put_together_by_altair():
    left = events_over_time(events([*"ab"])) & states_over_time(states([*"ab"]))
    right = events_over_time(events([*"ab"]), every="1 hour").properties(width=100)
    bundle, _ = mimebundle((left | right).to_dict())
    assert bundle["image/png"].startswith(b"\x89PNG")


def test_our_ink_gives_way_to_the_chart_s_own():
    chart = events_over_time(events([*"ab"])).configure_axis(labelColor="#123456")
    bundle, _ = mimebundle(chart.properties(background="#ffffff").to_dict(), picture=False)
    assert "#123456" in json.dumps(bundle[VEGA])
    assert bundle[VEGA]["background"] == "#ffffff"


def test_a_renderer_that_somebody_chose_stays():
    with alt.renderers.enable("svg"):
        enable()
        assert alt.renderers.active == "svg"
    with alt.renderers.enable("default"):
        events_over_time(events([*"ab"]))
        assert alt.renderers.active == "esnb"


def test_no_picture_is_fetched_for_a_chart():
    spec = alt.Chart({"url": "http://127.0.0.1:9/never.csv"}).mark_point().encode(x="a:Q")
    with pytest.raises(ValueError, match=r"allowed|External"):
        mimebundle(spec.to_dict())
