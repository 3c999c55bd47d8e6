"""How wide a text will be, so that boxes fit around it before anything is drawn."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from esnb.show import visible

__all__ = ["fitted", "width", "wrapped"]

# Advance widths of ASCII from the space on, in hundredths of the font's size.  Those of DejaVu
# Sans, the widest of the fonts that "sans-serif" means: what fits in it fits in the others.
_ASCII = (
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75,
    79, 60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35,
    63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
)  # fmt: skip
_OTHER, _WIDE = 80, 125


def width(text: str, size: float) -> float:
    """Return the width of one line of `text` in a font of `size` pixels, rather more than less.

    >>> round(width("Paid", 10))
    21
    """
    total = 0
    for sign in text:
        code = ord(sign) - 32
        if 0 <= code < len(_ASCII):
            total += _ASCII[code]
        elif unicodedata.combining(sign):
            continue
        else:
            total += _WIDE if unicodedata.east_asian_width(sign) in "FW" else _OTHER
    return total * size / 100


def wrapped(text: str, size: float, widest: float, lines: int = 2) -> list[str]:
    """Return `text` in at most `lines` lines of at most `widest` pixels, the last one cut.

    What cannot be seen is spelled out as in `esnb.show.visible`.

    >>> wrapped("Record Invoice Receipt", 11, 110)
    ['Record Invoice', 'Receipt']
    >>> wrapped("x" * 10_000, 11, 60)
    ['xxxxxxxxx', 'xxxxxxx…']
    """
    # More letters than this never fit; a type may have a million of them.
    left = visible(text, int(lines * widest / (0.2 * size)) + 2).strip() or "(empty)"
    result: list[str] = []
    while left and len(result) < lines - 1:
        head = _fitting(left, size, widest)
        if len(head) < len(left):
            # Break at a space, or else where it is full.
            broken = head.rfind(" ") if left[len(head)] != " " else len(head)
            head = left[:broken] if broken > len(head) // 3 else head
        result.append(head.rstrip())
        left = left[len(head) :].lstrip()
    if left:
        head = _fitting(left, size, widest)
        if len(head) < len(left):
            head = _fitting(left, size, widest - width("…", size)).rstrip() + "…"
        result.append(head)
    return result


def fitted(texts: Iterable[str], size: float, widest: float) -> list[str]:
    """Return a label of at most about `widest` pixels for each text, no two alike.

    Cut here and not by Vega, whose limits may cut a character in two.

    >>> fitted(["Record Goods Receipt", "Record Goods Return"], 11, 80)
    ['Record Good…', 'Record Good… (2)']
    """
    used: set[str] = set()
    result = []
    for text in texts:
        label = wrapped(text, size, widest, lines=1)[0]
        unique, number = label, 2
        while unique in used:
            unique, number = f"{label} ({number})", number + 1
        used.add(unique)
        result.append(unique)
    return result


def _fitting(text: str, size: float, widest: float) -> str:
    """Return as much of the front of `text` as fits, one letter at least."""
    total = 0.0
    for place, sign in enumerate(text):
        total += width(sign, size)
        if total > widest and place:
            return text[:place]
    return text
