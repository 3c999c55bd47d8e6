"""Going through many short runs of rows at once: all first rows, then all second ones…"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["Runs", "fill", "runs_of"]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
# With fewer runs than this still going on, rows are taken one by one.
_FEW = 48


class Runs:
    """Runs of rows that follow each other: of one stream, and one life in it.

    Attributes
    ----------
    first
        Row at which each run begins, in order.
    of
        Number of the run for each row.
    """

    def __init__(self, begins: Bools) -> None:
        self.first: Ints = np.flatnonzero(begins)
        self.of: Ints = np.cumsum(begins) - 1

    def through(
        self,
        rows: Ints,
        many: Callable[[Ints, Ints], None],
        one: Callable[[int, Ints], None],
    ) -> None:
        """Take `rows` (in order) run by run: `many` of different runs at once, or `one` run's.

        Parameters
        ----------
        many
            Called with runs and a row of each.
        one
            Called with a run and all its remaining rows.
        """
        if not rows.size:
            return
        run = self.of[rows]
        start = np.flatnonzero(np.concatenate(([True], run[1:] != run[:-1])))
        length = np.diff(np.concatenate((start, [rows.size])))
        order = np.argsort(-length, kind="stable")
        start, length = start[order], length[order]
        longest = int(length[0])
        # How many runs are longer than n, for every n.
        going = np.searchsorted(-length, -np.arange(longest), side="left")
        for turn in range(longest):
            count = int(going[turn])
            if count < _FEW:
                for number in range(count):
                    mine = rows[start[number] + turn : start[number] + length[number]]
                    one(int(self.of[mine[0]]), mine)
                return
            now = rows[start[:count] + turn]
            many(self.of[now], now)


def runs_of(streams: npt.NDArray[np.bool_], ended: Bools) -> Runs:
    """Return the runs, given where a stream begins and which rows end a life."""
    begins = streams.copy()
    begins[1:] |= ended[:-1]
    return Runs(begins)


def fill(runs: Runs, marked: Ints, rows: int) -> Ints:
    """Return for each row the last of `marked` before it in its run, or -1."""
    flags = np.zeros(rows, np.int64)
    flags[marked] = 1
    before = np.cumsum(flags) - flags - 1
    found = np.where(before >= 0, marked[np.maximum(before, 0)] if marked.size else -1, -1)
    return np.where(found >= runs.first[runs.of], found, -1)
