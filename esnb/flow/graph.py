"""The directly-follows graph: which type comes after which, how often, and after how long."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from esnb.flow.groups import distinct_in_groups, means, quantiles, sort_in_groups
from esnb.flow.steps import Ints, Steps
from esnb.log.segment import stable_order

__all__ = ["edges"]

# Pairs of so few types are counted in a table of all pairs.
_FEW_TYPES = 2_000
_KINDS = ("end", "start", "step")


def edges(steps: Steps) -> Any:
    """Return the edges of the directly-follows graph.

    Returns
    -------
    pyarrow.Table
        ``kind`` ('start', 'step' or 'end'), ``source``, ``target`` (NULL where a case begins
        or ends), ``count``, ``cases``; and ``median_wait``, ``mean_wait``, ``p95_wait`` in whole
        microseconds, NULL but for steps.  By count from the highest, kind, source, target.
    """
    types = len(steps.types)
    started = np.bincount(steps.type_ids[steps.firsts[:-1]], minlength=types)
    ended = np.bincount(steps.type_ids[steps.firsts[1:] - 1], minlength=types)
    first, last = np.flatnonzero(started), np.flatnonzero(ended)
    pairs, counts, cases, waits = _pairs(steps)
    none = np.full(len(first) + len(last), -1)
    kind = np.repeat([1, 0, 2], [len(first), len(last), len(pairs)])
    source = np.concatenate([none[: len(first)], last, pairs // max(types, 1)])
    target = np.concatenate([first, none[: len(last)], pairs % max(types, 1)])
    count = np.concatenate([started[first], ended[last], counts])
    order = np.lexsort((target, source, kind, -count))
    columns = {
        "kind": pa.array(_KINDS, pa.string()).take(pa.array(kind[order])),
        "source": _named(steps, source[order]),
        "target": _named(steps, target[order]),
        "count": count[order],
        "cases": np.concatenate([started[first], ended[last], cases])[order],
    }
    unknown = (kind != 2)[order]
    for name, values in waits.items():
        columns[name] = pa.array(np.concatenate([none, values])[order], pa.int64(), mask=unknown)
    return pa.table(columns)


def _pairs(steps: Steps) -> tuple[Ints, Ints, Ints, dict[str, Ints]]:
    """Return the pairs of types that follow one another, their counts, cases and waits."""
    followed = steps.followed
    pair = steps.type_ids[followed].astype(np.int64) * len(steps.types)
    pair += steps.type_ids[followed + 1]
    if len(steps.types) < _FEW_TYPES:
        found = np.bincount(pair)
        pairs = np.flatnonzero(found)
        counts = found[pairs]
        number = np.zeros(len(found), np.int64)
        number[pairs] = np.arange(len(pairs))
        group = number[pair]
    else:
        pairs, group, counts = np.unique(pair, return_inverse=True, return_counts=True)
    order = stable_order(group)
    starts = np.cumsum(counts) - counts
    # In the order of cases still, so that each case of a pair begins once.
    cases = distinct_in_groups(steps.case_ids[followed][order], starts)
    waits = (steps.at[followed + 1] - steps.at[followed])[order]
    average = means(waits, starts, counts)
    sort_in_groups(waits, starts, counts)
    return (
        pairs,
        counts,
        cases,
        {
            "median_wait": quantiles(waits, starts, counts, 1, 2),
            "mean_wait": average,
            "p95_wait": quantiles(waits, starts, counts, 19, 20),
        },
    )


def _named(steps: Steps, numbers: Ints) -> Any:
    """Return the names of types; -1 is none."""
    names = pa.array(steps.types, pa.string())
    return names.take(pa.array(np.maximum(numbers, 0), pa.int64(), mask=numbers < 0))
