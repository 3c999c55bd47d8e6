"""Showing text that may be hostile: on a terminal and in a notebook.

Payloads are data.  Control characters, line breaks and characters that change
the direction of text are spelled out; nothing becomes markup.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime

from esnb.instants import iso

__all__ = ["UNTYPESET", "html_table", "text_table", "visible"]

# MathJax leaves elements of these classes alone, so that $…$ stays what it is: the second is the
# name of the lab's, the first that of older ones.
UNTYPESET = 'class="tex2jax_ignore mathjax_ignore"'

_WHOLE = 40  # characters of a cell that stay on one line
_HIDDEN = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"}


def visible(value: object, limit: int = 0) -> str:
    """Return a value as one line of harmless text, cut to `limit` characters (0 for all).

    >>> visible("a\\x1b[31mb\\u202e")
    'aU+001B[31mbU+202E'
    """
    if value is None:
        return "—"
    text = iso(value) if isinstance(value, datetime) and value.tzinfo else str(value)
    if limit and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isprintable():
        return text
    return "".join(
        f"U+{ord(sign):04X}" if unicodedata.category(sign) in _HIDDEN else sign for sign in text
    )


def text_table(names: Sequence[str], rows: Iterable[Sequence[object]], limit: int = 60) -> str:
    """Return rows as columns of text for a terminal, cells cut to `limit` characters."""
    cells = [[visible(name, limit) for name in names]]
    numeric = [True] * len(names)
    for row in rows:
        cells.append([visible(value, limit) for value in row])
        for place, value in enumerate(row):
            numeric[place] &= value is None or isinstance(value, int | float)
    widths = [max(len(row[place]) for row in cells) for place in range(len(names))]
    lines = []
    for row in cells:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "  ".join("─" * width for width in widths))
    return "\n".join(lines)


def html_table(
    names: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    limit: int = 200,
) -> str:
    """Return rows as an HTML table in which every value is text."""

    def cell(tag: str, value: object) -> str:
        text = visible(value, limit)
        # A browser would break order-17 and 2026-03-01 at their hyphens.
        whole = ' style="white-space:nowrap"' if "-" in text and len(text) <= _WHOLE else ""
        return f"<{tag}{whole}>{html.escape(text)}</{tag}>"

    head = "".join(cell("th", name) for name in names)
    body = "".join("<tr>" + "".join(cell("td", v) for v in row) + "</tr>" for row in rows)
    title = f"<caption>{html.escape(visible(caption))}</caption>" if caption else ""
    return f"<table {UNTYPESET}>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
