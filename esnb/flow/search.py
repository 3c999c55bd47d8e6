"""Finding the matches of a pattern in all cases at once, each event looked at twice.

Going back from the end of each case, the first pass finds for every place with which leaves a
match can still be finished there; such sets are the states of an automaton that is built as they
come up.  Going forward, the second pass takes at each place the best leaf with which it can be
finished.  So nothing is ever tried in vain, and what is found is what a backtracking matcher
(Python's ``re``) finds, in time proportional to the number of events (Frisch and Cardelli,
"Greedy regular expression matching", ICALP 2004).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from esnb.errors import FlowError
from esnb.flow.automaton import END, MATCH, Automaton
from esnb.flow.letters import Letters, Places
from esnb.flow.steps import Bools, Ints

__all__ = ["FEW", "Chooser", "Found", "Table", "columns", "search", "view", "walk"]

# So few cases at once are faster one by one, without arrays.
FEW = 32
_MOST_ENTRIES = 30_000_000
_UNKNOWN, _NONE = -3, -2

Leaves = npt.NDArray[np.int32]
States = npt.NDArray[np.int32]
One = Callable[[int, int, int], int]


@dataclass(frozen=True, eq=False)
class Found:
    """Matches, by place.

    Attributes
    ----------
    starts, ends
        Place of the first event of each, and the place behind the last.
    leaves
        For each place the leaf that took its event; of use within matches only.
    """

    starts: Ints
    ends: Ints
    leaves: Leaves


class Chooser(Protocol):
    """Tells with which leaf a match goes on."""

    def candidates(self) -> Ints:
        """Return the places at which a match can begin."""
        ...

    def choose(self, states: Ints, places: Ints, starts: Ints) -> Ints:
        """Return the best next leaf of matches that are at `places`, or `MATCH`.

        Parameters
        ----------
        states
            The leaves that took the event before; how many leaves there are for none.
        starts
            Where the matches began.
        """
        ...

    def one(self) -> One:
        """Return `choose` for one match."""
        ...


def search(table: Table, places: Places) -> Found:
    """Return the matches in all cases: in each from the left, none within another.

    Raises
    ------
    FlowError
        If the events are so varied that the automaton gets too large.
    """
    return walk(_Viable(table, places), places, table.root)


def columns(lengths: Ints) -> tuple[Ints, Ints]:
    """Return the cases from the longest on, and how many are longer than 0, 1, 2…."""
    order = np.argsort(-lengths, kind="stable")
    counts = np.bincount(lengths) if len(lengths) else np.zeros(1, np.int64)
    return order, len(lengths) - np.cumsum(counts)[:-1]


def view(array: Any) -> Any:
    """Return an array as what is read and written quickly item by item."""
    return memoryview(array)


def walk(chooser: Chooser, places: Places, root: int) -> Found:
    """Return the matches that a chooser leads to."""
    leaves = np.zeros(len(places), np.int32)
    begins = chooser.candidates()
    case = places.case_of(begins)
    new = np.flatnonzero(np.diff(case, prepend=-1))
    stop = np.append(new, len(begins))[1:]
    found: list[tuple[Ints, Ints]] = []

    place = begins[new]
    start = place.copy()
    state = chooser.choose(np.full(len(place), root), place, start)
    while len(place) > FEW:
        leaves[place] = state
        place = place + 1
        state = chooser.choose(state, place, start)
        done = state == MATCH
        if not done.any():
            continue
        found.append((start[done], place[done]))
        at = np.searchsorted(begins, place[done])
        more = at < stop[done]
        keep = ~done
        again = np.flatnonzero(done)[more]
        place[again] = start[again] = begins[at[more]]
        state[again] = chooser.choose(np.full(len(again), root), place[again], start[again])
        keep[again] = True
        place, start, state, stop = place[keep], start[keep], state[keep], stop[keep]

    one = chooser.one()
    ones: list[tuple[int, int]] = []
    for where, began, leaf, end in zip(
        place.tolist(), start.tolist(), state.tolist(), stop.tolist(), strict=True
    ):
        mine = begins[np.searchsorted(begins, began) : end]
        _walk_one(one, root, mine, where, leaf, leaves, ones)
    if ones:
        pairs = np.array(ones, np.int64)
        found.append((pairs[:, 0], pairs[:, 1]))
    if not found:
        none = np.zeros(0, np.int64)
        return Found(none, none, leaves)
    starts, ends = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(starts)
    return Found(starts[order], ends[order], leaves)


def _walk_one(
    one: One,
    root: int,
    begins: Ints,
    place: int,
    leaf: int,
    leaves: Leaves,
    found: list[tuple[int, int]],
) -> None:
    """Go on with one case, in the middle of the match that began at the first of `begins`."""
    rest = iter(begins.tolist())
    start = next(rest)
    written = view(leaves)
    while True:
        while leaf != MATCH:
            written[place] = leaf
            place += 1
            leaf = one(leaf, place, start)
        found.append((start, place))
        for start in rest:
            if start >= place:
                break
        else:
            return
        place = start
        leaf = one(root, start, start)


class Table:
    """The leaves with which a match can be finished, as states of an automaton.

    It grows as states come up, and serves any number of searches.  State 0 stands behind the last
    event of a case.

    Attributes
    ----------
    root
        What stands for the leaf before the first event of a match.
    """

    def __init__(self, automaton: Automaton, letters: Letters) -> None:
        self.root = len(automaton.leaves)
        self._options = (*automaton.follow, automaton.starts)
        self._letters = letters
        self._states: list[tuple[int, int]] = [(0, END)]
        self._numbers = {(0, END): 0}
        # For each leaf and set of flags: whether it may be the last, and which may come next.
        self._reach: dict[tuple[int, int], tuple[bool, int]] = {}
        width = len(letters.leaves)
        self._steps = np.full((16, width), _UNKNOWN, np.int32)
        self._nexts = np.full((len(self._options), 16), _UNKNOWN, np.int32)

    def begins(self) -> Bools:
        """Return for each state whether a match can begin there."""
        begins = [self.choice(self.root, state) >= 0 for state in range(len(self._states))]
        # Behind the last event nothing begins.
        begins[0] = False
        return np.array(begins)

    def before(self, states: States, letters: States) -> States:
        """Return the states before events, given those behind them."""
        return self._looked_up("_steps", self.step, states, letters)

    def choices(self, leaves: Ints, states: States) -> Ints:
        """Return the best leaf behind each of `leaves`, or `MATCH`."""
        return self._looked_up("_nexts", self.choice, leaves, states).astype(np.int64)

    def _looked_up(
        self, name: str, work: Callable[[int, int], int], rows: Any, columns: Any
    ) -> States:
        table = getattr(self, name)
        found: States = table[rows, columns]
        unknown = found == _UNKNOWN
        if unknown.any():
            width = table.shape[1]
            keys = np.unique(rows[unknown].astype(np.int64) * width + columns[unknown])
            for key in keys.tolist():
                work(*divmod(key, width))
            # It may be another one that has grown.
            found = getattr(self, name)[rows, columns]
        return found

    def step(self, state: int, letter: int) -> int:
        """Return the state before an event, given that behind it."""
        known = int(self._steps[state, letter])
        if known != _UNKNOWN:
            return known
        behind, flags = self._states[state]
        viable, rest = 0, self._letters.leaves[letter]
        while rest:
            bit = rest & -rest
            rest ^= bit
            last, nexts = self._reached(bit.bit_length() - 1, flags)
            if last or nexts & behind:
                viable |= bit
        found = self._number((viable, self._letters.flags[letter]))
        self._steps[state, letter] = found
        return found

    def choice(self, leaf: int, state: int) -> int:
        """Return the best leaf behind a leaf, or `MATCH`."""
        viable, flags = self._states[state]
        for needed, target in self._options[leaf]:
            if needed & flags == needed and (target == MATCH or viable >> target & 1):
                break
        else:
            target = _NONE
        self._nexts[leaf, state] = target
        return target

    def _reached(self, leaf: int, flags: int) -> tuple[bool, int]:
        found = self._reach.get((leaf, flags))
        if found is None:
            last, nexts = False, 0
            for needed, target in self._options[leaf]:
                if needed & flags != needed:
                    continue
                if target == MATCH:
                    last = True
                else:
                    nexts |= 1 << target
            found = self._reach[leaf, flags] = (last, nexts)
        return found

    def _number(self, state: tuple[int, int]) -> int:
        number = self._numbers.get(state)
        if number is None:
            number = self._numbers[state] = len(self._states)
            self._states.append(state)
            if number >= len(self._steps):
                self._grow()
        return number

    def _grow(self) -> None:
        height = 2 * len(self._steps)
        if height * max(self._steps.shape[1], len(self._nexts)) > _MOST_ENTRIES:
            raise FlowError(
                f"the pattern is too involved for events as varied as these: it has "
                f"{self.root:,} elements once its repetitions are written out. Ask for fewer "
                "repetitions, as {3,} in place of {300}, or for fewer conditions"
            )
        self._steps = np.pad(self._steps, ((0, len(self._steps)), (0, 0)), constant_values=_UNKNOWN)
        self._nexts = np.pad(
            self._nexts, ((0, 0), (0, self._nexts.shape[1])), constant_values=_UNKNOWN
        )


class _Viable:
    """The state of the table at each place of some cases."""

    def __init__(self, table: Table, places: Places) -> None:
        self._table = table
        self._places = places
        self._at = np.zeros(len(places), np.int32)
        self._back()

    def _back(self) -> None:
        places, of = self._places, self._places.letters
        order, longer = columns(places.lengths)
        ends = places.ends[order]
        state = np.zeros(len(ends), np.int32)
        for rank, count in enumerate(longer.tolist()):
            if count <= FEW:
                for case in range(count):
                    self._back_one(int(places.firsts[order[case]]), int(ends[case]) - rank)
                break
            here = ends[:count] - (rank + 1)
            state = self._table.before(state[:count], of[here])
            self._at[here] = state

    def _back_one(self, first: int, place: int) -> None:
        of, at = view(self._places.letters), view(self._at)
        known: dict[tuple[int, int], int] = {}
        state = at[place]
        for here in range(place - 1, first - 1, -1):
            key = (state, of[here])
            step = known.get(key)
            if step is None:
                step = known[key] = self._table.step(*key)
            at[here] = state = step

    def candidates(self) -> Ints:
        found: Ints = np.flatnonzero(self._table.begins()[self._at])
        return found

    def choose(self, states: Ints, places: Ints, starts: Ints) -> Ints:
        return self._table.choices(states, self._at[places])

    def one(self) -> One:
        at, table = view(self._at), self._table
        known: dict[tuple[int, int], int] = {}

        def chosen(state: int, place: int, start: int) -> int:
            key = (state, at[place])
            found = known.get(key)
            if found is None:
                found = known[key] = table.choice(*key)
            return found

        return chosen
