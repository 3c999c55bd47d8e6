"""Bars over time as a plain picture, without Altair: quick, for what stands in for a widget."""

from __future__ import annotations

import html
from collections.abc import Sequence

from esnb import instants

__all__ = ["bars_png", "bars_svg"]

_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 150, 70, 24
_INK, _BAR = "#767676", "#3b82c4"  # readable on white as on black
_LABELS = 6


def bars_png(edges: Sequence[int], counts: Sequence[int], *, title: str, zone: str) -> bytes:
    """Draw how many events lie between neighbouring edges.

    Parameters
    ----------
    edges
        Microseconds since 1970, ascending, one more than `counts`.
    counts
        Events in each bar.
    title
        One line that stands above.
    zone
        IANA zone in which times are written.

    Returns
    -------
    bytes
        A PNG with transparent ground.
    """
    import vl_convert

    drawn: bytes = vl_convert.svg_to_png(bars_svg(edges, counts, title=title, zone=zone), scale=2)
    return drawn


def bars_svg(edges: Sequence[int], counts: Sequence[int], *, title: str, zone: str) -> str:
    """Return the same as SVG."""
    high, wide = _HEIGHT - _TOP - 30, _WIDTH - _LEFT - 10
    parts = [_text(0, 12, title)]
    if len(counts):
        begin, span = edges[0], max(1, edges[-1] - edges[0])
        most = max(1, *counts)
        parts.append(_text(_LEFT - 6, _TOP + 8, f"{most:,}", "end"))
        parts.append(_text(_LEFT - 6, _TOP + high, "0", "end"))
        for place, count in enumerate(counts):
            x = _LEFT + wide * (edges[place] - begin) / span
            to = _LEFT + wide * (edges[place + 1] - begin) / span
            tall = high * count / most
            parts.append(
                f'<rect x="{x:.2f}" y="{_TOP + high - tall:.2f}" fill="{_BAR}"'
                f' width="{max(0.6, to - x - 0.4):.2f}" height="{tall:.2f}"/>'
            )
        every = max(1, len(counts) // _LABELS)
        fine = "minutes" if edges[1] - begin < 86_400_000_000 * 0.9 else "hours"
        for place in range(0, len(counts), every):
            x = _LEFT + wide * (edges[place] - begin) / span
            local = instants.from_micros(edges[place]).astimezone(instants.zone(zone))
            words = local.replace(tzinfo=None).isoformat(sep=" ", timespec=fine)
            words = words if fine == "minutes" else words[:10]
            if x + 6 * len(words) < _WIDTH:
                parts.append(_text(x, _HEIGHT - 10, words))
    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(parts)}</svg>'


def _text(x: float, y: float, words: str, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-family="sans-serif" font-size="11" fill="{_INK}"'
        f' text-anchor="{anchor}">{html.escape(words)}</text>'
    )
