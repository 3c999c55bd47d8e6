"""What docs/charts.md says is so."""

import doctest
import inspect
import re
from pathlib import Path

import esnb.chart
from tests import sample

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "charts.md").read_text()


def test_the_examples_answer_as_printed(tmp_path, monkeypatch):
    sample.shop(tmp_path / "data" / "shop")
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "charts.md"
    copy.write_text(re.sub(r"^```.*$", "", TEXT, flags=re.MULTILINE))
    failed, tried = doctest.testfile(
        str(copy),
        module_relative=False,
        optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS,
        encoding="utf-8",
    )
    assert tried >= 6
    assert failed == 0


def test_every_chart_is_described_with_its_twins_and_parameters():
    rows = re.findall(r"^\| `(\w+)\((.*?)\)` \| (.*?) \|", TEXT, re.MULTILINE)
    others = {"enable", "mimebundle", "events_over_time", "states_over_time"}
    twins = {name for _, _, told in rows for name in re.findall(r"`(\w+)`", told)}
    counted = {"event_counts", "state_counts"}
    assert {name for name, _, _ in rows} | twins | others | counted == set(esnb.chart.__all__)
    for name, told, _ in rows:
        parameters = inspect.signature(getattr(esnb.chart, name)).parameters
        for parameter, default in re.findall(r"(\w+)=(\"[^\"]*\"|[\w.]+)", told):
            if parameter in parameters and parameters[parameter].default is not inspect._empty:
                assert parameters[parameter].default == eval(default), (name, parameter)  # noqa: S307
        assert re.findall(r"(\w+)=", told) == [
            parameter for parameter in re.findall(r"(\w+)=", told) if parameter in parameters
        ]


def test_the_twins_have_the_parameters_of_their_charts():
    for chart, twin in (
        ("flow_map", "flow_edges"), ("flow_map", "flow_boxes"),
        ("transition_matrix", "transitions"), ("difference_map", "difference_edges"),
        ("durations_chart", "duration_bins"), ("alluvial_chart", "alluvial_steps"),
        ("dotted_chart", "dots"), ("spectrum_chart", "spectrum_lines"),
        ("types_over_time", "type_counts"),
    ):  # fmt: skip
        drawn = inspect.signature(getattr(esnb.chart, chart)).parameters
        told = inspect.signature(getattr(esnb.chart, twin)).parameters
        assert {
            name: (parameter.default, parameter.kind) for name, parameter in told.items()
        }.items() <= {
            name: (parameter.default, parameter.kind) for name, parameter in drawn.items()
        }.items()
        # What a chart alone has is looks, not data.
        assert {*drawn} - {*told} <= {"colour", "labels", "names"}
