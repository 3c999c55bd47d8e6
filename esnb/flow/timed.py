"""Finding matches that must be over in time.

Where the best match from some event takes too long, a worse one may not.  So for every leaf and
place it is worked out where a match that goes on so can end at the earliest; a leaf may be taken
if that lies within the time that began with the match.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from esnb.errors import FlowError
from esnb.flow.automaton import END, MATCH, Automaton
from esnb.flow.letters import Letters, Places
from esnb.flow.search import FEW, Found, One, columns, view, walk
from esnb.flow.steps import Ints

__all__ = ["first_beyond", "search_timed"]

_NEVER = 2**31 - 1
_LATEST = 2**63 - 1
# Entries of the table of leaves and places, four bytes each.
_MOST_ENTRIES = 20_000_000
_MOST_LARGE = 200_000_000


def search_timed(
    automaton: Automaton, letters: Letters, places: Places, at: Ints, within: int
) -> Found:
    """Return the matches in all cases with no event later than `within` after their first.

    Parameters
    ----------
    at
        When the event at each place happened, in microseconds; anything behind the last.
    within
        Microseconds.

    Raises
    ------
    FlowError
        If the pattern is too long for so long a case.
    """
    leaves = np.zeros(len(places), np.int32)
    starts, ends = [], []
    for first, last in _portions(places, len(automaton.leaves)):
        low, high = int(places.firsts[first]), int(places.firsts[last])
        own = Places(
            places.letters[low:high],
            places.firsts[first : last + 1] - low,
            places.ends[first:last] - low,
        )
        found = walk(
            _Timed(automaton, letters, own, at[low:high], within), own, len(automaton.leaves)
        )
        starts.append(found.starts + low)
        ends.append(found.ends + low)
        leaves[low:high] = found.leaves
    if not starts:
        none = np.zeros(0, np.int64)
        return Found(none, none, leaves)
    return Found(np.concatenate(starts), np.concatenate(ends), leaves)


def _portions(places: Places, leaves: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of cases, of a bounded number of entries each."""
    most = max(_MOST_ENTRIES // leaves, 1)
    first = 0
    while first < places.cases:
        last = int(np.searchsorted(places.firsts, places.firsts[first] + most, "right")) - 1
        last = min(max(last, first + 1), places.cases)
        size = int(places.firsts[last] - places.firsts[first])
        if size * leaves > _MOST_LARGE:
            raise FlowError(
                f"a case of {size - 1:,} events and a pattern of {leaves:,} elements, once its "
                "repetitions are written out, are too much for a limit in time; ask for fewer "
                "repetitions, as {3,} in place of {300}"
            )
        yield first, last
        first = last


def first_beyond(values: Ints, starts: Ints, limits: Ints, ends: Ints) -> Ints:
    """Return for each of `starts` the first place from there on, before its end, beyond a limit.

    Parameters
    ----------
    values
        Any order: a case whose clock is that of the records may go back in time.
    limits
        For each start what its value must exceed.
    ends
        What to return where there is none.
    """
    # A tree of maxima, level by level: one of level k is over 2**k places.
    levels = [values]
    while len(levels[-1]) > 1:
        below = levels[-1]
        if len(below) % 2:
            below = np.append(below, below[-1])
        levels.append(np.maximum(below[::2], below[1::2]))
    tree = np.concatenate(levels)
    offsets = np.cumsum([0, *map(len, levels)])
    place, height = starts.astype(np.int64), np.zeros(len(starts), np.int64)
    active = np.flatnonzero(place < ends)
    while len(active):
        here, level = place[active], height[active]
        hit = tree[offsets[level] + (here >> level)] > limits[active]
        # Down into a block in which there is one; past one in which there is none, and up
        # where a larger one begins.
        here = np.where(hit, here, here + (np.int64(1) << level))
        larger = ~hit & (here >> level & 1 == 0) & (level + 1 < len(levels))
        going = (here < ends[active]) & ~(hit & (level == 0))
        place[active], height[active] = here, level - hit + larger
        active = active[going]
    return np.minimum(place, ends)


class _Timed:
    """Where a match can end at the earliest, by leaf and place."""

    def __init__(
        self, automaton: Automaton, letters: Letters, places: Places, at: Ints, within: int
    ) -> None:
        self._options = (*automaton.follow, automaton.starts)
        self._places = places
        self._flags = np.array(letters.flags, np.int64)[places.letters]
        self._flags[places.ends] = END
        self._earliest = np.full((len(automaton.leaves), len(places)), _NEVER, np.int32)
        self._takes = [
            np.array([bool(mask >> leaf & 1) for mask in letters.leaves])
            for leaf in range(len(automaton.leaves))
        ]
        self._back(letters)
        earliest = self._best(len(automaton.leaves), np.arange(len(places), dtype=np.int64))
        begins = np.flatnonzero(earliest < _NEVER)
        limits = np.where(at[begins] > _LATEST - within, _LATEST, at[begins] + within)
        # The places before which a match that begins here must end.
        self._cut = np.zeros(len(places), np.int64)
        self._cut[begins] = first_beyond(at, begins, limits, places.ends[places.case_of(begins)])
        self._begins: Ints = begins[earliest[begins] <= self._cut[begins]]

    def _back(self, letters: Letters) -> None:
        places = self._places
        order, longer = columns(places.lengths)
        ends = places.ends[order]
        for rank, count in enumerate(longer.tolist()):
            if count <= FEW:
                for case in range(count):
                    first = int(places.firsts[order[case]])
                    self._back_one(letters, first, int(ends[case]) - rank)
                break
            here = ends[:count] - (rank + 1)
            letter = places.letters[here]
            for leaf, takes in enumerate(self._takes):
                taken = here[takes[letter]]
                if len(taken):
                    self._earliest[leaf, taken] = self._best(leaf, taken + 1)

    def _best(self, state: int, places: Ints) -> npt.NDArray[np.int32]:
        """Return where a match that is at `places` can end at the earliest."""
        best = np.full(len(places), _NEVER, np.int32)
        for needed, target in self._options[state]:
            ends = places.astype(np.int32) if target == MATCH else self._earliest[target, places]
            if needed:
                ends = np.where(self._flags[places] & needed == needed, ends, _NEVER)
            np.minimum(best, ends, out=best)
        return best

    def _back_one(self, letters: Letters, first: int, place: int) -> None:
        of, flags = view(self._places.letters), view(self._flags)
        earliest = [view(row) for row in self._earliest]
        takers = [
            [leaf for leaf, takes in enumerate(self._takes) if takes[letter]]
            for letter in range(len(letters.leaves))
        ]
        for here in range(place - 1, first - 1, -1):
            behind = here + 1
            for leaf in takers[of[here]]:
                best = _NEVER
                for needed, target in self._options[leaf]:
                    if flags[behind] & needed == needed:
                        end = behind if target == MATCH else earliest[target][behind]
                        if end < best:
                            best = end
                earliest[leaf][here] = best

    def candidates(self) -> Ints:
        return self._begins

    def choose(self, states: Ints, places: Ints, starts: Ints) -> Ints:
        chosen = np.full(len(states), MATCH, np.int64)
        cut = self._cut[starts]
        for state in np.flatnonzero(np.bincount(states)).tolist():
            rest = np.flatnonzero(states == state)
            for needed, target in self._options[state]:
                here = places[rest]
                fits = (here if target == MATCH else self._earliest[target, here]) <= cut[rest]
                if needed:
                    fits &= self._flags[here] & needed == needed
                chosen[rest[fits]] = target
                rest = rest[~fits]
        return chosen

    def one(self) -> One:
        flags, cut = view(self._flags), view(self._cut)
        earliest = [view(row) for row in self._earliest]
        options = self._options

        def chosen(state: int, place: int, start: int) -> int:
            for needed, target in options[state]:
                if (place if target == MATCH else earliest[target][place]) <= cut[start] and flags[
                    place
                ] & needed == needed:
                    return target
            raise AssertionError("a match was begun that cannot be finished")

        return chosen
