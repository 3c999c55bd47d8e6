"""The plain picture that stands in for a timeline: a bar is as high as it counts."""

from xml.etree import ElementTree as ET

import pytest

from esnb.chart.bars import bars_png, bars_svg

DAY = 86_400_000_000
TITLE = '<script>&"'


def parts(edges, counts, zone="UTC"):
    """Return the bars as (x, width, bottom, height), and the texts."""
    root = ET.fromstring(bars_svg(edges, counts, title=TITLE, zone=zone))  # noqa: S314 (ours)
    kinds = {child.tag.rpartition("}")[2] for child in root}
    assert kinds <= {"rect", "text"}
    bars = [
        tuple(float(one.get(name)) for name in ("x", "width", "y", "height"))
        for one in root.findall("{*}rect")
    ]
    texts = [one.text for one in root.findall("{*}text")]
    assert texts[0] == TITLE
    return [(x, wide, y + tall, tall) for x, wide, y, tall in bars], texts[1:]


def test_bars_are_as_high_as_they_count():
    # Midnights in Berlin; the second bar is twice as long.
    edges = [number * DAY - 3_600_000_000 for number in (0, 1, 3, 4)]
    bars, texts = parts(edges, [4_000, 0, 1_000], "Europe/Berlin")
    (x1, wide1, end1, tall1), (x2, wide2, end2, tall2), (_, _, end3, tall3) = bars
    assert (tall2, tall3) == (0, pytest.approx(tall1 / 4, abs=0.01))
    assert end1 == pytest.approx(end2, abs=0.02) == pytest.approx(end3, abs=0.02)
    assert wide2 == pytest.approx(2 * wide1 + 0.4, abs=0.02)
    assert x2 == pytest.approx(x1 + wide1 + 0.4, abs=0.02)
    assert texts == ["4,000", "0", "1970-01-01", "1970-01-02", "1970-01-04"]


@pytest.mark.parametrize(
    ("edges", "counts"), [([], []), ([0, 1], [1]), ([0, 1, 2], [0, 0]), ([-(10**15), 10**15], [3])]
)
def test_nothing_and_little_are_drawn(edges, counts):
    bars, _ = parts(edges, counts)
    assert len(bars) == len(counts)
    assert bars_png(edges, counts, title=TITLE, zone="UTC").startswith(b"\x89PNG\r\n\x1a\n")
