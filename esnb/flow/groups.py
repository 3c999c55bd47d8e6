"""Numbers in groups that lie one after the other: distinct ones, means and quantiles, exact."""

from __future__ import annotations

from typing import Any

import numpy as np

from esnb.flow.steps import Ints, ranges

__all__ = ["distinct_in_groups", "means", "quantiles", "sort_in_groups"]

# Groups of so many numbers are worth a call of their own.
_LARGE = 500
_LOW = 32


def distinct_in_groups(values: Any, starts: Ints) -> Ints:
    """Return how many values each group has; equal ones must stand together in it."""
    if not len(starts):
        return np.zeros(0, np.int64)
    new = np.ones(len(values), np.int64)
    new[1:] = values[1:] != values[:-1]
    new[starts] = 1
    found: Ints = np.add.reduceat(new, starts)
    return found


def means(values: Ints, starts: Ints, counts: Ints) -> Ints:
    """Return the means of groups, rounded, halves up; no group may be empty.

    A sum may need more than 64 bits: ten million waits of eleven days do.
    """
    if not len(starts):
        return np.zeros(0, np.int64)
    high = np.add.reduceat(values >> _LOW, starts).tolist()
    low = np.add.reduceat(values & ((1 << _LOW) - 1), starts).tolist()
    return np.array(
        [
            (2 * ((above << _LOW) + below) + count) // (2 * count)
            for above, below, count in zip(high, low, counts.tolist(), strict=True)
        ],
        np.int64,
    )


def sort_in_groups(values: Ints, starts: Ints, counts: Ints) -> None:
    """Sort the values of each group, in place."""
    large = counts >= _LARGE
    for start, count in zip(starts[large].tolist(), counts[large].tolist(), strict=True):
        values[start : start + count].sort()
    if not large.all():
        small = counts[~large]
        rows = ranges(starts[~large], small)
        group = np.repeat(np.arange(len(small)), small)
        own = values[rows]
        values[rows] = own[np.lexsort((own, group))]


def quantiles(values: Ints, starts: Ints, counts: Ints, part: int, of: int) -> Ints:
    """Return a continuous quantile of sorted groups, rounded, halves up.

    Parameters
    ----------
    part, of
        Which one: 19 of 20 is the 95th percentile.
    """
    place = part * (counts - 1)
    lower = starts + place // of
    rest = place % of
    upper = lower + (rest > 0)
    # Instants lie within 10,000 years, so that this stays below 2**63 for parts up to 20.
    found: Ints = values[lower] + ((values[upper] - values[lower]) * rest + of // 2) // of
    return found
