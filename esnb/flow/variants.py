"""Variants: the cases that went the same way, type after type."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from esnb.flow.groups import means, quantiles, sort_in_groups
from esnb.flow.steps import Bools, Ints, Steps, instants_of, ranges
from esnb.log.segment import stable_order

__all__ = ["Variants"]

_EXAMPLES = 3
# So many types of a long case are hashed at once.
_PIECE = 10_000


class Variants:
    """The variants of some steps, most cases first, then by their types.

    Attributes
    ----------
    cases
        How many cases each variant has.
    of_case
        Number of the variant of each case.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        codes, ways = _coded(steps)
        counts = np.bincount(codes, minlength=len(ways)).astype(np.int64)
        order = pc.sort_indices(
            pa.table({"cases": counts, "way": ways}),
            sort_keys=[("cases", "descending"), ("way", "ascending")],
        ).to_numpy()
        number = np.empty(len(order), np.int64)
        number[order] = np.arange(len(order))
        self.of_case: Ints = number[codes]
        self.cases: Ints = counts[order]

    def __len__(self) -> int:
        return len(self.cases)

    @cached_property
    def _by_variant(self) -> tuple[Ints, Ints]:
        """The cases by variant and name, and where each variant begins among them."""
        return stable_order(self.of_case), np.cumsum(self.cases) - self.cases

    def table(self, limit: int | None = None) -> Any:
        """Return the first variants, durations in microseconds.

        Returns
        -------
        pyarrow.Table
            ``variant`` (list of types), ``length``, ``cases``, ``share``, ``median_duration``,
            ``mean_duration``, ``p95_duration``, ``first_seen``, ``last_seen``, ``examples``,
            ``variant_id``.
        """
        steps = self._steps
        counts = self.cases[:limit]
        order, starts = self._by_variant
        starts = starts[:limit]
        order = order[: int(counts.sum())]
        started, ended = steps.at[steps.firsts[:-1]][order], steps.at[steps.firsts[1:] - 1][order]
        durations = ended - started
        average = means(durations, starts, counts)
        sort_in_groups(durations, starts, counts)
        first = order[starts]
        examples = np.minimum(counts, _EXAMPLES)
        return pa.table(
            {
                "variant": self._types(first),
                "length": steps.lengths[first],
                "cases": counts,
                "share": counts / max(steps.cases, 1),
                "median_duration": quantiles(durations, starts, counts, 1, 2),
                "mean_duration": average,
                "p95_duration": quantiles(durations, starts, counts, 19, 20),
                "first_seen": instants_of(_reduced(np.minimum, started, starts)),
                "last_seen": instants_of(_reduced(np.maximum, ended, starts)),
                "examples": pa.LargeListArray.from_arrays(
                    pa.array(np.append(0, np.cumsum(examples))),
                    steps.names.take(pa.array(order[ranges(starts, examples)])),
                ),
                "variant_id": pa.array(self._ids(first), pa.string()),
            }
        )

    def having(self, variant_id: str) -> Bools | None:
        """Return which cases are of the variant of this id; None if there is no such variant."""
        order, starts = self._by_variant
        for number, found in enumerate(self._ids(order[starts])):
            if found == variant_id:
                return np.equal(self.of_case, number)
        return None

    def _types(self, cases: Ints) -> Any:
        """Return the types of some cases as lists; a name stands in memory once."""
        steps = self._steps
        lengths = steps.lengths[cases]
        ids = steps.type_ids[ranges(steps.firsts[cases], lengths)]
        names = pa.DictionaryArray.from_arrays(pa.array(ids), pa.array(steps.types, pa.string()))
        return pa.LargeListArray.from_arrays(pa.array(np.append(0, np.cumsum(lengths))), names)

    def _ids(self, cases: Ints) -> Iterator[str]:
        """Yield the ids of the variants of some cases."""
        steps = self._steps
        texts = [json.dumps(name, ensure_ascii=False).encode() for name in steps.types]
        for start, end in zip(
            steps.firsts[cases].tolist(), steps.firsts[cases + 1].tolist(), strict=True
        ):
            digest = hashlib.sha256(b"[")
            for place in range(start, end, _PIECE):
                ids = steps.type_ids[place : min(place + _PIECE, end)].tolist()
                digest.update(b"," if place > start else b"")
                digest.update(b",".join(texts[number] for number in ids))
            digest.update(b"]")
            yield digest.hexdigest()[:16]


def _coded(steps: Steps) -> tuple[Ints, Any]:
    """Return a number for the way of each case, and the ways as texts that sort as lists do."""
    # Numbers with their highest byte first: their bytes sort as the names of the types do.
    kind = next(k for k in ("u1", ">u2", ">u4") if len(steps.types) <= 256 ** np.dtype(k).itemsize)
    places = steps.type_ids.astype(kind)
    offsets = steps.firsts * places.itemsize
    ways = pa.Array.from_buffers(
        pa.large_binary(), steps.cases, [None, pa.py_buffer(offsets), pa.py_buffer(places)]
    ).dictionary_encode()
    return ways.indices.to_numpy().astype(np.int64), ways.dictionary


def _reduced(least: np.ufunc, values: Ints, starts: Ints) -> Ints:
    found: Ints = least.reduceat(values, starts) if len(starts) else values
    return found
