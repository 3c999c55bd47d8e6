"""Events as letters: all that a pattern can tell of an event and of the place before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from esnb.flow.automaton import BEGIN, END, Automaton
from esnb.flow.grammar import Element
from esnb.flow.steps import Bools, Ints, Steps

__all__ = ["Key", "Letters", "Places", "key_of", "letters", "taken"]

Key = tuple[tuple[str, ...] | None, bool, str | None]


@dataclass(frozen=True, eq=False)
class Letters:
    """The letter of each event, and what each letter means.

    Attributes
    ----------
    of
        Letter of each event.
    leaves
        For each letter the leaves that take such an event, as bits.
    flags
        For each letter what holds at the place before such an event, as bits.
    """

    of: npt.NDArray[np.int32]
    leaves: tuple[int, ...]
    flags: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Places:
    """Places before, between and behind the events of each case, one case after the other.

    The place before an event stands for the event too; behind the last event of each case there
    is one more place.

    Attributes
    ----------
    letters
        Letter of the event at each place; 0 behind the last.
    firsts
        First place of each case, and at the end how many places there are.
    """

    letters: npt.NDArray[np.int32]
    firsts: Ints
    ends: Ints

    @classmethod
    def of(cls, letters: npt.NDArray[np.int32], firsts: Ints) -> Places:
        """Return the places of cases whose events begin at `firsts`."""
        cases = np.arange(len(firsts), dtype=np.int64)
        spread = np.zeros(len(letters) + len(firsts) - 1, np.int32)
        own = np.ones(len(spread), np.bool_)
        own[firsts[1:] + cases[:-1]] = False
        spread[own] = letters
        return cls(spread, firsts + cases, firsts[1:] + cases[:-1])

    def __len__(self) -> int:
        return len(self.letters)

    @property
    def cases(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> Ints:
        """How many events each case has."""
        return self.ends - self.firsts[:-1]

    def case_of(self, places: Ints) -> Ints:
        """Return the case of each place."""
        found: Ints = np.searchsorted(self.firsts, places, "right") - 1
        return found


def key_of(element: Element) -> Key:
    """Return what an element asks of an event: types, whether of none of them, a condition."""
    return element.names, element.negated, element.condition


def taken(element: Element, types: Sequence[str]) -> Bools:
    """Return for each type whether an element takes events of it, conditions aside."""
    takes = np.full(len(types), element.names is None or element.negated)
    if element.names is not None:
        known = {name: number for number, name in enumerate(types)}
        for name in element.names:
            if name in known:
                takes[known[name]] = not element.negated
    return takes


def letters(
    steps: Steps, automaton: Automaton, held: Mapping[Key, Bools], near: Sequence[Bools]
) -> Letters:
    """Return the events of a flow as letters.

    Parameters
    ----------
    held
        For each element with a condition, for which events it holds.
    near
        For each limit, whether it holds between the event before and each event.
    """
    keys = [key_of(leaf) for leaf in automaton.leaves]
    takes = {
        key: taken(leaf, steps.types) for key, leaf in zip(keys, automaton.leaves, strict=True)
    }
    # Types that no element tells apart are one letter.
    kinds: dict[bytes, int] = {}
    examples: list[int] = []
    kind_of = np.zeros(len(steps.types), np.int32)
    rows = np.array(list(takes.values()))
    for number in range(len(steps.types)):
        kind = kinds.setdefault(rows[:, number].tobytes(), len(kinds))
        kind_of[number] = kind
        if kind == len(examples):
            examples.append(number)
    of = kind_of[steps.type_ids]
    bounds = []
    if any(needed & BEGIN for options in _every(automaton) for needed, _ in options):
        first = np.zeros(len(steps), np.bool_)
        first[steps.firsts[:-1]] = True
        bounds.append(first)
    # What each letter means: its kind, then one bit after the other.
    meanings: list[tuple[int, ...]] = [(kind,) for kind in range(len(kinds))]
    for bit in (*held.values(), *bounds, *near):
        of, meanings = _split(of, meanings, bit)
    masks = dict.fromkeys(takes, 0)
    for place, key in enumerate(keys):
        masks[key] |= 1 << place
    leaves, flags = [], []
    for kind, *bits in meanings:
        holds = dict(zip(held, bits, strict=False))
        mask = 0
        for key, row in takes.items():
            if row[examples[kind]] and holds.get(key, 1):
                mask |= masks[key]
        leaves.append(mask)
        begin = bits[len(held) : len(held) + len(bounds)]
        between = bits[len(held) + len(bounds) :]
        flags.append(
            sum(begin) * BEGIN | sum(bit * 2 * END << place for place, bit in enumerate(between))
        )
    return Letters(of, tuple(leaves), tuple(flags))


def _every(automaton: Automaton) -> tuple[tuple[tuple[int, int], ...], ...]:
    return (automaton.starts, *automaton.follow)


def _split(
    of: npt.NDArray[np.int32], meanings: list[tuple[int, ...]], bit: Bools
) -> tuple[npt.NDArray[np.int32], list[tuple[int, ...]]]:
    """Return letters that tell events with a bit from those without it; unused ones are gone."""
    of = of * np.int32(2)
    of += bit
    used = np.flatnonzero(np.bincount(of, minlength=2 * len(meanings)))
    number = np.zeros(2 * len(meanings), np.int32)
    number[used] = np.arange(len(used), dtype=np.int32)
    return number[of], [(*meanings[letter // 2], int(letter % 2)) for letter in used]
