"""Patterns: a text is read once, and found in the cases of a flow."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from esnb.flow import grammar
from esnb.flow.automaton import Automaton, compiled
from esnb.flow.grammar import Element
from esnb.flow.letters import Key, Letters, Places, letters
from esnb.flow.search import Found, Table, search
from esnb.flow.steps import Bools, Ints, Steps, ranges
from esnb.flow.timed import search_timed

__all__ = ["Occurrences", "Pattern"]

_SIGNS: Mapping[str, Any] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip
_COLUMNS = ("cases", "firsts", "ends", "numbers")
# So many events at once stay in the processor's caches, more or less.
_PORTION = 1_000_000


@dataclass(frozen=True, eq=False)
class Occurrences:
    """Where a pattern was found: rows of the steps, by case and place.

    Attributes
    ----------
    cases
        Case of each match.
    firsts, ends
        Row of the first event of each match, and the row behind its last.
    numbers
        For each row of all matches, one after the other, the number of the element that took
        it; 0 for what ``...`` skipped.
    """

    cases: Ints
    firsts: Ints
    ends: Ints
    numbers: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.firsts)

    @property
    def rows(self) -> Ints:
        """The rows of all matches, one after the other."""
        return ranges(self.firsts, self.ends - self.firsts)


@dataclass(frozen=True)
class Pattern:
    """A pattern that was read.

    Attributes
    ----------
    text
        As it was written.
    elements
        Its elements; the number of each is its place here, plus one.
    automaton
        What it became.
    """

    text: str
    elements: tuple[Element, ...]
    automaton: Automaton

    @classmethod
    def read(cls, text: str) -> Pattern:
        """Read a pattern.

        Raises
        ------
        FlowError
            If it is none, with a caret under the place.
        """
        tree = grammar.parse(text)
        return cls(text, tuple(grammar.elements_of(tree)), compiled(tree))

    def find(
        self,
        steps: Steps,
        held: Mapping[Key, Bools],
        lengths: Sequence[int],
        within: int | None = None,
    ) -> Occurrences:
        """Return where it is found.

        Parameters
        ----------
        held
            For each element with a condition, for which events it holds.
        lengths
            Microseconds of each limit between neighbours.
        within
            Microseconds after its first event in which all events of a match happen.

        Raises
        ------
        FlowError
            If the pattern is too involved for these events.
        """
        near = [
            _near(steps, limit.sign, length)
            for limit, length in zip(self.automaton.limits, lengths, strict=True)
        ]
        alphabet = letters(steps, self.automaton, held, near)
        table = Table(self.automaton, alphabet)
        parts = [
            self._in_part(steps, table, alphabet, range(first, last), within)
            for first, last in _portions(steps)
        ]
        if not parts:
            none = np.zeros(0, np.int64)
            return Occurrences(none, none, none, none.astype(np.int32))
        return Occurrences(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS)
        )

    def _in_part(
        self, steps: Steps, table: Table, alphabet: Letters, part: range, within: int | None
    ) -> Occurrences:
        """Return where it is found in some cases, one after the other."""
        first, last = part.start, part.stop
        low, high = steps.firsts[first], steps.firsts[last]
        firsts = steps.firsts[first : last + 1] - low
        alphabet = replace(alphabet, of=alphabet.of[low:high])
        places = Places.of(alphabet.of, firsts)
        found = search(table, places)
        if within is not None and len(found.starts):
            found = self._in_time(steps.at[low:high], firsts, alphabet, places, found, within)
        cases = places.case_of(found.starts)
        numbers = np.array([leaf.number or 0 for leaf in self.automaton.leaves], np.int32)
        taken = ranges(found.starts, found.ends - found.starts)
        shift = low - cases
        return Occurrences(
            cases + first, found.starts + shift, found.ends + shift, numbers[found.leaves[taken]]
        )

    def _in_time(
        self,
        times: Ints,
        firsts: Ints,
        alphabet: Letters,
        places: Places,
        found: Found,
        within: int,
    ) -> Found:
        """Return the matches that are over in time; the others make way for shorter ones."""
        cases = places.case_of(found.starts)
        lengths = found.ends - found.starts
        at = times[ranges(found.starts - cases, lengths)]
        first = np.cumsum(lengths) - lengths
        late = np.maximum.reduceat(at, first) - at[first] > within
        if not late.any():
            return found
        timed = np.zeros(places.cases, np.bool_)
        timed[cases[late]] = True
        again, fine = np.flatnonzero(timed), ~timed[cases]
        rows = ranges(firsts[again], places.lengths[again])
        ends = np.cumsum(places.lengths[again])
        own = Places.of(alphabet.of[rows], np.concatenate([[0], ends]))
        spread = np.zeros(len(own), np.int64)
        spread[_own(own)] = times[rows]
        part = search_timed(self.automaton, alphabet, own, spread, within)
        shift = places.firsts[again] - own.firsts[:-1]
        leaves = found.leaves.copy()
        back = ranges(places.firsts[again], places.lengths[again] + 1)
        leaves[back] = part.leaves
        moved = shift[own.case_of(part.starts)]
        starts = np.concatenate([found.starts[fine], part.starts + moved])
        stops = np.concatenate([found.ends[fine], part.ends + moved])
        order = np.argsort(starts)
        return Found(starts[order], stops[order], leaves)


def _portions(steps: Steps) -> Iterator[tuple[int, int]]:
    """Yield ranges of cases of about so many events each."""
    first = 0
    while first < steps.cases:
        end = steps.firsts[first] + _PORTION
        last = int(np.searchsorted(steps.firsts, end, "right")) - 1
        last = min(max(last, first + 1), steps.cases)
        yield first, last
        first = last


def _own(places: Places) -> Bools:
    """Return which places stand for an event."""
    own = np.ones(len(places), np.bool_)
    own[places.ends] = False
    return own


def _near(steps: Steps, sign: str, length: int) -> Bools:
    near = np.zeros(len(steps), np.bool_)
    near[1:] = _SIGNS[sign](np.diff(steps.at), length)
    near[steps.firsts[:-1]] = False
    return near
