"""The directly-follows graph: which type comes after which, how often, and after how long."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from esnb.flow.groups import distinct_in_groups, means, quantiles, sort_in_groups
from esnb.flow.steps import Ints, Steps, ranges
from esnb.log.segment import stable_order

__all__ = ["edges"]

# Pairs of so few types are counted in a table of all pairs.
_FEW_TYPES = 2_000
_PART = 1_000_000
_THREADS = 2
# Runs that are shorter, on average, are put in place together.
_SHORT = 64
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
    # Whole cases at a time: what is sorted at once stays within the caches, and the cases of a
    # pair add up.
    cuts = np.unique(np.searchsorted(steps.firsts, np.arange(0, len(steps), _PART)))
    parts = list(pairwise([*cuts.tolist(), steps.cases]))
    with ThreadPoolExecutor(_THREADS, "esnb-flow") as threads:
        pairs, counts, number = _found(steps, threads.map(lambda p: _begun(steps, *p), parts))
        starts = np.cumsum(counts) - counts
        filled = starts.copy()
        cases = np.zeros(len(pairs), np.int64)
        waits = np.empty(int(counts.sum()), np.int64)
        for own, having, inside in threads.map(
            lambda p: _part(steps, number, len(pairs), *p), parts
        ):
            cases += having
            _put(waits, filled, inside, own)
            filled += own
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


def _begun(steps: Steps, first: int, last: int) -> Ints:
    """Return the pair that each event of some cases begins: types times source, plus target.

    The last event of a case begins one that is no pair, behind all others.
    """
    types = len(steps.types)
    start, end = steps.firsts[first], steps.firsts[last]
    ids = steps.type_ids[start:end]
    pair = np.empty(len(ids), np.int64)
    np.multiply(ids[:-1], types, out=pair[:-1], dtype=np.int64)
    pair[:-1] += ids[1:]
    pair[steps.firsts[first + 1 : last + 1] - 1 - start] = types * types
    return pair


def _found(steps: Steps, parts: Iterable[Ints]) -> tuple[Ints, Ints, Callable[[Ints], Any]]:
    """Return the pairs that there are, how often, and what numbers them."""
    types = len(steps.types)
    if types < _FEW_TYPES:
        # A table of all pairs that there may be.
        found = np.zeros(types * types + 1, np.int64)
        for pair in parts:
            found += np.bincount(pair, minlength=len(found))
        pairs = np.flatnonzero(found[:-1])
        kind = np.uint16 if len(pairs) < 2**16 else np.int64
        number = np.full(len(found), len(pairs), kind)
        number[pairs] = np.arange(len(pairs))
        return pairs, found[pairs], lambda pair: number[pair]
    each = [np.unique(pair, return_counts=True) for pair in parts]
    pairs, place = np.unique(np.concatenate([pair for pair, _ in each]), return_inverse=True)
    counts = np.bincount(place, np.concatenate([count for _, count in each])).astype(np.int64)
    return pairs[:-1], counts[:-1], lambda pair: np.searchsorted(pairs, pair)


def _part(
    steps: Steps, number: Callable[[Ints], Any], pairs: int, first: int, last: int
) -> tuple[Ints, Ints, Ints]:
    """Return counts, cases and waits of the pairs within some cases; the waits by pair."""
    group = number(_begun(steps, first, last))
    counts = np.bincount(group, minlength=pairs + 1)[:-1].astype(np.int64)
    order = stable_order(group)[: int(counts.sum())]
    at = steps.at[steps.firsts[first] : steps.firsts[last]]
    waits = (at[1:] - at[:-1])[order]
    # In the order of cases still, so that each case of a pair begins once.
    case = np.repeat(np.arange(last - first, dtype=np.int32), steps.lengths[first:last])
    there = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[there]
    having = np.zeros(pairs, np.int64)
    having[there] = distinct_in_groups(case[order], starts)
    return counts, having, waits


def _put(waits: Ints, places: Ints, inside: Ints, counts: Ints) -> None:
    """Put waits that lie pair after pair where each pair has its place."""
    there = np.flatnonzero(counts)
    if len(inside) < _SHORT * len(there):
        waits[ranges(places[there], counts[there])] = inside
        return
    start = 0
    for place, count in zip(places[there].tolist(), counts[there].tolist(), strict=True):
        waits[place : place + count] = inside[start : start + count]
        start += count


def _named(steps: Steps, numbers: Ints) -> Any:
    """Return the names of types; -1 is none."""
    names = pa.array(steps.types, pa.string())
    return names.take(pa.array(np.maximum(numbers, 0), pa.int64(), mask=numbers < 0))
