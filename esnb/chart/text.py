"""Texts of events on a chart: what cannot be seen is made visible, nothing is run."""

from __future__ import annotations

from collections.abc import Iterable

from esnb.show import visible

__all__ = ["field_title", "labels"]

# Cut here and not by Vega, which may cut a character in two.
_LONGEST = 40
# Vega's tooltip makes a picture of a row called "image" and a headline of one called "title".
_RESERVED = {"image", "title"}


def labels(texts: Iterable[str | None]) -> list[str]:
    """Return a label for each text, no two alike.

    Missing texts are ``(none)`` and empty ones ``(empty)``.

    >>> labels(["paid", None, "", "paid\\u200b", "(none)"])
    ['paid', '(none)', '(empty)', 'paidU+200B', '(none) (2)']
    """
    used: set[str] = set()
    result = []
    for text in texts:
        label = "(none)" if text is None else visible(text, _LONGEST) or "(empty)"
        unique, number = label, 2
        while unique in used:
            unique, number = f"{label} ({number})", number + 1
        used.add(unique)
        result.append(unique)
    return result


def field_title(name: str) -> str:
    """Return a title for the column `name` that a tooltip takes for nothing else.

    >>> field_title("event_type"), field_title("image")
    ('event_type', 'image (column)')
    """
    shown = visible(name, _LONGEST)
    return f"{shown} (column)" if shown.strip().lower() in _RESERVED else shown
